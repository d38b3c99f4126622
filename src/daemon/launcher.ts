/**
 * The launcher: what the user's command becomes. It binds the sockets, starts
 * an arbiter that inherits them, and closes its own in the same turn, so that
 * it never accepts. In the foreground it stays, passes signals on and ends as
 * the arbiter ends, so that a terminal, a service manager or a container sees
 * one program; for `start` it waits until the workers serve.
 *
 * @module
 */
import { activatedSockets } from "../activation.ts";
import { parseBind } from "../bind.ts";
import { CommandError } from "../command_error.ts";
import type { Config } from "../config.ts";
import type { Host } from "../host.ts";
import { explainListen } from "../listen_errors.ts";
import { openLogs } from "../log_files.ts";
import { clearStaleSockets } from "../socket_files.ts";
import type { Address } from "../stream.ts";
import { type Clock, realClock } from "./clock.ts";
import type {
  BoundSockets,
  ChildProcess,
  DaemonHost,
  DaemonSignal,
  HeldSocket,
  Identity,
  ProcessEnd,
} from "./host.ts";
import { daemonPaths, successorPaths } from "./paths.ts";
import { refuseIfRunning } from "./pidfile.ts";
import { type ArbiterRole, type Notice, readNotice } from "./protocol.ts";
import { roleVariable } from "./role.ts";
import { identityOf, workersOf } from "./settings.ts";

/** How it is launched. */
export interface Launch {
  readonly config: Config;
  /** The program's arguments, for the arbiter and the workers. */
  readonly args: readonly string[];
  /** Absolute path of the configuration file, if there is one. */
  readonly configFile: string | null;
  /** Whether to leave once the workers serve. */
  readonly daemon: boolean;
  /** In the foreground, called once the arbiter is started. */
  readonly attend?: ((server: RunningServer) => void) | undefined;
}

/** An arbiter that was started in the foreground. */
export interface RunningServer {
  /** Where it listens. */
  readonly addresses: readonly Address[];
  /** Resolves when its workers serve; before that it may know no signals. */
  readonly ready: Promise<void>;
  /** Sends it a signal. */
  signal(signal: DaemonSignal): void;
}

/** Starts an arbiter with its workers. In the foreground it resolves with the
 * exit code when the arbiter has ended; as a daemon with 0 when its workers
 * serve, or with the arbiter's exit code when it has ended instead. Throws
 * `CommandError`. */
export async function launch(
  { config, args, configFile, daemon, attend }: Launch,
  host: Host,
  daemonHost: DaemonHost,
  clock: Clock = realClock,
): Promise<number> {
  if (config.pidfile !== undefined) {
    await refuseIfRunning(config.pidfile, daemonHost);
  }
  // What refuses the log files says so before anything else is done.
  if (daemon) openLogs(config, host).close();
  // What is wrong with them is told before a socket's file is made.
  const identity = identityOf(config, daemonHost);
  const { held, close } = await hold(config, identity, host, daemonHost);
  const role: ArbiterRole = {
    type: "arbiter",
    slots: held.map(({ address }, index) => ({ fd: 3 + index, address })),
    configFile,
    daemon,
    predecessor: null,
    launcher: daemon ? null : host.pid,
  };
  const arbiter = daemonHost.spawn(args, {
    env: {
      [roleVariable]: JSON.stringify(role),
      LISTEN_FDS: undefined,
      LISTEN_FDNAMES: undefined,
      LISTEN_PID: undefined,
    },
    fds: held.map(({ fd }) => fd),
    output: daemon
      ? { kind: "file", path: config.logFile }
      : { kind: "inherit" },
    detached: true,
  });
  close();
  if (daemon) return await waitUntilReady(arbiter, config, host, daemonHost);
  const addresses = held.map(({ address }) => address);
  return await accompany(
    arbiter,
    config,
    host,
    daemonHost,
    clock,
    (signal, ready) => attend?.({ addresses, ready, signal }),
  );
}

// ---- Sockets ----

interface Held {
  readonly held: readonly HeldSocket[];
  close(): void;
}

/** Sockets that a service manager has handed over, or our own. */
async function hold(
  config: Config,
  identity: Identity | undefined,
  host: Host,
  daemonHost: DaemonHost,
): Promise<Held> {
  const count = activatedSockets(host);
  if (count > 0) {
    const fds = Array.from({ length: count }, (_, index) => 3 + index);
    return { held: inherited(fds, daemonHost), close: () => {} };
  }
  const fds = config.bind.map(parseBind).filter(({ fd }) => fd !== undefined);
  if (fds.length > 0) return heldByNumber(config, fds.length, daemonHost);
  await clearStaleSockets(config, host);
  const { backlog } = config;
  const addresses = config.bind.map((text) => ({
    ...parseBind(text),
    backlog,
  }));
  let bound: BoundSockets;
  try {
    bound = await daemonHost.bind(
      addresses,
      workersOf(config, daemonHost.cores),
    );
  } catch (error) {
    throw explainListen(error, config, host) ?? error;
  }
  giveSocketsAway(config, identity, daemonHost);
  return { held: bound.sockets, close: () => bound.close() };
}

function inherited(
  fds: readonly number[],
  daemonHost: DaemonHost,
): HeldSocket[] {
  try {
    return daemonHost.inherited(fds);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new CommandError(
      1,
      error.message,
      "Descriptors from 3 upwards have to be listening sockets.",
    );
  }
}

/** `--bind fd://3 --bind fd://4`: what another program has opened. */
function heldByNumber(
  config: Config,
  count: number,
  daemonHost: DaemonHost,
): Held {
  if (count < config.bind.length) {
    throw new CommandError(
      2,
      "Inherited descriptors and addresses cannot be mixed with workers",
      "Write --bind fd://N for all, or for none.",
    );
  }
  const fds = config.bind.map((text) => parseBind(text).fd ?? 0);
  return { held: inherited([...new Set(fds)], daemonHost), close: () => {} };
}

/** The file of a Unix socket belongs to whom the workers run as. */
function giveSocketsAway(
  config: Config,
  identity: Identity | undefined,
  daemonHost: DaemonHost,
): void {
  if (identity === undefined) return;
  for (const { path } of config.bind.map(parseBind)) {
    if (path !== undefined) daemonHost.chown(path, identity);
  }
}

// ---- In the foreground ----

// Not SIGWINCH: a terminal sends it whenever its window changes its size.
const forwarded: readonly DaemonSignal[] = [
  "SIGHUP",
  "SIGINT",
  "SIGQUIT",
  "SIGTERM",
  "SIGTTIN",
  "SIGTTOU",
  "SIGUSR1",
  "SIGUSR2",
];

/** What concerns both of two arbiters. */
const shared: readonly DaemonSignal[] = [
  "SIGINT",
  "SIGQUIT",
  "SIGTERM",
  "SIGUSR1",
];

const followMs = 250;

async function accompany(
  arbiter: ChildProcess,
  { pidfile }: Config,
  host: Host,
  daemonHost: DaemonHost,
  clock: Clock,
  attend: (
    signal: RunningServer["signal"],
    ready: RunningServer["ready"],
  ) => void,
): Promise<number> {
  let pid = arbiter.pid;
  let ended = false;
  const unheard: DaemonSignal[] = [];
  let tellReady: () => void = () => {};
  attend(
    (signal) => void daemonHost.kill(pid, signal),
    new Promise((resolve) => tellReady = resolve),
  );
  const forget = forwarded.map((signal) =>
    daemonHost.onSignal(signal, () => {
      // Between two arbiters nobody is there to hear it; a zombie would take it.
      const heard = daemonHost.isAlive(pid) && daemonHost.kill(pid, signal);
      if (!heard) unheard.push(signal);
      // While there are two, both are what is to be stopped, and both have
      // log files.
      if (pid !== arbiter.pid && !ended && shared.includes(signal)) {
        arbiter.kill(signal);
      }
    })
  );
  arbiter.channel.receive((message) => {
    const notice = readNotice(message);
    if (notice?.type === "successor") pid = notice.pid;
    if (notice?.type === "ready") tellReady();
  }, () => {});
  const code = exitCodeOf(await arbiter.ended);
  ended = true;
  // After SIGUSR2 another arbiter goes on, which is no child of ours; and after
  // that one, whoever has the pidfile.
  while (pid !== arbiter.pid) {
    while (daemonHost.isAlive(pid)) await clock.sleep(followMs);
    const next = await successorOf(pid, pidfile, daemonHost, clock);
    if (next === undefined) break;
    pid = next;
    for (const signal of unheard.splice(0)) daemonHost.kill(pid, signal);
  }
  for (const end of forget) end();
  if (code === 127) {
    host.write("stderr", "headgate: The arbiter could not be started.\n");
  }
  return code;
}

/** Between two arbiters nobody has the pidfile for a moment. */
const handoverMs = 2000;

/** The arbiter that has taken the pidfile, or is about to, after another one. */
async function successorOf(
  former: number,
  pidfile: string | undefined,
  daemonHost: DaemonHost,
  clock: Clock,
): Promise<number | undefined> {
  if (pidfile === undefined) return undefined;
  const plain = daemonPaths(pidfile, daemonHost);
  const files = [plain.pidfile, successorPaths(plain).pidfile];
  for (let waited = 0; waited < handoverMs; waited += followMs) {
    for (const file of files) {
      const pid = Number(daemonHost.readText(file) ?? NaN);
      if (pid > 0 && pid !== former && daemonHost.isAlive(pid)) return pid;
    }
    await clock.sleep(followMs);
  }
  return undefined;
}

const signalNumbers: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGTERM: 15,
};

/** As a shell has it. */
function exitCodeOf({ code, signal }: ProcessEnd): number {
  return code ?? 128 + (signalNumbers[signal ?? ""] ?? 0);
}

// ---- As a daemon ----

async function waitUntilReady(
  arbiter: ChildProcess,
  config: Config,
  host: Host,
  daemonHost: DaemonHost,
): Promise<number> {
  const log = config.logFile;
  // Whoever does not wait any longer does not want it any longer.
  const forget = (["SIGINT", "SIGTERM"] as const).map((signal) =>
    daemonHost.onSignal(signal, () => arbiter.kill("SIGINT"))
  );
  const outcome = await firstNotice(arbiter);
  for (const end of forget) end();
  if (outcome.type === "ready") {
    arbiter.channel.close();
    host.write(
      "stdout",
      `Started with pid ${outcome.pid}, workers ${
        outcome.workers.join(", ")
      }; the log is ${log}\n`,
    );
    return 0;
  }
  host.write("stderr", `headgate: Not started; the log is ${log}\n`);
  if (outcome.type === "failed") {
    host.write("stderr", `${outcome.message.trimEnd()}\n`);
  }
  return exitCodeOf(await arbiter.ended) || 3;
}

function firstNotice(
  arbiter: ChildProcess,
): Promise<Notice | { readonly type: "ended" }> {
  return new Promise((resolve) => {
    arbiter.channel.receive((message) => {
      const notice = readNotice(message);
      if (notice !== undefined) resolve(notice);
    }, () => {});
    arbiter.ended.then(() => resolve({ type: "ended" }));
  });
}
