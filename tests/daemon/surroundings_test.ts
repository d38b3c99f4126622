/** What the workers of a server find around them: user, files, variables, name
 * and hooks. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
} from "node:fs";
import process from "node:process";
import { type Daemon, get, testDaemon } from "../support/daemon.ts";
import { canRunAsAnother } from "../support/other_users.ts";

/** A field of `/proc/PID/status`. */
function statusField(pid: number, field: string): string {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  return text.match(new RegExp(`^${field}:[ \\t]*(.*)$`, "m"))?.[1] ?? "";
}

testDaemon(
  "--user: the workers are another's, and so are their files",
  async (daemon) => {
    if (!canRunAsAnother()) return;
    if ("Deno" in globalThis) {
      // What the sources import is in a cache that is root's alone.
      if (!existsSync("dist/cli.js")) return console.log("skip: not built");
      daemon.program = [process.execPath, "run", "-A", "dist/cli.js"];
    }
    chmodSync(daemon.directory, 0o755);
    await daemon.start(
      "--user=65534",
      "--group=65533",
      "--access-log=access.log",
      "--bind=unix:app.sock",
    );
    const [first = 0, second = 0] = await daemon.workers();
    for (const pid of [first, second]) {
      assertEquals(statusField(pid, "Uid").split("\t")[1], "65534");
      assertEquals(statusField(pid, "Gid").split("\t")[1], "65533");
      assertEquals(statusField(pid, "Groups").trim(), "");
    }
    assertEquals(statusField(daemon.pid, "Uid").split("\t")[1], "0");
    assertEquals(statSync(daemon.path("app.sock")).uid, 65534);
    const port = Number(
      (await daemon.status())?.addresses[0]?.split(":").at(-1),
    );
    await get({ host: "127.0.0.1", port }, "/print");
    await daemon.untilLogged("printed by the application");
    await daemon.until(
      () => daemon.read("access.log").includes("GET /print"),
      "the access line",
    );
    // A file that is made anew is theirs as well.
    daemon.remove("access.log");
    daemon.remove("headgate.log");
    assertEquals((await daemon.order({ command: "reopen" }))?.ok, true);
    await get({ host: "127.0.0.1", port }, "/print");
    await daemon.until(
      () => daemon.read("access.log").includes("GET /print"),
      "the new access log",
    );
    assertEquals(statSync(daemon.path("access.log")).uid, 65534);
    assertEquals(statSync(daemon.path("headgate.log")).uid, 65534);
    // What the workers alone may not open they tell, and go on.
    renameSync(daemon.path("access.log"), daemon.path("access.old"));
    mkdirSync(daemon.path("elsewhere"), { mode: 0o700 });
    symlinkSync("elsewhere/access.log", daemon.path("access.log"));
    const refused = await daemon.order({ command: "reopen" });
    assertEquals(refused?.ok, false);
    const message = refused?.message ?? "";
    assertStringIncludes(
      message,
      `${daemon.path("access.log")} could not be opened again by worker `,
    );
    for (const text of [`(pid ${first})`, `(pid ${second})`, "(EACCES). "]) {
      assertStringIncludes(message, text);
    }
    await daemon.untilLogged("[ERROR] Not all log files were reopened:\n");
    await get({ host: "127.0.0.1", port }, "/refused");
    await daemon.until(
      () => daemon.read("access.old").includes("GET /refused"),
      "the line in the old file",
    );
  },
);

testDaemon("--user that does not exist is refused", async (daemon) => {
  const { outcome, stderr } = await daemon.run(
    "start",
    "app.mjs:app",
    "--bind=127.0.0.1:0",
    "--workers=2",
    "--user=nobody-of-that-name",
  );
  assertEquals(outcome, 2);
  assertStringIncludes(stderr, "there is no user nobody-of-that-name");
  assertEquals(daemon.processes(), []);
});

testDaemon(
  "--umask: what the workers make lacks its permissions",
  async (daemon) => {
    await daemon.start("--umask=077");
    const pids = [daemon.pid, ...await daemon.workers()];
    for (const pid of pids) assertEquals(statusField(pid, "Umask"), "0077");
    assertEquals(statSync(daemon.path("headgate.log")).mode & 0o077, 0);
  },
);

testDaemon("--env: variables of the application alone", async (daemon) => {
  await daemon.start("--env=GREETING=good day", "--env=HEADGATE_WORKERS=7");
  assertEquals((await daemon.get("/variable?GREETING")).text, "good day");
  assertEquals((await daemon.get("/variable?HEADGATE_WORKERS")).text, "7");
  // What makes a process of ours a worker is none of the application's business.
  const role = await daemon.get("/variable?HEADGATE_PROCESS");
  assertEquals(role.text, "undefined");
  assertEquals((await daemon.workers()).length, 2);
});

testDaemon("--name: what ps calls the processes", async (daemon) => {
  await daemon.start("--name=shop");
  const title = (pid: number) =>
    readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[0];
  // Bun keeps its title to itself.
  if ("Bun" in globalThis) return;
  assertEquals(title(daemon.pid), "headgate: arbiter [shop]");
  const [first = 0, second = 0] = await daemon.workers();
  assertEquals(title(first), "headgate: worker 1 [shop]");
  assertEquals(title(second), "headgate: worker 2 [shop]");
});

const hooks = `
const note = (name) => ({ log, seat = "" }) => log.info("hook " + name + seat);
export default {
  app: "app.mjs:app",
  bind: "127.0.0.1:0",
  workers: 1,
  onStarting: note("onStarting"),
  onReload: note("onReload"),
  whenReady: note("whenReady"),
  workerStart: note("workerStart"),
  workerReady: note("workerReady"),
  preRequest: (head, { log }) => log.info("hook preRequest"),
  postRequest: (record, { log }) => log.info("hook postRequest"),
  workerExit: note("workerExit"),
  onExit: note("onExit"),
};`;

/** The hooks that were called, in the order of the log's stamps: each process
 * writes by itself, and a little later. */
function hooksIn({ log }: Daemon): string[] {
  return log.split("\n").filter((line) => line.includes("] hook ")).sort()
    .map((line) => line.replace(/^.*\] hook /, ""));
}

testDaemon(
  "the hooks of the configuration file are called in their order",
  async (daemon) => {
    daemon.write("headgate.config.mjs", hooks);
    assertEquals((await daemon.run("start")).outcome, 0);
    await daemon.untilLogged("Ready in");
    await daemon.untilLogged("hook workerReady1");
    await daemon.get();
    await daemon.untilLogged("hook postRequest");
    assertEquals((await daemon.order({ command: "reload" }))?.ok, true);
    await daemon.untilLogged("hook workerExit1");
    assertEquals((await daemon.run("stop")).outcome, 0);
    const called = hooksIn(daemon);
    assertEquals(called.slice(0, 2), ["onStarting", "workerStart1"]);
    assertEquals(
      called.slice(2, 4).sort(),
      ["whenReady", "workerReady1"],
    );
    assertEquals(called.slice(4, 8), [
      "preRequest",
      "postRequest",
      "onReload",
      "workerStart1",
    ]);
    assertEquals(
      called.slice(8, 10).sort(),
      ["workerExit1", "workerReady1"],
    );
    assertEquals(called.slice(10), ["workerExit1", "onExit"]);
  },
);

testDaemon("onStarting that throws refuses the start", async (daemon) => {
  daemon.write(
    "headgate.config.mjs",
    `export default { onStarting() { throw new Error("not today"); } };`,
  );
  const { outcome, stderr } = await daemon.run(
    "start",
    "app.mjs:app",
    "--bind=127.0.0.1:0",
    "--workers=2",
  );
  assertEquals(outcome, 1);
  assertMatch(stderr, /onStarting of .*headgate\.config\.mjs threw/);
  assertStringIncludes(stderr, "not today");
  assertEquals(daemon.processes(), []);
  assert(!daemon.has("headgate.pid"));
});
