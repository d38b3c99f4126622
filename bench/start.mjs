/** From the start of a process to its first answer: what a user waits for. */
import { connect } from "node:net";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { asServer, root } from "./place.mjs";
import { markdown, median, ratio } from "./report.mjs";
import { Server } from "./server.mjs";

export const name = "start";
export const title = "from the start of a process to its first answer";

const leastStarts = 9;
const deadlineMs = 20_000;
const roles = ["headgate", "native"];

/** What a checkout runs on Bun and Deno, and what the package has for all. */
const source = "mod.ts";
const program = "dist/cli.js";
const request = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

export async function measure({ contenders, options, fault }) {
  const starts = Math.max(leastStarts, options.runs);
  const entrants = contenders
    .filter(({ role }) => roles.includes(role))
    .flatMap(waysToStart)
    .map((contender) => ({ contender, runs: [], failed: false }));
  // The first fills the caches of the runtimes and of the disk.
  for (let run = -1; run < starts; run++) {
    for (const entrant of entrants) {
      if (entrant.failed) continue;
      try {
        const timed = await timedStart(entrant.contender);
        if (run >= 0) entrant.runs.push(timed);
      } catch (error) {
        entrant.failed = true;
        fault(entrant.contender.name, error.message);
      }
    }
  }
  return entrants.filter(({ failed }) => !failed).map(
    ({ contender: { runtime, kind, role, label }, runs }) => {
      const times = runs.map((run) => run.elapsedMs);
      return {
        runtime,
        kind,
        role,
        label,
        elapsedMs: median(times),
        leastMs: Math.min(...times),
        mostMs: Math.max(...times),
        cpuMs: median(runs.map((run) => run.cpuMs)),
        runs,
      };
    },
  );
}

/** Headgate is started from its source where the runtime reads it, and as the
 * program of the package; another server in its one way. */
function waysToStart(contender) {
  const { role, label, command } = contender;
  if (role !== "headgate") return [contender];
  const started = (entry) => ({
    ...contender,
    label: `${label}, ${entry}`,
    command: (...args) =>
      command(...args).map((arg) => arg === source ? entry : arg),
  });
  const readsSource = command(0).includes(source);
  return [...(readsSource ? [started(source)] : []), started(program)];
}

async function timedStart(contender) {
  let begun;
  const server = await Server.spawn(asServer, (port) => {
    begun = performance.now();
    return contender.command(port, { bare: true });
  }, root);
  try {
    await firstAnswer(server, begun + deadlineMs);
    const elapsedMs = performance.now() - begun;
    return { elapsedMs, cpuMs: server.cpuNanoseconds() / 1e6 };
  } finally {
    await server.stop();
  }
}

/** Asks again and again until there is an answer. */
async function firstAnswer(server, deadline) {
  while (!(await answers(server.port))) {
    if (!server.runs) {
      throw new Error(`does not start\n${server.complaint}`.trim());
    }
    if (performance.now() > deadline) throw new Error("does not answer");
    await sleep(1);
  }
}

function answers(port) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(request));
    socket.setTimeout(deadlineMs, () => socket.destroy());
    socket.on("error", () => {});
    socket.on("close", () => resolve(false));
    socket.once("data", (bytes) => {
      const line = bytes.toString("latin1").split("\r\n", 1)[0];
      if (line.startsWith("HTTP/1.1 200 ")) resolve(true);
      else reject(new Error(`answers "${line}"`));
      socket.destroy();
    });
  });
}

const columns = [
  "server",
  "ms",
  "least",
  "most",
  "CPU ms",
  "of native",
  "CPU of native",
];

export function table(results) {
  const rows = results.map((result) => {
    const native = results.find((other) =>
      other !== result && other.runtime === result.runtime &&
      other.role === "native"
    );
    const { runtime, label, elapsedMs, leastMs, mostMs, cpuMs } = result;
    return [
      `${runtime} ${label}`,
      elapsedMs.toFixed(0),
      leastMs.toFixed(0),
      mostMs.toFixed(0),
      cpuMs.toFixed(0),
      ratio(elapsedMs, native?.elapsedMs),
      ratio(cpuMs, native?.cpuMs),
    ];
  });
  return markdown([columns, ...rows]);
}
