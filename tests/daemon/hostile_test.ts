/** Servers whose application, neighbours or file system mean them no good. */
import { assert, assertEquals } from "@std/assert";
import process from "node:process";
import { accepts, testDaemon } from "../support/daemon.ts";

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
