/** Reloads, one at a time. While new workers are being made they may have read
 * what has changed since: another reload follows, one for all who ask
 * meanwhile. */
import type { LeveledLogger } from "../log.ts";
import type { Outcome } from "./protocol.ts";

/** Keeps reloads apart. */
export class Reloads {
  readonly #log: LeveledLogger;
  readonly #reload: () => Promise<Outcome>;
  #running: Promise<Outcome> | undefined;
  /** The one that waits for its end. */
  #next: Promise<Outcome> | undefined;

  /** `reload` makes one, and never rejects. */
  constructor(log: LeveledLogger, reload: () => Promise<Outcome>) {
    this.#log = log;
    this.#reload = reload;
  }

  /** Resolves with the outcome of a reload that begins now or later. `reason`
   * is for the log, where nothing else says who asks. */
  async ask(reason?: string): Promise<Outcome> {
    if (reason !== undefined) this.#log.info(`${reason}: reloading`);
    if (this.#running === undefined) return await this.#begin();
    return await (this.#next ??= this.#running.then(() => {
      this.#next = undefined;
      return this.ask("Once more");
    }));
  }

  #begin(): Promise<Outcome> {
    return this.#running = this.#reload()
      .finally(() => this.#running = undefined);
  }
}
