/** The files that an arbiter and its workers write to: opened, given to whom
 * the workers run as, opened again after rotation. */
import type { Config } from "../config.ts";
import type { Host } from "../host.ts";
import type { LeveledLogger } from "../log.ts";
import { type Logs, openLogs, type ReopenFailure } from "../log_files.ts";
import type { DaemonHost, Identity, SpawnOptions } from "./host.ts";
import { reopenOutcome } from "./reopening.ts";
import { WorkerOutput } from "./worker_output.ts";

/** The log files, which stay the same over every reload. */
export class ArbiterLogs {
  readonly #logs: Logs;
  /** Without a terminal, where the workers' standard output goes. */
  readonly #output: WorkerOutput | undefined;
  readonly #giveAway: () => void;
  readonly #host: Host;
  readonly #daemon: boolean;

  /** `identity` is whom the workers run as, if not as we do. Throws
   * `CommandError`. */
  constructor(
    config: Config,
    daemon: boolean,
    identity: Identity | undefined,
    host: Host,
    daemonHost: Pick<DaemonHost, "absolute" | "chown">,
  ) {
    this.#host = host;
    this.#daemon = daemon;
    // A hook may go to another directory; a name stays what it was.
    const paths = pathsOf(config).map((path) => daemonHost.absolute(path));
    this.#logs = openLogs(config, host);
    // The workers open the log files as well, which are new at times.
    this.#giveAway = () => {
      if (identity === undefined) return;
      for (const path of paths) daemonHost.chown(path, identity);
    };
    this.#giveAway();
    this.#output = daemon
      ? new WorkerOutput(host, daemonHost.absolute(config.logFile))
      : undefined;
  }

  /** Takes what the arbiter tells. */
  get log(): LeveledLogger {
    return this.#logs.log;
  }

  /** Where what a worker prints goes. */
  get forWorkers(): SpawnOptions["output"] {
    return this.#output?.forSpawn ?? { kind: "inherit" };
  }

  /** Opens the files again by their names, and returns those that could not
   * be: nothing is written to the others any more by us. */
  reopen(): readonly ReopenFailure[] {
    const failures = this.#logs.reopen();
    this.#giveAway();
    this.#output?.reopen();
    return failures;
  }

  /** Tells that everybody has reopened them, but for these problems; `level`
   * is theirs. */
  tellReopened(problems: readonly string[], level: "error" | "warn"): void {
    const { ok, message } = reopenOutcome(problems);
    if (ok) return this.log.info(message);
    this.log[level](message);
    // The log itself may be a file that nobody looks for any more.
    if (!this.#daemon) this.#host.write("stderr", `headgate: ${message}\n`);
  }

  /** Writes what is left, and closes the files. */
  close(): void {
    this.#logs.close();
  }
}

/** The files among the destinations. */
function pathsOf({ logFile, accessLog }: Config): string[] {
  return [
    ...logFile === "-" ? [] : [logFile],
    ...accessLog === "-" || accessLog === "off" ? [] : [accessLog],
  ];
}
