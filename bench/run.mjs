/**
 * The benchmark: Headgate, the runtime's own HTTP server and a bare socket
 * beside each other, on Deno, Bun and Node. bench/README.md tells the method.
 */
import { spawnSync } from "node:child_process";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import process from "node:process";
import { buildOrExit } from "../scripts/build.mjs";
import { missing } from "./contenders.mjs";
import { install, readOptions } from "./options.mjs";
import { hasCommand, pinned, root } from "./place.mjs";
import { document, machine, save, setting, workTable } from "./report.mjs";
import { measureWork } from "./throughput.mjs";

const { works, experiments, contenders, asked, build, ...options } =
  readOptions();
requireTools();
process.once("SIGINT", () => process.exit(130));
process.once("SIGTERM", () => process.exit(143));

const scratch = await mkdtemp(join(tmpdir(), "headgate-bench-"));
process.on("exit", () => spawnSync("rm", ["-rf", scratch]));

/** What is said on the way; standard output is kept for the document if that is
 * what was asked for. */
const say = options.markdown ? console.error : console.log;
let faults = 0;
/** What measurements are given: what was asked for, and where to complain. */
const bench = { options, contenders, asked, scratch, fault, say };

if (build) await buildOrExit();
await main();

async function main() {
  const report = {
    startedAt: new Date().toISOString(),
    machine: { ...machine(), pinned },
    options,
    notes: notes(),
    works: [],
    experiments: [],
    faults: [],
  };
  bench.report = report;
  say([setting(report), ...report.notes].join("\n"));
  for (const work of works) {
    const { name, title, megabytes, atOnce } = work;
    say(`\n### ${name}: ${title}\n`);
    const results = await measureWork(work, bench);
    const table = results.length > 0
      ? workTable({ megabytes, atOnce, results })
      : "";
    say(table);
    report.works.push({ name, title, megabytes, atOnce, results, table });
  }
  for (const { name, title, measure, table: draw } of experiments) {
    say(`\n### ${name}: ${title}\n`);
    const results = await measure(bench);
    const table = results.length > 0 ? draw(results) : "";
    say(table);
    report.experiments.push({ name, title, results, table });
  }
  const path = await save(join(root, "bench", "reports"), report);
  say(`\nEvery run: ${relative(root, path)}`);
  if (options.markdown) console.log(document(report));
  process.exit(faults > 0 ? 1 : 0);
}

/** What a reader of the figures should know. */
function notes() {
  const { load, cores } = machine();
  const found = [];
  if (load > cores / 4) {
    found.push(
      "The machine is at work already: requests/s will say little.",
    );
  }
  if (missing.length > 0) {
    found.push(
      `Left out, not installed: ${
        missing.join(", ")
      }. To have them: ${install}`,
    );
  }
  return found;
}

/** Something that was not measured or went wrong: said, kept in the report, and
 * told by the exit code. */
function fault(name, message) {
  faults++;
  bench.report.faults.push(`${name} ${message}`);
  say(`${name} ${message}\n`);
}

function requireTools() {
  if (process.platform !== "linux") {
    console.error("The benchmark reads /proc, so it needs Linux.");
    process.exit(1);
  }
  if (hasCommand("wrk")) return;
  console.error(
    "The benchmark needs wrk. On Debian or Ubuntu:\n\n    sudo apt-get install wrk",
  );
  process.exit(1);
}
