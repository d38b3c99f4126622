/** Applications in Python, served in this process: the interpreter that has what
 * they need, a gateway before them, and what is logged. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { backendHost } from "../../adapters/backend_host.ts";
import { detectTransport } from "../../adapters/detect.ts";
import {
  type PythonApplication,
  type PythonOptions,
  startPython,
} from "../../src/apps/python.ts";
import type { LeveledLogger } from "../../src/log.ts";
import { serveHandler, type Server } from "../../src/serve.ts";
import { RawClient } from "./raw_client.ts";
import { LineLog } from "./line_log.ts";

/** Where the applications of these tests are. */
export const pythonApplications: string = resolve("tests/pythonapps");

/** An interpreter that can import these modules; undefined, with a line that
 * says so, where there is none. With CI=true that is an error. */
export function findPython(...modules: string[]): string | undefined {
  const program = `import ${["sys", ...modules].join(", ")}`;
  for (const interpreter of ["/usr/bin/python3", "python3"]) {
    const { status } = spawnSync(interpreter, ["-c", program]);
    if (status === 0) return interpreter;
  }
  const missing = `no python3 has ${modules.join(", ") || "its own library"}`;
  if (process.env.CI === "true") throw new Error(missing);
  console.log(`skip: ${missing}`);
  return undefined;
}

/** The environment of a Python process: ours, without traces of it in the
 * folder of the tests. */
export function pythonEnvironment(
  more: Readonly<Record<string, string>> = {},
): Record<string, string> {
  return {
    ...process.env as Record<string, string>,
    PYTHONDONTWRITEBYTECODE: "1",
    ...more,
  };
}

/** What a test may say otherwise. */
export type ServedOptions =
  & Partial<Omit<PythonOptions, "application">>
  & {
    /** How long requests may run on at the end. Where it is not said none runs,
     * and nobody waits for connections that the client keeps. */
    readonly graceSeconds?: number;
  };

/** A Python application behind a gateway. */
export class ServedPython implements AsyncDisposable {
  /** Records of the log, as in "error python-1 ...". */
  readonly lines: string[];
  readonly application: PythonApplication;
  /** "http://127.0.0.1:40123". */
  readonly address: string;

  readonly #server: Server;
  readonly #log: LineLog;
  readonly #graceSeconds: number | undefined;

  private constructor(
    application: PythonApplication,
    server: Server,
    log: LineLog,
    graceSeconds: number | undefined,
  ) {
    this.application = application;
    this.#server = server;
    this.lines = log.lines;
    this.#log = log;
    this.#graceSeconds = graceSeconds;
    this.address = `http://127.0.0.1:${server.addresses[0]?.port}`;
  }

  /** Starts it: "module:callable" in the folder of the tests' applications. */
  static async start(
    application: string,
    { graceSeconds, ...options }: ServedOptions = {},
  ): Promise<ServedPython> {
    const log = new LineLog();
    const python = await startPython({
      ...defaults(log),
      ...options,
      application: nameOf(application),
    });
    const transport = await detectTransport();
    const server = await serveHandler(transport, python.handler, {
      port: 0,
      log,
    });
    return new ServedPython(python, server, log, graceSeconds);
  }

  /** Asks for a path. */
  get(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`${this.address}${path}`, { redirect: "manual", ...init });
  }

  /** The content of a path, which is answered by 200. */
  async text(path: string): Promise<string> {
    const response = await this.get(path);
    const text = await response.text();
    if (response.status !== 200) throw new Error(`${response.status} ${text}`);
    return text;
  }

  /** The same, as JSON. */
  async json(path: string): Promise<Record<string, unknown>> {
    return JSON.parse(await this.text(path));
  }

  /** A connection of our own. */
  connect(): Promise<RawClient> {
    const { hostname, port } = new URL(this.address);
    return RawClient.connect({ host: hostname, port: Number(port) });
  }

  /** Waits for a record of the log. */
  logged(pattern: RegExp): Promise<string> {
    return this.#log.until(pattern);
  }

  /** Ends the gateway, then the application. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown(this.#graceSeconds ?? 0);
    await this.application.close(this.#graceSeconds ?? 5);
  }
}

/** Why an application does not start. */
export async function startFailure(
  application: string,
  options: ServedOptions = {},
): Promise<unknown> {
  try {
    await using _served = await ServedPython.start(application, options);
  } catch (error) {
    return error;
  }
  throw new Error(`${application} starts`);
}

function nameOf(application: string): PythonOptions["application"] {
  const [, module = "", callable] = /^(.*?):(.*)$/s.exec(application) ?? [];
  return { module, callable, directory: undefined };
}

function defaults(log: LeveledLogger): Omit<PythonOptions, "application"> {
  return {
    python: "/usr/bin/python3",
    pythonpath: [],
    cwd: pythonApplications,
    env: pythonEnvironment(),
    threads: 4,
    processes: 1,
    multiprocess: false,
    timeoutSeconds: Infinity,
    queueSeconds: 30,
    spool: "chunked",
    sendFileRoots: [],
    host: backendHost,
    log,
  };
}

/** A directory that is removed at the end of the scope. */
export class TemporaryDirectory implements Disposable {
  readonly path: string = mkdtempSync(join(tmpdir(), "headgate-test-"));

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
