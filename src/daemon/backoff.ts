/** When a seat whose workers keep failing may have the next one. Pure. */

const firstSeconds = 0.5;
const longestSeconds = 30;

interface Misfortune {
  readonly failures: number;
  readonly lastAt: number;
  readonly retryAt: number;
}

/** Counts the failures of each seat. */
export class Backoff {
  readonly #seats = new Map<number, Misfortune>();

  /** Notes a failure, and returns for how many seconds the seat stays vacant.
   * The first is mended at once, the next ones later and later. */
  note(seat: number, now: number): number {
    const failures = this.#seats.get(seat)?.failures ?? 0;
    const delay = failures === 0
      ? 0
      : Math.min(longestSeconds, firstSeconds * 2 ** (failures - 1));
    this.#seats.set(seat, {
      failures: failures + 1,
      lastAt: now,
      retryAt: now + delay,
    });
    return delay;
  }

  /** Whether the seat may have a worker now. */
  allows(seat: number, now: number): boolean {
    return now >= (this.#seats.get(seat)?.retryAt ?? -Infinity);
  }

  /** A worker of this seat that has served `since` then lasts: what was before
   * does not count. What failed later was to replace it. */
  forgive(seat: number, since: number): void {
    const misfortune = this.#seats.get(seat);
    if (misfortune !== undefined && misfortune.lastAt <= since) {
      this.#seats.delete(seat);
    }
  }

  /** Other workers are started from now on: those of the past do not count. */
  forgiveAll(): void {
    this.#seats.clear();
  }
}
