/** Programs that are not the project's own, where the machine has them. */
import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import process from "node:process";

/** The path of a program; undefined, with a line that says so, where it is not
 * installed. With CI=true that is an error: a gate does not skip. */
export async function findTool(name: string): Promise<string | undefined> {
  for (const directory of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(directory, name);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // Not in this directory.
    }
  }
  if (process.env.CI === "true") throw new Error(`${name} is not installed`);
  console.log(`skip: ${name} is not installed`);
  return undefined;
}
