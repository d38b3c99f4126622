/**
 * What ten thousand connections cost that have made a request and wait: memory,
 * and the speed at which others are served meanwhile.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Client, load, timedRun } from "./load.mjs";
import { holding } from "./place.mjs";
import { count, markdown, median, ratio, sumUp } from "./report.mjs";
import { enter, writeFiles } from "./throughput.mjs";
import { works } from "./works.mjs";

export const name = "idle";
export const title = "kept connections that wait";

/** Beside them, what a process has open at any time, and the load. */
const otherFiles = 1_500;
/** So long that none is closed while we measure. */
const needs = { keepAlive: 240 };
const openSeconds = 60;
const roles = ["headgate", "native"];
const [work] = works; // A small GET.

export async function measure(bench) {
  const { idle } = bench.options;
  const prefix = holding(idle + otherFiles);
  if (prefix === undefined) {
    bench.fault(
      name,
      `needs ${idle + otherFiles} open files in a process, which this system ` +
        "does not allow: see `ulimit -Hn`, or ask for fewer with --idle",
    );
    return [];
  }
  const files = await writeFiles(work, bench.scratch);
  const { connections } = bench.options;
  const scene = { bench, prefix, how: { ...files, connections } };
  const contenders = bench.contenders.filter((one) => roles.includes(one.role));
  const memory = await measureMemory(contenders, scene);
  const results = [];
  for (const runtime of new Set(contenders.map((one) => one.runtime))) {
    const some = contenders.filter((one) => one.runtime === runtime);
    results.push(...await measureSpeed(some, scene));
  }
  return results.map((result) => ({
    ...result,
    connections: idle,
    bytesPerConnection: memory.get(`${result.runtime}/${result.kind}`),
  }));
}

/** Bytes for each connection, by the name of the server: the median of a start
 * for each run, and all of them. */
async function measureMemory(contenders, scene) {
  const { idle, runs } = scene.bench.options;
  const measured = new Map(contenders.map(({ name }) => [name, []]));
  for (let run = 0; run < runs; run++) {
    for (const contender of contenders) {
      await withServer(contender, scene, async (server) => {
        const before = await settledMemory(server);
        await withIdle(server, contender, scene, async () => {
          const after = await settledMemory(server);
          measured.get(contender.name).push((after - before) / idle);
        });
      });
    }
  }
  return new Map(
    [...measured].filter(([, bytes]) => bytes.length > 0)
      .map(([name, bytes]) => [name, { median: median(bytes), runs: bytes }]),
  );
}

/** The servers of one runtime, each with idle connections and without: four
 * processes whose runs alternate. */
async function measureSpeed(contenders, scene) {
  const { options: { runs, seconds }, fault } = scene.bench;
  const how = { ...scene.how, seconds };
  const pairs = [];
  const gather = async ([contender, ...others]) => {
    if (contender === undefined) return await takeTurns();
    await withServer(contender, scene, async (without) => {
      await withServer(contender, scene, async (crowded) => {
        await withIdle(crowded, contender, scene, async () => {
          pairs.push({
            contender,
            without: { server: without, runs: [] },
            crowded: { server: crowded, runs: [] },
          });
          await gather(others);
        });
      });
    });
  };
  const takeTurns = async () => {
    for (let run = 0; run < runs; run++) {
      for (const { without, crowded } of pairs) {
        for (const { server, runs } of [without, crowded]) {
          runs.push(await timedRun(server, how));
        }
      }
    }
  };
  await gather(contenders);
  return pairs.map(({ contender, without, crowded }) => {
    const { runtime, kind, role, label } = contender;
    const alone = sumUp(without.runs);
    const beside = sumUp(crowded.runs);
    const failures = alone.failures + beside.failures;
    if (failures > 0) fault(contender.name, `${failures} failed requests`);
    return { runtime, kind, role, label, without: alone, crowded: beside };
  });
}

/** Gives a server that is warm, and stops it in the end. */
async function withServer(contender, { bench, prefix, how }, use) {
  const server = await enter(contender, { work, needs, prefix, bench });
  if (server === undefined) return;
  try {
    const { warmup } = bench.options;
    if (warmup > 0) await load(server, { ...how, seconds: warmup });
    await use(server);
  } finally {
    await server.stop();
  }
}

/** Opens the connections, and sees that all are still open in the end. */
async function withIdle(server, contender, { bench, prefix }, use) {
  const { idle } = bench.options;
  const client = new Client("idle", [server.port], prefix);
  try {
    await client.ask({ open: idle }, { seconds: openSeconds });
  } catch (error) {
    bench.fault(contender.name, `with ${idle} connections: ${error.message}`);
    await client.stop();
    return;
  }
  try {
    await use();
    const { connections } = await client.ask({}, { seconds: openSeconds });
    if (connections < idle) {
      bench.fault(
        contender.name,
        `closed ${idle - connections} of ${idle} idle connections`,
      );
    }
  } finally {
    await client.stop();
  }
}

/** The memory once it changes no more, or after five seconds. */
async function settledMemory(server) {
  let last = server.memory();
  for (let quiet = 0, looks = 0; quiet < 5 && looks < 25; looks++) {
    await sleep(200);
    const now = server.memory();
    quiet = Math.abs(now - last) < 256 * 1024 ? quiet + 1 : 0;
    last = now;
  }
  return last;
}

const columns = [
  "server",
  "bytes/connection",
  "of native",
  "requests/s without",
  "with",
  "with of without",
  "CPU with of without",
  "p99 ms without",
  "with",
];

export function table(results) {
  const bytes = (result) => result?.bytesPerConnection?.median;
  const rows = results.map((result) => {
    const { runtime, label, without, crowded } = result;
    const native = results.find((other) =>
      other !== result && other.runtime === runtime && other.role === "native"
    );
    return [
      `${runtime} ${label}`,
      count(bytes(result)),
      ratio(bytes(result), bytes(native)),
      count(without.requestsPerSecond),
      count(crowded.requestsPerSecond),
      ratio(crowded.requestsPerSecond, without.requestsPerSecond),
      ratio(crowded.cpuMicroseconds, without.cpuMicroseconds),
      (without.p99Us / 1000).toFixed(2),
      (crowded.p99Us / 1000).toFixed(2),
    ];
  });
  return markdown([columns, ...rows]);
}
