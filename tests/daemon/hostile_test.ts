/** Servers whose application, neighbours or file system mean them no good. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { mkdirSync, readdirSync } from "node:fs";
import process from "node:process";
import {
  accepts,
  request,
  served,
  testDaemon,
  until,
} from "../support/daemon.ts";
import { freePort } from "../support/free_port.ts";

testDaemon(
  "a child of the application's that outlives it does not keep the port",
  async (daemon) => {
    daemon.write(
      "greeting.mjs",
      `import { spawn } from "node:child_process";
       const child = spawn("sleep", ["60"], { stdio: "ignore", detached: true });
       child.unref();
       export const greeting = String(child.pid);`,
    );
    await daemon.start();
    const { address } = daemon;
    const child = Number((await daemon.get()).text.split(" ")[1]);
    assertEquals((await daemon.run("stop")).outcome, 0);
    assert(!await accepts(address));
    process.kill(child, 0);
  },
);

testDaemon(
  "an arbiter that is killed while a worker hangs: nobody is left",
  async (daemon) => {
    await daemon.start("--timeout=1");
    const { address } = daemon;
    const hung = await request(address, "/block");
    await daemon.until(() => daemon.has("blocked"), "the worker that hangs");
    daemon.signal("SIGKILL");
    await daemon.untilGone();
    // Its other threads hold the socket for a moment.
    await daemon.until(async () => !await accepts(address), "the port");
    await hung.close();
    assertMatch(daemon.log, /nobody has killed it; it ends itself/);
  },
);

testDaemon(
  "a crowd that asks for reloads: one, and another for all who came later",
  async (daemon) => {
    await daemon.start();
    const old = await daemon.workers();
    const outcomes = await Promise.all(
      Array.from({ length: 12 }, () => daemon.order({ command: "reload" })),
    );
    assertEquals(outcomes.filter((outcome) => outcome?.ok !== true), []);
    assertEquals((await daemon.status())?.generation, 3);
    await daemon.untilServing(2, old);
  },
);

testDaemon(
  "an application that goes elsewhere: the log stays where it was",
  async (daemon) => {
    mkdirSync(daemon.path("elsewhere"));
    daemon.write(
      "greeting.mjs",
      `process.chdir("elsewhere");
       export const greeting = "hello";`,
    );
    await daemon.start("--timeout=1", "--access-log=access.log");
    await daemon.get();
    assertEquals((await daemon.run("reopen")).outcome, 0);
    const hung = await request(daemon.address, "/block");
    await daemon.untilLogged(/was serving "GET \/block HTTP\/1\.1"/);
    await hung.untilEnded();
    await hung.close();
    assertEquals(readdirSync(daemon.path("elsewhere")), ["blocked"]);
  },
);

testDaemon("an onStarting that never ends can be stopped", async (daemon) => {
  daemon.write(
    "headgate.config.mjs",
    `export default {
       onStarting({ log }) {
         log.info("it waits");
         return new Promise(() => {});
       },
     };`,
  );
  const server = daemon.launch(served);
  await until(() => server.stdout.includes("it waits"), "the hook");
  process.kill(server.pid, "SIGTERM");
  assertEquals(await server.ended(), 0);
  assertEquals(daemon.processes(), []);
});

testDaemon(
  "of servers that start at once on one port, one has it",
  async (daemon) => {
    const port = await freePort();
    const all = ["a", "b", "c"].map((name) =>
      daemon.launch([
        "start",
        "app.mjs:app",
        "--workers=2",
        `--bind=127.0.0.1:${port}`,
        `--pidfile=${name}.pid`,
      ])
    );
    const outcomes = await Promise.all(all.map((one) => one.ended()));
    assertEquals(outcomes.sort(), [0, 1, 1]);
    const losers = all.filter(({ outcome }) => outcome === 1);
    for (const { stderr } of losers) {
      assertMatch(stderr, /Port \d+ is in use|Cannot listen/);
    }
    assertEquals(daemon.processes().length, 3);
  },
);
