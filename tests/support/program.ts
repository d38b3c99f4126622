/** The program itself, as a child process on the runtime that the test runs on. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";

/** How the runtime of this test starts the program. On Node it is `dist/cli.js`,
 * which the test runner has built. `denoOptions` are options of `deno run`. */
export function programCommand(
  denoOptions: readonly string[] = [],
): [command: string, ...args: string[]] {
  if ("Deno" in globalThis) {
    return [process.execPath, "run", "-A", ...denoOptions, "mod.ts"];
  }
  if ("Bun" in globalThis) return [process.execPath, "run", "mod.ts"];
  return [process.execPath, "dist/cli.js"];
}

/** A started program. */
export interface Program {
  readonly pid: number;
  /** What it listens on, as it says itself: "http://127.0.0.1:40123". */
  readonly address: string;
  /** Everything it has printed so far. */
  output(): string;
  /** Sends a signal. */
  kill(signal: "SIGINT" | "SIGTERM" | "SIGKILL"): void;
  readonly exited: Promise<{ code: number | null; signal: string | null }>;
  /** Ends it, whatever it is doing. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts the program on a port of the system's choice, and resolves when it is
 * ready; rejects with what it printed when it ends before. */
export async function startProgram(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  denoOptions: readonly string[] = [],
): Promise<Program> {
  const [command, ...before] = programCommand(denoOptions);
  const child: ChildProcess = spawn(command, [
    ...before,
    ...args,
    "--bind",
    "127.0.0.1:0",
  ], {
    env: { ...process.env, NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let printed = "";
  const exited = new Promise<{ code: number | null; signal: string | null }>(
    (resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => resolve({ code, signal }));
    },
  );
  const address = await new Promise<string>((resolve, reject) => {
    const collect = (piece: Uint8Array) => {
      printed += new TextDecoder().decode(piece);
      const match = /Listening on (http:\S+)/.exec(printed);
      if (match !== null && printed.includes("Ready in")) resolve(match[1]!);
    };
    child.stdout!.on("data", collect);
    child.stderr!.on("data", collect);
    exited.then(
      () => reject(new Error(`The program ended: ${printed}`)),
      reject,
    );
  });
  const pid = child.pid!;
  return {
    pid,
    address,
    output: () => printed,
    kill: (signal) => void process.kill(pid, signal),
    exited,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) {
        process.kill(pid, "SIGKILL");
      }
      await exited;
    },
  };
}

/** Whether a process is there that has not ended. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  // Whoever has ended and was not asked about yet still has its number.
  return !/\) Z /.test(readStat(pid));
}

function readStat(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return "";
  }
}
