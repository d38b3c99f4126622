/** The arbiter's answers to whatever workers, commands and the clock may do,
 * over workers that are no processes. */
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertMatch,
  assertStrictEquals,
} from "@std/assert";
import {
  Arbiter,
  type ArbiterSettings,
  tickSeconds,
} from "../../src/daemon/arbiter.ts";
import {
  type Outcome,
  readStatus,
  type Slot,
} from "../../src/daemon/protocol.ts";
import type { Reopened } from "../../src/daemon/reopening.ts";
import type { ReopenFailure } from "../../src/log_files.ts";
import {
  type FakeWorker,
  healthy,
  passive,
  settled,
  Stage,
} from "../support/fake_workers.ts";

const slots: readonly Slot[] = [3, 4, 5].map((fd) => ({
  fd,
  address: { host: "127.0.0.1", port: 80 },
}));

const defaults: ArbiterSettings = {
  workers: 3,
  graceSeconds: 5,
  timeoutSeconds: 4,
  bootSeconds: 20,
  maxRequests: Infinity,
  maxRequestsJitter: 0,
  maxRssBytes: Infinity,
};

/** An arbiter on a stage, and what came of it. */
class Play {
  readonly stage: Stage;
  readonly arbiter: Arbiter;
  readonly settings: ArbiterSettings;
  /** What `finished` resolved with. */
  exitCode: number | undefined;

  constructor(settings: Partial<ArbiterSettings> = {}, bootsAtOnce?: number) {
    this.stage = new Stage(slots, bootsAtOnce);
    this.settings = { ...defaults, ...settings };
    this.arbiter = new Arbiter(this.settings, this.stage.ports);
    this.arbiter.finished.then((code) => this.exitCode = code);
  }

  /** Starts, and has every worker serve. */
  static async serving(
    settings: Partial<ArbiterSettings> = {},
    bootsAtOnce?: number,
  ): Promise<Play> {
    const play = new Play(settings, bootsAtOnce);
    play.arbiter.start();
    await play.pass(1);
    assertEquals(play.stage.serving.length, play.settings.workers);
    return play;
  }

  async pass(seconds: number): Promise<void> {
    await this.stage.pass(seconds, this.arbiter);
  }

  /** Asks for a reload; what came of it is there once it is known. */
  reload(settings: Partial<ArbiterSettings> = {}): Asked {
    return new Asked(
      this.arbiter.reload({ ...this.settings, ...settings }),
    );
  }

  scale(workers: number): Asked {
    return new Asked(this.arbiter.scale(workers));
  }

  /** The seats that are served, and by which generation: "1.1 2.1". */
  get seats(): string {
    return this.stage.serving
      .map(({ seat, generation }) => `${seat}.${generation}`).join(" ");
  }

  logged(pattern: RegExp): string[] {
    return this.stage.logged.filter((line) => pattern.test(line));
  }
}

class Asked {
  outcome: Outcome | undefined;

  constructor(promise: Promise<Outcome>) {
    promise.then((outcome) => this.outcome = outcome);
  }

  get ok(): boolean | undefined {
    return this.outcome?.ok;
  }
}

/** How many workers were started on this seat. */
function starts({ stage }: Play, seat: number): number {
  return stage.workers.filter((worker) => worker.seat === seat).length;
}

/** The sockets that somebody accepts on. */
function covered({ stage }: Play): number[] {
  return [...new Set(stage.serving.flatMap(({ fds }) => [...fds]))].sort();
}

/** Ends a worker that serves, as a crash does. */
async function crash(worker: FakeWorker, code = 1): Promise<void> {
  worker.end(code);
  await settled();
}

// ---- The start ----

test("Arbiter starts every seat, and announces them together, once", async () => {
  const { stage, arbiter } = new Play();
  arbiter.start();
  assertEquals(stage.workers.map(({ seat }) => seat), [1, 2, 3]);
  assertEquals(arbiter.state, "starting");
  await stage.pass(1, arbiter);
  assertEquals(stage.ready, [[101, 102, 103]]);
  assertEquals(arbiter.state, "serving");
  await stage.pass(30, arbiter);
  assertEquals(stage.ready.length, 1);
});

test("Arbiter lets no first worker accept before all have loaded", async () => {
  const { stage, arbiter } = new Play();
  stage.behaviour = { ...healthy, loads: false };
  arbiter.start();
  const [one, two, three] = stage.workers;
  one?.load();
  two?.load();
  await settled();
  assertEquals(stage.workers.flatMap(({ orders }) => orders), []);
  three?.load();
  await settled();
  assertEquals(stage.workers.map(({ fds }) => [...fds]), [[3], [4], [5]]);
  assertEquals(stage.serving.length, 3);
});

test("Arbiter boots no more workers at once than it may", async () => {
  const { stage, arbiter } = new Play({ workers: 5 }, 2);
  stage.behaviour = { ...healthy, loads: false };
  arbiter.start();
  assertEquals(stage.workers.length, 2);
  for (const count of [3, 4, 5]) {
    stage.workers[count - 3]?.load();
    await settled();
    assertEquals(stage.workers.length, count);
  }
});

test("Arbiter does not hold the slowness of others against a worker", async () => {
  // The first has loaded at once, and waits longer than a boot may take.
  const { stage, arbiter } = new Play({ bootSeconds: 10 }, 1);
  stage.behaviour = { ...healthy, loads: false };
  arbiter.start();
  for (const seat of [1, 2, 3]) {
    await stage.pass(8, arbiter);
    assertEquals(stage.newest.seat, seat);
    stage.newest.load();
  }
  await stage.pass(1, arbiter);
  assertEquals(stage.serving.map(({ pid }) => pid), [101, 102, 103]);
});

const unborn: [at: string, behaviour: Partial<typeof healthy>][] = [
  ["BOOTING", { loads: false }],
  ["LOADED", {}],
  ["JOINING", { joins: false }],
];

for (const [state, behaviour] of unborn) {
  test(`a first worker that dies ${state} ends the start with 3`, async () => {
    const play = new Play();
    const { stage, arbiter } = play;
    stage.behaviour = { ...healthy, ...behaviour };
    arbiter.start();
    if (state === "LOADED") stage.workers[1]?.load();
    else await stage.pass(tickSeconds, arbiter);
    stage.workers[1]?.end(1);
    await play.pass(2);
    assertEquals(play.exitCode, 3);
    assertMatch(arbiter.failure ?? "", /^Worker 2 .*exited with code 1/);
    assertEquals(stage.alive, []);
    assertEquals(stage.ready, []);
    assertEquals(stage.workers.length, 3, "nobody was started again");
  });
}

test("the failure of a start is told in the worker's own words", async () => {
  const play = new Play();
  const { stage, arbiter } = play;
  stage.behaviour = passive;
  arbiter.start();
  stage.workers[2]?.report({
    type: "failed",
    message: "No file app.ts",
    exitCode: 1,
  });
  stage.workers[2]?.end(1);
  stage.workers[0]?.report({ type: "failed", message: "Other", exitCode: 1 });
  stage.workers[0]?.end(1);
  await play.pass(3);
  assertEquals([play.exitCode, arbiter.failure], [3, "No file app.ts"]);
});

test("a first worker whose application fails after the import ends the start", async () => {
  const play = new Play();
  const { stage, arbiter } = play;
  stage.behaviour = passive;
  arbiter.start();
  stage.workers[0]?.load();
  stage.workers[0]?.report({ type: "leaving" });
  stage.workers[0]?.end(1);
  await play.pass(3);
  assertEquals(play.exitCode, 3);
});

test("a first worker that was told to leave by another is replaced", async () => {
  const play = new Play();
  const { stage, arbiter } = play;
  stage.behaviour = { ...healthy, loads: false };
  arbiter.start();
  const first = stage.workers[0];
  first?.load();
  first?.report({ type: "leaving" });
  first?.end(0);
  await settled();
  for (const worker of stage.alive) worker.load();
  await play.pass(1);
  assertEquals([play.seats, play.exitCode], ["1.1 2.1 3.1", undefined]);
});

test("a start that hangs is given up after the boot timeout", async () => {
  const play = new Play({ bootSeconds: 7 });
  play.stage.behaviour = passive;
  play.stage.standStill(100); // before the start, nobody is late
  play.arbiter.start();
  await play.pass(6.75);
  assertEquals(play.stage.alive.length, 3);
  await play.pass(3);
  assertEquals(play.exitCode, 3);
  assertMatch(
    play.arbiter.failure ?? "",
    /was not ready within 7 s \(--boot-timeout\)/,
  );
  for (const { signals } of play.stage.workers) {
    assertEquals(signals, ["SIGKILL"]);
  }
  assertEquals(play.logged(/\[error\]/).length, 3, "each is told once");
});

test("a worker that is killed for its slowness and then stopped is no failure", async () => {
  const play = new Play({ bootSeconds: 2 });
  play.stage.behaviour = { ...passive, dies: false };
  play.arbiter.start();
  await play.pass(3);
  play.arbiter.stop(false);
  for (const worker of play.stage.workers) worker.end(null, "SIGKILL");
  await settled();
  assertEquals([play.exitCode, play.arbiter.failure], [0, undefined]);
});

test("a worker that cannot be started ends the start with 3", async () => {
  const play = new Play();
  play.stage.refusal = new Error("EAGAIN");
  play.arbiter.start();
  await settled();
  assertEquals(play.exitCode, 3);
  assertMatch(play.arbiter.failure ?? "", /Worker 1.*EAGAIN/);
});

test("where one worker cannot be started, the others are not either", async () => {
  const play = new Play();
  const { ports } = play.stage;
  const arbiter = new Arbiter(play.settings, {
    ...ports,
    startWorker: (seat, generation) => {
      if (seat === 2) throw new Error("EAGAIN");
      return ports.startWorker(seat, generation);
    },
  });
  arbiter.start();
  assertEquals(play.stage.workers.map(({ seat }) => seat), [1]);
  play.stage.newest.end(0);
  assertEquals(await arbiter.finished, 3);
});

test("a worker that cannot be started later is tried again later and later", async () => {
  const play = await Play.serving();
  play.stage.refusal = new Error("EAGAIN");
  await crash(play.stage.at(2));
  await play.pass(30);
  const tries = play.logged(/could not be started/).length;
  assert(tries > 4 && tries < 9, `${tries} tries`);
  play.stage.refusal = undefined;
  await play.pass(31);
  assertEquals(play.seats, "1.1 2.1 3.1");
});

test("a start of which one worker serves already goes on trying", async () => {
  const play = new Play();
  const { stage, arbiter } = play;
  stage.behaviour = { ...healthy, joins: false };
  arbiter.start();
  await play.pass(tickSeconds);
  stage.workers[0]?.join();
  stage.behaviour = healthy;
  stage.workers[1]?.end(1);
  stage.workers[2]?.join();
  await play.pass(1);
  assertEquals([play.seats, play.exitCode], ["1.1 2.1 3.1", undefined]);
  assertEquals(stage.ready.length, 1);
});

test("what a killed worker had still to say changes nothing", async () => {
  const play = new Play({ bootSeconds: 2 });
  const { stage, arbiter } = play;
  stage.behaviour = { ...passive, dies: false };
  arbiter.start();
  for (const worker of stage.workers.slice(1)) worker.load();
  await play.pass(2);
  const [late] = stage.workers;
  assertEquals(late?.signals, ["SIGKILL"]);
  late?.load();
  await settled();
  assertEquals(stage.workers.flatMap(({ fds }) => [...fds]), []);
});

// ---- Crashes ----

test("a worker that crashes is replaced at once, and covered meanwhile", async () => {
  const play = await Play.serving();
  const { stage } = play;
  await crash(stage.at(2));
  assertEquals(starts(play, 2), 2);
  assertEquals(covered(play), [3, 4, 5]);
  assertEquals(play.logged(/exited with code 1/).length, 1);
  await play.pass(1);
  assertEquals(play.seats, "1.1 2.1 3.1");
  assertEquals([...stage.at(2).fds], [4]);
});

test("a worker that keeps crashing is replaced later and later", async () => {
  const play = await Play.serving();
  const { stage } = play;
  for (const delay of [0, 0.5, 1, 2, 4, 8, 16, 30, 30]) {
    const before = starts(play, 1);
    await crash(stage.at(1));
    if (delay > 0) {
      await play.pass(delay - tickSeconds);
      assertEquals(starts(play, 1), before, `sooner than ${delay} s`);
      await play.pass(tickSeconds);
    }
    assertEquals(starts(play, 1), before + 1, `not after ${delay} s`);
    await play.pass(1);
  }
  assertEquals(starts(play, 2), 1);
  assertEquals(play.exitCode, undefined);
});

test("a worker that has served steadily is replaced at once again", async () => {
  const play = await Play.serving();
  for (let count = 0; count < 4; count++) {
    await crash(play.stage.at(1));
    await play.pass(5);
  }
  await play.pass(12);
  const before = starts(play, 1);
  await crash(play.stage.at(1));
  assertEquals(starts(play, 1), before + 1);
});

test("a worker that fails to boot is tried again later and later", async () => {
  const play = await Play.serving();
  const { stage } = play;
  stage.behaviour = passive;
  await crash(stage.at(3));
  for (const delay of [0.5, 1, 2, 4]) {
    const before = starts(play, 3);
    stage.newest.end(1);
    await settled();
    await play.pass(delay - tickSeconds);
    assertEquals(starts(play, 3), before);
    await play.pass(tickSeconds);
    assertEquals(starts(play, 3), before + 1);
  }
  stage.behaviour = healthy;
  stage.newest.end(1);
  await play.pass(10);
  assertEquals([play.seats, play.exitCode], ["1.1 2.1 3.1", undefined]);
});

test("all workers may crash together", async () => {
  const play = await Play.serving();
  for (const worker of play.stage.alive) worker.end(null, "SIGSEGV");
  await play.pass(1);
  assertEquals([play.seats, play.exitCode], ["1.1 2.1 3.1", undefined]);
  assertEquals(play.logged(/ended by SIGSEGV/).length, 3);
});

test("a worker that was told to leave by another is replaced meanwhile", async () => {
  const play = await Play.serving();
  const { stage } = play;
  stage.behaviour = { ...healthy, loads: false };
  const leaver = stage.at(2);
  leaver.behaviour.leaves = false;
  leaver.report({ type: "leaving" });
  await settled();
  assertEquals(starts(play, 2), 2);
  assertEquals(leaver.graces, [], "it knows already");
  assertEquals(covered(play), [3, 4, 5]);
  leaver.end(0);
  await play.pass(1);
  assertEquals(play.logged(/\[(error|warn)\]/), []);
});

test("a worker that leaves by itself and does not is killed", async () => {
  const play = await Play.serving();
  const leaver = play.stage.at(2);
  leaver.behaviour.leaves = false;
  leaver.report({ type: "leaving" });
  await play.pass(5.75);
  assertEquals(leaver.signals, []);
  await play.pass(0.5);
  assertEquals(leaver.signals, ["SIGKILL"]);
});

test("workers that keep leaving by themselves are replaced later and later", async () => {
  // As after an uncaught exception: "leaving", then exit code 1.
  const play = await Play.serving();
  for (let round = 0; round < 6; round++) {
    const found = play.stage.serving.find(({ seat }) => seat === 1);
    found?.report({ type: "leaving" });
    found?.end(1);
    await play.pass(1);
  }
  assert(starts(play, 1) < 6, `${starts(play, 1)} were started`);
  await play.pass(20);
  assertEquals(play.seats, "1.1 2.1 3.1");
});

// ---- Silence ----

test("a hung worker is killed once, and others accept on its sockets before", async () => {
  const play = await Play.serving();
  const { stage } = play;
  const hung = stage.at(2);
  hung.behaviour.beats = false;
  hung.behaviour.dies = false;
  let coveredAtKill: number[] = [];
  stage.onKill = () => {
    coveredAtKill = stage.serving.filter((worker) => worker !== hung)
      .flatMap(({ fds }) => [...fds]);
  };
  await play.pass(4);
  assertEquals(hung.signals, []);
  await play.pass(20);
  assertEquals(hung.signals, ["SIGKILL"]);
  assertEquals(coveredAtKill.sort(), [3, 4, 5]);
  assertEquals(
    play.logged(/\[critical\].*blocked for 5 s.*--timeout\); killed/).length,
    1,
  );
  hung.end(null, "SIGKILL");
  await play.pass(1);
  assertEquals(play.seats, "1.1 2.1 3.1");
  assertEquals(play.logged(/\[error\]/), [], "it is said once");
});

test("a worker that hangs before it serves is killed too", async () => {
  const play = new Play({ bootSeconds: Infinity });
  const { stage, arbiter } = play;
  stage.behaviour = passive;
  arbiter.start();
  await play.pass(50);
  assertEquals(stage.alive.length, 3, "while it loads it need not speak");
  stage.workers[0]?.load();
  await play.pass(5);
  assertEquals(stage.workers[0]?.signals, []);
  await play.pass(3);
  assertEquals(stage.workers[0]?.signals, ["SIGKILL"]);
  assertEquals(play.exitCode, 3);
  assertMatch(arbiter.failure ?? "", /event loop has been blocked/);
});

test("no worker is hung where there is no timeout", async () => {
  const play = await Play.serving({ timeoutSeconds: Infinity });
  for (const { behaviour } of play.stage.alive) behaviour.beats = false;
  await play.pass(200);
  assertEquals(play.stage.workers.length, 3);
});

test("all workers may hang together", async () => {
  const play = await Play.serving();
  for (const { behaviour } of play.stage.alive) behaviour.beats = false;
  await play.pass(10);
  assertEquals(play.seats, "1.1 2.1 3.1");
  assertEquals(play.stage.workers.length, 6);
});

test("a worker that hangs while it drains is killed after the grace time", async () => {
  const play = await Play.serving();
  const hung = play.stage.at(3);
  hung.behaviour.leaves = hung.behaviour.beats = false;
  play.scale(2);
  await play.pass(5.75);
  assertEquals(hung.signals, []);
  hung.report({ type: "leaving" }); // wins it no time
  await play.pass(1);
  assertEquals(hung.signals, ["SIGKILL"]);
  assertEquals(play.logged(/did not leave in time; killed/).length, 1);
  assertEquals(play.logged(/has left/).length, 1);
  assertEquals(starts(play, 3), 1);
});

test("a worker that was told to accept and does not is killed", async () => {
  const play = await Play.serving();
  play.stage.behaviour = { ...healthy, joins: false };
  await crash(play.stage.at(1));
  await play.pass(1);
  const mute = play.stage.newest;
  assertEquals([...mute.fds], [3]);
  await play.pass(18);
  assertEquals(mute.signals, []);
  play.stage.behaviour = healthy;
  await play.pass(4);
  assertEquals(mute.signals, ["SIGKILL"]);
  assertEquals(play.seats, "1.1 2.1 3.1");
});

test("time in which the arbiter itself stood still is nobody's fault", async () => {
  const play = await Play.serving();
  const { stage, arbiter } = play;
  stage.behaviour = { ...healthy, loads: false };
  await crash(stage.at(1));
  const leaver = stage.at(2);
  leaver.behaviour.leaves = false;
  leaver.report({ type: "leaving" });
  stage.standStill(100);
  arbiter.tick();
  assertEquals(stage.workers.flatMap(({ signals }) => signals), []);
  await play.pass(2);
  assertEquals(stage.workers.flatMap(({ signals }) => signals), []);
  await play.pass(30);
  assertEquals(leaver.signals, ["SIGKILL"], "but it counts from then on");
});

test("time in which the arbiter stood still does not make a worker join late", async () => {
  const play = new Play();
  play.stage.behaviour = { ...healthy, joins: false };
  play.arbiter.start();
  await play.pass(tickSeconds);
  play.stage.workers[0]?.join();
  play.stage.standStill(100);
  play.arbiter.tick();
  await settled();
  assertEquals(play.stage.workers.map(({ fds }) => [...fds]), [[3], [4], [5]]);
  await play.pass(4);
  assertEquals([...play.stage.at(1).fds].sort(), [3, 4, 5], "but then it is");
});

test("time in which the arbiter stood still is no steady service", async () => {
  const play = await Play.serving();
  await crash(play.stage.at(1));
  await play.pass(1);
  play.stage.standStill(100);
  play.arbiter.tick();
  play.stage.at(1).beat();
  await play.pass(1);
  await crash(play.stage.at(1));
  assertEquals(starts(play, 1), 2);
  await play.pass(0.5);
  assertEquals(starts(play, 1), 3);
});

test("Arbiter.workers() tells no silence from the future", async () => {
  const play = await Play.serving();
  play.stage.standStill(100);
  play.stage.at(1).beat(); // it woke before us
  play.arbiter.tick();
  for (const { silent } of play.arbiter.workers()) assert(silent >= 0);
});

// ---- Reload ----

test("a reload makes a new worker for each, and then lets the old ones go", async () => {
  const play = await Play.serving();
  const { stage, arbiter } = play;
  const old = stage.serving;
  stage.behaviour = { ...healthy, loads: false };
  const reload = play.reload();
  assertEquals(arbiter.state, "reloading");
  const [one, two, three] = stage.workers.slice(3);
  one?.load();
  two?.load();
  await play.pass(3);
  assertEquals(one?.orders, [], "none accepts before all can");
  assertEquals(stage.serving, old);
  three?.load();
  await settled();
  assertEquals(play.seats, "1.2 2.2 3.2");
  for (const worker of old) assertEquals(worker.graces, [5]);
  await play.pass(1);
  assertEquals(reload.outcome, {
    ok: true,
    message: "Reloaded: generation 2, 3 worker(s) serve",
  });
  assertEquals([arbiter.generation, arbiter.state], [2, "serving"]);
  assertEquals(stage.alive.length, 3);
});

test("a reload dismisses an old worker when its successor accepts, not sooner", async () => {
  const play = await Play.serving();
  const { stage } = play;
  stage.behaviour = { ...healthy, joins: false };
  const reload = play.reload();
  await play.pass(1);
  assertEquals(play.seats, "1.1 2.1 3.1");
  stage.workers[4]?.join();
  await settled();
  assertEquals(play.seats, "1.1 2.2 3.1");
  assertEquals(reload.outcome, undefined);
});

test("a reload brings new settings to the workers that it makes", async () => {
  const play = await Play.serving({ maxRequests: 1000 });
  const reload = play.reload({ maxRequests: 10, bootSeconds: 3 });
  await play.pass(1);
  assertEquals(reload.ok, true);
  play.stage.at(1).requests = 10;
  await play.pass(3);
  assertEquals(starts(play, 1), 3);
  play.stage.behaviour = passive;
  await crash(play.stage.at(2));
  await play.pass(3.5);
  assertEquals(play.logged(/not ready within 3 s/).length, 1);
});

test("the boot timeout of a reload counts for the workers that it makes", async () => {
  const play = await Play.serving();
  play.stage.behaviour = passive;
  const reload = play.reload({ bootSeconds: 2 });
  await play.pass(2.25);
  assertEquals(reload.ok, false);
  assertMatch(reload.outcome?.message ?? "", /not ready within 2 s/);
});

for (const [state, behaviour] of unborn) {
  if (state === "JOINING") continue;
  test(`a reload whose second worker dies ${state} leaves all as it was`, async () => {
    const play = await Play.serving();
    const { stage, arbiter } = play;
    const old = stage.serving;
    stage.behaviour = { ...healthy, ...behaviour, loads: false };
    const reload = play.reload();
    const made = stage.workers.slice(3);
    if (state === "LOADED") made[1]?.load();
    made[0]?.load();
    made[1]?.report({ type: "failed", message: "No such app", exitCode: 1 });
    made[1]?.end(1);
    await settled();
    assertEquals(
      reload.outcome,
      {
        ok: false,
        message: "No such app",
      },
    );
    assertEquals(made[0]?.graces, [0]);
    await play.pass(30);
    assertEquals(stage.serving, old);
    assertEquals(stage.workers.length, 6, "nothing was tried again");
    assertEquals([arbiter.generation, arbiter.state], [1, "serving"]);
    assertEquals(play.logged(/Not reloaded.*No such app/).length, 1);
    stage.behaviour = healthy;
    const again = play.reload();
    await play.pass(1);
    assertEquals([again.ok, play.seats], [true, "1.2 2.2 3.2"]);
  });
}

test("a reload whose worker leaves by itself with a failure is given up", async () => {
  const play = await Play.serving();
  play.stage.behaviour = { ...healthy, loads: false };
  const reload = play.reload();
  const [first] = play.stage.workers.slice(3);
  first?.load();
  first?.report({ type: "leaving" });
  first?.end(1);
  await play.pass(1);
  assertEquals([reload.ok, play.seats], [false, "1.1 2.1 3.1"]);
});

test("a late failure of a reload that was given up does not end the next", async () => {
  const play = await Play.serving();
  const { stage } = play;
  stage.behaviour = passive;
  const first = play.reload();
  const made = stage.workers.slice(3);
  made[0]?.end(1);
  await settled();
  assertEquals(first.ok, false);
  stage.behaviour = healthy;
  const second = play.reload();
  made[1]?.end(1);
  await play.pass(1);
  assertEquals([second.ok, play.seats], [true, "1.2 2.2 3.2"]);
});

test("a worker that dies after the switch is replaced by the new kind", async () => {
  const play = await Play.serving();
  const { stage } = play;
  stage.behaviour = { ...healthy, joins: false };
  const reload = play.reload();
  await play.pass(tickSeconds);
  const made = stage.workers.slice(3);
  made[0]?.join();
  made[2]?.join();
  stage.behaviour = healthy;
  made[1]?.end(1);
  await settled();
  assertEquals(play.seats, "1.2 2.1 3.2", "the old one serves on");
  await play.pass(1);
  assertEquals([reload.ok, play.seats], [true, "1.2 2.2 3.2"]);
});

test("a reload is refused during a reload", async () => {
  const play = await Play.serving();
  play.stage.behaviour = passive;
  play.reload();
  const second = play.reload();
  await settled();
  assertEquals(second.outcome, {
    ok: false,
    message: "The arbiter is already reloading",
  });
  assertEquals(play.stage.workers.length, 6);
  assertEquals(play.logged(/\[warn\] Not reloaded/).length, 1);
});

test("a reload while the former one's workers join comes through", async () => {
  const play = await Play.serving();
  play.stage.behaviour = { ...healthy, joins: false };
  const first = play.reload();
  await play.pass(tickSeconds);
  play.stage.behaviour = healthy;
  const second = play.reload();
  await play.pass(2);
  assertEquals([first.ok, second.ok], [true, true]);
  assertEquals([play.seats, play.arbiter.generation], ["1.3 2.3 3.3", 3]);
  assertEquals(play.stage.alive.length, 3);
});

test("an old worker that dies during a reload is replaced by the new kind", async () => {
  const play = await Play.serving();
  play.stage.behaviour = { ...healthy, loads: false };
  play.reload();
  await crash(play.stage.at(2));
  assertEquals(play.stage.workers.length, 6);
  assertEquals(covered(play), [3, 4, 5]);
  for (const worker of play.stage.alive) worker.load();
  await play.pass(1);
  assertEquals(play.seats, "1.2 2.2 3.2");
});

test("an old worker that dies during a reload that fails is replaced", async () => {
  const play = await Play.serving();
  play.stage.behaviour = passive;
  play.reload();
  await crash(play.stage.at(2));
  play.stage.behaviour = healthy;
  await crash(play.stage.newest);
  await play.pass(1);
  assertEquals(play.seats, "1.1 2.1 3.1");
});

test("an old worker that has loaded is none of a reload's", async () => {
  const play = await Play.serving();
  play.stage.behaviour = { ...healthy, loads: false };
  await crash(play.stage.at(1));
  const late = play.stage.newest;
  play.reload();
  const made = play.stage.workers.slice(4);
  for (const worker of [late, made[0], made[1]]) worker?.load();
  await play.pass(1);
  assertEquals(play.seats, "2.1 3.1");
  made[2]?.load();
  await play.pass(1);
  assertEquals(play.seats, "1.2 2.2 3.2");
});

test("an old worker that fails to boot during a reload does not end it", async () => {
  const play = await Play.serving();
  play.stage.behaviour = passive;
  await crash(play.stage.at(1));
  const late = play.stage.newest;
  play.stage.behaviour = healthy;
  const reload = play.reload();
  await crash(late);
  await play.pass(1);
  assertEquals([reload.ok, play.seats], [true, "1.2 2.2 3.2"]);
});

test("a reload that fails leaves nothing to hold against the old ones", async () => {
  const play = await Play.serving();
  play.stage.behaviour = passive;
  play.reload();
  await crash(play.stage.workers[4] ?? play.stage.newest);
  await crash(play.stage.at(2));
  assertEquals(play.stage.newest.seat, 2);
});

test("an old worker that was booting when the reload came never serves", async () => {
  const play = await Play.serving();
  const { stage } = play;
  stage.behaviour = { ...healthy, loads: false };
  await crash(stage.at(1));
  const late = stage.newest;
  stage.behaviour = healthy;
  play.reload();
  late.load();
  await play.pass(1);
  assertEquals([late.fds.size, play.seats], [0, "1.2 2.2 3.2"]);
  assertEquals(stage.alive.length, 3);
});

test("a worker never dismisses a younger one of its seat", async () => {
  // Both were started in the same instant of the clock.
  const play = await Play.serving();
  const { stage } = play;
  stage.behaviour = { ...healthy, joins: false };
  const [crashed] = stage.serving;
  crashed?.end(1);
  await settled();
  const old = stage.newest;
  old.load();
  await settled();
  stage.behaviour = healthy;
  play.reload();
  const young = stage.workers.find(({ seat, generation }) =>
    seat === 1 && generation === 2
  );
  old.join();
  await settled();
  assertEquals(young?.drains, false);
  await play.pass(1);
  assertStrictEquals(stage.at(1), young);
});

test("a reload may bring more workers, or fewer", async () => {
  const play = await Play.serving();
  const more = play.reload({ workers: 5 });
  await play.pass(1);
  assertEquals([more.ok, play.seats], [true, "1.2 2.2 3.2 4.2 5.2"]);
  const fewer = play.reload({ workers: 2 });
  await play.pass(1);
  assertEquals([fewer.ok, play.seats], [true, "1.3 2.3"]);
  assertEquals(play.arbiter.target, 2);
  assertEquals(play.stage.alive.length, 2);
});

test("a reload boots no more at once than may, old ones included", async () => {
  const play = await Play.serving({}, 2);
  play.stage.behaviour = passive;
  await crash(play.stage.at(1));
  play.reload();
  assertEquals(play.stage.workers.length, 5);
});

test("a reload forgets the back-off of the past", async () => {
  const play = await Play.serving();
  for (let count = 0; count < 6; count++) {
    play.stage.serving.find(({ seat }) => seat === 1)?.end(1);
    await play.pass(6);
  }
  const reload = play.reload();
  await play.pass(1);
  assertEquals([reload.ok, play.seats], [true, "1.2 2.2 3.2"]);
});

test("a reload for which no worker can be started is given up", async () => {
  const play = await Play.serving();
  play.stage.refusal = new Error("EAGAIN");
  const reload = play.reload();
  await settled();
  assertEquals(reload.ok, false);
  play.stage.refusal = undefined;
  await play.pass(5);
  assertEquals(play.seats, "1.1 2.1 3.1");
});

test("a reload before anything serves takes the first workers' place", async () => {
  const play = new Play();
  const { stage, arbiter } = play;
  stage.behaviour = { ...healthy, loads: false };
  arbiter.start();
  stage.behaviour = healthy;
  const reload = play.reload();
  await play.pass(3);
  assertEquals([reload.ok, play.seats], [true, "1.2 2.2 3.2"]);
  assertEquals([stage.ready.length, stage.alive.length], [1, 3]);
});

test("a worker that joins for too long is not relied upon alone", async () => {
  // Old ones 1 and 2 have left their seats; new 1 hangs while it joins.
  const play = await Play.serving({ workers: 2 });
  const { stage } = play;
  stage.behaviour = { ...healthy, joins: false };
  play.reload();
  await crash(stage.at(1));
  await play.pass(1);
  const two = stage.workers.find(({ seat, generation }) =>
    seat === 2 && generation === 2
  );
  two?.join();
  await settled();
  assertEquals(play.seats, "2.2");
  if (two !== undefined) two.behaviour.joins = true;
  await play.pass(4);
  assert(two?.fds.has(3), "the socket of seat 1 waits for nobody");
});

// ---- Scale ----

test("Arbiter.scale() up and down, and is told when it is so", async () => {
  const play = await Play.serving();
  const up = play.scale(5);
  await settled();
  assertEquals(up.outcome, undefined);
  await play.pass(1);
  assertEquals([up.ok, play.seats], [true, "1.1 2.1 3.1 4.1 5.1"]);
  const down = play.scale(1);
  await settled();
  assertEquals([down.ok, play.seats], [true, "1.1"]);
  assertEquals([...play.stage.at(1).fds].sort(), [3, 4, 5]);
  await play.pass(1);
  assertEquals(play.stage.alive.length, 1);
  assertEquals((play.scale(1), play.logged(/Scaling/)).length, 2);
});

test("Arbiter.scale() to nobody and back", async () => {
  const play = await Play.serving();
  const none = play.scale(0);
  await play.pass(60);
  assertEquals([none.ok, play.seats, play.stage.alive.length], [true, "", 0]);
  assertEquals(play.exitCode, undefined);
  const some = play.scale(2);
  await play.pass(1);
  assertEquals([some.ok, play.seats], [true, "1.1 2.1"]);
  assertEquals(covered(play), [3, 4, 5]);
});

test("Arbiter.scale() while workers boot", async () => {
  const play = new Play();
  const { stage, arbiter } = play;
  stage.behaviour = { ...healthy, loads: false };
  arbiter.start();
  play.scale(1);
  assertEquals(stage.workers.map(({ graces }) => graces), [[], [5], [5]]);
  const up = play.scale(2);
  stage.behaviour = healthy;
  stage.workers[0]?.load();
  await play.pass(1);
  for (const worker of stage.alive) if (!worker.serves) worker.load();
  await play.pass(1);
  assertEquals([up.ok, play.seats], [true, "1.1 2.1"]);
  assertEquals(stage.ready.length, 1);
});

test("Arbiter.scale() to nobody before anything served, and back", async () => {
  const play = new Play();
  play.arbiter.start();
  play.scale(0);
  await play.pass(5);
  assertEquals([play.exitCode, play.stage.ready], [undefined, []]);
  play.scale(2);
  await play.pass(1);
  assertEquals([play.seats, play.stage.ready.length], ["1.1 2.1", 1]);
});

test("Arbiter.scale() waits for no other target than the last", async () => {
  const play = await Play.serving();
  play.stage.behaviour = passive;
  const first = play.scale(5);
  const second = play.scale(2);
  await settled();
  assertEquals([first.ok, second.ok], [false, true]);
});

test("Arbiter.scale() tells why a worker could not begin to serve", async () => {
  const play = await Play.serving();
  play.stage.behaviour = passive;
  const up = play.scale(4);
  play.stage.newest.report({
    type: "failed",
    message: "No such app",
    exitCode: 1,
  });
  play.stage.newest.end(1);
  await settled();
  assertEquals(up.outcome, {
    ok: false,
    message: "No such app; it will be tried again",
  });
  assertEquals(play.logged(/No such app/).length, 1, "the log tells why");
  assertEquals(starts(play, 4), 2);
  play.stage.newest.load();
  play.stage.newest.join();
  await settled();
  assertEquals(play.seats, "1.1 2.1 3.1 4.1");
});

test("Arbiter.scale() does not mind workers that leave meanwhile", async () => {
  const play = await Play.serving();
  play.stage.behaviour = { ...healthy, loads: false };
  const up = play.scale(4);
  const leaver = play.stage.at(1);
  leaver.report({ type: "leaving" });
  leaver.end(1);
  await settled();
  assertEquals(up.outcome, undefined);
  for (const worker of play.stage.alive) if (!worker.hasLoaded) worker.load();
  await play.pass(1);
  assertEquals(up.ok, true);
});

test("Arbiter.scale() during a crash back-off keeps it", async () => {
  const play = await Play.serving();
  for (let count = 0; count < 5; count++) {
    await play.pass(3);
    await crash(play.stage.at(1));
  }
  const before = starts(play, 1);
  play.scale(4);
  await play.pass(1);
  assertEquals([starts(play, 1), play.seats], [before, "2.1 3.1 4.1"]);
  await play.pass(4);
  assertEquals(play.seats, "1.1 2.1 3.1 4.1");
});

test("Arbiter.scale() is refused during a reload", async () => {
  const play = await Play.serving();
  play.stage.behaviour = passive;
  play.reload();
  const refused = play.scale(7);
  await settled();
  assertEquals([refused.ok, play.arbiter.target], [false, 3]);
  assertEquals(play.logged(/\[warn\] Not scaled: .*reloading/).length, 1);
});

// ---- Recycling ----

test("workers that have done enough are replaced one at a time", async () => {
  const play = await Play.serving({ maxRequests: 100 });
  const { stage } = play;
  const old = stage.serving;
  for (const worker of old) worker.requests = 100;
  stage.behaviour = { ...healthy, loads: false };
  for (const count of [1, 2, 3]) {
    await play.pass(3);
    assertEquals(stage.workers.length, 3 + count);
    assertEquals(stage.serving.length, 3);
    const before = stage.at(stage.newest.seat);
    stage.newest.load();
    await settled();
    assert(before.drains);
    assertEquals(before.graces, [5]);
  }
  await play.pass(10);
  assertEquals([stage.workers.length, play.seats], [6, "1.1 2.1 3.1"]);
  assertEquals(play.logged(/100 requests \(--max-requests\)/).length, 3);
});

test("the jitter of each worker is its own, and never less than asked for", async () => {
  const play = new Play({ maxRequests: 100, maxRequestsJitter: 10 });
  play.stage.chance = 0.999;
  play.arbiter.start();
  await play.pass(1);
  for (const worker of play.stage.serving) worker.requests = 109;
  await play.pass(3);
  assertEquals(play.stage.workers.length, 3);
  play.stage.at(2).requests = 110;
  play.stage.chance = 0;
  await play.pass(3);
  assertEquals(starts(play, 2), 2);
  play.stage.at(2).requests = 100;
  await play.pass(3);
  assertEquals(starts(play, 2), 3);
});

test("a worker that has grown too large is replaced", async () => {
  const play = await Play.serving({ maxRssBytes: 100 * 1024 ** 2 });
  await play.pass(11);
  play.stage.at(3).rss = 100 * 1024 ** 2;
  await play.pass(3);
  assertEquals(starts(play, 3), 1, "that much it may have");
  play.stage.at(3).rss = 150 * 1024 ** 2;
  await play.pass(3);
  assertEquals(starts(play, 3), 2);
  assertEquals(play.logged(/has 150 MB \(--max-rss\)/).length, 1);
  assertEquals(play.seats, "1.1 2.1 3.1");
});

test("a limit that is too small for any worker does not spin", async () => {
  const play = await Play.serving({ workers: 1, maxRssBytes: 1000 });
  for (let second = 0; second < 120; second++) {
    for (const worker of play.stage.alive) worker.rss = 2000;
    await play.pass(1);
    assertEquals(play.stage.serving.length, 1);
  }
  assert(play.stage.workers.length < 14, `${play.stage.workers.length} starts`);
});

test("a replacement that fails to boot is tried again later and later", async () => {
  const play = await Play.serving({ maxRequests: 100 });
  const { stage } = play;
  const old = stage.at(1);
  old.requests = 100;
  stage.behaviour = passive;
  await play.pass(2);
  for (let second = 0; second < 60; second++) {
    stage.newest.end(1);
    await play.pass(1);
  }
  assert(starts(play, 1) < 11, `${starts(play, 1)} starts in a minute`);
  assertStrictEquals(stage.at(1), old, "it serves on");
  stage.behaviour = healthy;
  stage.newest.end(1);
  await play.pass(62);
  assert(stage.at(1) !== old);
});

test("no worker is replaced for its age while a seat is vacant", async () => {
  const play = await Play.serving({ maxRequests: 100 });
  for (const crashes of [1, 2, 3, 4, 5]) {
    await crash(play.stage.at(1));
    if (crashes < 5) await play.pass(3);
  }
  play.stage.at(2).requests = 100;
  await play.pass(3);
  assertEquals([play.seats, starts(play, 2)], ["2.1 3.1", 1]);
  await play.pass(7);
  assertEquals([play.seats, starts(play, 2)], ["1.1 2.1 3.1", 2]);
});

test("a worker that crashes while its replacement boots is not replaced twice", async () => {
  const play = await Play.serving({ maxRequests: 100 });
  play.stage.behaviour = { ...healthy, loads: false };
  play.stage.at(2).requests = 100;
  await play.pass(2);
  await crash(play.stage.at(2));
  assertEquals(starts(play, 2), 2);
  play.stage.newest.load();
  await play.pass(1);
  assertEquals(play.seats, "1.1 2.1 3.1");
});

test("a reload during a recycle ends with one worker a seat", async () => {
  const play = await Play.serving({ maxRequests: 100 });
  play.stage.behaviour = { ...healthy, loads: false };
  play.stage.at(2).requests = 100;
  await play.pass(2);
  const replacement = play.stage.newest;
  play.stage.behaviour = healthy;
  const reload = play.reload();
  replacement.load();
  await play.pass(2);
  assertEquals([reload.ok, play.seats], [true, "1.2 2.2 3.2"]);
  assertEquals(play.stage.alive.length, 3);
});

test("scaling down during a recycle takes both", async () => {
  const play = await Play.serving({ maxRequests: 100 });
  play.stage.behaviour = { ...healthy, loads: false };
  play.stage.at(3).requests = 100;
  await play.pass(2);
  play.scale(2);
  await play.pass(2);
  assertEquals([play.seats, play.stage.alive.length], ["1.1 2.1", 2]);
});

// ---- The end ----

test("Arbiter.stop() gives every worker the grace time, and then ends", async () => {
  const play = await Play.serving();
  const { stage, arbiter } = play;
  for (const { behaviour } of stage.alive) behaviour.leaves = false;
  arbiter.stop(false);
  assertEquals(arbiter.state, "stopping");
  assertEquals(stage.alive.map(({ graces }) => graces), [[5], [5], [5]]);
  await play.pass(3);
  assertEquals(play.exitCode, undefined);
  for (const worker of stage.alive) worker.end(0);
  await settled();
  assertEquals([play.exitCode, arbiter.failure], [0, undefined]);
  await play.pass(60);
  assertEquals(stage.workers.length, 3);
});

test("Arbiter.stop() gracefully, then quickly", async () => {
  const play = await Play.serving();
  const { stage, arbiter } = play;
  for (const { behaviour } of stage.alive) behaviour.leaves = false;
  arbiter.stop(false);
  await play.pass(1);
  arbiter.stop(true);
  arbiter.stop(true);
  assertEquals(stage.alive.map(({ graces }) => graces), [
    [5, 0],
    [5, 0],
    [5, 0],
  ]);
  await play.pass(1.5);
  assertEquals([play.exitCode, stage.alive.length], [0, 0]);
  for (const { signals } of stage.workers) assertEquals(signals, ["SIGKILL"]);
});

test("Arbiter.stop() quickly, then gracefully, gives no more time", async () => {
  const play = await Play.serving();
  const { stage, arbiter } = play;
  for (const { behaviour } of stage.alive) behaviour.leaves = false;
  arbiter.stop(true);
  arbiter.stop(false);
  assertEquals(stage.alive.map(({ graces }) => graces), [[0], [0], [0]]);
  await play.pass(1.5);
  assertEquals(play.exitCode, 0);
});

test("Arbiter.stop() while workers boot ends with 0, whatever they end with", async () => {
  const play = new Play();
  const { stage, arbiter } = play;
  stage.behaviour = passive;
  arbiter.start();
  stage.workers[0]?.load();
  arbiter.stop(false);
  assertEquals(stage.workers.map(({ graces }) => graces), [[0], [0], [0]]);
  stage.workers[0]?.end(1);
  stage.workers[1]?.end(null, "SIGTERM");
  await play.pass(2);
  assertEquals([play.exitCode, arbiter.failure], [0, undefined]);
});

test("Arbiter.stop() before the start", async () => {
  const play = new Play();
  play.arbiter.stop(false);
  play.arbiter.start();
  await play.pass(1);
  assertEquals([play.exitCode, play.stage.workers.length], [0, 0]);
});

test("Arbiter.stop() ends with the exit code of the first call", async () => {
  const play = await Play.serving();
  play.arbiter.stop(false, 7);
  play.arbiter.stop(true, 8);
  await play.pass(1);
  assertEquals(play.exitCode, 7);
});

test("Arbiter.stop() during a reload answers whoever waits", async () => {
  const play = await Play.serving();
  play.stage.behaviour = passive;
  const reload = play.reload();
  play.arbiter.stop(false);
  const second = play.reload();
  const scale = play.scale(9);
  await play.pass(3);
  assertEquals([reload.ok, second.ok, scale.ok], [false, false, false]);
  assertEquals(play.exitCode, 0);
});

test("Arbiter.stop() answers whoever waits for a scale", async () => {
  const play = await Play.serving();
  play.stage.behaviour = passive;
  const scale = play.scale(9);
  play.arbiter.stop(false);
  await settled();
  assertEquals(scale.ok, false);
});

test("a worker that crashes while all are stopped is not replaced", async () => {
  const play = await Play.serving();
  for (const { behaviour } of play.stage.alive) behaviour.leaves = false;
  play.arbiter.stop(false);
  for (const worker of play.stage.alive) worker.end(null, "SIGSEGV");
  await play.pass(2);
  assertEquals([play.exitCode, play.stage.workers.length], [0, 3]);
  assertEquals(play.logged(/ended by SIGSEGV while it was leaving/).length, 3);
});

// ---- What it tells ----

test("Arbiter.requests counts those of workers that have left", async () => {
  const play = await Play.serving();
  for (const worker of play.stage.alive) worker.requests = 10;
  await play.pass(2);
  const worker = play.stage.at(2);
  worker.requests = 15;
  worker.beat();
  await crash(worker);
  await play.pass(2);
  assertEquals(play.arbiter.requests, 35);
});

test("Arbiter.workers() tells of each, by seat, as `status` reads it", async () => {
  const play = await Play.serving();
  play.stage.at(2).requests = 7;
  play.stage.behaviour = { ...healthy, loads: false };
  await play.pass(2);
  await crash(play.stage.at(1));
  play.stage.at(3).behaviour.leaves = false;
  play.stage.at(3).report({ type: "leaving" });
  await play.pass(0.5);
  const workers = play.arbiter.workers();
  assertEquals(workers.map(({ seat, state }) => `${seat} ${state}`), [
    "1 booting",
    "2 serving",
    "3 draining",
    "3 booting",
  ]);
  assertEquals(workers[1]?.requests, 7);
  assertEquals(workers[1]?.age, 3.5);
  const status = {
    ok: true,
    version: "",
    runtime: "",
    pid: 1,
    uptime: 1,
    state: play.arbiter.state,
    app: null,
    generation: 1,
    target: 3,
    addresses: [],
    requests: 7,
    workers,
  };
  assertEquals(
    readStatus(JSON.parse(JSON.stringify(status)))?.workers,
    workers,
  );
});

// ---- Log files ----

/** Asks for new log files; what came of it is there once it is known. */
function reopen({ arbiter }: Play): { reopened?: Reopened } {
  const asked: { reopened?: Reopened } = {};
  arbiter.reopen().then((reopened) => asked.reopened = reopened);
  return asked;
}

async function answer(
  worker: FakeWorker | undefined,
  ...failures: ReopenFailure[]
): Promise<void> {
  worker?.report({ type: "reopened", failures });
  await settled();
}

const done: Reopened = { failures: [], silent: [] };

test("Arbiter.reopen() waits for every worker: those that load, those that leave", async () => {
  const play = await Play.serving();
  const { stage } = play;
  stage.behaviour = { ...passive, beats: true };
  Object.assign(stage.at(3).behaviour, { leaves: false });
  play.scale(2);
  play.reload({ workers: 2 });
  const asked = reopen(play);
  assertEquals(stage.alive.length, 5);
  for (const worker of stage.alive) {
    assertEquals(worker.orders.at(-1), { type: "reopen" });
    assertEquals(asked.reopened, undefined);
    await answer(worker);
  }
  assertEquals(asked.reopened, done);
});

test("Arbiter.reopen() does not wait for workers that came later, or have left", async () => {
  const play = await Play.serving();
  const [one, two, three] = play.stage.workers;
  const asked = reopen(play);
  await answer(one);
  await crash(two!);
  await play.pass(tickSeconds);
  assertEquals(play.stage.alive.length, 3);
  assertEquals(asked.reopened, undefined);
  await answer(three);
  assertEquals(asked.reopened, done);
  play.stage.workers[3]!.end(1);
  await settled();
});

test("Arbiter.reopen() waits 5 s, and tells who has not answered", async () => {
  const play = await Play.serving();
  const asked = reopen(play);
  await answer(play.stage.at(1));
  await answer(play.stage.at(3), { path: "/a.log", code: "EACCES" });
  await play.pass(4.5);
  assertEquals(asked.reopened, undefined);
  await play.pass(0.5);
  assertEquals(asked.reopened, {
    failures: [{
      by: "worker 3 (pid 103)",
      failure: { path: "/a.log", code: "EACCES" },
    }],
    silent: ["worker 2 (pid 102)"],
  });
});

test("Arbiter.reopen(): an answer to one is none to the next", async () => {
  const play = await Play.serving({ workers: 1 });
  const worker = play.stage.at(1);
  const first = reopen(play);
  await play.pass(5);
  assertEquals(first.reopened?.silent.length, 1);
  const [second, third] = [reopen(play), reopen(play)];
  await answer(worker, { path: "/a.log", code: "ENOENT" });
  assertEquals([second.reopened, third.reopened], [undefined, undefined]);
  await answer(worker);
  assertEquals([second.reopened, third.reopened], [done, undefined]);
  await answer(worker);
  assertEquals(third.reopened, done);
  // One that nobody has asked for.
  await answer(worker);
  const [fourth, fifth] = [reopen(play), reopen(play)];
  await answer(worker);
  assertEquals([fourth.reopened, fifth.reopened], [done, undefined]);
  await answer(worker);
  assertEquals(fifth.reopened, done);
});

test("Arbiter.reopen() without workers, and while it stops", async () => {
  const play = await Play.serving({ workers: 1 });
  play.stage.at(1).behaviour.leaves = false;
  const [worker] = play.stage.workers;
  play.arbiter.stop(false);
  const asked = reopen(play);
  await play.pass(tickSeconds);
  assertEquals(asked.reopened, undefined);
  await answer(worker);
  assertEquals(asked.reopened, done);
  worker?.end(0);
  await settled();
  const late = reopen(play);
  await settled();
  assertEquals(late.reopened, done);
});

test("Arbiter.reopen(): a machine that slept costs nobody time to answer", async () => {
  const play = await Play.serving();
  const asked = reopen(play);
  play.stage.standStill(600);
  await play.pass(tickSeconds);
  assertEquals(asked.reopened, undefined);
  for (const worker of play.stage.alive) await answer(worker);
  assertEquals(asked.reopened, done);
});

test("what is no report is overlooked, and so is what comes out of turn", async () => {
  const play = await Play.serving();
  const { stage } = play;
  const worker = stage.at(1);
  worker.report({ type: "loaded" });
  worker.report({ type: "listening", fds: [3] });
  worker.report({ type: "beat" } as never);
  worker.report({ type: "nonsense" } as never);
  stage.behaviour = passive;
  play.scale(4);
  stage.newest.report({ type: "listening", fds: [] });
  await settled();
  assertEquals(play.arbiter.workers()[3]?.state, "booting");
  // Whatever it says of itself, it was not told to accept.
  assertEquals([...stage.newest.fds], []);
  await crash(worker);
  worker.isGone = false;
  worker.report({ type: "leaving" });
  await settled();
  assertEquals(play.logged(/leaves by itself/), []);
});

test("a worker that leaves is patient where others go on, and hurries else", async () => {
  const play = await Play.serving();
  const [first, second] = play.stage.serving;
  play.scale(1);
  await settled();
  assertEquals(second?.patience, [5]);
  play.arbiter.stop(false);
  await settled();
  assertEquals(first?.patience, [0.3]);
  assertEquals(second?.patience.at(-1), 0.3, "one that leaves already too");

  const other = await Play.serving();
  const [worker] = other.stage.serving;
  other.arbiter.stop(false, 0, true);
  assertEquals(worker?.patience, [5]);
  other.arbiter.stop(true, 0, true);
  assertEquals(worker?.patience, [5, 0.3]);
});
