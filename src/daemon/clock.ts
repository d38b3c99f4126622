/** Time, for those who wait: tests pass it faster. */

/** Passes time. */
export interface Clock {
  /** Milliseconds since some moment. */
  now(): number;
  /** Resolves so many milliseconds later. */
  sleep(ms: number): Promise<void>;
}

/** The time that everybody has. */
export const realClock: Clock = {
  now: () => performance.now(),
  sleep: (ms) => new Promise((wake) => setTimeout(wake, ms)),
};
