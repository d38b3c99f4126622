/**
 * What a worker is serving, where another thread can read it. A loop that an
 * application blocks cannot tell which request it is blocked by, so each is
 * written down before the handler has it, in memory that a watchdog shares; and
 * the watchdog tells it, once the loop has not turned for too long.
 *
 * The table is written by the loop alone, without atomics, for that is on the
 * way of every request. The watchdog reads it when the loop stands still; what
 * moves while it reads is not blocked, and is left out.
 *
 * @module
 */
import type { WatchdogProgram, WatchdogThread } from "./daemon/host.ts";
import type { RequestWatch } from "./gate.ts";
import { CR } from "./http/bytes.ts";
import { escapeForLog } from "./logger.ts";

/** How many requests the table can hold. */
const ROWS = 128;
/** How much of a request line is told. */
const LINE_OCTETS = 160;

// The header, in cells of 32 bits.
/** Moves as long as the loop turns. */
const BEAT = 0;
/** When it moved last, in tenths of a second, on the loop's own clock. */
const BEAT_AT = 1;
/** How many requests are being served that no row was free for. */
const UNLISTED = 2;
const HEADER_CELLS = 4;

// A row. Its line takes one octet more than is told if it is longer than that.
/** Tells this request from the next in its row; 0 where the row is free. */
const SERIAL = 0;
const LENGTH = 1;
/** The beat before it, as in `BEAT_AT`. */
const BEGUN_AT = 2;
const LINE = 3;
const ROW_CELLS = LINE + LINE_OCTETS / 4 + 1;

/** What {@linkcode keepWatch} needs to know of the table: the constants above,
 * by their names. */
interface Layout {
  readonly ROWS: number;
  readonly LINE_OCTETS: number;
  readonly BEAT: number;
  readonly BEAT_AT: number;
  readonly UNLISTED: number;
  readonly HEADER_CELLS: number;
  readonly SERIAL: number;
  readonly LENGTH: number;
  readonly BEGUN_AT: number;
  readonly LINE: number;
  readonly ROW_CELLS: number;
}

const layout: Layout = {
  ROWS,
  LINE_OCTETS,
  BEAT,
  BEAT_AT,
  UNLISTED,
  HEADER_CELLS,
  SERIAL,
  LENGTH,
  BEGUN_AT,
  LINE,
  ROW_CELLS,
};

/** The requests that handlers are at work on. */
export class RequestTable implements RequestWatch {
  readonly #buffer = new SharedArrayBuffer(
    (HEADER_CELLS + ROWS * ROW_CELLS) * 4,
  );
  readonly #cells = new Int32Array(this.#buffer);
  readonly #octets = new Uint8Array(this.#buffer);
  /** A stack of the rows that are free, so that the same few are in use. */
  readonly #free = Uint8Array.from({ length: ROWS }, (_, i) => ROWS - 1 - i);
  #freeCount = ROWS;
  #serial = 0;
  #beatAt = 0;

  constructor() {
    this.beat();
  }

  /** Writes the request line down, as far as it is told. Beyond what the table
   * can hold, requests are counted. */
  begin(octets: Uint8Array, start: number, end: number): number {
    const cells = this.#cells;
    if (this.#freeCount === 0) {
      cells[UNLISTED]!++;
      return -1;
    }
    const row = this.#free[--this.#freeCount]!;
    const at = HEADER_CELLS + row * ROW_CELLS;
    const table = this.#octets;
    const bound = Math.min(end, start + LINE_OCTETS + 1);
    const shift = (at + LINE) * 4 - start;
    let i = start;
    for (; i < bound; i++) {
      const octet = octets[i]!;
      if (octet === CR) break;
      table[i + shift] = octet;
    }
    cells[at + LENGTH] = i - start;
    cells[at + BEGUN_AT] = this.#beatAt;
    cells[at + SERIAL] = this.#serial = (this.#serial + 1) | 0 || 1;
    return row;
  }

  /** Forgets it. */
  end(row: number): void {
    if (row < 0) {
      this.#cells[UNLISTED]!--;
      return;
    }
    this.#cells[HEADER_CELLS + row * ROW_CELLS + SERIAL] = 0;
    this.#free[this.#freeCount++] = row;
  }

  /** The loop turns. To be called several times in the timeout of the watch.
   * A request is told to be served since the last beat before it. */
  beat(milliseconds: number = performance.now()): void {
    this.#beatAt = (milliseconds / 100) | 0;
    this.#cells[BEAT_AT] = this.#beatAt;
    Atomics.add(this.#cells, BEAT, 1);
    Atomics.notify(this.#cells, BEAT);
  }

  /** The watch over this table, for another thread to keep. */
  watch(terms: WatchTerms): WatchdogProgram & { readonly data: WatchData } {
    return {
      source: `(data, thread) => (${keepWatch})(data, thread, ${escapeForLog})`,
      data: { ...terms, buffer: this.#buffer, layout },
    };
  }
}

/** What a watch goes by. */
export interface WatchTerms {
  /** How long the loop may stand still. */
  readonly timeoutSeconds: number;
  /** Whose loop it is, as in "Worker 2 (pid 412)". */
  readonly label: string;
}

/** What {@linkcode keepWatch} is called with. */
export interface WatchData extends WatchTerms {
  /** The table. */
  readonly buffer: SharedArrayBuffer;
  /** Where things are in it. */
  readonly layout: Readonly<Record<keyof Layout, number>>;
}

/** Looks whether the loop turns, and says so when it has not for too long, and
 * when it does again. The arbiter kills a process whose loop stands still; where
 * there is none any longer, the watch does, lest the port be held for ever. It
 * runs from its own text: of what is outside of it, it may use its parameters
 * and the globals of the language. */
export function keepWatch(
  { buffer, layout, timeoutSeconds, label }: WatchData,
  thread: WatchdogThread,
  escape: (text: string) => string,
): void {
  const cells = new Int32Array(buffer);
  const octets = new Uint8Array(buffer);
  const timeout = timeoutSeconds * 1000;
  /** The arbiter has killed us long before. */
  const abandoned = timeout + 5000;
  const interval = Math.min(1000, timeout / 4);
  let beat = Atomics.load(cells, layout.BEAT);
  let lookedAt = thread.now();
  let still = 0;
  let reported = false;
  for (;;) {
    const pause = reported ? interval : Math.min(interval, timeout - still);
    if (!thread.wait(cells, layout.BEAT, beat, pause)) return;
    const now = thread.now();
    // A machine that slept, or a process that was stopped, let both threads
    // stand still. Only the time counts in which this one could move.
    still += Math.min(now - lookedAt, pause + interval);
    lookedAt = now;
    const current = Atomics.load(cells, layout.BEAT);
    if (current !== beat) {
      if (reported) {
        tell("WARNING", [
          `its event loop turns again, after ${seconds(still)}`,
        ]);
      }
      beat = current;
      still = 0;
      reported = false;
    } else if (!reported && still >= timeout) {
      tell("CRITICAL", report());
      reported = true;
    } else if (still >= abandoned) {
      tell("CRITICAL", ["nobody has killed it; it ends itself (--timeout)"]);
      return thread.kill();
    }
  }

  /** The youngest request comes first: where a handler blocks before it waits
   * for anything, it is that one. */
  function report(): string[] {
    const requests = readRows().sort((a, b) => (b.serial - a.serial) | 0);
    const unlisted = Math.max(0, cells[layout.UNLISTED]!);
    const lines = [
      `its event loop has been blocked for ${seconds(still)} while it served ` +
      `${requests.length + unlisted} request(s)`,
      ...requests.map(({ line, tenths }) =>
        `was serving "${line}" for ${seconds(tenths * 100 + still)}`
      ),
    ];
    if (unlisted > 0) lines.push(`was serving ${unlisted} more`);
    return lines;
  }

  function readRows(): { serial: number; line: string; tenths: number }[] {
    const rows = [];
    for (let row = 0; row < layout.ROWS; row++) {
      const at = layout.HEADER_CELLS + row * layout.ROW_CELLS;
      const serial = Atomics.load(cells, at + layout.SERIAL);
      const line = readLine((at + layout.LINE) * 4, cells[at + layout.LENGTH]!);
      const tenths = (cells[layout.BEAT_AT]! - cells[at + layout.BEGUN_AT]!) |
        0;
      if (serial === 0) continue;
      if (Atomics.load(cells, at + layout.SERIAL) !== serial) continue;
      rows.push({ serial, line, tenths });
    }
    return rows;
  }

  function readLine(start: number, length: number): string {
    const told = Math.min(length, layout.LINE_OCTETS);
    const line = String.fromCharCode(...octets.subarray(start, start + told));
    return escape(line) + (length > told ? "..." : "");
  }

  function tell(level: string, messages: string[]): void {
    const date = new Date();
    const local = date.getTime() - date.getTimezoneOffset() * 60_000;
    const stamp = new Date(local).toISOString()
      .slice(0, 23).replace("T", " ").replace(".", ",");
    thread.write(
      messages.map((message) => `${stamp} [${level}] ${label}: ${message}\n`)
        .join(""),
    );
  }

  function seconds(milliseconds: number): string {
    return `${(milliseconds / 1000).toFixed(1)} s`;
  }
}
