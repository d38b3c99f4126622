/** The master: sees to it that all workers live. It has the listening socket as
 * descriptor 3, and never accepts on it: so it does nothing that could fail or
 * block, and the socket outlives every worker. */
import type { ChildProcess } from "node:child_process";
import process from "node:process";
import { createLogger } from "../../../src/log.ts";
import { removePid, writePid } from "./pidfile.ts";
import { spawnSelf } from "./spawn.ts";

const count = Number(process.env["WORKERS"] ?? 2);
const log = createLogger({
  level: "info",
  sink: (record) => console.log(record),
});

/** Keeps workers until SIGTERM, and resolves with the exit code. */
export function runMaster(): Promise<number> {
  const workers = new Set<ChildProcess>();
  let ready = 0;
  let stopping = false;
  let exitCode = 0;

  return new Promise((finish) => {
    writePid();
    log.info(`Master with pid ${process.pid}`);
    process.on("SIGTERM", () => stop("SIGTERM"));
    for (let seat = 1; seat <= count; seat++) fill(seat);

    function fill(seat: number): void {
      if (stopping) return;
      const worker = spawnSelf("worker", [
        "ignore",
        "inherit",
        "inherit",
        "inherit", // the socket
      ]);
      workers.add(worker);
      log.info(`Worker ${seat} (pid ${worker.pid}) started`);
      worker.once("message", () => tellStarter(++ready));
      worker.once("exit", (code, signal) => {
        workers.delete(worker);
        const how = signal ?? `exit code ${code}`;
        log.info(`Worker ${seat} (pid ${worker.pid}) ended: ${how}`);
        if (stopping) return leaveAfterLast();
        // What cannot even start is not started again and again.
        if (ready < count) return stop("A worker could not start", 1);
        setTimeout(() => fill(seat), 1000);
      });
    }

    function tellStarter(ready: number): void {
      if (ready !== count) return;
      log.info(`Ready with ${count} worker(s)`);
      process.send?.("ready", () => process.disconnect?.());
    }

    function stop(reason: string, code = 0): void {
      log.info(`${reason}: stopping`);
      stopping = true;
      exitCode ||= code;
      // To close the channel is to tell them to leave.
      for (const worker of workers) worker.disconnect();
      leaveAfterLast();
    }

    function leaveAfterLast(): void {
      if (workers.size > 0) return;
      removePid();
      log.info("Stopped");
      finish(exitCode);
    }
  });
}
