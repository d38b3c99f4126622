/** Workers that are killed, crash, hang, grow or never become ready: what the
 * arbiter does about them, and that the others serve on. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
} from "@std/assert";
import {
  type Daemon,
  get,
  request,
  served,
  testDaemon,
} from "../support/daemon.ts";

/** Asks until a worker that is not among these has answered. */
async function untilAnswered(daemon: Daemon, by: number): Promise<void> {
  await daemon.until(
    async () => (await daemon.get()).text.startsWith(`${by} `),
    `an answer by ${by}`,
  );
}

/** So many answers, one after the other. */
async function assertServes(daemon: Daemon, count: number): Promise<void> {
  while (count-- > 0) assertEquals((await daemon.get()).status, 200);
}

testDaemon(
  "a worker that was killed is replaced, and requests go on",
  async (daemon) => {
    await daemon.start();
    const [first = 0, second = 0] = await daemon.workers();
    daemon.signal("SIGKILL", first);
    await assertServes(daemon, 20);
    const [next, same] = await daemon.untilServing(2, [first]);
    assertEquals(same, second);
    assertNotEquals(next, first);
    await daemon.untilLogged(
      new RegExp(`\\[ERROR\\] Worker 1 \\(pid ${first}\\): ended by SIGKILL`),
    );
    await untilAnswered(daemon, next!);
  },
);

testDaemon(
  "a worker that gets SIGTERM leaves without a loss, and is replaced",
  async (daemon) => {
    await daemon.start();
    const [, second = 0] = await daemon.workers();
    daemon.signal("SIGTERM", second);
    await assertServes(daemon, 20);
    await daemon.untilServing(2, [second]);
    await daemon.untilLogged(`Worker 2 leaves: SIGTERM`);
    await daemon.untilLogged(`Worker 2 (pid ${second}): has left`);
    assert(!daemon.processes().includes(second));
  },
);

testDaemon(
  "a worker that keeps crashing is started later and later",
  async (daemon) => {
    await daemon.start();
    const [first = 0, second] = await daemon.workers();
    daemon.write("refuse", "");
    daemon.signal("SIGKILL", first);
    await daemon.untilLogged(/Worker 1 keeps failing: .* in 0\.5 s\n/);
    await daemon.untilLogged(/Worker 1 keeps failing: .* in 1 s\n/);
    assertMatch((await daemon.get()).text, new RegExp(`^${second} `));
    daemon.remove("refuse");
    await daemon.untilServing(2, [first]);
  },
);

testDaemon(
  "a worker whose loop is blocked is killed, with what it served",
  async (daemon) => {
    await daemon.start("--timeout=1");
    const client = await request(daemon.address, "/block?by=a%20loop");
    // The file is there before its content is.
    await daemon.until(() => daemon.read("blocked") !== "", "the block");
    const hung = Number(daemon.read("blocked"));
    await daemon.untilServing(2, [hung]);
    assert(!daemon.processes().includes(hung));
    await daemon.untilLogged(
      new RegExp(
        `\\[CRITICAL\\] Worker \\d \\(pid ${hung}\\): .*\\(--timeout\\)`,
      ),
    );
    await daemon.untilLogged(
      new RegExp(`pid ${hung}\\): was serving "GET /block\\?by=a%20loop`),
    );
    await client.untilEnded();
    await client.close();
    await assertServes(daemon, 4);
  },
);

testDaemon("--max-requests replaces one worker at a time", async (daemon) => {
  await daemon.start("--max-requests=5", "--max-requests-jitter=3");
  const old = await daemon.workers();
  await daemon.until(async () => {
    assertEquals((await daemon.get()).status, 200);
    return !(await daemon.workers()).some((pid) => old.includes(pid));
  }, "two new workers");
  await daemon.untilLogged(
    /Worker 1 .*: has answered \d+ requests \(--max-requests\); to be replaced/,
  );
  // From one replacement's begin to its end there is no other.
  const steps = [...daemon.log.matchAll(/(to be replaced|: serving)$/gm)]
    .map(([step]) => step).slice(2);
  steps.forEach((step, index) =>
    assertEquals(step, index % 2 === 0 ? "to be replaced" : ": serving")
  );
});

testDaemon("--max-rss replaces a worker that has grown", async (daemon) => {
  await daemon.start("--workers=1", "--max-rss=240M");
  const [old = 0] = await daemon.workers();
  assertMatch((await daemon.get("/hoard")).text, new RegExp(`^${old} `));
  await daemon.untilServing(1, [old]);
  await daemon.untilLogged(
    /Worker 1 .*: has \d+ MB \(--max-rss\); to be replaced/,
  );
  await assertServes(daemon, 4);
});

testDaemon(
  "--boot-timeout: a worker that never loads refuses the start",
  async (daemon) => {
    daemon.write(
      "greeting.mjs",
      "await new Promise((wake) => setTimeout(wake, 60_000)); export const greeting = 1;",
    );
    const { outcome, stderr } = await daemon.run(
      "start",
      "app.mjs:app",
      "--bind=127.0.0.1:0",
      "--workers=2",
      "--boot-timeout=1",
    );
    assertEquals(outcome, 3);
    assertMatch(stderr, /not ready within 1 s/);
    assertMatch(daemon.log, /was not ready within 1 s.*--boot-timeout/);
    assertEquals(daemon.processes(), []);
  },
);

testDaemon(
  "the arbiter is killed: the workers leave, and it can be started anew",
  async (daemon) => {
    await daemon.start();
    const { pid, address } = daemon;
    daemon.signal("SIGKILL");
    await daemon.untilGone();
    const again = await daemon.run(
      "start",
      "app.mjs:app",
      `--bind=127.0.0.1:${address.port}`,
      "--workers=2",
    );
    assertEquals([again.outcome, again.stderr], [0, ""]);
    await daemon.untilLogged(`pid ${pid} is gone`);
    await assertServes(daemon, 1);
  },
);

testDaemon(
  "a control socket that was removed: stop uses signals",
  async (daemon) => {
    await daemon.start();
    daemon.remove("headgate.pid.sock");
    const status = await daemon.run("status");
    assertEquals(status.outcome, 4);
    const { outcome } = await daemon.run("stop");
    assertEquals(outcome, 0);
    await daemon.untilGone();
  },
);

testDaemon(
  "a pidfile that was removed: status and stop find the server",
  async (daemon) => {
    await daemon.start();
    daemon.remove("headgate.pid");
    assertEquals((await daemon.run("status")).outcome, 0);
    assertEquals((await daemon.run("start", ...served)).outcome, 1);
    assertEquals((await daemon.run("stop")).outcome, 0);
    assertEquals(daemon.processes(), []);
  },
);

testDaemon(
  "an uncaught exception: the worker leaves and is replaced",
  async (daemon) => {
    daemon.write(
      "greeting.mjs",
      `import { existsSync } from "node:fs";
       export const greeting = "hello";
       setInterval(() => {
         if (existsSync("throw")) throw new Error("from a callback");
       }, 20);`,
    );
    await daemon.start();
    const old = await daemon.workers();
    daemon.write("throw", "");
    await daemon.untilLogged(
      /\[CRITICAL\] Uncaught exception: Error: from a callback/,
    );
    daemon.remove("throw");
    await daemon.until(
      async () => (await daemon.workers()).some((pid) => !old.includes(pid)),
      "a new worker",
    );
    await daemon.untilServing(2);
    await assertServes(daemon, 4);
  },
);

testDaemon(
  "an old arbiter that is killed leaves all to the new one",
  async (daemon) => {
    await daemon.start();
    const { address } = daemon;
    daemon.signal("SIGUSR2");
    await daemon.untilLogged(/The new arbiter \(pid \d+\) serves/);
    const next = Number(daemon.read("headgate.pid.2"));
    daemon.signal("SIGKILL");
    await daemon.until(() => daemon.pid === next, "the pidfile's change");
    await daemon.until(
      () => daemon.processes().length === 3,
      "the old ones' end",
    );
    assertEquals((await get(address)).status, 200);
  },
);
