/**
 * The process for the command line, over the `node:` modules that Deno, Bun
 * and Node share. Where they differ, the difference is named here.
 *
 * @module
 */
import {
  closeSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  type Stats,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import type {
  AppendFile,
  Host,
  ImportFailure,
  ImportOutcome,
  ModuleExports,
  Output,
  PathStatus,
  PortHolder,
} from "../src/host.ts";

/** The process that this code runs in. */
export const processHost: Host = {
  runtime: detectRuntime(),
  args: process.argv.slice(2),
  env: process.env,
  pid: process.pid,
  cwd: () => process.cwd(),
  isTerminal: (output) => isatty(descriptors[output]),
  write: writeOutput,
  openAppend,
  status,
  remove,
  importModule,
  answers,
  portHolder,
  onSignal(signal, handler) {
    process.on(signal, handler);
    return () => void process.off(signal, handler);
  },
  onUncaught(handler) {
    const rejected = (reason: unknown) => handler("rejection", reason);
    const thrown = (error: unknown) => handler("exception", error);
    process.on("unhandledRejection", rejected);
    process.on("uncaughtException", thrown);
    return () => {
      process.off("unhandledRejection", rejected);
      process.off("uncaughtException", thrown);
    };
  },
  onExit(handler) {
    process.on("exit", handler);
    return () => void process.off("exit", handler);
  },
  exit: (code) => process.exit(code),
};

function detectRuntime(): { name: string; version: string } {
  const { versions } = process;
  if (versions["deno"] !== undefined) {
    return { name: "Deno", version: versions["deno"] };
  }
  if (versions["bun"] !== undefined) {
    return { name: "Bun", version: versions["bun"] };
  }
  return { name: "Node", version: versions.node };
}

// ---- Writing ----

const descriptors: Readonly<Record<Output, number>> = { stdout: 1, stderr: 2 };

/** Whether a descriptor is a terminal. A file or a pipe is told from one without
 * `node:tty`, whose loading is a fifth of what a start on Bun takes. */
const isatty: (descriptor: number) => boolean =
  Object.values(descriptors).some(isCharacterDevice)
    ? (await import("node:tty")).isatty
    : () => false;

function isCharacterDevice(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isCharacterDevice();
  } catch {
    return false; // it is closed
  }
}

const abandoned = new Set<number>();

// process.stdout would lose what a pipe has not taken yet when the process
// ends, each runtime in its own way; a synchronous write loses nothing.
function writeOutput(output: Output, text: string): void {
  const descriptor = descriptors[output];
  if (abandoned.has(descriptor)) return;
  try {
    writeWhole(descriptor, text);
  } catch (error) {
    // The reader has left (`headgate | head`), or there never was a stream:
    // a server does not end for want of somebody to talk to.
    if (!["EPIPE", "EBADF", "EIO"].includes(codeOf(error))) throw error;
    abandoned.add(descriptor);
  }
}

const encoder = new TextEncoder();

function writeWhole(descriptor: number, text: string): void {
  let bytes = encoder.encode(text);
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(writeSync(descriptor, bytes));
    } catch (error) {
      // A pipe that its other end made non-blocking, and that is full.
      if (codeOf(error) !== "EAGAIN") throw error;
      pause(5);
    }
  }
}

const pauseCell = new Int32Array(new SharedArrayBuffer(4));

function pause(milliseconds: number): void {
  Atomics.wait(pauseCell, 0, 0, milliseconds);
}

function codeOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : "";
  return typeof code === "string" ? code : "";
}

function openAppend(path: string): AppendFile {
  const descriptor = openSync(path, "a", 0o640);
  let open = true;
  return {
    write: (text) => writeWhole(descriptor, text),
    close() {
      if (open) closeSync(descriptor);
      open = false;
    },
  };
}

// ---- Files and sockets ----

function status(path: string): PathStatus | undefined {
  const found = lookAt(path);
  if (found === undefined) return undefined;
  if (found === "hidden") return { kind: found, identity: "" };
  return {
    kind: found.isFile()
      ? "file"
      : found.isDirectory()
      ? "directory"
      : found.isSocket()
      ? "socket"
      : "other",
    identity: `${found.dev}:${found.ino}`,
  };
}

function lookAt(path: string): Stats | "hidden" | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (["EACCES", "EPERM"].includes(codeOf(error))) return "hidden";
    throw error;
  }
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
}

/** Connecting is the only test: a socket file outlives its listener. */
async function answers(path: string): Promise<boolean> {
  const { connect } = await import("node:net");
  return new Promise((settle) => {
    const socket = connect({ path });
    socket.once("connect", () => {
      socket.destroy();
      settle(true);
    });
    // A full queue or a missing permission still means a listener.
    socket.once("error", (error) => {
      settle(!["ECONNREFUSED", "ENOENT"].includes(codeOf(error)));
    });
  });
}

// ---- Who holds a port (Linux) ----

const listening = "0A";

function portHolder(port: number): PortHolder | undefined {
  try {
    const inodes = ["/proc/net/tcp", "/proc/net/tcp6"]
      .flatMap((table) => listenersIn(table, port));
    return inodes.length === 0 ? undefined : ownerOf(inodes);
  } catch {
    return undefined;
  }
}

/** The inodes of the sockets that listen on the port. */
function listenersIn(table: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return readLines(table)
    .map((line) => line.trim().split(/\s+/))
    .filter((columns) =>
      columns[1]?.endsWith(suffix) && columns[3] === listening
    )
    .map((columns) => columns[9] ?? "");
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\n");
  } catch {
    return [];
  }
}

function ownerOf(inodes: readonly string[]): PortHolder | undefined {
  const targets = new Set(inodes.map((inode) => `socket:[${inode}]`));
  for (const entry of readdirSync("/proc")) {
    if (/^\d+$/.test(entry) && holdsAny(entry, targets)) {
      const name = readLines(`/proc/${entry}/comm`)[0] ?? "";
      return { pid: Number(entry), name };
    }
  }
  return undefined;
}

function holdsAny(pid: string, targets: ReadonlySet<string>): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((descriptor) => {
      try {
        return targets.has(readlinkSync(`/proc/${pid}/fd/${descriptor}`));
      } catch {
        return false;
      }
    });
  } catch {
    return false; // it has ended, or it is another user's
  }
}

// ---- Modules ----

async function importModule(path: string): Promise<ImportOutcome> {
  const { href } = pathToFileURL(resolve(path));
  try {
    return { exports: await import(href) as ModuleExports };
  } catch (error) {
    return { failure: await explainImport(error, href) };
  }
}

async function explainImport(
  error: unknown,
  href: string,
): Promise<ImportFailure> {
  const reason = reasonOf(error);
  if (error instanceof AggregateError) {
    return { reason, account: error.errors.map(accountOf).join("\n") };
  }
  const account = reason === "syntax" ? await locate(error, href) : undefined;
  return { reason, account: account ?? accountOf(error) };
}

function reasonOf(error: unknown): ImportFailure["reason"] {
  const code = codeOf(error);
  if (
    code === "ERR_UNKNOWN_FILE_EXTENSION" ||
    code === "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX"
  ) return "typescript";
  if (isSyntaxError(error)) return "syntax";
  return code === "ERR_MODULE_NOT_FOUND" ? "missing" : "threw";
}

function isSyntaxError(error: unknown): boolean {
  // Bun reports what does not parse as BuildMessage, several of them together.
  if (error instanceof AggregateError) return error.errors.some(isSyntaxError);
  if (nameOf(error) === "BuildMessage") return true;
  if (!(error instanceof Error)) return false;
  // Deno gives it the code of a missing module.
  if (error.message.startsWith("SyntaxError: ")) return true;
  return error instanceof SyntaxError && !wasThrownByCode(error);
}

/** JSON.parse() in a module throws SyntaxError too, from a line of the module;
 * one that the loader throws has frames of the loader alone. */
function wasThrownByCode(error: Error): boolean {
  const frames = (error.stack ?? "").split("\n")
    .filter((line) => /^\s+at (?!async )/.test(line));
  return frames.length > 0 && !/node:internal\/modules/.test(frames[0] ?? "");
}

function nameOf(error: unknown): string {
  return typeof error === "object" && error !== null && "name" in error
    ? String(error.name)
    : "";
}

/** Node keeps the line of a syntax error to itself until the error goes
 * uncaught, so a second Node imports the module for the sake of its message.
 * What does not parse is not run. */
async function locate(
  error: unknown,
  href: string,
): Promise<string | undefined> {
  if (processHost.runtime.name !== "Node") return undefined;
  const stack = error instanceof Error ? error.stack ?? "" : "";
  if (stack.startsWith("file:")) return undefined;
  const { spawnSync } = await import("node:child_process");
  const { stderr } = spawnSync(process.execPath, [
    ...process.execArgv,
    "--input-type=module",
    "--eval",
    `await import(${JSON.stringify(href)})`,
  ], { encoding: "utf8", timeout: 10_000 });
  const lines = (stderr ?? "").split("\n")
    .filter((line) => line.trim() !== "" && !/^\s+at /.test(line))
    .filter((line) => !/^Node\.js v/.test(line));
  return lines[0]?.startsWith("file:") ? lines.join("\n") : undefined;
}

function accountOf(error: unknown): string {
  const text = nameOf(error) === "BuildMessage"
    ? accountOfBuildMessage(error)
    : error instanceof Error
    ? error.stack || `${error.name}: ${error.message}`
    : nameOf(error) === "ResolveMessage"
    ? String((error as { message: unknown }).message)
    : `Thrown: ${String(error)}`;
  const lines = stripColours(text).replace(
    "TypeError: SyntaxError: ",
    "SyntaxError: ",
  )
    .split("\n");
  // From here on the stack is ours: the importer and whoever called it.
  const importer = lines.findIndex((line) =>
    /^\s+at .*\bimportModule\b/.test(line)
  );
  return lines.slice(0, importer < 0 ? undefined : importer)
    .filter(isUserLine).join("\n");
}

interface BuildMessage {
  readonly message: string;
  readonly position: {
    readonly file: string;
    readonly line: number;
    readonly column: number;
    readonly lineText: string;
  } | null;
}

function accountOfBuildMessage(error: unknown): string {
  const { message, position } = error as BuildMessage;
  if (position === null) return `SyntaxError: ${message}`;
  const { file, line, column, lineText } = position;
  return `SyntaxError: ${message}\n    ${lineText.trimEnd()}\n` +
    `    at ${file}:${line}:${column}`;
}

function stripColours(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/\x1b\[[\d;]*m/g, "");
}

// Frames of the runtime's loader are no news to the user.
function isUserLine(line: string): boolean {
  return !/^\s+at /.test(line) || !/node:internal|\bext:|native:/.test(line);
}
