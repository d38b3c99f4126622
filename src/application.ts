/**
 * The application that the configuration names, as a handler, and the hooks
 * that come with it.
 *
 * @module
 */
import {
  type ApplicationName,
  readApplicationName,
} from "./apps/application_name.ts";
import { loadApplication, type LoadedApplication } from "./apps/load.ts";
import type { ModuleSettings } from "./apps/module_settings.ts";
import { welcome } from "./apps/welcome.ts";
import { wsgi, type WsgiOptions } from "./apps/wsgi.ts";
import { formatBind, parseBind } from "./bind.ts";
import type { BackendTerms } from "./backends.ts";
import { CommandError } from "./command_error.ts";
import type { Config, LoadedConfig, ModuleOption } from "./config.ts";
import type { Handler } from "./exchange.ts";
import { loadHooks } from "./hook_names.ts";
import type { HookSet } from "./hooks.ts";
import type { Host } from "./host.ts";
import { repeatedly } from "./later.ts";
import type { LeveledLogger } from "./log.ts";
import { escapeForLog, silentLogger, traceOf } from "./logger.ts";
import type { Address, ListenOptions } from "./stream.ts";

/** How long an import may take without a word. */
const IMPORT_NOTICE_MS = 3000;

/** What was named: a module that has been loaded, or an application outside of
 * this process, of which nothing is known yet but its name. */
export type FoundApplication =
  | LoadedApplication
  | Exclude<ApplicationName, { readonly kind: "module" }>;

/** Finds the application, and loads it if it is a module of ours. Rejects with
 * `CommandError`. */
export async function loadFor(
  config: Config,
  host: Host,
): Promise<FoundApplication> {
  const { app, pythonPath } = config;
  checkDirectories(config, host);
  if (config.cgi.length > 0) {
    const { checkPrograms } = await import("./backends.ts");
    await checkPrograms(config, host);
  }
  if (app === undefined) {
    return {
      kind: "wsgi",
      application: welcome,
      exports: {},
      path: "",
      warnings: [],
    };
  }
  const name = await readApplicationName(app, host, pythonPath);
  if (name.kind !== "module") {
    checkType(app, name.kind, config);
    return name;
  }
  // A module may wait while it is imported, for a database say. Whoever waits
  // with it is told on what; and the timer keeps a runtime from ending without
  // a word where nothing else would ever happen.
  if (config.response === "light") {
    (await import("./apps/light_response.ts")).standInForResponse();
  }
  const endNotice = repeatedly(IMPORT_NOTICE_MS, () => {
    host.write(
      "stderr",
      `headgate: Still importing ${escapeForLog(app)}; ` +
        "an await at its top level has not settled.\n",
    );
  });
  try {
    return await loadApplication(name.module, config.type, host);
  } finally {
    endNotice();
  }
}

function checkType(
  app: string,
  kind: "python" | "server",
  { type }: Config,
): void {
  if (type === "auto") return;
  throw new CommandError(
    2,
    kind === "python"
      ? `${app} is a Python application, which has no --type`
      : `${app} is the address of a server, which has no --type`,
    "Leave --type out; it tells what a module in JavaScript exports.",
  );
}

/** Loads the application and its hooks as if it were to be served, and resolves
 * with what is probably not as it was meant. Rejects with `CommandError`. */
export async function checkApplication(
  configuration: LoadedConfig,
  host: Host,
): Promise<readonly string[]> {
  const found = await loadFor(configuration.config, host);
  await hooksOf(configuration, found);
  if (found.kind !== "python") return warningsOf(found, configuration.config);
  const config = { ...configuration.config, pythonWorkers: 1 };
  const log = { ...silentLogger, critical() {} };
  await (await serveApplication(found, config, host, log, {})).close();
  return [];
}

/** An application that can be asked. */
export interface ServedApplication {
  /** The application, behind the files that are served before it. */
  readonly handler: Handler;
  /** Lets go of what serves it outside of this process, which has a few seconds
   * to end. To be called once no request runs, or none is to run on. */
  close(): Promise<void>;
  /** Resident memory of what serves it outside of this process, in bytes. */
  residentBytes(): number;
}

/** What of a WSGI application's options is the server's to say. */
export type WsgiTerms = Pick<
  WsgiOptions,
  "multiprocess" | "firstBlockForHead"
>;

/** Makes ready what was loaded. Rejects with `CommandError`. */
export async function serveApplication(
  loaded: FoundApplication,
  config: Config,
  host: Host,
  log: LeveledLogger,
  terms: WsgiTerms,
): Promise<ServedApplication> {
  // A redirect within the site may lead to whatever stands before.
  const site: Handler = (exchange) => whole(exchange);
  const backend = { config, host, log, site, ...terms };
  const served = loaded.kind === "python" || loaded.kind === "server"
    ? await (await import("./backends.ts")).serveBackend(loaded, backend)
    : inThisProcess(await toHandler(loaded, host, log, terms));
  const inner = await withPrograms(served.handler, backend);
  const whole = await withStatics(inner.handler, config, host, log);
  return {
    ...served,
    handler: whole,
    close: async () => void await Promise.all([inner.close(), served.close()]),
  };
}

function inThisProcess(handler: Handler): ServedApplication {
  return { handler, close: () => Promise.resolve(), residentBytes: () => 0 };
}

/** The one place where a module becomes a handler. */
async function toHandler(
  loaded: LoadedApplication,
  host: Host,
  log: LeveledLogger,
  terms: WsgiTerms,
): Promise<Handler> {
  switch (loaded.kind) {
    case "wsgi":
      return wsgi(loaded.application, { log, ...terms });
    case "fetch": {
      const { fetchHandler } = await import("./apps/fetch.ts");
      return fetchHandler(loaded.application, { log, env: host.env });
    }
    case "handler":
      return loaded.application;
  }
}

/** Puts the directories whose executables are run before the application. */
async function withPrograms(
  application: Handler,
  terms: BackendTerms,
): Promise<Pick<ServedApplication, "handler" | "close">> {
  if (terms.config.cgi.length === 0) return inThisProcess(application);
  const { withPrograms } = await import("./backends.ts");
  return await withPrograms(application, terms);
}

/** Puts the directories whose files are served before that. */
async function withStatics(
  application: Handler,
  { statics }: Config,
  host: Host,
  log: LeveledLogger,
): Promise<Handler> {
  if (statics.length === 0) return application;
  const { filesBefore } = await import("./apps/files.ts");
  return filesBefore(statics, application, { source: await host.files(), log });
}

/** A directory that is missing at the start is a mistake; what becomes of it
 * later is answered by 404. Throws `CommandError`. */
function checkDirectories(config: Config, host: Host): void {
  const { statics, cgi, root, sendFileRoots } = config;
  const named = [
    ...statics.map(({ prefix, directory }) => ["static", prefix, directory]),
    ...cgi.map(({ prefix, directory }) => ["cgi-dir", prefix, directory]),
    ...root === undefined ? [] : [["root", "", root]],
    ...sendFileRoots.map((directory) => ["sendfile-root", "", directory]),
  ] as const;
  for (const [option = "", prefix, directory = ""] of named) {
    const kind = host.status(directory)?.kind;
    if (kind === "directory") continue;
    throw new CommandError(
      2,
      `${option} ${prefix === "" ? "" : `${prefix}=`}${directory}: ${
        kind === undefined
          ? `no directory ${directory} in ${host.cwd()}`
          : kind === "hidden"
          ? `no permission to look at ${directory}`
          : `${directory} is not a directory`
      }`,
      `Check the spelling of --${option} and what it names.`,
    );
  }
}

/** What the configuration file, and the application once it is loaded, want to
 * be told; undefined where nothing does. Rejects with `CommandError`. */
export function hooksOf(
  { config, file }: LoadedConfig,
  loaded?: FoundApplication,
): Promise<HookSet | undefined> {
  const hasModule = config.app !== undefined && loaded !== undefined &&
    "exports" in loaded;
  return loadHooks(file, hasModule ? loaded : undefined);
}

// ---- What a module says of how it is to be served ----

/** What is probably not as it was meant. For workers `slots` tells where they
 * listen: their sockets are opened before anything is loaded. */
export function warningsOf(
  loaded: FoundApplication,
  config: Config,
  { slots }: { readonly slots?: readonly { address: Address }[] } = {},
): readonly string[] {
  if (!("warnings" in loaded)) return [];
  const addresses = slots?.map(({ address }) => address);
  const unheeded = addresses && unheededBind(config, loaded, addresses);
  return unheeded === undefined
    ? loaded.warnings
    : [...loaded.warnings, unheeded];
}

/** The configuration, with what the module says where nobody else does. */
export function withModuleSettings(
  config: Config,
  loaded: FoundApplication,
): Config {
  if (loaded.kind !== "fetch" || loaded.settings === undefined) return config;
  const { contentBytes, idleSeconds } = loaded.settings;
  const { limits } = config;
  const heed = <T>(name: ModuleOption, said: T | undefined, ours: T): T =>
    config.leftToModule.includes(name) ? said ?? ours : ours;
  return {
    ...config,
    bind: heed("bind", moduleBind(config, loaded.settings), config.bind),
    limits: {
      ...limits,
      content: heed("limit-request-body", contentBytes, limits.content),
      idleSeconds: heed("keep-alive", idleSeconds, limits.idleSeconds),
    },
  };
}

/** Half of an address is completed with ours. */
function moduleBind(
  { bind }: Config,
  { hostname, port }: ModuleSettings,
): string[] | undefined {
  if (hostname === undefined && port === undefined) return undefined;
  const ours = parseBind(bind[0] ?? "127.0.0.1:8000");
  return [formatBind({ ...ours, ...definedOf({ hostname, port }) })];
}

function definedOf(
  { hostname, port }: Pick<ModuleSettings, "hostname" | "port">,
): ListenOptions {
  return {
    ...(hostname === undefined ? {} : { hostname }),
    ...(port === undefined ? {} : { port }),
  };
}

/** A warning where a module wants to listen elsewhere than its workers do. */
function unheededBind(
  config: Config,
  loaded: FoundApplication,
  addresses: readonly Address[],
): string | undefined {
  if (loaded.kind !== "fetch" || loaded.settings === undefined) {
    return undefined;
  }
  const { hostname, port } = loaded.settings;
  const wanted = moduleBind(config, loaded.settings);
  if (wanted === undefined || !config.leftToModule.includes("bind")) {
    return undefined;
  }
  const heeded = addresses.some((address) =>
    (port ?? address.port) === address.port &&
    // What a name stands for is not asked.
    (hostname === undefined || hostname === address.host ||
      !/^[0-9.]+$|:/.test(hostname))
  );
  return heeded
    ? undefined
    : `${loaded.path} wants to listen on ${
      wanted[0]
    }, which one process alone ` +
      "heeds: for workers the sockets are opened before anything is loaded. " +
      `Write --bind ${wanted[0]}`;
}

/** Calls the module's `onListen`. What it throws is logged. */
export async function tellListening(
  loaded: FoundApplication,
  [address]: readonly Address[],
  log: LeveledLogger,
): Promise<void> {
  if (loaded.kind !== "fetch" || address === undefined) return;
  const { host, port } = address;
  try {
    await loaded.settings?.onListen?.(
      port === 0
        ? { transport: "unix", path: host }
        : { transport: "tcp", hostname: host, port },
    );
  } catch (error) {
    log.error(`onListen: ${traceOf(error)}`);
  }
}
