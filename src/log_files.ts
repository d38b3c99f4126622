/**
 * Opens the log and the access log, and sees to it that every line is written
 * by the time the process ends.
 *
 * @module
 */
import { type AccessFormatter, compileAccessFormat } from "./access_log.ts";
import { CommandError, errorCode } from "./command_error.ts";
import type { Config } from "./config.ts";
import type { AccessRecord } from "./exchange.ts";
import type { AppendFile, Host } from "./host.ts";
import { LineBuffer } from "./line_buffer.ts";
import { askWhetherInUtc } from "./local_time.ts";
import { createLogger, type LeveledLogger } from "./log.ts";

/** The log and the access log. */
export interface Logs {
  /** Takes what the gateway and the command line tell. */
  readonly log: LeveledLogger;
  /** Takes a record per request; undefined when the access log is off. */
  readonly access: ((record: AccessRecord) => void) | undefined;
  /** Opens the files again by their names, after somebody has moved them away:
   * what was gathered goes to the old ones. One that cannot be opened stays as
   * it is, and that is told on standard error. Returns the paths of those. */
  reopen(): string[];
  /** Writes what is left, and closes the files. */
  close(): void;
}

/** Opens the log and the access log; those with the same destination share
 * it, so that their lines keep their order. Throws `CommandError`. */
export function openLogs(config: Config, host: Host): Logs {
  if (host.inUtc !== undefined) askWhetherInUtc(host.inUtc);
  const destinations = new Destinations(host);
  const buffer = destinations.open(config.logFile, "--log-file");
  const log = createLogger({
    level: config.logLevel,
    sink: (record) => buffer.append(record),
    colours: config.logFile === "-" && wantsColours(host),
  });
  return {
    log,
    access: config.accessLog === "off" ? undefined : accessSink(
      destinations.open(config.accessLog, "--access-log"),
      compileAccessFormat(
        config.accessLogFormat,
        host.pid,
        config.accessLog === "-" && wantsColours(host),
      ),
    ),
    reopen: () => destinations.reopen(),
    close: () => destinations.close(),
  };
}

function accessSink(
  buffer: LineBuffer,
  format: AccessFormatter,
): (record: AccessRecord) => void {
  return (record) => buffer.append(format(record));
}

/** The line buffers by destination. They are written out when the process
 * ends, however it ends. */
class Destinations {
  readonly #host: Host;
  readonly #buffers = new Map<string, LineBuffer>();
  readonly #files = new Map<string, AppendFile>();
  readonly #failing = new Set<string>();
  readonly #forgetExit: () => void;

  constructor(host: Host) {
    this.#host = host;
    this.#forgetExit = host.onExit(() => this.#flush());
  }

  open(path: string, option: string): LineBuffer {
    const known = this.#buffers.get(path);
    if (known !== undefined) return known;
    const buffer = new LineBuffer(
      path === "-"
        ? (text) => this.#host.write("stdout", text)
        : this.#openFile(path, option),
    );
    this.#buffers.set(path, buffer);
    return buffer;
  }

  close(): void {
    this.#flush();
    this.#forgetExit();
    for (const file of this.#files.values()) file.close();
  }

  reopen(): string[] {
    this.#flush();
    const failed: string[] = [];
    for (const [path, former] of this.#files) {
      try {
        this.#files.set(path, this.#host.openAppend(path));
        former.close();
        this.#failing.delete(path);
      } catch (error) {
        failed.push(path);
        this.#host.write(
          "stderr",
          `headgate: ${path} could not be opened again (${
            errorCode(error)
          }); lines go to the file that was\n`,
        );
      }
    }
    return failed;
  }

  #flush(): void {
    for (const buffer of this.#buffers.values()) buffer.flush();
  }

  // A full disk loses lines; it does not end a server.
  #writeFile(path: string, text: string): void {
    try {
      this.#files.get(path)?.write(text);
      this.#failing.delete(path);
    } catch (error) {
      if (this.#failing.has(path)) return;
      this.#failing.add(path);
      this.#host.write(
        "stderr",
        `headgate: lines for ${path} are lost (${errorCode(error)})\n`,
      );
    }
  }

  #openFile(path: string, option: string): (text: string) => void {
    try {
      // The application may go to another directory; a name stays what it was.
      const absolute = path.startsWith("/")
        ? path
        : `${this.#host.cwd()}/${path}`;
      this.#files.set(absolute, this.#host.openAppend(path));
      return (text) => this.#writeFile(absolute, text);
    } catch (error) {
      throw new CommandError(
        1,
        `${option}: cannot write to ${path} (${
          errorCode(error) || (error instanceof Error ? error.name : "refused")
        })`,
        "Name a file in a directory that exists and that you may write to.",
      );
    }
  }
}

function wantsColours(host: Host): boolean {
  const { FORCE_COLOR: force, NO_COLOR: none, TERM: term } = host.env;
  if (force) return force !== "0" && force !== "false";
  if (none) return false;
  return term !== "dumb" && host.isTerminal("stdout");
}
