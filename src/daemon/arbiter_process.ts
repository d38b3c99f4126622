/**
 * The arbiter's process: joins the arbiter with the pidfile, the control
 * socket, the signals, the log and the launcher.
 *
 * Length: each joint is a few lines, and they share the arbiter.
 *
 * @module
 */
import { hooksOf } from "../application.ts";
import { CommandError, formatCommandError } from "../command_error.ts";
import type { Config, LoadedConfig } from "../config.ts";
import type { HookSet, ServerInfo } from "../hooks.ts";
import type { Host } from "../host.ts";
import { escapeForLog, traceOf } from "../logger.ts";
import { removeSocketsAtExit } from "../socket_files.ts";
import { mostWorkers } from "../commands.ts";
import { version } from "../version.ts";
import { Arbiter, tickSeconds } from "./arbiter.ts";
import { ArbiterLogs } from "./arbiter_logs.ts";
import { realClock } from "./clock.ts";
import type { DaemonHost } from "./host.ts";
import { type Claim, claimPidfile } from "./pidfile.ts";
import {
  type ArbiterRole,
  type Command,
  type Notice,
  type Outcome,
  readCommand,
  readOrder,
  type Status,
  type WorkerRole,
} from "./protocol.ts";
import { Reloads } from "./reloads.ts";
import { problemsOf, reopenOutcome } from "./reopening.ts";
import { roleVariable } from "./role.ts";
import { arbiterSettings, identityOf, unchangeable } from "./settings.ts";
import { addressesOf, haveSharedSockets } from "./slots.ts";
import { startSuccessor, type Successor } from "./succession.ts";

/** What an arbiter is started with. */
export interface ArbiterStart {
  readonly role: ArbiterRole;
  readonly loaded: LoadedConfig;
  /** The program's arguments, for the workers. */
  readonly args: readonly string[];
  /** Reads the configuration again. Rejects with `CommandError`. */
  readonly reread: () => Promise<LoadedConfig>;
}

/** Keeps workers until it is told to stop, and resolves with the exit code. */
export async function runArbiter(
  start: ArbiterStart,
  host: Host,
  daemonHost: DaemonHost,
): Promise<number> {
  const notify = (notice: Notice) => daemonHost.parent?.send(notice);
  try {
    const ours = new ArbiterProcess(start, host, daemonHost, notify);
    return await ours.run();
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    const message = formatCommandError(error);
    host.write("stderr", message);
    notify({ type: "failed", message });
    return error.exitCode;
  } finally {
    daemonHost.parent?.close();
    await daemonHost.parent?.flushed();
  }
}

/** How long after a SIGTERM another one is the same. */
const echoSeconds = 1;

class ArbiterProcess {
  readonly #role: ArbiterRole;
  readonly #args: readonly string[];
  readonly #reread: () => Promise<LoadedConfig>;
  readonly #host: Host;
  readonly #daemonHost: DaemonHost;
  readonly #notify: (notice: Notice) => void;
  readonly #logs: ArbiterLogs;
  readonly #reloads: Reloads;
  readonly #arbiter: Arbiter;
  readonly #loaded: LoadedConfig;
  #config: Config;
  #hooks: HookSet | undefined;
  #claim: Claim | undefined;
  #successor: Successor | undefined;
  #stopRequested = false;
  #terminatedAt = -Infinity;
  #forgetSockets: (() => void) | undefined;

  constructor(
    { role, loaded, args, reread }: ArbiterStart,
    host: Host,
    daemonHost: DaemonHost,
    notify: (notice: Notice) => void,
  ) {
    const { config } = loaded;
    this.#role = role;
    this.#config = config;
    this.#loaded = loaded;
    this.#args = args;
    this.#reread = reread;
    this.#host = host;
    this.#daemonHost = daemonHost;
    this.#notify = notify;
    const identity = identityOf(config, daemonHost);
    this.#logs = new ArbiterLogs(
      config,
      role.daemon,
      identity,
      host,
      daemonHost,
    );
    this.#reloads = new Reloads(this.#logs.log, () => this.#reload());
    this.#arbiter = new Arbiter(arbiterSettings(config, daemonHost.cores), {
      log: this.#logs.log,
      slots: role.slots,
      bootsAtOnce: Math.max(2, daemonHost.cores),
      now: () => performance.now() / 1000,
      random: Math.random,
      startWorker: (seat, generation) =>
        daemonHost.spawn(this.#args, {
          env: {
            [roleVariable]: JSON.stringify(this.#workerRole(seat, generation)),
          },
          fds: role.slots.map(({ fd }) => fd),
          output: this.#logs.forWorkers,
          detached: false,
          user: identity,
        }),
      onReady: (pids) => this.#tellReady(pids),
    });
  }

  async run(): Promise<number> {
    const { log } = this.#logs;
    this.#retitle();
    try {
      await this.#claimPidfile();
      this.#announce();
      this.#listenToSignals();
      this.#listenToStarter();
      this.#hooks = await hooksOf(this.#loaded);
      // Who waits for a hook can be stopped all the same.
      await Promise.race([
        this.#hooks?.server("onStarting", this.#info()),
        this.#arbiter.finished,
      ]);
      this.#arbiter.start();
      const ticks = setInterval(() => this.#tick(), tickSeconds * 1000);
      const code = await this.#arbiter.finished;
      clearInterval(ticks);
      await this.#hooks?.server("onExit", this.#info());
      const { failure } = this.#arbiter;
      if (failure !== undefined) {
        log.critical(`The workers could not begin to serve: ${failure}`);
        this.#notify({ type: "failed", message: failure });
      } else log.info("Stopped");
      return code;
    } finally {
      this.#claim?.release();
      // Another arbiter that was there when we were to stop may have gone since.
      if (this.#stopRequested && !this.#shared()) this.#socketsToRemove();
      this.#forgetSockets?.();
      this.#logs.close();
    }
  }

  // ---- Who we are ----

  #workerRole(seat: number, generation: number): WorkerRole {
    const { slots, configFile, daemon } = this.#role;
    return { type: "worker", slots, configFile, daemon, seat, generation };
  }

  #info(generation = this.#arbiter.generation): ServerInfo {
    return { pid: this.#host.pid, generation, log: this.#logs.log };
  }

  #retitle(): void {
    const { name, app } = this.#config;
    this.#daemonHost.setTitle(
      `headgate: arbiter [${name ?? app ?? "welcome"}]`,
    );
  }

  /** With a pidfile comes a control socket. A successor keeps both beside those
   * of the arbiter that it follows, until that one has gone. */
  async #claimPidfile(): Promise<void> {
    const { pidfile } = this.#config;
    if (pidfile === undefined) return;
    const beside = this.#role.predecessor !== null;
    const claim = await claimPidfile(
      pidfile,
      this.#host,
      this.#daemonHost,
      this.#logs.log,
      { beside },
    );
    this.#claim = claim;
    await claim.serve((question) => this.#answer(question));
  }

  async #succeed(): Promise<void> {
    this.#logs.log.info("The former arbiter has gone");
    try {
      await this.#claim?.rename();
    } catch (error) {
      this.#logs.log.error(`The pidfile keeps its name: ${traceOf(error)}`);
    }
  }

  #announce(): void {
    const { log } = this.#logs;
    const { name, version: runtimeVersion } = this.#host.runtime;
    log.info(
      `Headgate ${version} on ${name} ${runtimeVersion}, arbiter with pid ` +
        `${this.#host.pid}`,
    );
    const { app } = this.#config;
    log.info(
      `Application: ${
        app === undefined ? "the welcome page" : escapeForLog(app)
      }`,
    );
    for (const address of addressesOf(this.#role.slots)) {
      log.info(`Listening on ${address}`);
    }
    if (this.#arbiter.target > 1 && haveSharedSockets(this.#role.slots)) {
      log.info("The workers share one socket: connections may spread unevenly");
    }
  }

  #tellReady(workers: readonly number[]): void {
    this.#logs.log.info(
      `Ready in ${
        Math.round(performance.now())
      } ms: ${workers.length} worker(s)`,
    );
    this.#daemonHost.notify("READY=1");
    this.#notify({ type: "ready", pid: this.#host.pid, workers });
    void this.#hooks?.server("whenReady", this.#info());
  }

  // ---- What comes from outside ----

  #listenToSignals(): void {
    const on = this.#daemonHost.onSignal.bind(this.#daemonHost);
    const arbiter = this.#arbiter;
    on("SIGTERM", () => this.#terminate());
    on("SIGINT", () => this.#stop("SIGINT", true));
    on("SIGQUIT", () => this.#stop("SIGQUIT", true));
    on("SIGHUP", () => void this.#reloads.ask("SIGHUP"));
    on(
      "SIGTTIN",
      () => void arbiter.scale(Math.min(mostWorkers, arbiter.target + 1)),
    );
    on("SIGTTOU", () => void arbiter.scale(Math.max(1, arbiter.target - 1)));
    on("SIGUSR1", () => void this.#reopen());
    on("SIGUSR2", () => void this.#upgrade());
    on("SIGWINCH", () => {
      // Without a terminal alone: one sends it whenever its window changes.
      if (this.#role.daemon) void arbiter.scale(0);
    });
    this.#host.onUncaught((kind, error) => {
      this.#logs.log.critical(`Arbiter, ${kind}: ${traceOf(error)}`);
    });
  }

  #listenToStarter(): void {
    const { predecessor } = this.#role;
    this.#daemonHost.parent?.receive((message) => {
      if (readOrder(message)?.type !== "reopen") return;
      void this.#reopen().then((problems) =>
        this.#notify({ type: "reopened", problems })
      );
    }, () => {
      if (predecessor !== null) void this.#succeed();
    });
  }

  #tick(): void {
    const { launcher } = this.#role;
    if (
      launcher !== null && !this.#stopRequested &&
      !this.#daemonHost.isAlive(launcher)
    ) this.#stop("The launcher has gone", false);
    this.#arbiter.tick();
  }

  async #answer(question: unknown): Promise<Status | Outcome> {
    const command = readCommand(question);
    if (command === undefined) return { ok: false, message: "No such command" };
    if (command.command !== "status") {
      this.#logs.log.info(`Asked to ${describe(command)}`);
    }
    switch (command.command) {
      case "status":
        return this.#status();
      case "reload":
        return await this.#reloads.ask();
      case "scale":
        return await this.#arbiter.scale(command.workers);
      case "reopen":
        return reopenOutcome(await this.#reopen());
      case "stop":
        // In the next turn, so that the answer can leave.
        setTimeout(() => this.#stop("stop", command.quick));
        return { ok: true, message: "Stopping" };
      case "restart":
        return await this.#restart();
    }
  }

  #status(): Status {
    const { name, version: runtimeVersion } = this.#host.runtime;
    const arbiter = this.#arbiter;
    return {
      ok: true,
      version,
      runtime: `${name} ${runtimeVersion}`,
      pid: this.#host.pid,
      uptime: performance.now() / 1000,
      state: arbiter.state,
      app: this.#config.app ?? null,
      generation: arbiter.generation,
      target: arbiter.target,
      addresses: addressesOf(this.#role.slots),
      requests: arbiter.requests,
      workers: arbiter.workers(),
      graceSeconds: this.#config.graceSeconds,
    };
  }

  // ---- What is done about it ----

  /** A service manager that signals each of its processes has us hear it
   * twice: from itself, and by way of the launcher. That is one wish. */
  #terminate(): void {
    const now = performance.now();
    if (now - this.#terminatedAt < echoSeconds * 1000) return;
    this.#terminatedAt = now;
    this.#stop("SIGTERM", this.#stopRequested);
  }

  #stop(reason: string, quick: boolean): void {
    if (!this.#stopRequested) {
      // Our workers have theirs. When the last of them has accepted what the
      // kernel has queued, and closes, clients are refused and do not wait.
      const fds = this.#role.slots.map(({ fd }) => fd);
      this.#daemonHost.closeInherited(fds, !this.#shared());
    }
    this.#stopRequested = true;
    const { graceSeconds } = this.#config;
    this.#logs.log.info(
      quick ? `${reason}: stopping at once` : `${reason}: letting running ` +
        `requests end, at most ${graceSeconds} s; again stops at once`,
    );
    // The service goes on where another arbiter does.
    if (!this.#shared()) {
      this.#daemonHost.notify("STOPPING=1");
      this.#socketsToRemove();
    }
    this.#arbiter.stop(quick, 0, this.#shared());
  }

  /** Whether the launcher is no parent of ours, and has nothing to find whoever
   * follows us by. */
  #isOutOfSight(): boolean {
    const { launcher, predecessor } = this.#role;
    return launcher !== null && predecessor !== null &&
      this.#config.pidfile === undefined;
  }

  /** Whether another arbiter's workers accept on our sockets. */
  #shared(): boolean {
    const { predecessor } = this.#role;
    return this.#successor !== undefined ||
      (predecessor !== null && this.#daemonHost.isAlive(predecessor));
  }

  /** The files of our Unix sockets, unless others accept on them. */
  #socketsToRemove(): void {
    this.#forgetSockets ??= removeSocketsAtExit(this.#config, this.#host);
  }

  async #reload(): Promise<Outcome> {
    const { log } = this.#logs;
    let config: Config;
    let hooks: HookSet | undefined;
    try {
      const loaded = await this.#reread();
      config = loaded.config;
      hooks = await hooksOf(loaded);
    } catch (error) {
      const message = error instanceof CommandError
        ? formatCommandError(error)
        : traceOf(error);
      log.error(`Not reloaded: ${message}`);
      return { ok: false, message };
    }
    for (const told of unchangeable(this.#config, config)) log.warn(told);
    await hooks?.server("onReload", this.#info(this.#arbiter.generation + 1));
    const outcome = await this.#arbiter.reload(
      arbiterSettings(config, this.#daemonHost.cores),
    );
    if (outcome.ok) {
      this.#hooks = hooks;
      const { pidfile, logFile, accessLog, bind } = this.#config;
      this.#config = { ...config, pidfile, logFile, accessLog, bind };
    }
    return outcome;
  }

  /** Resolves once nobody writes to the old log files any more, but for these
   * problems. */
  async #reopen(): Promise<readonly string[]> {
    // First ours: the workers may not be allowed to make them.
    const own = this.#logs.reopen();
    const [workers, theirs] = await Promise.all([
      this.#arbiter.reopen(),
      this.#successor?.reopen(realClock) ?? [],
    ]);
    const problems = [...problemsOf(own, workers), ...theirs];
    const isError = own.length + workers.failures.length > 0;
    this.#logs.tellReopened(problems, isError ? "error" : "warn");
    return problems;
  }

  /** Another arbiter on the same sockets; both serve until one is stopped. */
  async #upgrade(): Promise<Outcome> {
    const { log } = this.#logs;
    const obstacle = this.#stopRequested
      ? "The arbiter is stopping"
      : this.#successor !== undefined
      ? "There is another arbiter already"
      : this.#isOutOfSight()
      ? "Without --pidfile the launcher could not follow it"
      : undefined;
    if (obstacle !== undefined) {
      log.warn(`No other arbiter is started: ${obstacle}`);
      return { ok: false, message: obstacle };
    }
    log.info("Starting another arbiter on the same sockets");
    const successor = startSuccessor(this.#role, {
      pid: this.#host.pid,
      args: this.#args,
      logFile: this.#config.logFile,
    }, this.#daemonHost);
    this.#successor = successor;
    void this.#follow(successor);
    const failure = await successor.failure;
    if (failure !== undefined) {
      const message = `The new arbiter could not begin to serve: ${failure}`;
      log.error(message);
      return { ok: false, message };
    }
    const { pid } = successor;
    log.info(`The new arbiter (pid ${pid}) serves`);
    this.#notify({ type: "successor", pid });
    return { ok: true, message: `The new arbiter has pid ${pid}` };
  }

  /** Forgets an arbiter that has ended, and says that there may be another. */
  async #follow(successor: Successor): Promise<void> {
    await successor.ended;
    if (this.#successor !== successor) return;
    this.#successor = undefined;
    if (this.#stopRequested || await successor.failure !== undefined) return;
    this.#logs.log.info(
      `The other arbiter (pid ${successor.pid}) has ended, this one serves on`,
    );
  }

  async #restart(): Promise<Outcome> {
    const outcome = await this.#upgrade();
    if (outcome.ok) setTimeout(() => this.#stop("restart", false));
    return outcome;
  }
}

function describe(command: Command): string {
  return command.command === "scale"
    ? `scale to ${command.workers}`
    : command.command;
}
