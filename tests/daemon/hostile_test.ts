/** Servers whose application, neighbours or file system mean them no good. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import process from "node:process";
import { accepts, request, testDaemon } from "../support/daemon.ts";

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
    assert(!await accepts(address));
    await hung.close();
    assertMatch(daemon.log, /nobody has killed it; it ends itself/);
  },
);
