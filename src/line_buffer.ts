/**
 * Gathers log lines, so that the way of a request costs no system call: after
 * a pause a line is written at the end of the turn, under load every
 * `intervalMs` or at 64 KiB, whichever comes first.
 *
 * @module
 */
import { later } from "./later.ts";
import { type Line, LineOctets } from "./line.ts";

const capacity = 65_536;
const intervalMs = 50;

/** Room beyond the capacity, for the line that reaches it. */
const slack = 32_768;

/** Lines on their way to a file or a terminal. */
export class LineBuffer {
  readonly #write: (lines: Uint8Array) => void;
  readonly #lines = new LineOctets(capacity + slack);
  #callOff: (() => void) | undefined;
  #flushedAt = -Infinity;

  /** `write` takes whole lines as UTF-8, newlines included, and returns when
   * they are written. They are lent to it for the call. */
  constructor(write: (lines: Uint8Array) => void) {
    this.#write = write;
  }

  /** Takes a line, without the newline at its end. */
  append(line: string): void {
    this.begin().put(line);
    this.end();
  }

  /** Begins a line, which is to be put together and ended at once. What a line
   * has that was begun before and has not ended is dropped. */
  begin(): Line {
    this.#lines.begin();
    return this.#lines;
  }

  /** Takes the line that was begun. */
  end(): void {
    this.#lines.end();
    if (this.#lines.size >= capacity) this.flush();
    else if (this.#callOff === undefined) this.#schedule();
  }

  /** Writes what was gathered before it returns. */
  flush(): void {
    this.#callOff?.();
    this.#callOff = undefined;
    if (this.#lines.size === 0) return;
    this.#flushedAt = performance.now();
    this.#write(this.#lines.take());
  }

  #schedule(): void {
    const paused = performance.now() - this.#flushedAt >= intervalMs;
    this.#callOff = later(paused ? 0 : intervalMs, () => this.flush());
  }
}
