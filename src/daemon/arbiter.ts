/**
 * The arbiter: sees to it that as many workers serve as there should be, of the
 * right generation, and that each of them lives. It never accepts.
 *
 * Whatever happens (a report, an end, a command, a tick of the clock) changes
 * what is known, and then `#reconcile` compares it with what should be and
 * takes the next steps. So no two stories are ever half told at once: a worker
 * that crashes while others are reloaded is one more difference to mend.
 *
 * Length: what should be, what is and the steps from one to the other are one
 * story.
 */
import type { LeveledLogger } from "../log.ts";
import { Backoff } from "./backoff.ts";
import { Crew } from "./crew.ts";
import type { ChildProcess, ProcessEnd } from "./host.ts";
import {
  type Outcome,
  readReport,
  type Report,
  type Slot,
  type WorkerStatus,
} from "./protocol.ts";
import { type Reopened, Reopenings } from "./reopening.ts";
import { assignSlots } from "./slots.ts";
import {
  describeEnd,
  describeExhaustion,
  DRAINING,
  type Exhaustion,
  JOINING,
  SERVING,
  WorkerRecord,
} from "./worker_record.ts";

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

/** How long connections may be idle before they are closed: where others go on
 * with the service, and where nobody does. */
const patientSeconds = 5;
const hastySeconds = 0.3;

/** How often `tick()` is to be called. */
export const tickSeconds = 0.25;

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

/** A worker could not begin to serve. */
interface Mishap {
  readonly why: string;
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
  readonly #crew = new Crew();
  readonly #backoff = new Backoff();
  readonly #waiters = new Set<Waiter>();
  readonly #reopenings = new Reopenings();
  #target: number;
  #generation = 1;
  #reload: Reload | undefined;
  #everServed = false;
  #wasReady = false;
  #stopping = false;
  #exitCode = 0;
  #lastMishap: Mishap | undefined;
  #tickedAt: number;
  #reconciling: "no" | "yes" | "and again" = "no";
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
    this.#tickedAt = this.#ports.now();
    this.#reconcile();
  }

  /** Makes new workers with new settings; once all of them can serve they take
   * over, and the old ones leave. If one cannot, all old ones stay. Resolves
   * when the new ones serve. */
  reload(settings: ArbiterSettings): Promise<Outcome> {
    const obstacle = this.#stopping
      ? refused("stopping")
      : this.#reload !== undefined
      ? refused("already reloading")
      : undefined;
    if (obstacle !== undefined) {
      this.#ports.log.warn(`Not reloaded: ${obstacle.message}`);
      return Promise.resolve(obstacle);
    }
    return new Promise((resolve) => {
      this.#reload = {
        generation: this.#generation + 1,
        settings,
        resolve,
      };
      this.#backoff.forgiveAll();
      this.#reconcile();
    });
  }

  /** Has so many workers from now on. Resolves when they serve, when those that
   * are too many have been told to leave, or when one could not begin to serve;
   * it will be tried again then. */
  scale(workers: number): Promise<Outcome> {
    const obstacle = this.#stopping
      ? refused("stopping")
      : this.#reload !== undefined
      ? refused("reloading")
      : undefined;
    if (obstacle !== undefined) {
      this.#ports.log.warn(`Not scaled: ${obstacle.message}`);
      return Promise.resolve(obstacle);
    }
    if (workers !== this.#target) {
      this.#ports.log.info(`Scaling from ${this.#target} to ${workers}`);
    }
    this.#target = workers;
    const formerMishap = this.#lastMishap;
    const outcome = this.#until(() => {
      if (this.#target !== workers) return refused("scaled otherwise");
      if (this.#complete()) {
        return { ok: true, message: `${workers} worker(s) serve` };
      }
      return this.#lastMishap === formerMishap ? undefined : {
        ok: false,
        message: `${this.#lastMishap?.why ?? ""}; it will be tried again`,
      };
    });
    this.#reconcile();
    return outcome;
  }

  /** How many workers there should be. */
  get target(): number {
    return this.#target;
  }

  /** Has every worker close and open its log files, those that leave
   * included. Resolves once none of them writes to the old ones, or could have
   * seen to it. */
  reopen(): Promise<Reopened> {
    return this.#reopenings.begin(this.#crew, this.#ports.now());
  }

  /** Lets the workers end what they serve, at most for the grace time, or cuts
   * it; then `finished` resolves with `exitCode`. `others` tells that the
   * service goes on elsewhere. May be called again, to hurry. */
  stop(quick: boolean, exitCode = 0, others = false): void {
    if (!this.#stopping) this.#exitCode = exitCode;
    this.#stopping = true;
    this.#reload?.resolve(refused("stopping"));
    this.#reload = undefined;
    const grace = quick ? 0 : this.#settings.graceSeconds;
    for (const worker of this.#crew) {
      // What does not serve yet has nothing to end.
      this.#dismiss(
        worker,
        worker.isBooting ? 0 : grace,
        others && !quick ? patientSeconds : hastySeconds,
      );
    }
    this.#reconcile();
  }

  /** Looks at the clock: who is silent, who takes too long, who may try again.
   * To be called every `tickSeconds`. */
  tick(): void {
    const now = this.#ports.now();
    this.#forgiveOwnPause(now);
    for (const worker of this.#crew) this.#watch(worker, now);
    this.#reopenings.tick(now);
    this.#reconcile();
  }

  // ---- What it tells ----

  /** "starting", "serving", "reloading" or "stopping". */
  get state(): string {
    if (this.#stopping) return "stopping";
    if (this.#reload !== undefined) return "reloading";
    return this.#wasReady ? "serving" : "starting";
  }

  /** How many reloads there were, from 1. */
  get generation(): number {
    return this.#generation;
  }

  /** Requests of all workers, those that have left included. */
  get requests(): number {
    return this.#crew.requests;
  }

  /** The workers by seat, and within it by age. */
  workers(): WorkerStatus[] {
    return this.#crew.statuses(this.#ports.now());
  }

  // ---- What workers do ----

  #startWorker(seat: number): void {
    const { log } = this.#ports;
    const generation = this.#newest();
    let child: ChildProcess;
    try {
      child = this.#ports.startWorker(seat, generation);
    } catch (error) {
      const why = `Worker ${seat} could not be started: ${String(error)}`;
      log.error(why);
      this.#noteFailure(seat);
      this.#noteMishap(generation, why);
      return;
    }
    const { maxRequests, maxRequestsJitter, bootSeconds } =
      this.#reload?.settings ?? this.#settings;
    const extra = Math.floor(this.#ports.random() * (maxRequestsJitter + 1));
    const worker = new WorkerRecord(
      child,
      { seat, generation, bootSeconds, maxRequests: maxRequests + extra },
      this.#ports.now(),
    );
    this.#crew.add(worker);
    log.info(`${worker.name}: started`);
    child.channel.receive(
      (message) => this.#hear(worker, readReport(message)),
      () => {}, // its end is what counts
    );
    child.ended.then((end) => this.#bury(worker, end));
  }

  #hear(worker: WorkerRecord, report: Report | undefined): void {
    if (report === undefined || !this.#crew.has(worker)) return;
    worker.heard(this.#ports.now());
    switch (report.type) {
      case "beat":
        worker.beat = report;
        return; // the next tick looks at it
      case "failed":
        worker.failure = report.message;
        return; // its end follows
      case "reopened":
        return this.#reopenings.answered(worker, report.failures);
    }
    // What it was about to do when it was killed comes to nothing.
    if (worker.killed) return;
    switch (report.type) {
      case "loaded":
        worker.load();
        break;
      case "leaving":
        this.#letGo(worker);
        break;
      case "listening":
        if (worker.state === JOINING) this.#welcome(worker);
    }
    this.#reconcile();
  }

  /** It accepts: whoever had its seat before may leave. */
  #welcome(worker: WorkerRecord): void {
    worker.serve(this.#ports.now());
    this.#everServed = true;
    this.#ports.log.info(`${worker.name}: serving`);
    for (const former of this.#crew.predecessorsOf(worker)) {
      this.#dismiss(former, this.#settings.graceSeconds);
    }
  }

  /** Where others go on, nobody waits for its end, and connections may be idle
   * for longer: a request that crosses their end would be lost. */
  #dismiss(
    worker: WorkerRecord,
    graceSeconds: number,
    idleSeconds = patientSeconds,
  ): void {
    const farewell = { graceSeconds, idleSeconds };
    if (!worker.dismiss(farewell, this.#ports.now())) return;
    this.#ports.log.info(`${worker.name}: leaving`);
  }

  /** Somebody else told it to leave, or its application has failed. */
  #letGo(worker: WorkerRecord): void {
    if (worker.state === DRAINING) return;
    worker.leave(this.#settings.graceSeconds, this.#ports.now());
    this.#ports.log.info(`${worker.name}: leaves by itself`);
    this.#noteFailure(worker.seat);
  }

  /** It has ended: was that to be expected? */
  #bury(worker: WorkerRecord, end: ProcessEnd): void {
    this.#crew.remove(worker);
    this.#reopenings.left(worker);
    const { log } = this.#ports;
    const how = describeEnd(end);
    if (worker.state !== DRAINING) {
      this.#noteFailure(worker.seat);
      const when = worker.state === SERVING ? "" : " before it was ready";
      if (!worker.killed) log.error(`${worker.name}: ${how}${when}`);
      if (worker.state !== SERVING) this.#noteUnborn(worker, how + when);
    } else if (end.code === 0 || worker.killed) {
      log.info(`${worker.name}: has left`);
    } else {
      log.warn(`${worker.name}: ${how} while it was leaving`);
      const everServed = worker.servingSince < Infinity;
      if (!worker.dismissed && !everServed) this.#noteUnborn(worker, how);
    }
    this.#reconcile();
  }

  #noteUnborn(worker: WorkerRecord, how: string): void {
    const { failure, generation } = worker;
    const told = !this.#everServed || generation === this.#reload?.generation;
    if (failure !== undefined && !told && !worker.killed) {
      this.#ports.log.error(failure);
    }
    this.#noteMishap(generation, failure ?? `${worker.name}: ${how}`);
  }

  // ---- Mishaps ----

  /** Somebody could not begin to serve. */
  #noteMishap(generation: number, why: string): void {
    this.#lastMishap = { why };
    if (this.#stopping) return;
    if (!this.#everServed) {
      this.failure = why;
      this.stop(true, 3);
    } else if (generation === this.#reload?.generation) this.#abortReload(why);
  }

  #abortReload(why: string): void {
    const reload = this.#reload;
    if (reload === undefined) return;
    this.#reload = undefined;
    // What kept failing was the new kind.
    this.#backoff.forgiveAll();
    this.#ports.log.error(
      `Not reloaded, the old workers serve on: ${why}`,
    );
    for (const worker of this.#crew) {
      if (worker.generation === reload.generation) this.#dismiss(worker, 0);
    }
    reload.resolve({ ok: false, message: why });
  }

  #noteFailure(seat: number, what = "keeps failing"): void {
    const delay = this.#backoff.note(seat, this.#ports.now());
    if (delay === 0 || !this.#everServed || this.#stopping) return;
    this.#ports.log.warn(
      `Worker ${seat} ${what}: the next is started in ${delay} s`,
    );
  }

  /** Where this process itself stood still (a machine that slept, SIGSTOP),
   * nobody could be heard. */
  #forgiveOwnPause(now: number): void {
    const pause = now - this.#tickedAt - tickSeconds;
    this.#tickedAt = now;
    if (pause < 2 * tickSeconds) return;
    for (const worker of this.#crew) worker.forgive(pause, now);
    this.#reopenings.forgive(pause);
  }

  #watch(worker: WorkerRecord, now: number): void {
    const { log } = this.#ports;
    const { timeoutSeconds } = this.#settings;
    if (worker.isLate(now)) {
      if (worker.state === DRAINING) {
        log.warn(`${worker.name}: did not leave in time; killed`);
      } else {
        worker.failure = `${worker.name}: was not ready within ` +
          `${worker.bootSeconds} s (--boot-timeout)`;
        log.error(`${worker.failure}; killed`);
      }
      this.#kill(worker);
    } else if (worker.isHung(timeoutSeconds, now)) {
      const silent = Math.round(worker.silence(now));
      worker.failure = `${worker.name}: its event loop has been blocked for ` +
        `${silent} s with ${worker.beat?.busy ?? 0} request(s) when last ` +
        "heard (--timeout)";
      log.critical(`${worker.failure}; killed`);
      this.#kill(worker);
    } else if (
      this.#exhaustionOf(worker) !== "memory" && worker.isSteady
    ) {
      this.#backoff.forgive(worker.seat, worker.servingSince);
    }
  }

  #kill(worker: WorkerRecord): void {
    worker.abandon();
    // Others accept on its sockets from now on.
    this.#assign();
    worker.end();
  }

  // ---- What should be, and the next steps to it ----

  /** A step may be what calls for the next: then all are taken again. */
  #reconcile(): void {
    if (this.#reconciling !== "no") {
      this.#reconciling = "and again";
      return;
    }
    try {
      do {
        this.#reconciling = "yes";
        if (!this.#stopping) this.#takeSteps();
        else if (this.#crew.isEmpty) this.#finish(this.#exitCode);
        this.#answerWaiters();
      } while (this.#reconciling !== "yes");
    } finally {
      this.#reconciling = "no";
    }
  }

  #takeSteps(): void {
    this.#retireSurplus();
    this.#fillSeats();
    this.#seatTheLoaded();
    this.#recycle();
    this.#assign();
    this.#announceReady();
  }

  #retireSurplus(): void {
    if (this.#reload !== undefined) return;
    for (const worker of this.#crew) {
      if (worker.seat > this.#target && worker.state !== DRAINING) {
        this.#dismiss(worker, this.#settings.graceSeconds);
      }
    }
  }

  #fillSeats(): void {
    const now = this.#ports.now();
    for (let seat = 1; seat <= this.#wanted(); seat++) {
      if (this.#stopping) return; // one could not be started
      if (this.#crew.booting >= this.#ports.bootsAtOnce) return;
      if (this.#crew.isFilled(seat, this.#newest())) continue;
      if (this.#backoff.allows(seat, now)) this.#startWorker(seat);
    }
  }

  #wanted(): number {
    return this.#reload?.settings.workers ?? this.#target;
  }

  /** The generation that new workers are of. */
  #newest(): number {
    return this.#reload?.generation ?? this.#generation;
  }

  /** Whoever can serve begins to; but none of the first workers, and none of a
   * reload's, before all of them can. */
  #seatTheLoaded(): void {
    const reload = this.#reload;
    if (reload !== undefined || !this.#everServed) {
      if (this.#crew.loaded(this.#newest()) < this.#wanted()) return;
      if (reload !== undefined) this.#switchTo(reload);
    }
    const now = this.#ports.now();
    for (const worker of this.#crew) worker.join(now);
  }

  #switchTo(reload: Reload): void {
    const { generation, settings } = reload;
    this.#reload = undefined;
    this.#settings = settings;
    this.#target = settings.workers;
    this.#generation = generation;
    for (const worker of this.#crew) {
      // Of the old ones, those that do not serve yet come too late.
      if (worker.generation !== generation && worker.isBooting) {
        this.#dismiss(worker, 0);
      }
    }
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
    if (this.#crew.isGrowing) return;
    const now = this.#ports.now();
    for (const worker of this.#crew) {
      const exhaustion = this.#exhaustionOf(worker);
      if (exhaustion === undefined) continue;
      if (!this.#backoff.allows(worker.seat, now)) continue;
      this.#ports.log.info(
        `${worker.name}: ${
          describeExhaustion(exhaustion, worker)
        }; to be replaced`,
      );
      // One that is too large from the beginning will be again.
      if (exhaustion === "memory") {
        this.#noteFailure(worker.seat, "outgrows --max-rss again and again");
      }
      this.#startWorker(worker.seat);
      return;
    }
  }

  #exhaustionOf(worker: WorkerRecord): Exhaustion | undefined {
    return worker.exhaustion(this.#settings.maxRssBytes);
  }

  /** Tells whoever is to accept on something more. */
  #assign(): void {
    const seats = this.#crew.reliableSeats(this.#ports.now());
    const fds = assignSlots(this.#ports.slots, seats);
    for (const worker of this.#crew) {
      if (worker.mayAccept) worker.acceptOn(fds.get(worker.seat) ?? []);
    }
  }

  #announceReady(): void {
    if (this.#wasReady || this.#target === 0 || !this.#complete()) return;
    this.#wasReady = true;
    this.#ports.onReady(this.#crew.servingPids());
  }

  /** Whether every seat serves with the current generation. */
  #complete(): boolean {
    return this.#target === this.#crew.serving(this.#generation);
  }

  // ---- Who waits for an outcome ----

  #until(outcome: () => Outcome | undefined): Promise<Outcome> {
    return new Promise((resolve) => this.#waiters.add({ outcome, resolve }));
  }

  #answerWaiters(): void {
    for (const waiter of this.#waiters) {
      const outcome = this.#stopping ? refused("stopping") : waiter.outcome();
      if (outcome === undefined) continue;
      this.#waiters.delete(waiter);
      waiter.resolve(outcome);
    }
  }
}

function refused(state: string): Outcome {
  return { ok: false, message: `The arbiter is ${state}` };
}
