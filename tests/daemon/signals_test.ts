/** The signals of the arbiter, sent to the real program in the background. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { mkdirSync, renameSync } from "node:fs";
import process from "node:process";
import {
  accepts,
  answerOf,
  type Daemon,
  get,
  request,
  testDaemon,
  until,
} from "../support/daemon.ts";
import type { RawClient } from "../support/raw_client.ts";

/** A client whose answer has begun, and waits for the file "open". */
async function atTheGate(daemon: Daemon): Promise<RawClient> {
  const client = await request(daemon.address, "/gate");
  await client.until(() => /begun/.test(client.receivedText), "its begin");
  return client;
}

testDaemon(
  "SIGHUP: the changed application and configuration",
  async (daemon) => {
    daemon.write("headgate.config.mjs", "export default { workers: 1 };");
    await daemon.run("start", "app.mjs:app", "--bind=127.0.0.1:0");
    const old = await daemon.untilServing(1);
    daemon.write("greeting.mjs", 'export const greeting = "changed";');
    daemon.write("headgate.config.mjs", "export default { workers: 2 };");
    daemon.signal("SIGHUP");
    await daemon.untilServing(2, old);
    await daemon.untilLogged(
      /SIGHUP: reloading\n[^]*Reloaded: generation 2, 2 /,
    );
    for (let count = 0; count < 4; count++) {
      assertMatch((await daemon.get()).text, /changed$/);
    }
    daemon.write("headgate.config.mjs", "export default { workres: 2 };");
    daemon.signal("SIGHUP");
    await daemon.untilLogged(/\[ERROR\] Not reloaded: .*workres/);
    assertEquals((await daemon.workers()).length, 2);
  },
);

testDaemon(
  "SIGHUP: a broken application keeps the old workers",
  async (daemon) => {
    await daemon.start();
    const old = await daemon.workers();
    daemon.write("refuse", "");
    daemon.signal("SIGHUP");
    await daemon.untilLogged(/\[ERROR\] Not reloaded, [^]*it refuses to load/);
    assertEquals(await daemon.untilServing(2), old);
    // And the next one, with the fault mended, is like any other.
    daemon.remove("refuse");
    daemon.signal("SIGHUP");
    await daemon.untilServing(2, old);
  },
);

testDaemon(
  "SIGTTIN and SIGTTOU: one worker more, one fewer",
  async (daemon) => {
    await daemon.start("--workers", "1");
    const [first] = await daemon.workers();
    daemon.signal("SIGTTIN");
    const two = await daemon.untilServing(2);
    assertEquals(two[0], first);
    daemon.signal("SIGTTOU");
    assertEquals(await daemon.untilServing(1), [first]);
    // The last one stays.
    daemon.signal("SIGTTOU");
    assertEquals((await daemon.get()).status, 200);
    assertEquals((await daemon.status())?.target, 1);
  },
);

testDaemon(
  "SIGHUP: one that comes during a reload is followed by another reload",
  async (daemon) => {
    await daemon.start();
    daemon.write(
      "greeting.mjs",
      `import { existsSync } from "node:fs";
       const wait = () => new Promise((wake) => setTimeout(wake, 20));
       while (!existsSync("go")) await wait();
       export const greeting = "read before";`,
    );
    daemon.signal("SIGHUP");
    await daemon.until(
      async () => (await daemon.status())?.workers.length === 4,
      "four workers",
    );
    daemon.signal("SIGHUP");
    await daemon.untilLogged(/SIGHUP: reloading\n[^]*SIGHUP: reloading\n/);
    daemon.write("go", "");
    await daemon.untilLogged("Reloaded: generation 3");
  },
);

testDaemon("SIGUSR1: log lines go to a new file", async (daemon) => {
  await daemon.start();
  const { address } = daemon;
  renameSync(daemon.path("headgate.log"), daemon.path("old.log"));
  daemon.signal("SIGUSR1");
  // Told once every worker has reopened it.
  await daemon.untilLogged("Log files reopened");
  await get(address, "/print");
  await daemon.untilLogged(/^printed by the application$/m);
  await daemon.untilLogged(/"GET \/print HTTP\/1.1" 200/);
  const old = daemon.read("old.log");
  assert(!old.includes("printed by the application"));
  assert(!old.includes("GET /print"));
});

testDaemon(
  "SIGUSR1 to a single process: log lines go to a new file",
  async (daemon) => {
    const single = daemon.launch([
      "app.mjs:app",
      "--bind=127.0.0.1:0",
      "--log-file=headgate.log",
      "--access-log=access.log",
    ]);
    await daemon.untilLogged("Ready in");
    const { address } = daemon;
    const accessed = (name: string) =>
      /"GET \/ HTTP\/1.1" 200/
        .test(daemon.read(name));
    await get(address);
    await daemon.until(() => accessed("access.log"), "the first line");
    for (const name of ["headgate", "access"]) {
      renameSync(daemon.path(`${name}.log`), daemon.path(`${name}.old`));
    }
    process.kill(single.pid, "SIGUSR1");
    await daemon.untilLogged("SIGUSR1: log files reopened");
    const { length } = daemon.read("access.old");
    await get(address);
    await daemon.until(() => accessed("access.log"), "the second line");
    assertEquals(daemon.read("access.old").length, length);
    assert(!daemon.read("headgate.old").includes("SIGUSR1"));
  },
);

testDaemon(
  "SIGUSR1 to a single process: a file that cannot be opened is told",
  async (daemon) => {
    mkdirSync(daemon.path("logs"));
    const single = daemon.launch([
      "app.mjs:app",
      "--bind=127.0.0.1:0",
      "--log-file=logs/a.log",
    ]);
    const untilTold = (line: string) =>
      daemon.until(() => daemon.read("gone/a.log").includes(line), line);
    await daemon.until(
      () => daemon.read("logs/a.log").includes("Ready in"),
      "the server",
    );
    renameSync(daemon.path("logs"), daemon.path("gone"));
    process.kill(single.pid, "SIGUSR1");
    const told = `${daemon.path("logs/a.log")} could not be opened again`;
    await untilTold(`[ERROR] SIGUSR1: ${told} (ENOENT). `);
    await until(() => single.stderr.includes(told), "the same on stderr");
    assert(!daemon.read("gone/a.log").includes("log files reopened"));
    process.kill(single.pid, "SIGTERM");
    assertEquals(await single.ended(), 0);
    await untilTold("Stopped");
  },
);

testDaemon(
  "SIGUSR2: another arbiter, to which the pidfile goes",
  async (daemon) => {
    await daemon.start();
    const { pid, address } = daemon;
    const old = await daemon.workers();
    daemon.signal("SIGUSR2");
    await daemon.until(() => daemon.has("headgate.pid.2"), "its pidfile");
    await daemon.untilLogged(/The new arbiter \(pid \d+\) serves/);
    const next = Number(daemon.read("headgate.pid.2"));
    assertEquals(daemon.pid, pid);
    assertEquals(await daemon.workers(), old);
    assertEquals(daemon.processes().length, 6);
    daemon.signal("SIGTERM");
    await daemon.until(() => daemon.pid === next, "the pidfile's change");
    await daemon.until(
      () => daemon.processes().length === 3,
      "the old one's end",
    );
    await daemon.untilServing(2, old);
    assert(!daemon.has("headgate.pid.2") && !daemon.has("headgate.pid.2.sock"));
    assertEquals((await get(address)).status, 200);
    daemon.signal("SIGTERM");
    await daemon.untilGone();
    assert(!daemon.has("headgate.pid"));
  },
);

testDaemon(
  "SIGUSR2: the new arbiter may be the one that is stopped",
  async (daemon) => {
    await daemon.start();
    const { pid } = daemon;
    const old = await daemon.workers();
    daemon.signal("SIGUSR2");
    await daemon.untilLogged(/The new arbiter \(pid \d+\) serves/);
    daemon.signal("SIGTERM", Number(daemon.read("headgate.pid.2")));
    await daemon.untilLogged(/The other arbiter \(pid \d+\) has ended/);
    await daemon.until(() => daemon.processes().length === 3, "its end");
    assert(!daemon.has("headgate.pid.2"));
    assertEquals(daemon.pid, pid);
    assertEquals(await daemon.workers(), old);
    assertEquals((await daemon.get()).status, 200);
    // After which there may be another one.
    daemon.signal("SIGUSR2");
    await daemon.until(() => daemon.has("headgate.pid.2"), "the next one");
  },
);

testDaemon(
  "SIGWINCH: no workers, until SIGHUP brings them back",
  async (daemon) => {
    await daemon.start();
    const old = await daemon.workers();
    daemon.signal("SIGWINCH");
    await daemon.untilServing(0);
    await daemon.until(
      () => daemon.processes().length === 1,
      "the workers' end",
    );
    daemon.signal("SIGHUP");
    await daemon.untilServing(2, old);
    assertEquals((await daemon.get()).status, 200);
  },
);

testDaemon("SIGTERM: running requests end, and it exits", async (daemon) => {
  await daemon.start();
  const { address } = daemon;
  const client = await atTheGate(daemon);
  daemon.signal("SIGTERM");
  await daemon.until(async () => !await accepts(address), "the refusal");
  daemon.write("open", "");
  assertEquals((await answerOf(client)).text, "begun, done");
  await client.close();
  await daemon.untilGone();
  assertStringIncludes(daemon.log, "SIGTERM: letting running requests end");
  assert(!daemon.has("headgate.pid") && !daemon.has("headgate.pid.sock"));
});

testDaemon(
  "SIGUSR2 while it stops: its sockets are closed, and nobody follows",
  async (daemon) => {
    await daemon.start();
    const client = await atTheGate(daemon);
    daemon.signal("SIGTERM");
    await daemon.untilLogged("SIGTERM: letting running requests end");
    daemon.signal("SIGUSR2");
    await daemon.untilLogged(
      "No other arbiter is started: The arbiter is stopping",
    );
    daemon.write("open", "");
    assertEquals((await answerOf(client)).text, "begun, done");
    await client.close();
    await daemon.untilGone();
  },
);

testDaemon("SIGTERM: a second one cuts what runs", async (daemon) => {
  await daemon.start();
  const { address } = daemon;
  const client = await atTheGate(daemon);
  daemon.signal("SIGTERM");
  await daemon.until(async () => !await accepts(address), "the refusal");
  await daemon.untilLogged("SIGTERM: letting running requests end");
  await daemon.until(() => {
    const hurries = daemon.log.includes("SIGTERM: stopping at once");
    // One that follows at once is taken for the same.
    if (!hurries && daemon.has("headgate.pid")) daemon.signal("SIGTERM");
    return hurries;
  }, "the hurry");
  await daemon.untilGone();
  await client.untilEnded();
  assert(!client.receivedText.includes("done"));
  await client.close();
});

for (const signal of ["SIGINT", "SIGQUIT"]) {
  testDaemon(`${signal}: cuts what runs`, async (daemon) => {
    await daemon.start();
    const client = await atTheGate(daemon);
    daemon.signal(signal);
    await daemon.untilGone();
    await client.untilEnded();
    assert(!client.receivedText.includes("done"));
    await client.close();
    assertStringIncludes(daemon.log, `${signal}: stopping at once`);
    assert(!daemon.has("headgate.pid") && !daemon.has("headgate.pid.sock"));
  });
}
