/** Log files that are opened again after rotation: who of the workers still
 * writes to the old ones, and what to tell of those who could not let go. */
import { describeReopenFailure, type ReopenFailure } from "../log_files.ts";
import type { Outcome } from "./protocol.ts";
import type { WorkerRecord } from "./worker_record.ts";

/** How long a worker may take to answer. A command waits a little longer. */
export const reopenSeconds = 5;

/** What came of it. */
export interface Reopened {
  /** Files that could not be opened, and by which worker. */
  readonly failures: readonly { by: string; failure: ReopenFailure }[];
  /** Workers that have neither answered in time nor left. */
  readonly silent: readonly string[];
}

/** One request to reopen, on its way. */
interface Round {
  /** Who has not answered, and how many answers are due until ours is: each
   * worker answers each request, in order. */
  readonly awaited: Map<WorkerRecord, number>;
  readonly failures: { by: string; failure: ReopenFailure }[];
  readonly resolve: (reopened: Reopened) => void;
  deadline: number;
}

/** Waits for workers that were told to reopen their log files. Times are
 * seconds on the arbiter's clock. */
export class Reopenings {
  readonly #rounds = new Set<Round>();
  /** How many answers each worker owes. */
  readonly #owed = new Map<WorkerRecord, number>();

  /** Tells the workers. Resolves once each of them has answered, or has left,
   * or could have. */
  begin(workers: Iterable<WorkerRecord>, now: number): Promise<Reopened> {
    return new Promise((resolve) => {
      const awaited = new Map<WorkerRecord, number>();
      for (const worker of workers) {
        const owed = (this.#owed.get(worker) ?? 0) + 1;
        this.#owed.set(worker, owed);
        awaited.set(worker, owed);
      }
      const deadline = now + reopenSeconds;
      const round: Round = { awaited, failures: [], resolve, deadline };
      this.#rounds.add(round);
      for (const worker of awaited.keys()) worker.reopen();
      this.#settle(round);
    });
  }

  /** A worker has answered. */
  answered(worker: WorkerRecord, failures: readonly ReopenFailure[]): void {
    const owed = this.#owed.get(worker);
    if (owed === undefined) return;
    if (owed === 1) this.#owed.delete(worker);
    else this.#owed.set(worker, owed - 1);
    for (const round of this.#rounds) {
      const due = round.awaited.get(worker);
      if (due === undefined) continue;
      if (due > 1) {
        round.awaited.set(worker, due - 1);
        continue;
      }
      round.awaited.delete(worker);
      for (const failure of failures) {
        round.failures.push({ by: nameOf(worker), failure });
      }
      this.#settle(round);
    }
  }

  /** A worker has ended, and writes to nothing any more. */
  left(worker: WorkerRecord): void {
    this.#owed.delete(worker);
    for (const round of this.#rounds) {
      round.awaited.delete(worker);
      this.#settle(round);
    }
  }

  /** Nobody could be heard for so long, and that was our fault. */
  forgive(pause: number): void {
    for (const round of this.#rounds) round.deadline += pause;
  }

  /** Looks at the clock. */
  tick(now: number): void {
    for (const round of this.#rounds) {
      if (now >= round.deadline) this.#end(round);
    }
  }

  #settle(round: Round): void {
    if (round.awaited.size === 0) this.#end(round);
  }

  #end(round: Round): void {
    this.#rounds.delete(round);
    const silent = [...round.awaited.keys()].map(nameOf);
    round.resolve({ failures: round.failures, silent });
  }
}

/** As it stands within a sentence. */
function nameOf({ name }: WorkerRecord): string {
  return name.replace(/^W/, "w");
}

/** What to tell of it, in whole sentences, a line for each; a file that several
 * could not open is one. `own` are those that the arbiter itself could not open. */
export function problemsOf(
  own: readonly ReopenFailure[],
  { failures, silent }: Reopened,
): string[] {
  const all = [
    ...own.map((failure) => ({ by: "the arbiter", failure })),
    ...failures,
  ];
  const alike = new Map<string, { failure: ReopenFailure; by: string[] }>();
  for (const { by, failure } of all) {
    const key = `${failure.code} ${failure.path}`;
    const known = alike.get(key);
    if (known === undefined) alike.set(key, { failure, by: [by] });
    else known.by.push(by);
  }
  return [
    ...Array.from(
      alike.values(),
      ({ failure, by }) => describeReopenFailure(failure, by.join(", ")),
    ),
    ...silent.map((worker) =>
      `No answer from ${worker} in ${reopenSeconds} s. Until its event loop ` +
      "turns, its lines go on to the files that were there. Leave those as " +
      "they are until then, or end that process."
    ),
  ];
}

/** What a command is answered. */
export function reopenOutcome(problems: readonly string[]): Outcome {
  if (problems.length === 0) return { ok: true, message: "Log files reopened" };
  const lines = ["Not all log files were reopened:", ...problems];
  return { ok: false, message: lines.join("\n") };
}
