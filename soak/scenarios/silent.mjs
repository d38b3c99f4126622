/** Whether those who send nothing, or little, hold up those who do. */
import { spawnSync } from "node:child_process";
import { cpus } from "node:os";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { asClient, asServer, pinned } from "../../bench/place.mjs";
import { median } from "../../bench/report.mjs";
import { Crowd } from "../crowd.mjs";
import { Load } from "../load.mjs";
import { machineSeconds } from "../processes.mjs";
import { instant } from "../requests.mjs";
import { faultsInWords } from "../tally.mjs";

export const name = "silent";
export const title = "1,000 silent connections and 100 slow senders";
export const peers = ["gunicorn", "pm2"];

const silent = 1_000;
const slow = 100;
const rounds = 7;
const runMs = 2_000;
const settleMs = 500;
const mostTimes = 1.5;
/** Where others have more of the cores than this, a figure that is missed says
 * nothing. */
const tolerated = 0.2;

/** Clients in no hurry, so that what is measured is not a queue of their own. */
const clients = [
  { count: 8, keep: true, pick: instant, pauseMs: 8 },
  { count: 4, keep: false, pick: instant, pauseMs: 8 },
];

export async function measure(stage) {
  keepTo(asClient);
  try {
    return await compare(stage);
  } finally {
    keepTo(["taskset", "-c", "0-1023"]);
  }
}

/** Binds all threads of this process to the processors that `pin` names. */
function keepTo([, , cores]) {
  if (!pinned) return;
  spawnSync("taskset", ["-a", "-p", "-c", cores, String(process.pid)]);
}

async function compare(stage) {
  const program = await stage.start({ pin: asServer });
  const runs = [];
  try {
    await timedRun(program); // Not counted: everything is loaded afterwards.
    for (let round = 0; round < rounds; round++) {
      const without = await timedRun(program);
      const crowd = new Crowd(program.port);
      let beside;
      try {
        await crowd.gather(silent, slow);
        await sleep(settleMs);
        beside = await timedRun(program);
        beside.crowd = crowd.size;
        beside.ended = crowd.ended;
      } finally {
        await crowd.scatter();
      }
      await sleep(settleMs);
      runs.push({ without, with: beside });
    }
  } finally {
    await program.stop();
  }
  return { runs, checks: judge(runs) };
}

/** A run, with the cores that neither the server nor we had, and that were not
 * idle. */
async function timedRun(program) {
  const before = accounts(program);
  const load = new Load(program.port, clients);
  await sleep(runMs);
  const tally = (await load.stop()).toJSON();
  const after = accounts(program);
  const seconds = (after.all - before.all) / cpus().length;
  return { ...tally, othersCores: (after.others - before.others) / seconds };
}

/** Processor time so far, in seconds: all there was, and what others used. */
function accounts(program) {
  const { all, idle } = machineSeconds();
  const { user, system } = process.cpuUsage();
  const ours = program.cpuSeconds() + (user + system) / 1e6;
  return { all, others: all - idle - ours };
}

function judge(runs) {
  // Where nothing was answered at all, the time was longer than the run.
  const time = ({ p99Ms = Infinity }) => p99Ms;
  const p99 = (key) => median(runs.map((run) => time(run[key])));
  const times = p99("with") / p99("without");
  const others = median(runs.map((run) => run.with.othersCores));
  const met = times <= mostTimes || (others > tolerated ? undefined : false);
  const all = runs.flatMap((run) => [run.with, run.without]);
  const failed = all.reduce((sum, { failed }) => sum + failed, 0);
  const least = Math.min(...runs.map((run) => run.with.crowd));
  return [
    {
      what: "p99 with them, of without (medians of runs)",
      figure: times.toFixed(2),
      detail:
        `${p99("with").toFixed(2)} ms of ${p99("without").toFixed(2)} ms` +
        (met === undefined
          ? `; others had ${others.toFixed(2)} cores: void`
          : ""),
      goal: `${mostTimes} or less`,
      met,
    },
    {
      what: "failed requests",
      figure: failed,
      detail: all.map(faultsInWords).join(" ").trim(),
      goal: "0",
      met: failed === 0,
    },
    {
      what: "slow or silent connections, the least",
      figure: least,
      detail: `${runs.at(-1).with.ended} of the last ended by the server`,
      goal: `${(silent + slow) * 0.9} or more`,
      met: least >= (silent + slow) * 0.9,
    },
  ];
}
