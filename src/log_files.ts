/**
 * Opens the log and the access log, and sees to it that every line is written
 * by the time the process ends.
 *
 * @module
 */
import {
  type AccessWriter,
  compileAccessWriter,
  showsElapsed,
} from "./access_log.ts";
import { CommandError, errorCode } from "./command_error.ts";
import type { Config } from "./config.ts";
import type { AccessRecord, AccessSink } from "./exchange.ts";
import type { AppendFile, Host } from "./host.ts";
import { LineBuffer } from "./line_buffer.ts";
import { askWhetherInUtc } from "./local_time.ts";
import { createLogger, type LeveledLogger } from "./log.ts";

/** A log file that could not be opened again. */
export interface ReopenFailure {
  /** Its absolute path. */
  readonly path: string;
  /** What the system said, as in "ENOENT"; "" where it said nothing. */
  readonly code: string;
}

/** The log and the access log. */
export interface Logs {
  /** Takes what the gateway and the command line tell. */
  readonly log: LeveledLogger;
  /** Takes a record per request; undefined when the access log is off. */
  readonly access: AccessSink | undefined;
  /** Opens the files again by their names, after somebody has moved them away:
   * what was gathered goes to the old ones, and whatever comes after this call
   * to the new ones. One that cannot be opened stays as it is; returns those,
   * for the caller to tell. Does nothing once they are closed. */
  reopen(): readonly ReopenFailure[];
  /** Writes what is left, and closes the files. */
  close(): void;
}

/** What could not be opened, where, and how to mend it, in whole sentences.
 * `by` names who could not. */
export function describeReopenFailure(
  { path, code }: ReopenFailure,
  by?: string,
): string {
  const who = by === undefined ? "" : ` by ${by}`;
  const why = code === "" ? "" : ` (${code})`;
  return `${path} could not be opened again${who}${why}. Lines go on to the ` +
    `file that was there. ${remedyFor(path, code)}, then reopen again.`;
}

/** Reopens them because of SIGUSR1, for a process that nobody answers for: logs
 * what could not be opened, and returns it as it was told. */
export function reopenAtSignal(logs: Logs): string[] {
  const told = logs.reopen().map((failure) => describeReopenFailure(failure));
  for (const message of told) logs.log.error(`SIGUSR1: ${message}`);
  return told;
}

function remedyFor(path: string, code: string): string {
  const directory = path.slice(0, path.lastIndexOf("/")) || "/";
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return `Make the directory ${directory}`;
    case "EACCES":
    case "EPERM":
      return "Let the user that this runs as write to it, and enter its " +
        "directory";
    case "EISDIR":
      return "Move the directory of that name away";
    case "EMFILE":
    case "ENFILE":
      return "Let the server have more open files (ulimit -n)";
    default:
      return "See to it that it can be written to";
  }
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
      compileAccessWriter(
        config.accessLogFormat,
        host.pid,
        config.accessLog === "-" && wantsColours(host),
      ),
      !showsElapsed(config.accessLogFormat),
    ),
    reopen: () => destinations.reopen(),
    close: () => destinations.close(),
  };
}

function accessSink(
  buffer: LineBuffer,
  write: AccessWriter,
  untimed: boolean,
): AccessSink {
  const append = (record: AccessRecord) => {
    write(record, buffer.begin());
    buffer.end();
  };
  return Object.assign(append, { untimed });
}

/** The line buffers by destination. They are written out when the process
 * ends, however it ends. */
class Destinations {
  readonly #host: Host;
  readonly #buffers = new Map<string, LineBuffer>();
  readonly #files = new Map<string, AppendFile>();
  readonly #failing = new Set<string>();
  readonly #forgetExit: () => void;
  #closed = false;

  constructor(host: Host) {
    this.#host = host;
    this.#forgetExit = host.onExit(() => this.#flush());
  }

  open(path: string, option: string): LineBuffer {
    const known = this.#buffers.get(path);
    if (known !== undefined) return known;
    const buffer = new LineBuffer(
      path === "-"
        ? (lines) => this.#host.write("stdout", lines)
        : this.#openFile(path, option),
    );
    this.#buffers.set(path, buffer);
    return buffer;
  }

  close(): void {
    this.#flush();
    this.#forgetExit();
    this.#closed = true;
    for (const file of this.#files.values()) file.close();
  }

  reopen(): ReopenFailure[] {
    if (this.#closed) return [];
    this.#flush();
    const failures: ReopenFailure[] = [];
    for (const [path, former] of this.#files) {
      try {
        this.#files.set(path, this.#host.openAppend(path));
        former.close();
        this.#failing.delete(path);
      } catch (error) {
        failures.push({ path, code: errorCode(error) });
      }
    }
    return failures;
  }

  #flush(): void {
    for (const buffer of this.#buffers.values()) buffer.flush();
  }

  // A full disk loses lines; it does not end a server.
  #writeFile(path: string, lines: Uint8Array): void {
    try {
      this.#files.get(path)?.write(lines);
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

  #openFile(path: string, option: string): (lines: Uint8Array) => void {
    try {
      // The application may go to another directory; a name stays what it was.
      const absolute = path.startsWith("/")
        ? path
        : `${this.#host.cwd()}/${path}`;
      this.#files.set(absolute, this.#host.openAppend(path));
      return (lines) => this.#writeFile(absolute, lines);
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
