/** The daemon of the exercise: started, seen, broken and stopped by its commands. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { bundle } from "../support/bundle.ts";
import { RawClient } from "../support/raw_client.ts";
import { exchange, text } from "./fixture.ts";

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const onNode = process.versions["deno"] === undefined &&
  process.versions["bun"] === undefined;

interface Outcome {
  readonly code: number;
  readonly output: string;
}

/** The daemon with its files in a directory of its own. */
class Daemon {
  readonly directory: string;
  readonly #program: string;

  constructor(directory: string, program: string) {
    this.directory = directory;
    this.#program = program;
  }

  run(command: string, env: Record<string, string> = {}): Promise<Outcome> {
    const options = process.versions["deno"] === undefined ? [] : ["run", "-A"];
    return new Promise((settle) => {
      execFile(
        process.execPath,
        [...options, this.#program, command],
        {
          cwd: this.directory,
          env: { ...process.env, PORT: "0", WORKERS: "2", ...env },
          timeout: 30_000,
        },
        (error, stdout, stderr) => {
          const code = error === null ? 0 : Number(error.code ?? -1);
          settle({ code, output: stdout + stderr });
        },
      );
    });
  }

  async start(): Promise<{ pid: number; host: string; port: number }> {
    const { code, output } = await this.run("start");
    const [, pid, port] = /^Started with pid (\d+), port (\d+)\n$/
      .exec(output) ?? [];
    assertEquals(code, 0, `${output}${this.log}`);
    return { pid: Number(pid), host: "127.0.0.1", port: Number(port) };
  }

  get log(): string {
    const file = join(this.directory, "daemon.log");
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  }

  /** The pids of the workers that were ever started. */
  get workers(): number[] {
    return [...this.log.matchAll(/Worker \d+ \(pid (\d+)\) started/g)]
      .map(([, pid]) => Number(pid));
  }

  async until(condition: () => boolean, what: string): Promise<void> {
    const deadline = Date.now() + 15_000;
    while (!condition()) {
      assert(Date.now() < deadline, `no ${what}\n${this.log}`);
      await sleep(20);
    }
  }
}

async function withDaemon(use: (daemon: Daemon) => Promise<void>) {
  const directory = await mkdtemp(join(tmpdir(), "headgate-exercise-"));
  let program = resolve("examples/exercise/daemon/main.ts");
  try {
    if (onNode) program = await bundle(program, join(directory, "main.mjs"));
    const daemon = new Daemon(directory, program);
    try {
      await use(daemon);
    } finally {
      await daemon.run("stop");
    }
  } finally {
    await rm(directory, { recursive: true });
  }
}

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return /^\d+ \(.*\) Z/s.test(stat);
  } catch {
    return true;
  }
}

test("the daemon starts, tells its status, and stops", async () => {
  await withDaemon(async (daemon) => {
    const stopped = { code: 3, output: "Not running\n" };
    assertEquals(await daemon.run("status"), stopped);
    const address = await daemon.start();
    const { pid } = address;
    assertEquals(await daemon.run("status"), {
      code: 0,
      output: `Running with pid ${pid}\n`,
    });
    assertEquals(await daemon.run("start"), {
      code: 1,
      output: `Already running with pid ${pid}\n`,
    });
    const answer = text(await exchange(address, get));
    const served = Number(/^Hello from pid (\d+)\n$/.exec(answer)?.[1]);
    assert(daemon.workers.includes(served), answer);

    assertEquals(await daemon.run("stop"), {
      code: 0,
      output: `Stopped (pid ${pid})\n`,
    });
    assertEquals(await daemon.run("status"), stopped);
    for (const one of [pid, ...daemon.workers]) assert(isGone(one), `${one}`);
    for (const line of daemon.log.trimEnd().split("\n")) {
      assertMatch(line, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[[A-Z]+\] \S/);
    }
  });
});

test("the daemon ends what it has begun before it restarts", async () => {
  await withDaemon(async (daemon) => {
    const address = await daemon.start();
    const client = await RawClient.connect(address);
    await client.send(get.slice(0, -1));
    // Connections are accepted in order, so that one has been before this.
    assertMatch(text(await exchange(address, get)), /^Hello/);
    const restarting = daemon.run("restart");
    // The other worker has nothing to wait for.
    await daemon.until(() => /\) ended: /.test(daemon.log), "end of a worker");
    await client.send(get.slice(-1));
    await client.untilEnded();
    assertMatch(client.receivedText, /Hello from pid \d+\n$/);
    await client.close();
    const { code, output } = await restarting;
    assertEquals(code, 0, output);
    assertMatch(output, /^Stopped \(pid \d+\)\nStarted with pid \d+, /);
  });
});

test("the daemon replaces a worker that was killed", async () => {
  await withDaemon(async (daemon) => {
    const address = await daemon.start();
    process.kill(daemon.workers[0]!, "SIGKILL");
    await daemon.until(() => daemon.workers.length === 3, "third worker");
    assertMatch(daemon.log, /Worker 1 \(pid \d+\) ended: SIGKILL\n/);
    assertMatch(text(await exchange(address, get)), /^Hello from pid \d+\n$/);
  });
});

test("the daemon's workers leave when the master is killed", async () => {
  await withDaemon(async (daemon) => {
    const { pid } = await daemon.start();
    process.kill(pid, "SIGKILL");
    await daemon.until(() => daemon.workers.every(isGone), "end of workers");
    assertEquals(await daemon.run("status"), {
      code: 1,
      output: `Pid ${pid} is dead, and daemon.pid is left\n`,
    });
    const { pid: next } = await daemon.start();
    assert(next !== pid);
  });
});

test("the daemon says why it does not start", async () => {
  await withDaemon(async (daemon) => {
    const { port } = await daemon.start();
    await withDaemon(async (other) => {
      const { code, output } = await other.run("start", { PORT: `${port}` });
      assertEquals(code, 1);
      assertMatch(output, /EADDRINUSE|in use/i);
    });
  });
});

test("the daemon takes no group's number for a pid", async () => {
  await withDaemon(async (daemon) => {
    await writeFile(join(daemon.directory, "daemon.pid"), "-1\n");
    const expected = { code: 3, output: "Not running\n" };
    assertEquals(await daemon.run("status"), expected);
  });
});
