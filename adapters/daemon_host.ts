/**
 * The processes of the daemon, over the `node:` modules that Deno, Bun and Node
 * share. Imported only where there is a daemon: a single process needs none of
 * this.
 *
 * @module
 */
import { spawn } from "node:child_process";
import {
  lchownSync,
  lstatSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import process from "node:process";
import type { Channel, DaemonHost, Identity } from "../src/daemon/host.ts";
import { findGroup, findUser } from "./accounts.ts";
import { IpcChannel, type IpcEnd } from "./channel.ts";
import { sendSignal, spawnProgram } from "./child_process.ts";
import { askControl, serveControl } from "./control_socket.ts";
import {
  bindSockets,
  closeInherited,
  inheritedSockets,
  keepSockets,
  reusePortSupported,
} from "./held_sockets.ts";
import { lock } from "./local_socket.ts";
import { procText, residentBytes } from "./proc_files.ts";
import { systemCode } from "./whole_write.ts";

/** The process that this code runs in, and its neighbours. */
export const daemonHost: DaemonHost = {
  cores: availableParallelism(),
  get parent() {
    return parentChannel();
  },
  reusePort: reusePortSupported,
  bind: bindSockets,
  inherited: inheritedSockets,
  closeInherited,
  keepSockets,
  spawn: spawnProgram,
  onSignal(signal, handler) {
    const listener = () => handler();
    process.on(signal, listener);
    return () => void process.off(signal, listener);
  },
  kill: sendSignal,
  isAlive,
  residentBytes,
  lock,
  serveControl,
  askControl,
  readText,
  writeText,
  absolute: (path) => resolve(path),
  chdir: (path) => process.chdir(path),
  umask: (mask) => void process.umask(mask),
  chown,
  findUser,
  findGroup,
  setTitle,
  startWatchdog(program, options) {
    // Threads are loaded where there is one: on Deno that takes 8 MB.
    import("./watchdog.ts").then(
      ({ startWatchdog }) => void startWatchdog(program, options),
      options.onFailure,
    );
  },
  notify,
};

let toParent: Channel | undefined;

/** Made when it is first asked for: to listen keeps the process alive. That the
 * other end may have closed it already is for its user to learn. */
function parentChannel(): Channel | undefined {
  if (toParent === undefined && typeof process.send === "function") {
    toParent = new IpcChannel(process as unknown as IpcEnd);
  }
  return toParent;
}

// ---- Other processes ----

function isAlive(pid: number): boolean {
  const stat = procText(pid, "stat");
  if (stat === undefined) return sendSignal(pid, 0) || isForeign(pid);
  // pid (name) state …, the number of threads being the 20th column.
  const columns = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state] = columns;
  // A zombie's other threads may be there yet, and hold its sockets and locks.
  return state !== "X" && (state !== "Z" || Number(columns[17]) > 1);
}

/** It is there, and not ours to signal. */
function isForeign(pid: number): boolean {
  try {
    if (Number.isInteger(pid) && pid > 0) process.kill(pid, 0);
    return false;
  } catch (error) {
    return systemCode(error) === "EPERM";
  }
}

// ---- Files ----

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(systemCode(error))) return undefined;
    throw error;
  }
}

function writeText(path: string, text: string): void {
  const beside = `${path}.${process.pid}~`;
  discard(beside);
  try {
    // In a directory that is everybody's it may have become a link meanwhile.
    writeFileSync(beside, text, { mode: 0o644, flag: "wx" });
    renameSync(beside, path);
  } catch (error) {
    if (systemCode(error) !== "EEXIST") discard(beside);
    throw error;
  }
}

/** Removes what may be there. */
function discard(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // There is nothing, or it is not ours to remove.
  }
}

/** Not what a link names, which whoever may write to the directory chooses; and
 * not a device, which is everybody's. */
function chown(path: string, identity: Identity): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined || !(found.isFile() || found.isSocket())) return;
  const { uid = found.uid, gid = found.gid } = identity;
  lchownSync(path, uid, gid);
}

// ---- The system ----

function setTitle(title: string): void {
  try {
    process.title = title;
  } catch {
    // A title is a courtesy.
  }
}

/** A datagram on a Unix socket is what no runtime can send; systemd has a
 * command for it. Its unit needs `NotifyAccess=all`, since the command is not
 * the service's main process. */
function notify(state: string): void {
  if (!process.env.NOTIFY_SOCKET) return;
  try {
    const child = spawn("systemd-notify", state.split("\n"), {
      stdio: "ignore",
    });
    child.on("error", () => {});
    child.unref();
  } catch {
    // Nobody is told, who would wait until its own time is over.
  }
}
