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
import { welcome } from "./apps/welcome.ts";
import { wsgi } from "./apps/wsgi.ts";
import { CommandError } from "./command_error.ts";
import { type Config, type LoadedConfig, loadHooks } from "./config.ts";
import type { Handler } from "./exchange.ts";
import type { HookSet } from "./hooks.ts";
import type { Host } from "./host.ts";
import type { LeveledLogger } from "./log.ts";
import { escapeForLog } from "./logger.ts";

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
  checkStatics(config, host);
  if (app === undefined) {
    return { kind: "wsgi", application: welcome, exports: {}, path: "" };
  }
  const name = await readApplicationName(app, host, pythonPath);
  if (name.kind !== "module") {
    checkType(app, name.kind, config);
    return name;
  }
  // A module may wait while it is imported, for a database say. Whoever waits
  // with it is told on what; and the timer keeps a runtime from ending without
  // a word where nothing else would ever happen.
  const notice = setInterval(() => {
    host.write(
      "stderr",
      `headgate: Still importing ${escapeForLog(app)}; ` +
        "an await at its top level has not settled.\n",
    );
  }, IMPORT_NOTICE_MS);
  try {
    return await loadApplication(name.module, config.type, host);
  } finally {
    clearInterval(notice);
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

/** Makes ready what was loaded. `multiprocess` tells whether other processes
 * serve it too. Rejects with `CommandError`. */
export async function serveApplication(
  loaded: FoundApplication,
  config: Config,
  host: Host,
  log: LeveledLogger,
  multiprocess: boolean,
): Promise<ServedApplication> {
  const handler = await toHandler(loaded, host, log, multiprocess);
  return {
    handler: await withStatics(handler, config, host, log),
    close: () => Promise.resolve(),
    residentBytes: () => 0,
  };
}

/** The one place where a kind of application becomes a handler. */
async function toHandler(
  loaded: FoundApplication,
  host: Host,
  log: LeveledLogger,
  multiprocess: boolean,
): Promise<Handler> {
  switch (loaded.kind) {
    case "python":
    case "server":
      throw new CommandError(2, "Not served yet", "Wait.");
    case "wsgi":
      return wsgi(loaded.application, { log, multiprocess });
    case "fetch": {
      const { fetchHandler } = await import("./apps/fetch.ts");
      return fetchHandler(loaded.application, { log, env: host.env });
    }
    case "handler":
      return loaded.application;
  }
}

/** Puts the directories whose files are served before the application. */
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
function checkStatics({ statics }: Config, host: Host): void {
  for (const { prefix, directory } of statics) {
    const kind = host.status(directory)?.kind;
    if (kind === "directory") continue;
    throw new CommandError(
      2,
      `static ${prefix}=${directory}: ${
        kind === undefined
          ? `no directory ${directory} in ${host.cwd()}`
          : kind === "hidden"
          ? `no permission to look at ${directory}`
          : `${directory} is not a directory`
      }`,
      "Check the spelling of --static and what it names.",
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
