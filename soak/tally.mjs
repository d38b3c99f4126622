/** What became of requests, counted. */
import { faults } from "./connection.mjs";

/** So many failures are kept with their circumstances, and reported. */
const kept = 2_000;
const reported = 40;

export class Tally {
  requests = 0;
  connections = 0;
  /** Connections that the server closed between requests. */
  closedIdle = 0;
  /** Answers that announced the end of their connection, unasked. */
  announced = 0;
  /** Failures of kept connections whose end was on its way already. */
  crossed = 0;
  /** Connections on which something came that was not asked for. */
  unasked = 0;
  /** How often each fault occurred. */
  faults = Object.fromEntries(faults.map((fault) => [fault, 0]));
  /** Answers of each process. */
  pids = new Map();
  /** The first failures. */
  failures = [];
  #times = [];

  /** Counts an exchange that has ended; `at` is when, in milliseconds. */
  count(
    { fault, why, crossed, pid, close, ms, request, before, connection },
    at,
  ) {
    this.requests++;
    if (fault === undefined) {
      this.#times.push(ms);
      this.pids.set(pid, (this.pids.get(pid) ?? 0) + 1);
      if (close && !request.close) this.announced++;
      return;
    }
    // What our own system refuses leaves nothing to be counted.
    if (fault === "own") throw new Error(`The client cannot connect: ${why}`);
    this.faults[fault]++;
    if (crossed) this.crossed++;
    if (this.failures.length < kept) {
      const { id } = request;
      this.failures.push({
        at,
        fault,
        why,
        crossed,
        id,
        before,
        connection,
        ms,
      });
    }
  }

  get failed() {
    const failed = Object.values(this.faults).reduce((sum, one) => sum + one);
    return failed + this.unasked;
  }

  /** The time within which so great a share was answered, in milliseconds. */
  quantile(share) {
    this.#times.sort((a, b) => a - b);
    return this.#times[Math.floor((this.#times.length - 1) * share)];
  }

  toJSON() {
    const { requests, failed, connections, closedIdle, announced } = this;
    const { unasked, crossed } = this;
    return {
      requests,
      failed,
      faults: this.faults,
      unasked,
      crossed,
      connections,
      closedIdle,
      announced,
      processes: this.pids.size,
      p50Ms: this.quantile(0.5),
      p99Ms: this.quantile(0.99),
      longestMs: this.quantile(1),
      failures: this.failures.slice(0, reported),
    };
  }
}

/** The faults that occurred, in words. */
export function faultsInWords({ faults, unasked, crossed }) {
  const words = Object.entries(faults)
    .filter(([, times]) => times > 0)
    .map(([fault, times]) => `${times} ${fault}`);
  if (unasked > 0) words.push(`${unasked} unasked`);
  if (crossed > 0) words.push(`(${crossed} crossed)`);
  return words.join(" ");
}
