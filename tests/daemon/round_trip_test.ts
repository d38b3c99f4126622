/** The pidfile and the commands over real files, sockets, locks and processes,
 * with this process for an arbiter, and a real one that is killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { daemonHost } from "../../adapters/daemon_host.ts";
import { processHost } from "../../adapters/process_host.ts";
import { CommandError } from "../../src/command_error.ts";
import { runDaemonCommand } from "../../src/daemon/commands.ts";
import type {
  DaemonCommand,
  DaemonCommandOptions,
} from "../../src/daemon/errand.ts";
import { claimPidfile } from "../../src/daemon/pidfile.ts";
import { readCommand, type Status } from "../../src/daemon/protocol.ts";
import type { Host, Output } from "../../src/host.ts";
import { silentLogger } from "../../src/logger.ts";

const onLinux = process.platform === "linux";

/** A directory with a pidfile in it, removed at the end of the scope. */
class Directory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "headgate-"));
  readonly pidfile = join(this.path, "app.pid");

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(
  name: DaemonCommand,
  pidfile: string,
  options: Partial<DaemonCommandOptions> = {},
): Promise<Result> {
  const written: Record<Output, string> = { stdout: "", stderr: "" };
  const host: Host = {
    ...processHost,
    isTerminal: () => false,
    write(output, text) {
      written[output] += text;
    },
  };
  const code = await runDaemonCommand(
    name,
    {
      pidfile,
      graceSeconds: 0,
      json: false,
      quick: false,
      workers: undefined,
      ...options,
    },
    host,
    daemonHost,
  );
  return { code, out: written.stdout, err: written.stderr };
}

function statusOf(pid: number): Status {
  return {
    ok: true,
    version: "0.1.0",
    runtime: "Test 1",
    pid,
    uptime: 61,
    state: "serving",
    app: "é.ts:app",
    generation: 1,
    target: 0,
    addresses: ["http://127.0.0.1:8000"],
    requests: 1234,
    workers: [],
    graceSeconds: 5,
  };
}

/** A process that does nothing until it is told to end. */
async function sleeper(): Promise<ChildProcess> {
  const child = spawn("sleep", ["60"], { stdio: "ignore" });
  await once(child, "spawn");
  return child;
}

test("a claim is seen by the commands, and gone after release()", async () => {
  using directory = new Directory();
  const { pidfile } = directory;
  const claim = await claimPidfile(
    pidfile,
    processHost,
    daemonHost,
    silentLogger,
  );
  assertEquals(readFileSync(pidfile, "utf8"), `${process.pid}\n`);
  const asked: unknown[] = [];
  await claim.serve((question) => {
    asked.push(question);
    return Promise.resolve(
      readCommand(question)?.command === "status"
        ? statusOf(process.pid)
        : { ok: true, message: "4 worker(s) serve" },
    );
  });
  assertEquals(statSync(`${pidfile}.sock`).mode & 0o777, 0o600);
  const shown = await run("status", pidfile);
  assertEquals([shown.code, shown.err], [0, ""]);
  assertMatch(shown.out, /^headgate 0\.1\.0 on Test 1, pid \d+, serving \\xe9/);
  const json = await run("status", pidfile, { json: true });
  assertEquals(JSON.parse(json.out), statusOf(process.pid));
  asked.length = 0;
  assertEquals(await run("scale", pidfile, { workers: 4 }), {
    code: 0,
    out: "4 worker(s) serve\n",
    err: "",
  });
  assertEquals(asked[1], { command: "scale", workers: 4 });
  await assertRejects(
    () => claimPidfile(pidfile, processHost, daemonHost, silentLogger),
    CommandError,
    `Already running with pid ${process.pid}`,
  );
  claim.release();
  assert(!existsSync(pidfile) && !existsSync(`${pidfile}.sock`));
  assertEquals((await run("status", pidfile)).code, 3);
  const again = await claimPidfile(
    pidfile,
    processHost,
    daemonHost,
    silentLogger,
  );
  again.release();
});

test("a claim beside another takes its name once that one has left", async () => {
  using directory = new Directory();
  const { pidfile } = directory;
  const claims = await Promise.all(
    [false, true].map((beside) =>
      claimPidfile(pidfile, processHost, daemonHost, silentLogger, { beside })
    ),
  );
  const [first, second] = claims;
  assert(first !== undefined && second !== undefined);
  await first.serve(() => Promise.resolve(statusOf(1)));
  await second.serve(() => Promise.resolve(statusOf(2)));
  assertMatch((await run("status", pidfile)).out, /pid 1,/);
  assertMatch((await run("status", `${pidfile}.2`)).out, /pid 2,/);
  await assertRejects(() => second.rename(), CommandError, "pid 1");
  first.release();
  await second.rename();
  assertMatch((await run("status", pidfile)).out, /pid 2,/);
  assertEquals((await run("status", `${pidfile}.2`)).code, 3);
  second.release();
  assertEquals(existsSync(pidfile), false);
});

test("stop ends a process that holds the pidfile and does not answer", async () => {
  if (!onLinux) return; // without the lock nobody knows that it is the one
  using directory = new Directory();
  const { pidfile } = directory;
  const child = await sleeper();
  const ended = once(child, "close");
  const lock = await daemonHost.lock(pidfile);
  assert(lock !== undefined);
  ended.then(() => lock.release());
  writeFileSync(pidfile, `${child.pid}\n`);
  assertEquals((await run("status", pidfile)).code, 4);
  assertEquals(await run("stop", pidfile), {
    code: 0,
    out: `Stopped (pid ${child.pid})\n`,
    err: "",
  });
  assertEquals((await ended)[1], "SIGTERM");
});

test("a pidfile whose process lives and is another's is stale", async () => {
  if (!onLinux) return;
  using directory = new Directory();
  const { pidfile } = directory;
  const child = await sleeper();
  const ended = once(child, "close");
  writeFileSync(pidfile, `${child.pid}\n`);
  const shown = await run("status", pidfile);
  assertEquals(shown.code, 1);
  assertStringIncludes(shown.out, `pid ${child.pid} in ${pidfile} is no`);
  assertEquals((await run("stop", pidfile)).code, 0);
  assertEquals((await run("reload", pidfile)).code, 7);
  assertEquals(readFileSync(pidfile, "utf8"), `${child.pid}\n`);
  const warned: string[] = [];
  const log = { ...silentLogger, warn: (line: string) => warned.push(line) };
  const claim = await claimPidfile(pidfile, processHost, daemonHost, log);
  assertEquals(warned, [
    `Replaced the stale pidfile ${pidfile}: pid ${child.pid} lives, but is ` +
    "another program's",
  ]);
  claim.release();
  assertEquals(child.exitCode, null, "nobody has signalled it");
  child.kill();
  await ended;
});

test("what cannot be claimed is told, and left as it is", async () => {
  using directory = new Directory();
  const claim = (path: string) => () =>
    claimPidfile(path, processHost, daemonHost, silentLogger);
  await assertRejects(
    claim(join(directory.path, "missing", "app.pid")),
    CommandError,
    "the directory does not exist",
  );
  await assertRejects(claim(directory.path), CommandError, "it is a directory");
  writeFileSync(directory.pidfile, "print('hello')\n");
  await assertRejects(claim(directory.pidfile), CommandError, "it holds");
  assertEquals(readFileSync(directory.pidfile, "utf8"), "print('hello')\n");
  rmSync(directory.pidfile);
  writeFileSync(`${directory.pidfile}.sock`, "");
  await assertRejects(
    claim(directory.pidfile),
    CommandError,
    "is not a control socket: it is a file",
  );
  // A lock that a refusal had kept would show here.
  rmSync(`${directory.pidfile}.sock`);
  (await claim(directory.pidfile)()).release();
});
