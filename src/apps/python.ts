/**
 * A Python application as a handler: processes of an interpreter, and the
 * requests that they are given.
 *
 * @module
 */
import type { BackendHost } from "../backend_host.ts";
import type { Exchange, Handler } from "../exchange.ts";
import { BackendPool, type ResponderRequest } from "../fastcgi/pool.ts";
import type { LeveledLogger } from "../log.ts";
import { eachMetaVariable } from "../meta_variables.ts";
import { findInterpreter } from "../python/interpreter.ts";
import { formatPythonName, type PythonName } from "../python/name.ts";
import { PythonPool } from "../python/pool.ts";
import { responder } from "../python/responder.ts";
import { version } from "../version.ts";
import { ask } from "./fastcgi.ts";
import { type HeldContent, holdContent } from "./held_content.ts";

/** What a Python application is started with. */
export interface PythonOptions {
  /** What it is called. */
  readonly application: PythonName;
  /** The interpreter: a path, or a name along `PATH`; undefined for that of the
   * active virtual environment, else `python3`. */
  readonly python: string | undefined;
  /** Where modules are looked for before the working directory. */
  readonly pythonpath: readonly string[];
  /** The working directory; undefined for ours. */
  readonly cwd: string | undefined;
  /** The environment of the processes. */
  readonly env: Readonly<Record<string, string>>;
  /** How many requests each process serves at a time. */
  readonly threads: number;
  /** How many processes there are. */
  readonly processes: number;
  /** Whether yet others serve the application too. */
  readonly multiprocess: boolean;
  /** How long a request may be without a byte, when that is not the client's
   * fault, before its process is replaced; Infinity for ever. */
  readonly timeoutSeconds: number;
  /** How long a request may wait for a thread; Infinity for ever. */
  readonly queueSeconds: number;
  /** Which content is read whole before a thread is given it. */
  readonly spool: "off" | "chunked" | "all";
  readonly host: BackendHost;
  readonly log: LeveledLogger;
}

/** A Python application that serves. */
export interface PythonApplication {
  readonly handler: Handler;
  /** Resident memory of its processes, in bytes. */
  residentBytes(): number;
  /** Ends its processes; what they have in hand may take so long. */
  close(graceSeconds: number): Promise<void>;
}

/** Starts a Python application, and resolves when all its processes can serve.
 * Rejects with `CommandError`. */
export async function startPython(
  options: PythonOptions,
): Promise<PythonApplication> {
  const { application, host, log, processes, timeoutSeconds, queueSeconds } =
    options;
  const { directory } = application;
  const interpreter = findInterpreter(options.python, options.env, host);
  // A request that hangs is the processes' affair.
  const backends = new BackendPool({ log, queueSeconds, timeoutSeconds: 0 });
  const pool = await PythonPool.start({
    command: {
      interpreter,
      env: options.env,
      cwd: options.cwd,
      application: formatPythonName(application),
      threads: options.threads,
      pythonpath: [
        ...(directory === undefined ? [] : [directory]),
        ...options.pythonpath,
      ],
      multiprocess: options.multiprocess || processes > 1,
    },
    responder,
    processes,
    timeoutSeconds,
    backends,
    host,
    log,
  });
  return {
    handler: pythonHandler(backends, options),
    residentBytes: () => pool.residentBytes(),
    close: async (graceSeconds) => {
      await pool.close(graceSeconds);
      await backends.close();
    },
  };
}

function pythonHandler(
  backends: BackendPool,
  { host, log, spool }: PythonOptions,
): Handler {
  const hold = { spool, host };
  const serve = async (exchange: Exchange): Promise<void> => {
    // A thread is not to wait for what a client has yet to send.
    const pending = holdContent(exchange, hold);
    const content = pending instanceof Promise ? await pending : pending;
    try {
      await ask(backends, new PythonRequest(exchange, content), log);
    } finally {
      content.close();
    }
  };
  return serve;
}

const software = `headgate/${version}`;

/** A request as our responder likes to have it. */
class PythonRequest implements ResponderRequest {
  readonly exchange: Exchange;
  readonly content: HeldContent;
  reading: Promise<unknown> | undefined = undefined;

  constructor(exchange: Exchange, content: HeldContent) {
    this.exchange = exchange;
    this.content = content;
  }

  /** All in one, which Python takes apart at once: names and values, each ended
   * by NUL, which none of them can have. */
  params(put: (name: string, value: string) => void): void {
    const { exchange, content } = this;
    const chunked = exchange.head.framing === "chunked";
    let environ = "";
    eachMetaVariable(exchange, {
      scriptName: "",
      software,
      contentLength: chunked ? content.length : undefined,
    }, (name, value) => {
      environ += `${name}\0${value}\0`;
    });
    put("HEADGATE_ENVIRON", environ);
  }

  accepts(): boolean {
    return true;
  }
}
