/** Starts programs that are not the project's own, over `node:child_process`,
 * which the runtimes share; and what becomes of their streams. None outlives
 * this process, unless that is killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import process from "node:process";
import type { Readable, Writable } from "node:stream";
import type {
  Program,
  ProgramCommand,
  ProgramEnd,
} from "../src/backend_host.ts";
import { StreamError } from "../src/errors.ts";
import { keepSockets } from "./held_sockets.ts";

/** As `BackendHost.start` promises. */
export async function startProgram(command: ProgramCommand): Promise<Program> {
  prepareOnce();
  const child = launch(command, findProgram(command.file));
  const errors: Promise<never> = new Promise((_, reject) => {
    child.once("error", reject);
  });
  await Promise.race([spawned(child), errors]);
  child.on("error", () => {}); // of a signal that came too late
  return new ChildProgram(child, command);
}

function spawned(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve) => child.once("spawn", resolve));
}

// ---- What it is ----

let prepared = false;

/** Before the first program. What is inherited is there by then, and what is
 * opened later closes on its own. */
function prepareOnce(): void {
  if (prepared) return;
  prepared = true;
  keepSockets();
  process.on("exit", endEntrusted);
}

/** The path of a program's file. The runtimes would look along the `PATH` that
 * it is given, and start from the directory that it runs in. */
function findProgram(file: string): string {
  if (file.includes("/")) return resolve(file);
  const directories = (process.env.PATH ?? "").split(delimiter);
  const found = directories
    .map((directory) => join(resolve(directory), file))
    .find(isExecutable);
  if (found !== undefined) return found;
  throw Object.assign(
    new Error(`There is no ${file} along PATH`),
    { code: "ENOENT" },
  );
}

/** As `BackendHost.isExecutable` promises. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

// ---- Starting ----

type Stdio = "pipe" | "inherit";

function launch(command: ProgramCommand, path: string): ChildProcess {
  const { args, cwd, env, errors, sharesOutput } = command;
  const stderr: Stdio = errors === "inherit" ? errors : "pipe";
  const options = {
    env,
    ...cwd === undefined ? {} : { cwd },
    detached: true, // a group of its own
  };
  if (!sharesOutput) {
    return spawn(path, args, { ...options, stdio: ["pipe", "pipe", stderr] });
  }
  if (!("Deno" in globalThis)) {
    const stdio = ["pipe", "pipe", stderr, 1] as const;
    return spawn(path, args, { ...options, stdio: [...stdio] });
  }
  // Deno takes 1 for the program's own descriptor. So the program is started
  // with its output where it is to have ours, and a shell exchanges the two.
  return spawn("/bin/sh", ["-c", exchange, path, ...args], {
    ...options,
    stdio: ["pipe", "inherit", stderr, "pipe"],
  });
}

const exchange = 'exec 4>&1 1>&3 3>&4 4>&-; exec "$0" "$@"';

/** The program's standard output: our end of the pipe. */
function outputOf(child: ChildProcess): Readable {
  return child.stdout ?? child.stdio[3] as Readable;
}

// ---- The end of this process ----

/** Those that nobody would end after us: they run, or were asked to end while
 * some of what they have started may not heed it. */
const entrusted = new Set<ChildProgram>();

/** How long they have between being asked to end and being made to. */
const lastMs = 100;

function endEntrusted(): void {
  if (entrusted.size === 0) return;
  for (const program of entrusted) program.kill("SIGTERM", "group");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lastMs);
  for (const program of entrusted) program.kill("SIGKILL", "group");
}

// ---- Running ----

class ChildProgram implements Program {
  readonly pid: number;
  readonly ended: Promise<ProgramEnd>;
  readonly #input: Input;
  readonly #output: Readable;
  readonly #blocks: AsyncIterator<Uint8Array>;
  #running = true;
  /** Whether somebody may be left of its group, whose number nobody else has as
   * long as that is so. */
  #hasGroup = true;
  /** Its group was asked to end, and not yet made to. */
  #asked = false;

  constructor(child: ChildProcess, { errors }: ProgramCommand) {
    this.pid = child.pid!;
    this.#input = new Input(child.stdin!);
    this.#output = outputOf(child);
    this.#output.on("error", ignore); // a reader learns it as the end
    this.#blocks = this.#output[Symbol.asyncIterator]();
    if (errors !== "inherit") passLines(child.stderr!, errors);
    entrusted.add(this);
    this.ended = new Promise((resolve) => {
      child.once("exit", (code, signal) => {
        this.#running = false;
        this.#signal(0, "group");
        if (!this.#asked || !this.#hasGroup) entrusted.delete(this);
        resolve({ code, signal });
      });
    });
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#input.write(bytes);
  }

  closeInput(): void {
    this.#input.close();
  }

  async read(): Promise<Uint8Array | null> {
    try {
      const { done, value } = await this.#blocks.next();
      return done === true ? null : value;
    } catch {
      return null; // it has closed its end in its own way
    }
  }

  closeOutput(): void {
    this.#output.destroy();
  }

  kill(
    signal: "SIGTERM" | "SIGKILL" | "SIGUSR1",
    whom?: "group",
  ): void {
    this.#signal(signal, whom);
    if (whom !== "group") return;
    this.#asked = signal === "SIGTERM";
    if (signal === "SIGKILL" && !this.#running) entrusted.delete(this);
  }

  #signal(signal: string | 0, whom?: "group"): void {
    if (whom === "group" ? !this.#hasGroup : !this.#running) return;
    try {
      process.kill(whom === "group" ? -this.pid : this.pid, signal);
    } catch {
      if (whom === "group") this.#hasGroup = false;
    }
  }
}

/** The writing end of a program's standard input. */
class Input {
  readonly #stream: Writable;

  constructor(stream: Writable) {
    this.#stream = stream;
    stream.on("error", ignore); // each write tells its own
  }

  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#stream.write(bytes, (cause) => {
        // Node tells no cause to what was pending when the program left.
        if (!cause && !this.#stream.destroyed) return resolve();
        reject(new StreamError("The program reads no more", { cause }));
      });
    });
  }

  close(): void {
    this.#stream.end();
  }
}

/** A line that is longer is passed on in parts. */
const longestLine = 8192;

function passLines(stream: Readable, take: (line: string) => void): void {
  let partial = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const lines = (partial + chunk).split("\n");
    partial = lines.pop()!;
    for (const line of lines) takeParts(line, take);
    while (partial.length > longestLine) {
      take(partial.slice(0, longestLine));
      partial = partial.slice(longestLine);
    }
  });
  stream.once("end", () => {
    if (partial !== "") takeParts(partial, take);
  });
  stream.on("error", ignore);
}

function takeParts(line: string, take: (part: string) => void): void {
  for (let at = 0; at < line.length || at === 0; at += longestLine) {
    take(line.slice(at, at + longestLine));
  }
}

function ignore(): void {}
