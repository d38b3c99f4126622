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

/** The one place where a kind of application becomes a handler.
 * `multiprocess` tells whether others serve it too. */
export async function toHandler(
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
