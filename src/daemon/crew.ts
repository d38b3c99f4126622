/** The workers that there are, all of them together: what can be said of the
 * crew that cannot be said of one. */
import type { WorkerStatus } from "./protocol.ts";
import {
  BOOTING,
  DRAINING,
  LOADED,
  type WorkerRecord,
} from "./worker_record.ts";

/** The workers, in the order in which they were started. */
export class Crew {
  readonly #workers = new Set<WorkerRecord>();
  #goneRequests = 0;

  /** Takes in one that was started. */
  add(worker: WorkerRecord): void {
    this.#workers.add(worker);
  }

  /** Lets go of one that has ended. */
  remove(worker: WorkerRecord): void {
    this.#workers.delete(worker);
    this.#goneRequests += worker.beat?.requests ?? 0;
  }

  /** Whether it has not ended. */
  has(worker: WorkerRecord): boolean {
    return this.#workers.has(worker);
  }

  /** Whether all have ended. */
  get isEmpty(): boolean {
    return this.#workers.size === 0;
  }

  /** Each of them, those that leave included. */
  [Symbol.iterator](): IterableIterator<WorkerRecord> {
    return this.#workers.values();
  }

  /** Those that were started before `worker` for its seat, and do not leave. */
  predecessorsOf(worker: WorkerRecord): WorkerRecord[] {
    const workers = [...this.#workers];
    return workers.slice(0, workers.indexOf(worker)).filter((other) =>
      other.seat === worker.seat && other.state !== DRAINING
    );
  }

  /** Requests of all, those that have gone included. */
  get requests(): number {
    let sum = this.#goneRequests;
    for (const { beat } of this.#workers) sum += beat?.requests ?? 0;
    return sum;
  }

  /** For `status`: by seat, and within it by age. */
  statuses(now: number): WorkerStatus[] {
    return [...this.#workers]
      .sort((a, b) => a.seat - b.seat)
      .map((worker) => worker.status(now));
  }

  /** The pids of those that accept, by seat. */
  servingPids(): number[] {
    return [...this.#workers].filter((worker) => worker.serves)
      .sort((a, b) => a.seat - b.seat)
      .map(({ child }) => child.pid);
  }

  /** How many load their application. */
  get booting(): number {
    return this.#count(({ state }) => state === BOOTING);
  }

  /** Whether somebody is on the way to serve. */
  get isGrowing(): boolean {
    return this.#count((worker) => worker.isBooting) > 0;
  }

  /** How many of a generation have loaded it, and wait. */
  loaded(generation: number): number {
    return this.#count((worker) =>
      worker.generation === generation && worker.state === LOADED
    );
  }

  /** How many of a generation accept. */
  serving(generation: number): number {
    return this.#count((worker) =>
      worker.serves && worker.generation === generation
    );
  }

  /** Whether somebody of a generation serves at a seat, or is on the way to. */
  isFilled(seat: number, generation: number): boolean {
    return this.#count((worker) =>
      worker.seat === seat && worker.generation === generation &&
      worker.state !== DRAINING
    ) > 0;
  }

  /** The seats whose sockets can be left to whoever has them, in order. */
  reliableSeats(now: number): number[] {
    const seats = new Set<number>();
    for (const worker of this.#workers) {
      if (worker.canBeReliedOn(now)) seats.add(worker.seat);
    }
    return [...seats].sort((a, b) => a - b);
  }

  #count(is: (worker: WorkerRecord) => boolean): number {
    let count = 0;
    for (const worker of this.#workers) if (is(worker)) count++;
    return count;
  }
}
