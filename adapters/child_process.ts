/** Starts this program again, as another process of the daemon. */
import { type ChildProcess as Child, spawn } from "node:child_process";
import {
  appendFileSync,
  closeSync,
  openSync,
  readFileSync,
  realpathSync,
  writeSync,
} from "node:fs";
import { isAbsolute, resolve } from "node:path";
import process from "node:process";
import type {
  ChildProcess,
  ProcessEnd,
  SpawnOptions,
} from "../src/daemon/host.ts";
import { IpcChannel, type IpcEnd } from "./channel.ts";
import { readLines } from "./line_reader.ts";
import { outputWriter } from "./whole_write.ts";

// ---- The command ----

/** The runtime, its options and the program: all but the program's arguments.
 * It is read at once, since a process title is written over it, and since the
 * program's path is taken after the directory that we were started in. */
const programArgs: readonly string[] = programCommand(
  commandLine(),
  process.argv,
  process.cwd(),
);

/** What comes between the runtime and the program's own arguments. `line` is
 * what the process was started with, undefined where the system does not tell;
 * `argv` what its runtime makes of that. Exported for tests. */
export function programCommand(
  line: readonly string[] | undefined,
  argv: readonly string[],
  directory: string,
): string[] {
  const program = argv[1] ?? "";
  const args = argv.slice(2);
  if (line === undefined || !endsWith(line, args)) {
    const options = process.versions.deno === undefined
      ? process.execArgv
      : ["run", "-A"];
    return [...options, program];
  }
  return line.slice(1, line.length - args.length)
    .map((word) => namesFile(word, program, directory) ? program : word);
}

function endsWith(line: readonly string[], tail: readonly string[]): boolean {
  const start = line.length - tail.length;
  return start > 0 && tail.every((word, at) => line[start + at] === word);
}

/** Whether a word is the program's path, relative, so that it would be wrong in
 * another directory. */
function namesFile(word: string, path: string, directory: string): boolean {
  if (isAbsolute(word) || !isAbsolute(path)) return false;
  const absolute = resolve(directory, word);
  if (absolute === path) return true;
  try {
    return realpathSync(absolute) === path; // Bun follows symbolic links
  } catch {
    return false;
  }
}

function commandLine(): string[] | undefined {
  try {
    const text = readFileSync("/proc/self/cmdline", "utf8");
    return text.endsWith("\0") ? text.slice(0, -1).split("\0") : undefined;
  } catch {
    return undefined;
  }
}

// ---- Starting ----

/** As `DaemonHost.spawn` promises. */
export function spawnProgram(
  args: readonly string[],
  options: SpawnOptions,
): ChildProcess {
  const { output } = options;
  const file = output.kind === "file" ? openLog(output.path) : undefined;
  try {
    return watch(start([...programArgs, ...args], options, file), options);
  } catch (error) {
    return stillborn(Promise.resolve(error), options);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function openLog(path: string): number {
  return openSync(path, "a", 0o640);
}

function start(
  args: readonly string[],
  { env, fds, output, detached, user = {} }: SpawnOptions,
  file: number | undefined,
): Child {
  const stream = file ??
    (output.kind === "lines"
      ? "pipe"
      : output.kind === "inherit"
      ? "inherit"
      : "ignore");
  return spawn(process.execPath, args, {
    stdio: ["ignore", stream, stream, ...fds.map(handOn), "ipc"],
    serialization: "json",
    env: { ...process.env, ...env },
    detached,
    ...user,
  });
}

/** Deno makes a descriptor blocking when it passes it on by its number, for all
 * who share it; and workers who wake for a connection that another has accepted
 * must not wait for the next one. So a number that stays the same is inherited. */
function handOn(fd: number, index: number): number | "inherit" {
  return fd === 3 + index ? "inherit" : fd;
}

// ---- Watching ----

/** How long what a process has left behind is waited for: its own children may
 * hold its streams open. */
const remainsMs = 1000;

function watch(child: Child, options: SpawnOptions): ChildProcess {
  const { pid } = child;
  if (pid === undefined) {
    const reason = new Promise((resolve) => child.once("error", resolve));
    return stillborn(reason, options);
  }
  child.on("error", () => {}); // of the channel, which closes then
  const channel = new IpcChannel(child);
  const remains = [channel.ended, ...readOutput(child, options)];
  let running = true;
  const ended = new Promise<ProcessEnd>((resolve) => {
    child.once("exit", (code, signal) => {
      running = false;
      void within(remainsMs, remains).then(() => {
        channel.lost();
        resolve({ code, signal });
      });
    });
  });
  return {
    pid,
    channel,
    ended,
    kill(signal) {
      if (running) sendSignal(pid, signal);
    },
  };
}

function readOutput(child: Child, { output }: SpawnOptions): Promise<void>[] {
  if (output.kind !== "lines") return [];
  const { take } = output;
  return [child.stdout, child.stderr]
    .flatMap((stream) => stream === null ? [] : readLines(stream, take));
}

/** Resolves when all have, or the time is over. */
async function within(
  milliseconds: number,
  all: readonly Promise<void>[],
): Promise<void> {
  let timer;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([Promise.all(all), limit]);
  clearTimeout(timer);
}

/** Sends a signal to a process; false where there is none, or it is not ours.
 * `child.kill()` would close the channel on Deno. */
export function sendSignal(pid: number, signal: string | 0): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false; // a group, or everybody
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}

// ---- What does not start ----

/** A process that could not be started, as a shell has it: it says why where
 * its output would go, and ends with 127. */
function stillborn(
  reason: Promise<unknown>,
  options: SpawnOptions,
): ChildProcess {
  return {
    pid: 0,
    channel: new IpcChannel(closedEnd),
    ended: reason.then((error) => {
      complain(error, options);
      return { code: 127, signal: null };
    }),
    kill() {},
  };
}

const closedEnd: IpcEnd = { connected: false, on() {}, off() {} };

function complain(error: unknown, { output }: SpawnOptions): void {
  const reason = error instanceof Error ? error.message : String(error);
  const text = `Cannot start ${process.execPath}: ${reason}\n`;
  switch (output.kind) {
    case "lines":
      return output.take(text);
    case "inherit":
      return writeError("stderr", text);
    case "file":
      return appendFileSync(output.path, text);
    case "discard":
  }
}

const writeError = outputWriter({
  stdout: () => 0,
  stderr: (bytes) => writeSync(2, bytes),
});
