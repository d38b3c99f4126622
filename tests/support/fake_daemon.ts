/** A machine without a kernel: files, processes, locks and control sockets in
 * maps, and processes that see them through `Host` and `DaemonHost`. Time
 * passes when somebody sleeps. */
import type {
  ControlFailure,
  ControlOutcome,
  DaemonHost,
  DaemonSignal,
} from "../../src/daemon/host.ts";
import type { Clock } from "../../src/daemon/clock.ts";
import type { Host, Output, PathStatus, Signal } from "../../src/host.ts";
import { only } from "./only.ts";

/** What answers on a control socket. */
type Answerer = (question: unknown) => Promise<unknown>;

/** An error as a system call rejects with it. */
export function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/** One machine. */
export class FakeMachine {
  readonly files: Map<string, string> = new Map();
  /** Paths that are neither files nor sockets. */
  readonly others: Map<string, PathStatus["kind"]> = new Map();
  /** Control sockets, and files that a dead one left. */
  readonly sockets: Map<string, Answerer | ControlFailure> = new Map();
  /** Names, by who holds them. */
  readonly locks: Map<string, number> = new Map();
  /** Whether it has locks at all. */
  hasLocks = true;
  readonly alive: Set<number> = new Set();
  /** Every signal that was sent: "SIGTERM 7". */
  readonly signals: string[] = [];
  /** What a signal does; by itself nothing. */
  onKill: (pid: number, signal: string) => void = () => {};
  /** Whether signals are refused. */
  mayKill = true;
  /** By path, the `code` that reading or writing fails with. */
  readonly failures: Map<string, string> = new Map();
  #now = 0;
  readonly #timers: { at: number; run: () => void }[] = [];

  readonly clock: Clock = {
    now: () => this.#now,
    sleep: async (ms) => {
      this.#pass(ms);
      await Promise.resolve();
    },
  };

  /** Has something happen once so much time has passed. */
  after(ms: number, run: () => void): void {
    this.#timers.push({ at: this.#now + ms, run });
  }

  #pass(ms: number): void {
    this.#now += ms;
    for (const timer of [...this.#timers]) {
      if (timer.at > this.#now) continue;
      this.#timers.splice(this.#timers.indexOf(timer), 1);
      timer.run();
    }
  }

  /** A new process. */
  start(pid: number): FakeProcess {
    this.alive.add(pid);
    return new FakeProcess(this, pid);
  }

  /** Ends a process as SIGKILL does: what it left stays, its locks are free. */
  end(pid: number): void {
    this.alive.delete(pid);
    for (const [name, holder] of this.locks) {
      if (holder === pid) this.locks.delete(name);
    }
  }

  /** What is asked of a control socket. */
  ask(path: string, question: unknown, seconds: number): Promise<unknown> {
    const socket = this.sockets.get(path) ?? "absent";
    if (typeof socket === "function") return socket(question);
    if (socket === "silent") this.#pass(seconds * 1000);
    return Promise.resolve({ failure: socket });
  }
}

/** One process on it. */
export class FakeProcess {
  readonly pid: number;
  /** What it wrote. */
  readonly written: Record<Output, string> = { stdout: "", stderr: "" };
  /** Whether a person reads that. */
  hasTerminal = false;
  readonly host: Host;
  readonly daemon: DaemonHost;
  readonly #handlers = new Map<Signal, () => void>();

  constructor(machine: FakeMachine, pid: number) {
    this.pid = pid;
    this.host = this.#makeHost(machine);
    this.daemon = this.#makeDaemonHost(machine);
  }

  /** Sends it a signal; false if it has no handler for it. */
  signal(name: Signal): boolean {
    const handler = this.#handlers.get(name);
    handler?.();
    return handler !== undefined;
  }

  #makeHost(machine: FakeMachine): Host {
    return only<Host>({
      pid: this.pid,
      isTerminal: () => this.hasTerminal,
      write: (output, text) => {
        this.written[output] += text;
      },
      status(path) {
        const kind = machine.others.get(path) ??
          (machine.files.has(path)
            ? "file"
            : machine.sockets.has(path)
            ? "socket"
            : undefined);
        return kind === undefined ? undefined : { kind, identity: path };
      },
      remove(path) {
        const code = machine.failures.get(path);
        if (code !== undefined) throw systemError(code);
        machine.files.delete(path);
        machine.sockets.delete(path);
      },
      onSignal: (signal, handler) => {
        this.#handlers.set(signal, handler);
        return () => void this.#handlers.delete(signal);
      },
    });
  }

  #makeDaemonHost(machine: FakeMachine): DaemonHost {
    const { pid } = this;
    return only<DaemonHost>({
      kill(target, signal: DaemonSignal | "SIGKILL" | 0) {
        if (!machine.mayKill || !machine.alive.has(target)) return false;
        machine.signals.push(`${signal} ${target}`);
        machine.onKill(target, String(signal));
        return true;
      },
      isAlive: (target) => machine.alive.has(target),
      lock(name) {
        if (!machine.hasLocks) return Promise.resolve({ release() {} });
        if (machine.locks.has(name)) return Promise.resolve(undefined);
        machine.locks.set(name, pid);
        const release = () => {
          if (machine.locks.get(name) === pid) machine.locks.delete(name);
        };
        return Promise.resolve({ release });
      },
      serveControl(path, answer) {
        const code = machine.failures.get(path);
        if (code !== undefined) return Promise.reject(systemError(code));
        machine.sockets.set(path, answer);
        return Promise.resolve({
          close() {
            if (machine.sockets.get(path) === answer) {
              machine.sockets.delete(path);
            }
          },
        });
      },
      async askControl(path, question, seconds): Promise<ControlOutcome> {
        const sent = JSON.parse(JSON.stringify(question));
        const socket = machine.sockets.get(path);
        const answer = await machine.ask(path, sent, seconds);
        if (typeof socket !== "function") return answer as ControlOutcome;
        if (answer === undefined) return { failure: "silent" };
        return { answer: JSON.parse(JSON.stringify(answer)) };
      },
      readText(path) {
        if (machine.others.get(path) === "directory") {
          throw systemError("EISDIR");
        }
        const code = machine.failures.get(path);
        if (code !== undefined) throw systemError(code);
        return machine.files.get(path);
      },
      writeText(path, text) {
        const code = machine.failures.get(path) ??
          machine.failures.get(path.replace(/\/[^/]*$/, "/"));
        if (code !== undefined) throw systemError(code);
        machine.files.set(path, text);
      },
      absolute: (path) => path.startsWith("/") ? path : `/home/${path}`,
    });
  }
}
