/**
 * The programs that are soaked, each in the words of its manual: Headgate on
 * three runtimes, and its peers where they are installed.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { contenders } from "../bench/contenders.mjs";
import { root } from "../bench/place.mjs";
import { freePort } from "../scripts/free_port.mjs";
import { Connection } from "./connection.mjs";
import { cpuSeconds, kill, marked, parentOf, signal } from "./processes.mjs";
import { makeRequest } from "./requests.mjs";

const startMs = 30_000;
const probeMs = 5;
const commandMs = 60_000;
/** How long running requests may take after SIGTERM. */
export const graceSeconds = 10;

/** The marks of the programs that have not been stopped. */
const running = new Set();

process.on("exit", () => {
  // Once more for what was started while we looked.
  for (const mark of [...running, ...running]) kill(marked(mark));
});

/** A program that serves `soak/apps/` on `port`. What differs from one to the
 * next is in `commands`, whose functions are given the program. */
export class Program {
  port;
  /** A folder of its own. */
  folder;
  #commands;
  #mark = `SOAK_MARK=${randomUUID()}`;
  #child;
  #ended;
  #exited = false;
  #output = "";

  /** Starts it and waits until every worker has answered. `pin` goes before its
   * command line; `daemon` has it detach itself, where it can. */
  static async start(commands, { scratch, workers, pin = [], daemon = false }) {
    const program = new Program();
    program.#commands = commands;
    program.folder = join(scratch, randomUUID().slice(0, 8));
    mkdirSync(program.folder);
    program.port = await freePort();
    program.daemon = daemon;
    running.add(program.#mark);
    const begun = performance.now();
    program.#launch([...pin, ...commands.start(program, workers)]);
    try {
      if (daemon) {
        await program.#ended;
        program.returnedMs = performance.now() - begun;
      }
      await program.#ready(workers, begun);
      return program;
    } catch (error) {
      const { log } = program;
      await program.stop();
      throw new Error(`${error.message}\n${log}`.trim());
    }
  }

  /** The end of what it wrote. */
  get log() {
    return this.#output.slice(-2_000);
  }

  /** Its commands, for what not every program has. */
  get commands() {
    return this.#commands;
  }

  /** Who looks after the workers. */
  get arbiter() {
    return this.#commands.arbiter(this);
  }

  /** What was started. */
  get launcher() {
    return this.#child.pid;
  }

  /** The workers that serve. */
  workers() {
    return this.#commands.workers(this);
  }

  /** All its processes. */
  processes() {
    return marked(this.#mark);
  }

  reload() {
    return this.#commands.reload(this);
  }

  scale(workers) {
    return this.#commands.scale(this, workers);
  }

  /** What Headgate says of itself. */
  status() {
    return this.#commands.status(this);
  }

  /** Processor time so far of the processes that run. */
  cpuSeconds() {
    return this.processes().reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  }

  /** Lets it run a command, and gives what that writes to standard output. */
  async run(command) {
    const child = this.#spawn(command);
    let output = "";
    child.stdout.on("data", (text) => output += text);
    const timer = setTimeout(() => child.kill("SIGKILL"), commandMs);
    const code = await new Promise((resolve) => child.on("close", resolve));
    clearTimeout(timer);
    if (code === 0) return output;
    const [, ...words] = command;
    throw new Error(`${words.join(" ")} exits with ${code}: ${this.log}`);
  }

  /** Asks it to end as a service manager does, and waits for that. */
  async stop() {
    try {
      await this.#commands.stop(this);
    } catch (error) {
      // Whether any of it is left shows in what follows.
      this.#output += error.message;
    }
    return await this.gone();
  }

  /** Waits until all its processes have gone, and kills those that stay: the
   * time that it took; the exit code; and how many were killed. */
  async gone() {
    const begun = performance.now();
    const deadline = begun + (graceSeconds + 5) * 1000;
    let left = this.processes();
    while (left.length > 0 && performance.now() < deadline) {
      await sleep(20);
      left = this.processes();
    }
    const ms = performance.now() - begun;
    kill(left);
    running.delete(this.#mark);
    return { ms, code: await this.#ended, killed: left.length };
  }

  #launch(command) {
    const child = this.#child = this.#spawn(command);
    this.#ended = new Promise((resolve) => {
      child.on("exit", (code, signal) => resolve(code ?? signal));
      child.on("error", ({ code }) => resolve(code));
    });
    this.#ended.then(() => this.#exited = true);
  }

  /** Asks until there is an answer, and then until so many workers have given
   * one; notes when that was. */
  async #ready(workers, begun) {
    const answered = new Set();
    const deadline = begun + startMs;
    while (answered.size < workers) {
      if (performance.now() > deadline) {
        throw new Error(`${answered.size} of ${workers} workers answer`);
      }
      const atOnce = answered.size === 0 ? 1 : 2 * workers;
      const pids = await Promise.all(
        Array.from({ length: atOnce }, () => this.#ask()),
      );
      for (const pid of pids) if (pid !== undefined) answered.add(pid);
      const ms = performance.now() - begun;
      if (answered.size > 0) this.firstAnswerMs ??= ms;
      this.readyMs = ms;
      if (this.#exited && this.processes().length === 0) {
        throw new Error("does not start");
      }
      await sleep(probeMs);
    }
  }

  /** Who answers; undefined if nobody does. */
  async #ask() {
    const connection = new Connection(this.port, "127.0.0.1", 2_000);
    const { pid } = await connection.exchange(
      makeRequest({ pick: () => "/wait", ms: 5, close: true }),
    );
    connection.close();
    return pid;
  }

  #spawn([file, ...args]) {
    const [name, value] = this.#mark.split("=");
    const child = spawn(file, args.map(String), {
      cwd: root,
      env: {
        ...process.env,
        ...this.#commands.environment?.(this),
        [name]: value,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        this.#output = (this.#output + text).slice(-100_000);
      });
    }
    child.on("error", (error) => this.#output += error.message);
    return child;
  }
}

/** Headgate's commands, on one runtime. */
function headgate(runtime) {
  const [path] = contenders.find(({ name }) => name === `${runtime}/native`)
    .command(0);
  const program = [path, ...entry[runtime]];
  const pidfile = ({ folder }) => join(folder, "headgate.pid");
  const told = (one, ...words) =>
    one.run([...program, ...words, "--pidfile", pidfile(one)]);
  const commands = {
    pidfile,
    start: (one, workers) => [
      ...program,
      ...(one.daemon ? ["start"] : []),
      ...options(one, workers),
    ],
    // While one arbiter follows another there is no pidfile for a moment.
    arbiter: (one) =>
      existsSync(pidfile(one))
        ? Number(readFileSync(pidfile(one), "latin1"))
        : undefined,
    status: async (one) => JSON.parse(await told(one, "status", "--json")),
    statusOf: async (one, pidfile) =>
      JSON.parse(
        await one.run([...program, "status", "--json", "--pidfile", pidfile]),
      ),
    restart: (one) => told(one, "restart"),
    workers: async (one) =>
      (await commands.status(one)).workers
        .filter(({ state }) => state === "serving").map(({ pid }) => pid),
    reload: (one) => signal(commands.arbiter(one), "SIGHUP"),
    scale: (one, workers) => told(one, "scale", workers),
    stop: (one) =>
      one.daemon ? told(one, "stop") : signal(one.launcher, "SIGTERM"),
  };
  const options = (one, workers) => [
    "soak/apps/answering.js:app",
    "--bind",
    `127.0.0.1:${one.port}`,
    "--workers",
    workers,
    "--pidfile",
    pidfile(one),
    "--log-file",
    join(one.folder, "headgate.log"),
    "--access-log",
    "off",
    "--graceful-timeout",
    graceSeconds,
  ];
  return commands;
}

/** How each runtime is asked to run the program. */
const entry = {
  deno: ["run", "-A", "mod.ts"],
  bun: ["run", "mod.ts"],
  node: ["dist/cli.js"],
};

/** gunicorn's, with threads, as it keeps connections with these alone. */
function gunicorn(path) {
  const child = (one) => one.launcher;
  const commands = {
    start: (one, workers) => [
      path,
      "--chdir",
      join(root, "soak", "apps"),
      "answering:app",
      "--bind",
      `127.0.0.1:${one.port}`,
      "--workers",
      workers,
      "--worker-class",
      "gthread",
      "--threads",
      16,
      "--keep-alive",
      75,
      "--graceful-timeout",
      graceSeconds,
      "--backlog",
      2048,
      "--log-level",
      "warning",
      "--pid",
      join(one.folder, "gunicorn.pid"),
    ],
    arbiter: child,
    workers: (one) =>
      one.processes().filter((pid) => parentOf(pid) === one.launcher),
    reload: (one) => signal(one.launcher, "SIGHUP"),
    scale: async (one, workers) => {
      const more = workers - commands.workers(one).length;
      for (let n = Math.abs(more); n > 0; n--) {
        signal(one.launcher, more > 0 ? "SIGTTIN" : "SIGTTOU");
        await sleep(100);
      }
    },
    stop: (one) => signal(one.launcher, "SIGTERM"),
    environment: () => ({ PYTHONDONTWRITEBYTECODE: "1" }),
  };
  return commands;
}

/** pm2's cluster mode, in a home of its own. */
function pm2(path) {
  const commands = {
    start: (_, workers) => [
      path,
      "start",
      join(root, "soak", "apps", "answering_http.mjs"),
      "--name",
      "soak",
      "--instances",
      workers,
    ],
    // Its daemon is the one that has all workers for children.
    arbiter: (one) => {
      const pids = one.processes();
      return pids.find((pid) => pids.some((other) => parentOf(other) === pid));
    },
    workers: (one) => {
      const arbiter = commands.arbiter(one);
      return one.processes().filter((pid) => parentOf(pid) === arbiter);
    },
    reload: (one) => one.run([path, "reload", "soak"]),
    scale: (one, workers) => one.run([path, "scale", "soak", workers]),
    stop: (one) => one.run([path, "kill"]),
    environment: (one) => ({
      PM2_HOME: join(one.folder, "pm2"),
      PORT: String(one.port),
    }),
  };
  return commands;
}

/** What can be soaked, by name. */
export function programs(paths) {
  return new Map([
    ...Object.keys(entry).map((runtime) => [runtime, headgate(runtime)]),
    ["gunicorn", gunicorn(paths.gunicorn)],
    ["pm2", pm2(paths.pm2)],
  ]);
}

/** The names of Headgate's runtimes, and of its peers. */
export const runtimes = Object.keys(entry);
export const peers = ["gunicorn", "pm2"];
