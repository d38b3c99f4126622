/** Where what a daemon's workers print goes: to the log, by way of the arbiter,
 * because a process cannot open its own standard streams again. */
import type { AppendFile, Host } from "../host.ts";
import type { SpawnOptions } from "./host.ts";

/** The log file, for text that is no record of ours. */
export class WorkerOutput {
  readonly #host: Host;
  readonly #path: string;
  #file: AppendFile;

  /** `path` is absolute. Throws the runtime's error where the file cannot be
   * opened. */
  constructor(host: Host, path: string) {
    this.#host = host;
    this.#path = path;
    this.#file = host.openAppend(path);
  }

  /** What a worker is started with. */
  get forSpawn(): SpawnOptions["output"] {
    return { kind: "lines", take: (text) => this.#write(text) };
  }

  /** Opens the file by its name again; the old one stays where that fails. */
  reopen(): void {
    try {
      const file = this.#host.openAppend(this.#path);
      this.#file.close();
      this.#file = file;
    } catch {
      // The log has said so: it is the same file.
    }
  }

  #write(text: string): void {
    try {
      this.#file.write(text);
    } catch {
      // A full disk loses lines; it does not end a server.
    }
  }
}
