/** The pidfile: how a command finds the daemon. */
import { existsSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import process from "node:process";

/** In the working directory. */
export const pidfile = "daemon.pid";

/** The pid that it holds; undefined when there is none. That such a process
 * lives is another question. */
export function readPid(): number | undefined {
  if (!existsSync(pidfile)) return undefined;
  const pid = Number(readFileSync(pidfile, "utf8"));
  // 0 and negative numbers would signal whole groups of processes.
  return Number.isInteger(pid) && pid > 0 ? pid : undefined;
}

/** Makes it ours. */
export function writePid(): void {
  writeFileSync(pidfile, `${process.pid}\n`);
}

/** Removes it, unless another has written it since. */
export function removePid(): void {
  if (readPid() === process.pid) unlinkSync(pidfile);
}
