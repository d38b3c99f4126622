/**
 * The benchmark: Headgate, the runtime's own HTTP server and a bare socket
 * beside each other, on Deno, Bun and Node. bench/README.md tells the method.
 */
import { Buffer } from "node:buffer";
import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildOrExit } from "../scripts/build.mjs";
import { checkAnswers } from "./answer.mjs";
import { contenders } from "./contenders.mjs";
import { machine, save, sumUp, table } from "./report.mjs";
import { Server } from "./server.mjs";
import { fixedAnswer, works } from "./works.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const usage = `npm run bench -- [options] [filter ...]

A filter is a work (${works.map((work) => work.name).join(", ")}),
a runtime (deno, bun, node), a kind (headgate, native, ceiling), or a server
such as deno/native. Filters of one sort add up; sorts narrow each other.

  --runs N         timed runs of each server at each work (5)
  --seconds N      length of a run (2)
  --warmup N       seconds before the first run, not timed (1)
  --connections N  kept open at once (64)
  --no-build       measure dist/ as it is
`;

const options = readOptions();
requireTools();
const pinned = hasCommand("taskset") && cpus().length > 1;
const onCore = (core) => pinned ? ["taskset", "-c", String(core)] : [];
process.once("SIGINT", () => process.exit(130));
process.once("SIGTERM", () => process.exit(143));

const scratch = await mkdtemp(join(tmpdir(), "headgate-bench-"));
process.on("exit", () => spawnSync("rm", ["-rf", scratch]));
let faults = 0;
if (options.build) await buildOrExit();
await main();

async function main() {
  const { runs, seconds, warmup, connections } = options;
  const report = {
    startedAt: new Date().toISOString(),
    machine: { ...machine(), pinned },
    options: { runs, seconds, warmup, connections },
    works: [],
  };
  announce(report.machine);
  for (const work of options.works) {
    console.log(`\n### ${work.name}: ${work.title}\n`);
    const results = await measure(work);
    if (results.length > 0) console.log(table(results));
    report.works.push({ name: work.name, title: work.title, results });
  }
  const path = await save(join(root, "bench", "reports"), report);
  console.log(`\nEvery run: ${relative(root, path)}`);
  await rm(scratch, { recursive: true });
  process.exit(faults > 0 ? 1 : 0);
}

function announce({ cpu, cores, kernel, load, versions }) {
  const { runs, seconds, connections } = options;
  console.log(
    `${cpu}, ${cores} cores, Linux ${kernel}, load ${load.toFixed(2)}\n` +
      Object.entries(versions).map(([name, of]) => `${name} ${of}`).join(", ") +
      `\n${runs} runs of ${seconds} s, ${connections} connections, ` +
      (pinned ? "server on core 0, wrk on core 1" : "not pinned to cores"),
  );
  if (load > cores / 4) {
    console.log("The machine is at work already: requests/s will say little.");
  }
}

/** All servers at one work. Their runs alternate, so that what else the machine
 * does meanwhile falls on all of them alike. */
async function measure(work) {
  const requestFile = join(scratch, `${work.name}.request`);
  const answerFile = join(scratch, `${work.name}.answer`);
  const { request, atOnce, answer } = work;
  await writeFile(requestFile, Buffer.concat(Array(atOnce).fill(request)));
  await writeFile(answerFile, fixedAnswer(answer));
  const entrants = [];
  try {
    for (const contender of options.contenders) {
      const server = await enter(contender, work, answerFile);
      if (server === undefined) continue;
      entrants.push({ contender, server, runs: [] });
      if (options.warmup > 0) await load(server, requestFile, options.warmup);
    }
    for (let run = 0; run < options.runs; run++) {
      for (const { server, runs } of entrants) {
        runs.push(await timedRun(server, requestFile));
      }
    }
    return entrants.map(
      ({ contender: { name, runtime, kind }, server, runs }) => {
        const result = sumUp(runs, server.peakMemory());
        if (result.failures > 0) {
          fault(name, `${result.failures} failed requests`);
        }
        return { runtime, kind, ...result };
      },
    );
  } finally {
    await Promise.all(entrants.map(({ server }) => server.stop()));
  }
}

/** Starts a server and compares its answers; undefined if it is not fit. */
async function enter(contender, work, answerFile) {
  let server;
  try {
    server = await Server.start(
      onCore(0),
      (port) => contender.command(port, work, answerFile),
      root,
    );
    await checkAnswers(server.port, work);
    return server;
  } catch (error) {
    fault(contender.name, error.message);
    await server?.stop();
    return undefined;
  }
}

async function timedRun(server, requestFile) {
  const cpuBefore = server.cpuSeconds();
  const counted = await load(server, requestFile, options.seconds);
  const cpuSeconds = server.cpuSeconds() - cpuBefore;
  const elapsed = counted.elapsedUs / 1e6;
  return {
    requestsPerSecond: counted.requests / elapsed,
    cpuMicroseconds: cpuSeconds * 1e6 / counted.requests,
    busy: cpuSeconds / elapsed,
    p50Us: counted.p50Us,
    p99Us: counted.p99Us,
    failures: counted.failures + counted.refused,
  };
}

/** Lets wrk send for so many seconds; what it counted. */
function load(server, requestFile, seconds) {
  const [file, ...args] = [
    ...onCore(1),
    "wrk",
    "--threads=1",
    `--connections=${options.connections}`,
    `--duration=${seconds}s`,
    "--timeout=10s",
    `--script=${join(root, "bench", "replay.lua")}`,
    `http://127.0.0.1:${server.port}/`,
  ];
  const wrk = spawn(file, args, {
    env: { ...process.env, BENCH_REQUEST: requestFile },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: (seconds + 30) * 1000,
    killSignal: "SIGKILL",
  });
  process.once("exit", kill);
  let output = "";
  for (const stream of [wrk.stdout, wrk.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => output += text);
  }
  return new Promise((resolve, reject) => {
    wrk.on("error", reject);
    wrk.on("close", () => {
      process.off("exit", kill);
      const counted = /^COUNTED (.*)$/m.exec(output)?.[1];
      if (counted === undefined) reject(new Error(`wrk failed:\n${output}`));
      else resolve(JSON.parse(counted));
    });
  });
  function kill() {
    wrk.kill("SIGKILL");
  }
}

function fault(name, message) {
  faults++;
  console.log(`${name} ${message}\n`);
}

function readOptions() {
  let parsed;
  try {
    parsed = parseArgs({
      allowPositionals: true,
      options: {
        runs: { type: "string", default: "5" },
        seconds: { type: "string", default: "2" },
        warmup: { type: "string", default: "1" },
        connections: { type: "string", default: "64" },
        "no-build": { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    refuse(error.message);
  }
  const { values, positionals } = parsed;
  if (values.help) {
    console.log(usage);
    process.exit(0);
  }
  const whole = (name, least, most) => {
    const number = Number(values[name]);
    if (Number.isInteger(number) && number >= least && number <= most) {
      return number;
    }
    refuse(`--${name} must be a whole number from ${least} to ${most}`);
  };
  return {
    runs: whole("runs", 1, 100),
    seconds: whole("seconds", 1, 60),
    warmup: whole("warmup", 0, 60),
    connections: whole("connections", 1, 1000),
    build: !values["no-build"],
    ...select(positionals),
  };
}

/** The works and contenders that the filters leave. */
function select(filters) {
  const unknown = new Set(filters);
  const narrow = (items, key) => {
    const named = items.filter((item) => filters.includes(key(item)));
    for (const item of named) unknown.delete(key(item));
    return named.length > 0 ? named : items;
  };
  let left = contenders;
  for (const key of ["runtime", "kind", "name"]) {
    left = narrow(left, (contender) => contender[key]);
  }
  const selected = narrow(works, (work) => work.name);
  if (unknown.size > 0) refuse(`Unknown filter: ${[...unknown].join(", ")}`);
  return { works: selected, contenders: left };
}

function refuse(message) {
  console.error(`${message}\n\n${usage}`);
  process.exit(2);
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

function hasCommand(name) {
  return spawnSync(name, ["--version"]).error === undefined;
}
