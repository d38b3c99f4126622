/**
 * `wsgi.errors` over the logger: text in, lines out.
 */
import type { Logger } from "./logger.ts";
import type { ErrorStream } from "./wsgi.ts";

/** A line that does not end is logged in pieces of this many characters. */
const LONGEST_LINE = 8192;

/** Unlike a peer's octets, an application's own text may hold any letter; what
 * would break the line or steer a terminal is escaped. */
// deno-lint-ignore no-control-regex
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]/g;

/** Logs each line at error level. One is shared by all requests of an
 * application, as standard error is: lines stay whole, their order is that of
 * their ends. */
export class LogErrorStream implements ErrorStream {
  readonly #log: Logger;
  #unfinished = "";

  /** Lines go to `log`. */
  constructor(log: Logger) {
    this.#log = log;
  }

  /** Logs the lines that `text` completes. */
  write(text: string): void {
    const lines = (this.#unfinished + text).split(/\r?\n/);
    this.#unfinished = lines.pop()!;
    for (const line of lines) this.#emit(line);
    while (this.#unfinished.length > LONGEST_LINE) {
      this.#emit(this.#unfinished.slice(0, LONGEST_LINE));
      this.#unfinished = this.#unfinished.slice(LONGEST_LINE);
    }
  }

  /** Writes each string. */
  writelines(lines: Iterable<string>): void {
    for (const line of lines) this.write(line);
  }

  /** Logs the line that has no end yet. */
  flush(): void {
    if (this.#unfinished === "") return;
    const line = this.#unfinished;
    this.#unfinished = "";
    this.#emit(line);
  }

  #emit(line: string): void {
    this.#log.error(line.replace(CONTROL, escapeControl));
  }
}

function escapeControl(character: string): string {
  return `\\u{${character.charCodeAt(0).toString(16)}}`;
}
