/**
 * What applications outside of this process ask of the machine, over the
 * `node:` modules that the runtimes share, and each runtime's own connections.
 * Loaded only where there are such applications.
 *
 * @module
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import type { BackendHost } from "../src/backend_host.ts";
import type { ByteStream, ConnectOptions } from "../src/stream.ts";
import { fileSource } from "./file_source.ts";
import { residentBytes } from "./proc_files.ts";
import { isExecutable, startProgram } from "./program.ts";
import { openSpoolFile } from "./spool_file.ts";
import { systemCode } from "./whole_write.ts";

/** The machine that this code runs on. */
export const backendHost: BackendHost = {
  files: fileSource,
  connect: await detectConnect(),
  start: startProgram,
  makePrivate,
  removePrivate,
  writeText: (path, text) => writeFileSync(path, text, { mode: 0o600 }),
  readText,
  openSpool: openSpoolFile,
  isExecutable,
  residentBytes,
};

async function detectConnect(): Promise<
  (options: ConnectOptions) => Promise<ByteStream>
> {
  if ("Deno" in globalThis) return (await import("./deno.ts")).denoConnect;
  if ("Bun" in globalThis) return (await import("./bun.ts")).bunConnect;
  return (await import("./node.ts")).nodeConnect;
}

// ---- Files ----

/** The directories to be removed at the end. */
const made = new Set<string>();

function makePrivate(): string {
  if (made.size === 0) process.on("exit", removeAll);
  const directory = mkdtempSync(join(resolve(tmpdir()), "headgate-"));
  made.add(directory);
  return directory;
}

function removePrivate(directory: string): void {
  if (!made.delete(directory)) return;
  if (made.size === 0) process.off("exit", removeAll);
  try {
    rmSync(directory, { recursive: true, force: true });
  } catch {
    // Somebody still writes to it; the system cleans what is temporary.
  }
}

function removeAll(): void {
  for (const directory of made) removePrivate(directory);
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(systemCode(error))) return "";
    throw error;
  }
}
