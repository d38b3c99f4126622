/** The requests that wait for a responder, first come, first served.
 *
 * It is an array, not a `Set`: V8's sets grow into new tables, and an old one
 * holds on to what was in it, and to the table that came after it. In a busy
 * queue everything that has ever waited would outlive the collector's quick
 * rounds. */
import type { Run } from "./run.ts";

/** So many places at the beginning are empty before the others move up. */
const mostEmpty = 1024;

/** A queue of requests. */
export class RunQueue {
  #places: (Run | undefined)[] = [];
  /** Where the first one is. */
  #first = 0;

  /** How many wait. */
  get size(): number {
    return this.#places.length - this.#first;
  }

  /** Puts one behind all others. */
  add(run: Run): void {
    this.#places.push(run);
  }

  /** Puts one before all others. */
  putFirst(run: Run): void {
    if (this.#first > 0) this.#places[--this.#first] = run;
    else this.#places.unshift(run);
  }

  /** Takes the first one off; undefined where none waits. */
  take(): Run | undefined {
    if (this.size === 0) return undefined;
    const run = this.#places[this.#first];
    this.#places[this.#first++] = undefined;
    if (this.size === 0 || this.#first === mostEmpty) this.#moveUp();
    return run;
  }

  #moveUp(): void {
    this.#places.splice(0, this.#first);
    this.#first = 0;
  }

  /** Takes one off wherever it is; false where it does not wait. */
  delete(run: Run): boolean {
    const place = this.#places.indexOf(run, this.#first);
    if (place >= 0) this.#places.splice(place, 1);
    return place >= 0;
  }

  /** Those that wait now, in order, whatever becomes of the queue. */
  all(): Run[] {
    return this.#places.slice(this.#first) as Run[];
  }
}
