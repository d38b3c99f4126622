/** The names of the hooks, by which a server that has none can tell, and does
 * without `hooks.ts`. */
import type { ConfigFile } from "./config_file.ts";
import type { ApplicationExports, HookSet } from "./hooks.ts";

/** The functions that a configuration file may give, in the order in which they
 * are called; `Hooks` tells what each is. */
export const hookNames = [
  "onStarting",
  "onReload",
  "whenReady",
  "workerStart",
  "workerReady",
  "preRequest",
  "postRequest",
  "workerExit",
  "onExit",
] as const;

/** One of `hookNames`. */
export type HookName = typeof hookNames[number];

/** The hooks of a configuration file and of the application's module; undefined
 * where there are none. Rejects with `CommandError` as `collectHooks()` throws. */
export async function loadHooks(
  file: ConfigFile | undefined,
  application?: ApplicationExports,
): Promise<HookSet | undefined> {
  const givers = [file?.hooks ?? {}, application?.exports ?? {}];
  const given = hookNames.some((name) =>
    givers.some((giver) => Object.hasOwn(giver, name))
  );
  if (!given) return undefined;
  const { collectHooks } = await import("./hooks.ts");
  return collectHooks(file, application);
}
