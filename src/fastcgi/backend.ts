/** One responder of a pool: its connections, and what it has in hand on them. */
import { BackendError } from "../errors.ts";
import { type Logger, traceOf } from "../logger.ts";
import type { ByteStream } from "../stream.ts";
import { Connection, type ConnectionTerms } from "./connection.ts";
import type { RecordWriter } from "./records.ts";
import type { Run, RunningRequest } from "./run.ts";

/** A responder to be added to a pool. */
export interface BackendOptions {
  /** What it is called in messages. */
  readonly name: string;
  /** The most connections to it, each of which carries one request at a time. */
  readonly connections: number;
  /** Opens a connection to it. */
  connect(): Promise<ByteStream>;
  /** Whether connections are kept between requests; default true. Each may
   * occupy a process of the responder's for as long as it is kept. */
  readonly keepAlive?: boolean;
  /** How long a connection may be idle; default 60, and 1 where none are kept:
   * it is then one whose client left before it was open. */
  readonly idleSeconds?: number;
  /** Whether it ends a request that it is told to abort, and takes another on
   * the same connection then; default false: the connection is closed. */
  readonly honoursAbort?: boolean;
  /** How long it may take over that before the connection is closed; default
   * 5. */
  readonly abortSeconds?: number;
  /** Whether somebody sees to it that another takes its place when it fails;
   * default false. Requests wait for that while it cannot be reached, and none
   * that it had in hand goes to another: it may be what it failed of. */
  readonly supervised?: boolean;
}

/** A responder of a pool. */
export interface Backend {
  /** As it was given. */
  readonly name: string;
  /** The requests that it has in hand, those included whose clients have left. */
  running(): readonly RunningRequest[];
  /** Cuts what it has in hand, which is 502 where nothing was sent, and closes
   * its connections. It stays in the pool. */
  fail(reason: string): void;
}

/** What a responder tells its pool. */
export interface BackendEvents {
  /** It could take a request. */
  free(): void;
  /** A connection was lost with a request in hand; `stale` where it had been
   * kept, so that it may have been closed before the request came. */
  lost(run: Run, error: unknown, stale: boolean): void;
}

/** How long one that cannot be reached is not tried while others can. */
const REST_MS = 1000;

/** How long it takes to learn that a process has ended of which a connection
 * has. */
const LEAVING_MS = 100;

/** A {@linkcode Backend} as its pool sees it. */
export class PooledBackend implements Backend {
  readonly name: string;
  /** Connections without a request, the last one used at the end. */
  readonly idle: Connection[] = [];
  /** How many connections are being opened. */
  opening = 0;

  readonly #options: BackendOptions;
  readonly #terms: ConnectionTerms;
  readonly #log: Logger;
  readonly #events: BackendEvents;
  readonly #connections = new Set<Connection>();
  #restsUntil = 0;
  #retired: { promise: Promise<void>; resolve: () => void } | undefined;

  constructor(
    options: BackendOptions,
    writer: RecordWriter,
    log: Logger,
    events: BackendEvents,
  ) {
    this.name = options.name;
    this.#options = options;
    this.#log = log;
    this.#events = events;
    this.#terms = {
      log,
      writer,
      keepAlive: options.keepAlive ?? true,
      honoursAbort: options.honoursAbort ?? false,
      released: (connection) => this.#released(connection),
      closed: (connection, run, error) => this.#closed(connection, run, error),
    };
  }

  /** How many connections are not free. */
  get load(): number {
    return this.#connections.size - this.idle.length + this.opening;
  }

  /** Whether it could take one more request. */
  get hasRoom(): boolean {
    return this.idle.length > 0 ||
      this.#connections.size + this.opening < this.#options.connections;
  }

  /** Whether it could not be reached, or has left, a short while ago. */
  get rests(): boolean {
    return this.#restsUntil > 0 && performance.now() < this.#restsUntil;
  }

  /** Whether another will take its place when it fails. */
  get supervised(): boolean {
    return this.#options.supervised ?? false;
  }

  /** Opens a connection, which is idle then. Rejects with what `connect()`
   * does. */
  async open(): Promise<void> {
    let stream: ByteStream;
    this.opening++;
    try {
      stream = await this.#options.connect();
    } catch (error) {
      this.opening--;
      this.#rest(REST_MS);
      this.#checkRetired();
      throw error;
    }
    this.opening--;
    this.#restsUntil = 0;
    const connection = new Connection(stream, this.#terms);
    this.#connections.add(connection);
    if (this.#retired !== undefined) return connection.close(undefined);
    this.idle.push(connection);
    void connection.receive();
  }

  #rest(ms: number): void {
    this.#restsUntil = performance.now() + ms;
  }

  running(): readonly RunningRequest[] {
    const runs: Run[] = [];
    for (const { run } of this.#connections) {
      if (run !== undefined) runs.push(run);
    }
    return runs;
  }

  fail(reason: string): void {
    for (const connection of [...this.#connections]) {
      connection.run?.fail(new BackendError(502, reason));
      connection.close(undefined);
    }
  }

  /** Closes its connections as they become idle; resolves when there are none. */
  retire(): Promise<void> {
    if (this.#retired === undefined) {
      let resolve = (): void => {};
      const promise = new Promise<void>((settle) => resolve = settle);
      this.#retired = { promise, resolve };
      for (const connection of [...this.idle]) connection.close(undefined);
      this.#checkRetired();
    }
    return this.#retired.promise;
  }

  #checkRetired(): void {
    if (this.#connections.size + this.opening === 0) this.#retired?.resolve();
  }

  #released(connection: Connection): void {
    if (this.#retired !== undefined) return connection.close(undefined);
    this.idle.push(connection);
    this.#events.free();
  }

  #closed(connection: Connection, run: Run | undefined, error: unknown): void {
    this.#connections.delete(connection);
    const at = this.idle.indexOf(connection);
    if (at >= 0) this.idle.splice(at, 1);
    if (error !== undefined) {
      this.#log.debug(`FastCGI: ${this.name}: ${traceOf(error)}`);
    }
    this.#checkRetired();
    // Its process has ended, though its socket may take a connection yet. One
    // that only cuts a response has begun it.
    if (this.supervised && connection.left && run?.answered !== true) {
      this.#rest(LEAVING_MS);
    }
    if (run !== undefined) {
      this.#events.lost(run, error, connection.uses > 1 && !this.supervised);
    }
    this.#events.free();
  }

  /** Ends what has lasted too long. True while there is something to look at. */
  tick(now: number, timeoutMs: number): boolean {
    const { keepAlive = true, abortSeconds = 5 } = this.#options;
    const { idleSeconds = keepAlive ? 60 : 1 } = this.#options;
    for (const connection of [...this.#connections]) {
      const { run } = connection;
      if (run === undefined) {
        if (now - connection.idleSince >= idleSeconds * 1000) {
          connection.close(undefined);
        }
      } else if (connection.abortedAt !== 0) {
        if (now - connection.abortedAt >= abortSeconds * 1000) {
          connection.close(undefined);
        }
      } else {
        run.watchClient();
        if (run.waitsForClient) run.progressAt = now;
        else if (now - run.progressAt >= timeoutMs) {
          run.fail(new BackendError(504, "The FastCGI responder is too slow"));
        }
      }
    }
    return this.#connections.size + this.opening > 0;
  }
}
