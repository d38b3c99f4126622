/**
 * One Python process with the responder in it, from its start to its end. What
 * it says on its standard output is lines of JSON; the end of its standard
 * input tells it to leave.
 *
 * @module
 */
import type { BackendHost, Program, ProgramEnd } from "../backend_host.ts";
import { CommandError, errorCode } from "../command_error.ts";
import {
  faultOf,
  faultOfVersion,
  type ProgramEnvironment,
} from "./interpreter.ts";

/** What a Python process is started with. */
export interface PythonCommand {
  /** The interpreter's file. */
  readonly interpreter: string;
  /** Its whole environment. */
  readonly env: ProgramEnvironment;
  /** Its working directory; ours where there is none. */
  readonly cwd: string | undefined;
  /** "package.module:callable". */
  readonly application: string;
  /** How many requests it serves at a time. */
  readonly threads: number;
  /** Where modules are looked for first. */
  readonly pythonpath: readonly string[];
  /** Whether other processes serve the application too. */
  readonly multiprocess: boolean;
  /** The private directory that holds the responder, and is to hold what the
   * process makes. */
  readonly directory: string;
}

/** The responder's file in the private directory. */
export const responderFile = "headgate_wsgi.py";

/** What the interpreter says once it can serve. */
export interface Readiness {
  /** Its version, as in "3.11.2". */
  readonly version: string;
}

/** How long the stacks may take to be written. */
const stacksSeconds = 2;
const stacksPollMs = 20;

/** The longest path of a Unix-domain socket, in bytes, on every system: some
 * take four more. */
const longestSocketPath = 103;

/** How long it may take to leave when it cannot serve. */
const leaveSeconds = 2;

/** What it is told before its standard input ends. Without that it takes us to
 * have been killed, and removes the private directory. */
const farewell = new TextEncoder().encode("leave\n");

/** The longest line that a report may be; a traceback is one. */
const longestReport = 1 << 20;

/** A Python process that was started. */
export class PythonProcess {
  /** Its number, and its name in what is logged of it. */
  readonly pid: number;
  readonly name: string;
  /** The Unix-domain socket that it listens on, once it is ready. */
  readonly socket: string;
  /** How it ended. */
  readonly ended: Promise<ProgramEnd>;
  /** Resolves when it listens, and has the application. Rejects with
   * `CommandError` when it ends before. */
  readonly ready: Promise<Readiness>;
  /** True once it has ended. */
  hasEnded = false;

  readonly #program: Program;
  readonly #stacksFile: string;
  readonly #host: BackendHost;
  #dismissed = false;
  #toldToLeave = false;

  private constructor(
    program: Program,
    command: PythonCommand,
    name: string,
    host: BackendHost,
  ) {
    this.#program = program;
    this.#host = host;
    this.pid = program.pid;
    this.name = `${name} (pid ${program.pid})`;
    this.socket = socketOf(command, name);
    this.#stacksFile = stacksOf(command, name);
    this.ended = program.ended.then((end) => {
      this.hasEnded = true;
      return end;
    });
    this.ready = this.#becomeReady(command);
    this.ready.catch(() => {}); // whoever started it asks, maybe later
  }

  /** Starts the interpreter; `name` is its own in the private directory. Rejects
   * with `CommandError` when the system refuses. */
  static async start(
    command: PythonCommand,
    name: string,
    host: BackendHost,
  ): Promise<PythonProcess> {
    checkSocketPath(socketOf(command, name));
    try {
      const program = await host.start({
        file: command.interpreter,
        args: argumentsOf(command, name),
        ...(command.cwd === undefined ? {} : { cwd: command.cwd }),
        env: command.env,
        errors: "inherit",
        sharesOutput: true,
      });
      return new PythonProcess(program, command, name, host);
    } catch (error) {
      throw await faultOf(command.interpreter, command.env, host) ??
        new CommandError(
          1,
          `Cannot start ${command.interpreter}`,
          "Check that it may be executed, and that its working directory is " +
            "there.",
          `${errorCode(error)} ${String(error)}`.trim(),
        );
    }
  }

  /** Bytes of its resident memory; 0 where nobody tells. */
  residentBytes(): number {
    return this.hasEnded ? 0 : this.#host.residentBytes(this.pid) ?? 0;
  }

  /** What its threads are doing, as Python's `faulthandler` tells it, without
   * those that wait for a request; "" when it does not answer. */
  async stacks(): Promise<string> {
    const file = this.#stacksFile;
    const before = this.#host.readText(file).length;
    // It has not said yet that the signal would not end it.
    if (before === 0 || this.hasEnded) return "";
    let seen = before;
    this.#program.kill("SIGUSR1");
    const deadline = performance.now() + stacksSeconds * 1000;
    while (performance.now() < deadline && !this.hasEnded) {
      await sleep(stacksPollMs);
      const size = this.#host.readText(file).length;
      // It is written piece by piece; when nothing was added it is whole.
      if (size > before && size === seen) break;
      seen = size;
    }
    return busyStacks(this.#host.readText(file).slice(before));
  }

  /** Tells it to leave once its running requests have ended, and kills it with
   * its children when it has not after so long. Resolves when it has ended. */
  leave(graceSeconds: number): Promise<ProgramEnd> {
    this.#dismissed = true;
    return this.#leave(graceSeconds);
  }

  async #leave(graceSeconds: number): Promise<ProgramEnd> {
    this.#dismiss();
    const timer = setTimeout(() => this.#kill(), graceSeconds * 1000);
    try {
      return await this.ended;
    } finally {
      clearTimeout(timer);
    }
  }

  #dismiss(): void {
    if (this.#toldToLeave) return;
    this.#toldToLeave = true;
    const pending = this.#program.write(farewell);
    if (pending instanceof Promise) pending.catch(() => {}); // it has gone
    this.#program.closeInput();
  }

  /** Kills it with its children. */
  kill(): void {
    this.#dismissed = true;
    this.#kill();
  }

  #kill(): void {
    this.#program.kill("SIGKILL", "group");
  }

  async #becomeReady(command: PythonCommand): Promise<Readiness> {
    const reports = new Reports(this.#program);
    const report = await reports.next();
    // What else it says is not to make it wait.
    void reports.drop();
    const fault = report?.type === "ready"
      ? faultOfVersion(command.interpreter, report.python)
      : report && loadFailure(command, report);
    if (report?.type === "ready" && fault === undefined) {
      return { version: report.python };
    }
    if (this.#dismissed) throw dismissal(command);
    // Whatever it still has to do: it serves nothing.
    const end = await this.#leave(leaveSeconds);
    if (this.#dismissed) throw dismissal(command);
    if (fault !== undefined) throw fault;
    throw await faultOf(command.interpreter, command.env, this.#host) ??
      new CommandError(
        3,
        `Cannot load ${command.application}: Python ${describeEnd(end)}`,
        "See what it printed before; the module may have ended it.",
      );
  }
}

function socketOf({ directory }: PythonCommand, name: string): string {
  return `${directory}/${name}.sock`;
}

function checkSocketPath(path: string): void {
  if (new TextEncoder().encode(path).length <= longestSocketPath) return;
  throw new CommandError(
    1,
    `${path} is too long for the path of a socket`,
    "Have TMPDIR name a directory with a shorter path, as in TMPDIR=/tmp.",
  );
}

function stacksOf({ directory }: PythonCommand, name: string): string {
  return `${directory}/${name}.stacks`;
}

function argumentsOf(command: PythonCommand, name: string): string[] {
  return [
    `${command.directory}/${responderFile}`,
    "--socket",
    socketOf(command, name),
    "--app",
    command.application,
    "--threads",
    String(command.threads),
    "--stacks",
    stacksOf(command, name),
    "--private",
    command.directory,
    ...command.pythonpath.flatMap((path) => ["--pythonpath", path]),
    ...(command.multiprocess ? ["--multiprocess"] : []),
  ];
}

/** What the responder reports. */
type Report =
  | { readonly type: "ready"; readonly python: string }
  | {
    readonly type: "failed";
    readonly message: string;
    readonly traceback: string;
  };

/** The lines that a program writes to its standard output. */
class Reports {
  readonly #program: Program;
  readonly #decoder = new TextDecoder();
  #text = "";

  constructor(program: Program) {
    this.#program = program;
  }

  /** The next report; undefined when the program says no more, or something
   * else. */
  async next(): Promise<Report | undefined> {
    while (!this.#text.includes("\n")) {
      const bytes = await this.#program.read();
      if (bytes === null || this.#text.length > longestReport) return undefined;
      this.#text += this.#decoder.decode(bytes, { stream: true });
    }
    return readReport(this.#text.slice(0, this.#text.indexOf("\n")));
  }

  /** Reads on to the end, and keeps nothing. Never rejects. */
  async drop(): Promise<void> {
    try {
      while (await this.#program.read() !== null);
    } catch {
      // How the process ended says what there is to say.
    }
  }
}

function readReport(line: string): Report | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const report = value as Record<string, unknown>;
  const { type, python, message, traceback } = report;
  if (type === "ready" && typeof python === "string") return { type, python };
  if (type !== "failed" || typeof message !== "string") return undefined;
  return {
    type,
    message,
    traceback: typeof traceback === "string" ? traceback : "",
  };
}

/** Nobody asks why it cannot serve. */
function dismissal({ application }: PythonCommand): CommandError {
  return new CommandError(
    3,
    `Python was ended before it had loaded ${application}`,
    "Start again.",
  );
}

function loadFailure(
  { application, interpreter }: PythonCommand,
  { message, traceback }: Extract<Report, { type: "failed" }>,
): CommandError {
  const missing = /(?:No module named|There is no module) '([^']+)'/
    .exec(message)?.[1];
  const own = application.split(":")[0]?.split(".")[0];
  const remedy = missing === undefined
    ? "Correct what it says and start again."
    : missing.split(".")[0] === own
    ? "Check the spelling, start in the directory that holds the module, or " +
      "name that with --chdir or --pythonpath."
    : `Install it for ${interpreter}, or name the interpreter that has it: ` +
      "--python .venv/bin/python.";
  return new CommandError(
    3,
    `Cannot load ${application}: ${message}`,
    remedy,
    traceback.trimEnd() || undefined,
  );
}

/** "was ended by SIGSEGV", "exited with code 7". */
export function describeEnd({ code, signal }: ProgramEnd): string {
  return signal === null
    ? `exited with code ${code}`
    : `was ended by ${signal}`;
}

/** A dump of `faulthandler` without the threads that have no frame of the
 * application's, and without the frames that lead there; as it is where no
 * thread has any. */
function busyStacks(dump: string): string {
  const threads = dump.trim().split(/\n\n+/);
  const busy = threads.map(withoutOwnEnd).filter((thread) => thread !== "");
  return (busy.length > 0 ? busy : threads).join("\n");
}

/** A thread as far as the application's first frame; "" when it has none. */
function withoutOwnEnd(thread: string): string {
  const lines = thread.split("\n");
  while (lines.length > 0 && !isForeign(lines.at(-1) ?? "")) lines.pop();
  return lines.join("\n");
}

function isForeign(line: string): boolean {
  return /^ {2}File "/.test(line) && !ownFrame.test(line);
}

/** Frames of the responder, of what it waits in, and of imports. */
const ownFrame = new RegExp(
  `[/"](?:${
    responderFile.replace(".", "\\.")
  }|threading\\.py|socket\\.py|selectors\\.py|importlib/__init__\\.py|<frozen importlib.*)"`,
);

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
