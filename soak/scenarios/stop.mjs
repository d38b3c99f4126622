/** SIGTERM under load: whose request was sent before gets its answer. */
import { setTimeout as sleep } from "node:timers/promises";
import { Load, usualClients } from "../load.mjs";
import { connectionsTo, signal } from "../processes.mjs";
import { graceSeconds } from "../programs.mjs";

export const name = "stop";
export const title = "5 times SIGTERM to the server under load";
export const peers = ["gunicorn"];
const times = 5;
const loadMs = 2_000;
/** Clients go on so long after the signal. */
const afterMs = 500;

/** Some requests take long, so that the server has something to end. */
const clients = [
  ...usualClients,
  { count: 4, keep: true, ms: 1_500 },
  { count: 4, keep: false, ms: 1_500 },
];

export async function measure(stage) {
  const rounds = [];
  for (let n = 0; n < times; n++) rounds.push(await round(stage));
  const sum = (key) => rounds.reduce((all, round) => all + round[key], 0);
  const slowest = Math.max(...rounds.map(({ endMs }) => endMs));
  const killed = sum("killed");
  return {
    rounds,
    checks: [
      {
        what: "sent before SIGTERM and not answered",
        figure: sum("lost"),
        detail: `of ${sum("sent")}: ${words(rounds, "lostHow")}`,
        goal: "0",
        met: sum("lost") === 0,
      },
      {
        what: "of these not accepted yet at SIGTERM",
        figure: sum("queuedLost"),
        detail: `of ${sum("queued")}`,
        goal: "0",
        met: sum("queuedLost") === 0,
      },
      {
        what: "sent after SIGTERM and not answered",
        figure: sum("lateLost"),
        detail: `of ${sum("late")}: ${words(rounds, "lateHow")}`,
        goal: "any",
      },
      {
        what: "the longest end, seconds",
        figure: (slowest / 1000).toFixed(2),
        detail: killed > 0 ? `${killed} processes stay` : "",
        goal: `${graceSeconds} or less, none stays`,
        met: slowest <= graceSeconds * 1000 && killed === 0,
      },
      {
        what: "exit codes",
        figure: [...new Set(rounds.map(({ code }) => code))].join(" "),
        goal: "0",
        met: rounds.every(({ code }) => code === 0),
      },
    ],
  };
}

async function round(stage) {
  const program = await stage.start();
  const load = new Load(program.port, clients);
  await sleep(loadMs);
  const { arbiter } = program;
  // What is read takes a moment, in which the server accepts and answers; our
  // own account is taken afterwards, at the signal.
  const queue = connectionsTo(program.port);
  const before = load.underWay();
  const failedBefore = load.tally.failed;
  const requestsBefore = load.tally.requests;
  signal(arbiter, "SIGTERM");
  const ending = program.gone();
  await sleep(afterMs);
  const tally = await load.stop();
  const end = await ending;
  const queued = before.filter(({ connection }) => queue.get(connection) === 0);
  const lost = before.filter(({ fault }) => fault !== undefined);
  const lateLost = tally.failed - failedBefore - lost.length;
  return {
    sent: before.length,
    lost: lost.length + failedBefore,
    lostHow: lost.map(({ fault, crossed }) => crossed ? "crossed" : fault),
    queued: queued.length,
    queuedLost: queued.filter(({ fault }) => fault !== undefined).length,
    late: tally.requests - requestsBefore - before.length,
    lateLost,
    lateHow: lateFaults(tally, before),
    endMs: end.ms,
    code: end.code,
    killed: end.killed,
    failures: tally.failures,
  };
}

/** The faults of requests that came after; of the first that are kept. */
function lateFaults({ failures }, before) {
  const known = new Set(before.map(({ request }) => request.id));
  return failures.filter(({ id }) => !known.has(id)).map(({ fault }) => fault);
}

function words(rounds, key) {
  const counts = new Map();
  for (const fault of rounds.flatMap((round) => round[key])) {
    counts.set(fault, (counts.get(fault) ?? 0) + 1);
  }
  return [...counts].map(([fault, times]) => `${times} ${fault}`).join(" ") ||
    "none";
}
