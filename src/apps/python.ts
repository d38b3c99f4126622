/**
 * A Python application as a handler: processes of an interpreter, and the
 * requests that they are given.
 *
 * @module
 */
import type { BackendHost } from "../backend_host.ts";
import type { Handler } from "../exchange.ts";
import { BackendPool } from "../fastcgi/pool.ts";
import type { LeveledLogger } from "../log.ts";
import { findInterpreter } from "../python/interpreter.ts";
import { formatPythonName, type PythonName } from "../python/name.ts";
import { PythonPool } from "../python/pool.ts";
import { responder } from "../python/responder.ts";
import { fastcgi } from "./fastcgi.ts";
import type { HoldMode } from "./held_content.ts";

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
  /** The path at which the application is mounted; default "", the root. */
  readonly scriptName?: string;
  /** Which content is read whole before a thread is given it. */
  readonly spool: HoldMode;
  /** The absolute paths of directories from which it may have files sent. */
  readonly sendFileRoots: readonly string[];
  /** What starts processes, and reaches them. */
  readonly host: BackendHost;
  /** Where it is told what fails. */
  readonly log: LeveledLogger;
}

/** A Python application that serves. */
export interface PythonApplication {
  /** The application as a handler. */
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
  const { application, host, log, processes, timeoutSeconds } = options;
  const { queueSeconds, spool, sendFileRoots } = options;
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
    // A thread is not to wait for what a client has yet to send.
    handler: fastcgi(backends, {
      log,
      hold: { spool, host },
      packed: true,
      scriptName: options.scriptName ?? "",
      ...(sendFileRoots.length === 0
        ? {}
        : { sendFile: { roots: sendFileRoots, files: host.files } }),
    }),
    residentBytes: () => pool.residentBytes(),
    close: async (graceSeconds) => {
      await pool.close(graceSeconds);
      await backends.close();
    },
  };
}
