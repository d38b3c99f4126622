/** The commands of a server in the background: `headgate start` and those that
 * follow it, as a user gives them. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertStringIncludes,
} from "@std/assert";
import { mkdirSync, renameSync, statSync } from "node:fs";
import { createServer } from "node:net";
import process from "node:process";
import {
  accepts,
  answerOf,
  type Daemon,
  get,
  request,
  served,
  type Started,
  testDaemon,
} from "../support/daemon.ts";

/** A command that has to succeed, and what it said. */
async function done(daemon: Daemon, ...args: string[]): Promise<string> {
  const { outcome, stdout, stderr } = await daemon.run(...args);
  assertEquals([outcome, stderr], [0, ""]);
  return stdout;
}

// ---- start ----

testDaemon("start prints the pids once the workers serve", async (daemon) => {
  const told = await done(daemon, "start", ...served);
  const [, pid, ...workers] = told.match(
    /^Started with pid (\d+), workers (\d+), (\d+); the log is headgate\.log\n$/,
  ) ?? [];
  assertEquals(Number(pid), daemon.pid);
  assertEquals(workers.map(Number), await daemon.workers());
  assertEquals(daemon.processes().length, 3);
  await daemon.untilLogged("Ready in");
  const { status, text } = await daemon.get();
  assertEquals(status, 200);
  assert(workers.includes(text.split(" ")[0]!), text);
  const modeOf = (name: string) => statSync(daemon.path(name)).mode & 0o777;
  assertEquals(modeOf("headgate.pid"), 0o644);
  assertEquals(modeOf("headgate.pid.sock"), 0o600);
  assertEquals(modeOf("headgate.log"), 0o640);
});

testDaemon("start refuses to start what runs already", async (daemon) => {
  await daemon.start();
  const { pid } = daemon;
  const { outcome, stderr } = await daemon.run("start", ...served);
  assertEquals(outcome, 1);
  assertMatch(
    stderr,
    new RegExp(`^headgate: Already running with pid ${pid}\\.`),
  );
  assertEquals(daemon.pid, pid);
  assertEquals(daemon.processes().length, 3);
});

testDaemon(
  "start: of two at once with one pidfile one wins",
  async (daemon) => {
    const both = [
      daemon.launch(["start", ...served]),
      daemon.launch(["start", ...served]),
    ];
    await Promise.all(both.map((one) => one.ended()));
    const winner = both.find(({ outcome }) => outcome === 0);
    const loser = both.find((one) => one !== winner);
    assert(winner !== undefined && loser !== undefined, tell(both, daemon));
    assertEquals(loser.outcome, 1, tell(both, daemon));
    assertMatch(loser.stderr, /Already running/);
    assertStringIncludes(winner.stdout, `pid ${daemon.pid},`);
    await daemon.untilServing(2);
    await daemon.until(
      () => daemon.processes().length === 3,
      "the loser's end",
    );
  },
);

function tell(started: Started[], { log }: Daemon): string {
  return [...started.map((one) => `${one.outcome} ${one.told()}`), log]
    .join("\n");
}

testDaemon(
  "start exits with 3 when the application cannot be loaded",
  async (daemon) => {
    daemon.write("refuse", "");
    const { outcome, stdout, stderr } = await daemon.run("start", ...served);
    assertEquals([outcome, stdout], [3, ""]);
    assertMatch(stderr, /^headgate: Not started; the log is headgate\.log\n/);
    assertStringIncludes(stderr, "it refuses to load");
    assertEquals(daemon.processes(), []);
    assertStringIncludes(daemon.log, "it refuses to load");
    assert(!daemon.has("headgate.pid") && !daemon.has("headgate.pid.sock"));
  },
);

testDaemon("start exits with 1 when the port is taken", async (daemon) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = server.address() as { port: number };
    const { outcome, stderr } = await daemon.run(
      "start",
      "app.mjs:app",
      `--bind=127.0.0.1:${port}`,
      "--workers=2",
    );
    assertEquals(outcome, 1);
    assertMatch(stderr, new RegExp(`^headgate: .*\\b${port}\\b.*in use`));
    assertEquals(daemon.processes(), []);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});

testDaemon(
  "start says that the pidfile's directory does not exist",
  async (daemon) => {
    const { outcome, stderr } = await daemon.run(
      "start",
      ...served,
      "--pidfile=run/headgate.pid",
      "--log-file=headgate.log",
    );
    assertEquals(outcome, 1);
    assertStringIncludes(stderr, "run/headgate.pid");
    assertStringIncludes(stderr, "the directory does not exist");
    assertEquals(daemon.processes(), []);
  },
);

testDaemon(
  "start says that the log's directory does not exist",
  async (daemon) => {
    const { outcome, stderr } = await daemon.run(
      "start",
      ...served,
      "--log-file=missing/headgate.log",
    );
    assertEquals(outcome, 1);
    assertStringIncludes(stderr, "cannot write to missing/headgate.log");
    assertEquals(daemon.processes(), []);
  },
);

testDaemon(
  "start replaces the pidfile of a process that has gone",
  async (daemon) => {
    const gone = (await daemon.run("--version")).pid;
    daemon.write("headgate.pid", `${gone}\n`);
    const { outcome, stdout } = await daemon.run("status");
    assertEquals(outcome, 1);
    assertStringIncludes(stdout, `pid ${gone}`);
    await daemon.start();
    assertMatch(
      daemon.log,
      new RegExp(
        `\\[WARNING\\] Replaced the stale pidfile .*pid ${gone} is gone`,
      ),
    );
    assertNotEquals(daemon.pid, gone);
  },
);

testDaemon(
  "start replaces a pidfile that names somebody else's process",
  async (daemon) => {
    daemon.write("headgate.pid", `${process.pid}\n`);
    await daemon.start();
    assertMatch(
      daemon.log,
      new RegExp(
        `Replaced the stale pidfile .*pid ${process.pid} lives, but is another`,
      ),
    );
    assertNotEquals(daemon.pid, process.pid);
  },
);

testDaemon("start --chdir takes the other paths from there", async (daemon) => {
  mkdirSync(daemon.path("site"));
  renameSync(daemon.path("app.mjs"), daemon.path("site/app.mjs"));
  renameSync(daemon.path("greeting.mjs"), daemon.path("site/greeting.mjs"));
  const there = ["--chdir=site", "--pidfile=other.pid"];
  await done(daemon, "start", ...served, ...there, "--access-log=access.log");
  assertEquals(
    [daemon.has("site/other.pid"), daemon.has("other.pid")],
    [true, false],
  );
  const page = await done(daemon, "status", ...there);
  const [, port] = page.match(/http:\/\/127\.0\.0\.1:(\d+)/) ?? [];
  await get({ host: "127.0.0.1", port: Number(port) }, "/access");
  await done(daemon, "stop", ...there);
  await daemon.untilGone();
  assertStringIncludes(daemon.read("site/other.log"), "Stopped");
  assertStringIncludes(daemon.read("site/access.log"), "GET /access");
});

testDaemon(
  "start that is interrupted leaves nothing behind",
  async (daemon) => {
    daemon.write(
      "greeting.mjs",
      "await new Promise((wake) => setTimeout(wake, 60_000));" +
        'export const greeting = "hello";',
    );
    const start = daemon.launch(["start", ...served]);
    await daemon.until(
      async () => (await daemon.status())?.workers.length === 2,
      "two workers",
    );
    process.kill(start.pid, "SIGINT");
    assertEquals(await start.ended(), 3);
    assertEquals(daemon.processes(), []);
    assert(!daemon.has("headgate.pid"));
  },
);

// ---- stop ----

testDaemon(
  "stop lets running requests end, and waits for every process",
  async (daemon) => {
    await daemon.start();
    const { address } = daemon;
    const client = await request(address, "/gate");
    await client.until(() => /begun/.test(client.receivedText), "its begin");
    const stop = daemon.launch(["stop"]);
    await daemon.until(async () => !await accepts(address), "the refusal");
    assertEquals(stop.outcome, undefined);
    daemon.write("open", "");
    assertEquals((await answerOf(client)).text, "begun, done");
    await client.close();
    assertEquals(await stop.ended(), 0);
    assertEquals(daemon.processes(), []);
    assertMatch(stop.stdout, /^Stopped \(pid \d+\)\n$/);
    assert(!daemon.has("headgate.pid") && !daemon.has("headgate.pid.sock"));
    assertMatch(daemon.log, /\[INFO\] Stopped\n$/);
  },
);

testDaemon("stop --quick cuts running requests", async (daemon) => {
  await daemon.start();
  const client = await request(daemon.address, "/gate");
  await client.until(() => /begun/.test(client.receivedText), "its begin");
  await done(daemon, "stop", "--quick");
  assertEquals(daemon.processes(), []);
  await client.untilEnded();
  assert(!client.receivedText.includes("done"));
  await client.close();
});

testDaemon("stop has nothing to do where nothing runs", async (daemon) => {
  assertMatch(await done(daemon, "stop"), /^Not running/);
});

// ---- restart and reload ----

testDaemon(
  "restart puts a new arbiter in place, and the port stays open",
  async (daemon) => {
    await daemon.start();
    const { pid, address } = daemon;
    const old = await daemon.workers();
    const restart = daemon.launch(["restart"]);
    while (restart.outcome === undefined) {
      assertEquals((await get(address)).status, 200);
    }
    assertEquals([await restart.ended(), restart.stderr], [0, ""]);
    assertNotEquals(daemon.pid, pid);
    assertEquals(
      restart.stdout,
      `Restarted: pid ${pid} is now ${daemon.pid}\n`,
    );
    await daemon.untilServing(2, old);
    assertEquals(daemon.processes().length, 3);
    assert(!daemon.has("headgate.pid.2") && !daemon.has("headgate.pid.2.sock"));
    assertEquals(daemon.address, address);
  },
);

testDaemon(
  "restart: one that fails leaves the server as it is",
  async (daemon) => {
    await daemon.start();
    const { pid } = daemon;
    daemon.write("refuse", "");
    const { outcome, stderr } = await daemon.run("restart");
    assertEquals(outcome, 1);
    assertStringIncludes(stderr, "it refuses to load");
    assertEquals(daemon.pid, pid);
    assertEquals((await daemon.get()).status, 200);
    await daemon.until(
      () => daemon.processes().length === 3,
      "the end of the new",
    );
  },
);

testDaemon(
  "reload serves the changed application, and loses nothing",
  async (daemon) => {
    await daemon.start();
    const { pid, address } = daemon;
    const old = await daemon.workers();
    daemon.write("greeting.mjs", 'export const greeting = "changed";');
    const reload = daemon.launch(["reload"]);
    while (reload.outcome === undefined) {
      assertMatch((await get(address)).text, /^\d+ (hello|changed)$/);
    }
    assertEquals([await reload.ended(), reload.stderr], [0, ""]);
    assertEquals(reload.stdout, "Reloaded: generation 2, 2 worker(s) serve\n");
    await daemon.untilServing(2, old);
    for (let count = 0; count < 4; count++) {
      assertMatch((await get(address)).text, /changed$/);
    }
    assertEquals(daemon.pid, pid);
  },
);

testDaemon(
  "reload: a broken application keeps the old workers",
  async (daemon) => {
    await daemon.start();
    const old = await daemon.workers();
    daemon.write("refuse", "");
    const { outcome, stderr } = await daemon.run("reload");
    assertEquals(outcome, 1);
    assertStringIncludes(stderr, "it refuses to load");
    await daemon.untilLogged(/\[ERROR\] Not reloaded, [^]*it refuses to load/);
    assertEquals(await daemon.untilServing(2), old);
    assertMatch((await daemon.get()).text, /hello$/);
  },
);

testDaemon(
  "reload takes the changed configuration, and says what it cannot",
  async (daemon) => {
    const config = (text: string) => daemon.write("headgate.config.mjs", text);
    config(
      `export default { workers: 1, app: "app.mjs:app", bind: "127.0.0.1:0" };`,
    );
    await done(daemon, "start");
    await daemon.untilLogged("Ready in");
    config(
      `export default { workers: 2, app: "app.mjs:app", bind: "127.0.0.1:1" };`,
    );
    assertMatch(await done(daemon, "reload"), /2 worker\(s\) serve/);
    await daemon.untilServing(2);
    await daemon.untilLogged("bind has changed; that takes a stop and a start");
    config("export default { workres: 2 };");
    const outcome = await daemon.order({ command: "reload" });
    assertEquals(outcome?.ok, false);
    assertStringIncludes(outcome?.message ?? "", "workres");
    assertEquals((await daemon.get()).status, 200);
  },
);

// ---- status, scale, reopen ----

testDaemon(
  "status shows the workers, as a table and as JSON",
  async (daemon) => {
    const before = await daemon.run("status");
    assertEquals(before.outcome, 3);
    assertMatch(before.stdout, /^Not running/);
    await daemon.start();
    const [first, second] = await daemon.workers();
    const page = await done(daemon, "status");
    assertMatch(
      page,
      new RegExp(`pid ${daemon.pid}, serving app\\.mjs:app, up `),
    );
    assertMatch(page, new RegExp(`^ +1 +${first} +serving `, "m"));
    assertMatch(page, new RegExp(`^ +2 +${second} +serving `, "m"));
    const status = JSON.parse(await done(daemon, "status", "--json"));
    assertEquals(status.pid, daemon.pid);
    assertEquals(status.target, 2);
    const { port } = daemon.address;
    assertEquals(status.addresses, [`http://127.0.0.1:${port}`]);
  },
);

testDaemon("status tells of a server that was killed", async (daemon) => {
  await daemon.start();
  daemon.signal("SIGKILL");
  await daemon.untilGone();
  const { outcome, stdout } = await daemon.run("status", "--json");
  assertEquals(outcome, 1);
  assertEquals(JSON.parse(stdout).ok, false);
  assertMatch(await done(daemon, "stop"), /^Not running/);
  assert(!daemon.has("headgate.pid") && !daemon.has("headgate.pid.sock"));
});

testDaemon(
  "status counts the requests of workers that have left too",
  async (daemon) => {
    await daemon.start();
    for (let count = 0; count < 3; count++) await daemon.get();
    assertEquals((await daemon.order({ command: "reload" }))?.ok, true);
    await daemon.until(
      async () => (await daemon.status())?.requests === 3,
      "three requests",
    );
  },
);

testDaemon("scale has more workers, and fewer", async (daemon) => {
  await daemon.start();
  const two = await daemon.workers();
  assertEquals(await done(daemon, "scale", "3"), "3 worker(s) serve\n");
  const three = await daemon.untilServing(3);
  assertEquals(three.slice(0, 2), two);
  assertEquals(await done(daemon, "scale", "1"), "1 worker(s) serve\n");
  assertEquals(await daemon.untilServing(1), two.slice(0, 1));
  for (let count = 0; count < 8; count++) {
    assertEquals((await daemon.get()).status, 200);
  }
});

testDaemon(
  "reopen writes to new files, the application's output too",
  async (daemon) => {
    await daemon.start("--access-log=access.log");
    const { address } = daemon;
    await get(address, "/print");
    await daemon.untilLogged(/^printed by the application$/m);
    await daemon.until(
      () => daemon.read("access.log").includes("GET /print"),
      "its access line",
    );
    renameSync(daemon.path("headgate.log"), daemon.path("old.log"));
    renameSync(daemon.path("access.log"), daemon.path("old-access.log"));
    assertEquals(await done(daemon, "reopen"), "Log files reopened\n");
    const sizes = () =>
      ["old.log", "old-access.log"].map((name) => daemon.read(name).length);
    const before = sizes();
    await get(address, "/print");
    await daemon.untilLogged(/^printed by the application$/m);
    await daemon.until(
      () => daemon.read("access.log").includes("GET /print"),
      "the new access log",
    );
    assertEquals(sizes(), before);
  },
);

testDaemon("reload says that nothing runs", async (daemon) => {
  const { outcome, stderr } = await daemon.run("reload");
  assertEquals(outcome, 7);
  assertMatch(stderr, /^headgate: Not running/);
});
