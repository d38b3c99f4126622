/** From single runs to tables in Markdown and a JSON file. */
import { mkdir, writeFile } from "node:fs/promises";
import { cpus, loadavg, release } from "node:os";
import { join } from "node:path";
import { peerVersions, versions } from "./contenders.mjs";

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

/** What the servers of a work are compared with: a column each. */
const usualRivals = [
  { of: "native", key: "requestsPerSecond", role: "native" },
  { of: "ceiling", key: "requestsPerSecond", role: "ceiling" },
  { of: "native", title: "CPU", key: "cpuMicroseconds", role: "native" },
  { of: "native", title: "p99", key: "p99Us", role: "native" },
];
const rivalsOfTheLog = [
  { of: "log off", key: "requestsPerSecond", role: "headgate" },
  { of: "log off", title: "CPU", key: "cpuMicroseconds", role: "headgate" },
  { of: "log off", title: "p99", key: "p99Us", role: "headgate" },
];

/** The results of one work as a table in Markdown. What wrk says of the time of
 * requests that were sent at once is left out: it does not know when each was
 * due. */
export function workTable({ megabytes, atOnce, results }) {
  const logs = results.some(({ role }) => role === "logged");
  const timed = atOnce === 1;
  const rivals = (logs ? rivalsOfTheLog : usualRivals)
    .filter(({ key }) => timed || key !== "p99Us");
  const unit = megabytes === undefined ? "request" : "MB";
  const each = megabytes ?? 1;
  const columns = [
    "server",
    megabytes === undefined ? "requests/s" : "MB/s",
    "spread",
    "busy",
    `CPU µs/${unit}`,
    ...(timed ? ["p99 ms"] : []),
    "peak RSS MB",
    ...rivals.map(({ title, of }) => [title, "of", of].join(" ").trim()),
  ];
  const rows = results.map((result) => [
    `${result.runtime} ${result.label}`,
    count(result.requestsPerSecond * each),
    `±${percent(result.spread)}`,
    percent(result.busy),
    (result.cpuMicroseconds / each).toFixed(1),
    ...(timed ? [(result.p99Us / 1000).toFixed(2)] : []),
    (result.peakMemory / 1e6).toFixed(0),
    ...rivals.map(({ key, role }) => {
      const rival = results.find((other) =>
        other !== result && other.runtime === result.runtime &&
        other.role === role
      );
      return ratio(result[key], rival?.[key]);
    }),
  ]);
  return markdown([columns, ...rows]);
}

const runtimes = ["node", "bun", "deno"];

/** Headgate's requests per second as a share of what they are held against: a
 * row for each work. */
export function ratioTable(works) {
  const cell = ({ name, results }, runtime) => {
    const rate = (wanted) =>
      results.find(({ role, ...one }) =>
        role === wanted && one.runtime === runtime
      )?.requestsPerSecond;
    return name === "access-log"
      ? ratio(rate("logged"), rate("headgate"))
      : ratio(rate("headgate"), rate("native"));
  };
  return markdown([
    ["work", ...runtimes],
    ...works.map((work) => [
      work.title,
      ...runtimes.map((runtime) => cell(work, runtime)),
    ]),
  ]);
}

/** A count, with separators; nothing for none. */
export function count(number) {
  return number === undefined ? "" : Math.round(number).toLocaleString("en");
}

function percent(share) {
  return `${Math.round(share * 100)} %`;
}

/** How often the one is in the other; nothing where one is not known. */
export function ratio(one, other) {
  if (one === undefined || other === undefined) return "";
  return (one / other).toFixed(2);
}

/** A table. The first column is text, the others are numbers. */
export function markdown(rows) {
  const widths = rows[0].map((_, column) =>
    Math.max(3, ...rows.map((row) => row[column].length))
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
    versions: { ...versions, ...peerVersions },
  };
}

/** The machine and the method in words. */
export function setting({ machine, options, startedAt }) {
  const { cpu, cores, kernel, load, versions, pinned } = machine;
  const { runs, seconds, connections } = options;
  return [
    `${startedAt.slice(0, 10)}; ${cpu}, ${cores} cores, Linux ${kernel}, ` +
    `load ${load.toFixed(2)};`,
    `${Object.entries(versions).map((pair) => pair.join(" ")).join(", ")};`,
    `${runs} runs of ${seconds} s, ${connections} connections,`,
    `${pinned ? "server on core 0, load on core 1" : "not pinned to cores"}.`,
  ].join("\n");
}

/** A whole report as the part of a README. */
export function document(report) {
  const { works, experiments, notes, faults } = report;
  const parts = [setting(report), ...notes];
  if (faults.length > 0) {
    parts.push(faults.map((fault) => `- ${fault}`).join("\n"));
  }
  if (works.length > 0) {
    parts.push(
      "### Headgate's requests/s against the native server's",
      ratioTable(works),
    );
  }
  for (const { name, title, table } of [...works, ...experiments]) {
    parts.push(`### ${name}: ${title}`, table);
  }
  return parts.join("\n\n");
}

/** Writes the report and returns its path. */
export async function save(directory, report) {
  await mkdir(directory, { recursive: true });
  const stamp = report.startedAt.replaceAll(/[:.]/g, "-");
  const path = join(directory, `${stamp}.json`);
  await writeFile(path, `${JSON.stringify(report, null, 2)}\n`);
  return path;
}
