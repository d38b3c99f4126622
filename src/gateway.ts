/**
 * The gateway: takes accepted connections, counts them, keeps their clock, and
 * shuts down without losing a request. It needs no runtime: whatever hands it a
 * {@linkcode ByteStream} is served.
 *
 * @module
 */
import { Connection } from "./connection.ts";
import type { AccessSink, Handler } from "./exchange.ts";
import type { Gate, RequestWatch } from "./gate.ts";
import { repeatedly } from "./later.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import { type Logger, silentLogger } from "./logger.ts";
import { Roster } from "./roster.ts";
import type { ByteStream } from "./stream.ts";

/** What a gateway may be told. */
export interface GatewayOptions {
  /** Bounds that differ from the default. */
  readonly limits?: Partial<Limits>;
  /** Where log lines go; nowhere by default. */
  readonly log?: Logger;
  /** Called once per finished exchange, refused ones included. */
  readonly access?: AccessSink | undefined;
  /** Told of each request that the handler is at work on. */
  readonly watch?: RequestWatch | undefined;
}

/** Serves connections with one handler. */
export interface Gateway {
  /** Serves a connection until it ends. */
  accept(stream: ByteStream): void;
  /** How many connections are open. */
  readonly connections: number;
  /** How many requests were handed to the handler so far. */
  readonly requests: number;
  /** How many of them it is at work on. */
  readonly busy: number;
  /** Lets running requests end, closes connections as they become idle, cuts
   * what is left after `graceSeconds`, and resolves when none is open. Idle is
   * a connection on which no request has begun for `idleSeconds` (default 0.3):
   * the longer, the less likely is it that one was on its way. A
   * connection that is accepted meanwhile gets one answer. May be called
   * again, to hurry. */
  shutdown(graceSeconds: number, idleSeconds?: number): Promise<void>;
}

/** How often deadlines are looked at, unless one is shorter. */
const TICK_SECONDS = 1;
/** How often while shutting down. */
const DRAIN_TICK_SECONDS = 0.05;
/** While shutting down, a connection idle for so long is closed. One that has
 * just been answered, or accepted, may have a request on its way. */
const QUIET_SECONDS = 0.3;

/** So many idle connections are closed at once, to make room for new ones: to
 * look for them is work. Of a few it is a smaller part. */
const MOST_ROOM = 32;
const PART_OF_FEW = 1 / 16;
/** How often it is told, at most, that there is none. */
const TELL_SECONDS = 10;

/** Beyond two ticks, a process that was away for so long stood still. */
const PAUSE_SECONDS = 0.05;

/** Makes a gateway whose connections `handler` answers. */
export function createGateway(
  handler: Handler,
  options: GatewayOptions = {},
): Gateway {
  return new LiveGateway(handler, options);
}

class LiveGateway implements Gateway, Gate {
  readonly handler: Handler;
  readonly limits: Limits;
  readonly log: Logger;
  readonly access: AccessSink | undefined;
  readonly watch: RequestWatch | undefined;
  readonly lag: number;
  now = performance.now() / 1000;
  draining = false;
  readonly #connections: Roster<Connection> = new Roster();
  #formerRequests = 0;
  #quietSeconds = Infinity;
  #drainingSince = Infinity;
  #tickSeconds = 0;
  #paused = false;
  /** When nobody was idle any more, on our clock. */
  #searchedAt = -Infinity;
  #turnedAway = 0;
  #toldAt = -Infinity;
  #stopClock: (() => void) | undefined;
  #cutAt = Infinity;
  #drained: Promise<void> | undefined;
  #resolveDrained: (() => void) | undefined;

  constructor(handler: Handler, options: GatewayOptions) {
    this.handler = handler;
    this.limits = Object.freeze({ ...defaultLimits, ...options.limits });
    this.log = options.log ?? silentLogger;
    this.access = options.access;
    this.watch = options.watch;
    const {
      headSeconds,
      bodySeconds,
      idleSeconds,
      sendSeconds,
      lingerSeconds,
    } = this.limits;
    const shortest = Math.min(
      headSeconds,
      bodySeconds,
      idleSeconds,
      sendSeconds,
      lingerSeconds,
    );
    this.lag = Math.min(TICK_SECONDS, Math.max(0.01, shortest / 4));
  }

  get connections(): number {
    return this.#connections.size;
  }

  get requests(): number {
    let sum = this.#formerRequests;
    for (const connection of this.#connections) sum += connection.requests;
    return sum;
  }

  get busy(): number {
    let count = 0;
    for (const connection of this.#connections) if (connection.busy) count++;
    return count;
  }

  accept(stream: ByteStream): void {
    const full = this.#connections.size >= this.limits.connections;
    if (full && !this.#makeRoom()) return this.#turnAway(stream);
    if (this.#stopClock === undefined) {
      this.now = performance.now() / 1000;
      this.#setClock(this.draining ? DRAIN_TICK_SECONDS : this.lag);
    }
    const connection = new Connection(this, stream);
    this.#connections.add(connection);
    connection.run().then(() => this.#leave(connection));
  }

  /** Closes connections on which no request is likely to be on its way. */
  #makeRoom(): boolean {
    // Before the clock moves nobody else will have been idle for long enough.
    if (this.#searchedAt === this.now) return false;
    const enough = Math.min(MOST_ROOM, this.limits.connections * PART_OF_FEW);
    let room = 0;
    for (const connection of this.#connections) {
      // The clock may be that much behind.
      if (!connection.closeIfIdleFor(this.lag + QUIET_SECONDS)) continue;
      this.#leave(connection);
      if (++room >= enough) return true;
    }
    this.#searchedAt = this.now;
    return room > 0;
  }

  /** Whoever were to be told so would cost as much as whoever is served. */
  #turnAway(stream: ByteStream): void {
    stream.close();
    this.#turnedAway++;
    if (this.now - this.#toldAt < TELL_SECONDS) return;
    this.log.warn(
      `${this.#turnedAway} new connection(s) closed: ` +
        `${this.#connections.size} are open, and none is idle`,
    );
    this.#turnedAway = 0;
    this.#toldAt = this.now;
  }

  #leave(connection: Connection): void {
    // It leaves once more when a handler settles that was given up.
    if (!this.#connections.delete(connection)) return;
    this.#formerRequests += connection.requests;
    if (this.#connections.size === 0) this.#rest();
  }

  shutdown(graceSeconds: number, idleSeconds = QUIET_SECONDS): Promise<void> {
    this.draining = true;
    this.#quietSeconds = Math.min(this.#quietSeconds, idleSeconds);
    this.now = performance.now() / 1000;
    this.#drainingSince = Math.min(this.#drainingSince, this.now);
    this.#cutAt = Math.min(this.#cutAt, this.now + graceSeconds);
    const drained = this.#drained ??= new Promise<void>((resolve) =>
      this.#resolveDrained = resolve
    );
    if (this.#connections.size === 0) {
      this.#rest();
    } else {
      this.#setClock(DRAIN_TICK_SECONDS);
      this.#tick();
    }
    return drained;
  }

  /** With no connection there is nothing to time, and nothing that should keep
   * a process alive. */
  #rest(): void {
    this.#stopClock?.();
    this.#stopClock = undefined;
    this.#resolveDrained?.();
    // Who asks later asks about connections that came later.
    this.#drained = this.#resolveDrained = undefined;
  }

  #setClock(seconds: number): void {
    this.#tickSeconds = seconds;
    this.#stopClock?.();
    this.#stopClock = repeatedly(seconds * 1000, () => this.#tick());
  }

  #tick(): void {
    const before = this.now;
    this.now = performance.now() / 1000;
    // Where the process stood still, what has arrived meanwhile is still to be
    // read: nobody is late yet.
    this.#paused = !this.#paused &&
      this.now - before > 2 * this.#tickSeconds + PAUSE_SECONDS;
    if (this.#paused) return;
    // Before the shutdown the clock was coarser than what is measured now.
    const quiet = this.now - this.#drainingSince >= this.#quietSeconds;
    for (const connection of this.#connections) {
      if (this.now >= this.#cutAt) {
        // Its handler may never settle; nobody waits for it any longer.
        connection.abort();
        this.#leave(connection);
      } else {
        if (quiet) connection.closeIfIdleFor(this.#quietSeconds);
        connection.tick();
      }
    }
  }
}
