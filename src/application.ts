/**
 * The application that the configuration names, as a handler, and the hooks
 * that come with it.
 *
 * @module
 */
import {
  loadApplication,
  type LoadedApplication,
  parseApplicationName,
} from "./apps/load.ts";
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

/** A module may wait while it is imported, for a database say. Whoever waits
 * with it is told on what; and the timer keeps a runtime from ending without a
 * word where nothing else would ever happen. */
export async function loadFor(
  config: Config,
  host: Host,
): Promise<LoadedApplication> {
  const { app } = config;
  checkStatics(config, host);
  if (app === undefined) {
    return { kind: "wsgi", application: welcome, exports: {} };
  }
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
  loaded: LoadedApplication,
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
  loaded: LoadedApplication,
  host: Host,
  log: LeveledLogger,
  multiprocess: boolean,
): Promise<Handler> {
  switch (loaded.kind) {
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
  loaded?: LoadedApplication,
): Promise<HookSet | undefined> {
  const { app } = config;
  return loadHooks(
    file,
    app === undefined || loaded === undefined
      ? undefined
      : { path: parseApplicationName(app).path, exports: loaded.exports },
  );
}
