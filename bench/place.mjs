/** Where the benchmark runs: the checkout, the cores, what processes may open. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { dirname } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The checkout. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Whether servers and load keep to a core each. */
export const pinned = hasCommand("taskset") && cpus().length > 1;

const onCore = (core) => pinned ? ["taskset", "-c", String(core)] : [];

/** What goes before the command line of a server, and of a client. Both end by
 * becoming the command, so that the process id is its own. */
export const asServer = onCore(0);
export const asClient = onCore(1);

export function hasCommand(name) {
  return spawnSync(name, ["--version"]).error === undefined;
}

/** What goes before a command that will hold `count` files open; undefined if
 * this system does not allow so many. */
export function holding(count) {
  const limits = readFileSync("/proc/self/limits", "utf8");
  const soft = /^Max open files\s+(\S+)/m.exec(limits)?.[1];
  if (soft === "unlimited" || Number(soft) >= count) return [];
  const raise = ["prlimit", `--nofile=${count}:${count}`];
  const [file, ...args] = [...raise, process.execPath, "--version"];
  return spawnSync(file, args).status === 0 ? raise : undefined;
}
