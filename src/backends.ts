/**
 * Applications outside of this process, as a configuration asks for them:
 * Python, servers of FastCGI and SCGI, and programs by CGI. Loaded only where
 * there is one.
 *
 * @module
 */
import type { ApplicationName } from "./apps/application_name.ts";
import { isWithin } from "./apps/file_path.ts";
import type { ServerAddress } from "./apps/server_address.ts";
import type { ServedApplication } from "./application.ts";
import type { BackendHost } from "./backend_host.ts";
import { CommandError } from "./command_error.ts";
import type { Config } from "./config.ts";
import type { Handler } from "./exchange.ts";
import type { Host } from "./host.ts";
import type { LeveledLogger } from "./log.ts";
import { definedOnly } from "./outside.ts";
import type { PythonName } from "./python/name.ts";

/** Such an application, by its name. */
export type BackendName = Exclude<
  ApplicationName,
  { readonly kind: "module" }
>;

/** What they are made ready with. */
export interface BackendTerms {
  readonly config: Config;
  readonly host: Host;
  readonly log: LeveledLogger;
  /** Who answers where an application sends its client on within the site
   * (RFC 3875 §6.2.2). */
  readonly site: Handler;
  /** Whether other processes of ours serve the application too; default
   * false. */
  readonly multiprocess?: boolean;
}

/** How long it may take to end once no request of ours runs. */
const leaveSeconds = 3;

/** Makes it ready. Rejects with `CommandError`. */
export async function serveBackend(
  name: BackendName,
  terms: BackendTerms,
): Promise<ServedApplication> {
  const machine = await terms.host.backends();
  return name.kind === "python"
    ? await servePython(name.python, terms, machine)
    : await serveServer(name.server, terms, machine);
}

async function servePython(
  application: PythonName,
  { config, host, log, multiprocess = false }: BackendTerms,
  machine: BackendHost,
): Promise<ServedApplication> {
  const { startPython } = await import("./apps/python.ts");
  const python = await startPython({
    application,
    python: config.python,
    pythonpath: config.pythonPath,
    cwd: undefined,
    env: definedOnly(host.env),
    threads: config.threads,
    processes: config.pythonWorkers,
    multiprocess,
    timeoutSeconds: config.backendSeconds,
    queueSeconds: config.queueSeconds,
    spool: config.spool,
    sendFileRoots: await resolved(config.sendFileRoots, machine),
    host: machine,
    log,
  });
  return {
    handler: python.handler,
    close: () => python.close(leaveSeconds),
    residentBytes: () => python.residentBytes(),
  };
}

/** Nothing is connected to before there is a request: a server that is started
 * later, or anew, is found then. */
async function serveServer(
  { protocol, connect }: ServerAddress,
  terms: BackendTerms,
  machine: BackendHost,
): Promise<ServedApplication> {
  const { config, log } = terms;
  const name = connect.path ?? `${connect.hostname}:${connect.port}`;
  if (protocol === "scgi") {
    const { scgi } = await import("./apps/scgi.ts");
    return {
      handler: scgi(() => machine.connect(connect), {
        host: machine,
        name,
        connections: config.connections,
        queueSeconds: config.queueSeconds,
        timeoutSeconds: config.backendSeconds,
        spool: config.spool,
        site: terms.site,
        log,
      }),
      close: () => Promise.resolve(),
      residentBytes: () => 0,
    };
  }
  const { fastcgiServer } = await import("./apps/fastcgi_server.ts");
  const server = fastcgiServer({
    name,
    connect: () => machine.connect(connect),
    host: machine,
    root: config.root,
    index: config.index,
    connections: config.connections,
    keepAlive: config.keepConnections,
    queueSeconds: config.queueSeconds,
    timeoutSeconds: finiteOrZero(config.backendSeconds),
    spool: config.spool,
    sendFileRoots: await resolved(config.sendFileRoots, machine),
    site: terms.site,
    log,
  });
  return {
    handler: server.handler,
    close: () => server.close(),
    residentBytes: () => 0,
  };
}

/** Files are compared with their directories by where they are in the end. */
function resolved(
  directories: readonly string[],
  { files }: BackendHost,
): Promise<string[]> {
  return Promise.all(
    directories.map(async (path) => await files.resolve(path) ?? path),
  );
}

/** 0 stands for no bound. */
function finiteOrZero(seconds: number): number {
  return seconds === Infinity ? 0 : seconds;
}

/** Has programs run for the paths below their directories, and asks
 * `application` for the rest. Whoever closes it waits for programs that run on
 * after their responses. */
export async function withPrograms(
  application: Handler,
  { config, host, log, site }: BackendTerms,
): Promise<Pick<ServedApplication, "handler" | "close">> {
  const { cgiBefore, cgiEnvironment } = await import("./apps/cgi.ts");
  const machine = await host.backends();
  const running = new Set<Promise<void>>();
  const start: BackendHost["start"] = async (command) => {
    const program = await machine.start(command);
    const ended = program.ended.then(() => void running.delete(ended));
    running.add(ended);
    return program;
  };
  const handler = cgiBefore(config.cgi, application, {
    host: { ...machine, start },
    environment: { ...cgiEnvironment(host.env), ...config.env },
    timeoutSeconds: config.backendSeconds,
    queueSeconds: config.queueSeconds,
    spool: config.spool,
    site,
    log,
  });
  return { handler, close: () => allOrLate(running) };
}

/** Resolves when all have, and some time later at the latest. */
async function allOrLate(running: Iterable<Promise<void>>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, leaveSeconds * 1000);
  });
  await Promise.race([Promise.all(running), late]);
  clearTimeout(timer);
}

/** Rejects with `CommandError` where programs lie among files that are sent.
 * Files are looked for by what a path means, and programs by its spelling: they
 * would be sent themselves, by another spelling at the latest. */
export async function checkPrograms(
  { cgi, statics, root }: Config,
  host: Host,
): Promise<void> {
  const { files } = await host.backends();
  const sent = statics.map(({ directory }) => ["static", directory]);
  if (root !== undefined) sent.push(["root", root]);
  for (const { directory } of cgi) {
    const programs = await files.resolve(directory) ?? directory;
    for (const [option, place = ""] of sent) {
      const resolved = await files.resolve(place) ?? place;
      if (!isWithin(resolved, programs)) continue;
      throw new CommandError(
        2,
        `cgi-dir ${directory} is within --${option} ${place}, whose files are ` +
          "sent as they are",
        "Put the programs where no files are served from.",
      );
    }
  }
}
