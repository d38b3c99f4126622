/** From the start to ready, and what it takes in memory. */
import { setTimeout as sleep } from "node:timers/promises";
import { median } from "../../bench/report.mjs";
import { Load } from "../load.mjs";
import { proportionalMemory } from "../processes.mjs";

export const name = "boot";
export const title = "from the start to ready, and memory";
export const peers = ["gunicorn", "pm2"];
const starts = 5;
const loadMs = 2_000;
const settleMs = 1_000;

export async function measure(stage) {
  const runs = [];
  let memory;
  // The first fills the caches of the runtimes and of the disk.
  for (let n = 0; n <= starts; n++) {
    const program = await stage.start();
    try {
      const { firstAnswerMs, readyMs } = program;
      if (n > 0) runs.push({ firstAnswerMs, readyMs });
      if (n === starts) memory = await memoryOf(program);
    } finally {
      await program.stop();
    }
  }
  const returned = stage.commands.restart ? await daemonStarts(stage) : [];
  const ms = (times) => {
    return {
      figure: median(times).toFixed(0),
      detail: `${Math.min(...times).toFixed(0)} to ` +
        `${Math.max(...times).toFixed(0)} in ${starts} starts`,
      goal: "any",
    };
  };
  const first = runs.map(({ firstAnswerMs }) => firstAnswerMs);
  const ready = runs.map(({ readyMs }) => readyMs);
  const { idle, loaded } = memory;
  return {
    runs,
    returned,
    memory,
    checks: [
      { what: "ms to the first answer", ...ms(first) },
      { what: "ms until every worker has answered", ...ms(ready) },
      ...(returned.length === 0
        ? []
        : [{ what: "ms until headgate start returns", ...ms(returned) }]),
      ...["worker", "arbiter", "launcher"]
        .filter((role) => idle[role] !== undefined)
        .map((role) => ({
          what: `MB (PSS) of ${role === "worker" ? "a worker" : `the ${role}`}`,
          figure: megabytes(loaded[role]),
          detail: `${megabytes(idle[role])} before the first load`,
          goal: "any",
        })),
      {
        what: "MB (PSS) in all",
        figure: megabytes(loaded.all),
        detail: `${megabytes(idle.all)} before the first load`,
        goal: "any",
      },
    ],
  };
}

/** How long `headgate start` takes, which waits until the workers serve. */
async function daemonStarts(stage) {
  const times = [];
  for (let n = 0; n < starts; n++) {
    const program = await stage.start({ daemon: true });
    times.push(program.returnedMs);
    await program.stop();
  }
  return times;
}

/** After the start, and again after two seconds of load. */
async function memoryOf(program) {
  await sleep(settleMs);
  const idle = await shares(program);
  const load = new Load(program.port);
  await sleep(loadMs);
  await load.stop();
  await sleep(settleMs);
  return { idle, loaded: await shares(program) };
}

/** The memory of a worker (the mean), of the others, and of all. */
async function shares(program) {
  const workers = await program.workers();
  const { arbiter, launcher } = program;
  const all = program.processes().map((pid) => [pid, proportionalMemory(pid)]);
  const of = (pids) => {
    const some = all.filter(([pid]) => pids.includes(pid));
    return some.length === 0
      ? undefined
      : some.reduce((sum, [, bytes]) => sum + bytes, 0) / some.length;
  };
  return {
    worker: of(workers),
    arbiter: of([arbiter]),
    launcher: launcher === arbiter ? undefined : of([launcher]),
    all: all.reduce((sum, [, bytes]) => sum + bytes, 0),
  };
}

function megabytes(bytes) {
  return (bytes / 1e6).toFixed(1);
}
