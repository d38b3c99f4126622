/** Log files that are renamed and reopened under servers that are at work:
 * whoever compresses the renamed ones when `reopen` has ended loses no line. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { mkdirSync, renameSync } from "node:fs";
import {
  answerOf,
  type Daemon,
  get,
  request,
  served,
  testDaemon,
} from "../support/daemon.ts";

/** Each access line begins with the pid of the worker. */
const logged: readonly string[] = [
  "--access-log=access.log",
  "--access-log-format=%(p)s %(r)s",
];

/** An application that lets its worker's event loop stand still at /nap, until
 * there is a file "wake". */
const napper = `
import { existsSync, writeFileSync } from "node:fs";

const cell = new Int32Array(new SharedArrayBuffer(4));

export function app({ PATH_INFO }, startResponse) {
  if (PATH_INFO === "/nap") {
    writeFileSync("napping", "");
    while (!existsSync("wake")) Atomics.wait(cell, 0, 0, 10);
  }
  startResponse("200 OK", [["Content-Type", "text/plain"]]);
  return [new TextEncoder().encode("hello")];
}
`;

/** Renames both log files, as rotation does. */
function rotate(daemon: Daemon): void {
  for (const name of ["headgate", "access"]) {
    renameSync(daemon.path(`${name}.log`), daemon.path(`${name}.old`));
  }
}

/** What the renamed files hold. */
function moved(daemon: Daemon): string {
  return daemon.read("headgate.old") + daemon.read("access.old");
}

/** Settles when each of them has written so many lines to the new file. */
async function untilEachHasServed(
  daemon: Daemon,
  pids: readonly number[],
  count: number,
): Promise<void> {
  await daemon.until(() => {
    const lines = daemon.read("access.log").split("\n");
    return pids.every((pid) =>
      lines.filter((line) => line.startsWith(`<${pid}> `)).length >= count
    );
  }, "lines of every worker");
}

/** Requests without end, a few at a time. */
class Load implements AsyncDisposable {
  readonly #clients: Promise<void>[];
  #over = false;

  constructor(daemon: Daemon, clients: number) {
    const { address } = daemon;
    this.#clients = Array.from({ length: clients }, async () => {
      while (!this.#over) await get(address);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    await Promise.all(this.#clients);
  }
}

testDaemon(
  "reopen under load: from its end on nothing is added to the old files",
  async (daemon) => {
    await daemon.start(...logged, "--log-level=debug");
    const workers = await daemon.workers();
    await using _load = new Load(daemon, 4);
    await untilEachHasServed(daemon, workers, 20);
    rotate(daemon);
    const { outcome, stdout, stderr } = await daemon.run("reopen");
    const old = moved(daemon);
    assertEquals([outcome, stdout, stderr], [0, "Log files reopened\n", ""]);
    await untilEachHasServed(daemon, workers, 20);
    assertEquals(moved(daemon).length, old.length);
  },
);

testDaemon(
  "reopen waits for a worker that is busy",
  async (daemon) => {
    daemon.write("app.mjs", napper);
    await daemon.start(...logged);
    const napping = await request(daemon.address, "/nap");
    await daemon.until(() => daemon.has("napping"), "the nap");
    const { address } = daemon;
    rotate(daemon);
    let answered = false;
    const answer = daemon.order({ command: "reopen" });
    void answer.then(() => answered = true);
    await daemon.until(() => daemon.has("headgate.log"), "the new log");
    await daemon.status();
    assert(!answered);
    daemon.write("wake", "");
    assertEquals(await answer, { ok: true, message: "Log files reopened" });
    const old = moved(daemon);
    assertMatch(old, /^<\d+> GET \/nap HTTP\/1\.1$/m);
    assertEquals((await answerOf(napping)).status, 200);
    await napping.close();
    for (let count = 0; count < 8; count++) await get(address);
    await daemon.until(
      () => daemon.read("access.log").split("\n").length > 8,
      "the new lines",
    );
    assertEquals(moved(daemon).length, old.length);
  },
);

testDaemon(
  "reopen names the worker that does not answer, which loses no line",
  async (daemon) => {
    daemon.write("app.mjs", napper);
    await daemon.start(...logged);
    const napping = await request(daemon.address, "/nap");
    await daemon.until(() => daemon.has("napping"), "the nap");
    rotate(daemon);
    const { outcome, stdout, stderr } = await daemon.run("reopen");
    assertEquals([outcome, stdout], [1, ""]);
    const [, pid] = /No answer from worker \d \(pid (\d+)\) in 5 s\. /
      .exec(stderr) ?? [];
    assert((await daemon.workers()).includes(Number(pid)), stderr);
    assertEquals(stderr.match(/No answer/g)?.length, 1);
    await daemon.untilLogged(
      /\[WARNING\] Not all log files were reopened:\n +No answer from worker/,
    );
    daemon.write("wake", "");
    assertEquals((await answerOf(napping)).status, 200);
    await napping.close();
    await daemon.until(
      () => daemon.read("access.old").includes(`<${pid}> GET /nap`),
      "its line",
    );
    assertEquals((await daemon.run("reopen")).outcome, 0);
  },
);

testDaemon(
  "reopen tells where the directory has gone, and lines go on to the old file",
  async (daemon) => {
    mkdirSync(daemon.path("logs"));
    const { outcome } = await daemon.run(
      "start",
      ...served,
      "--log-file=logs/a.log",
      ...logged,
    );
    assertEquals(outcome, 0);
    const workers = await daemon.workers();
    const [port = ""] = /\d+$/.exec(
      (await daemon.status())?.addresses[0] ?? "",
    ) ?? [];
    const address = { host: "127.0.0.1", port: Number(port) };
    renameSync(daemon.path("logs"), daemon.path("gone"));
    const failed = await daemon.run("reopen");
    assertEquals([failed.outcome, failed.stdout], [1, ""]);
    for (
      const part of [
        "headgate: Not all log files were reopened:\n",
        `    ${daemon.path("logs/a.log")} could not be opened again by the ` +
        "arbiter, worker ",
        ...workers.map((pid, index) => `worker ${index + 1} (pid ${pid})`),
        " (ENOENT). Lines go on to the file that was there. Make the " +
        `directory ${daemon.path("logs")}, then reopen again.\n`,
      ]
    ) assertStringIncludes(failed.stderr, part);
    await daemon.until(
      () =>
        daemon.read("gone/a.log").includes(
          "[ERROR] Not all log files were reopened:\n",
        ),
      "the line in the old file",
    );
    await get(address, "/print");
    await daemon.until(
      () => daemon.read("gone/a.log").includes("printed by the application"),
      "what is printed",
    );
    mkdirSync(daemon.path("logs"));
    assertEquals((await daemon.run("reopen")).outcome, 0);
    await daemon.until(
      () => daemon.read("logs/a.log").includes("Log files reopened"),
      "the line in the new file",
    );
  },
);

testDaemon(
  "reopen with two arbiters: the workers of both write to the new files",
  async (daemon) => {
    await daemon.start(...logged);
    const old = await daemon.workers();
    daemon.signal("SIGUSR2");
    await daemon.untilLogged(/The new arbiter \(pid \d+\) serves/);
    const serving = /Worker \d \(pid (\d+)\): serving/g;
    const all = () =>
      [...daemon.log.matchAll(serving)].map(([, pid]) => Number(pid));
    await daemon.until(() => all().length === 4, "four workers");
    const both = all();
    await using _load = new Load(daemon, 4);
    rotate(daemon);
    const { outcome, stderr } = await daemon.run("reopen");
    const before = moved(daemon);
    assertEquals([outcome, stderr], [0, ""]);
    await untilEachHasServed(daemon, both, 10);
    assertEquals(moved(daemon).length, before.length);
    assertEquals(
      await daemon.workers(),
      old,
      "the pidfile's arbiter was asked",
    );
    await daemon.until(
      () => daemon.log.match(/Log files reopened/g)?.length === 2,
      "a line of each arbiter",
    );
  },
);
