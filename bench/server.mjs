/** One server under measurement: a process of its own, on a core of its own. */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import process from "node:process";
import { freePort } from "../scripts/free_port.mjs";

const startDeadlineMs = 20_000;
const stopDeadlineMs = 5_000;

/** Every server process that has not ended yet. */
const running = new Set();

process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** A server process, and what the kernel says about it. */
export class Server {
  #child;
  #port;
  #complaint = "";

  constructor(child, port) {
    this.#child = child;
    this.#port = port;
    child.stderr.setEncoding("utf8").on("data", (text) => {
      this.#complaint = (this.#complaint + text).slice(-2000);
    });
  }

  /** Starts a command and waits until its port accepts. `pin` goes before the
   * command and must become it by exec, as taskset does: the process id is how
   * we measure. `command` is given a free port. */
  static async start(pin, command, root) {
    const server = await Server.spawn(pin, command, root);
    await server.#accepting();
    return server;
  }

  /** Starts a command the same way and waits for nothing. */
  static async spawn(pin, command, root) {
    const port = await freePort();
    const [file, ...args] = [...pin, ...command(port)];
    const child = spawn(file, args, {
      cwd: root,
      stdio: ["ignore", "ignore", "pipe"],
    });
    running.add(child);
    child.on("exit", () => running.delete(child));
    child.on("error", () => running.delete(child));
    return new Server(child, port);
  }

  get port() {
    return this.#port;
  }

  /** Processor time used so far by all threads, in seconds; with that of the
   * processes that it has started. */
  cpuSeconds() {
    return family(this.#child.pid).reduce((sum, pid) => sum + used(pid), 0);
  }

  /** Processor time as the scheduler counts it, finer than ticks: of the threads
   * that have not ended. */
  cpuNanoseconds() {
    const tasks = `/proc/${this.#child.pid}/task`;
    return readdirSync(tasks).reduce((sum, task) => {
      try {
        const used = readFileSync(`${tasks}/${task}/schedstat`, "utf8");
        return sum + Number(used.split(" ")[0]);
      } catch {
        return sum; // Ended since it was listed.
      }
    }, 0);
  }

  /** The memory that it has in RAM, in bytes. */
  memory() {
    return this.#status("VmRSS");
  }

  /** The most memory that it had in RAM at any time, in bytes. */
  peakMemory() {
    return this.#status("VmHWM");
  }

  #status(key) {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, "utf8");
    const [, value] = new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(status) ??
      [];
    return Number(value) * 1024;
  }

  /** Whether the process has not ended. */
  get runs() {
    return running.has(this.#child);
  }

  /** The end of what it wrote to standard error. */
  get complaint() {
    return this.#complaint;
  }

  /** Ends it: asks first, and kills it when it does not go. */
  async stop() {
    const child = this.#child;
    if (!running.has(child)) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), stopDeadlineMs);
    await ended;
    clearTimeout(timer);
  }

  async #accepting() {
    const deadline = Date.now() + startDeadlineMs;
    while (!(await accepts(this.#port))) {
      if (!running.has(this.#child)) {
        throw new Error(`does not start\n${this.#complaint}`.trim());
      }
      if (Date.now() > deadline) {
        await this.stop();
        throw new Error("does not listen");
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** A process, its children, and theirs. */
function family(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  const children = threads.flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8")
      .split(" ").filter(Boolean)
  );
  return [pid, ...children.flatMap(family)];
}

function used(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name, in parentheses, may hold spaces. User and system time are
  // fields 14 and 15 of proc(5), in ticks of which Linux shows 100 a second.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}
