/**
 * The pidfile of an arbiter, from claiming it to giving it back.
 *
 * @module
 */
import { CommandError, errorCode } from "../command_error.ts";
import type { Host, PathStatus } from "../host.ts";
import type { Logger } from "../logger.ts";
import { type Clock, realClock } from "./clock.ts";
import type { ControlServer, DaemonHost, Lock } from "./host.ts";
import {
  type DaemonPaths,
  daemonPaths,
  pidfileOption,
  successorPaths,
} from "./paths.ts";
import {
  inspect,
  type Living,
  noPidfile,
  readPid,
  takeLock,
} from "./standing.ts";

/** What is asked on a control socket is answered by one of these. */
export type Answerer = (question: unknown) => Promise<unknown>;

/** A pidfile that is ours, with its lock and its control socket. */
export interface Claim {
  /** As they are now: `rename()` changes them. */
  readonly paths: DaemonPaths;
  /** Answers on the control socket, from now on and after `rename()`. To be
   * called once. Throws `CommandError`. */
  serve(answer: Answerer): Promise<void>;
  /** Takes the plain name in place of the one beside it, once the predecessor
   * has left. Throws `CommandError` where another has it; ours is kept then,
   * and it may be tried again. Nothing where the name is plain. */
  rename(): Promise<void>;
  /** Stops answering, removes the pidfile if it still holds our pid, and frees
   * the lock. Idempotent; never throws. */
  release(): void;
}

/** How a pidfile is claimed. */
export interface ClaimOptions {
  /** Whether a predecessor still has it, so that a name beside it is taken
   * until `rename()`; default false. */
  readonly beside?: boolean;
  /** What it waits by; default the real one. */
  readonly clock?: Clock;
}

interface Surroundings {
  readonly host: Host;
  readonly daemon: DaemonHost;
  readonly log: Logger;
  readonly clock: Clock;
}

/** Throws `CommandError` when an arbiter lives that has this pidfile: for whoever
 * is about to start one, and would rather know it now. */
export async function refuseIfRunning(
  path: string,
  daemon: DaemonHost,
): Promise<void> {
  const paths = daemonPaths(path, daemon);
  const standing = await inspect(paths, daemon);
  if (standing.kind === "unreadable") throw standing.error;
  if (standing.kind !== "stopped") throw refusal(paths, standing);
}

/** Makes a pidfile this process's own. `path` may be relative. Throws
 * `CommandError` when an arbiter lives that has it, when something else is
 * there, or when it cannot be written. */
export async function claimPidfile(
  path: string,
  host: Host,
  daemon: DaemonHost,
  log: Logger,
  { beside = false, clock = realClock }: ClaimOptions = {},
): Promise<Claim> {
  const around = { host, daemon, log, clock };
  const plain = daemonPaths(path, daemon);
  const paths = beside ? successorPaths(plain) : plain;
  return new HeldPidfile(await takeName(paths, around), plain, around);
}

/** Takes lock and pidfile. What it throws leaves both as they were. */
async function takeName(
  paths: DaemonPaths,
  around: Surroundings,
): Promise<Name> {
  const { host, daemon, log, clock } = around;
  refuseOtherFiles(paths, host);
  const lock = await takeLock(paths, daemon, clock);
  if ("kind" in lock) throw refusal(paths, lock);
  try {
    // With the lock in hand nobody else writes it.
    const stale = staleReason(paths, host, daemon);
    writePidfile(paths.pidfile, host, daemon);
    if (stale !== undefined) {
      log.warn(`Replaced the stale pidfile ${paths.pidfile}: ${stale}`);
    }
    return new Name(paths, lock, around);
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Only what an arbiter left may be replaced. */
function refuseOtherFiles({ pidfile, control }: DaemonPaths, host: Host): void {
  const found = host.status(pidfile)?.kind ?? "file";
  // What is hidden is told when it is read, and why.
  if (found !== "file" && found !== "hidden") {
    throw noPidfile(pidfile, `it is ${nameOf(found)}`);
  }
  const beside = host.status(control)?.kind ?? "socket";
  if (beside === "socket" || beside === "hidden") return;
  throw new CommandError(
    1,
    `${control} is not a control socket: it is ${nameOf(beside)}`,
    "Choose another path with --pidfile, or remove it.",
  );
}

function nameOf(kind: PathStatus["kind"]): string {
  return kind === "other" ? "a special file" : `a ${kind}`;
}

/** Why what is in the pidfile no longer counts; undefined when nothing is. */
function staleReason(
  { pidfile }: DaemonPaths,
  host: Host,
  daemon: DaemonHost,
): string | undefined {
  const reading = readPid(pidfile, daemon);
  if (reading === undefined) return undefined;
  if ("error" in reading) throw reading.error;
  const { pid } = reading;
  // In a container that was started again the numbers are often the same.
  if (pid === host.pid) return "it holds our own pid";
  return daemon.isAlive(pid)
    ? `pid ${pid} lives, but is another program's`
    : `pid ${pid} is gone`;
}

/** Why an arbiter cannot have this pidfile. */
function refusal(
  { pidfile, control }: DaemonPaths,
  standing: Living,
): CommandError {
  switch (standing.kind) {
    case "answering":
      return alreadyRunning(pidfile, standing.status.pid);
    case "mute":
      return alreadyRunning(pidfile, standing.pid);
    case "forbidden":
      return new CommandError(
        1,
        `No permission to open the control socket ${control}`,
        "It is another user's: choose another path with --pidfile.",
      );
    case "stranger":
      return new CommandError(
        1,
        `Something that is no headgate answers on ${control}`,
        "Stop it, or choose another path with --pidfile.",
      );
  }
}

function alreadyRunning(pidfile: string, pid?: number): CommandError {
  const option = pidfileOption(pidfile);
  return new CommandError(
    1,
    pid === undefined
      ? `Already running for ${pidfile}, with a pid that is not known`
      : `Already running with pid ${pid}`,
    `headgate status ${option} tells more; ` +
      `headgate restart ${option} starts it anew.`,
  );
}

function writePidfile(path: string, host: Host, daemon: DaemonHost): void {
  try {
    daemon.writeText(path, `${host.pid}\n`);
  } catch (error) {
    throw explainWrite(`Cannot write the pidfile ${path}`, error) ?? error;
  }
}

function explainWrite(what: string, error: unknown): CommandError | undefined {
  const code = errorCode(error);
  switch (code) {
    case "":
      return undefined;
    case "ENOENT":
    case "ENOTDIR":
      return new CommandError(
        1,
        `${what}: the directory does not exist`,
        "Make it, or choose another path with --pidfile.",
      );
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new CommandError(
        1,
        `${what}: no permission to write to its directory`,
        "Choose a directory that you may write to with --pidfile.",
      );
    default:
      return new CommandError(
        1,
        `${what}: the system refuses it (${code})`,
        "Choose another path with --pidfile.",
      );
  }
}

/** A name that this process has, and what goes by it. */
class Name {
  readonly paths: DaemonPaths;
  readonly #lock: Lock;
  readonly #around: Surroundings;
  #control: ControlServer | undefined;
  #left = false;

  constructor(paths: DaemonPaths, lock: Lock, around: Surroundings) {
    this.paths = paths;
    this.#lock = lock;
    this.#around = around;
  }

  async serve(answer: Answerer): Promise<void> {
    const { control } = this.paths;
    try {
      this.#control = await this.#around.daemon.serveControl(control, answer);
    } catch (error) {
      const what = `Cannot open the control socket ${control}`;
      throw explainWrite(what, error) ?? error;
    }
    if (this.#left) this.#control.close();
  }

  leave(): void {
    if (this.#left) return;
    this.#left = true;
    this.#control?.close();
    removeOurs(this.paths.pidfile, this.#around);
    this.#lock.release();
  }
}

class HeldPidfile implements Claim {
  #name: Name;
  /** The name that is to be taken, if ours is only beside it. */
  #plain: DaemonPaths | undefined;
  readonly #around: Surroundings;
  #answer: Answerer | undefined;
  #released = false;

  constructor(name: Name, plain: DaemonPaths, around: Surroundings) {
    this.#name = name;
    this.#plain = plain === name.paths ? undefined : plain;
    this.#around = around;
  }

  get paths(): DaemonPaths {
    return this.#name.paths;
  }

  async serve(answer: Answerer): Promise<void> {
    await this.#name.serve(answer);
    this.#answer = answer;
  }

  async rename(): Promise<void> {
    if (this.#plain === undefined) return;
    const name = await takeName(this.#plain, this.#around);
    try {
      if (this.#answer !== undefined) await name.serve(this.#answer);
    } catch (error) {
      name.leave();
      throw error;
    }
    // Whoever asks meanwhile finds one name or the other, or both.
    this.#name.leave();
    this.#name = name;
    this.#plain = undefined;
    if (this.#released) name.leave();
  }

  release(): void {
    this.#released = true;
    this.#name.leave();
  }
}

/** Removes a pidfile, unless another arbiter has written it since. */
function removeOurs(pidfile: string, around: Surroundings): void {
  const { host, daemon, log } = around;
  try {
    const reading = readPid(pidfile, daemon);
    if (reading === undefined || !("pid" in reading)) return;
    if (reading.pid === host.pid) host.remove(pidfile);
  } catch (error) {
    log.warn(`Cannot remove the pidfile ${pidfile}: ${String(error)}`);
  }
}
