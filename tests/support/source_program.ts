/** A source of the tests as a program of its own, on the runtime that the test
 * runs on. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";

/** What `process.execPath` is to be given to run a source: for Node 20, which
 * runs no TypeScript, it is bundled first. */
export function sourceArgs(source: string): string[] {
  if ("Deno" in globalThis) return ["run", "-A", "--no-check", source];
  if ("Bun" in globalThis) return ["run", source];
  return [bundle(source)];
}

let directory: string | undefined;
const bundles = new Map<string, string>();

function bundle(source: string): string {
  const known = bundles.get(source);
  if (known !== undefined) return known;
  const outfile = join(place(), `${basename(source, ".ts")}.mjs`);
  const { status, stderr } = spawnSync("node_modules/.bin/esbuild", [
    source,
    "--bundle",
    "--platform=node",
    "--format=esm",
    "--target=node20",
    "--log-level=warning",
    `--outfile=${outfile}`,
  ], { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  bundles.set(source, outfile);
  return outfile;
}

/** Another user may run what is in it. */
function place(): string {
  if (directory === undefined) {
    directory = mkdtempSync(join(tmpdir(), "headgate-"));
    chmodSync(directory, 0o755);
    process.on("exit", () => rmSync(directory!, { recursive: true }));
  }
  return directory;
}
