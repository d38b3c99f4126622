/** The commands against a server that answers, one that does not, one that has
 * died, and none: what is asked, what is said, and the exit code. */
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { CommandError } from "../../src/command_error.ts";
import { runDaemonCommand } from "../../src/daemon/commands.ts";
import type {
  DaemonCommand,
  DaemonCommandOptions,
} from "../../src/daemon/errand.ts";
import { type Claim, claimPidfile } from "../../src/daemon/pidfile.ts";
import { readCommand, type Status } from "../../src/daemon/protocol.ts";
import { reopenOutcome, reopenSeconds } from "../../src/daemon/reopening.ts";
import { silentLogger } from "../../src/logger.ts";
import { FakeMachine, type FakeProcess } from "../support/fake_daemon.ts";

const pidfile = "/run/app.pid";
const control = "/run/app.pid.sock";

const defaults: DaemonCommandOptions = {
  pidfile,
  graceSeconds: 30,
  json: false,
  quick: false,
  workers: undefined,
};

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command in a process of its own, which the test may signal. */
async function run(
  machine: FakeMachine,
  name: DaemonCommand,
  options: Partial<DaemonCommandOptions> = {},
  prepare: (process: FakeProcess) => void = () => {},
): Promise<Result> {
  const process = machine.start(100);
  prepare(process);
  const code = await runDaemonCommand(
    name,
    { ...defaults, ...options },
    process.host,
    process.daemon,
    machine.clock,
  );
  assert(![...machine.locks.values()].includes(100), "no lock is kept");
  machine.end(100);
  assert(!process.signal("SIGINT"), "the signals are left to others");
  const { stdout: out, stderr: err } = process.written;
  return { code, out, err };
}

/** An arbiter with two workers, as the commands see it. */
class FakeServer {
  readonly asked: unknown[] = [];
  /** What it answers, other than to `status`. */
  outcome: unknown = { ok: true, message: "Done" };
  graceSeconds: number | undefined = 20;
  target = 2;
  /** How long it takes to leave once it was told to. */
  leaveMs = 200;
  readonly workers: readonly number[];

  private readonly machine: FakeMachine;
  readonly pid: number;
  readonly claim: Claim;

  private constructor(machine: FakeMachine, pid: number, claim: Claim) {
    this.machine = machine;
    this.pid = pid;
    this.claim = claim;
    this.workers = [pid + 1, pid + 2];
    for (const worker of this.workers) machine.start(worker);
  }

  static async start(
    machine: FakeMachine,
    pid: number,
    beside = false,
  ): Promise<FakeServer> {
    const { host, daemon } = machine.start(pid);
    const { clock } = machine;
    const claim = await claimPidfile(pidfile, host, daemon, silentLogger, {
      beside,
      clock,
    });
    const server = new FakeServer(machine, pid, claim);
    await claim.serve((question) => server.answer(question));
    return server;
  }

  status(): Status {
    return {
      ok: true,
      version: "0.1.0",
      runtime: "Fake 1",
      pid: this.pid,
      uptime: 1,
      state: "serving",
      app: "app.ts:app",
      generation: 1,
      target: this.target,
      addresses: ["http://127.0.0.1:8000"],
      requests: 3,
      workers: this.workers.map((pid, index) => ({
        pid,
        seat: index + 1,
        generation: 1,
        state: "serving",
        age: 1,
        requests: 1,
        busy: 0,
        connections: 0,
        rss: 1_000_000,
        silent: 0,
      })),
      ...(this.graceSeconds === undefined
        ? {}
        : { graceSeconds: this.graceSeconds }),
    };
  }

  answer(question: unknown): Promise<unknown> {
    const command = readCommand(question);
    if (command?.command === "status") return Promise.resolve(this.status());
    this.asked.push(question);
    if (command?.command === "stop") this.leave();
    if (command?.command === "restart") void this.succeed();
    return Promise.resolve(this.outcome);
  }

  /** Workers first, as an arbiter does. */
  leave(): void {
    this.machine.after(this.leaveMs / 2, () => {
      for (const worker of this.workers) this.machine.end(worker);
    });
    this.machine.after(this.leaveMs, () => {
      this.claim.release();
      this.machine.end(this.pid);
    });
  }

  /** Another takes over. */
  async succeed(): Promise<void> {
    const successor = await FakeServer.start(
      this.machine,
      this.pid + 1000,
      true,
    );
    this.leave();
    this.machine.after(this.leaveMs + 100, () => void successor.claim.rename());
  }

  /** Blocks, with its socket open. */
  hang(): void {
    this.machine.sockets.set(this.claim.paths.control, "silent");
  }

  /** As by SIGKILL: everything stays where it is. */
  crash(): void {
    this.machine.sockets.set(this.claim.paths.control, "absent");
    for (const pid of [this.pid, ...this.workers]) this.machine.end(pid);
  }
}

// ---- Nobody there ----

test("without a server stop is content, and the others are not", async () => {
  const expected: [DaemonCommand, number][] = [
    ["stop", 0],
    ["reload", 7],
    ["restart", 7],
    ["reopen", 7],
    ["scale", 7],
    ["status", 3],
  ];
  for (const [name, expectedCode] of expected) {
    const machine = new FakeMachine();
    const { code, out, err } = await run(machine, name, { workers: 2 });
    assertEquals(code, expectedCode, name);
    const text = name === "stop" || name === "status" ? out : err;
    assertStringIncludes(text, `Not running: nobody answers for ${pidfile}`);
    assertEquals(machine.locks.size + machine.files.size, 0);
  }
});

test("status tells a dead server from one that was never there", async () => {
  const machine = new FakeMachine();
  (await FakeServer.start(machine, 7)).crash();
  const { code, out } = await run(machine, "status");
  assertEquals(code, 1);
  assertStringIncludes(out, `pid 7 in ${pidfile} is no headgate's any more`);
  assertStringIncludes(out, `headgate start APP --pidfile ${pidfile}`);
  const json = await run(machine, "status", { json: true });
  assertEquals(json.code, 1);
  assertEquals(JSON.parse(json.out), {
    ok: false,
    message: `Not running: pid 7 in ${pidfile} is no headgate's any more`,
  });
  // Its pid may have gone to another program.
  machine.start(7);
  assertEquals((await run(machine, "status")).code, 1);
});

test("stop cleans up after a crash, and leaves what is another's", async () => {
  const machine = new FakeMachine();
  (await FakeServer.start(machine, 7)).crash();
  machine.start(7);
  const first = await run(machine, "stop");
  assertEquals(first.code, 0);
  assertEquals(machine.files.get(pidfile), "7\n");
  assertEquals(machine.signals, [], "nobody else is signalled");
  machine.end(7);
  const second = await run(machine, "stop");
  assertEquals(second.code, 0);
  assertEquals(machine.files.size + machine.sockets.size, 0);
  assertEquals((await run(machine, "status")).code, 3);
});

test("what is no pidfile is told, and not touched", async () => {
  for (const name of ["stop", "reload", "status"] as const) {
    const machine = new FakeMachine();
    machine.files.set(pidfile, "import { a } from './a.ts'\n");
    const { code, out, err } = await run(machine, name);
    assertEquals(code, name === "status" ? 4 : 1);
    assertStringIncludes(out + err, `${pidfile} is not a pidfile: it holds`);
    assertEquals(machine.files.size, 1);
  }
});

test("a path that no socket can have is a mistake of the command line", async () => {
  const options = { pidfile: `/${"a".repeat(200)}` };
  const error = await assertRejects(
    () => run(new FakeMachine(), "stop", options),
    CommandError,
  );
  assertEquals(error.exitCode, 2);
  // 1 and 2 say of a server that it is dead.
  const { code, err } = await run(new FakeMachine(), "status", options);
  assertEquals(code, 4);
  assertStringIncludes(err, "too long");
});

test("without --pidfile it is the one that start uses", async () => {
  const { out } = await run(new FakeMachine(), "status", {
    pidfile: undefined,
  });
  assertStringIncludes(out, "/home/headgate.pid");
});

test("who may not ask is told so", async () => {
  for (const name of ["stop", "restart", "status"] as const) {
    const machine = new FakeMachine();
    machine.sockets.set(control, "forbidden");
    const { code, out, err } = await run(machine, name);
    assertEquals(code, 4);
    assertStringIncludes(out + err, "No permission to open the control socket");
  }
});

test("who is no arbiter is not believed", async () => {
  for (const answer of ["hello", { ok: true, message: "?" }, { pid: 1 }]) {
    const machine = new FakeMachine();
    machine.sockets.set(control, () => Promise.resolve(answer));
    assertEquals((await run(machine, "status")).code, 4);
    const { code, err } = await run(machine, "stop");
    assertEquals(code, 1);
    assertStringIncludes(err, "is no headgate of our kind");
    assertEquals(machine.signals, []);
  }
});

// ---- status ----

test("status shows the table, or JSON", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  const { code, out, err } = await run(machine, "status");
  assertEquals([code, err], [0, ""]);
  assertMatch(out, /^headgate 0\.1\.0 on Fake 1, pid 7, serving app\.ts:app/);
  assertMatch(out, /\n +1 +8 +serving/);
  const json = await run(machine, "status", { json: true });
  assertEquals(JSON.parse(json.out), server.status());
});

test("status of one that does not answer is not known", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  server.hang();
  const { code, out } = await run(machine, "status");
  assertEquals(code, 4);
  assertStringIncludes(out, `Pid 7 holds ${pidfile} and does not answer`);
  machine.sockets.delete(control);
  assertEquals((await run(machine, "status")).code, 4);
  machine.files.delete(pidfile);
  const unknown = await run(machine, "status");
  assertEquals(unknown.code, 4);
  assertStringIncludes(unknown.out, "its pid is not known");
});

// ---- reload, reopen, scale ----

test("reload, reopen and scale ask, and tell the answer", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  const cases: [DaemonCommand, Partial<DaemonCommandOptions>, unknown][] = [
    ["reload", {}, { command: "reload" }],
    ["reopen", {}, { command: "reopen" }],
    ["scale", { workers: 4 }, { command: "scale", workers: 4 }],
    ["scale", { moreWorkers: 1 }, { command: "scale", workers: 3 }],
    ["scale", { moreWorkers: -1 }, { command: "scale", workers: 1 }],
  ];
  for (const [name, options, question] of cases) {
    server.asked.length = 0;
    const result = await run(machine, name, options);
    assertEquals(result, { code: 0, out: "Done\n", err: "" });
    assertEquals(server.asked, [question]);
  }
});

test("a refusal is told with its lines, escaped, and with a remedy", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  server.outcome = {
    ok: false,
    message: "headgate: Cannot load app.ts:\n    at \u001b[2Japp.ts:1\n",
  };
  for (const name of ["reload", "restart"] as const) {
    const { code, out, err } = await run(machine, name);
    assertEquals([code, out], [1, ""]);
    assertMatch(err, /^headgate: Cannot load app\.ts:\n/);
    assertStringIncludes(err, "at \\x1b[2Japp.ts:1\n");
    assertStringIncludes(err, `headgate status --pidfile ${pidfile}`);
    assertMatch(err, /^[\x20-\x7e\n]+$/);
  }
});

test("reopen tells which files were not opened, and exits with 1", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  server.outcome = reopenOutcome(["/a.log could not be opened.", "No answer."]);
  const { code, out, err } = await run(machine, "reopen");
  assertEquals([code, out], [1, ""]);
  assertEquals(
    err,
    "headgate: Not all log files were reopened:\n" +
      "    /a.log could not be opened.\n    No answer.\n" +
      `headgate status --pidfile ${pidfile} shows how it stands; its log ` +
      "tells more.\n",
  );
});

test("reopen waits longer than the server does for its workers", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  server.outcome = undefined;
  const { err } = await run(machine, "reopen");
  const seconds = Number(/ in (\d+) s/.exec(err)?.[1]);
  assert(seconds > reopenSeconds + 1, `${seconds} s`);
});

test("an answer that is none, or never comes, is a failure", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  server.outcome = { ok: "yes" };
  const strange = await run(machine, "reload");
  assertEquals(strange.code, 1);
  assertStringIncludes(strange.err, "gave an answer that is none");
  server.outcome = undefined; // the connection ends without one
  for (const name of ["reload", "reopen"] as const) {
    const { code, err } = await run(machine, name);
    assertEquals(code, 1);
    assertStringIncludes(err, "has left, or has not answered in");
  }
});

test("the time for an answer grows with what is to boot", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  server.outcome = undefined;
  const timeOf = async (
    name: DaemonCommand,
    options: Partial<DaemonCommandOptions> = {},
  ) => {
    const { err } = await run(machine, name, options);
    return Number(/ in (\d+) s/.exec(err)?.[1]);
  };
  assertEquals(await timeOf("reopen"), 10);
  assertEquals(await timeOf("reload"), 65);
  assertEquals(await timeOf("reload", { bootSeconds: 1 }), 6);
  server.target = 8;
  assertEquals(await timeOf("reload", { bootSeconds: 10 }), 45);
  assertEquals(await timeOf("scale", { bootSeconds: 10, workers: 1 }), 15);
  assertEquals(await timeOf("reload", { bootSeconds: Infinity }), 3600);
});

test("scale takes 1 to 1000 workers", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  const wrong: Partial<DaemonCommandOptions>[] = [
    {},
    { workers: 0 },
    { workers: -1 },
    { workers: 1.5 },
    { workers: 1001 },
    { workers: NaN },
    { moreWorkers: -2 },
    { moreWorkers: 999 },
  ];
  for (const options of wrong) {
    const error = await assertRejects(
      () => run(machine, "scale", options),
      CommandError,
    );
    assertEquals(error.exitCode, 2);
  }
  assertEquals(server.asked, []);
  const error = await assertRejects(
    () => run(machine, "scale", { moreWorkers: -2 }),
    CommandError,
  );
  assertStringIncludes(error.message, "0 is no number of workers; there are 2");
});

// ---- stop ----

test("stop waits until every process has gone", async () => {
  for (const quick of [false, true]) {
    const machine = new FakeMachine();
    const server = await FakeServer.start(machine, 7);
    const before = machine.clock.now();
    const result = await run(machine, "stop", { quick });
    assertEquals(result, { code: 0, out: "Stopped (pid 7)\n", err: "" });
    assertEquals(server.asked, [{ command: "stop", quick }]);
    assert(machine.clock.now() - before >= server.leaveMs);
    assertEquals(machine.alive.size, 0);
    assertEquals(machine.signals, []);
  }
});

test("stop waits for a worker that outlives its arbiter", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  server.leave = () => {
    server.claim.release();
    for (const pid of [7, 8]) machine.end(pid);
    machine.after(3000, () => machine.end(9));
  };
  const before = machine.clock.now();
  assertEquals((await run(machine, "stop")).code, 0);
  assert(machine.clock.now() - before >= 3000);
});

test("stop waits as long as the server gives running requests", async () => {
  // The server's own setting goes before ours.
  for (const [told, seconds] of [[20, 25], [undefined, 35], [0, 5]] as const) {
    const machine = new FakeMachine();
    const server = await FakeServer.start(machine, 7);
    server.graceSeconds = told;
    server.leaveMs = Infinity;
    const before = machine.clock.now();
    const { code, out, err } = await run(machine, "stop");
    assertEquals([code, out], [1, ""]);
    const waited = (machine.clock.now() - before) / 1000;
    assertEquals(Math.floor(waited), seconds);
    assertStringIncludes(
      err,
      `Still running after ${seconds} s: arbiter 7, worker 8, worker 9.\n` +
        `headgate stop --quick --pidfile ${pidfile}`,
    );
  }
});

test("stop --quick is impatient, and says how to end what is left", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  server.leaveMs = Infinity;
  const before = machine.clock.now();
  machine.after(1000, () => machine.end(8));
  const { code, err } = await run(machine, "stop", { quick: true });
  assertEquals(code, 1);
  assertEquals(Math.floor((machine.clock.now() - before) / 1000), 5);
  assertStringIncludes(err, "Still running after 5 s: arbiter 7, worker 9.\n");
  assertStringIncludes(err, "kill -9 7 9 ends what is left.\n");
});

test("stop tells a person what it waits for", async () => {
  const messageTo = async (hasTerminal: boolean, quick: boolean) => {
    const machine = new FakeMachine();
    const server = await FakeServer.start(machine, 7);
    server.leaveMs = 4000;
    const { err } = await run(machine, "stop", { quick }, (process) => {
      process.hasTerminal = hasTerminal;
    });
    return err;
  };
  assertEquals(await messageTo(false, false), "");
  assertEquals(await messageTo(true, true), "");
  assertEquals(
    await messageTo(true, false),
    "headgate: Waiting for running requests, at most 20 s; headgate stop " +
      `--quick --pidfile ${pidfile} cuts them.\n`,
  );
});

test("stop signals an arbiter that does not answer", async () => {
  for (const silence of ["silent", "absent", "gone"] as const) {
    for (const quick of [false, true]) {
      const machine = new FakeMachine();
      const server = await FakeServer.start(machine, 7);
      if (silence === "gone") machine.sockets.delete(control);
      else machine.sockets.set(control, silence);
      machine.onKill = () => {
        machine.sockets.delete(control);
        server.leave();
      };
      const { code, out } = await run(machine, "stop", { quick });
      assertEquals([code, out], [0, "Stopped (pid 7)\n"]);
      assertEquals(machine.signals, [`${quick ? "SIGQUIT" : "SIGTERM"} 7`]);
    }
  }
});

test("stop signals an arbiter that does not answer to it alone", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  machine.onKill = () => server.leave();
  machine.sockets.set(
    control,
    (question) =>
      readCommand(question)?.command === "status"
        ? Promise.resolve(server.status())
        : Promise.resolve(undefined),
  );
  // The fake's control socket is not the claim's any more.
  machine.after(300, () => machine.sockets.delete(control));
  const { code } = await run(machine, "stop");
  assertEquals(code, 0);
  assertEquals(machine.signals, ["SIGTERM 7"]);
});

test("stop signals nobody whose pid it does not know", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  server.hang();
  machine.files.delete(pidfile);
  const { code, err } = await run(machine, "stop");
  assertEquals(code, 1);
  assertStringIncludes(err, "its pid is not known");
  assertEquals(machine.signals, []);
});

test("stop tells who may not signal", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  server.hang();
  machine.mayKill = false;
  const { code, err } = await run(machine, "stop");
  assertEquals(code, 4);
  assertStringIncludes(err, "No permission to signal pid 7");
});

test("stop tells a refusal", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  server.outcome = { ok: false, message: "Not now." };
  server.leaveMs = Infinity;
  const { code, err } = await run(machine, "stop");
  assertEquals(code, 1);
  assertMatch(err, /^headgate: Not now\.\n/);
});

test("stop without locks goes by who answers", async () => {
  const machine = new FakeMachine();
  machine.hasLocks = false;
  await FakeServer.start(machine, 7);
  assertEquals((await run(machine, "stop")).out, "Stopped (pid 7)\n");
  assertEquals((await run(machine, "status")).code, 3);
});

test("stop believes who answers more than pids of another container", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  server.leaveMs = 2000;
  for (const pid of [7, 8, 9]) machine.alive.delete(pid);
  const before = machine.clock.now();
  assertEquals((await run(machine, "stop")).code, 0);
  assert(machine.clock.now() - before >= 2000);
});

test("stop during a restart ends the old and the new", async () => {
  const machine = new FakeMachine();
  const old = await FakeServer.start(machine, 7);
  const successor = await FakeServer.start(machine, 20, true);
  const { code, out } = await run(machine, "stop");
  assertEquals(code, 0);
  assertEquals(out, "Stopped (pid 20)\nStopped (pid 7)\n");
  assertEquals(old.asked.length + successor.asked.length, 2);
  assertEquals(machine.alive.size + machine.files.size, 0);
});

// ---- restart ----

test("restart waits until the new one answers in place of the old", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  const before = machine.clock.now();
  const result = await run(machine, "restart");
  assertEquals(result, {
    code: 0,
    out: "Restarted: pid 7 is now 1007\n",
    err: "",
  });
  assertEquals(server.asked, [{ command: "restart" }]);
  assert(machine.clock.now() - before >= server.leaveMs + 100);
  assertEquals(machine.files, new Map([[pidfile, "1007\n"]]));
});

test("restart waits for the old process, also after another has its name", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  server.leave = () => {
    server.claim.release();
    machine.after(5000, () => machine.end(7));
  };
  const before = machine.clock.now();
  assertEquals((await run(machine, "restart")).code, 0);
  assert(machine.clock.now() - before >= 5000);
});

test("restart waits for another answer, also in another container", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  server.leaveMs = 2000;
  machine.alive.delete(7);
  const result = await run(machine, "restart");
  assertEquals(result.out, "Restarted: pid 7 is now 1007\n");
});

test("restart tells that the old one does not leave", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  server.leaveMs = Infinity;
  const { code, err } = await run(machine, "restart");
  assertEquals(code, 1);
  assertStringIncludes(err, "pid 7 has not left in 25 s");
  assertStringIncludes(err, "kill -9 7");
});

test("restart tells that the new one does not answer", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  server.succeed = () => Promise.resolve(server.leave());
  const { code, err } = await run(machine, "restart");
  assertEquals(code, 1);
  assertStringIncludes(err, "Pid 7 has left, and nobody answers in its place");
});

// ---- Ctrl+C ----

test("a signal ends the waiting, and not what was asked for", async () => {
  for (
    const [signal, expected] of [["SIGINT", 130], ["SIGTERM", 143]] as const
  ) {
    const machine = new FakeMachine();
    const server = await FakeServer.start(machine, 7);
    server.leaveMs = 10_000;
    let written: FakeProcess["written"] | undefined;
    const { code } = await run(machine, "stop", {}, (process) => {
      written = process.written;
      machine.after(500, () => process.signal(signal));
    });
    assertEquals(code, expected);
    assertEquals(server.asked.length, 1);
    // Nobody polls any more, and nothing more is said.
    const before = machine.clock.now();
    for (let turn = 0; turn < 1000; turn++) await Promise.resolve();
    assert(machine.clock.now() - before <= 100);
    assertEquals(written?.stdout, "");
    assertMatch(
      written?.stderr ?? "",
      /^headgate: No longer waiting; [^\n]+\n$/,
    );
  }
});

test("a signal ends even an answer that does not come", async () => {
  const machine = new FakeMachine();
  const server = await FakeServer.start(machine, 7);
  const { code, err } = await run(machine, "reload", {}, (process) => {
    server.answer = (question) => {
      const command = readCommand(question);
      if (command?.command === "status") {
        return Promise.resolve(server.status());
      }
      process.signal("SIGINT");
      return new Promise(() => {});
    };
  });
  assertEquals(code, 130);
  assertStringIncludes(err, "No longer waiting");
});
