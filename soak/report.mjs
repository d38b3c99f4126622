/** From what was found to tables in Markdown. */
import { markdown } from "../bench/report.mjs";

const columns = ["scenario", "found", "figure", "goal", "met", "more"];

/** The table of one program. */
export function programTable(results) {
  const rows = results.flatMap(({ scenario, checks, error }) =>
    error === undefined
      ? checks.map((check, index) => [
        index === 0 ? scenario : "",
        check.what,
        String(check.figure),
        check.goal,
        verdict(check),
        check.detail ?? "",
      ])
      : [[scenario, "not measured", "", "", "NO", firstLine(error)]]
  );
  return markdown([columns, ...rows]);
}

function verdict({ goal, met }) {
  if (met === undefined) return goal === "any" ? "" : "?";
  return met ? "yes" : "NO";
}

/** What became of requests, scenario by scenario: for those that have a tally. */
export function requestTable(results) {
  const counted = results.filter(({ tally }) => tally !== undefined);
  if (counted.length === 0) return "";
  const rows = counted.map(({ scenario, tally }) => [
    scenario,
    ...[
      tally.requests,
      tally.failed,
      tally.crossed,
      tally.connections,
      tally.announced,
      tally.closedIdle,
      tally.processes,
    ].map((count) => count.toLocaleString("en")),
    ...[tally.p50Ms, tally.p99Ms, tally.longestMs].map((ms) =>
      ms === undefined ? "" : ms.toFixed(1)
    ),
  ]);
  return markdown([requestColumns, ...rows]);
}

const requestColumns = [
  "scenario",
  "requests",
  "failed",
  "crossed",
  "connections",
  "announced",
  "closed idle",
  "processes",
  "p50 ms",
  "p99 ms",
  "longest ms",
];

function firstLine(text) {
  return text.split("\n", 1)[0];
}
