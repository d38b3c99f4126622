/** One CGI program, from its start to its end. It may run on after its response,
 * but not for ever. */
import type { BackendHost, Program, ProgramEnd } from "../backend_host.ts";
import { BackendError } from "../errors.ts";
import { escapeForLog, type Logger } from "../logger.ts";
import type { MaybePromise } from "../stream.ts";
import type { Responder } from "./dialogue.ts";

/** What a program is started with. */
export interface CgiCommand {
  /** Its file. */
  readonly file: string;
  /** Its directory. */
  readonly cwd: string;
  /** Its environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** Starts a program. Rejects with `BackendError` where the system refuses. */
export async function startCgiProgram(
  command: CgiCommand,
  host: BackendHost,
  log: Logger,
): Promise<CgiProgram> {
  const { file } = command;
  const said = `${escapeForLog(file)}: `;
  try {
    const program = await host.start({
      ...command,
      args: [],
      errors: (line) => log.error(said + escapeForLog(line)),
      sharesOutput: false,
    });
    return new CgiProgram(file, program, log);
  } catch (cause) {
    const { code = "" } = cause as { code?: string };
    // It is there: of a script, the interpreter that its first line names is not.
    const message = code === "ENOENT"
      ? "The interpreter of a CGI program does not exist"
      : "A CGI program does not start";
    const status = passing.includes(code) ? 503 : 502;
    throw new BackendError(status, message, file, { cause });
  }
}

/** What ails the machine, and may be over soon. */
const passing = ["EAGAIN", "EMFILE", "ENFILE", "ENOMEM"];

/** How long a program, and what it has started, have between being asked to end
 * and being made to. */
const graceMs = 2000;

/** How long the end of a program that has closed its output is waited for, as it
 * tells whether the output was whole. */
const endMs = 1000;

/** A program that runs. */
export class CgiProgram implements Responder {
  readonly kind: string = "A CGI program";
  readonly name: string;
  /** Resolves when it has ended. Never rejects. */
  readonly ended: Promise<void>;
  readonly #program: Program;
  readonly #log: Logger;
  /** It is made to end. */
  #ending = false;
  #end: ProgramEnd | undefined;

  constructor(file: string, program: Program, log: Logger) {
    this.name = file;
    this.#program = program;
    this.#log = log;
    this.ended = program.ended.then((end) => this.#finish(end));
  }

  write(piece: Uint8Array): MaybePromise<void> {
    return this.#program.write(piece);
  }

  closeInput(): void {
    this.#program.closeInput();
  }

  read(): Promise<Uint8Array | null> {
    return this.#program.read();
  }

  closeOutput(): void {
    this.#program.closeOutput();
  }

  /** The end of the output might be that of a program that has crashed. */
  async checkWhole(): Promise<void> {
    await this.#waitForEnd();
    if (this.#end === undefined || this.#end.signal === null) return;
    throw new BackendError(502, "A CGI program was killed", this.name);
  }

  #waitForEnd(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, endMs);
      void this.ended.then(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  end(late: boolean): void {
    this.#ending = true;
    if (late) this.#warn("still runs long after its response");
    // What it has started ends with it.
    this.#program.kill("SIGTERM", "group");
    setTimeout(() => {
      this.#program.kill("SIGKILL", "group");
      // Somebody who has left the group may hold its output.
      this.#program.closeOutput();
    }, graceMs);
  }

  #finish(end: ProgramEnd): void {
    this.#end = end;
    if (this.#ending) return;
    const { code, signal } = end;
    if (code === 0) return;
    this.#warn(signal === null ? `ended with ${code}` : `ended by ${signal}`);
  }

  #warn(what: string): void {
    this.#log.warn(`${escapeForLog(this.name)}: ${what}`);
  }
}
