/**
 * Gathers log lines, so that the way of a request costs no system call: after
 * a pause a line is written at the end of the turn, under load every
 * `intervalMs` or at 64 KiB, whichever comes first.
 *
 * @module
 */
import { later } from "./later.ts";

const capacity = 65_536;
const intervalMs = 50;

/** Lines on their way to a file or a terminal. */
export class LineBuffer {
  readonly #write: (text: string) => void;
  #text = "";
  #callOff: (() => void) | undefined;
  #flushedAt = -Infinity;

  /** `write` takes whole lines, newlines included, and returns when they are
   * written. */
  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  /** Takes a line, without the newline at its end. */
  append(line: string): void {
    this.#text += line + "\n";
    if (this.#text.length >= capacity) this.flush();
    else if (this.#callOff === undefined) this.#schedule();
  }

  /** Writes what was gathered before it returns. */
  flush(): void {
    this.#callOff?.();
    this.#callOff = undefined;
    if (this.#text === "") return;
    const text = this.#text;
    this.#text = "";
    this.#flushedAt = performance.now();
    this.#write(text);
  }

  #schedule(): void {
    const paused = performance.now() - this.#flushedAt >= intervalMs;
    this.#callOff = later(paused ? 0 : intervalMs, () => this.flush());
  }
}
