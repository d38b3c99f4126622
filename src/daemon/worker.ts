/**
 * A worker: loads the application, accepts on the sockets that the arbiter
 * names, gives a sign of life every second, and leaves when it is told to, or
 * when the arbiter has gone.
 *
 * @module
 */
import { hooksOf, loadFor, toHandler } from "../application.ts";
import { CommandError, formatCommandError } from "../command_error.ts";
import type { Config, LoadedConfig } from "../config.ts";
import { createGateway, type Gateway } from "../gateway.ts";
import type { HookSet, WorkerInfo } from "../hooks.ts";
import type { Host } from "../host.ts";
import { type Logs, openLogs } from "../log_files.ts";
import { traceOf } from "../logger.ts";
import type { Listener, ListenOptions, Transport } from "../stream.ts";
import type { Channel, DaemonHost, DaemonSignal } from "./host.ts";
import {
  type Order,
  readOrder,
  type Report,
  type Slot,
  type WorkerRole,
} from "./protocol.ts";

const beatSeconds = 1;

/** How long all workers have to let go of each other's sockets. */
const letGoSeconds = 0.1;

/** Serves until it is told to leave, and resolves with its exit code. */
export async function runWorker(
  role: WorkerRole,
  configuration: LoadedConfig,
  host: Host,
  daemonHost: DaemonHost,
  transport: Transport,
): Promise<number> {
  const { config } = configuration;
  const { parent } = daemonHost;
  const title = config.name ?? config.app ?? "welcome";
  daemonHost.setTitle(`headgate: worker ${role.seat} [${title}]`);
  if (parent === undefined) {
    host.write(
      "stderr",
      "headgate: A worker is started by its arbiter alone.\n",
    );
    return 2;
  }
  // While the application is loaded there is nothing to end.
  const ear: Ear = {
    hear: (order) => order?.type === "drain" && host.exit(0),
    loseArbiter: () => host.exit(0),
  };
  parent.receive(
    (message) => ear.hear(readOrder(message)),
    () => ear.loseArbiter(),
  );
  try {
    const logs = openLogs(config, host);
    const { log } = logs;
    const { seat, generation } = role;
    const info: WorkerInfo = { pid: host.pid, seat, generation, log };
    const early = await hooksOf(configuration);
    await early?.worker("workerStart", info);
    const loaded = await loadFor(config, host);
    const hooks = await hooksOf(configuration, loaded);
    for (const warning of hooks?.warnings ?? []) log.warn(warning);
    const bare = toHandler(loaded, log);
    const handler = hooks?.beforeRequests(bare, info) ?? bare;
    const gateway = createGateway(handler, {
      limits: config.limits,
      log,
      access: hooks?.afterRequests(logs.access, info) ?? logs.access,
    });
    const worker = new Worker(
      daemonHost,
      config,
      role.slots,
      info,
      hooks,
      parent,
      logs,
      gateway,
      transport,
    );
    return await worker.serve(ear, host);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    // Others may fail in the same way: the arbiter says it once for all.
    const message = formatCommandError(error).replace("headgate: ", "")
      .trimEnd();
    send(parent, { type: "failed", message, exitCode: error.exitCode });
    return error.exitCode;
  }
}

/** What becomes of what the arbiter says. */
interface Ear {
  hear: (order: Order | undefined) => void;
  loseArbiter: () => void;
}

function pause(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

function send(channel: Channel, report: Report): void {
  channel.send(report);
}

class Worker {
  readonly #daemonHost: DaemonHost;
  readonly #config: Config;
  readonly #slots: readonly Slot[];
  readonly #info: WorkerInfo;
  readonly #hooks: HookSet | undefined;
  readonly #arbiter: Channel;
  readonly #logs: Logs;
  readonly #gateway: Gateway;
  readonly #transport: Transport;
  readonly #listeners = new Map<number, Listener>();
  /** Listeners are opened one order after the other. */
  #listening: Promise<void> = Promise.resolve();
  #leaving: Promise<void> | undefined;
  #exitCode = 0;
  #ready = false;
  #left: () => void = () => {};

  constructor(
    daemonHost: DaemonHost,
    config: Config,
    slots: readonly Slot[],
    info: WorkerInfo,
    hooks: HookSet | undefined,
    arbiter: Channel,
    logs: Logs,
    gateway: Gateway,
    transport: Transport,
  ) {
    this.#daemonHost = daemonHost;
    this.#config = config;
    this.#slots = slots;
    this.#info = info;
    this.#hooks = hooks;
    this.#arbiter = arbiter;
    this.#logs = logs;
    this.#gateway = gateway;
    this.#transport = transport;
  }

  async serve(ear: Ear, host: Host): Promise<number> {
    const daemonHost = this.#daemonHost;
    const { log } = this.#logs;
    const grace = this.#config.graceSeconds;
    const left = new Promise<void>((resolve) => this.#left = resolve);
    const onSignal = (signal: DaemonSignal, handler: () => void) =>
      daemonHost.onSignal(signal, handler);
    onSignal("SIGTERM", () => this.#leave("SIGTERM", grace));
    onSignal("SIGINT", () => this.#leave("SIGINT", 0));
    onSignal("SIGQUIT", () => this.#leave("SIGQUIT", 0));
    onSignal("SIGHUP", () => {});
    onSignal("SIGUSR1", () => this.#logs.reopen());
    host.onUncaught((kind, error) => {
      if (kind === "rejection") {
        return log.error(`Unhandled rejection: ${traceOf(error)}`);
      }
      log.critical(`Uncaught exception: ${traceOf(error)}`);
      this.#exitCode = 1;
      this.#leave("an uncaught exception", grace);
    });
    const beats = setInterval(
      () => this.#beat(daemonHost, host.pid),
      beatSeconds * 1000,
    );
    ear.hear = (order) => this.#obey(order);
    ear.loseArbiter = () => this.#leave("the arbiter has gone", grace);
    send(this.#arbiter, { type: "loaded" });
    this.#beat(daemonHost, host.pid);
    await left;
    await this.#hooks?.worker("workerExit", this.#info);
    clearInterval(beats);
    this.#beat(daemonHost, host.pid);
    this.#logs.close();
    return this.#exitCode;
  }

  #obey(order: Order | undefined): void {
    switch (order?.type) {
      case "listen":
        this.#listening = this.#listening.then(() => this.#listen(order.fds));
        return;
      case "drain":
        return this.#leave(undefined, order.graceSeconds);
      case "reopen":
        return this.#logs.reopen();
    }
  }

  async #listen(fds: readonly number[]): Promise<void> {
    if (this.#leaving !== undefined) return;
    try {
      for (const fd of fds) {
        if (this.#listeners.has(fd)) continue;
        const { backlog } = this.#config;
        this.#listeners.set(
          fd,
          await this.#transport.listen(
            { fd, ...this.#addressOf(fd), backlog },
            (stream) => this.#gateway.accept(stream),
          ),
        );
      }
      send(this.#arbiter, { type: "listening", fds });
      if (!this.#ready) {
        this.#ready = true;
        await this.#hooks?.worker("workerReady", this.#info);
      }
    } catch (error) {
      const message = `Worker ${this.#info.seat} cannot accept: ${
        String(error)
      }`;
      this.#logs.log.critical(message);
      send(this.#arbiter, { type: "failed", message, exitCode: 1 });
      this.#exitCode = 1;
      this.#leave(undefined, 0);
    }
  }

  /** Not every runtime can tell where an inherited socket listens. */
  #addressOf(fd: number): ListenOptions {
    const { host, port } = this.#slots.find((slot) => slot.fd === fd)
      ?.address ?? { host: "", port: 0 };
    if (host === "") return {};
    return port === 0 ? { path: host } : { hostname: host, port };
  }

  #beat(daemonHost: DaemonHost, pid: number): void {
    send(this.#arbiter, {
      type: "beat",
      requests: this.#gateway.requests,
      busy: this.#gateway.busy,
      connections: this.#gateway.connections,
      rss: daemonHost.residentBytes(pid) ?? 0,
    });
  }

  /** Accepts no more, lets what runs end, and leaves. Called again, it hurries.
   * `reason` is undefined when the arbiter asks. */
  #leave(reason: string | undefined, graceSeconds: number): void {
    if (reason !== undefined && this.#leaving === undefined) {
      this.#logs.log.info(
        `Worker ${this.#info.seat} leaves: ${reason}; running requests have ` +
          `at most ${graceSeconds} s`,
      );
      send(this.#arbiter, { type: "leaving" });
    }
    const drained = this.#gateway.shutdown(graceSeconds);
    this.#leaving ??= this.#close(drained, graceSeconds);
  }

  async #close(drained: Promise<void>, graceSeconds: number): Promise<void> {
    await this.#listening;
    // A socket that anybody holds open still takes connections. Each of us
    // lets go of those that are not its own, and has time to, before the last
    // one that accepts on a socket closes it.
    this.#daemonHost.closeInherited(
      this.#slots.map(({ fd }) => fd).filter((fd) => !this.#listeners.has(fd)),
      false,
    );
    await pause(letGoSeconds);
    await Promise.all(
      [...this.#listeners.values()].map((listener) => listener.close()),
    );
    await drained;
    // Connections that were accepted while the listeners closed.
    await this.#gateway.shutdown(graceSeconds);
    this.#left();
  }
}
