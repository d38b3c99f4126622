/**
 * `headgate stop`: asks on the control socket, sends a signal to an arbiter that
 * does not answer, and waits until every process has gone.
 *
 * @module
 */
import {
  ask,
  describeAbsence,
  type Errand,
  exitCodes,
  fail,
  marginSeconds,
  say,
  tellAbsence,
  waitUntil,
} from "./errand.ts";
import { type DaemonPaths, pidfileOption, successorPaths } from "./paths.ts";
import type { Command } from "./protocol.ts";
import { askStatus, inspect, type Standing } from "./standing.ts";

/** How long an arbiter may take to say that it stops. */
const answerSeconds = 10;

/** Stops the arbiter with these paths, and one that is to take over from it. */
export async function stop(
  paths: DaemonPaths,
  errand: Errand,
): Promise<number> {
  const { daemon, clock } = errand;
  // While a restart is under way there are two. The new one goes first, lest
  // it take the place of the old one.
  const beside = successorPaths(paths);
  const successor = await inspect(beside, daemon, clock);
  if (successor.kind === "answering" || successor.kind === "mute") {
    const code = await end(successor, beside, errand);
    if (code !== 0) return code;
  }
  const standing = await inspect(paths, daemon, clock);
  if (standing.kind === "answering" || standing.kind === "mute") {
    return await end(standing, paths, errand);
  }
  if (standing.kind !== "stopped") return tellAbsence(standing, paths, errand);
  await removeLeftovers(standing.stalePid, paths, errand);
  const { message } = describeAbsence(standing, paths);
  return say(message, errand);
}

/** After `stop` nothing is left, so that `status` does not speak of a crash. */
async function removeLeftovers(
  stalePid: number | undefined,
  { pidfile, control, lock }: DaemonPaths,
  { host, daemon }: Errand,
): Promise<void> {
  if (stalePid === undefined || daemon.isAlive(stalePid)) return;
  const held = await daemon.lock(lock);
  if (held === undefined) return; // another has started meanwhile
  try {
    host.remove(pidfile);
    if (host.status(control)?.kind === "socket") host.remove(control);
  } catch {
    // Somebody else's directory: what is left there harms nobody.
  } finally {
    held.release();
  }
}

/** Who is to be gone. */
interface Leavers {
  /** The arbiter, if it is known. */
  readonly pid: number | undefined;
  readonly workers: readonly number[];
  readonly graceSeconds: number;
}

async function end(
  standing: Extract<Standing, { readonly kind: "answering" | "mute" }>,
  paths: DaemonPaths,
  errand: Errand,
): Promise<number> {
  const { quick, graceSeconds } = errand.options;
  const leavers: Leavers = standing.kind === "mute"
    ? { pid: standing.pid, workers: [], graceSeconds }
    : {
      pid: standing.status.pid,
      workers: standing.status.workers.map(({ pid }) => pid),
      graceSeconds: standing.status.graceSeconds ?? graceSeconds,
    };
  const refusal = standing.kind === "mute"
    ? signalStop(leavers.pid, paths, errand)
    : await askToStop(leavers.pid, paths, errand);
  if (refusal !== undefined) return refusal;
  const seconds = marginSeconds + (quick ? 0 : leavers.graceSeconds);
  if (await waitUntil(notice(leavers, paths, errand), seconds, errand)) {
    const { pid } = leavers;
    return say(pid === undefined ? "Stopped" : `Stopped (pid ${pid})`, errand);
  }
  return tellLate(leavers, seconds, paths, errand);
}

/** Undefined when it stops, else the exit code. */
async function askToStop(
  pid: number | undefined,
  paths: DaemonPaths,
  errand: Errand,
): Promise<number | undefined> {
  const command: Command = { command: "stop", quick: errand.options.quick };
  const outcome = await ask(command, answerSeconds, paths, errand);
  if (typeof outcome === "string") return signalStop(pid, paths, errand);
  if (outcome.ok) return undefined;
  return fail(outcome.message, "Its log tells more.", errand);
}

/** Undefined when it stops or has stopped, else the exit code. */
function signalStop(
  pid: number | undefined,
  paths: DaemonPaths,
  errand: Errand,
): number | undefined {
  const { daemon, options } = errand;
  if (pid === undefined) {
    return tellAbsence({ kind: "mute", pid }, paths, errand);
  }
  if (daemon.kill(pid, options.quick ? "SIGQUIT" : "SIGTERM")) return undefined;
  if (!daemon.isAlive(pid)) return undefined;
  return fail(
    `No permission to signal pid ${pid}`,
    "Run this as the user who started the server, or with sudo.",
    errand,
    exitCodes.noPermission,
  );
}

/** Whether all have gone. A person is told once what the waiting is for. */
function notice(
  { pid, workers, graceSeconds }: Leavers,
  paths: DaemonPaths,
  { options, host, daemon, clock }: Errand,
): () => Promise<boolean> {
  const tellAt = clock.now() + 1000;
  let told = options.quick || !host.isTerminal("stderr");
  const known = pid === undefined ? workers : [pid, ...workers];
  return async () => {
    if (!told && clock.now() >= tellAt) {
      told = true;
      host.write(
        "stderr",
        `headgate: Waiting for running requests, at most ${graceSeconds} s; ` +
          `headgate stop --quick ${pidfileOption(paths.pidfile)} cuts them.\n`,
      );
    }
    if (known.some((one) => daemon.isAlive(one))) return false;
    // In another container its pid says nothing; who answers does.
    const answer = await askStatus(paths, daemon);
    return answer === "absent" || typeof answer === "object" &&
        answer.kind === "answering" && answer.status.pid !== pid;
  };
}

function tellLate(
  { pid, workers }: Leavers,
  seconds: number,
  paths: DaemonPaths,
  errand: Errand,
): number {
  const { daemon, options } = errand;
  const arbiter = pid !== undefined && daemon.isAlive(pid);
  const left = workers.filter((worker) => daemon.isAlive(worker));
  const who = [
    ...(arbiter ? [`arbiter ${pid}`] : []),
    ...left.map((worker) => `worker ${worker}`),
  ].join(", ") || `who answers on ${paths.control}`;
  const pids = [...(arbiter ? [pid] : []), ...left];
  return fail(
    `Still running after ${seconds} s: ${who}`,
    options.quick && pids.length > 0
      ? `kill -9 ${pids.join(" ")} ends what is left.`
      : `headgate stop --quick ${pidfileOption(paths.pidfile)} cuts it short.`,
    errand,
  );
}
