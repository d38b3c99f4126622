/**
 * Whether an arbiter lives.
 *
 * A pid in a file proves nothing: the process may be gone, and another may have
 * its number. The lock does, because the kernel frees it with its holder; and
 * so does whoever answers on the control socket, which is all there is on a
 * system without such locks, and which is seen from another network namespace
 * too. Whoever finds the lock free and hears no answer may replace what is left.
 *
 * @module
 */
import { CommandError, errorCode } from "../command_error.ts";
import { escapeForLog } from "../logger.ts";
import { type Clock, realClock } from "./clock.ts";
import type { DaemonHost, Lock } from "./host.ts";
import { type DaemonPaths, successorPaths } from "./paths.ts";
import { type Command, readStatus, type Status } from "./protocol.ts";

/** An arbiter that lives, or what is in its place. */
export type Living =
  /** It answers. */
  | { readonly kind: "answering"; readonly status: Status }
  /** It lives, and does not answer: it is starting, or blocked, or its control
   * socket was removed. `pid` is undefined where the pidfile does not tell. */
  | { readonly kind: "mute"; readonly pid: number | undefined }
  /** We may not ask. */
  | { readonly kind: "forbidden" }
  /** Something answers, and not as an arbiter does. */
  | { readonly kind: "stranger" };

/** What is known of the arbiter that goes by a pidfile. */
export type Standing =
  | Living
  /** None lives. `stalePid` is what the last one left in the pidfile. */
  | { readonly kind: "stopped"; readonly stalePid: number | undefined }
  /** None lives, and what is there is no pidfile. */
  | { readonly kind: "unreadable"; readonly error: CommandError };

/** How long an arbiter may take to tell its status. */
const ANSWER_SECONDS = 3;

/** Finds out whether an arbiter lives. */
export async function inspect(
  paths: DaemonPaths,
  daemon: DaemonHost,
  clock: Clock = realClock,
): Promise<Standing> {
  const lock = await takeLock(paths, daemon, clock);
  if ("kind" in lock) return lock;
  lock.release();
  // Between the end of an arbiter and its successor's taking its name.
  const successor = await askStatus(successorPaths(paths), daemon);
  if (typeof successor === "object") return successor;
  const reading = readPid(paths.pidfile, daemon);
  if (reading !== undefined && "error" in reading) {
    return { kind: "unreadable", error: reading.error };
  }
  return { kind: "stopped", stalePid: reading?.pid };
}

/** Whoever only asks holds the lock for a moment; whoever starts or leaves is
 * silent for a moment. */
const LOCK_PATIENCE_MS = 1000;
const LOCK_PAUSE_MS = 50;

/** Takes the lock, or tells who has it. */
export async function takeLock(
  paths: DaemonPaths,
  daemon: DaemonHost,
  clock: Clock,
): Promise<Lock | Living> {
  const deadline = clock.now() + LOCK_PATIENCE_MS;
  while (true) {
    const answer = await askStatus(paths, daemon);
    if (typeof answer === "object") return answer;
    if (answer === "absent") {
      const lock = await daemon.lock(paths.lock);
      if (lock !== undefined) return lock;
    }
    if (clock.now() >= deadline) {
      return { kind: "mute", pid: holderOf(paths, daemon) };
    }
    await clock.sleep(LOCK_PAUSE_MS);
  }
}

function holderOf(
  { pidfile }: DaemonPaths,
  daemon: DaemonHost,
): number | undefined {
  const reading = readPid(pidfile, daemon);
  if (reading === undefined || !("pid" in reading)) return undefined;
  // One that is only just starting has not replaced its predecessor's yet.
  return daemon.isAlive(reading.pid) ? reading.pid : undefined;
}

/** What came of the question to the control socket. */
export type Answer =
  | Exclude<Living, { readonly kind: "mute" }>
  | "absent"
  | "silent";

/** Asks an arbiter how it does. */
export async function askStatus(
  paths: DaemonPaths,
  daemon: DaemonHost,
): Promise<Answer> {
  const question: Command = { command: "status" };
  const { control } = paths;
  const outcome = await daemon.askControl(control, question, ANSWER_SECONDS);
  if ("failure" in outcome) {
    return outcome.failure === "forbidden"
      ? { kind: "forbidden" }
      : outcome.failure;
  }
  const status = readStatus(outcome.answer);
  return status === undefined
    ? { kind: "stranger" }
    : { kind: "answering", status };
}

// ---- The pidfile ----

/** What a pidfile tells: a pid, or why it is no pidfile. */
export type PidReading =
  | { readonly pid: number }
  | { readonly error: CommandError };

/** Reads a pidfile; undefined when there is none, or an empty one. White space
 * around the pid is overlooked. */
export function readPid(
  path: string,
  daemon: DaemonHost,
): PidReading | undefined {
  let text: string;
  try {
    text = daemon.readText(path)?.trim() ?? "";
  } catch (error) {
    return { error: explainRead(path, error) };
  }
  if (text === "") return undefined;
  // 0 and negative numbers would carry a signal to whole groups of processes.
  const pid = /^[1-9]\d{0,9}$/.test(text) ? Number(text) : Infinity;
  if (pid <= 0x7fff_ffff) return { pid };
  return { error: noPidfile(path, `it holds "${beginning(text)}"`) };
}

function beginning(text: string): string {
  const shown = 30;
  return escapeForLog(text.slice(0, shown)) + (text.length > shown ? "…" : "");
}

function explainRead(path: string, error: unknown): CommandError {
  switch (errorCode(error)) {
    case "EISDIR":
      return noPidfile(path, "it is a directory");
    case "EACCES":
    case "EPERM":
      return new CommandError(
        1,
        `No permission to read the pidfile ${path}`,
        "Run this as the user who started it, or with sudo.",
      );
    default:
      return noPidfile(path, "it cannot be read", String(error));
  }
}

/** `reason` tells what is there instead. */
export function noPidfile(
  path: string,
  reason: string,
  detail?: string,
): CommandError {
  return new CommandError(
    1,
    `${path} is not a pidfile: ${reason}`,
    "Choose another path with --pidfile, or remove it.",
    detail,
  );
}
