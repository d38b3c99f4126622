/** The files that an arbiter and its workers write to: opened, given to whom
 * the workers run as, opened again after rotation. */
import type { Config } from "../config.ts";
import type { Host } from "../host.ts";
import type { LeveledLogger } from "../log.ts";
import { type Logs, openLogs } from "../log_files.ts";
import type { DaemonHost, Identity, SpawnOptions } from "./host.ts";
import type { Outcome } from "./protocol.ts";
import { WorkerOutput } from "./worker_output.ts";

/** The log files, which stay the same over every reload. */
export class ArbiterLogs {
  readonly #logs: Logs;
  /** Without a terminal, where the workers' standard output goes. */
  readonly #output: WorkerOutput | undefined;
  readonly #giveAway: () => void;

  /** `identity` is whom the workers run as, if not as we do. Throws
   * `CommandError`. */
  constructor(
    config: Config,
    daemon: boolean,
    identity: Identity | undefined,
    host: Host,
    daemonHost: Pick<DaemonHost, "chown">,
  ) {
    const { logFile, accessLog } = config;
    this.#logs = openLogs(config, host);
    // The workers open the log files as well, which are new at times.
    this.#giveAway = () => {
      if (identity === undefined) return;
      for (const path of [logFile, accessLog]) {
        if (path === "-" || path === "off") continue;
        daemonHost.chown(path, identity);
      }
    };
    this.#giveAway();
    this.#output = daemon ? new WorkerOutput(host, logFile) : undefined;
  }

  /** Takes what the arbiter tells. */
  get log(): LeveledLogger {
    return this.#logs.log;
  }

  /** Where what a worker prints goes. */
  get forWorkers(): SpawnOptions["output"] {
    return this.#output?.forSpawn ?? { kind: "inherit" };
  }

  /** Opens the files again by their names. */
  reopen(): Outcome {
    const failed = this.#logs.reopen();
    this.#giveAway();
    this.#output?.reopen();
    const ok = failed.length === 0;
    const message = ok
      ? "Log files reopened"
      : `Could not be opened again: ${failed.join(", ")}`;
    if (ok) this.log.info(message);
    else this.log.error(message);
    return { ok, message };
  }

  /** Writes what is left, and closes the files. */
  close(): void {
    this.#logs.close();
  }
}
