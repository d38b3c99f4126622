/**
 * Applications outside of this process, for a program that has Headgate as a
 * library: what the command line finds out is here said in options.
 *
 * @module
 */
import { readApplicationName } from "./apps/application_name.ts";
import {
  type FastCgiServer,
  fastcgiServer,
  type FastCgiServerOptions,
} from "./apps/fastcgi_server.ts";
import {
  type PythonApplication,
  type PythonOptions,
  startPython,
} from "./apps/python.ts";
import { scgi, type ScgiOptions } from "./apps/scgi.ts";
import {
  parseServerAddress,
  type ServerProtocol,
} from "./apps/server_address.ts";
import type { BackendHost } from "./backend_host.ts";
import { CommandError } from "./command_error.ts";
import type { Handler } from "./exchange.ts";
import type { Host } from "./host.ts";
import type { Logger } from "./logger.ts";
import type { ByteStream } from "./stream.ts";

/** How a FastCGI server is used. */
export type FastCgiUse = Omit<
  FastCgiServerOptions,
  "name" | "connect" | "host"
>;

/** How an SCGI server is used. */
export type ScgiUse = Omit<ScgiOptions, "name" | "host">;

/** How a Python application is served. Defaults are those of the command line;
 * that of `env` is the environment of this process. */
export interface PythonUse
  extends Partial<Omit<PythonOptions, "application" | "host" | "log">> {
  /** Where it is told what fails; default `console`. */
  readonly log?: Logger;
}

/** What of the process is needed. */
type OurProcess = Pick<Host, "backends" | "env" | "status">;

/** Makes a handler of a FastCGI server. Rejects with `CommandError`. */
export async function useFastCgi(
  address: string,
  options: FastCgiUse,
  machine: OurProcess,
): Promise<FastCgiServer> {
  const reach = await reachServer("fastcgi", address, machine);
  return fastcgiServer({ ...options, name: address, ...reach });
}

/** Makes a handler of an SCGI server. Rejects with `CommandError`. */
export async function useScgi(
  address: string,
  options: ScgiUse,
  machine: OurProcess,
): Promise<Handler> {
  const { connect, host } = await reachServer("scgi", address, machine);
  return scgi(connect, { ...options, name: address, host });
}

/** Starts a Python application. Rejects with `CommandError`. */
export async function usePython(
  application: string,
  { log = console, ...options }: PythonUse,
  machine: OurProcess,
): Promise<PythonApplication> {
  const { pythonpath = [] } = options;
  const name = await readApplicationName(application, machine, pythonpath);
  if (name.kind !== "python") {
    throw new CommandError(
      2,
      `${application} is not a Python application`,
      "Write module:callable, or file.py:callable.",
    );
  }
  return await startPython({
    python: undefined,
    pythonpath,
    cwd: undefined,
    env: definedOnly(machine.env),
    threads: 4,
    processes: 1,
    multiprocess: false,
    timeoutSeconds: 30,
    queueSeconds: 30,
    spool: "chunked",
    sendFileRoots: [],
    ...options,
    application: name.python,
    host: await machine.backends(),
    log: {
      debug: (message) => log.debug(message),
      info: (message) => log.info(message),
      warn: (message) => log.warn(message),
      error: (message) => log.error(message),
      critical: (message) => log.error(message),
    },
  });
}

/** An environment without the names that stand for nothing. */
export function definedOnly(
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const defined: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined) defined[name] = value;
  }
  return defined;
}

/** How to reach a server, if it speaks the protocol that is wanted. */
async function reachServer(
  protocol: ServerProtocol,
  address: string,
  machine: OurProcess,
): Promise<{ connect: () => Promise<ByteStream>; host: BackendHost }> {
  const parsed = parseServerAddress(address);
  if (parsed?.protocol !== protocol) {
    throw new CommandError(
      2,
      `${address} is not the address of a server that speaks ${protocol}`,
      `Write ${protocol}://127.0.0.1:9000 or ${protocol}+unix:/run/app.sock.`,
    );
  }
  const host = await machine.backends();
  return { connect: () => host.connect(parsed.connect), host };
}
