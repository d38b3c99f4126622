/**
 * One process that serves: listens, waits for a reason to stop, lets running
 * requests end.
 *
 * @module
 */
import {
  type FoundApplication,
  hooksOf,
  loadFor,
  serveApplication,
  type ServedApplication,
  tellListening,
  warningsOf,
  withModuleSettings,
} from "./application.ts";
import { formatAddress } from "./bind.ts";
import type { Config, LoadedConfig } from "./config.ts";
import type { Handler } from "./exchange.ts";
import type { Host } from "./host.ts";
import { explainListen } from "./listen_errors.ts";
import type { LeveledLogger } from "./log.ts";
import { type Logs, openLogs, reopenAtSignal } from "./log_files.ts";
import { escapeForLog, traceOf } from "./logger.ts";
import { serveHandler, type Server } from "./serve.ts";
import { clearStaleSockets, removeSocketsAtExit } from "./socket_files.ts";
import type { Transport } from "./stream.ts";
import { version } from "./version.ts";

/** Serves until a signal comes, and resolves with the exit code. Throws
 * `CommandError`. */
export async function serveUntilStopped(
  configuration: LoadedConfig,
  host: Host,
  transport: Transport,
): Promise<number> {
  const { config } = configuration;
  const logs = openLogs(config, host);
  try {
    return await serve(configuration, logs, host, transport);
  } finally {
    logs.close();
  }
}

async function serve(
  configuration: LoadedConfig,
  logs: Logs,
  host: Host,
  transport: Transport,
): Promise<number> {
  const { log } = logs;
  const info = { pid: host.pid, seat: 1, generation: 1, log };
  const early = await hooksOf(configuration);
  await early?.server("onStarting", info);
  await early?.worker("workerStart", info);
  const application = await loadFor(configuration.config, host);
  const config = withModuleSettings(configuration.config, application);
  const hooks = await hooksOf(configuration, application);
  const stops = new Stops(host, logs);
  let served: ServedApplication | undefined;
  try {
    const warnings = [
      ...warningsOf(application, config),
      ...hooks?.warnings ?? [],
    ];
    for (const warning of warnings) log.warn(warning);
    await clearStaleSockets(config, host);
    const serving = serveApplication(application, config, host, log, {
      multiprocess: false,
    });
    // It may never be ready. What it has started then ends with this process.
    const stop = await Promise.race([serving.then(() => {}), stops.first]);
    if (stop !== undefined) {
      serving.catch(() => {});
      log.info(`${stop.reason} before the application was ready: stopped`);
      return stop.exitCode;
    }
    served = await serving;
    const handler = hooks?.beforeRequests(served.handler, info) ??
      served.handler;
    const access = hooks?.afterRequests(logs.access, info) ?? logs.access;
    const server = await listen(config, handler, host, transport, {
      log,
      access,
    });
    const forgetSockets = removeSocketsAtExit(config, host);
    announce(config, describeKind(application), host, server, log);
    await tellListening(application, server.addresses, log);
    await hooks?.worker("workerReady", info);
    await hooks?.server("whenReady", info);
    const { reason, exitCode } = await stops.first;
    logs.log.info(
      `${reason}: letting running requests end, at most ` +
        `${config.graceSeconds} s; the next signal stops at once`,
    );
    await server.shutdown(config.graceSeconds);
    forgetSockets();
    await served.close();
    served = undefined;
    await hooks?.worker("workerExit", info);
    await hooks?.server("onExit", info);
    logs.log.info("Stopped");
    return exitCode;
  } finally {
    await served?.close();
    stops.forget();
  }
}

async function listen(
  config: Config,
  handler: Handler,
  host: Host,
  transport: Transport,
  { log, access }: Pick<Logs, "log" | "access">,
): Promise<Server> {
  try {
    return await serveHandler(transport, handler, {
      bind: config.bind,
      backlog: config.backlog,
      limits: config.limits,
      forwarded: config.forwarded,
      graceSeconds: config.graceSeconds,
      log,
      access,
    });
  } catch (error) {
    throw explainListen(error, config, host) ?? error;
  }
}

function describeKind(application: FoundApplication): string {
  switch (application.kind) {
    case "wsgi":
      return "WSGI";
    case "python":
      return "Python";
    case "server":
      return application.server.protocol === "scgi" ? "SCGI" : "FastCGI";
    default:
      return application.kind;
  }
}

function announce(
  config: Config,
  kind: string,
  host: Host,
  server: Server,
  log: LeveledLogger,
): void {
  const { name, version: runtimeVersion } = host.runtime;
  log.info(
    `Headgate ${version} on ${name} ${runtimeVersion}, pid ${host.pid}`,
  );
  log.info(
    config.app === undefined
      ? "Application: the welcome page (headgate --help tells how to serve yours)"
      : `Application: ${escapeForLog(config.app)} (${kind})`,
  );
  for (const address of server.addresses) {
    log.info(`Listening on ${formatAddress(address)}`);
  }
  // Counted from the start of the process, the runtime's own start included.
  log.info(`Ready in ${Math.round(performance.now())} ms; Ctrl+C stops`);
}

/** Why the server stops, and the exit code that tells it. */
interface Stop {
  readonly reason: string;
  readonly exitCode: 0 | 1;
}

/** Waits for a reason to stop: SIGTERM, Ctrl+C, or a terminal that was closed.
 * A signal that comes while the server stops ends
 * the process at once, with the code that a shell gives to a process that it
 * killed.
 *
 * A rejection that nobody asked about concerns one request, and must not end
 * the others: it is logged. An exception that left a callback may have left
 * anything half done, so the server stops as if it had been asked to, and
 * exits with 1. */
class Stops {
  /** The first reason. */
  readonly first: Promise<Stop>;
  readonly #forget: (() => void)[];

  constructor(host: Host, logs: Logs) {
    const { log } = logs;
    const { promise, resolve } = withResolvers<Stop>();
    this.first = promise;
    let stopping = false;
    const stop = (reason: string, exitCode: 0 | 1) => {
      stopping = true;
      resolve({ reason, exitCode });
    };
    const codes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
    this.#forget = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((signal) =>
      host.onSignal(signal, () => {
        if (stopping) host.exit(codes[signal]);
        stop(signal, 0);
      })
    );
    this.#forget.push(host.onSignal("SIGUSR1", () => {
      const told = reopenAtSignal(logs);
      if (told.length === 0) return log.info("SIGUSR1: log files reopened");
      // The log itself may be a file that nobody looks for any more.
      for (const line of told) host.write("stderr", `headgate: ${line}\n`);
    }));
    this.#forget.push(host.onUncaught((kind, error) => {
      if (kind === "rejection") {
        return log.error(`Unhandled rejection: ${traceOf(error)}`);
      }
      log.critical(`Uncaught exception: ${traceOf(error)}`);
      stop("An uncaught exception", 1);
    }));
  }

  forget(): void {
    for (const forget of this.#forget) forget();
  }
}

// Promise.withResolvers() is younger than Node 20.
function withResolvers<T>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
} {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => resolve = settle);
  return { promise, resolve };
}
