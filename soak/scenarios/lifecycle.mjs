/**
 * What may happen to a server while it serves, of which its clients must notice
 * nothing: reloads, other numbers of workers, new arbiters, workers that leave.
 */
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Load } from "../load.mjs";
import { graceSeconds } from "../programs.mjs";
import { signal } from "../processes.mjs";
import { faultsInWords } from "../tally.mjs";

/** In 20 seconds 50,000. A machine that is busy otherwise may take longer, but
 * not longer than so many times. */
const leastPerSecond = 2_500;
const longest = 3;
const times = 10;
const settleSeconds = 30;

/** Starts a server, loads it, lets `act` do its thing, and counts. `how` it is
 * started is for `Program.start`. */
export async function underLoad(stage, act, how) {
  const least = leastPerSecond * stage.options.seconds;
  const program = await stage.start(how);
  let checks;
  let tally;
  let seconds;
  try {
    const load = new Load(program.port);
    try {
      checks = await act(program, load);
      await reaches(load, stage, 1);
      seconds = load.seconds;
    } finally {
      tally = await load.stop();
    }
  } catch (error) {
    await program.stop();
    throw error;
  }
  const end = await program.stop();
  return {
    tally,
    checks: [
      {
        what: "failed requests",
        figure: tally.failed,
        detail: faultsInWords(tally),
        goal: "0",
        met: tally.failed === 0,
      },
      {
        what: "requests",
        figure: tally.requests,
        detail: `in ${seconds.toFixed(0)} s`,
        goal: `${least} or more`,
        met: tally.requests >= least,
      },
      ...checks,
      {
        what: "the end after SIGTERM, seconds",
        figure: (end.ms / 1000).toFixed(1),
        detail: end.killed > 0 ? `${end.killed} processes stay` : "",
        goal: `${graceSeconds} or less, none stays`,
        met: end.ms <= graceSeconds * 1000 && end.killed === 0,
      },
    ],
  };
}

/** Waits until so great a part of the load has been done: of the time and of
 * the requests, whichever is later. */
export async function reaches(load, { options: { seconds } }, part) {
  const least = leastPerSecond * seconds;
  while (
    Math.min(load.seconds / seconds, load.tally.requests / least) < part &&
    load.seconds / seconds / longest < part
  ) await sleep(10);
}

/** Does something so many times, evenly over the load; later where the time
 * before has not ended yet. */
export async function evenly(load, stage, times, act) {
  for (let n = 0; n < times; n++) {
    await reaches(load, stage, (n + 0.5) / times);
    await act(n);
  }
}

/** Waits until something is so; whether it came to be. */
export async function settled(condition) {
  const deadline = Date.now() + settleSeconds * 1000;
  while (!(await condition())) {
    if (Date.now() > deadline) return false;
    await sleep(100);
  }
  return true;
}

/** How often something was done, of how often it should have been. */
function done(what, figure, wanted) {
  return { what, figure, goal: String(wanted), met: figure === wanted };
}

export const reload = {
  name: "reload",
  title: "10 reloads by SIGHUP",
  peers: ["gunicorn", "pm2"],
  measure: (stage) =>
    underLoad(stage, async (program, load) => {
      const { workers } = stage.options;
      const first = new Set(await program.workers());
      await evenly(load, stage, times, async () => {
        const known = new Set(load.tally.pids.keys());
        await program.reload();
        await settled(() => strangers(load.tally, known) >= workers);
      });
      const renewed = await settled(async () => {
        const pids = await program.workers();
        return pids.length === workers && !pids.some((pid) => first.has(pid));
      });
      if (program.commands.status === undefined) {
        return [done("all workers are new at the end", renewed, true)];
      }
      const { generation } = await program.status();
      return [done("reloads", renewed ? generation - 1 : 0, times)];
    }),
};

/** How many processes have answered that had not. */
function strangers({ pids }, known) {
  return [...pids.keys()].filter((pid) => !known.has(pid)).length;
}

export const scale = {
  name: "scale",
  title: "to 2, 6, 1 and 4 workers, and so on, 10 times",
  peers: ["gunicorn", "pm2"],
  measure: (stage) =>
    underLoad(stage, async (program, load) => {
      const sizes = [2, 6, 1, 4];
      let last;
      await evenly(load, stage, times, async (n) => {
        last = sizes[n % sizes.length];
        await program.scale(last);
      });
      const reached = await settled(async () =>
        (await program.workers()).length === last
      );
      return [done("workers at the end", reached ? last : "other", last)];
    }),
};

/** A new arbiter takes over, again and again. */
function takeovers(program, load, stage, takeOver) {
  const wanted = 4;
  const arbiters = new Set([program.arbiter]);
  return evenly(load, stage, wanted, async () => {
    await takeOver(program.arbiter);
    arbiters.add(program.arbiter);
  }).then(() => [done("new arbiters", arbiters.size - 1, wanted)]);
}

function follows({ arbiter }, old) {
  return arbiter !== undefined && arbiter !== old;
}

export const usr2 = {
  name: "usr2",
  title: "4 times a new arbiter by SIGUSR2, then SIGTERM to the old one",
  measure: (stage) =>
    underLoad(stage, (program, load) => {
      const { commands } = program;
      const pidfile = commands.pidfile(program);
      const beside = `${pidfile}.2`;
      const serves = async () => {
        if (!existsSync(beside)) return false;
        const { workers, target } = await commands.statusOf(program, beside);
        return workers.filter(({ state }) => state === "serving").length ===
          target;
      };
      return takeovers(program, load, stage, async (old) => {
        signal(old, "SIGUSR2");
        if (!(await settled(() => serves().catch(() => false)))) return;
        signal(old, "SIGTERM");
        await settled(() => !existsSync(beside) && follows(program, old));
      });
    }),
};

export const restart = {
  name: "restart",
  title: "4 times headgate restart, after headgate start",
  measure: (stage) =>
    underLoad(
      stage,
      (program, load) =>
        takeovers(program, load, stage, async (old) => {
          await program.commands.restart(program);
          await settled(() => follows(program, old));
        }),
      { daemon: true },
    ),
};

export const term = {
  name: "term",
  title: "10 times SIGTERM to a worker",
  peers: ["gunicorn"],
  measure: (stage) =>
    underLoad(stage, async (program, load) => {
      const { workers } = stage.options;
      let replaced = 0;
      await evenly(load, stage, times, async (n) => {
        const pids = await program.workers();
        const pid = pids[n % pids.length];
        signal(pid, "SIGTERM");
        const fresh = await settled(async () => {
          const now = await program.workers();
          return now.length === workers && !now.includes(pid);
        });
        if (fresh) replaced++;
      });
      return [done("workers replaced", replaced, times)];
    }),
};
