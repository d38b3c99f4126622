/** How evenly connections fall on workers. */
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { median } from "../../bench/report.mjs";
import { settled } from "./lifecycle.mjs";

export const name = "spread";
export const title = "64 connections over the workers";
const rounds = 10;
const connections = 64;

export async function measure(stage) {
  const { workers } = stage.options;
  const program = await stage.start();
  const shares = [];
  try {
    for (let round = 0; round < rounds; round++) {
      const sockets = await Promise.all(
        Array.from({ length: connections }, () => open(program.port)),
      );
      try {
        shares.push(await sharesOf(program, connections));
      } finally {
        for (const socket of sockets) socket.destroy();
      }
      await sharesOf(program, 0);
    }
  } finally {
    await program.stop();
  }
  const least = shares.map((counts) => Math.min(...counts));
  const most = shares.map((counts) => Math.max(...counts));
  return {
    shares,
    checks: [
      {
        what: `connections of a worker, of ${connections}`,
        figure: `${Math.min(...least)} to ${Math.max(...most)}`,
        detail: `median of the least ${median(least)}, of the most ` +
          `${median(most)}; even: ${connections / workers}`,
        goal: "any",
      },
      {
        what: "rounds in which a worker had none",
        figure: least.filter((count) => count === 0).length,
        detail: `of ${rounds}`,
        goal: "any",
      },
    ],
  };
}

function open(port) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => resolve(socket));
    socket.on("error", reject);
    socket.resume();
  });
}

/** The connections of each worker, once they are `wanted` in all: workers tell
 * once a second. */
async function sharesOf(program, wanted) {
  let counts;
  const told = await settled(async () => {
    await sleep(300);
    const { workers } = await program.status();
    counts = workers.map(({ connections }) => connections);
    return counts.reduce((sum, one) => sum + one, 0) === wanted;
  });
  if (told) return counts;
  throw new Error(`status tells of ${counts} connections, not of ${wanted}`);
}
