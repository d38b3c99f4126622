/**
 * What the arbiter knows of one worker, the states that it goes through, and
 * the orders that it is given. What should become of it is the arbiter's affair.
 */
import type { ChildProcess, ProcessEnd } from "./host.ts";
import type { Beat, Order, WorkerStatus } from "./protocol.ts";

/** Beyond the time that a worker has to leave, and beyond its timeout, so that
 * it can do and say itself what is to be said. */
const marginSeconds = 1;
/** How long opening a listener may take before others do it as well. */
const joinSeconds = 3;
/** A worker that has served for so long is not one that keeps failing. */
const steadySeconds = 10;

/** Starts, loads the application. */
export const BOOTING = "booting";
/** Has loaded it, and waits. */
export const LOADED = "loaded";
/** Was told to accept. */
export const JOINING = "joining";
/** Accepts. */
export const SERVING = "serving";
/** Accepts no more; ends what it serves. */
export const DRAINING = "draining";

/** Where a worker is on its way. It goes forward alone, and from each state it
 * may go to the last. */
export type WorkerState =
  | typeof BOOTING
  | typeof LOADED
  | typeof JOINING
  | typeof SERVING
  | typeof DRAINING;

/** Why a worker is to be replaced: it has answered enough requests, or grown
 * too large. */
export type Exhaustion = "requests" | "memory";

/** What a worker is started with. */
export interface WorkerTerms {
  readonly seat: number;
  readonly generation: number;
  /** How long it may take to load, and again to begin to accept. */
  readonly bootSeconds: number;
  /** It is replaced after so many requests. */
  readonly maxRequests: number;
}

/** How a worker is to leave. */
export interface Farewell {
  /** For what it serves. */
  readonly graceSeconds: number;
  /** For connections on which nothing happens. */
  readonly idleSeconds: number;
}

/** One worker. Times are seconds on the arbiter's clock. */
export class WorkerRecord {
  readonly child: ChildProcess;
  readonly seat: number;
  readonly generation: number;
  /** Its last sign of life that told more. */
  beat: Beat | undefined;
  /** Its own account of why it leaves, or ours. */
  failure: string | undefined;
  readonly #terms: WorkerTerms;
  readonly #startedAt: number;
  /** What it was told to accept on. A socket is never given back: to close a
   * listener is to close its descriptor, which could not be had again. */
  readonly #fds = new Set<number>();
  #state: WorkerState = BOOTING;
  #heardAt: number;
  /** When our patience ends. */
  #deadline: number;
  #joinedAt = Infinity;
  #servingSince = Infinity;
  #wasToldToListen = false;
  /** How long connections may be idle while it leaves. */
  #idleSeconds = Infinity;
  #dismissed = false;
  #killed = false;

  constructor(child: ChildProcess, terms: WorkerTerms, now: number) {
    this.child = child;
    this.seat = terms.seat;
    this.generation = terms.generation;
    this.#terms = terms;
    this.#startedAt = this.#heardAt = now;
    this.#deadline = now + terms.bootSeconds;
  }

  // ---- What is known ----

  /** Where it is on its way. */
  get state(): WorkerState {
    return this.#state;
  }

  /** Whether we have ended it, and have said why; its end will be heard of. */
  get killed(): boolean {
    return this.#killed;
  }

  /** Whether we told it to leave; else whatever ends it is a mishap. */
  get dismissed(): boolean {
    return this.#dismissed;
  }

  /** For log lines. */
  get name(): string {
    return `Worker ${this.seat} (pid ${this.child.pid})`;
  }

  /** Whether it is on its way to serve. */
  get isBooting(): boolean {
    return this.#state === BOOTING || this.#state === LOADED ||
      this.#state === JOINING;
  }

  /** Whether it accepts. */
  get serves(): boolean {
    return this.#state === SERVING && !this.#killed;
  }

  /** Whether it may be told to accept. */
  get mayAccept(): boolean {
    return !this.#killed &&
      (this.#state === JOINING || this.#state === SERVING);
  }

  /** Whether it has served for long enough not to be one that keeps failing. */
  get isSteady(): boolean {
    return this.serves && this.#heardAt - this.#servingSince > steadySeconds;
  }

  /** When it began to serve; Infinity if it never did. */
  get servingSince(): number {
    return this.#servingSince;
  }

  /** Whether what it accepts on can be left to it alone. */
  canBeReliedOn(now: number): boolean {
    return this.serves ||
      (this.mayAccept && now - this.#joinedAt <= joinSeconds);
  }

  /** How long it may take to load, and again to begin to accept. */
  get bootSeconds(): number {
    return this.#terms.bootSeconds;
  }

  /** Whether our patience with how it boots or leaves has ended. */
  isLate(now: number): boolean {
    return !this.#killed && now >= this.#deadline;
  }

  /** For how long it has given no sign of life. */
  silence(now: number): number {
    return now - this.#heardAt;
  }

  /** Whether it should give signs of life, as it does once it has loaded, and
   * gives none. */
  isHung(timeoutSeconds: number, now: number): boolean {
    return !this.#killed && this.#state !== BOOTING &&
      this.#state !== DRAINING &&
      this.silence(now) > timeoutSeconds + marginSeconds;
  }

  /** Why it is to be replaced; undefined for a worker that is not. */
  exhaustion(maxRssBytes: number): Exhaustion | undefined {
    if (!this.serves || this.beat === undefined) return undefined;
    if (this.beat.requests >= this.#terms.maxRequests) return "requests";
    return this.beat.rss > maxRssBytes ? "memory" : undefined;
  }

  /** For `status`. */
  status(now: number): WorkerStatus {
    return {
      pid: this.child.pid,
      seat: this.seat,
      generation: this.generation,
      state: this.isBooting ? BOOTING : this.#state,
      age: now - this.#startedAt,
      requests: this.beat?.requests ?? 0,
      busy: this.beat?.busy ?? 0,
      connections: this.beat?.connections ?? 0,
      rss: this.beat?.rss ?? 0,
      silent: this.silence(now),
    };
  }

  // ---- What happens to it ----

  /** It gave a sign of life. */
  heard(now: number): void {
    this.#heardAt = now;
  }

  /** Nobody could be heard for so long, and that was our fault. */
  forgive(pause: number, now: number): void {
    this.#heardAt = Math.min(now, this.#heardAt + pause);
    this.#servingSince += pause;
    this.#joinedAt += pause;
    this.#deadline += pause;
  }

  /** It has loaded the application. How long it waits now is not its doing. */
  load(): void {
    if (this.#state !== BOOTING) return;
    this.#state = LOADED;
    this.#deadline = Infinity;
  }

  /** It is to accept; `acceptOn()` will tell it. */
  join(now: number): void {
    if (this.#state !== LOADED) return;
    this.#state = JOINING;
    this.#joinedAt = now;
    this.#deadline = now + this.#terms.bootSeconds;
  }

  /** It accepts. */
  serve(now: number): void {
    this.#state = SERVING;
    this.#servingSince = now;
    this.#deadline = Infinity;
  }

  /** It leaves, though we did not tell it to. */
  leave(graceSeconds: number, now: number): void {
    this.#state = DRAINING;
    this.#deadline = now + graceSeconds + marginSeconds;
  }

  // ---- What it is told ----

  /** Has it accept on these too. Nothing is said where nothing is new; but even
   * if there is nothing to accept on, it is asked once, so that it serves. */
  acceptOn(fds: readonly number[]): void {
    const missing = fds.filter((fd) => !this.#fds.has(fd));
    if (missing.length === 0 && this.#wasToldToListen) return;
    this.#wasToldToListen = true;
    for (const fd of missing) this.#fds.add(fd);
    this.#tell({ type: "listen", fds: missing });
  }

  /** Tells it to leave; false where it had no more time than that anyway. */
  dismiss({ graceSeconds, idleSeconds }: Farewell, now: number): boolean {
    const deadline = now + graceSeconds + marginSeconds;
    if (this.#killed) return false;
    const hurried = this.#state === DRAINING && this.#deadline <= deadline;
    if (hurried && this.#idleSeconds <= idleSeconds) return false;
    this.#dismissed = true;
    this.#idleSeconds = idleSeconds;
    if (!hurried) this.leave(graceSeconds, now);
    this.#tell({ type: "drain", graceSeconds, idleSeconds });
    return !hurried;
  }

  /** Has it close and open its log files, and say when it has. */
  reopen(): void {
    this.#tell({ type: "reopen" });
  }

  /** From now on nobody is to count on it; `end()` ends it. */
  abandon(): void {
    this.#killed = true;
  }

  /** Ends it at once. */
  end(): void {
    this.child.kill("SIGKILL");
  }

  #tell(order: Order): void {
    this.child.channel.send(order);
  }
}

/** How a process ended, for log lines. */
export function describeEnd({ code, signal }: ProcessEnd): string {
  return signal === null ? `exited with code ${code}` : `ended by ${signal}`;
}

/** Why a worker is to be replaced, for log lines. */
export function describeExhaustion(
  exhaustion: Exhaustion,
  { beat }: Pick<WorkerRecord, "beat">,
): string {
  return exhaustion === "requests"
    ? `has answered ${beat?.requests ?? 0} requests (--max-requests)`
    : `has ${Math.round((beat?.rss ?? 0) / 1024 ** 2)} MB (--max-rss)`;
}
