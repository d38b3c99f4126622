/** What a second worker brings, where a processor is free for it. */
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { timedRun } from "../../bench/load.mjs";
import { hasCommand } from "../../bench/place.mjs";
import { count, median } from "../../bench/report.mjs";
import { machineSeconds } from "../processes.mjs";

export const name = "throughput";
export const title = "two workers against one";
const rounds = 5;
const seconds = 2;
const connections = 32;
const leastTimes = 1.7;
/** So much of the machine that others take makes a comparison void. */
const tolerated = 0.1;

/** The first is the application's work, of which the load takes almost nothing:
 * it tells what a worker brings. The second is the gateway's own, for which two
 * processors are too few, as the load wants one of them. */
const works = [
  { path: "/work", title: "1 ms of work", goal: true },
  { path: "/", title: "1,000 bytes at once", goal: false },
];

export async function measure(stage) {
  if (!hasCommand("wrk")) throw new Error("needs wrk");
  const checks = [];
  const runs = {};
  for (const work of works) {
    const pairs = runs[work.path] = await compare(stage, work);
    checks.push(...judge(work, pairs));
  }
  return { runs, checks };
}

async function compare(stage, { path }) {
  const requestFile = join(stage.scratch, "throughput.request");
  writeFileSync(
    requestFile,
    `GET ${path}?id=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`,
  );
  const how = { requestFile, connections, seconds };
  const one = await stage.start({ workers: 1 });
  const two = await stage.start({ workers: 2 });
  const pairs = [];
  try {
    for (const program of [one, two]) await measured(program, how);
    for (let round = 0; round < rounds; round++) {
      pairs.push({
        one: await measured(one, how),
        two: await measured(two, how),
      });
    }
  } finally {
    await one.stop();
    await two.stop();
  }
  return pairs;
}

/** A run, with the share of the machine that nobody used and that others did. */
async function measured(program, how) {
  const before = machineSeconds();
  const cpuBefore = program.cpuSeconds();
  const run = await timedRun(program, how);
  const after = machineSeconds();
  const cores = cpus().length;
  const all = (after.all - before.all) / cores;
  return {
    ...run,
    cores: (program.cpuSeconds() - cpuBefore) / all,
    idleCores: (after.idle - before.idle) / all,
  };
}

function judge({ title, goal }, pairs) {
  const rate = (key) =>
    median(pairs.map((pair) => pair[key].requestsPerSecond));
  const used = (key, what) => median(pairs.map((pair) => pair[key][what]));
  const times = median(
    pairs.map(({ one, two }) => two.requestsPerSecond / one.requestsPerSecond),
  );
  // The workers had no two cores, and none was idle: others took them.
  const taken = 2 - used("two", "cores") - used("two", "idleCores") > tolerated;
  const met = times >= leastTimes ? true : taken ? undefined : false;
  const failures = pairs.flatMap(({ one, two }) => [one, two])
    .reduce((sum, { failures }) => sum + failures, 0);
  return [
    {
      what: `${title}: two workers, of one`,
      figure: times.toFixed(2),
      detail: `${count(rate("two"))} of ${count(rate("one"))} requests/s; ` +
        `cores used ${used("two", "cores").toFixed(2)} and ` +
        `${used("one", "cores").toFixed(2)}, idle ` +
        `${used("two", "idleCores").toFixed(2)} with two` +
        (goal && met === undefined ? "; others took the rest: void" : ""),
      goal: goal ? `${leastTimes} or more` : "any",
      met: goal ? met : undefined,
    },
    ...(failures === 0 ? [] : [{
      what: `${title}: failed requests`,
      figure: failures,
      goal: "0",
      met: false,
    }]),
  ];
}
