/**
 * The files that Unix-domain sockets leave in the file system, before and
 * after us.
 *
 * @module
 */
import { parseBind } from "./bind.ts";
import { CommandError } from "./command_error.ts";
import type { Config } from "./config.ts";
import type { Host } from "./host.ts";

/** A socket file outlives a listener that was killed: it is removed where
 * nobody answers, and respected where somebody does. Throws `CommandError`. */
export async function clearStaleSockets(
  config: Config,
  host: Host,
): Promise<void> {
  for (const path of socketPaths(config)) {
    const kind = host.status(path)?.kind;
    // Where we may not look we may not listen either, which will be told.
    if (kind === undefined || kind === "hidden") continue;
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
export function removeSocketsAtExit(config: Config, host: Host): () => void {
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

function socketPaths(config: Config): string[] {
  return config.bind.flatMap((text) => parseBind(text).path ?? []);
}
