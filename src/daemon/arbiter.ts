/**
 * The arbiter: sees to it that as many workers serve as there should be, of the
 * right generation, and that each of them lives. It never accepts.
 *
 * Whatever happens (a report, an end, a command, a tick of the clock) changes
 * what is known, and then `#reconcile` compares it with what should be and
 * takes the next steps. So no two stories are ever half told at once: a worker
 * that crashes while others are reloaded is one more difference to mend.
 *
 * Length: the states of a worker and what moves it from one to the next are one
 * story.
 */
import type { LeveledLogger } from "../log.ts";
import type { ChildProcess, ProcessEnd } from "./host.ts";
import {
  type Beat,
  type Outcome,
  readReport,
  type Report,
  type Slot,
  type WorkerStatus,
} from "./protocol.ts";
import { assignSlots } from "./slots.ts";

/** What the arbiter goes by; a reload brings new ones. */
export interface ArbiterSettings {
  /** How many workers there should be. */
  readonly workers: number;
  /** How long a worker that leaves may take for what it serves. */
  readonly graceSeconds: number;
  /** A worker that is silent for longer is hung; Infinity for never. */
  readonly timeoutSeconds: number;
  /** How long a worker may take until it serves. */
  readonly bootSeconds: number;
  /** A worker is replaced after so many requests; Infinity for never. */
  readonly maxRequests: number;
  /** At most so many more, by chance, so that not all leave together. */
  readonly maxRequestsJitter: number;
  /** A worker with more resident memory is replaced; Infinity for never. */
  readonly maxRssBytes: number;
}

/** What the arbiter works with. */
export interface ArbiterPorts {
  readonly log: LeveledLogger;
  readonly slots: readonly Slot[];
  /** How many workers may boot at the same time. */
  readonly bootsAtOnce: number;
  /** Seconds on a steady clock. */
  now(): number;
  /** From 0 to below 1. */
  random(): number;
  /** Starts a worker. Throws what the system refuses with. */
  startWorker(seat: number, generation: number): ChildProcess;
  /** Every worker serves, for the first time. */
  onReady(pids: readonly number[]): void;
}

/** How often `tick()` is to be called. */
export const tickSeconds = 0.25;

/** Beyond the time that a worker has to leave, and beyond its timeout, so that
 * it can do and say itself what is to be said. */
const marginSeconds = 1;
/** A worker that crashes sooner after it began to serve is one that keeps
 * crashing. */
const steadySeconds = 10;
const firstBackoffSeconds = 0.5;
const longestBackoffSeconds = 30;

/** Starts, loads the application. */
const BOOTING = "booting";
/** Has loaded it, and waits. */
const LOADED = "loaded";
/** Was told to accept. */
const JOINING = "joining";
/** Accepts. */
const SERVING = "serving";
/** Accepts no more; ends what it serves. */
const DRAINING = "draining";

type State =
  | typeof BOOTING
  | typeof LOADED
  | typeof JOINING
  | typeof SERVING
  | typeof DRAINING;

/** A worker as the arbiter knows it. */
interface Worker {
  readonly child: ChildProcess;
  readonly seat: number;
  readonly generation: number;
  readonly startedAt: number;
  readonly maxRequests: number;
  state: State;
  /** When it last gave a sign of life. */
  heardAt: number;
  /** When its patience ends, for booting or for draining. */
  deadline: number;
  servingSince: number;
  /** What it was told to accept on. A socket is never given back: to close a
   * listener is to close its descriptor, which could not be had again. */
  readonly fds: Set<number>;
  beat: Beat | undefined;
  /** Its own account of why it leaves. */
  failure: string | undefined;
  /** Whether we ended it, and have said why. */
  killed: boolean;
}

/** How a seat has fared. */
interface Seat {
  failures: number;
  retryAt: number;
}

/** New workers are being made, of which none serves until all can. */
interface Reload {
  readonly generation: number;
  readonly settings: ArbiterSettings;
  readonly resolve: (outcome: Outcome) => void;
}

/** Somebody waits until something is so. */
interface Waiter {
  readonly outcome: () => Outcome | undefined;
  readonly resolve: (outcome: Outcome) => void;
}

/** Keeps the workers. */
export class Arbiter {
  /** Resolves with the exit code once every worker has gone after `stop()`, or
   * after a boot that failed before anything was ever served. */
  readonly finished: Promise<number>;
  /** Why it could not begin to serve; undefined unless that is so. */
  failure: string | undefined;
  #settings: ArbiterSettings;
  readonly #ports: ArbiterPorts;
  readonly #workers = new Set<Worker>();
  readonly #seats = new Map<number, Seat>();
  readonly #waiters = new Set<Waiter>();
  #target: number;
  #generation = 1;
  #reload: Reload | undefined;
  #everServed = false;
  #wasReady = false;
  #stopping: "no" | "gracefully" | "quickly" = "no";
  #exitCode = 0;
  #goneRequests = 0;
  #tickedAt: number;
  #finish: (code: number) => void = () => {};

  constructor(settings: ArbiterSettings, ports: ArbiterPorts) {
    this.#settings = settings;
    this.#target = settings.workers;
    this.#ports = ports;
    this.#tickedAt = ports.now();
    this.finished = new Promise((resolve) => this.#finish = resolve);
  }

  // ---- What it can be told ----

  /** Begins to start workers. */
  start(): void {
    this.#reconcile();
  }

  /** Makes new workers with new settings; once all of them can serve they take
   * over, and the old ones leave. If one cannot, all old ones stay. Resolves
   * when the new ones serve. */
  reload(settings: ArbiterSettings): Promise<Outcome> {
    if (this.#stopping !== "no") return Promise.resolve(refused("stopping"));
    if (this.#reload !== undefined) {
      return Promise.resolve(refused("already reloading"));
    }
    return new Promise((resolve) => {
      this.#reload = {
        generation: this.#generation + 1,
        settings,
        resolve,
      };
      // From now on a seat is filled with the new kind, so its mishaps of the
      // past do not count.
      this.#seats.clear();
      this.#reconcile();
    });
  }

  /** Has so many workers from now on. Resolves when they serve, or when those
   * that are too many have been told to leave. */
  scale(workers: number): Promise<Outcome> {
    if (this.#stopping !== "no") return Promise.resolve(refused("stopping"));
    if (this.#reload !== undefined) {
      return Promise.resolve(refused("reloading"));
    }
    if (workers !== this.#target) {
      this.#ports.log.info(`Scaling from ${this.#target} to ${workers}`);
    }
    this.#target = workers;
    return this.#until(() => {
      if (this.#target !== workers) return refused("scaled otherwise");
      if (!this.#complete()) return undefined;
      return { ok: true, message: `${workers} worker(s) serve` };
    });
  }

  /** How many workers there should be. */
  get target(): number {
    return this.#target;
  }

  /** Has every worker close and open its log files. */
  reopen(): void {
    for (const worker of this.#workers) {
      worker.child.channel.send({ type: "reopen" });
    }
  }

  /** Lets the workers end what they serve, at most for the grace time, or cuts
   * it; then `finished` resolves with `exitCode`. May be called again, to
   * hurry. */
  stop(quick: boolean, exitCode = 0): void {
    if (this.#stopping === "no") this.#exitCode = exitCode;
    this.#stopping = quick ? "quickly" : "gracefully";
    this.#reload?.resolve(refused("stopping"));
    this.#reload = undefined;
    const grace = quick ? 0 : this.#settings.graceSeconds;
    for (const worker of this.#workers) {
      // What does not serve yet has nothing to end.
      this.#drain(worker, isBooting(worker) ? 0 : grace);
    }
    this.#reconcile();
  }

  /** Looks at the clock: who is silent, who takes too long, who may try again.
   * To be called every `tickSeconds`. */
  tick(): void {
    const now = this.#ports.now();
    this.#forgiveOwnPause(now);
    for (const worker of this.#workers) this.#watch(worker, now);
    this.#reconcile();
  }

  // ---- What it tells ----

  /** "starting", "serving", "reloading" or "stopping". */
  get state(): string {
    if (this.#stopping !== "no") return "stopping";
    if (this.#reload !== undefined) return "reloading";
    return this.#wasReady ? "serving" : "starting";
  }

  /** How many reloads there were, from 1. */
  get generation(): number {
    return this.#generation;
  }

  /** Requests of all workers, those that have left included. */
  get requests(): number {
    let sum = this.#goneRequests;
    for (const { beat } of this.#workers) sum += beat?.requests ?? 0;
    return sum;
  }

  /** The workers by seat. */
  workers(): WorkerStatus[] {
    const now = this.#ports.now();
    return [...this.#workers]
      .sort((a, b) => a.seat - b.seat || a.startedAt - b.startedAt)
      .map((worker) => ({
        pid: worker.child.pid,
        seat: worker.seat,
        generation: worker.generation,
        state: isBooting(worker) ? BOOTING : worker.state,
        age: now - worker.startedAt,
        requests: worker.beat?.requests ?? 0,
        busy: worker.beat?.busy ?? 0,
        connections: worker.beat?.connections ?? 0,
        rss: worker.beat?.rss ?? 0,
        silent: now - worker.heardAt,
      }));
  }

  // ---- What workers do ----

  #startWorker(seat: number, generation: number): void {
    const { log } = this.#ports;
    const now = this.#ports.now();
    let child: ChildProcess;
    try {
      child = this.#ports.startWorker(seat, generation);
    } catch (error) {
      this.#noteFailure(seat);
      log.error(`Worker ${seat} could not be started: ${String(error)}`);
      if (!this.#everServed) this.#giveUp(String(error));
      else this.#abortReload(`worker ${seat} could not be started`);
      return;
    }
    const { maxRequests, maxRequestsJitter, bootSeconds } = this.#settings;
    const worker: Worker = {
      child,
      seat,
      generation,
      startedAt: now,
      maxRequests: maxRequests +
        Math.floor(this.#ports.random() * (maxRequestsJitter + 1)),
      state: BOOTING,
      heardAt: now,
      deadline: now + bootSeconds,
      servingSince: NaN,
      fds: new Set(),
      beat: undefined,
      failure: undefined,
      killed: false,
    };
    this.#workers.add(worker);
    log.info(`${nameOf(worker)}: started`);
    child.channel.receive(
      (message) => this.#hear(worker, readReport(message)),
      () => {}, // its end is what counts
    );
    child.ended.then((end) => this.#bury(worker, end));
  }

  #hear(worker: Worker, report: Report | undefined): void {
    if (report === undefined || !this.#workers.has(worker)) return;
    worker.heardAt = this.#ports.now();
    switch (report.type) {
      case "beat":
        worker.beat = report;
        return; // the next tick looks at it
      case "failed":
        worker.failure = report.message;
        return; // its end follows
      case "loaded":
        if (worker.state === BOOTING) worker.state = LOADED;
        break;
      case "leaving":
        this.#letGo(worker);
        break;
      case "listening":
        if (worker.state === JOINING) this.#welcome(worker);
    }
    this.#reconcile();
  }

  /** It accepts: whoever had its seat may leave. */
  #welcome(worker: Worker): void {
    worker.state = SERVING;
    worker.servingSince = this.#ports.now();
    worker.deadline = Infinity;
    this.#everServed = true;
    this.#ports.log.info(`${nameOf(worker)}: serving`);
    for (const other of this.#workers) {
      if (
        other !== worker && other.seat === worker.seat &&
        other.startedAt <= worker.startedAt && other.state !== DRAINING
      ) this.#drain(other, this.#settings.graceSeconds);
    }
  }

  #drain(worker: Worker, graceSeconds: number): void {
    const deadline = this.#ports.now() + graceSeconds + marginSeconds;
    if (worker.state === DRAINING && worker.deadline <= deadline) return;
    worker.state = DRAINING;
    worker.deadline = deadline;
    worker.child.channel.send({ type: "drain", graceSeconds });
    this.#ports.log.info(`${nameOf(worker)}: leaving`);
  }

  /** Somebody else told it to leave. */
  #letGo(worker: Worker): void {
    if (worker.state === DRAINING) return;
    worker.state = DRAINING;
    worker.deadline = this.#ports.now() + this.#settings.graceSeconds +
      marginSeconds;
    this.#ports.log.info(`${nameOf(worker)}: was told to leave`);
  }

  /** It has ended: was that to be expected? */
  #bury(worker: Worker, end: ProcessEnd): void {
    this.#workers.delete(worker);
    this.#goneRequests += worker.beat?.requests ?? 0;
    const { log } = this.#ports;
    const how = describeEnd(end);
    if (worker.state === DRAINING) {
      if (end.code === 0 || worker.killed) {
        log.info(`${nameOf(worker)}: has left`);
      } else log.warn(`${nameOf(worker)}: ${how} while it was leaving`);
    } else if (worker.state === SERVING) {
      this.#noteCrash(worker);
      if (!worker.killed) log.error(`${nameOf(worker)}: ${how}`);
    } else {
      this.#buryUnborn(worker, how);
    }
    this.#reconcile();
  }

  /** It never served. */
  #buryUnborn(worker: Worker, how: string): void {
    const { log } = this.#ports;
    this.#noteFailure(worker.seat);
    const why = worker.failure ?? `${nameOf(worker)}: ${how}`;
    if (!worker.killed) {
      log.error(`${nameOf(worker)}: ${how} before it was ready`);
    }
    if (!this.#everServed) this.#giveUp(why);
    else if (worker.generation === this.#reload?.generation) {
      this.#abortReload(why);
    }
  }

  /** Nothing was ever served, and nothing will be. */
  #giveUp(why: string): void {
    this.failure ??= why;
    this.stop(true, 3);
  }

  #abortReload(why: string): void {
    const reload = this.#reload;
    if (reload === undefined) return;
    this.#reload = undefined;
    this.#ports.log.error(
      `Not reloaded, the old workers serve on: ${why}`,
    );
    for (const worker of this.#workers) {
      if (worker.generation === reload.generation) this.#drain(worker, 0);
    }
    reload.resolve({ ok: false, message: why });
  }

  // ---- Mishaps ----

  #noteCrash(worker: Worker): void {
    const served = this.#ports.now() - worker.servingSince;
    if (served > steadySeconds) this.#seats.delete(worker.seat);
    this.#noteFailure(worker.seat);
  }

  /** The first is mended at once, the next ones later and later. */
  #noteFailure(number: number): void {
    const seat = this.#seats.get(number) ?? { failures: 0, retryAt: 0 };
    const delay = seat.failures === 0 ? 0 : Math.min(
      longestBackoffSeconds,
      firstBackoffSeconds * 2 ** (seat.failures - 1),
    );
    seat.failures++;
    seat.retryAt = this.#ports.now() + delay;
    this.#seats.set(number, seat);
    if (delay > 0 && this.#everServed) {
      this.#ports.log.warn(
        `Worker ${number} keeps failing: the next is started in ${delay} s`,
      );
    }
  }

  /** Where this process itself stood still (a machine that slept, SIGSTOP),
   * nobody could be heard. */
  #forgiveOwnPause(now: number): void {
    const pause = now - this.#tickedAt - tickSeconds;
    this.#tickedAt = now;
    if (pause < 2 * tickSeconds) return;
    for (const worker of this.#workers) {
      worker.heardAt += pause;
      worker.deadline += pause;
    }
  }

  #watch(worker: Worker, now: number): void {
    const { timeoutSeconds, bootSeconds } = this.#settings;
    const { log } = this.#ports;
    if (worker.killed) return;
    if (now >= worker.deadline) {
      if (worker.state === DRAINING) {
        log.warn(`${nameOf(worker)}: did not leave in time; killed`);
      } else {
        log.error(
          `${nameOf(worker)}: was not ready within ${bootSeconds} s; killed ` +
            "(--boot-timeout)",
        );
      }
      this.#kill(worker);
    } else if (
      worker.state === SERVING &&
      now - worker.heardAt > timeoutSeconds + marginSeconds
    ) {
      const silent = Math.round(now - worker.heardAt);
      log.critical(
        `${nameOf(worker)}: its event loop has been blocked for ${silent} s ` +
          `with ${worker.beat?.busy ?? 0} request(s) when last heard; killed ` +
          "(--timeout)",
      );
      this.#kill(worker);
    }
  }

  #kill(worker: Worker): void {
    worker.killed = true;
    // Others accept on its sockets from now on.
    this.#assign();
    worker.child.kill("SIGKILL");
  }

  // ---- What should be, and the next steps to it ----

  #reconcile(): void {
    if (this.#stopping === "no") {
      this.#retireSurplus();
      this.#fillSeats();
      this.#seatTheLoaded();
      this.#recycle();
      this.#assign();
      this.#announceReady();
    } else if (this.#workers.size === 0) {
      this.#finish(this.#exitCode);
    }
    for (const waiter of this.#waiters) {
      const outcome = this.#stopping === "no"
        ? waiter.outcome()
        : refused("stopping");
      if (outcome === undefined) continue;
      this.#waiters.delete(waiter);
      waiter.resolve(outcome);
    }
  }

  #retireSurplus(): void {
    if (this.#reload !== undefined) return;
    for (const worker of this.#workers) {
      if (worker.seat > this.#target && worker.state !== DRAINING) {
        this.#drain(worker, this.#settings.graceSeconds);
      }
    }
  }

  #fillSeats(): void {
    const now = this.#ports.now();
    for (let seat = 1; seat <= this.#wanted(); seat++) {
      if (this.#stopping !== "no") return; // it could not be started
      const booting = this.#count(({ state }) => state === BOOTING);
      if (booting >= this.#ports.bootsAtOnce) return;
      if (this.#isFilled(seat)) continue;
      if (now < (this.#seats.get(seat)?.retryAt ?? 0)) continue;
      this.#startWorker(seat, this.#reload?.generation ?? this.#generation);
    }
  }

  #wanted(): number {
    return this.#reload?.settings.workers ?? this.#target;
  }

  #isFilled(seat: number): boolean {
    const generation = this.#reload?.generation;
    return this.#some((worker) =>
      worker.seat === seat && worker.state !== DRAINING &&
      (generation === undefined || worker.generation === generation)
    );
  }

  /** Whoever can serve begins to; but none of the first workers, and none of a
   * reload's, before all of them can. */
  #seatTheLoaded(): void {
    const reload = this.#reload;
    if (reload !== undefined || !this.#everServed) {
      const generation = reload?.generation ?? this.#generation;
      const able = this.#count((worker) =>
        worker.generation === generation &&
        (worker.state === LOADED || worker.state === JOINING)
      );
      if (able < this.#wanted()) return;
      if (reload !== undefined) this.#switchTo(reload);
    }
    for (const worker of this.#workers) {
      if (worker.state === LOADED) worker.state = JOINING;
    }
  }

  #switchTo(reload: Reload): void {
    this.#reload = undefined;
    this.#settings = reload.settings;
    this.#target = reload.settings.workers;
    this.#generation = reload.generation;
    const { generation } = reload;
    this.#until(() => {
      if (!this.#complete()) return undefined;
      const message = `Reloaded: generation ${generation}, ` +
        `${this.#target} worker(s) serve`;
      return { ok: true, message };
    }).then((outcome) => {
      if (outcome.ok) this.#ports.log.info(outcome.message);
      reload.resolve(outcome);
    });
  }

  /** Replaces a worker that has done enough or grown too large; one at a time. */
  #recycle(): void {
    if (this.#reload !== undefined || !this.#complete()) return;
    if (this.#count(isBooting) > 0) return;
    for (const worker of this.#workers) {
      const reason = this.#exhaustionOf(worker);
      if (reason === undefined) continue;
      this.#ports.log.info(`${nameOf(worker)}: ${reason}; to be replaced`);
      this.#startWorker(worker.seat, this.#generation);
      return;
    }
  }

  #exhaustionOf({ state, beat, maxRequests }: Worker): string | undefined {
    if (state !== SERVING || beat === undefined) return undefined;
    const { requests, rss } = beat;
    if (requests >= maxRequests) {
      return `has answered ${requests} requests (--max-requests)`;
    }
    if (rss > this.#settings.maxRssBytes) {
      return `has ${Math.round(rss / 1024 ** 2)} MB (--max-rss)`;
    }
    return undefined;
  }

  /** Tells whoever is to accept on something more. */
  #assign(): void {
    const accepting = [...this.#workers].filter((worker) =>
      !worker.killed && (worker.state === JOINING || worker.state === SERVING)
    );
    const seats = [...new Set(accepting.map((worker) => worker.seat))].sort(
      (a, b) => a - b,
    );
    const fds = assignSlots(this.#ports.slots, seats);
    for (const worker of accepting) {
      const missing = (fds.get(worker.seat) ?? [])
        .filter((fd) => !worker.fds.has(fd));
      // Even if there is nothing to accept on, it has to say that it serves.
      if (missing.length === 0 && worker.fds.size > 0) continue;
      for (const fd of missing) worker.fds.add(fd);
      worker.child.channel.send({ type: "listen", fds: missing });
    }
  }

  #announceReady(): void {
    if (this.#wasReady || this.#target === 0 || !this.#complete()) return;
    this.#wasReady = true;
    this.#ports.onReady(
      [...this.#workers].filter(({ state }) => state === SERVING)
        .sort((a, b) => a.seat - b.seat)
        .map(({ child }) => child.pid),
    );
  }

  /** Whether every seat serves with the current generation, and nobody else
   * does. */
  #complete(): boolean {
    const current = this.#count((worker) =>
      worker.state === SERVING && worker.generation === this.#generation &&
      !worker.killed
    );
    return current === this.#target &&
      !this.#some((worker) =>
        worker.state !== DRAINING && worker.seat > this.#target
      );
  }

  #count(is: (worker: Worker) => boolean): number {
    let count = 0;
    for (const worker of this.#workers) if (is(worker)) count++;
    return count;
  }

  #some(is: (worker: Worker) => boolean): boolean {
    return this.#count(is) > 0;
  }

  #until(outcome: () => Outcome | undefined): Promise<Outcome> {
    return new Promise((resolve) => {
      this.#waiters.add({ outcome, resolve });
      this.#reconcile();
    });
  }
}

function isBooting({ state }: Worker): boolean {
  return state === BOOTING || state === LOADED || state === JOINING;
}

function nameOf({ seat, child }: Worker): string {
  return `Worker ${seat} (pid ${child.pid})`;
}

function describeEnd({ code, signal }: ProcessEnd): string {
  return signal === null ? `exited with code ${code}` : `ended by ${signal}`;
}

function refused(state: string): Outcome {
  return { ok: false, message: `The arbiter is ${state}` };
}
