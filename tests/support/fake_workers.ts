/** Workers for an arbiter, without processes: a test says what they report and
 * how they end, or how they behave by themselves while time passes. */
import type { Arbiter, ArbiterPorts } from "../../src/daemon/arbiter.ts";
import { tickSeconds } from "../../src/daemon/arbiter.ts";
import type {
  Channel,
  ChildProcess,
  DaemonSignal,
  ProcessEnd,
} from "../../src/daemon/host.ts";
import {
  type Order,
  readOrder,
  type Report,
  type Slot,
} from "../../src/daemon/protocol.ts";

/** What a worker does by itself. */
export interface Behaviour {
  /** Reports "loaded" at the first tick. */
  loads: boolean;
  /** Answers "listen" with "listening", at once. */
  joins: boolean;
  /** Beats once a second. */
  beats: boolean;
  /** Ends with 0 at the tick after it was told to drain. */
  leaves: boolean;
  /** Ends when it is killed. */
  dies: boolean;
}

/** One that does what it should. */
export const healthy: Behaviour = {
  loads: true,
  joins: true,
  beats: true,
  leaves: true,
  dies: true,
};

/** One that does nothing but die when it is killed. */
export const passive: Behaviour = {
  loads: false,
  joins: false,
  beats: false,
  leaves: false,
  dies: true,
};

/** Long enough for whatever follows from a settled promise. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await Promise.resolve();
}

/** A worker's process. */
export class FakeWorker implements ChildProcess {
  readonly pid: number;
  readonly seat: number;
  readonly generation: number;
  readonly behaviour: Behaviour;
  readonly channel: Channel;
  readonly ended: Promise<ProcessEnd>;
  /** What it was told. */
  readonly orders: Order[] = [];
  /** Every signal that it was sent. */
  readonly signals: string[] = [];
  /** What it was told to accept on. */
  readonly fds: Set<number> = new Set();
  /** Whether it has ended. */
  isGone = false;
  /** Whether it has reported that it accepts, and nothing against it. */
  serves = false;
  /** Whether it has reported that it can serve. */
  hasLoaded = false;
  /** Whether it leaves, told by whomever. */
  drains = false;
  /** What it tells of itself when it beats. */
  requests = 0;
  rss = 0;
  readonly #stage: Stage;
  #onMessage: (message: unknown) => void = () => {};
  #end: (end: ProcessEnd) => void = () => {};
  #beatAt: number;

  constructor(stage: Stage, pid: number, seat: number, generation: number) {
    this.#stage = stage;
    this.pid = pid;
    this.seat = seat;
    this.generation = generation;
    this.behaviour = { ...stage.behaviour };
    this.#beatAt = stage.now + 1;
    this.ended = new Promise((resolve) => this.#end = resolve);
    this.channel = {
      open: true,
      send: (message) => this.#take(JSON.parse(JSON.stringify(message))),
      flushed: () => Promise.resolve(),
      receive: (onMessage) => this.#onMessage = onMessage,
      close: () => {},
    };
  }

  /** Sends a signal to it. */
  kill(signal: DaemonSignal | "SIGKILL"): void {
    this.signals.push(signal);
    this.#stage.onKill(this);
    this.serves = false;
    if (this.behaviour.dies) this.end(null, signal);
  }

  /** Ends by itself. */
  end(code: number | null, signal: string | null = null): void {
    if (this.isGone) return;
    this.isGone = true;
    this.serves = false;
    this.#end({ code, signal });
  }

  /** Says something to the arbiter. */
  report(report: Report): void {
    if (this.isGone) return;
    if (report.type === "leaving") {
      this.drains = true;
      this.serves = false;
    }
    // A report may be on its way when the arbiter kills or dismisses it.
    if (report.type === "listening" && !this.drains) {
      this.serves = !this.signals.includes("SIGKILL");
    }
    this.#onMessage(JSON.parse(JSON.stringify(report)));
  }

  load(): void {
    this.hasLoaded = true;
    this.report({ type: "loaded" });
  }

  join(): void {
    this.report({ type: "listening", fds: [...this.fds] });
  }

  beat(): void {
    this.report({
      type: "beat",
      requests: this.requests,
      busy: 0,
      connections: 0,
      rss: this.rss,
    });
  }

  /** How many seconds it was given to leave, each time. */
  get graces(): number[] {
    return this.orders.flatMap((order) =>
      order.type === "drain" ? [order.graceSeconds] : []
    );
  }

  /** How long it may let connections be idle, each time it is told to leave. */
  get patience(): number[] {
    return this.orders.flatMap((order) =>
      order.type === "drain" ? [order.idleSeconds] : []
    );
  }

  #take(message: unknown): void {
    const order = readOrder(message);
    if (order === undefined) throw new Error(`No order: ${message}`);
    this.orders.push(order);
    this.#stage.onOrder(this, order);
    switch (order.type) {
      case "drain":
        this.drains = true;
        this.serves = false;
        break;
      case "listen":
        for (const fd of order.fds) this.fds.add(fd);
        if (this.behaviour.joins) {
          queueMicrotask(() => this.behaviour.joins && this.join());
        }
    }
  }

  /** Does what is due. */
  live(now: number): void {
    const { beats, joins, leaves, loads } = this.behaviour;
    if (this.isGone) return;
    if (this.drains) {
      if (leaves) this.end(0);
      return;
    }
    if (loads && !this.hasLoaded) this.load();
    const wasTold = this.orders.some(({ type }) => type === "listen");
    if (joins && wasTold && !this.serves) this.join();
    if (now < this.#beatAt) return;
    this.#beatAt = now + 1;
    if (beats) this.beat();
  }
}

/** Where an arbiter acts: the clock, the log and the workers that it started. */
export class Stage {
  /** Seconds. */
  now = 1000;
  /** How many ticks there were. */
  ticks = 0;
  /** How new workers behave. */
  behaviour: Behaviour = healthy;
  /** All that were ever started, in order. */
  readonly workers: FakeWorker[] = [];
  /** "[warn] ...". */
  readonly logged: string[] = [];
  /** What `onReady` was called with, each time. */
  readonly ready: (readonly number[])[] = [];
  /** Called before a worker takes an order. */
  onOrder: (worker: FakeWorker, order: Order) => void = () => {};
  /** Called before a worker takes a SIGKILL. */
  onKill: (worker: FakeWorker) => void = () => {};
  /** What starting a worker throws. */
  refusal: Error | undefined;
  /** What `random()` gives. */
  chance = 0;
  readonly ports: ArbiterPorts;
  #nextPid = 101;
  #nextTick = 0;

  constructor(slots: readonly Slot[], bootsAtOnce = 8) {
    const log = (level: string) => (message: string) =>
      void this.logged.push(`[${level}] ${message}`);
    this.ports = {
      log: {
        debug: log("debug"),
        info: log("info"),
        warn: log("warn"),
        error: log("error"),
        critical: log("critical"),
      },
      slots,
      bootsAtOnce,
      now: () => this.now,
      random: () => this.chance,
      startWorker: (seat, generation) => {
        if (this.refusal !== undefined) throw this.refusal;
        const pid = this.#nextPid++;
        const worker = new FakeWorker(this, pid, seat, generation);
        this.workers.push(worker);
        return worker;
      },
      onReady: (pids) => void this.ready.push(pids),
    };
  }

  /** Those that have not ended. */
  get alive(): FakeWorker[] {
    return this.workers.filter(({ isGone }) => !isGone);
  }

  /** Those that accept, the lowest seat first. */
  get serving(): FakeWorker[] {
    return this.alive.filter(({ serves }) => serves)
      .sort((a, b) => a.seat - b.seat);
  }

  /** The one that was started last. */
  get newest(): FakeWorker {
    const newest = this.workers.at(-1);
    if (newest === undefined) throw new Error("No worker was started");
    return newest;
  }

  /** The one that serves on this seat. */
  at(seat: number): FakeWorker {
    const found = this.serving.filter((worker) => worker.seat === seat);
    if (found[0] === undefined) throw new Error(`Nobody serves on ${seat}`);
    return found[0];
  }

  /** Lets time pass, with its ticks and what the workers do meanwhile. */
  async pass(seconds: number, arbiter: Arbiter): Promise<void> {
    const end = this.now + seconds;
    this.#nextTick = Math.max(this.#nextTick, this.now + tickSeconds);
    await settled();
    while (this.#nextTick <= end) {
      this.now = this.#nextTick;
      this.#nextTick += tickSeconds;
      for (const worker of this.alive) worker.live(this.now);
      await settled();
      this.ticks++;
      arbiter.tick();
      await settled();
    }
    this.now = end;
  }

  /** Nobody gets to do anything for so long. */
  standStill(seconds: number): void {
    this.now += seconds;
  }
}
