/**
 * What `headgate status` shows: a table for a person, JSON for a program. Pure;
 * what the arbiter tells is escaped for a terminal.
 *
 * @module
 */
import { escapeForLog } from "../logger.ts";
import type { Status, WorkerStatus } from "./protocol.ts";

/** A worker beats once a second; one that has been silent for so long is
 * marked. */
const SILENT_SECONDS = 5;

/** The status as a person reads it; lines with their newlines. */
export function statusPage(status: Status): string {
  const lines = [summaryOf(status), ...status.addresses.map(escapeForLog)];
  if (status.workers.length > 0) lines.push("", ...tableOf(status));
  return [...lines, ...remarksOn(status)].map((line) => `${line}\n`).join("");
}

/** The status as it is, as JSON in ASCII, newline included. */
export function statusJson(status: unknown): string {
  const json = JSON.stringify(status, null, 2);
  // Beyond ASCII there are more control characters than JSON escapes.
  const ascii = json.replace(
    /[\x7f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return `${ascii}\n`;
}

function summaryOf(status: Status): string {
  const { version, runtime, pid, state, app, uptime, generation } = status;
  return [
    `headgate ${escapeForLog(version)} on ${escapeForLog(runtime)}`,
    `pid ${pid}`,
    `${escapeForLog(state)} ${
      app === null ? "the welcome page" : escapeForLog(app)
    }`,
    `up ${formatSpan(uptime)}`,
    `generation ${generation}`,
    `${formatCount(status.requests)} ${
      status.requests === 1 ? "request" : "requests"
    }`,
  ].join(", ");
}

function remarksOn({ workers, target }: Status): string[] {
  const remarks: string[] = [];
  const serving = workers.filter(({ state }) => state === "serving").length;
  if (serving !== target) remarks.push(`${serving} of ${target} workers serve`);
  if (workers.some(isSilent)) {
    remarks.push("! has given no sign of life: its event loop may be blocked");
  }
  return remarks.length === 0 ? [] : ["", ...remarks];
}

/** A worker that has not begun to beat is not silent. */
function isSilent({ state, silent }: WorkerStatus): boolean {
  return state !== "booting" && silent >= SILENT_SECONDS;
}

// ---- The table ----

interface Column {
  readonly title: string;
  readonly cell: (worker: WorkerStatus) => string;
  /** Words stand to the left, numbers to the right. */
  readonly words?: true;
}

/** Only while a reload is under way do they differ, and this is shown. */
const generationColumn: Column = {
  title: "GENERATION",
  cell: ({ generation }) => String(generation),
};

const columns: readonly Column[] = [
  { title: "SEAT", cell: ({ seat }) => String(seat) },
  { title: "PID", cell: ({ pid }) => String(pid) },
  { title: "STATE", cell: ({ state }) => escapeForLog(state), words: true },
  generationColumn,
  { title: "AGE", cell: ({ age }) => formatSpan(age) },
  { title: "REQUESTS", cell: ({ requests }) => formatCount(requests) },
  { title: "BUSY", cell: ({ busy }) => formatCount(busy) },
  { title: "CONNECTIONS", cell: ({ connections }) => formatCount(connections) },
  { title: "MEMORY", cell: ({ rss }) => formatBytes(rss) },
  {
    title: "SILENT",
    cell: (worker) =>
      `${formatSpan(worker.silent)}${isSilent(worker) ? " !" : "  "}`,
  },
];

function tableOf({ workers, generation }: Status): string[] {
  const mixed = workers.some((worker) => worker.generation !== generation);
  const shown = columns.filter((column) =>
    mixed || column !== generationColumn
  );
  const filled = shown.map(({ title, cell, words }) => {
    const cells = [title, ...workers.map(cell)];
    const width = Math.max(...cells.map(({ length }) => length));
    return cells.map((text) =>
      words ? text.padEnd(width) : text.padStart(width)
    );
  });
  return [-1, ...workers.keys()].map((row) =>
    filled.map((cells) => cells[row + 1] ?? "").join("  ").trimEnd()
  );
}

// ---- Units ----

const spans: readonly (readonly [string, number])[] = [
  ["d", 86_400],
  ["h", 3600],
  ["min", 60],
  ["s", 1],
];

/** Seconds as the two largest units that they fill: "2 d 3 h", "5 min". */
export function formatSpan(seconds: number): string {
  let rest = Math.floor(seconds);
  const parts: string[] = [];
  for (const [unit, size] of spans) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    // The unit below the largest one, and no further one.
    if (parts.length === 1) {
      return count === 0 ? `${parts[0]}` : `${parts[0]} ${count} ${unit}`;
    }
    if (count > 0) parts.push(`${count} ${unit}`);
  }
  return parts[0] ?? "0 s";
}

/** Bytes in decimal units: "48 MB", "1.2 GB"; "-" for none, which nobody has
 * told. */
export function formatBytes(bytes: number): string {
  if (bytes === 0) return "-";
  if (bytes < 999_500) return `${Math.round(bytes / 1000)} kB`;
  if (bytes < 999_500_000) return `${Math.round(bytes / 1e6)} MB`;
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

/** A count with commas: "1,234,567". */
export function formatCount(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}
