/** The command as a user gives it: a process of the runtime that the test runs
 * on, what it writes and how it ends. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Address } from "../../src/stream.ts";
import { Watch } from "./watch.ts";

/** What a command may be started with. */
export interface CommandOptions {
  /** Variables beside those that every command is given. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A command that was started, and is killed at the end of the scope. */
export class Command implements AsyncDisposable {
  /** What it wrote to standard output so far. */
  stdout = "";
  /** What it wrote to standard error so far. */
  stderr = "";
  /** Its exit code once it has ended, or the signal that ended it. */
  outcome: number | string | undefined;

  readonly #child: ChildProcess;
  readonly #watch = new Watch();

  /** Starts Headgate with these arguments. */
  constructor(args: readonly string[], options: CommandOptions = {}) {
    const [command = "", ...before] = programCommand();
    this.#child = spawn(command, [...before, ...args], {
      env: environment(options.env ?? {}),
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
      this.#watch.changed();
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
      this.#watch.changed();
    });
    this.#child.on("close", (code, signal) => {
      this.outcome = code ?? signal ?? "unknown";
      this.#watch.changed();
    });
  }

  /** Its process. */
  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** Where it listens, once it says that it is ready. */
  async ready(): Promise<Address[]> {
    await this.until(
      () => / Ready in /.test(this.stdout) || this.outcome !== undefined,
      "readiness",
    );
    const found = [...this.stdout.matchAll(listening)];
    if (found.length === 0) throw new Error(this.#summary());
    return found.map(([, host = "", port = "0", path]) =>
      path === undefined
        ? { host, port: Number(port) }
        : { host: path, port: 0 }
    );
  }

  /** Sends a signal. */
  signal(name: "SIGINT" | "SIGTERM" | "SIGKILL"): void {
    process.kill(this.pid, name);
  }

  /** Its exit code, or the signal that ended it, once it has ended and all
   * that it wrote has been read. */
  async ended(): Promise<number | string> {
    await this.until(() => this.outcome !== undefined, "its end");
    return this.outcome ?? "unknown";
  }

  /** Settles as soon as `condition` holds; looks whenever the command writes
   * or ends. Rejects after 25 seconds. */
  until(condition: () => boolean, what: string): Promise<void> {
    return this.#watch.until(condition, what, () => this.#summary());
  }

  /** Closes our end of its standard output, as a reader that goes away. */
  abandonOutput(): void {
    this.#child.stdout?.destroy();
  }

  /** Kills what still runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.outcome !== undefined) return;
    this.#child.kill("SIGKILL");
    await this.ended();
  }

  #summary(): string {
    return `outcome=${this.outcome} stdout=${
      JSON.stringify(this.stdout.slice(-500))
    } stderr=${JSON.stringify(this.stderr.slice(-500))}`;
  }
}

const listening =
  /Listening on (?:http:\/\/\[?([^\]\s]+?)\]?:(\d+)|unix:(\S+))/g;

/** Runs Headgate to its end. */
export async function runCommand(
  args: readonly string[],
  options: CommandOptions = {},
): Promise<Command> {
  await using command = new Command(args, options);
  await command.ended();
  return command;
}

let built: string | undefined;

/** The program of this runtime, as the README has it. */
function programCommand(): string[] {
  if ("Deno" in globalThis) return [process.execPath, "run", "-A", "mod.ts"];
  if ("Bun" in globalThis) return [process.execPath, "run", "mod.ts"];
  built ??= existsSync("dist/cli.js") ? "dist/cli.js" : buildProgram();
  return [process.execPath, built];
}

/** For a test that is run alone, before anything was built. */
function buildProgram(): string {
  const outfile = join(mkdtempSync(join(tmpdir(), "headgate-")), "cli.mjs");
  const { status, stderr } = spawnSync("node_modules/.bin/esbuild", [
    "src/bin.ts",
    "--bundle",
    "--platform=node",
    "--format=esm",
    "--target=node20",
    "--define:import.meta.main=false",
    "--log-level=warning",
    `--outfile=${outfile}`,
  ], { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  return outfile;
}

// Nothing of ours may leak from the tester's shell into the command.
function environment(
  more: Readonly<Record<string, string>>,
): Record<string, string> {
  const ours = /^(PORT|NO_COLOR|FORCE_COLOR|NODE_.*|HEADGATE_.*)$/;
  const kept = Object.entries(process.env)
    .filter(([name, value]) => value !== undefined && !ours.test(name));
  return { ...Object.fromEntries(kept) as Record<string, string>, ...more };
}
