/** Tests that have a process run as another user: who must be root to start it,
 * and able to read what it is made of. */
import { statSync } from "node:fs";
import { dirname } from "node:path";
import process from "node:process";

/** Whether they can be made here; says why, where they cannot. */
export function canRunAsAnother(): boolean {
  if (process.getuid?.() !== 0) {
    console.log("skip: not root");
    return false;
  }
  for (const path of [process.execPath, process.cwd()]) {
    const closed = closedDirectory(path);
    if (closed === undefined) continue;
    console.log(`skip: other users may not enter ${closed}`);
    return false;
  }
  return true;
}

/** The directory on the way to a path that is not for everybody. */
function closedDirectory(path: string): string | undefined {
  for (let at = path;; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return at;
    if (at === dirname(at)) return undefined;
  }
}
