/** Random walks: whatever happens to an arbiter's workers in whatever order,
 * some things never are so, and when it is over all is as it should be. A walk
 * is told by its seed. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import {
  Arbiter,
  type ArbiterSettings,
  tickSeconds,
} from "../../src/daemon/arbiter.ts";
import type { Order, Outcome, Slot } from "../../src/daemon/protocol.ts";
import { Random } from "../fuzz/mutate.ts";
import {
  type Behaviour,
  type FakeWorker,
  healthy,
  settled,
  Stage,
} from "../support/fake_workers.ts";

const walks = 60;
const steps = 50;
const bootsAtOnce = 2;
const graceSeconds = 5;
const tooMany = 1000;

const slots: readonly Slot[] = [
  { fd: 3, address: { host: "127.0.0.1", port: 80 } },
  { fd: 4, address: { host: "127.0.0.1", port: 80 } },
  { fd: 5, address: { host: "127.0.0.1", port: 80 } },
  { fd: 6, address: { host: "/run/a.sock", port: 0 } },
];

const settings: ArbiterSettings = {
  workers: 3,
  graceSeconds,
  timeoutSeconds: 4,
  bootSeconds: 8,
  maxRequests: tooMany,
  maxRequestsJitter: 0,
  maxRssBytes: tooMany,
};

/** One walk, and the rules that hold all the while. */
class Walk {
  readonly random: Random;
  readonly stage = new Stage(slots, bootsAtOnce);
  readonly arbiter: Arbiter;
  /** What was done, for whoever has to understand a failure. */
  readonly path: string[] = [];
  readonly #answers: (Outcome | undefined)[] = [];
  /** At which tick a worker was first told to accept, and to leave. */
  readonly #toldToListen = new Map<FakeWorker, number>();
  readonly #drainsSince = new Map<FakeWorker, number>();
  #mostWorkers = settings.workers;
  exitCode: number | undefined;
  #stopping = false;

  constructor(seed: number) {
    this.random = new Random(seed);
    this.arbiter = new Arbiter(settings, this.stage.ports);
    this.arbiter.finished.then((code) => this.exitCode = code);
    this.stage.onOrder = (worker, order) => this.#onOrder(worker, order);
  }

  // ---- Steps ----

  async step(): Promise<void> {
    const { random, stage } = this;
    const name = random.pick(Object.keys(this.#events));
    this.path.push(name);
    const alive = stage.alive;
    const worker = alive.length === 0 ? undefined : random.pick(alive);
    await this.#events[name]?.(worker);
    await settled();
    this.check();
  }

  readonly #events: Readonly<
    Record<string, (worker?: FakeWorker) => void | Promise<void>>
  > = {
    pass: () => this.pass(this.random.below(40) / 4),
    wait: () => this.pass(tickSeconds),
    standStill: () => {
      this.stage.standStill(this.random.below(100));
      this.arbiter.tick();
    },
    reload: () => {
      const workers = 1 + this.random.below(4);
      this.#mostWorkers = Math.max(this.#mostWorkers, workers);
      this.ask(this.arbiter.reload({ ...settings, workers }));
    },
    scale: () => {
      const workers = this.random.below(6);
      this.#mostWorkers = Math.max(this.#mostWorkers, workers);
      this.ask(this.arbiter.scale(workers));
    },
    crash: (worker) => worker?.end(1),
    exit: (worker) => worker?.end(0),
    shoot: (worker) => worker?.end(null, "SIGKILL"),
    leave: (worker) => worker?.report({ type: "leaving" }),
    load: (worker) => worker?.load(),
    join: (worker) => void (worker?.fds.size && worker.join()),
    beat: (worker) => worker?.beat(),
    exhaust: (worker) => {
      if (worker !== undefined) worker.requests = tooMany;
    },
    grow: (worker) => {
      if (worker !== undefined) worker.rss = tooMany + 1;
    },
    spoil: (worker) => {
      if (worker !== undefined) Object.assign(worker.behaviour, this.mood());
    },
    spoilTheNext: () => {
      this.stage.behaviour = this.mood();
    },
    heal: () => {
      this.stage.behaviour = healthy;
      this.stage.refusal = undefined;
    },
    refuse: () => {
      this.stage.refusal = new Error("EAGAIN");
    },
  };

  mood(): Behaviour {
    const likely = () => this.random.below(4) > 0;
    return {
      loads: likely(),
      joins: likely(),
      beats: likely(),
      leaves: likely(),
      dies: likely(),
    };
  }

  ask(outcome: Promise<Outcome>): void {
    const index = this.#answers.push(undefined) - 1;
    outcome.then((answer) => this.#answers[index] = answer);
  }

  async pass(seconds: number): Promise<void> {
    for (let passed = 0; passed < seconds; passed += tickSeconds) {
      await this.stage.pass(tickSeconds, this.arbiter);
      this.check();
    }
  }

  // ---- Rules ----

  #onOrder(worker: FakeWorker, order: Order): void {
    const { stage, arbiter } = this;
    if (order.type === "listen" && !this.#toldToListen.has(worker)) {
      this.#toldToListen.set(worker, stage.ticks);
    }
    if (order.type !== "drain" || !worker.serves || this.#stopping) return;
    const younger = stage.workers.slice(stage.workers.indexOf(worker) + 1);
    assert(
      worker.seat > arbiter.target ||
        younger.some(({ seat, serves }) => serves && seat === worker.seat),
      `pid ${worker.pid} was dismissed, and nobody has its seat`,
    );
  }

  check(): void {
    const { stage } = this;
    assert(stage.ready.length <= 1, "announced twice");
    for (const worker of stage.workers) {
      assert(worker.signals.length <= 1, `${worker.pid} was killed twice`);
    }
    this.#checkCount();
    if (!this.#stopping) this.#checkSockets();
    this.#checkDraining();
  }

  #checkCount(): void {
    const staying = this.stage.alive.filter(({ drains }) => !drains);
    for (const { seat } of staying) {
      assert(seat <= this.#mostWorkers, `nobody asked for seat ${seat}`);
      const count = staying.filter((other) => other.seat === seat).length;
      assert(count <= 3, `${count} workers for seat ${seat}`);
    }
    const booting = staying.filter(({ hasLoaded }) => !hasLoaded).length;
    assert(booting <= bootsAtOnce, `${booting} boot at once`);
  }

  /** Whenever anybody serves, every socket has somebody, or will in a moment. */
  #checkSockets(): void {
    const { stage } = this;
    if (stage.serving.length === 0) return;
    const moment = 3 / tickSeconds + 2;
    const reliable = stage.alive.filter((worker) =>
      worker.serves ||
      !worker.drains && worker.signals.length === 0 &&
        stage.ticks - (this.#toldToListen.get(worker) ?? -Infinity) <= moment
    );
    for (const { fd } of slots) {
      assert(
        reliable.some(({ fds }) => fds.has(fd)),
        `nobody accepts on ${fd}`,
      );
    }
  }

  #checkDraining(): void {
    const { stage } = this;
    const patience = (graceSeconds + 1) / tickSeconds + 1;
    for (const worker of stage.alive) {
      if (!worker.drains) continue;
      const since = this.#drainsSince.get(worker) ?? stage.ticks;
      this.#drainsSince.set(worker, since);
      assert(
        stage.ticks - since <= patience || worker.signals.length > 0,
        `${worker.pid} drains for ever`,
      );
    }
  }

  // ---- The end ----

  /** No more happens, and everybody does what he should. */
  async quiet(): Promise<void> {
    const { stage } = this;
    stage.behaviour = healthy;
    stage.refusal = undefined;
    for (const worker of stage.alive) {
      Object.assign(worker.behaviour, healthy);
      worker.requests = worker.rss = 0;
      if (worker.signals.length > 0) worker.end(null, "SIGKILL");
    }
    await this.pass(60);
  }

  checkOutcome(): void {
    const { arbiter, stage } = this;
    const { target, generation } = arbiter;
    assertEquals(this.exitCode, undefined);
    assertEquals(
      stage.alive.map((worker) =>
        `${worker.seat}.${worker.generation} ${worker.serves}`
      ).sort(),
      Array.from(
        { length: target },
        (_, index) => `${index + 1}.${generation} true`,
      ),
    );
    assert(!this.#answers.includes(undefined), "somebody got no answer");
    assert(target === 0 || stage.ready.length === 1, "never announced");
  }

  async stop(quick: boolean): Promise<void> {
    this.#stopping = true;
    for (const { behaviour } of this.stage.alive) {
      Object.assign(behaviour, this.mood(), { dies: true });
    }
    this.arbiter.stop(quick);
    await this.pass(graceSeconds + 2);
  }
}

async function explained(walk: Walk, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    const story = [...walk.path, ...walk.stage.logged.slice(-40)].join("\n");
    throw new Error(`${story}\n${String(error)}`, { cause: error });
  }
}

test("Arbiter: after any walk as many workers as asked for serve, of the newest kind", async () => {
  for (let seed = 1; seed <= walks; seed++) {
    const walk = new Walk(seed);
    await explained(walk, async () => {
      walk.arbiter.start();
      await walk.pass(3);
      for (let step = 0; step < steps; step++) await walk.step();
      await walk.quiet();
      walk.checkOutcome();
      await walk.stop(seed % 2 === 0);
      assertEquals([walk.exitCode, walk.stage.alive], [0, []], `seed ${seed}`);
    });
  }
});

test("Arbiter: a walk that begins with the start ends with 3, or as any other", async () => {
  let given = 0;
  for (let seed = 1; seed <= walks; seed++) {
    const walk = new Walk(-seed);
    await explained(walk, async () => {
      walk.stage.behaviour = walk.mood();
      walk.arbiter.start();
      for (let step = 0; step < steps && walk.exitCode === undefined; step++) {
        await walk.step();
        if (walk.arbiter.state === "stopping") break;
      }
      await walk.quiet();
      if (walk.arbiter.failure === undefined) return walk.checkOutcome();
      given++;
      assertEquals([walk.exitCode, walk.stage.alive], [3, []]);
      assertEquals(walk.stage.ready, []);
    });
  }
  assert(given > 0 && given < walks, `${given} of ${walks}`);
});
