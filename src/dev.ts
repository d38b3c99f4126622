/**
 * The developer's day: one worker that is replaced when a file changes, and
 * keys for what is done all day long. A worker that cannot be loaded leaves the
 * old one serving; where there is none yet, the next change is waited for.
 *
 * @module
 */
import { readApplicationName } from "./apps/application_name.ts";
import { formatAddress } from "./bind.ts";
import type { Config } from "./config.ts";
import type { DaemonHost } from "./daemon/host.ts";
import type { RunningServer } from "./daemon/launcher.ts";
import type { DevHost, Host } from "./host.ts";
import type { LeveledLogger } from "./log.ts";
import { openLogs } from "./log_files.ts";
import { escapeForLog } from "./logger.ts";
import type { Address } from "./stream.ts";

/** What a developer's server makes of a configuration, which may be that of
 * production: there is one worker, and a debugger may stop it. */
export function devConfig(config: Config): Config {
  return {
    ...config,
    workers: 1,
    maxRequests: Infinity,
    maxRssBytes: Infinity,
    timeoutSeconds: Infinity,
    backendSeconds: Infinity,
  };
}

/** What is otherwise than elsewhere where nobody says anything. */
export const devDefaults: Readonly<Record<string, string>> = {
  "access-log-format": "dev",
};

// ---- Which changes count ----

// Of the rest, most is written by the application itself: databases, uploads,
// logs. A server that wrote there at each request would never rest.
const source =
  /\.(?:[cm]?[jt]s|[jt]sx|py|php|jsonc?|wasm|html?|jinja2?|css|sql|toml|ya?ml)$/;

/** Whether a folder of this name may hold source of the application's. */
export function isSourceFolder(name: string): boolean {
  return !name.startsWith(".") && name !== "node_modules" && name !== "dist" &&
    name !== "coverage" && name !== "__pycache__";
}

/** Whether a file of this name may be source. */
export function isSourceFile(name: string): boolean {
  return !name.startsWith(".") && source.test(name);
}

/** What is to be watched: where we are if the application is there, too, else
 * its own folder. Both are absolute. */
export function watchedFolder(app: string, cwd: string): string {
  const here = cwd.endsWith("/") ? cwd : `${cwd}/`;
  return app.startsWith(here) ? cwd : app.replace(/\/[^/]*$/, "") || "/";
}

/** How long nothing must change before it is acted upon. */
const quietMs = 100;

/** Gathers what comes in quick succession, as an editor's writes do, and hands
 * it on once nothing more has come for a while. */
export class Gatherer<T> {
  readonly #act: (gathered: ReadonlySet<T>) => void;
  readonly #quietMs: number;
  #gathered = new Set<T>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    act: (gathered: ReadonlySet<T>) => void,
    quiet: number = quietMs,
  ) {
    this.#act = act;
    this.#quietMs = quiet;
  }

  /** Takes one more. */
  add(item: T): void {
    this.#gathered.add(item);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const gathered = this.#gathered;
      this.#gathered = new Set();
      this.#act(gathered);
    }, this.#quietMs);
  }

  /** Drops what has not been handed on. */
  close(): void {
    clearTimeout(this.#timer);
  }
}

// ---- The session ----

/** Has the application served; resolves with the exit code. */
export type Serve = (
  attend: (server: RunningServer) => void,
) => Promise<number>;

/** The exit code of a server whose workers could not begin. */
const neverBegan = 3;

/** Serves, and serves anew whenever a file changes, until it is told to stop.
 * Resolves with the exit code. Throws `CommandError`. */
export async function develop(
  config: Config,
  serve: Serve,
  host: Host,
  daemonHost: Pick<DaemonHost, "absolute" | "onSignal">,
  devHost: DevHost,
): Promise<number> {
  const cwd = host.cwd();
  const path = await sourceOf(config, host);
  const folder = path === undefined
    ? cwd
    : watchedFolder(daemonHost.absolute(path), cwd);
  const logs = openLogs(config, host);
  try {
    const { log } = logs;
    return await new Session({ folder, serve, log, devHost, daemonHost }).run();
  } finally {
    logs.close();
  }
}

/** A file that is below the folder of the application's source; undefined where
 * that is the working directory. */
async function sourceOf(
  { app, pythonPath, root }: Config,
  host: Host,
): Promise<string | undefined> {
  if (app === undefined) return undefined;
  const name = await readApplicationName(app, host, pythonPath);
  switch (name.kind) {
    case "module":
      return name.module.path;
    case "python": {
      const { directory } = name.python;
      return directory === undefined ? undefined : `${directory}/app.py`;
    }
    case "server":
      return root === undefined ? undefined : `${root}/index`;
  }
}

interface Makings {
  readonly folder: string;
  readonly serve: Serve;
  readonly log: LeveledLogger;
  readonly devHost: DevHost;
  readonly daemonHost: Pick<DaemonHost, "onSignal">;
}

class Session {
  readonly #makings: Makings;
  #server: RunningServer | undefined;
  #isReady = false;
  /** What came while nobody could reload. */
  #isOutdated = false;
  #isOver = false;
  /** Ends a wait for the next change. */
  #wake: () => void = () => {};

  constructor(makings: Makings) {
    this.#makings = makings;
  }

  async run(): Promise<number> {
    const { devHost, folder, serve, log } = this.#makings;
    const changes = new Gatherer<string>((paths) => this.#change(paths));
    const ends = [
      () => changes.close(),
      devHost.watch(folder, { isSourceFile, isSourceFolder }, {
        onChange: (path) => changes.add(path),
        onFailure: (why) => log.warn(`Changes may go unnoticed: ${why}`),
      }),
    ];
    try {
      const endKeys = devHost.keys((key) => this.#press(key));
      if (endKeys !== undefined) {
        ends.push(endKeys);
        log.info("Keys: o opens the browser, r reloads, q quits");
      }
      for (;;) {
        this.#isOutdated = false;
        const code = await serve((server) => this.#attend(server));
        this.#server = undefined;
        this.#isReady = false;
        if (this.#isOver) return 0;
        if (code !== neverBegan) return code;
        if (!this.#isOutdated) await this.#nextChange();
        if (this.#isOver) return 0;
      }
    } finally {
      for (const end of ends) end();
    }
  }

  #attend(server: RunningServer): void {
    this.#server = server;
    server.ready.then(() => {
      if (this.#server !== server) return;
      this.#isReady = true;
      if (this.#isOutdated) this.#reload();
    });
  }

  #change(paths: ReadonlySet<string>): void {
    const [first = ""] = paths;
    const others = paths.size > 1 ? ` and ${paths.size - 1} more` : "";
    this.#makings.log.info(`Changed: ${escapeForLog(first)}${others}`);
    this.#reload();
  }

  /** A signal may end an arbiter that does not know what it means yet. */
  #reload(): void {
    this.#isOutdated = !this.#isReady;
    if (this.#isReady) this.#server?.signal("SIGHUP");
    this.#wake();
  }

  async #nextChange(): Promise<void> {
    const { daemonHost, log } = this.#makings;
    log.info("Waiting for a change");
    const forget = (["SIGINT", "SIGTERM", "SIGHUP"] as const)
      .map((signal) => daemonHost.onSignal(signal, () => this.#quit()));
    await new Promise<void>((resolve) => this.#wake = resolve);
    for (const end of forget) end();
  }

  #quit(): void {
    this.#isOver = true;
    this.#server?.signal("SIGINT");
    this.#wake();
  }

  #press(key: string): void {
    switch (key) {
      case "o":
        return this.#open();
      case "r":
        return this.#reload();
      case "q":
      case "\x03": // Ctrl+C, which is no signal while keys are read
        return this.#quit();
    }
  }

  #open(): void {
    const { devHost, log } = this.#makings;
    const url = browserUrl(this.#server?.addresses ?? []);
    if (url === undefined) {
      return log.warn("There is nothing yet that a browser could open");
    }
    devHost.open(url, (why) => log.warn(`No browser for ${url}: ${why}`));
  }
}

/** The first address that a browser reaches. */
export function browserUrl(addresses: readonly Address[]): string | undefined {
  for (const { host, port } of addresses) {
    if (port === 0 || host === "") continue;
    const isAny = host === "0.0.0.0" || host === "::";
    return formatAddress({ host: isAny ? "localhost" : host, port });
  }
  return undefined;
}
