/**
 * A worker: loads the application, accepts on the sockets that the arbiter
 * names, gives a sign of life every second, and leaves when it is told to, or
 * when the arbiter has gone.
 *
 * @module
 */
import {
  type FoundApplication,
  hooksOf,
  loadFor,
  serveApplication,
  type ServedApplication,
  tellListening,
  warningsOf,
  withModuleSettings,
  type WsgiTerms,
} from "../application.ts";
import { CommandError, formatCommandError } from "../command_error.ts";
import type { Config, LoadedConfig } from "../config.ts";
import type { Handler } from "../exchange.ts";
import { Forwarded } from "../forwarded.ts";
import { createGateway, type Gateway } from "../gateway.ts";
import type { HookSet, WorkerInfo } from "../hooks.ts";
import type { Host } from "../host.ts";
import { Listening } from "../listening.ts";
import { type Logs, openLogs, reopenAtSignal } from "../log_files.ts";
import { type Logger, traceOf } from "../logger.ts";
import type { ListenOptions, Transport } from "../stream.ts";
import { RequestTable } from "../watch.ts";
import { realClock } from "./clock.ts";
import type { Channel, DaemonHost } from "./host.ts";
import {
  type Order,
  readOrder,
  type Report,
  type Slot,
  type WorkerRole,
} from "./protocol.ts";

/** How often it gives a sign of life, and oftener where the timeout is short. */
const beatSeconds = 1;
const beatsWithinTimeout = 4;

/** How long a connection may be idle while it leaves and others stay. */
const patientSeconds = 5;

/** How long all workers have to let go of each other's sockets. */
const letGoSeconds = 0.1;

/** Serves until it is told to leave, and resolves with its exit code. It
 * does as others do, save for what `manner` says. */
export async function runWorker(
  role: WorkerRole,
  loaded: LoadedConfig,
  host: Host,
  daemonHost: DaemonHost,
  transport: Transport,
  manner?: Manner,
): Promise<number> {
  const { parent: arbiter } = daemonHost;
  const { config } = loaded;
  if (arbiter === undefined) {
    host.write(
      "stderr",
      "headgate: A worker is started by its arbiter alone.\n",
    );
    return 2;
  }
  const title = config.name ?? config.app ?? "welcome";
  daemonHost.keepSockets();
  daemonHost.setTitle(`headgate: worker ${role.seat} [${title}]`);
  let logs: Logs | undefined;
  // While the application is loaded there is nothing to end.
  const ear: Ear = {
    hear: (order) => {
      if (order?.type === "drain") host.exit(0);
      // What is not open yet will be opened by its name.
      if (order?.type === "reopen") tellReopened(arbiter, logs);
    },
    loseArbiter: () => host.exit(0),
  };
  arbiter.receive(
    (message) => ear.hear(readOrder(message)),
    () => ear.loseArbiter(),
  );
  try {
    logs = openLogs(config, host);
    const makings = {
      role,
      loaded,
      host,
      daemonHost,
      transport,
      logs,
      manner,
      // The application may go to another directory.
      logPath: config.logFile === "-"
        ? null
        : daemonHost.absolute(config.logFile),
    };
    const worker = new Worker({ ...makings, arbiter }, await make(makings));
    return await worker.serve(ear);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    // Others may fail in the same way: the arbiter says it once for all.
    const message = formatCommandError(error)
      .replace("headgate: ", "").trimEnd();
    send(arbiter, { type: "failed", message, exitCode: error.exitCode });
    return error.exitCode;
  } finally {
    logs?.close();
    await arbiter.flushed();
  }
}

/** What becomes of what the arbiter says. */
interface Ear {
  hear: (order: Order | undefined) => void;
  loseArbiter: () => void;
}

function send(channel: Channel, report: Report): void {
  channel.send(report);
}

/** The arbiter waits for it, and tells what is wrong for all of us. */
function tellReopened(arbiter: Channel, logs: Logs | undefined): void {
  send(arbiter, { type: "reopened", failures: logs?.reopen() ?? [] });
}

/** What a worker is made from. */
interface Makings {
  readonly role: WorkerRole;
  readonly loaded: LoadedConfig;
  readonly host: Host;
  readonly daemonHost: DaemonHost;
  readonly transport: Transport;
  readonly logs: Logs;
  /** Absolute path of the log file; null for standard output. */
  readonly logPath: string | null;
  readonly manner: Manner | undefined;
}

/** What a worker may do otherwise than others. */
export interface Manner {
  /** Makes the handler that is served of the application's. */
  readonly around: (
    handler: Handler,
    tools: { readonly log: Logger; readText(path: string): string },
  ) => Handler;
  /** What WSGI applications are told otherwise. */
  readonly wsgi: WsgiTerms;
  /** How long a connection may be idle at most, once the worker leaves. */
  readonly idleSeconds: number;
}

/** What it serves with, once the application is loaded. */
interface Made {
  readonly info: WorkerInfo;
  readonly hooks: HookSet | undefined;
  readonly application: FoundApplication;
  readonly served: ServedApplication;
  readonly gateway: Gateway;
  readonly table: RequestTable;
}

/** Loads the application. Rejects with `CommandError`. */
async function make(
  { role, loaded, host, logs, manner }: Makings,
): Promise<Made> {
  const { log } = logs;
  const { seat, generation } = role;
  const info: WorkerInfo = { pid: host.pid, seat, generation, log };
  const early = await hooksOf(loaded);
  await early?.worker("workerStart", info);
  const application = await loadFor(loaded.config, host);
  const hooks = await hooksOf(loaded, application);
  for (const warning of hooks?.warnings ?? []) log.warn(warning);
  // What is the matter with an application one says for all.
  const warnings = seat === 1
    ? warningsOf(application, loaded.config, role)
    : [];
  for (const warning of warnings) log.warn(warning);
  const config = withModuleSettings(loaded.config, application);
  const served = await serveApplication(
    application,
    config,
    host,
    log,
    { multiprocess: true, ...manner?.wsgi },
  );
  const inner = hooks?.beforeRequests(served.handler, info) ?? served.handler;
  const shown =
    manner?.around(inner, { log, readText: (path) => host.readText(path) }) ??
      inner;
  const access = hooks?.afterRequests(logs.access, info) ?? logs.access;
  const forwarded = new Forwarded(config.forwarded);
  const table = new RequestTable();
  const gateway = createGateway(
    forwarded.around(shown),
    {
      limits: config.limits,
      log,
      access: forwarded.access(access),
      watch: table,
    },
  );
  return { info, hooks, application, served, gateway, table };
}

class Worker {
  readonly #makings: Makings;
  readonly #config: Config;
  readonly #slots: readonly Slot[];
  readonly #arbiter: Channel;
  readonly #made: Made;
  readonly #accepting: Listening;
  readonly #fds = new Set<number>();
  /** Listeners are opened one order after the other. */
  #listening: Promise<void> = Promise.resolve();
  #ready = false;
  #leaving: Promise<void> | undefined;
  #exitCode = 0;
  #left: () => void = () => {};

  constructor(makings: Makings & { readonly arbiter: Channel }, made: Made) {
    this.#makings = makings;
    this.#config = makings.loaded.config;
    this.#slots = makings.role.slots;
    this.#arbiter = makings.arbiter;
    this.#made = made;
    this.#accepting = new Listening(makings.transport, made.gateway);
  }

  async serve(ear: Ear): Promise<number> {
    const left = new Promise<void>((resolve) => this.#left = resolve);
    const { graceSeconds, timeoutSeconds } = this.#config;
    this.#listenToSignals();
    const interval = Math.min(beatSeconds, timeoutSeconds / beatsWithinTimeout);
    const beats = setInterval(() => this.#beat(), interval * 1000);
    ear.hear = (order) => this.#obey(order);
    ear.loseArbiter = () => this.#leave("the arbiter has gone", graceSeconds);
    send(this.#arbiter, { type: "loaded" });
    this.#beat();
    await left;
    await this.#made.hooks?.worker("workerExit", this.#made.info);
    clearInterval(beats);
    this.#beat();
    return this.#exitCode;
  }

  #listenToSignals(): void {
    const { host, daemonHost, logs } = this.#makings;
    const { graceSeconds } = this.#config;
    daemonHost.onSignal(
      "SIGTERM",
      () => this.#leave("SIGTERM", graceSeconds, patientSeconds),
    );
    daemonHost.onSignal("SIGINT", () => this.#leave("SIGINT", 0));
    daemonHost.onSignal("SIGQUIT", () => this.#leave("SIGQUIT", 0));
    daemonHost.onSignal("SIGHUP", () => {});
    daemonHost.onSignal("SIGUSR1", () => void reopenAtSignal(logs));
    host.onUncaught((kind, error) => {
      if (kind === "rejection") {
        return logs.log.error(`Unhandled rejection: ${traceOf(error)}`);
      }
      logs.log.critical(`Uncaught exception: ${traceOf(error)}`);
      this.#exitCode = 1;
      this.#leave("an uncaught exception", graceSeconds);
    });
  }

  #obey(order: Order | undefined): void {
    switch (order?.type) {
      case "listen":
        this.#listening = this.#listening.then(() => this.#listen(order.fds));
        return;
      case "drain":
        return this.#leave(
          undefined,
          order.graceSeconds,
          Math.min(
            order.idleSeconds,
            this.#makings.manner?.idleSeconds ?? Infinity,
          ),
        );
      case "reopen":
        tellReopened(this.#arbiter, this.#makings.logs);
    }
  }

  async #listen(fds: readonly number[]): Promise<void> {
    if (this.#leaving !== undefined) return;
    try {
      for (const fd of fds) await this.#accept(fd);
    } catch (error) {
      const message = `Worker ${this.#made.info.seat} cannot accept: ` +
        String(error);
      this.#makings.logs.log.critical(message);
      send(this.#arbiter, { type: "failed", message, exitCode: 1 });
      this.#exitCode = 1;
      return this.#leave(undefined, 0);
    }
    send(this.#arbiter, { type: "listening", fds });
    if (this.#ready) return;
    this.#ready = true;
    this.#keepWatch();
    const { application } = this.#made;
    const addresses = this.#slots.filter(({ fd }) => fds.includes(fd))
      .map(({ address }) => address);
    void tellListening(application, addresses, this.#makings.logs.log);
    // Whoever is to accept on more, or to leave, does not wait for it.
    void this.#made.hooks?.worker("workerReady", this.#made.info);
  }

  async #accept(fd: number): Promise<void> {
    if (this.#fds.has(fd)) return;
    const { backlog } = this.#config;
    await this.#accepting.open({ fd, ...this.#addressOf(fd), backlog });
    this.#fds.add(fd);
  }

  /** Not every runtime can tell where an inherited socket listens. */
  #addressOf(fd: number): ListenOptions {
    const slot = this.#slots.find((slot) => slot.fd === fd);
    const { host, port } = slot?.address ?? { host: "", port: 0 };
    if (host === "") return {};
    return port === 0 ? { path: host } : { hostname: host, port };
  }

  /** From now on another thread looks whether this one still turns. */
  #keepWatch(): void {
    const { timeoutSeconds } = this.#config;
    if (timeoutSeconds === Infinity) return;
    const { daemonHost, logs, logPath } = this.#makings;
    const { info, table } = this.#made;
    const label = `Worker ${info.seat} (pid ${info.pid})`;
    daemonHost.startWatchdog(table.watch({ timeoutSeconds, label }), {
      logPath,
      onFailure: (error) => logs.log.warn(`No watchdog: ${traceOf(error)}`),
    });
  }

  #beat(): void {
    const { host, daemonHost } = this.#makings;
    const { gateway, served, table } = this.#made;
    table.beat();
    send(this.#arbiter, {
      type: "beat",
      requests: gateway.requests,
      busy: gateway.busy,
      connections: gateway.connections,
      rss: (daemonHost.residentBytes(host.pid) ?? 0) + served.residentBytes(),
    });
  }

  /** Accepts no more, lets what runs end, and leaves. Called again, it hurries.
   * `reason` is undefined when the arbiter asks. */
  #leave(
    reason: string | undefined,
    graceSeconds: number,
    idleSeconds?: number,
  ): void {
    if (reason !== undefined && this.#leaving === undefined) {
      this.#makings.logs.log.info(
        `Worker ${this.#made.info.seat} leaves: ${reason}; running requests ` +
          `have at most ${graceSeconds} s`,
      );
      send(this.#arbiter, { type: "leaving" });
    }
    const drained = this.#made.gateway.shutdown(graceSeconds, idleSeconds);
    this.#leaving ??= this.#close(drained, graceSeconds, idleSeconds);
  }

  async #close(
    drained: Promise<void>,
    graceSeconds: number,
    idleSeconds?: number,
  ): Promise<void> {
    await this.#listening;
    // A socket that anybody holds open still takes connections. Each of us
    // lets go of those that are not its own, and has time to, before the last
    // one that accepts on a socket closes it.
    this.#makings.daemonHost.closeInherited(
      this.#slots.map(({ fd }) => fd).filter((fd) => !this.#fds.has(fd)),
      false,
    );
    await realClock.sleep(letGoSeconds * 1000);
    await this.#accepting.close();
    await drained;
    // Connections that were accepted while the listeners closed.
    await this.#made.gateway.shutdown(graceSeconds, idleSeconds);
    await this.#made.served.close();
    this.#left();
  }
}
