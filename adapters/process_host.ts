/**
 * The process for the command line, over the `node:` modules that Node and Bun
 * share. Where they differ, the difference is named here. What a plain start
 * does not need is imported when it is.
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
import process from "node:process";
import type {
  AppendFile,
  Host,
  ImportOutcome,
  ModuleExports,
  Output,
  PathStatus,
} from "../src/host.ts";
import { fileUrl } from "./file_url.ts";
import { watchListeners } from "./own_listeners.ts";
import { findPortHolder } from "./port_holder.ts";
import { outputWriter, systemCode, writeWhole } from "./whole_write.ts";

const descriptors: Readonly<Record<Output, number>> = { stdout: 1, stderr: 2 };

/** The process that this code runs in. */
export const processHost: Host = {
  runtime: detectRuntime(),
  args: process.argv.slice(2),
  env: process.env,
  setEnv(name, value) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  },
  pid: process.pid,
  cwd: () => process.cwd(),
  inUtc,
  isTerminal: (output) => isatty(descriptors[output]),
  write: outputWriter({
    stdout: (bytes) => writeSync(descriptors.stdout, bytes),
    stderr: (bytes) => writeSync(descriptors.stderr, bytes),
  }),
  openAppend,
  status,
  remove,
  readText: (path) => readFileSync(path, "utf8"),
  importModule,
  files: async () => (await import("./file_source.ts")).fileSource,
  backends: async () => (await import("./backend_host.ts")).backendHost,
  answers,
  portHolder: (port) =>
    findPortHolder(port, {
      text: (path) => readFileSync(path, "utf8"),
      names: (path) => readdirSync(path),
      link: (path) => readlinkSync(path),
    }),
  watchListeners: () =>
    watchListeners({
      names: (path) => readdirSync(path),
      link: (path) => readlinkSync(path),
    }),
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
  const { node, bun } = process.versions;
  return bun === undefined
    ? { name: "Node", version: node }
    : { name: "Bun", version: bun };
}

/** The names that say it without a doubt. */
const utc = /(?:^|\/)(?:Etc\/)?UTC$/;

let systemInUtc: boolean | undefined;

/** A program may set TZ while it runs; the system's zone is asked for once, as
 * the runtimes do. */
function inUtc(): boolean {
  const { TZ: zone } = process.env;
  return zone === undefined
    ? systemInUtc ??= utc.test(systemZone())
    : utc.test(zone);
}

/** Where the link to the system's time zone leads. Without one Linux is in
 * UTC. */
function systemZone(): string {
  try {
    return readlinkSync("/etc/localtime");
  } catch (error) {
    return process.platform === "linux" && systemCode(error) === "ENOENT"
      ? "UTC"
      : "";
  }
}

// ---- Writing ----

/** Whether a descriptor is a terminal. What is none for certain is told without
 * `node:tty`, whose loading is a fifth of what a start on Bun takes. */
const isatty: (descriptor: number) => boolean =
  Object.values(descriptors).some(mayBeTerminal)
    ? (await import("node:tty")).isatty
    : () => false;

function mayBeTerminal(descriptor: number): boolean {
  try {
    const device = fstatSync(descriptor);
    return device.isCharacterDevice() && device.rdev !== nullDevice();
  } catch {
    return false; // it is closed
  }
}

function nullDevice(): number | undefined {
  return statSync("/dev/null", { throwIfNoEntry: false })?.rdev;
}

function openAppend(path: string): AppendFile {
  const descriptor = openSync(path, "a", 0o640);
  let open = true;
  return {
    write: (content) =>
      writeWhole((bytes) => writeSync(descriptor, bytes), content),
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
    if (["EACCES", "EPERM"].includes(systemCode(error))) return "hidden";
    throw error;
  }
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
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
      settle(!["ECONNREFUSED", "ENOENT"].includes(systemCode(error)));
    });
  });
}

// ---- Modules ----

async function importModule(
  path: string,
  reading = 0,
): Promise<ImportOutcome> {
  const href = await fileUrl(path, process.cwd);
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
