/** Claims of a pidfile: who may have it, what is replaced, what is refused, and
 * what is left. */
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { realClock } from "../../src/daemon/clock.ts";
import { CommandError } from "../../src/command_error.ts";
import {
  daemonPaths,
  pidfileOption,
  successorPaths,
} from "../../src/daemon/paths.ts";
import {
  type Claim,
  type ClaimOptions,
  claimPidfile,
  refuseIfRunning,
} from "../../src/daemon/pidfile.ts";
import type { Status } from "../../src/daemon/protocol.ts";
import { inspect, readPid } from "../../src/daemon/standing.ts";
import { silentLogger } from "../../src/logger.ts";
import { FakeMachine, type FakeProcess } from "../support/fake_daemon.ts";

const pidfile = "/run/app.pid";
const control = "/run/app.pid.sock";

function statusOf(pid: number): Status {
  return {
    ok: true,
    version: "0.1.0",
    runtime: "Fake 1",
    pid,
    uptime: 1,
    state: "serving",
    app: null,
    generation: 1,
    target: 0,
    addresses: [],
    requests: 0,
    workers: [],
  };
}

const answerAs = (pid: number) => () => Promise.resolve(statusOf(pid));

/** Claims for a process, and keeps what it logs. */
async function claimFor(
  machine: FakeMachine,
  { host, daemon }: FakeProcess,
  options: ClaimOptions = {},
): Promise<{ claim: Claim; logged: string[] }> {
  const logged: string[] = [];
  const log = { ...silentLogger, warn: (line: string) => logged.push(line) };
  const claim = await claimPidfile(pidfile, host, daemon, log, {
    clock: machine.clock,
    ...options,
  });
  return { claim, logged };
}

async function refusalFor(
  machine: FakeMachine,
  process: FakeProcess,
): Promise<CommandError> {
  const before = new Map(machine.files);
  const locks = new Map(machine.locks);
  const error = await assertRejects(
    () => claimFor(machine, process),
    CommandError,
  );
  assertEquals(machine.files, before, "no file has changed");
  assertEquals(machine.locks, locks, "no lock was kept");
  return error;
}

// ---- Paths ----

test("daemonPaths() puts everything beside the absolute pidfile", () => {
  const { daemon } = new FakeMachine().start(1);
  const paths = daemonPaths("run/app.pid", daemon);
  assertEquals(paths, {
    pidfile: "/home/run/app.pid",
    control: "/home/run/app.pid.sock",
    lock: "/home/run/app.pid",
  });
  assertEquals(successorPaths(paths), {
    pidfile: "/home/run/app.pid.2",
    control: "/home/run/app.pid.2.sock",
    lock: "/home/run/app.pid.2",
  });
});

test("daemonPaths() refuses a path that no socket can have", () => {
  const { daemon } = new FakeMachine().start(1);
  // "/" + name + ".2.sock" is 107 bytes, which is what there is room for.
  const longest = "/" + "a".repeat(99);
  assertEquals(daemonPaths(longest, daemon).pidfile, longest);
  for (const path of [`${longest}a`, "/" + "é".repeat(50), "", "a\0b"]) {
    const error = assertThrows(() => daemonPaths(path, daemon), CommandError);
    assertEquals(error.exitCode, 2);
    assertStringIncludes(error.remedy, "--pidfile");
  }
});

test("pidfileOption() can be pasted into a shell", () => {
  assertEquals(pidfileOption("/run/app.pid"), "--pidfile /run/app.pid");
  assertEquals(pidfileOption("/a b/c.pid"), "--pidfile '/a b/c.pid'");
  assertEquals(pidfileOption("/it's;x"), "--pidfile '/it'\\''s;x'");
});

// ---- Reading ----

test("readPid() overlooks white space, and reads nothing else", () => {
  const machine = new FakeMachine();
  const { daemon } = machine.start(1);
  const read = (text: string) => {
    machine.files.set(pidfile, text);
    return readPid(pidfile, daemon);
  };
  for (const text of ["4711", "4711\n", "  4711\r\n\n", "\t4711 "]) {
    assertEquals(read(text), { pid: 4711 });
  }
  assertEquals(read("2147483647"), { pid: 2147483647 });
  for (const text of ["", "\n", "  "]) assertEquals(read(text), undefined);
  machine.files.clear();
  assertEquals(readPid(pidfile, daemon), undefined);
  for (
    const text of [
      "0",
      "-1",
      "+7",
      "07",
      "1e3",
      "0x10",
      "2147483648",
      "99999999999999999999",
      "12 13",
      "12\n13",
      "import { a } from './a.ts';",
      "\u001b[2J",
    ]
  ) {
    const reading = read(text);
    assert(reading !== undefined && "error" in reading, text);
    assertStringIncludes(reading.error.message, "is not a pidfile: it holds");
    assertMatch(reading.error.message, /^[\x20-\x7e…]*$/);
  }
});

test("readPid() tells why it cannot read", () => {
  const machine = new FakeMachine();
  const { daemon } = machine.start(1);
  const messageOf = () => {
    const reading = readPid(pidfile, daemon);
    assert(reading !== undefined && "error" in reading);
    return reading.error.message;
  };
  machine.failures.set(pidfile, "EACCES");
  assertEquals(messageOf(), `No permission to read the pidfile ${pidfile}`);
  machine.failures.set(pidfile, "EIO");
  assertStringIncludes(messageOf(), "it cannot be read");
  machine.others.set(pidfile, "directory");
  assertStringIncludes(messageOf(), "it is a directory");
});

// ---- Standing ----

test("inspect() finds who answers", async () => {
  const machine = new FakeMachine();
  const { daemon } = machine.start(1);
  const paths = daemonPaths(pidfile, daemon);
  assertEquals(await inspect(paths, daemon, machine.clock), {
    kind: "stopped",
    stalePid: undefined,
  });
  machine.sockets.set(control, answerAs(7));
  assertEquals(await inspect(paths, daemon, machine.clock), {
    kind: "answering",
    status: statusOf(7),
  });
  for (const answer of [{}, { ok: true, message: "?" }, "hello", null]) {
    machine.sockets.set(control, () => Promise.resolve(answer));
    assertEquals(await inspect(paths, daemon, machine.clock), {
      kind: "stranger",
    });
  }
  machine.sockets.set(control, "forbidden");
  assertEquals(await inspect(paths, daemon, machine.clock), {
    kind: "forbidden",
  });
  assertEquals(machine.locks.size, 0);
});

test("inspect() finds a successor that has not taken the name yet", async () => {
  const machine = new FakeMachine();
  const { daemon } = machine.start(1);
  const paths = daemonPaths(pidfile, daemon);
  machine.sockets.set(`${pidfile}.2.sock`, answerAs(8));
  assertEquals(await inspect(paths, daemon, machine.clock), {
    kind: "answering",
    status: statusOf(8),
  });
});

test("inspect() believes the lock, and not the pidfile", async () => {
  const machine = new FakeMachine();
  const { daemon } = machine.start(1);
  const paths = daemonPaths(pidfile, daemon);
  machine.files.set(pidfile, "7\n");
  machine.alive.add(7);
  assertEquals(await inspect(paths, daemon, machine.clock), {
    kind: "stopped",
    stalePid: 7,
  });
  assertEquals(machine.locks.size, 0, "the lock is given back");
  machine.locks.set(paths.lock, 7);
  assertEquals(await inspect(paths, daemon, machine.clock), {
    kind: "mute",
    pid: 7,
  });
  machine.alive.delete(7);
  assertEquals(await inspect(paths, daemon, machine.clock), {
    kind: "mute",
    pid: undefined,
  });
  machine.files.set(pidfile, "garbage");
  assertEquals(await inspect(paths, daemon, machine.clock), {
    kind: "mute",
    pid: undefined,
  });
  machine.locks.clear();
  assertEquals(
    (await inspect(paths, daemon, machine.clock)).kind,
    "unreadable",
  );
  machine.sockets.set(control, "silent");
  assertEquals(await inspect(paths, daemon, machine.clock), {
    kind: "mute",
    pid: undefined,
  });
});

// ---- Claiming ----

test("claimPidfile() writes our pid, and release() leaves nothing", async () => {
  const machine = new FakeMachine();
  const process = machine.start(5);
  const { claim, logged } = await claimFor(machine, process);
  assertEquals(claim.paths.pidfile, pidfile);
  assertEquals(machine.files.get(pidfile), "5\n");
  assertEquals(machine.locks.get(pidfile), 5);
  await claim.serve(answerAs(5));
  const standing = await inspect(claim.paths, process.daemon);
  assertEquals(standing.kind, "answering");
  claim.release();
  claim.release();
  assertEquals(machine.files.size + machine.sockets.size, 0);
  assertEquals(machine.locks.size, 0);
  assertEquals(logged, []);
});

test("claimPidfile() replaces a stale pidfile, and says so", async () => {
  const cases: [string, (machine: FakeMachine) => void, string | undefined][] =
    [
      ["7\n", () => {}, "pid 7 is gone"],
      ["7\n", (machine) => machine.alive.add(7), "is another program's"],
      ["5\n", () => {}, "our own pid"],
      [" \n", () => {}, undefined],
      ["7", (machine) => machine.sockets.set(control, "absent"), "is gone"],
    ];
  for (const [text, prepare, said] of cases) {
    const machine = new FakeMachine();
    machine.files.set(pidfile, text);
    prepare(machine);
    const { claim, logged } = await claimFor(machine, machine.start(5));
    assertEquals(machine.files.get(pidfile), "5\n");
    assertEquals(logged.length, said === undefined ? 0 : 1);
    if (said !== undefined) assertStringIncludes(logged[0] ?? "", said);
    claim.release();
  }
});

test("claimPidfile() refuses while another arbiter answers", async () => {
  for (const hasLocks of [true, false]) {
    const machine = new FakeMachine();
    machine.hasLocks = hasLocks;
    const first = await claimFor(machine, machine.start(7));
    await first.claim.serve(answerAs(7));
    const second = machine.start(5);
    const error = await refusalFor(machine, second);
    assertEquals(error.exitCode, 1);
    assertEquals(error.message, "Already running with pid 7");
    assertStringIncludes(error.remedy, `headgate status --pidfile ${pidfile}`);
    assertStringIncludes(error.remedy, "headgate restart");
    await assertRejects(
      () => refuseIfRunning(pidfile, second.daemon),
      CommandError,
      "Already running with pid 7",
    );
    // The pidfile may be lost; who answers is not.
    machine.files.clear();
    assertEquals((await refusalFor(machine, second)).message, error.message);
    first.claim.release();
    await refuseIfRunning(pidfile, second.daemon);
    (await claimFor(machine, second)).claim.release();
  }
});

test("claimPidfile() refuses while another holds the lock in silence", async () => {
  const machine = new FakeMachine();
  await claimFor(machine, machine.start(7));
  const process = machine.start(5);
  const error = await refusalFor(machine, process);
  assertEquals(error.message, "Already running with pid 7");
  machine.sockets.set(control, "silent");
  assertEquals((await refusalFor(machine, process)).message, error.message);
  machine.files.clear();
  assertMatch(
    (await refusalFor(machine, process)).message,
    /^Already running for .*, with a pid that is not known$/,
  );
});

test("claimPidfile() waits for whoever only asks", async () => {
  const machine = new FakeMachine();
  machine.locks.set(pidfile, 7);
  machine.after(300, () => machine.locks.clear());
  const { claim } = await claimFor(machine, machine.start(5));
  assertEquals(machine.locks.get(pidfile), 5);
  claim.release();
});

test("claimPidfile() waits for whoever is just leaving", async () => {
  const machine = new FakeMachine();
  const first = await claimFor(machine, machine.start(7));
  await first.claim.serve(() => {
    // The question came, and the answer does not.
    first.claim.release();
    return Promise.resolve(undefined);
  });
  const { claim } = await claimFor(machine, machine.start(5));
  assertEquals(machine.files.get(pidfile), "5\n");
  claim.release();
});

test("claimPidfile() does not believe a free lock where somebody answers", async () => {
  // As seen from another network namespace, with the directory shared.
  const machine = new FakeMachine();
  machine.sockets.set(control, answerAs(7));
  const error = await refusalFor(machine, machine.start(5));
  assertEquals(error.message, "Already running with pid 7");
});

test("claimPidfile() overwrites nothing but a pidfile", async () => {
  for (const kind of ["directory", "other", "socket"] as const) {
    const machine = new FakeMachine();
    machine.others.set(pidfile, kind);
    const { message } = await refusalFor(machine, machine.start(5));
    assertStringIncludes(message, `${pidfile} is not a pidfile: it is a`);
  }
  const machine = new FakeMachine();
  machine.files.set(pidfile, "#!/bin/sh\nexit 1\n");
  const error = await refusalFor(machine, machine.start(5));
  assertStringIncludes(error.message, 'it holds "#!/bin/sh\\x0aexit 1"');
  const { daemon } = machine.start(6);
  await assertRejects(
    () => refuseIfRunning(pidfile, daemon),
    CommandError,
    "is not a pidfile",
  );
  machine.files.clear();
  for (const kind of ["file", "directory", "other"] as const) {
    machine.others.set(control, kind);
    const { message } = await refusalFor(machine, machine.start(5));
    assertStringIncludes(message, `${control} is not a control socket`);
  }
  machine.others.clear();
  for (
    const [failure, message] of [
      ["forbidden", "No permission to open the control socket"],
      ["stranger", "Something that is no headgate answers"],
    ] as const
  ) {
    machine.sockets.set(
      control,
      failure === "forbidden" ? failure : () => Promise.resolve("220 ready"),
    );
    const error = await refusalFor(machine, machine.start(5));
    assertStringIncludes(error.message, message);
  }
});

test("claimPidfile() says how to mend a directory", async () => {
  const reasons: [string, string][] = [
    ["ENOENT", "the directory does not exist"],
    ["ENOTDIR", "the directory does not exist"],
    ["EACCES", "no permission to write to its directory"],
    ["EROFS", "no permission to write to its directory"],
    ["ENOSPC", "the system refuses it (ENOSPC)"],
  ];
  for (const [code, reason] of reasons) {
    const machine = new FakeMachine();
    machine.failures.set("/run/", code);
    const error = await refusalFor(machine, machine.start(5));
    assertEquals(error.exitCode, 1);
    assertEquals(
      error.message,
      `Cannot write the pidfile ${pidfile}: ${reason}`,
    );
    assertStringIncludes(error.remedy, "--pidfile");
  }
});

test("serve() says why a control socket cannot be opened", async () => {
  const machine = new FakeMachine();
  const { claim } = await claimFor(machine, machine.start(5));
  machine.failures.set(control, "EACCES");
  await assertRejects(
    () => claim.serve(answerAs(5)),
    CommandError,
    `Cannot open the control socket ${control}: no permission`,
  );
  machine.failures.clear();
  const serving = claim.serve(answerAs(5));
  claim.release();
  await serving;
  assertEquals(machine.sockets.size, 0);
});

test("release() leaves a pidfile that another has written", async () => {
  const machine = new FakeMachine();
  const { claim } = await claimFor(machine, machine.start(5));
  machine.files.set(pidfile, "6\n");
  claim.release();
  assertEquals(machine.files.get(pidfile), "6\n");
  assertEquals(machine.locks.size, 0);
});

test("release() does not throw when the pidfile cannot be removed", async () => {
  const machine = new FakeMachine();
  const { host, daemon } = machine.start(5);
  const refusing = {
    ...host,
    remove() {
      throw new Error("EROFS");
    },
  };
  const logged: string[] = [];
  const log = { ...silentLogger, warn: (line: string) => logged.push(line) };
  const claim = await claimPidfile(pidfile, refusing, daemon, log);
  claim.release();
  assertEquals(logged, [`Cannot remove the pidfile ${pidfile}: Error: EROFS`]);
  assertEquals(machine.locks.size, 0);
});

// ---- The successor ----

async function succession(machine: FakeMachine): Promise<[Claim, Claim]> {
  const first = await claimFor(machine, machine.start(7));
  await first.claim.serve(answerAs(7));
  const second = await claimFor(machine, machine.start(8), { beside: true });
  await second.claim.serve(answerAs(8));
  return [first.claim, second.claim];
}

test("a successor's claim stands beside its predecessor's", async () => {
  const machine = new FakeMachine();
  const [first, second] = await succession(machine);
  assertEquals(
    machine.files,
    new Map([[pidfile, "7\n"], [`${pidfile}.2`, "8\n"]]),
  );
  assertEquals([...machine.sockets.keys()], [control, `${pidfile}.2.sock`]);
  assertEquals(second.paths.pidfile, `${pidfile}.2`);
  first.release();
  assertEquals([...machine.files.keys()], [`${pidfile}.2`]);
  second.release();
  assertEquals(machine.files.size + machine.sockets.size, 0);
  assertEquals(machine.locks.size, 0);
});

test("rename() takes the plain name, the lock and the control socket", async () => {
  for (const crash of [false, true]) {
    const machine = new FakeMachine();
    const [first, second] = await succession(machine);
    if (crash) {
      machine.end(7);
      machine.sockets.set(control, "absent");
    } else first.release();
    await second.rename();
    assertEquals(second.paths.pidfile, pidfile);
    assertEquals(machine.files, new Map([[pidfile, "8\n"]]));
    assertEquals(machine.locks, new Map([[pidfile, 8]]));
    assertEquals([...machine.sockets.keys()], [control]);
    const { daemon } = machine.start(5);
    const standing = await inspect(second.paths, daemon);
    assert(standing.kind === "answering" && standing.status.pid === 8);
    await second.rename(); // there is nothing left to do
    assertEquals(second.paths.pidfile, pidfile);
    second.release();
    assertEquals(machine.files.size + machine.sockets.size, 0);
    assertEquals(machine.locks.size, 0);
  }
});

test("rename() keeps the name beside while the plain one is taken", async () => {
  const machine = new FakeMachine();
  const [first, second] = await succession(machine);
  await assertRejects(() => second.rename(), CommandError, "pid 7");
  assertEquals(second.paths.pidfile, `${pidfile}.2`);
  assertEquals(machine.files.get(`${pidfile}.2`), "8\n");
  first.release();
  machine.failures.set(control, "ENOSPC");
  await assertRejects(() => second.rename(), CommandError, "ENOSPC");
  assertEquals(machine.files, new Map([[`${pidfile}.2`, "8\n"]]));
  assertEquals(machine.locks, new Map([[`${pidfile}.2`, 8]]));
  machine.failures.clear();
  await second.rename();
  assertEquals(machine.files, new Map([[pidfile, "8\n"]]));
  second.release();
});

test("release() during rename() leaves neither name", async () => {
  const machine = new FakeMachine();
  const [first, second] = await succession(machine);
  first.release();
  const renaming = second.rename();
  second.release();
  await renaming;
  assertEquals(machine.files.size + machine.sockets.size, 0);
  assertEquals(machine.locks.size, 0);
});

test("rename() of a plain claim does nothing", async () => {
  const machine = new FakeMachine();
  const { claim } = await claimFor(machine, machine.start(7));
  await claim.rename();
  assertEquals(machine.files, new Map([[pidfile, "7\n"]]));
  claim.release();
});

test("realClock passes real time", async () => {
  const before = realClock.now();
  await realClock.sleep(2);
  assert(realClock.now() > before);
});
