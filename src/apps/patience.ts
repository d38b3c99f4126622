/** How long a program behind us may keep its client waiting. Time in which the
 * client keeps us waiting does not count. */

/** Runs until it is stopped, and calls once, after so many seconds in which
 * nothing moved. */
export class Patience {
  readonly #limitMs: number;
  readonly #onEnd: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #since: number;
  /** How many things the client has to do first. */
  #excuses = 0;

  constructor(seconds: number, onEnd: () => void) {
    this.#limitMs = 1000 * seconds;
    this.#onEnd = onEnd;
    this.#since = performance.now();
    this.#wait(this.#limitMs);
  }

  /** A byte has moved. */
  progress(): void {
    this.#since = performance.now();
  }

  /** Waits for the client, who may take its time. */
  async excuse<T>(pending: Promise<T>): Promise<T> {
    this.#excuses++;
    try {
      return await pending;
    } finally {
      this.#excuses--;
      this.progress();
    }
  }

  /** Calls nobody any more. Idempotent. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #wait(ms: number): void {
    if (ms === Infinity) return;
    this.#timer = setTimeout(() => this.#look(), ms);
  }

  #look(): void {
    if (this.#excuses > 0) this.progress();
    const left = this.#since + this.#limitMs - performance.now();
    if (left > 0) return this.#wait(left);
    this.#timer = undefined;
    this.#onEnd();
  }
}
