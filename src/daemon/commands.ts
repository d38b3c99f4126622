/**
 * The commands that go to a server that runs: `stop`, `restart`, `reload`,
 * `status`, `scale` and `reopen`. They ask on the control socket; `stop` also
 * knows signals, for an arbiter that does not answer.
 *
 * Exit codes are those of the Linux Standard Base for init scripts. `status`: 0
 * it runs, 1 it is dead and its pidfile is left, 3 it does not run, 4 nobody
 * can tell. The others: 0 done (`stop` also when there was nothing to stop), 1
 * not done, 2 wrong arguments, 4 no permission, 7 it does not run; and 128 plus
 * the signal for one that no longer waits. The one deviation: by that standard
 * `restart` starts what does not run, but here it could not know what.
 *
 * @module
 */
import { CommandError, formatCommandError } from "../command_error.ts";
import type { Host } from "../host.ts";
import { type Clock, realClock } from "./clock.ts";
import {
  ask,
  type DaemonCommand,
  type DaemonCommandOptions,
  describeAbsence,
  type Errand,
  exitCodes,
  fail,
  Interruption,
  marginSeconds,
  say,
  tellAbsence,
  waitUntil,
} from "./errand.ts";
import type { ControlFailure, DaemonHost } from "./host.ts";
import { type DaemonPaths, daemonPaths, pidfileOption } from "./paths.ts";
import { mostWorkers } from "../commands.ts";
import type { Command, Status } from "./protocol.ts";
import { defaultPidfile } from "./settings.ts";
import { askStatus, inspect, type Standing } from "./standing.ts";
import { statusJson, statusPage } from "./status_page.ts";
import { stop } from "./stop.ts";

/** Carries out a command, and resolves with the exit code. SIGINT and SIGTERM
 * end the waiting, and not what was asked for. Throws `CommandError`. */
export async function runDaemonCommand(
  name: DaemonCommand,
  options: DaemonCommandOptions,
  host: Host,
  daemon: DaemonHost,
  clock: Clock = realClock,
): Promise<number> {
  const interruption = new Interruption(
    host,
    name === "status"
      ? ""
      : "headgate: No longer waiting; what was asked for goes on.\n",
  );
  const errand = { name, options, host, daemon, clock, interruption };
  try {
    return await Promise.race([carryOut(errand), interruption.exitCode]);
  } catch (error) {
    if (name !== "status" || !(error instanceof CommandError)) throw error;
    // Its other codes have a meaning already.
    host.write("stderr", formatCommandError(error));
    return exitCodes.unknown;
  } finally {
    interruption.forget();
  }
}

/** How long an arbiter may take for what needs no worker. */
const answerSeconds = 10;
const defaultBootSeconds = 60;
/** An arbiter bounds what it does itself; this is for one that hangs. */
const longestSeconds = 3600;

async function carryOut(errand: Errand): Promise<number> {
  const { name, options, daemon } = errand;
  const paths = daemonPaths(options.pidfile ?? defaultPidfile, daemon);
  if (name === "stop") return await stop(paths, errand);
  if (name === "scale") checkScale(options);
  const standing = await inspect(paths, daemon, errand.clock);
  if (name === "status") return showStatus(standing, paths, errand);
  if (standing.kind !== "answering") {
    return tellAbsence(standing, paths, errand);
  }
  const { status } = standing;
  switch (name) {
    case "reload":
      return await order({ command: "reload" }, status, paths, errand);
    case "reopen":
      return await order({ command: "reopen" }, status, paths, errand);
    case "scale": {
      const workers = scaleTarget(options, status);
      return await order({ command: "scale", workers }, status, paths, errand);
    }
    case "restart":
      return await restart(status, paths, errand);
  }
}

// ---- status ----

function showStatus(
  standing: Standing,
  paths: DaemonPaths,
  { options, host }: Errand,
): number {
  if (standing.kind === "answering") {
    const show = options.json ? statusJson : statusPage;
    host.write("stdout", show(standing.status));
    return 0;
  }
  const { message, remedy, statusCode } = describeAbsence(standing, paths);
  host.write(
    "stdout",
    options.json
      ? statusJson({ ok: false, message })
      : `${message}.\n${remedy}\n`,
  );
  return statusCode;
}

// ---- reload, reopen, scale ----

/** Asks for something, and tells what came of it. */
async function order(
  command: Command,
  status: Status,
  paths: DaemonPaths,
  errand: Errand,
): Promise<number> {
  const seconds = patienceFor(command, status, errand);
  const outcome = await ask(command, seconds, paths, errand);
  if (typeof outcome === "string") {
    return tellFailure(outcome, seconds, paths, errand);
  }
  if (outcome.ok) return say(outcome.message, errand);
  const option = pidfileOption(paths.pidfile);
  return fail(
    outcome.message,
    `headgate status ${option} shows how it stands; its log tells more.`,
    errand,
  );
}

/** Workers boot at least two at a time, and each may take its whole time. */
function patienceFor(
  command: Command,
  { target }: Status,
  { options }: Errand,
): number {
  if (command.command === "reopen") return answerSeconds;
  const { bootSeconds = defaultBootSeconds } = options;
  const workers = command.command === "scale" ? command.workers : target;
  const turns = Math.max(1, Math.ceil(workers / 2));
  return Math.min(longestSeconds, bootSeconds * turns + marginSeconds);
}

/** It answered to the first question, and not to this one. */
function tellFailure(
  failure: ControlFailure,
  seconds: number,
  paths: DaemonPaths,
  errand: Errand,
): number {
  if (failure === "forbidden") {
    return tellAbsence({ kind: failure }, paths, errand);
  }
  return fail(
    failure === "absent"
      ? "The server has left before it could be asked"
      : `The server has left, or has not answered in ${seconds} s`,
    `headgate status ${pidfileOption(paths.pidfile)} shows how it stands; ` +
      "its log tells more.",
    errand,
  );
}

function checkScale({ workers, moreWorkers }: DaemonCommandOptions): void {
  const given = workers ?? moreWorkers;
  if (given === undefined) {
    throw new CommandError(
      2,
      "headgate scale needs the number of workers",
      "Write headgate scale 4, for example.",
    );
  }
  if (workers !== undefined) checkWorkers(workers);
}

function scaleTarget(
  { workers, moreWorkers = 0 }: DaemonCommandOptions,
  { target }: Status,
): number {
  const wanted = workers ?? target + moreWorkers;
  checkWorkers(wanted, workers === undefined ? `; there are ${target}` : "");
  return wanted;
}

function checkWorkers(workers: number, there = ""): void {
  if (Number.isInteger(workers) && workers >= 1 && workers <= mostWorkers) {
    return;
  }
  throw new CommandError(
    2,
    `headgate scale: ${workers} is no number of workers${there}`,
    `There can be 1 to ${mostWorkers}.`,
  );
}

// ---- restart ----

async function restart(
  old: Status,
  paths: DaemonPaths,
  errand: Errand,
): Promise<number> {
  const { daemon, options } = errand;
  const command: Command = { command: "restart" };
  const seconds = patienceFor(command, old, errand);
  const outcome = await ask(command, seconds, paths, errand);
  if (typeof outcome === "string") {
    return tellFailure(outcome, seconds, paths, errand);
  }
  const option = pidfileOption(paths.pidfile);
  if (!outcome.ok) {
    return fail(
      outcome.message,
      `headgate status ${option} tells whether pid ${old.pid} serves on; its ` +
        "log tells more.",
      errand,
    );
  }
  const grace = old.graceSeconds ?? options.graceSeconds;
  let successor: number | undefined;
  const done = await waitUntil(
    async () => {
      if (daemon.isAlive(old.pid)) return false;
      const answer = await askStatus(paths, daemon);
      if (typeof answer === "string" || answer.kind !== "answering") {
        return false;
      }
      successor = answer.status.pid;
      return successor !== old.pid;
    },
    grace + marginSeconds,
    errand,
  );
  if (done) return say(`Restarted: pid ${old.pid} is now ${successor}`, errand);
  return daemon.isAlive(old.pid)
    ? fail(
      `The new processes serve, and pid ${old.pid} has not left in ` +
        `${grace + marginSeconds} s`,
      `headgate status ${option} shows how it stands; kill -9 ${old.pid} ` +
        "ends it.",
      errand,
    )
    : fail(
      `Pid ${old.pid} has left, and nobody answers in its place`,
      `Its log tells more; headgate start APP ${option} starts another.`,
      errand,
    );
}
