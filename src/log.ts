/**
 * Makes a `Logger` over `@std/log`, in the format
 * `2026-11-22 05:24:31,402 [DEBUG] message`: local time, a comma before the
 * milliseconds, DEBUG INFO WARNING ERROR CRITICAL. The only room that knows
 * `@std/log`. It makes a logger of its own and never calls that module's
 * `setup()`, whose state belongs to the application.
 *
 * @module
 */
import {
  BaseHandler,
  type LevelName,
  Logger as StdLogger,
  LogLevels,
  type LogRecord,
} from "@std/log";
import { spellLocal } from "./local_time.ts";
import type { Logger } from "./logger.ts";

/** The levels as the command line spells them, the lowest first. */
export const logLevels = [
  "debug",
  "info",
  "warning",
  "error",
  "critical",
] as const;

/** One of `logLevels`. */
export type LogLevel = typeof logLevels[number];

/** A logger with the gravest level too. */
export interface LeveledLogger extends Logger {
  /** The gateway cannot go on. */
  critical(message: string): void;
}

/** What a logger is made from. */
export interface LogOptions {
  /** The lowest level that is written; default "info". */
  readonly level?: LogLevel;
  /** Receives each record as text without the newline at its end. */
  readonly sink: (record: string) => void;
  /** Colours the level's name; default false. */
  readonly colours?: boolean;
}

const stdNames: Readonly<Record<LogLevel, LevelName>> = {
  debug: "DEBUG",
  info: "INFO",
  warning: "WARN",
  error: "ERROR",
  critical: "CRITICAL",
};

/** Makes a logger. A message of several lines (a stack) is one record: its
 * further lines are indented, so that none of them can pass for a record. */
export function createLogger(options: LogOptions): LeveledLogger {
  const levelName = stdNames[options.level ?? "info"];
  const handler = new SinkHandler(levelName, options);
  const log = new StdLogger("headgate", levelName, { handlers: [handler] });
  return {
    debug: (message) => void log.debug(message),
    info: (message) => void log.info(message),
    warn: (message) => void log.warn(message),
    error: (message) => void log.error(message),
    critical: (message) => void log.critical(message),
  };
}

class SinkHandler extends BaseHandler {
  readonly #sink: (record: string) => void;

  constructor(levelName: LevelName, options: LogOptions) {
    const level = options.colours === true ? colouredLevel : plainLevel;
    super(levelName, {
      formatter: (record) =>
        `${timestamp(record)} [${level(record)}] ${oneRecord(record.msg)}`,
    });
    this.#sink = options.sink;
  }

  override log(msg: string): void {
    this.#sink(msg);
  }
}

function plainLevel({ level, levelName }: LogRecord): string {
  return level === LogLevels.WARN ? "WARNING" : levelName;
}

function colouredLevel(record: LogRecord): string {
  return `\x1b[${colourOf(record.level)}m${plainLevel(record)}\x1b[0m`;
}

function colourOf(level: number): string {
  if (level >= LogLevels.CRITICAL) return "1;31";
  if (level >= LogLevels.ERROR) return "31";
  if (level >= LogLevels.WARN) return "33";
  return level >= LogLevels.INFO ? "32" : "2";
}

// What an application throws may quote a client, so neither a line break nor
// a terminal's escape sequence passes through as it is.
function oneRecord(message: string): string {
  if (!/[^\x20-\x7e]/.test(message)) return message;
  return message
    // deno-lint-ignore no-control-regex
    .replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]/g, escapeControl)
    .replace(/\n(?! {2})/g, "\n  ");
}

function escapeControl(character: string): string {
  const code = character.charCodeAt(0);
  return code <= 0xff
    ? `\\x${code.toString(16).padStart(2, "0")}`
    : `\\u{${code.toString(16)}}`;
}

let stampedSecond = NaN;
let stamp = "";

// Spelling a date costs more than the rest of a record, so it is kept for a
// second.
function timestamp({ datetime }: LogRecord): string {
  const time = datetime.getTime();
  const second = Math.floor(time / 1000);
  if (second !== stampedSecond) {
    stampedSecond = second;
    stamp = spellLocal(time).replace("T", " ");
  }
  return `${stamp},${String(time - second * 1000).padStart(3, "0")}`;
}
