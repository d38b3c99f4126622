/**
 * The command line: reads the arguments, loads the application, serves it
 * until a signal comes, and turns what goes wrong to a message that says how
 * to fix it. The only room that knows `@std/cli`, and with `mod.ts` the only
 * one that joins the others.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { type AccessFormatter, compileAccessFormat } from "./access_log.ts";
import { loadApplication } from "./apps/load.ts";
import { welcome } from "./apps/welcome.ts";
import { wsgi } from "./apps/wsgi.ts";
import { formatAddress, formatBind, parseBind } from "./bind.ts";
import { CommandError } from "./command_error.ts";
import { type Config, type Flags, readConfig } from "./config.ts";
import type { AccessRecord, Handler } from "./exchange.ts";
import type { AppendFile, Host, Signal } from "./host.ts";
import { LineBuffer } from "./line_buffer.ts";
import { createLogger, type LeveledLogger } from "./log.ts";
import { escapeForLog } from "./logger.ts";
import { helpPage, nearest, optionTable } from "./options.ts";
import { serveHandler, type Server } from "./serve.ts";
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
// follows, but "-" is standard output here: such pairs become one argument.
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
    else if (next !== undefined && (next === "-" || !next.startsWith("-"))) {
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
  const handler = await loadHandler(config, host);
  return await serveUntilStopped(config, handler, host, await transport());
}

function print(host: Host, text: string): number {
  host.write("stdout", text);
  return 0;
}

/** Loads the application, and turns each kind of it to a handler. */
async function loadHandler(config: Config, host: Host): Promise<Handler> {
  if (config.app === undefined) return wsgi(welcome);
  const loaded = await loadApplication(config.app, config.type, host);
  switch (loaded.kind) {
    case "wsgi":
      return wsgi(loaded.application);
  }
}

async function serveUntilStopped(
  config: Config,
  handler: Handler,
  host: Host,
  transport: Transport,
): Promise<number> {
  const logs = openLogs(config, host);
  try {
    await clearStaleSockets(config, host);
    const signals = new StopSignals(host);
    const server = await listen(config, handler, host, transport, logs);
    const forgetSockets = removeSocketsAtExit(config, host);
    announce(config, host, server, logs.log);
    const stop = await signals.first;
    logs.log.info(
      `${stop}: letting running requests end, at most ` +
        `${config.graceSeconds} s; a second signal stops at once`,
    );
    await server.shutdown(config.graceSeconds);
    forgetSockets();
    signals.forget();
    logs.log.info("Stopped");
    return 0;
  } finally {
    logs.close();
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
      ...(access && { access }),
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

/** Collects the first signal that asks to stop; a second one ends the process
 * at once, with the code that a shell gives to a process that it killed. */
class StopSignals {
  /** The first one. */
  readonly first: Promise<Signal>;
  readonly #forget: (() => void)[];

  constructor(host: Host) {
    const { promise, resolve } = withResolvers<Signal>();
    this.first = promise;
    let stopping = false;
    const codes: Record<Signal, number> = { SIGINT: 130, SIGTERM: 143 };
    this.#forget = (["SIGINT", "SIGTERM"] as const).map((signal) =>
      host.onSignal(signal, () => {
        if (stopping) host.exit(codes[signal]);
        stopping = true;
        resolve(signal);
      })
    );
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

// ---- Logs ----

interface Logs {
  readonly log: LeveledLogger;
  readonly access: ((record: AccessRecord) => void) | undefined;
  /** Writes what is left, and closes the files. */
  close(): void;
}

/** Opens the log and the access log; those with the same destination share
 * it, so that their lines keep their order. */
function openLogs(config: Config, host: Host): Logs {
  const destinations = new Destinations(host);
  const buffer = destinations.open(config.logFile, "--log-file");
  const log = createLogger({
    level: config.logLevel,
    sink: (record) => buffer.append(record),
    colours: config.logFile === "-" && wantsColours(host),
  });
  return {
    log,
    access: config.accessLog === "off" ? undefined : accessSink(
      destinations.open(config.accessLog, "--access-log"),
      compileAccessFormat(config.accessLogFormat, host.pid),
    ),
    close: () => destinations.close(),
  };
}

function accessSink(
  buffer: LineBuffer,
  format: AccessFormatter,
): (record: AccessRecord) => void {
  return (record) => buffer.append(format(record));
}

/** The line buffers by destination. They are written out when the process
 * ends, however it ends. */
class Destinations {
  readonly #host: Host;
  readonly #buffers = new Map<string, LineBuffer>();
  readonly #files: AppendFile[] = [];
  readonly #failing = new Set<string>();
  readonly #forgetExit: () => void;

  constructor(host: Host) {
    this.#host = host;
    this.#forgetExit = host.onExit(() => this.#flush());
  }

  open(path: string, option: string): LineBuffer {
    const known = this.#buffers.get(path);
    if (known !== undefined) return known;
    const buffer = new LineBuffer(
      path === "-"
        ? (text) => this.#host.write("stdout", text)
        : this.#openFile(path, option),
    );
    this.#buffers.set(path, buffer);
    return buffer;
  }

  close(): void {
    this.#flush();
    this.#forgetExit();
    for (const file of this.#files) file.close();
  }

  #flush(): void {
    for (const buffer of this.#buffers.values()) buffer.flush();
  }

  // A full disk loses lines; it does not end a server.
  #writeFile(path: string, file: AppendFile, text: string): void {
    try {
      file.write(text);
      this.#failing.delete(path);
    } catch (error) {
      if (this.#failing.has(path)) return;
      this.#failing.add(path);
      this.#host.write(
        "stderr",
        `headgate: lines for ${path} are lost (${codeOf(error)})\n`,
      );
    }
  }

  #openFile(path: string, option: string): (text: string) => void {
    try {
      const file = this.#host.openAppend(path);
      this.#files.push(file);
      return (text) => this.#writeFile(path, file, text);
    } catch (error) {
      throw new CommandError(
        1,
        `${option}: cannot write to ${path} (${codeOf(error)})`,
        "Name a file in a directory that exists and that you may write to.",
      );
    }
  }
}

function wantsColours(host: Host): boolean {
  const { FORCE_COLOR: force, NO_COLOR: none, TERM: term } = host.env;
  if (force) return force !== "0" && force !== "false";
  if (none) return false;
  return term !== "dumb" && host.isTerminal("stdout");
}

// ---- Sockets in the file system ----

function socketPaths(config: Config): string[] {
  return config.bind.flatMap((text) => parseBind(text).path ?? []);
}

/** A socket file outlives a listener that was killed: it is removed where
 * nobody answers, and respected where somebody does. */
async function clearStaleSockets(config: Config, host: Host): Promise<void> {
  for (const path of socketPaths(config)) {
    const kind = host.status(path)?.kind;
    if (kind === undefined) continue;
    if (kind !== "socket") {
      throw new CommandError(
        1,
        `Cannot listen on unix:${path}: a ${kind} that is no socket is there`,
        "Choose another path.",
      );
    }
    if (await host.answers(path)) {
      throw new CommandError(
        1,
        `Cannot listen on unix:${path}: another server answers there`,
        "Stop it, or choose another path.",
      );
    }
    host.remove(path);
  }
}

/** Removes our socket files when the process ends, but not those that another
 * server has put in their place. The returned function does it at once. */
function removeSocketsAtExit(config: Config, host: Host): () => void {
  const ours = socketPaths(config).map((path) => ({
    path,
    identity: host.status(path)?.identity,
  }));
  const removeOurs = () => {
    for (const { path, identity } of ours) {
      if (host.status(path)?.identity === identity) host.remove(path);
    }
  };
  const forget = host.onExit(removeOurs);
  return () => {
    removeOurs();
    forget();
  };
}

// ---- Why nothing listens ----

/** A message for the failures that have a remedy; undefined for the rest. */
function explainListen(
  error: unknown,
  config: Config,
  host: Host,
): CommandError | undefined {
  if (error instanceof CommandError) return error;
  const code = codeOf(error);
  const bind = failedBind(error, code, config, host);
  const where = bind.map(formatBind).join(" or ");
  switch (code) {
    case "EADDRINUSE":
      return portInUse(bind[0] ?? {}, host);
    case "EACCES":
    case "EPERM":
      return new CommandError(
        1,
        `No permission to listen on ${where}`,
        bind[0]?.path === undefined
          ? "Ports below 1024 are the administrator's. Try --bind :8000."
          : "Choose a path in a directory that you may write to.",
      );
    case "EADDRNOTAVAIL":
      return new CommandError(
        1,
        `Cannot listen on ${where}: this machine has no such address`,
        "Use 127.0.0.1 for this machine alone, 0.0.0.0 for every interface.",
      );
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "EAI_NONAME":
      return new CommandError(
        1,
        `Cannot listen on ${where}: the host name is unknown`,
        "Use an IP address of this machine, as in 127.0.0.1:8000.",
      );
    case "ENOENT":
    case "ENOTDIR":
      return new CommandError(
        1,
        `Cannot listen on ${where}: the directory does not exist`,
        "Make it, or choose another path.",
      );
    case "EINVAL":
    case "ENAMETOOLONG":
      return new CommandError(
        1,
        `Cannot listen on ${where}: the system refuses it (${code})`,
        "A socket's path has at most about 100 bytes.",
      );
    default:
      return undefined;
  }
}

function codeOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : "";
  return typeof code === "string" ? code : "";
}

type Bind = ReturnType<typeof parseBind>;

/** Which of the addresses failed, where the error or the system tells. */
function failedBind(
  error: unknown,
  code: string,
  config: Config,
  host: Host,
): Bind[] {
  const binds = config.bind.map(parseBind);
  if (binds.length < 2) return binds;
  const { port } = error as { port?: unknown };
  const failed = binds.filter((bind) =>
    typeof port === "number"
      ? bind.port === port
      : code === "EADDRINUSE" && bind.port !== undefined &&
        host.portHolder(bind.port) !== undefined
  );
  return failed.length === 0 ? binds : failed;
}

function portInUse(bind: Bind, host: Host): CommandError {
  const { hostname, port } = bind;
  if (hostname === undefined || port === undefined) {
    return new CommandError(
      1,
      `${formatBind(bind)} is in use`,
      "Stop its server, or choose another path.",
    );
  }
  const holder = host.portHolder(port);
  const by = holder === undefined
    ? ""
    : ` by ${escapeForLog(holder.name)} (pid ${holder.pid})`;
  const next = formatBind({ hostname, port: port < 65_535 ? port + 1 : 8000 });
  return new CommandError(
    1,
    `Port ${port} is in use${by}`,
    `Try --bind ${next}.`,
  );
}
