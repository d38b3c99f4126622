/**
 * A command that goes to a server that runs, on its way: what it knows and
 * needs, what it says, how it waits.
 *
 * @module
 */
import { CommandError, formatCommandError } from "../command_error.ts";
import type { Host } from "../host.ts";
import { escapeForLog } from "../logger.ts";
import type { Clock } from "./clock.ts";
import type { ControlFailure, DaemonHost } from "./host.ts";
import { type DaemonPaths, pidfileOption } from "./paths.ts";
import { type Command, type Outcome, readOutcome } from "./protocol.ts";
import type { Standing } from "./standing.ts";

/** One of the commands that go to a server that runs. */
export type DaemonCommand =
  | "stop"
  | "restart"
  | "reload"
  | "status"
  | "scale"
  | "reopen";

/** How a command is to be carried out. */
export interface DaemonCommandOptions {
  /** Which server; undefined for the one that `start` starts by default. */
  readonly pidfile: string | undefined;
  /** How long running requests may take to end, where the server does not tell
   * its own setting. */
  readonly graceSeconds: number;
  /** How long a worker may take to boot; default 60. */
  readonly bootSeconds?: number | undefined;
  /** For `status`: JSON. */
  readonly json: boolean;
  /** For `stop`: cut what runs. */
  readonly quick: boolean;
  /** For `scale`: how many there shall be. */
  readonly workers: number | undefined;
  /** For `scale`, instead of `workers`: how many more; negative for fewer. */
  readonly moreWorkers?: number | undefined;
}

/** Exit codes, as the Linux Standard Base has them for init scripts. */
export const exitCodes: {
  /** Not done. */
  readonly failed: 1;
  readonly noPermission: 4;
  readonly notRunning: 7;
  /** Of `status`: dead, and its pidfile is left. */
  readonly dead: 1;
  /** Of `status`: not running. */
  readonly stopped: 3;
  /** Of `status`: nobody can tell. */
  readonly unknown: 4;
} = {
  failed: 1,
  noPermission: 4,
  notRunning: 7,
  dead: 1,
  stopped: 3,
  unknown: 4,
};

/** What processes may take beyond the time that they were given. */
export const marginSeconds = 5;

/** A command on its way. */
export interface Errand {
  /** What is to be done. */
  readonly name: DaemonCommand;
  /** How. */
  readonly options: DaemonCommandOptions;
  /** Our process. */
  readonly host: Host;
  /** Its neighbours. */
  readonly daemon: DaemonHost;
  /** What it waits by. */
  readonly clock: Clock;
  /** Whether the user still waits. */
  readonly interruption: Interruption;
}

// ---- Waiting ----

/** Ends the waiting when the user has had enough of it. */
export class Interruption {
  /** Resolves once it has come. */
  readonly exitCode: Promise<number>;
  /** Whether it has come, or nothing waits any more. */
  raised = false;
  readonly #forget: (() => void)[];

  /** `farewell` is written when it comes. */
  constructor(host: Host, farewell: string) {
    let resolve!: (code: number) => void;
    this.exitCode = new Promise((settle) => resolve = settle);
    const codes = { SIGINT: 130, SIGTERM: 143 } as const;
    this.#forget = (["SIGINT", "SIGTERM"] as const).map((signal) =>
      host.onSignal(signal, () => {
        if (!this.raised) host.write("stderr", farewell);
        this.raised = true;
        resolve(codes[signal]);
      })
    );
  }

  /** Leaves the signals to others. */
  forget(): void {
    this.raised = true;
    for (const forget of this.#forget) forget();
  }
}

const POLL_MS = 50;

/** Whether something became so in time. Does not resolve for a user who has had
 * enough of it. */
export async function waitUntil(
  isSo: () => Promise<boolean>,
  seconds: number,
  { clock, interruption }: Errand,
): Promise<boolean> {
  const deadline = clock.now() + seconds * 1000;
  while (!interruption.raised) {
    if (await isSo()) return true;
    if (clock.now() >= deadline) return false;
    await clock.sleep(POLL_MS);
  }
  return new Promise(() => {});
}

// ---- Speaking ----

/** Asks for something; why no answer came, if none did. What the answer says is
 * escaped line by line. */
export async function ask(
  command: Command,
  seconds: number,
  { control }: DaemonPaths,
  { daemon }: Errand,
): Promise<Outcome | ControlFailure> {
  const outcome = await daemon.askControl(control, command, seconds);
  if ("failure" in outcome) return outcome.failure;
  const read = readOutcome(outcome.answer);
  if (read === undefined) {
    return { ok: false, message: "The server gave an answer that is none" };
  }
  const lines = read.message.split("\n").map(escapeForLog);
  return { ok: read.ok, message: lines.join("\n") };
}

/** Why nothing can be asked for, and which exit code tells it. */
export interface Absence {
  /** In sentence case with no full stop. */
  readonly message: string;
  /** What to do about it, in whole sentences. */
  readonly remedy: string;
  /** The exit code of `status`. */
  readonly statusCode: number;
  /** That of the others. */
  readonly exitCode: number;
}

/** Every standing in which nothing can be asked for. */
export type Absent = Exclude<Standing, { readonly kind: "answering" }>;

/** Tells why nothing can be asked for. */
export function describeAbsence(
  standing: Absent,
  paths: DaemonPaths,
): Absence {
  const { pidfile, control } = paths;
  const option = pidfileOption(pidfile);
  const unknown = {
    statusCode: exitCodes.unknown,
    exitCode: exitCodes.failed,
  };
  switch (standing.kind) {
    case "stopped": {
      const { stalePid } = standing;
      const dead = stalePid !== undefined;
      return {
        message: dead
          ? `Not running: pid ${stalePid} in ${pidfile} is no headgate's any ` +
            "more"
          : `Not running: nobody answers for ${pidfile}`,
        remedy: `headgate start APP ${option} starts one.`,
        statusCode: dead ? exitCodes.dead : exitCodes.stopped,
        exitCode: exitCodes.notRunning,
      };
    }
    case "mute":
      return {
        ...unknown,
        message: standing.pid === undefined
          ? `A server holds ${pidfile} and does not answer; its pid is not ` +
            "known"
          : `Pid ${standing.pid} holds ${pidfile} and does not answer`,
        remedy: "It is starting, or blocked, or its control socket was " +
          "removed; its log tells more.",
      };
    case "forbidden":
      return {
        ...unknown,
        message: `No permission to open the control socket ${control}`,
        remedy: "Run this as the user who started the server, or with sudo.",
        exitCode: exitCodes.noPermission,
      };
    case "stranger":
      return {
        ...unknown,
        message: `What answers on ${control} is no headgate of our kind`,
        remedy: `Use the release that it was started with, or another ${
          pidfileOption("FILE")
        }.`,
      };
    case "unreadable": {
      const { message, remedy } = standing.error;
      return { ...unknown, message, remedy };
    }
  }
}

/** Writes why nothing can be asked for, and returns the exit code. */
export function tellAbsence(
  standing: Absent,
  paths: DaemonPaths,
  errand: Errand,
): number {
  const { message, remedy, exitCode } = describeAbsence(standing, paths);
  return fail(message, remedy, errand, exitCode);
}

/** Writes what went wrong, and returns the exit code. The message may have
 * several lines. */
export function fail(
  message: string,
  remedy: string,
  { host }: Errand,
  exitCode: number = exitCodes.failed,
): number {
  const [first = "", ...rest] = message.trim().split("\n");
  const sentence = first.replace(/^headgate: |[.:]$/g, "");
  const detail = rest.length === 0 ? undefined : rest.join("\n");
  const error = new CommandError(1, sentence, remedy, detail);
  host.write("stderr", formatCommandError(error));
  return exitCode;
}

/** Writes what was done, and returns the exit code. */
export function say(message: string, { host }: Errand): number {
  host.write("stdout", `${message}\n`);
  return 0;
}
