/**
 * The command line: reads the arguments, loads the application, serves it
 * until a signal comes, and turns what goes wrong to a message that says how
 * to fix it. The only room that knows `@std/cli`, and with `mod.ts` the only
 * one that joins the others.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { loadApplication, type LoadedApplication } from "./apps/load.ts";
import { welcome } from "./apps/welcome.ts";
import { wsgi } from "./apps/wsgi.ts";
import { formatAddress } from "./bind.ts";
import { CommandError } from "./command_error.ts";
import { type Config, type Flags, readConfig } from "./config.ts";
import type { Handler } from "./exchange.ts";
import type { Host, Signal } from "./host.ts";
import { explainListen } from "./listen_errors.ts";
import type { LeveledLogger } from "./log.ts";
import { type Logs, openLogs } from "./log_files.ts";
import { escapeForLog, traceOf } from "./logger.ts";
import { helpPage, nearest, optionTable } from "./options.ts";
import { serveHandler, type Server } from "./serve.ts";
import { clearStaleSockets, removeSocketsAtExit } from "./socket_files.ts";
import type { Transport } from "./stream.ts";
import { version } from "./version.ts";

/** Runs the program and resolves with its exit code: 0 after a stop that was
 * asked for, 1 when the application or a port is at fault, 2 when the command
 * line is. `transport` is asked for once something is to be served. */
export async function run(
  args: readonly string[],
  host: Host,
  transport: () => Promise<Transport>,
): Promise<number> {
  try {
    return await runCommand(parseCommand(args), host, transport);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    host.write("stderr", formatError(error));
    return error.exitCode;
  }
}

function formatError(error: CommandError): string {
  const detail = error.detail === undefined
    ? ""
    : error.detail.split("\n").map((line) => `    ${line}\n`).join("");
  return `headgate: ${error.message}${detail ? `:\n${detail}` : ".\n"}` +
    `${error.remedy}\n`;
}

// ---- Arguments ----

interface Command {
  readonly app: string | undefined;
  readonly flags: Flags;
  readonly help: boolean;
  readonly version: boolean;
}

const valueOptions = optionTable.filter((option) => option.value !== undefined);
const switches = optionTable.filter((option) => option.value === undefined);

/** Reads the arguments. Throws `CommandError`. */
function parseCommand(args: readonly string[]): Command {
  const parsed = parseArgs(joinValues(args), {
    boolean: switches.map((option) => option.name),
    string: [...valueOptions.map((option) => option.name), "_"],
    collect: valueOptions.map((option) => option.name),
    alias: Object.fromEntries(
      optionTable.flatMap(({ name, short }) => short ? [[name, short]] : []),
    ),
    unknown: refuseUnknown,
  });
  const [app, second] = parsed._;
  if (second !== undefined) {
    throw new CommandError(
      2,
      `One application is served at a time; "${second}" is a second one`,
      "Quote arguments that hold spaces; see headgate --help.",
    );
  }
  const flags: Record<string, string[]> = {};
  for (const { name } of valueOptions) {
    flags[name] = [parsed[name] ?? []].flat().map(String);
  }
  return {
    app: app === undefined ? undefined : String(app),
    flags,
    help: parsed["help"] === true,
    version: parsed["version"] === true,
  };
}

// @std/cli takes no value that starts with a dash from the argument that
// follows, but "-" is standard output here, and of "-1" it should be said that
// it is too little: such pairs become one argument.
function joinValues(args: readonly string[]): string[] {
  const joined: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? "";
    if (arg === "--") return [...joined, ...args.slice(index)];
    const option = valueOptions.find(({ name, short }) =>
      arg === `--${name}` || (short !== undefined && arg === `-${short}`)
    );
    const next = args[index + 1];
    if (option === undefined) joined.push(arg);
    else if (next !== undefined && !/^-[^\d]/.test(next)) {
      joined.push(`--${option.name}=${next}`);
      index++;
    } else joined.push(`--${option.name}=`);
  }
  return joined;
}

function refuseUnknown(argument: string, key?: string): boolean {
  if (key === undefined) return true;
  const written = argument.replace(/=.*$/s, "");
  const meant = written.startsWith("--")
    ? nearest(written.slice(2), optionTable.map(({ name }) => name))
    : undefined;
  throw new CommandError(
    2,
    `No option ${written}`,
    meant === undefined
      ? "See headgate --help for the options."
      : `Did you mean --${meant}?`,
  );
}

// ---- Serving ----

/** How long an import may take without a word. */
const IMPORT_NOTICE_MS = 3000;

async function runCommand(
  command: Command,
  host: Host,
  transport: () => Promise<Transport>,
): Promise<number> {
  if (command.help) return print(host, helpPage());
  if (command.version) {
    const { name, version: runtimeVersion } = host.runtime;
    return print(host, `headgate ${version} (${name} ${runtimeVersion})\n`);
  }
  const config = readConfig(command.app, command.flags, host.env);
  const application = await load(config, host);
  return await serveUntilStopped(config, application, host, await transport());
}

function print(host: Host, text: string): number {
  host.write("stdout", text);
  return 0;
}

/** A module may wait while it is imported, for a database say. Whoever waits
 * with it is told on what; and the timer keeps a runtime from ending without a
 * word where nothing else would ever happen. */
async function load(config: Config, host: Host): Promise<LoadedApplication> {
  const { app } = config;
  if (app === undefined) return { kind: "wsgi", application: welcome };
  const notice = setInterval(() => {
    host.write(
      "stderr",
      `headgate: Still importing ${escapeForLog(app)}; ` +
        "an await at its top level has not settled.\n",
    );
  }, IMPORT_NOTICE_MS);
  try {
    return await loadApplication(app, config.type, host);
  } finally {
    clearInterval(notice);
  }
}

async function serveUntilStopped(
  config: Config,
  application: LoadedApplication,
  host: Host,
  transport: Transport,
): Promise<number> {
  const logs = openLogs(config, host);
  const stops = new Stops(host, logs.log);
  try {
    const handler = toHandler(application, logs.log);
    await clearStaleSockets(config, host);
    const server = await listen(config, handler, host, transport, logs);
    const forgetSockets = removeSocketsAtExit(config, host);
    announce(config, host, server, logs.log);
    const { reason, exitCode } = await stops.first;
    logs.log.info(
      `${reason}: letting running requests end, at most ` +
        `${config.graceSeconds} s; the next signal stops at once`,
    );
    await server.shutdown(config.graceSeconds);
    forgetSockets();
    logs.log.info("Stopped");
    return exitCode;
  } finally {
    stops.forget();
    logs.close();
  }
}

/** The one place where a kind of application becomes a handler. */
function toHandler(loaded: LoadedApplication, log: LeveledLogger): Handler {
  switch (loaded.kind) {
    case "wsgi":
      return wsgi(loaded.application, { log });
  }
}

async function listen(
  config: Config,
  handler: Handler,
  host: Host,
  transport: Transport,
  { log, access }: Logs,
): Promise<Server> {
  try {
    return await serveHandler(transport, handler, {
      bind: config.bind,
      limits: config.limits,
      graceSeconds: config.graceSeconds,
      log,
      access,
    });
  } catch (error) {
    throw explainListen(error, config, host) ?? error;
  }
}

function announce(
  config: Config,
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
      : `Application: ${escapeForLog(config.app)} (WSGI)`,
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

/** Waits for a reason to stop. A signal that comes while the server stops ends
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

  constructor(host: Host, log: LeveledLogger) {
    const { promise, resolve } = withResolvers<Stop>();
    this.first = promise;
    let stopping = false;
    const stop = (reason: string, exitCode: 0 | 1) => {
      stopping = true;
      resolve({ reason, exitCode });
    };
    const codes: Record<Signal, number> = { SIGINT: 130, SIGTERM: 143 };
    this.#forget = (["SIGINT", "SIGTERM"] as const).map((signal) =>
      host.onSignal(signal, () => {
        if (stopping) host.exit(codes[signal]);
        stop(signal, 0);
      })
    );
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
