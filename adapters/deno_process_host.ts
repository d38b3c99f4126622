/**
 * The process for the command line, over `Deno`: `node:fs` and `node:process`,
 * which `process_host.ts` is made of, are half of the time that a start on Deno
 * would take.
 *
 * @module
 */
import type {
  AppendFile,
  Host,
  ImportOutcome,
  ModuleExports,
  PathStatus,
  Signal,
  Uncaught,
} from "../src/host.ts";
import { denoLater } from "./deno_later.ts";
import { fileUrl } from "./file_url.ts";
import { watchListeners } from "./own_listeners.ts";
import { findPortHolder } from "./port_holder.ts";
import { outputWriter, systemCode, writeWhole } from "./whole_write.ts";

/** The part of `Deno` that this host uses. */
export interface DenoProcess {
  /** Of Deno itself. */
  readonly version: { readonly deno: string };
  /** The system below. */
  readonly build: { readonly os: string };
  /** The arguments after the program's own name. */
  readonly args: readonly string[];
  /** The environment. */
  readonly env: {
    toObject(): Record<string, string>;
    set(name: string, value: string): void;
    delete(name: string): void;
  };
  /** Our process. */
  readonly pid: number;
  /** The working directory. */
  cwd(): string;
  /** Standard output. */
  readonly stdout: DenoOutput;
  /** Standard error. */
  readonly stderr: DenoOutput;
  /** Opens a file. */
  openSync(
    path: string,
    options: { append: true; create: true; mode: number },
  ): DenoFile;
  /** What stands at a path, links followed; throws where nothing does. */
  statSync(path: string): DenoFileInfo;
  /** Removes what stands at a path. */
  removeSync(path: string): void;
  /** The whole of a file. */
  readTextFileSync(path: string): string;
  /** What a directory holds. */
  readDirSync(path: string): Iterable<{ readonly name: string }>;
  /** Where a symbolic link points. */
  readLinkSync(path: string): string;
  /** What it may do. */
  readonly permissions: {
    querySync(
      of: { name: "read"; path: string },
    ): { readonly state: string };
  };
  /** Connects to a Unix-domain socket. */
  connect(
    options: { transport: "unix"; path: string },
  ): Promise<{ close(): void }>;
  /** Calls the handler at each such signal. */
  addSignalListener(signal: Signal, handler: () => void): void;
  /** Ends that. */
  removeSignalListener(signal: Signal, handler: () => void): void;
}

/** A stream or a file that can be written to. */
export interface DenoFile {
  /** Writes the bytes, maybe in part. */
  writeSync(bytes: Uint8Array): number;
  /** Closes it. */
  close(): void;
}

/** A standard stream. */
export interface DenoOutput extends DenoFile {
  /** Whether a person reads it. */
  isTerminal(): boolean;
}

/** The part of `Deno.FileInfo` that this host uses. */
export interface DenoFileInfo {
  /** A file. */
  readonly isFile: boolean;
  /** A directory. */
  readonly isDirectory: boolean;
  /** A socket; null where there are none. */
  readonly isSocket: boolean | null;
  /** The device. */
  readonly dev: number;
  /** The file's number on the device. */
  readonly ino: number | null;
}

const { Deno } = globalThis as unknown as { Deno: DenoProcess };

/** The process that this code runs in. */
export const denoProcessHost: Host = {
  runtime: { name: "Deno", version: Deno.version.deno },
  args: Deno.args,
  get env() {
    return Deno.env.toObject();
  },
  setEnv(name, value) {
    if (value === undefined) Deno.env.delete(name);
    else Deno.env.set(name, value);
  },
  pid: Deno.pid,
  cwd: () => Deno.cwd(),
  isTerminal: (output) => Deno[output].isTerminal(),
  write: outputWriter({
    stdout: (bytes) => Deno.stdout.writeSync(bytes),
    stderr: (bytes) => Deno.stderr.writeSync(bytes),
  }),
  later: denoLater,
  openAppend,
  status,
  remove,
  readText: (path) => Deno.readTextFileSync(path),
  importModule,
  files: async () => (await import("./file_source.ts")).fileSource,
  backends: async () => (await import("./backend_host.ts")).backendHost,
  answers,
  portHolder: (port) =>
    findPortHolder(port, {
      text: (path) => Deno.readTextFileSync(path),
      names: namesIn,
      link: (path) => Deno.readLinkSync(path),
    }),
  watchListeners: () =>
    watchListeners({
      names: (path) => mayRead(path) ? namesIn(path) : [],
      link: (path) => Deno.readLinkSync(path),
    }),
  onSignal,
  onUncaught,
  onExit(handler) {
    addEventListener("unload", handler);
    return () => removeEventListener("unload", handler);
  },
  // Deno.exit() would pass over those who listen to "exit" of `process`.
  exit: (code) => nodeProcess().exit(code),
};

function namesIn(path: string): string[] {
  return Array.from(Deno.readDirSync(path), ({ name }) => name);
}

/** At a terminal the user would be asked. */
function mayRead(path: string): boolean {
  return Deno.permissions.querySync({ name: "read", path }).state === "granted";
}

/** The part of `process` that this host uses. */
interface NodeProcess {
  exit(code: number): never;
  emit(event: string, ...details: unknown[]): boolean;
}

/** Applications may use `process`, and what they do with it has to work. Deno
 * loads it when it is first touched, which is not at the start. */
function nodeProcess(): NodeProcess {
  return (globalThis as unknown as { process: NodeProcess }).process;
}

function openAppend(path: string): AppendFile {
  const file = Deno.openSync(path, { append: true, create: true, mode: 0o640 });
  let open = true;
  return {
    write: (content) => writeWhole((bytes) => file.writeSync(bytes), content),
    close() {
      if (open) file.close();
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
    kind: found.isFile
      ? "file"
      : found.isDirectory
      ? "directory"
      : found.isSocket
      ? "socket"
      : "other",
    identity: `${found.dev}:${found.ino}`,
  };
}

function lookAt(path: string): DenoFileInfo | "hidden" | undefined {
  try {
    return Deno.statSync(path);
  } catch (error) {
    const code = systemCode(error);
    if (["ENOENT", "ENOTDIR"].includes(code)) return undefined;
    if (["EACCES", "EPERM"].includes(code)) return "hidden";
    throw error;
  }
}

function remove(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
}

/** Connecting is the only test: a socket file outlives its listener. */
async function answers(path: string): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return true;
  } catch (error) {
    // A full queue or a missing permission still means a listener.
    return !["ECONNREFUSED", "ENOENT"].includes(systemCode(error));
  }
}

// ---- Events ----

function onSignal(signal: Signal, handler: () => void): () => void {
  // Windows has no SIGTERM, and Deno refuses to wait for it.
  if (Deno.build.os === "windows" && signal !== "SIGINT") return () => {};
  Deno.addSignalListener(signal, handler);
  return () => Deno.removeSignalListener(signal, handler);
}

function onUncaught(
  handler: (kind: Uncaught, error: unknown) => void,
): () => void {
  const rejected = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    handler("rejection", event.reason);
    // Whoever listens to it at `process` is not told after preventDefault().
    nodeProcess().emit("unhandledRejection", event.reason, event.promise);
  };
  const thrown = (event: ErrorEvent) => {
    event.preventDefault();
    handler("exception", event.error);
  };
  addEventListener("unhandledrejection", rejected);
  addEventListener("error", thrown);
  return () => {
    removeEventListener("unhandledrejection", rejected);
    removeEventListener("error", thrown);
  };
}

// ---- Modules ----

async function importModule(
  path: string,
  reading = 0,
): Promise<ImportOutcome> {
  const href = await fileUrl(path, Deno.cwd);
  try {
    const specifier = reading === 0
      ? href
      : (await import("./fresh_import.ts")).freshSpecifier(href, reading);
    return { exports: await import(specifier) as ModuleExports };
  } catch (error) {
    const { explainImport } = await import("./import_failure.ts");
    return { failure: await explainImport(error, href) };
  }
}
