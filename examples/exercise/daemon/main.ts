/** A web server that runs in the background: `main.ts start`, `stop`,
 * `restart` or `status`. Its files are in the working directory; PORT and
 * WORKERS are read from the environment, 8888 and 2 by default. */
import process from "node:process";
import { start, status, stop } from "./control.ts";
import { runMaster } from "./master.ts";
import { runWorker } from "./worker.ts";

const commands: Record<string, () => Promise<number>> = {
  start,
  stop,
  restart: async () => await stop() || await start(),
  status,
  // What `start` and the master start; they are no commands for a user.
  master: runMaster,
  worker: runWorker,
};

const command = commands[process.argv[2] ?? ""];
if (command === undefined) {
  console.error("Usage: main.ts start|stop|restart|status");
  process.exit(2);
}
try {
  process.exit(await command());
} catch (error) {
  console.error(String(error)); // as when the port is taken
  process.exit(1);
}
