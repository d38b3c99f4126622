/** Requests per second: all servers at one work, run by run in turn. */
import { Buffer } from "node:buffer";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { checkAnswers } from "./answer.mjs";
import { load, timedRun } from "./load.mjs";
import { asServer, root } from "./place.mjs";
import { sumUp } from "./report.mjs";
import { Server } from "./server.mjs";
import { fixedAnswer, usualRoles } from "./works.mjs";

/** Their runs alternate, so that what else the machine does meanwhile falls on
 * all of them alike. */
export async function measureWork(work, bench) {
  const { runs, warmup, seconds, connections } = bench.options;
  const files = await writeFiles(work, bench.scratch);
  const how = { ...files, client: work.client, connections };
  const roles = work.roles ?? usualRoles;
  const entrants = [];
  try {
    for (const contender of bench.contenders) {
      if (!roles.includes(contender.role)) continue;
      const needs = { fixed: files.answerFile };
      if (contender.role === "logged") {
        needs.log = join(bench.scratch, `${contender.runtime}.access.log`);
      }
      const server = await enter(contender, { work, needs, bench });
      if (server === undefined) continue;
      entrants.push({ contender, server, runs: [] });
      if (warmup > 0) await load(server, { ...how, seconds: warmup });
    }
    for (let run = 0; run < runs; run++) {
      for (const { server, runs } of entrants) {
        runs.push(await timedRun(server, { ...how, seconds }));
      }
    }
    return entrants.map(
      ({ contender: { name, runtime, kind, role, label }, server, runs }) => {
        const result = sumUp(runs, server.peakMemory());
        if (result.failures > 0) {
          bench.fault(name, `${result.failures} failed requests`);
        }
        return { runtime, kind, role, label, ...result };
      },
    );
  } finally {
    await Promise.all(entrants.map(({ server }) => server.stop()));
  }
}

/** The bytes that the client sends at once, and those that the ceiling answers;
 * where they were written. */
export async function writeFiles({ name, request, atOnce, answer }, scratch) {
  const requestFile = join(scratch, `${name}.request`);
  const answerFile = join(scratch, `${name}.answer`);
  await writeFile(
    requestFile,
    atOnce === 1 ? request : Buffer.concat(Array(atOnce).fill(request)),
  );
  await writeFile(answerFile, fixedAnswer(answer));
  return { requestFile, answerFile };
}

/** Starts a server and compares its answers; undefined if it is not fit. */
export async function enter(
  contender,
  { work, needs, pin = asServer, prefix = [], bench },
) {
  const requestSize = work.request.length;
  let server;
  try {
    server = await Server.start(
      [...pin, ...prefix],
      (port) =>
        contender.command(port, {
          requestSize,
          handler: work.handler,
          ...needs,
        }),
      root,
    );
    await checkAnswers(server.port, work);
    return server;
  } catch (error) {
    bench.fault(contender.name, error.message);
    await server?.stop();
    return undefined;
  }
}
