/** Servers with workers as a user has them: the real program on the runtime of
 * the test, in a directory of its own, with an application that can be asked to
 * misbehave. Every process below it carries a mark in its environment, by which
 * it is found at the end, whoever is its parent by then. Linux alone. */
import { type ChildProcess, spawn } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { askControl } from "../../adapters/control_socket.ts";
import {
  type Command,
  type Outcome,
  readOutcome,
  readStatus,
  type Status,
} from "../../src/daemon/protocol.ts";
import type { Address } from "../../src/stream.ts";
import { latin1 } from "./octets.ts";
import { programCommand } from "./program.ts";
import { RawClient } from "./raw_client.ts";
import { parseResponses } from "./responses.ts";

/** A test of a server that has a directory to itself. */
export function testDaemon(
  name: string,
  body: (daemon: Daemon) => Promise<void>,
): void {
  test(name, async () => {
    if (process.platform !== "linux") return console.log("skip: no Linux");
    await using daemon = new Daemon();
    await body(daemon);
  });
}

/** Longer than anything takes on a slow machine, shorter than a test may. */
const deadlineMs = 25_000;
const pollMs = 20;

/** Settles once something is so. `account` tells what was so instead. */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  what: string,
  account: () => string = () => "",
): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  while (!await isSo()) {
    if (performance.now() > deadline) {
      throw new Error(`Waited in vain for ${what}: ${account()}`);
    }
    await new Promise((wake) => setTimeout(wake, pollMs));
  }
}

/** The application. A file "refuse" in its directory keeps it from loading; a
 * file "open" lets through whoever waits at /gate. */
export const application = `
import { existsSync, writeFileSync } from "node:fs";
import process from "node:process";
import { greeting } from "./greeting.mjs";

if (existsSync("refuse")) throw new Error("it refuses to load");

const encoder = new TextEncoder();
const hoard = [];

export function app({ PATH_INFO, QUERY_STRING }, startResponse) {
  startResponse("200 OK", [["Content-Type", "text/plain"]]);
  switch (PATH_INFO) {
    case "/gate":
      return gate();
    case "/block":
      writeFileSync("blocked", String(process.pid));
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000);
      break;
    case "/print":
      console.log("printed by the application");
      break;
    case "/hoard":
      hoard.push(new Uint8Array(200e6).fill(1));
      break;
    case "/variable":
      return [encoder.encode(String(process.env[QUERY_STRING]))];
  }
  return [encoder.encode(process.pid + " " + greeting)];
}

async function* gate() {
  yield encoder.encode("begun, ");
  while (!existsSync("open")) await new Promise((wake) => setTimeout(wake, 20));
  yield encoder.encode("done");
}
`;

/** A program that was started, or what is left of it. */
export class Started {
  /** What it wrote so far. */
  stdout = "";
  stderr = "";
  /** Its exit code, or the signal that ended it; undefined while it runs. */
  outcome: number | string | undefined;
  readonly #child: ChildProcess;

  /** Takes what a process writes from now on. */
  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    child.on("close", (code, signal) => this.outcome = code ?? signal ?? "");
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** Its exit code, or the signal that ended it. */
  async ended(): Promise<number | string> {
    await until(() => this.outcome !== undefined, "its end", () => this.told());
    return this.outcome ?? "";
  }

  /** What it wrote, for messages. */
  told(): string {
    return `${this.stdout}\n${this.stderr}`;
  }
}

/** What was answered. */
export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** One request on a connection of its own. Rejects when it is not answered
 * whole. */
export async function get(address: Address, path = "/"): Promise<Answer> {
  const client = await request(address, path);
  try {
    return await answerOf(client);
  } finally {
    await client.close();
  }
}

/** Sends a request and leaves the answer to the caller. */
export async function request(
  address: Address,
  path = "/",
): Promise<RawClient> {
  const client = await RawClient.connect(address);
  await client.send(
    `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
  );
  return client;
}

/** The answer to the one request of a client, once it is whole. */
export async function answerOf(client: RawClient): Promise<Answer> {
  await client.untilEnded();
  if (client.error !== undefined) throw client.error;
  const [response] = parseResponses(client.received);
  if (response === undefined) throw new Error("Closed without an answer");
  return { status: response.status, text: latin1(response.content) };
}

/** Where a server says that it listens. */
export function addressIn(log: string): Address {
  const all = [
    ...log.matchAll(/Listening on (?:http:\/\/(.+):(\d+)|unix:(.+))/g),
  ];
  const [, host = "", port = "0", path] = all.at(-1) ?? [];
  if (all.length === 0) throw new Error(`It does not listen: ${log}`);
  return path === undefined
    ? { host, port: Number(port) }
    : { host: path, port: 0 };
}

/** Whether somebody accepts there. */
export async function accepts(address: Address): Promise<boolean> {
  try {
    await (await RawClient.connect(address)).close();
    return true;
  } catch {
    return false;
  }
}

const mark = "DAEMON_TEST_DIRECTORY";

/** A directory with an application, what is started in it, and its end. */
export class Daemon implements AsyncDisposable {
  readonly directory: string;
  /** How the program is started. */
  program: readonly string[] = programCommand();

  constructor() {
    this.directory = realpathSync(mkdtempSync(join(tmpdir(), "headgate-")));
    this.write("app.mjs", application);
    this.write("greeting.mjs", 'export const greeting = "hello";');
  }

  // ---- Files ----

  path(name: string): string {
    return join(this.directory, name);
  }

  has(name: string): boolean {
    return existsSync(this.path(name));
  }

  /** A file's text; "" for one that is not there. */
  read(name: string): string {
    return this.has(name) ? readFileSync(this.path(name), "utf8") : "";
  }

  write(name: string, text: string): void {
    writeFileSync(this.path(name), text);
  }

  remove(name: string): void {
    rmSync(this.path(name));
  }

  get log(): string {
    return this.read("headgate.log");
  }

  // ---- Programs ----

  /** Starts Headgate in the directory. `before` is a program, with its
   * arguments, that starts it in its own place. */
  launch(args: readonly string[], before: readonly string[] = []): Started {
    const program = this.program.map(absolute);
    const [command = "", ...given] = [...before, ...program, ...args];
    return new Started(spawn(command, given, {
      cwd: this.directory,
      env: { ...environment(), [mark]: this.directory },
      stdio: ["ignore", "pipe", "pipe"],
    }));
  }

  /** Runs Headgate to its end. */
  async run(...args: string[]): Promise<Started> {
    const started = this.launch(args);
    await started.ended();
    return started;
  }

  /** `headgate start` with two workers; fails where that does. */
  async start(...more: string[]): Promise<void> {
    const started = await this.run("start", ...served, ...more);
    if (started.outcome === 0) return await this.untilLogged("Ready in");
    throw new Error(`start: ${started.outcome} ${started.told()} ${this.log}`);
  }

  /** The same in the foreground. */
  async serve(...more: string[]): Promise<Started> {
    const started = this.launch([...served, ...more]);
    await until(
      () => /Ready in/.test(started.stdout) || started.outcome !== undefined,
      "readiness",
      () => started.told(),
    );
    return started;
  }

  // ---- What is known of the server ----

  /** The pid in the pidfile. */
  get pid(): number {
    return Number(this.read("headgate.pid"));
  }

  /** Where it listens, by its log. */
  get address(): Address {
    return addressIn(this.log);
  }

  /** One request to it. */
  get(path = "/"): Promise<Answer> {
    return get(this.address, path);
  }

  /** What the arbiter tells; undefined where none answers. */
  async status(): Promise<Status | undefined> {
    const outcome = await this.#ask({ command: "status" });
    return "answer" in outcome ? readStatus(outcome.answer) : undefined;
  }

  /** Has the arbiter do something; undefined where none answers. */
  async order(command: Command): Promise<Outcome | undefined> {
    const outcome = await this.#ask(command);
    return "answer" in outcome ? readOutcome(outcome.answer) : undefined;
  }

  #ask(command: Command): ReturnType<typeof askControl> {
    return askControl(this.path("headgate.pid.sock"), command, 20);
  }

  /** The pids of the workers that serve, by seat. */
  async workers(): Promise<number[]> {
    const { workers = [] } = await this.status() ?? {};
    return workers.filter(({ state }) => state === "serving")
      .map(({ pid }) => pid);
  }

  /** Settles when so many serve and nobody else is left, with their pids. */
  async untilServing(count: number, without: number[] = []): Promise<number[]> {
    let pids: number[] = [];
    await this.until(async () => {
      const { workers = [] } = await this.status() ?? {};
      pids = workers.map(({ pid }) => pid);
      return workers.length === count &&
        workers.every(({ state }) => state === "serving") &&
        !pids.some((pid) => without.includes(pid));
    }, `${count} worker(s)`);
    return pids;
  }

  /** Settles when the log has such a line. */
  untilLogged(line: RegExp | string): Promise<void> {
    const pattern = typeof line === "string" ? literally(line) : line;
    return this.until(() => pattern.test(this.log), `the line ${line}`);
  }

  /** Settles once something is so. */
  until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
    return until(isSo, what, () => this.log.slice(-4000));
  }

  // ---- Its processes ----

  /** Sends a signal to the arbiter, or to another process of ours. */
  signal(name: string, pid: number = this.pid): void {
    if (!this.processes().includes(pid)) {
      throw new Error(`No process ${pid} of ours: ${this.log.slice(-4000)}`);
    }
    process.kill(pid, name);
  }

  /** Everything that was started here and still runs. */
  processes(): number[] {
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name))
      .map(Number).filter((pid) => this.#isOurs(pid));
  }

  #isOurs(pid: number): boolean {
    try {
      // A zombie has no environment any more.
      return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0")
        .includes(`${mark}=${this.directory}`);
    } catch {
      return false; // it is gone, or another user's
    }
  }

  /** Settles when everything has gone. */
  untilGone(): Promise<void> {
    return this.until(() => this.processes().length === 0, "everybody's end");
  }

  /** Kills what is left, and removes the directory. */
  async [Symbol.asyncDispose](): Promise<void> {
    await until(() => {
      const left = this.processes();
      for (const pid of left) kill(pid);
      return left.length === 0;
    }, "the end of what was killed");
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** The application on a port of the system's choice, with two workers. */
export const served: readonly string[] = [
  "app.mjs:app",
  "--bind",
  "127.0.0.1:0",
  "--workers",
  "2",
];

function absolute(argument: string): string {
  return /\.[jt]s$/.test(argument) ? resolve(argument) : argument;
}

function literally(text: string): RegExp {
  return new RegExp(text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It went by itself.
  }
}

// Nothing of ours may leak from the tester's shell into the program.
function environment(): NodeJS.ProcessEnv {
  const ours =
    /^(PORT|WEB_CONCURRENCY|FORWARDED_ALLOW_IPS|FORCE_COLOR|NOTIFY_SOCKET|NODE_.*|LISTEN_.*|HEADGATE_.*)$/;
  const kept = Object.entries(process.env).filter(([name]) => !ours.test(name));
  return { ...Object.fromEntries(kept), NO_COLOR: "1" };
}
