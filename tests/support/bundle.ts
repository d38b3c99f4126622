/** Programs in TypeScript, for a Node that reads none. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** Bundles a program, and resolves with the path of the bundle. */
export async function bundle(file: string, outfile: string): Promise<string> {
  await promisify(execFile)("node_modules/.bin/esbuild", [
    file,
    "--bundle",
    "--platform=node",
    "--format=esm",
    "--define:import.meta.main=false",
    `--outfile=${outfile}`,
  ]);
  return outfile;
}
