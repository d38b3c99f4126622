/** The clients: wrk, and processes of our own for what wrk cannot do. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import process from "node:process";
import { asClient, root } from "./place.mjs";

/** Uploads are few and long, so few connections keep a server busy. */
const uploadConnections = 4;

/** Lets the client of a work send for so many seconds; what it counted. */
export function load(
  server,
  { requestFile, client, connections, seconds, pin = asClient },
) {
  return client === "upload"
    ? count([
      process.execPath,
      "bench/clients/upload.mjs",
      server.port,
      requestFile,
      Math.min(connections, uploadConnections),
      seconds,
    ], { seconds, pin })
    : count([
      "wrk",
      "--threads=1",
      `--connections=${connections}`,
      `--duration=${seconds}s`,
      "--timeout=10s",
      `--script=${join(root, "bench", "replay.lua")}`,
      `http://127.0.0.1:${server.port}/`,
    ], { seconds, pin, env: { BENCH_REQUEST: requestFile } });
}

/** Loads a server for one run, and reads what that cost it. */
export async function timedRun(server, how) {
  const cpuBefore = server.cpuSeconds();
  const counted = await load(server, how);
  const cpuSeconds = server.cpuSeconds() - cpuBefore;
  const elapsed = counted.elapsedUs / 1e6;
  return {
    requestsPerSecond: counted.requests / elapsed,
    cpuMicroseconds: cpuSeconds * 1e6 / counted.requests,
    busy: cpuSeconds / elapsed,
    p50Us: counted.p50Us,
    p99Us: counted.p99Us,
    failures: counted.failures + counted.refused,
  };
}

/** Runs a client to its end; what it says it counted. */
function count(command, { seconds, pin, env }) {
  const [file, ...args] = [...pin, ...command].map(String);
  const client = spawn(file, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: (seconds + 30) * 1000,
    killSignal: "SIGKILL",
  });
  const kill = () => client.kill("SIGKILL");
  process.once("exit", kill);
  let output = "";
  for (const stream of [client.stdout, client.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => output += text);
  }
  return new Promise((resolve, reject) => {
    client.on("error", reject);
    client.on("close", () => {
      process.off("exit", kill);
      const counted = /^COUNTED (.*)$/m.exec(output)?.[1];
      if (counted !== undefined) return resolve(JSON.parse(counted));
      reject(new Error(`The client failed: ${command[0]}\n${output}`));
    });
  });
}

/** A client that stays and does what it is told, one thing at a time. */
export class Client {
  #child;
  #complaint = "";

  /** Starts the script `bench/clients/NAME.mjs`; `prefix` goes before it. */
  constructor(name, args, prefix = []) {
    const [file, ...rest] = [
      ...asClient,
      ...prefix,
      process.execPath,
      `bench/clients/${name}.mjs`,
      ...args,
    ].map(String);
    const child = this.#child = spawn(file, rest, {
      cwd: root,
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      this.#complaint = (this.#complaint + text).slice(-2000);
    });
    const kill = () => child.kill("SIGKILL");
    process.once("exit", kill);
    child.once("exit", () => process.off("exit", kill));
  }

  /** Sends an order and waits for what comes of it. */
  async ask(order, { seconds }) {
    const child = this.#child;
    const signal = AbortSignal.timeout(seconds * 1000);
    const ended = new AbortController();
    const end = () => ended.abort();
    child.once("exit", end);
    try {
      const answer = once(child, "message", {
        signal: AbortSignal.any([signal, ended.signal]),
      });
      child.send(order, () => {});
      const [result] = await answer;
      if (result.failure === undefined) return result;
      throw new Error(result.failure);
    } catch (error) {
      if (signal.aborted) throw new Error(`not done in ${seconds} s`);
      if (!ended.signal.aborted) throw error;
      throw new Error(`The client failed:\n${this.#complaint}`);
    } finally {
      child.off("exit", end);
    }
  }

  /** Ends it and all its connections. */
  async stop() {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }
}
