/**
 * The soak: starts the real program on each runtime, loads it, breaks it, and
 * counts what its clients lose. soak/README.md tells the method.
 *
 *     npm run soak                    everything, about half an hour
 *     npm run soak -- reload deno     one scenario on one runtime
 *
 * Exits with 1 when a figure is missed.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { versions } from "../bench/contenders.mjs";
import { readOptions } from "../soak/options.mjs";
import { peers, Program, programs } from "../soak/programs.mjs";
import { programTable, requestTable } from "../soak/report.mjs";
import { prove } from "../soak/scenarios/proof.mjs";
import { buildOrExit } from "./build.mjs";

if (process.platform !== "linux") {
  console.error("The soak reads /proc, so it needs Linux.");
  process.exit(1);
}
const asked = readOptions();
const { options, chosen } = asked;
process.once("SIGINT", () => process.exit(130));
process.once("SIGTERM", () => process.exit(143));

const scratch = mkdtempSync(join(tmpdir(), "headgate-soak-"));
let missed = 0;
let keepScratch = false;
process.on("exit", () => {
  if (!keepScratch) spawnSync("rm", ["-rf", scratch]);
});

if (asked.build && asked.programs.includes("node")) await buildOrExit();
await main();

async function main() {
  const report = {
    startedAt: new Date().toISOString(),
    machine: {
      cpu: cpus()[0]?.model.trim() ?? "unknown",
      cores: cpus().length,
      kernel: release(),
      load: loadavg()[0],
      versions,
    },
    options,
    programs: {},
  };
  console.log(setting(report));
  if (chosen.some(({ name }) => name === "proof")) await proof(report);
  for (const name of asked.programs) {
    const results = await soak(name);
    if (results.length === 0) continue;
    report.programs[name] = results;
    console.log(`\n### ${name}\n\n${programTable(results)}`);
    const requests = requestTable(results);
    if (requests !== "") console.log(`\n${requests}`);
  }
  if (asked.json !== undefined) {
    writeFileSync(asked.json, `${JSON.stringify(report, null, 2)}\n`);
  }
  console.log(
    missed === 0 ? "\nEvery figure was reached." : `\nMissed: ${missed}`,
  );
  if (keepScratch) console.log(`Logs: ${scratch}`);
  process.exit(missed > 0 ? 1 : 0);
}

/** Nothing is believed of a client that does not see what is lost. */
async function proof(report) {
  const { table, results, proven } = await prove();
  report.proof = results;
  console.log(`\n### proof\n\n${table}`);
  if (!proven) missed++;
}

async function soak(name) {
  const peer = peers.includes(name);
  const scenarios = chosen.filter((scenario) =>
    scenario.measure !== undefined &&
    (!peer || scenario.peers?.includes(name)) &&
    (!peer || asked.asked.includes(name) || scenario.name === "boot")
  );
  if (scenarios.length === 0) return [];
  if (peer && !isInstalled(asked.paths[name])) {
    console.log(`\n${name} is not installed, and left out.`);
    return [];
  }
  const results = [];
  for (const scenario of scenarios) {
    const result = await measure(scenario, name);
    results.push(result);
    // What a peer loses is told and is no fault of ours.
    if (peer) continue;
    const bad = result.error === undefined
      ? result.checks.filter(({ met }) => met === false).length
      : 1;
    missed += bad;
    keepScratch ||= bad > 0;
  }
  return results;
}

/** Without starting it: pm2 would leave a daemon for its version. */
function isInstalled(name) {
  const script = 'command -v "$1"';
  return spawnSync("sh", ["-c", script, "sh", name]).status === 0;
}

async function measure(scenario, name) {
  const commands = programs(asked.paths).get(name);
  const stage = {
    options,
    commands,
    scratch,
    start: (how = {}) =>
      Program.start(commands, { scratch, workers: options.workers, ...how }),
  };
  console.error(`${name} ${scenario.name}: ${scenario.title}`);
  try {
    const { tally, ...found } = await scenario.measure(stage);
    return { scenario: scenario.name, ...found, tally: tally?.toJSON() };
  } catch (error) {
    console.error(error.stack);
    return { scenario: scenario.name, error: error.message };
  }
}

function setting({ startedAt, machine }) {
  const { cpu, cores, kernel, load, versions } = machine;
  return [
    `${startedAt.slice(0, 10)}; ${cpu}, ${cores} cores, Linux ${kernel}, ` +
    `load ${load.toFixed(2)};`,
    `${Object.entries(versions).map((pair) => pair.join(" ")).join(", ")};`,
    `${options.workers} workers, ${options.seconds} s of load.`,
  ].join("\n");
}
