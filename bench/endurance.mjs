/** Whether memory grows with the requests that were served. */
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "./load.mjs";
import { count, markdown } from "./report.mjs";
import { enter, writeFiles } from "./throughput.mjs";
import { works } from "./works.mjs";

export const name = "endurance";
export const title = "memory, request by request";

const steps = 10;
/** A step that takes longer has failed: a thousand requests a second is less
 * than any server does. */
const slowest = 1_000;
const roles = ["headgate"];
/** What is there to do something else. */
const otherWork = ["logged", "light", "ceiling"];
const work = works.find(({ name }) => name === "pipelined");

/** Growth from the first half of the steps to the second that is called so:
 * less comes of where a collector happens to stand. */
const tolerance = { bytes: 4e6, share: 0.05 };

export async function measure(bench) {
  const { requestFile } = await writeFiles(work, bench.scratch);
  // Only Headgate, unless others are asked for by their names.
  const asked = bench.asked.length > 0 ? bench.asked : roles;
  const results = [];
  for (const contender of bench.contenders) {
    if (otherWork.includes(contender.role)) continue;
    if (!asked.includes(contender.kind) && !asked.includes(contender.name)) {
      continue;
    }
    const server = await enter(contender, { work, bench });
    if (server === undefined) continue;
    try {
      results.push(await watch(server, contender, { requestFile, bench }));
    } catch (error) {
      bench.fault(contender.name, error.message);
    } finally {
      await server.stop();
    }
  }
  return results;
}

async function watch(server, contender, { requestFile, bench }) {
  const { connections, requests } = bench.options;
  const { runtime, kind, role, label } = contender;
  const client = new Client("pipeline", [
    server.port,
    requestFile,
    work.atOnce,
    connections,
  ]);
  const each = Math.round(requests * 1e6 / steps);
  const memory = [];
  let elapsedMs = 0;
  try {
    for (let step = 0; step < steps; step++) {
      const seconds = 30 + each / slowest;
      const done = await client.ask({ requests: each }, { seconds });
      elapsedMs += done.elapsedMs;
      await sleep(500);
      memory.push(server.memory());
    }
  } finally {
    await client.stop();
  }
  return {
    runtime,
    kind,
    role,
    label,
    requestsPerStep: each,
    requestsPerSecond: each * steps / (elapsedMs / 1000),
    memory,
    peakMemory: server.peakMemory(),
    ...judge(memory),
  };
}

/** The most of the second half against the most of the first. */
function judge(memory) {
  const first = Math.max(...memory.slice(0, memory.length / 2));
  const second = Math.max(...memory.slice(memory.length / 2));
  const growth = second - first;
  const grows = growth > Math.max(tolerance.bytes, first * tolerance.share);
  return { growth, grows };
}

export function table(results) {
  if (results.length === 0) return "";
  const columns = [
    "RSS MB after",
    ...results.map(({ runtime, label }) => `${runtime} ${label}`),
  ];
  const rows = results[0].memory.map((_, step) => [
    `${count((step + 1) * results[0].requestsPerStep)} requests`,
    ...results.map(({ memory }) => (memory[step] / 1e6).toFixed(1)),
  ]);
  const tail = [
    ["first half to second", ({ growth }) => `${(growth / 1e6).toFixed(1)}`],
    ["grows", ({ grows }) => grows ? "yes" : "no"],
    ["requests/s", (result) => count(result.requestsPerSecond)],
  ].map(([title, cell]) => [title, ...results.map(cell)]);
  return markdown([columns, ...rows, ...tail]);
}
