/** One CGI program, from its start to its end: the content of the request goes
 * in while its response comes out, each no faster than the other end takes it.
 *
 * The response ends where the program's output does. A program that runs on
 * after it has as long as it had for its answer. */
import type { BackendHost, Program, ProgramEnd } from "../backend_host.ts";
import { ApplicationError, BackendError, StreamError } from "../errors.ts";
import type { Exchange, ResponseWriter } from "../exchange.ts";
import {
  type CgiResponseHead,
  CgiResponseParser,
} from "../http/cgi_response.ts";
import { escapeForLog, type Logger } from "../logger.ts";
import type { HeldContent } from "./held_content.ts";
import { Patience } from "./patience.ts";

/** What a program is started with. */
export interface CgiCommand {
  /** Its file. */
  readonly file: string;
  /** Its directory. */
  readonly cwd: string;
  /** Its environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** What it is run with. */
export interface CgiRunOptions {
  readonly host: BackendHost;
  readonly log: Logger;
  /** How long it may keep its client waiting. */
  readonly seconds: number;
}

/** Starts a program. Rejects with `BackendError` where the system refuses. */
export async function startCgi(
  command: CgiCommand,
  options: CgiRunOptions,
): Promise<CgiRun> {
  const { host, log } = options;
  const { file } = command;
  const said = `${escapeForLog(file)}: `;
  try {
    const program = await host.start({
      ...command,
      args: [],
      errors: (line) => log.error(said + escapeForLog(line)),
      sharesOutput: false,
    });
    return new CgiRun(file, program, options);
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

/** How long a program has between being asked to end and being made to. */
const graceMs = 2000;

/** How long the end of a program that has closed its output is waited for, as it
 * tells whether the output was whole. */
const endMs = 1000;

/** A program that runs. */
export class CgiRun {
  /** Resolves when it has ended, and can be started again without being there
   * twice. Never rejects. */
  readonly ended: Promise<void>;
  readonly #file: string;
  readonly #program: Program;
  readonly #log: Logger;
  readonly #patience: Patience;
  /** Why the program is made to end. */
  #reason: Error | undefined;
  #sending: Promise<void> = Promise.resolve();
  #answered = false;
  #over: ProgramEnd | undefined;
  #killing: ReturnType<typeof setTimeout> | undefined;

  constructor(
    file: string,
    program: Program,
    { log, seconds }: CgiRunOptions,
  ) {
    this.#file = file;
    this.#program = program;
    this.#log = log;
    this.#patience = new Patience(
      seconds,
      () => this.#end(new BackendError(504, "A CGI program is too slow", file)),
    );
    this.ended = program.ended.then((end) => this.#finish(end));
  }

  /** Hands over the request and its response, once. Resolves with the target of
   * a local redirect, which is to be answered then, or with nothing once the
   * response has ended. Rejects where it cannot be whole. */
  async serve(
    exchange: Exchange,
    content: HeldContent,
  ): Promise<string | undefined> {
    const { signal } = exchange;
    const leave = () => this.#end(new StreamError("The client has left"));
    signal.addEventListener("abort", leave);
    if (signal.aborted) leave();
    this.#sending = this.#send(content);
    try {
      return await this.#receive(exchange);
    } catch (error) {
      this.#end(reasonOf(error, this.#file));
      throw this.#reason; // what came first
    } finally {
      this.#answered = true;
      this.#relax();
      signal.removeEventListener("abort", leave);
      this.#program.closeOutput();
    }
  }

  /** Resolves when nothing reads the content of the request any more, nor uses
   * what was read: not before then is the exchange over. */
  get sent(): Promise<void> {
    return this.#sending;
  }

  // ---- The request ----

  /** Never rejects: what the client did wrong ends the program. */
  async #send(content: HeldContent): Promise<void> {
    while (!this.#answered) {
      let piece: Uint8Array | null;
      try {
        const pending = content.read();
        piece = pending instanceof Promise && !content.whole
          ? await this.#patience.excuse(pending)
          : await pending;
      } catch (error) {
        this.#end(error as Error);
        break;
      }
      if (piece === null) break;
      try {
        await this.#program.write(piece);
      } catch {
        break; // it has read as much as it wanted
      }
      this.#patience.progress();
    }
    this.#program.closeInput();
  }

  // ---- The response ----

  async #receive({ response }: Exchange): Promise<string | undefined> {
    const { head, rest } = await this.#readHead();
    if (head.localRedirect !== undefined) return head.localRedirect;
    response.start(head.status, head.reason, head.fields);
    await this.#pass(response, rest);
    for (;;) {
      const piece = await this.#read();
      if (piece === null) break;
      await this.#pass(response, piece);
    }
    await this.#checkWhole(head);
    const pending = response.end();
    if (pending !== undefined) await pending;
    await response.flush();
  }

  async #readHead(): Promise<{ head: CgiResponseHead; rest: Uint8Array }> {
    const parser = new CgiResponseParser();
    for (let begun = false;; begun = true) {
      const piece = await this.#read();
      if (piece === null) {
        throw this.#reason ?? new BackendError(
          502,
          begun
            ? "A CGI program ended within the head of its response"
            : "A CGI program ended without a response",
          this.#file,
        );
      }
      const head = parser.push(piece);
      if (head !== undefined) {
        return { head, rest: piece.subarray(parser.contentStart) };
      }
    }
  }

  async #read(): Promise<Uint8Array | null> {
    const piece = await this.#program.read();
    this.#patience.progress();
    return piece;
  }

  /** Sends a piece on before the next one is waited for. */
  async #pass(response: ResponseWriter, piece: Uint8Array): Promise<void> {
    const pending = response.write(piece);
    if (pending !== undefined) await this.#patience.excuse(pending);
    const flushed = response.flush();
    if (flushed !== undefined) await this.#patience.excuse(flushed);
  }

  /** Where no length tells, the end of the output might be that of a program
   * that has failed. */
  async #checkWhole({ contentLength }: CgiResponseHead): Promise<void> {
    if (this.#reason !== undefined) throw this.#reason;
    if (contentLength !== undefined) return;
    await this.#waitForEnd();
    if (this.#reason !== undefined) throw this.#reason;
    if (this.#over === undefined || this.#over.signal === null) return;
    throw new BackendError(502, "A CGI program was killed", this.#file);
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

  // ---- The end ----

  /** Has the program end, and whatever it has started. */
  #end(reason: Error): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    if (this.#answered && reason instanceof BackendError) {
      this.#log.warn(
        `${escapeForLog(this.#file)}: still runs long after its response`,
      );
    }
    this.#program.kill("SIGTERM", "group");
    this.#killing = setTimeout(() => this.#kill(), graceMs);
    if (this.#over !== undefined) this.#kill();
  }

  /** It has ended, and so has its output: others could have held that open. */
  #relax(): void {
    if (this.#answered && this.#over !== undefined) this.#patience.stop();
  }

  #kill(): void {
    clearTimeout(this.#killing);
    this.#program.kill("SIGKILL", "group");
    // Somebody who has left the group may hold its output.
    this.#program.closeOutput();
  }

  #finish(end: ProgramEnd): void {
    this.#over = end;
    this.#relax();
    if (this.#reason !== undefined) return this.#kill();
    const { code, signal } = end;
    if (code === 0) return;
    this.#log.warn(
      `${escapeForLog(this.#file)}: ` +
        (signal === null ? `ended with ${code}` : `ended by ${signal}`),
    );
  }
}

/** What HTTP does not allow is the program's fault, as the response is its. */
function reasonOf(error: unknown, file: string): Error {
  if (error instanceof ApplicationError) {
    return new BackendError(
      502,
      "A CGI program gave a response that is none",
      file,
      { cause: error },
    );
  }
  return error instanceof Error ? error : new Error(String(error));
}
