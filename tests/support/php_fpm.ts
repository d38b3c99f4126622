/** PHP-FPM with a configuration of the test's own, where the machine has it. */
import { type ChildProcess, spawn } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";

/** The path of PHP-FPM; undefined, with a line that says so, where it is not
 * installed. With CI=true that is an error: a gate does not skip. */
export function findPhpFpm(): string | undefined {
  const directories = (process.env.PATH ?? "").split(delimiter);
  for (const directory of [...directories, "/usr/sbin", "/usr/local/sbin"]) {
    if (!existsSync(directory)) continue;
    const name = readdirSync(directory)
      .find((name) => /^php-fpm(\d+(\.\d+)?)?$/.test(name));
    if (name !== undefined) return join(directory, name);
  }
  if (process.env.CI === "true") throw new Error("PHP-FPM is not installed");
  console.log("skip: PHP-FPM is not installed");
  return undefined;
}

/** See {@linkcode startPhpFpm}. */
export class PhpFpm {
  /** A directory of its own, which its scripts find as SCRATCH. */
  readonly directory: string = mkdtempSync(join(tmpdir(), "headgate-php-"));
  /** Where it listens. */
  readonly socket: string = join(this.directory, "fpm.sock");
  readonly #program: string;
  readonly #children: number;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();

  constructor(program: string, children: number) {
    this.#program = program;
    this.#children = children;
  }

  /** Starts it; resolves when it accepts connections. */
  async start(): Promise<void> {
    const { directory } = this;
    const log = join(directory, "fpm.log");
    const root = process.getuid?.() === 0;
    writeFileSync(
      join(directory, "fpm.conf"),
      [
        "[global]",
        `error_log = ${log}`,
        "daemonize = no",
        "[test]",
        `listen = ${this.socket}`,
        ...(root ? ["user = root", "group = root"] : []),
        "pm = static",
        `pm.max_children = ${this.#children}`,
        `env[SCRATCH] = ${directory}`,
        `php_admin_value[session.save_path] = ${directory}`,
        `php_admin_value[upload_tmp_dir] = ${directory}`,
        `php_admin_value[upload_max_filesize] = 16M`,
        `php_admin_value[post_max_size] = 16M`,
        "php_admin_flag[log_errors] = on",
        "php_admin_flag[display_errors] = off",
        "",
      ].join("\n"),
    );
    writeFileSync(log, "");
    const child = spawn(this.#program, [
      "--nodaemonize",
      "--no-php-ini",
      ...(root ? ["--allow-to-run-as-root"] : []),
      "--fpm-config",
      join(directory, "fpm.conf"),
    ], { stdio: "ignore" });
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      child.once("error", () => resolve());
      child.once("exit", () => resolve());
    });
    const ready = () => readFileSync(log, "utf8").includes("ready to handle");
    await until(() => ready() || child.exitCode !== null, "PHP-FPM");
    if (!ready()) throw new Error(readFileSync(log, "utf8"));
  }

  /** Ends it at once, whatever it serves. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child?.pid !== undefined && child.exitCode === null) {
      process.kill(child.pid, "SIGTERM");
    }
    await this.#ended;
  }

  /** The path of a file in its directory. */
  file(name: string): string {
    return join(this.directory, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Starts PHP-FPM with so many children; undefined where it is not installed. */
export async function startPhpFpm(
  children: number,
): Promise<PhpFpm | undefined> {
  const program = findPhpFpm();
  if (program === undefined) return undefined;
  const php = new PhpFpm(program, children);
  try {
    await php.start();
    return php;
  } catch (error) {
    await php[Symbol.asyncDispose]();
    throw error;
  }
}

/** Looks again and again, for 25 seconds at most. */
export async function until(
  condition: () => boolean,
  what: string,
): Promise<void> {
  const deadline = performance.now() + 25_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`${what} does not come`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
