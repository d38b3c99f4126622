/** This program once more, as another process. */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";

/** What stands for its descriptors from 0 upwards: a descriptor of ours, ours
 * of the same number, or nothing. */
export type Descriptors = readonly (number | "inherit" | "ignore")[];

/** Starts it with an argument and descriptors; the last one is a channel to us,
 * for messages. */
export function spawnSelf(
  argument: "master" | "worker",
  descriptors: Descriptors,
): ChildProcess {
  const options = process.versions["deno"] === undefined ? [] : ["run", "-A"];
  return spawn(
    process.execPath,
    [...options, process.argv[1] ?? "", argument],
    {
      stdio: [...descriptors, "ipc"],
      // A session of its own: what becomes of our terminal is all one to it.
      detached: argument === "master",
    },
  );
}
