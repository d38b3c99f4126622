/** Requests take turns, in the order in which they came, where only so many may
 * be served at a time. Who leaves gives up its place. */
import { BackendError, StreamError } from "../errors.ts";
import type { MaybePromise } from "../stream.ts";

/** How many may be served, and wait. */
export interface TurnOptions {
  /** How many have a turn at a time. */
  readonly atOnce: number;
  /** How many may wait for one. */
  readonly waiting: number;
  /** How long each may wait. */
  readonly seconds: number;
}

/** Gives out turns. */
export class Turns {
  readonly #options: TurnOptions;
  #free: number;
  /** Whom to call next, in the order in which they came. */
  readonly #waiting = new Set<() => void>();

  constructor(options: TurnOptions) {
    this.#options = options;
    this.#free = options.atOnce;
  }

  /** Takes a turn, which has to be given back. Rejects with `BackendError` 503
   * when there are too many already, or none came in time; with `StreamError`
   * when the client has left. */
  take(signal: AbortSignal): MaybePromise<void> {
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    if (this.#waiting.size >= this.#options.waiting) {
      return Promise.reject(
        new BackendError(503, "Too many requests wait for their turn"),
      );
    }
    return this.#wait(signal);
  }

  #wait(signal: AbortSignal): Promise<void> {
    const { seconds } = this.#options;
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.delete(admit);
        clearTimeout(timer);
        signal.removeEventListener("abort", gone);
      };
      const admit = () => {
        leave();
        resolve();
      };
      const gone = () => {
        leave();
        reject(new StreamError("The client left before its turn came"));
      };
      const timer = seconds === Infinity ? undefined : setTimeout(() => {
        leave();
        reject(new BackendError(503, "No turn came in time"));
      }, 1000 * seconds);
      this.#waiting.add(admit);
      if (signal.aborted) gone();
      else signal.addEventListener("abort", gone);
    });
  }

  /** Gives a turn back. */
  give(): void {
    for (const admit of this.#waiting) return admit();
    this.#free++;
  }
}
