/** `daemonHost` and the processes that it starts: real ones, of a program that
 * starts itself again. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { programCommand } from "../../adapters/child_process.ts";
import { daemonHost } from "../../adapters/daemon_host.ts";
import { freePort } from "../support/free_port.ts";
import { sourceArgs } from "../support/source_program.ts";
import { canRunAsAnother } from "../support/other_users.ts";
import { until } from "./fixture.ts";

const onLinux = process.platform === "linux";

const directory = mkdtempSync(join(tmpdir(), "headgate-"));
chmodSync(directory, 0o755); // the program runs as another user, too
process.on("exit", () => rmSync(directory, { recursive: true, force: true }));

function path(name: string): string {
  return join(directory, name);
}

// ---- The program ----

const source = "tests/adapters/daemon_program.ts";

function startProgram(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [...sourceArgs(source), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 20_000,
  });
}

/** What a scenario of the program has told. */
async function tell<T>(...args: string[]): Promise<T> {
  const child = startProgram(args);
  let stdout = "";
  let stderr = "";
  child.stdout!.setEncoding("utf8").on("data", (text) => stdout += text);
  child.stderr!.setEncoding("utf8").on("data", (text) => stderr += text);
  await new Promise<void>((resolve) => child.once("close", () => resolve()));
  const last = stdout.trimEnd().split("\n").at(-1) ?? "";
  assert(last.startsWith("{"), `${args[0]}: ${stdout}${stderr}`);
  return JSON.parse(last);
}

// ---- Sockets ----

interface HandOver {
  before: { host: string; port: number }[];
  inherited: { fd: number; address: unknown }[];
  answers: string[];
  kept: boolean;
  aside: boolean;
  end: unknown;
}

test("bind(), spawn(), inherited(): sockets go through two processes", async () => {
  if (!onLinux) return;
  const socket = path("handed-over.sock");
  const told = await tell<HandOver>("hand over", socket);
  const slots = daemonHost.reusePort ? 2 : 1;
  assertEquals(told.before.length, 2 * slots + 1);
  assertEquals(told.before[0]!.host, "127.0.0.1");
  assertEquals(told.before[slots], { host: socket, port: 0 });
  assertEquals(told.before.at(-1)!.host, "::");
  assertEquals(new Set(told.before.map(({ port }) => port)).size, 3);
  assertEquals(
    told.inherited,
    told.before.map((address, index) => ({ fd: 3 + index, address })),
  );
  assert(told.answers.every((answer) => answer === "served "));
  assert(told.kept, "the socket's file survives");
  assert(!told.aside, "nothing is left beside it");
  assertEquals(told.end, { code: 7, signal: null });
});

test("bind() accepts nothing, so that a client of the first moment is served", async () => {
  if (!onLinux) return;
  const port = await freePort();
  const counts = await tell<Record<string, number>>(
    "hand over under load",
    String(port),
  );
  assertEquals(counts.lost, 0);
  assert(counts.answered! > 0);
});

// ---- Channels ----

test("Channel keeps messages for later, and all of them before the end", async () => {
  const { heard, end, open, order } = await tell<{
    heard: unknown[];
    end: unknown;
    open: boolean;
    order: string[];
  }>("channel");
  assertEquals(heard[0], [{ number: 1 }, { number: 2 }, { number: 3 }]);
  assertEquals(heard.length, 22);
  assertEquals(heard[1], "é".repeat(5000));
  assertEquals(heard.at(-1), "the end");
  assertEquals(end, { code: 3, signal: null });
  assertEquals(open, false);
  assertEquals(order, ["message", "closed", "ended"]);
});

test("Channel.close() lets what was sent arrive, and tells the other end", async () => {
  const told = await tell("early close");
  assertEquals(told, {
    end: { code: 41, signal: null },
    told: false,
    open: false,
    hasty: { code: 40, signal: null },
  });
});

// ---- Output and endings ----

test("spawn() passes whole lines on, appends to a file, or discards", async () => {
  assertEquals(await tell("output", path("output.log")), {
    whole: true,
    lines: ["one line", 65_536, 65_536, 65_536, 65_536, 37_856, "half", ""],
    file: "one line\n".length + 300_001 + "half".length,
    mode: 0o640,
  });
});

test("ended tells the code or the signal, and nobody is signalled after it", async () => {
  assertEquals(await tell("endings"), {
    left: { code: 3, signal: null },
    killed: { code: null, signal: "SIGKILL" },
    alive: false,
  });
});

test("ended does not wait for those who hold a dead process's output", async () => {
  assertEquals(await tell("grandchild"), {
    end: { code: 0, signal: null },
    survived: true,
  });
});

test("spawn() that is refused is a process that ended with 127", async () => {
  const { took, ...told } = await tell<{ took: string[] }>("refused");
  assertEquals(told as unknown, {
    pid: 0,
    open: false,
    closed: true,
    end: { code: 127, signal: null },
  });
  assertEquals(took.length, 1);
  assertMatch(took[0]!, /^Cannot start \/.*\n$/);
  assertStringIncludes(took[0]!, process.execPath);
});

// ---- What a child is, and has ----

interface Told {
  args: string[];
  directory: string;
  variables: string[];
  listening: number[];
  status: string[];
}

test("spawn() hands on the descriptors that it is given, and no other", async () => {
  if (!onLinux) return;
  const { listening } = await tell<Told>("leaks", path("leaks.sock"));
  assertEquals(listening, [3, 4]);
});

test("spawn() runs as another user, without our groups", async () => {
  if (!onLinux || !canRunAsAnother()) return;
  const { status } = await tell<Told>("user");
  assertEquals(status, [
    "Uid:\t65534\t65534\t65534\t65534",
    "Gid:\t65533\t65533\t65533\t65533",
    "Groups:",
  ]);
});

test("spawn() adds variables to the environment, and removes them", async () => {
  const { variables } = await tell<Told>("environment");
  assertEquals(variables, ["DAEMON_TEST_NEW"]);
});

test("spawn() keeps to the program from another directory", async () => {
  const { args, directory } = await tell<Told>(
    "arguments",
    "given",
    "at first",
  );
  assertEquals(args, ["--bind", "a b", "", "-x"]);
  assertEquals(directory, "/");
});

test("onSignal() hears each signal of the arbiter", async () => {
  assertEquals(await tell("signals"), { missing: [] });
});

test("lock() is free when its holder was killed, whatever it had started", async () => {
  if (!onLinux) return;
  const name = path("killed");
  const program = startProgram(["hold lock", name]);
  let stdout = "";
  program.stdout!.setEncoding("utf8").on("data", (text) => stdout += text);
  await until(() => stdout.includes("\n"), "the holder");
  const { held, survivor } = JSON.parse(stdout);
  try {
    assert(held);
    assertEquals(await daemonHost.lock(name), undefined);
    process.kill(program.pid!, "SIGKILL");
    await until(() => !daemonHost.isAlive(program.pid!), "its end");
    // Its first thread may have ended before the last, which still holds it.
    let lock = await daemonHost.lock(name);
    for (let tries = 0; lock === undefined && tries < 200; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      lock = await daemonHost.lock(name);
    }
    assert(lock !== undefined);
    lock.release();
    assert(daemonHost.isAlive(survivor));
  } finally {
    process.kill(survivor, "SIGKILL");
  }
});

// ---- The command ----

test("programCommand() is the command line but for the program's arguments", () => {
  const line = ["deno", "run", "-A", "mod.ts", "app.ts", "--", ""];
  const argv = ["/bin/deno", "/srv/mod.ts", "app.ts", "--", ""];
  assertEquals(programCommand(line, argv, "/srv"), [
    "run",
    "-A",
    "/srv/mod.ts", // it may have to be found from another directory
  ]);
  assertEquals(
    programCommand(
      ["bun", "mod.ts", "--", "a"],
      ["bun", "/srv/mod.ts", "a"],
      "/srv",
    ),
    ["/srv/mod.ts", "--"],
  );
});

test("programCommand() leaves what names no file as it is", () => {
  const remote = "https://example.org/mod.ts";
  assertEquals(
    programCommand(["deno", "run", remote, "a"], ["deno", remote, "a"], "/srv"),
    ["run", remote],
  );
  assertEquals(
    programCommand(["/bin/headgate", "a"], ["/bin/headgate", "x", "a"], "/"),
    [],
  );
});

test("programCommand() does without a command line", () => {
  const argv = ["/bin/node", "/srv/cli.js", "a"];
  for (const line of [undefined, ["a title"]]) {
    assertEquals(programCommand(line, argv, "/srv").at(-1), "/srv/cli.js");
  }
});
