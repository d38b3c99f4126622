/**
 * FastCGI responders that do the same work, and the requests that wait for one.
 *
 * A request goes to the responder with the fewest in hand, on a connection that
 * is free or on a new one; when all are taken it waits in one queue, in order,
 * from which it goes when its client leaves. So a responder that dies loses no
 * more than what it had in hand: those that wait do not notice.
 *
 * A request is sent again on another connection where nothing of it was sent,
 * and once where a kept connection ended without a byte of answer, if its method
 * is idempotent and it has no content (RFC 9110 §9.2.2).
 *
 * @module
 */
import { BackendError } from "../errors.ts";
import type { CgiResponseHead } from "../http/cgi_response.ts";
import { type Logger, traceOf } from "../logger.ts";
import { type Backend, type BackendOptions, PooledBackend } from "./backend.ts";
import type { Connection } from "./connection.ts";
import { RecordWriter } from "./records.ts";
import { type ResponderRequest, Run, type RunTerms } from "./run.ts";
import { RunQueue } from "./run_queue.ts";

export type { Backend, BackendOptions } from "./backend.ts";
export type { ResponderRequest, RunningRequest } from "./run.ts";

/** How a pool treats requests. */
export interface PoolOptions {
  /** Where the responders' STDERR goes, and what is wrong with them. */
  readonly log: Logger;
  /** How many requests may wait; default 1024. More are 503. */
  readonly queueLength?: number;
  /** How long one may wait; default 30. Longer is 503. */
  readonly queueSeconds?: number;
  /** How long a responder may keep silent over a request, with its client
   * waiting; default 60, 0 for ever. Longer is 504. */
  readonly timeoutSeconds?: number;
  /** How much of a response is held for a client that is slower than its
   * responder, in bytes; default 256 KiB. */
  readonly bufferSize?: number;
}

const TICK_MS = 250;

/** Its queue is full, or this machine has no descriptor left. */
const passing = ["EAGAIN", "EMFILE", "ENFILE"];

/** See the top of this file. */
export class BackendPool {
  readonly #log: Logger;
  readonly #queueLength: number;
  readonly #queueMs: number;
  readonly #timeoutMs: number;
  readonly #writer = new RecordWriter();
  readonly #runTerms: RunTerms;
  readonly #backends: PooledBackend[] = [];
  /** Those that get no new requests. */
  readonly #retiring = new Set<PooledBackend>();
  /** The requests that wait, in order. */
  readonly #queue: RunQueue = new RunQueue();
  #turn = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #closed = false;

  /** A pool without responders: requests wait until there is one. */
  constructor(options: PoolOptions) {
    this.#log = options.log;
    this.#queueLength = options.queueLength ?? 1024;
    this.#queueMs = (options.queueSeconds ?? 30) * 1000;
    const { timeoutSeconds = 60 } = options;
    this.#timeoutMs = timeoutSeconds === 0 ? Infinity : timeoutSeconds * 1000;
    this.#runTerms = {
      log: options.log,
      bufferSize: options.bufferSize ?? 262_144,
      abandoned: (run) => this.#abandoned(run),
    };
  }

  /** Adds a responder, to which nothing is connected until there is a request
   * for it. */
  add(options: BackendOptions): Backend {
    const backend = new PooledBackend(options, this.#writer, this.#log, {
      free: () => this.#serveQueue(),
      lost: (run, error, stale) => this.#lost(run, error, stale),
    });
    this.#backends.push(backend);
    this.#serveQueue();
    return backend;
  }

  /** Gives a responder no new requests. Resolves when those that it has in hand
   * have ended and its connections are closed. */
  async retire(backend: Backend): Promise<void> {
    const retiring = backend as PooledBackend;
    const at = this.#backends.indexOf(retiring);
    if (at >= 0) this.#backends.splice(at, 1);
    this.#retiring.add(retiring);
    await retiring.retire();
    this.#retiring.delete(retiring);
  }

  /** How many requests wait for a responder. */
  get waiting(): number {
    return this.#queue.size;
  }

  /** Has a request answered. Resolves when the response is whole; or, where its
   * head was not accepted, with that, once the responder has ended it. Rejects
   * with `BackendError`, with `StreamError` when the client has left, or with
   * what reading its content threw. */
  request(request: ResponderRequest): Promise<CgiResponseHead | undefined> {
    const run = new Run(request, this.#runTerms);
    if (this.#closed) {
      run.fail(new BackendError(503, "The responders are closed"));
    } else if (this.#queue.size > 0 || !this.#startAtOnce(run)) {
      this.#enqueue(run);
    }
    return run.result;
  }

  /** Closes all connections and fails what waits, once what runs has ended.
   * Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const run of this.#queue.all()) {
      run.fail(new BackendError(503, "The responders are closed"));
    }
    await Promise.all(
      [...this.#backends].map((backend) => this.retire(backend)),
    );
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  // ---- Choosing ----

  #startAtOnce(run: Run): boolean {
    for (;;) {
      const connection = this.#choose()?.idle.pop();
      if (connection === undefined) return false;
      if (this.#start(run, connection)) return true;
    }
  }

  /** False when the connection turned out to be closed. */
  #start(run: Run, connection: Connection): boolean {
    if (this.#timer === undefined) this.#startClock();
    try {
      return connection.send(run);
    } catch (error) {
      run.fail(error); // the parameters could not be composed
      connection.close(error);
      return true;
    }
  }

  /** The responder with the fewest requests in hand that could take one more.
   * One that was not to be reached is left alone while there are others. */
  #choose(): PooledBackend | undefined {
    const backends = this.#backends;
    let best: PooledBackend | undefined;
    let resting: PooledBackend | undefined;
    this.#turn++;
    for (let i = 0; i < backends.length; i++) {
      const backend = backends[(i + this.#turn) % backends.length]!;
      if (!backend.hasRoom) continue;
      if (backend.rests) {
        // One that is supervised comes back, or another does: that is waited for.
        if (!backend.supervised) resting = backend;
      } else if (best === undefined || backend.load < best.load) best = backend;
    }
    if (best !== undefined || resting === undefined) return best;
    return backends.some(({ load }) => load > 0) ? undefined : resting;
  }

  // ---- The queue ----

  #enqueue(run: Run): void {
    if (this.#queue.size >= this.#queueLength) {
      return run.fail(new BackendError(503, "Too many requests wait"));
    }
    run.queuedAt = performance.now();
    this.#queue.add(run);
    if (this.#timer === undefined) this.#startClock();
    this.#serveQueue();
  }

  /** Gives those that wait what is free, and opens what may be opened. */
  #serveQueue(): void {
    let opening = 0;
    for (const backend of this.#backends) opening += backend.opening;
    while (this.#queue.size > 0) {
      const backend = this.#choose();
      if (backend === undefined) return;
      const connection = backend.idle.pop();
      if (connection !== undefined) {
        const run = this.#queue.take()!;
        if (!this.#start(run, connection)) this.#putFirst(run);
      } else if (opening < this.#queue.size) {
        opening++;
        void this.#open(backend);
      } else return;
    }
  }

  #putFirst(run: Run): void {
    this.#queue.putFirst(run);
  }

  async #open(backend: PooledBackend): Promise<void> {
    try {
      await backend.open();
    } catch (error) {
      this.#unreachable(backend, error);
    }
    this.#serveQueue();
  }

  /** Fails what waits, unless another responder will have time for it or this
   * one comes back. */
  #unreachable(backend: PooledBackend, error: unknown): void {
    this.#log.debug(`FastCGI: ${backend.name}: ${traceOf(error)}`);
    const hope = backend.supervised ||
      this.#backends.some((other) =>
        other.load > 0 || (other.hasRoom && !other.rests)
      );
    if (hope) return;
    const detail = `${backend.name}: ${String(error)}`;
    const { code = "" } = error as { code?: string };
    const status = passing.includes(code) ? 503 : 502;
    for (const run of this.#queue.all()) {
      run.fail(
        new BackendError(
          status,
          "The FastCGI responder cannot be reached",
          detail,
        ),
      );
    }
  }

  // ---- What goes wrong ----

  /** A run has failed by itself. */
  #abandoned(run: Run): void {
    if (!this.#queue.delete(run)) run.connection?.abandon();
  }

  /** A connection was lost with a request in hand. */
  #lost(run: Run, error: unknown, stale: boolean): void {
    if (run.settled) return;
    if (error instanceof BackendError) return run.fail(error);
    run.losses++;
    if (stale && run.repeatable && !this.#closed) {
      run.queuedAt = performance.now();
      this.#putFirst(run);
      return this.#serveQueue();
    }
    run.fail(
      new BackendError(
        502,
        "The FastCGI responder closed the connection",
        undefined,
        error === undefined ? undefined : { cause: error },
      ),
    );
  }

  // ---- Time ----

  #startClock(): void {
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  #tick(): void {
    const now = performance.now();
    let busy = this.#queue.size > 0;
    for (const run of this.#queue.all()) {
      run.watchClient();
      if (now - run.queuedAt >= this.#queueMs) {
        run.fail(new BackendError(503, "No FastCGI responder became free"));
      }
    }
    for (const backend of [...this.#backends, ...this.#retiring]) {
      busy = backend.tick(now, this.#timeoutMs) || busy;
    }
    this.#serveQueue();
    if (busy) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
