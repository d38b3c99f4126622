/** From single runs to a table and a JSON file. */
import { mkdir, writeFile } from "node:fs/promises";
import { cpus, loadavg, release } from "node:os";
import { join } from "node:path";
import { versions } from "./contenders.mjs";

/** What the runs of one server at one work come to. */
export function sumUp(runs, peakMemory) {
  const rates = runs.map((run) => run.requestsPerSecond);
  const requestsPerSecond = median(rates);
  return {
    requestsPerSecond,
    // Half the way from the worst run to the best, as a share of the median.
    spread: (Math.max(...rates) - Math.min(...rates)) / 2 / requestsPerSecond,
    cpuMicroseconds: median(runs.map((run) => run.cpuMicroseconds)),
    busy: median(runs.map((run) => run.busy)),
    p99Us: median(runs.map((run) => run.p99Us)),
    failures: runs.reduce((sum, run) => sum + run.failures, 0),
    peakMemory,
    runs,
  };
}

export function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? sorted[middle]
    : (sorted[middle - 1] + sorted[middle]) / 2;
}

const columns = [
  "server",
  "requests/s",
  "spread",
  "busy",
  "CPU µs/request",
  "p99 ms",
  "peak RSS MB",
  "of native",
  "of ceiling",
  "CPU of native",
];

/** The results of one work as a table in Markdown. */
export function table(results) {
  const rows = results.map((result) => {
    const beside = (kind) =>
      results.find((other) =>
        other.runtime === result.runtime && other.kind === kind
      );
    return [
      `${result.runtime} ${result.kind}`,
      Math.round(result.requestsPerSecond).toLocaleString("en"),
      `±${percent(result.spread)}`,
      percent(result.busy),
      result.cpuMicroseconds.toFixed(1),
      (result.p99Us / 1000).toFixed(1),
      (result.peakMemory / 1e6).toFixed(0),
      ratio("requestsPerSecond", result, beside("native")),
      ratio("requestsPerSecond", result, beside("ceiling")),
      ratio("cpuMicroseconds", result, beside("native")),
    ];
  });
  return markdown([columns, ...rows]);
}

function percent(share) {
  return `${Math.round(share * 100)} %`;
}

function ratio(key, result, other) {
  if (other === undefined || other === result) return "";
  return (result[key] / other[key]).toFixed(2);
}

/** The first column is text, the others are numbers. */
function markdown(rows) {
  const widths = rows[0].map((_, column) =>
    Math.max(...rows.map((row) => row[column].length))
  );
  const line = (cells) => `| ${cells.join(" | ")} |`;
  const lines = rows.map((row) =>
    line(
      row.map((cell, column) =>
        column === 0
          ? cell.padEnd(widths[column])
          : cell.padStart(widths[column])
      ),
    )
  );
  const rule = line(
    widths.map((width, column) =>
      column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`
    ),
  );
  return [lines[0], rule, ...lines.slice(1)].join("\n");
}

/** The machine and what ran on it: figures mean nothing without. */
export function machine() {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    kernel: release(),
    load: loadavg()[0],
    versions,
  };
}

/** Writes the report and returns its path. */
export async function save(directory, report) {
  await mkdir(directory, { recursive: true });
  const stamp = report.startedAt.replaceAll(/[:.]/g, "-");
  const path = join(directory, `${stamp}.json`);
  await writeFile(path, `${JSON.stringify(report, null, 2)}\n`);
  return path;
}
