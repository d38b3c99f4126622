/**
 * The program: has done what the command line asks for: serve in this process,
 * or with workers, or say something to a server that runs. It turns what goes
 * wrong to a message that says how to fix it. With `mod.ts` the only room that
 * joins the others.
 *
 * @module
 */
import { checkApplication } from "./application.ts";
import { activatedSockets } from "./activation.ts";
import {
  CommandError,
  errorCode,
  formatCommandError,
} from "./command_error.ts";
import { type CommandLine, readCommandLine } from "./command_line.ts";
import { servers, type Task } from "./commands.ts";
import {
  type Config,
  type ConfigSources,
  loadConfig,
  type LoadedConfig,
} from "./config.ts";
import type { DaemonCommand } from "./daemon/errand.ts";
import type { DaemonHost } from "./daemon/host.ts";
import type { ArbiterRole, Role, WorkerRole } from "./daemon/protocol.ts";
import { roleVariable } from "./daemon/role.ts";
import type { RunningServer } from "./daemon/launcher.ts";
import type { DevHost, Host } from "./host.ts";
import { serveUntilStopped } from "./single.ts";
import type { Transport } from "./stream.ts";
import { version } from "./version.ts";

/** What the runtime lends the program. */
export interface Runtime {
  readonly host: Host;
  /** Asked for once something is to be served. */
  readonly transport: () => Promise<Transport>;
  /** Asked for once there is more than one process. */
  readonly daemonHost: () => Promise<DaemonHost>;
  /** Asked for once a developer is at work. */
  readonly devHost: () => Promise<DevHost>;
}

/** Runs the program and resolves with its exit code: 0 after a stop that was
 * asked for, 1 when the application or a port is at fault, 2 when the command
 * line is, 3 when workers could not begin to serve; those of `status` are the
 * service scripts'. */
export async function run(
  args: readonly string[],
  runtime: Runtime,
): Promise<number> {
  try {
    return await runCommand(readCommandLine(args), args, runtime);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    runtime.host.write("stderr", formatCommandError(error));
    return error.exitCode;
  }
}

async function runCommand(
  command: CommandLine,
  args: readonly string[],
  runtime: Runtime,
): Promise<number> {
  const { host } = runtime;
  if (command.help) {
    const { helpPage } = await import("./help_page.ts");
    return print(host, helpPage());
  }
  if (command.version) {
    const { name, version: runtimeVersion } = host.runtime;
    return print(host, `headgate ${version} (${name} ${runtimeVersion})\n`);
  }
  const { app, flags, task } = command;
  if (task === "completions") {
    const { completionScript } = await import("./completions.ts");
    return print(host, completionScript(command.shell));
  }
  const role = await takeRole(host);
  const sources: ConfigSources = {
    app,
    flags,
    ...(role === undefined ? {} : { file: role.configFile }),
    ...(needsNoFile(command) ? { file: null } : {}),
    ...(task === "dev"
      ? { defaults: (await import("./dev.ts")).devDefaults }
      : {}),
  };
  let loaded = await configure(command, sources, host);
  if (role === undefined) loaded = await enter(loaded, runtime);
  const { config } = loaded;
  switch (role?.type) {
    case "arbiter":
      return await arbitrate(role, task, sources, args, loaded, runtime);
    case "worker":
      applyEnvironment(config, host);
      return await work(role, task, loaded, runtime);
  }
  if (!isServer(task)) {
    return await ask(task, command, config, runtime);
  }
  for (const warning of loaded.warnings) {
    host.write("stderr", `headgate: ${warning}\n`);
  }
  if (command.switches.includes("print-config")) {
    const { configReport } = await import("./config_report.ts");
    return print(host, configReport(sources, loaded, host));
  }
  if (command.switches.includes("check-config")) {
    applyEnvironment(config, host);
    for (const warning of await checkApplication(loaded, host)) {
      host.write("stderr", `headgate: ${warning}\n`);
    }
    return print(host, (await import("./config_report.ts")).configIsRight);
  }
  if (task === "dev") return await startDeveloping(loaded, args, runtime);
  if (task === "start" || needsArbiter(config)) {
    return await startWorkers(task === "start", loaded, args, runtime);
  }
  applyEnvironment(config, host);
  return await serveUntilStopped(
    { ...loaded, config: adoptActivated(config, host) },
    host,
    await runtime.transport(),
  );
}

/** Reads the configuration. Where a server that runs is only asked something, a
 * file that has become wrong is told and overlooked. */
async function configure(
  { task }: CommandLine,
  sources: ConfigSources,
  host: Host,
): Promise<LoadedConfig> {
  try {
    return await loadConfig(sources, host);
  } catch (error) {
    if (!(error instanceof CommandError) || isServer(task)) throw error;
    const loaded = await loadConfig({ ...sources, file: null }, host);
    host.write("stderr", formatCommandError(error));
    return loaded;
  }
}

/** With the pidfile named, the file has nothing to add. */
function needsNoFile({ task, flags }: CommandLine): boolean {
  return !isServer(task) &&
    flags["pidfile"]?.length !== 0 && flags["config"]?.length === 0;
}

function isServer(task: Task): task is "serve" | "start" | "dev" {
  return servers.includes(task);
}

function print(host: Host, text: string): number {
  host.write("stdout", text);
  return 0;
}

/** Has a server that runs do something, by way of its pidfile. */
async function ask(
  task: DaemonCommand,
  { count, more, switches }: CommandLine,
  { pidfile, graceSeconds, bootSeconds }: Config,
  { host, daemonHost }: Runtime,
): Promise<number> {
  const { runDaemonCommand } = await import("./daemon/commands.ts");
  return await runDaemonCommand(
    task,
    {
      pidfile,
      graceSeconds,
      bootSeconds,
      json: switches.includes("json"),
      quick: switches.includes("quick"),
      workers: count,
      moreWorkers: more,
    },
    host,
    await daemonHost(),
  );
}

// ---- Before anything else ----

/** What another process of ours has started us as. */
async function takeRole(host: Host): Promise<Role | undefined> {
  const text = host.env[roleVariable];
  if (text === undefined) return undefined;
  host.setEnv(roleVariable, undefined);
  const { readRole } = await import("./daemon/protocol.ts");
  try {
    return readRole(JSON.parse(text));
  } catch {
    return undefined; // somebody else's
  }
}

/** Goes to the directory and takes the mask that were asked for: the processes
 * that are started later have them from us. */
async function enter(
  loaded: LoadedConfig,
  { daemonHost, host }: Runtime,
): Promise<LoadedConfig> {
  const { chdir, umask } = loaded.config;
  if (umask !== undefined) (await daemonHost()).umask(umask);
  if (chdir === undefined) return loaded;
  const { absolute, chdir: go } = await daemonHost();
  const file = loaded.file &&
    { ...loaded.file, path: absolute(loaded.file.path) };
  try {
    go(chdir);
  } catch (error) {
    throw new CommandError(
      1,
      `--chdir: cannot go to ${chdir} (${errorCode(error) || String(error)})`,
      `Name a directory that exists; this one is ${host.cwd()}.`,
    );
  }
  return { ...loaded, file };
}

/** Where the application is loaded, and after the configuration was read: its
 * variables are none of our settings. */
function applyEnvironment(config: Config, host: Host): void {
  for (const [name, value] of Object.entries(config.env)) {
    host.setEnv(name, value);
  }
}

/** Sockets that systemd has opened for this very process come in place of
 * those that it would open itself. */
function adoptActivated(config: Config, host: Host): Config {
  const count = activatedSockets(host);
  if (count === 0) return config;
  const bind = Array.from({ length: count }, (_, index) => `fd://${3 + index}`);
  const leftToModule = config.leftToModule.filter((name) => name !== "bind");
  return { ...config, bind, leftToModule };
}

// ---- With workers ----

/** Whether something is asked for that takes more than one process. */
function needsArbiter(config: Config): boolean {
  const { workers, pidfile, user, group, maxRequests, maxRssBytes } = config;
  return workers !== 1 || pidfile !== undefined || user !== undefined ||
    group !== undefined || maxRequests < Infinity || maxRssBytes < Infinity;
}

async function startWorkers(
  daemon: boolean,
  { config, file }: LoadedConfig,
  args: readonly string[],
  { host, daemonHost }: Runtime,
  attend?: (server: RunningServer) => void,
): Promise<number> {
  const processes = await daemonHost();
  const { launch } = await import("./daemon/launcher.ts");
  const { detachedConfig } = await import("./daemon/settings.ts");
  return await launch(
    {
      config: daemon ? detachedConfig(config) : config,
      args,
      configFile: file === undefined ? null : processes.absolute(file.path),
      daemon,
      attend,
    },
    host,
    processes,
  );
}

/** Workers whose files are watched. */
async function startDeveloping(
  loaded: LoadedConfig,
  args: readonly string[],
  runtime: Runtime,
): Promise<number> {
  const { develop, devConfig } = await import("./dev.ts");
  const config = devConfig(loaded.config);
  return await develop(
    config,
    (attend) =>
      startWorkers(false, { ...loaded, config }, args, runtime, attend),
    runtime.host,
    await runtime.daemonHost(),
    await runtime.devHost(),
  );
}

/** The configuration of a process that was started for this task. */
async function configFor(
  task: Task,
  daemon: boolean,
  loaded: LoadedConfig,
): Promise<LoadedConfig> {
  const { config } = loaded;
  if (task === "dev") {
    return { ...loaded, config: (await import("./dev.ts")).devConfig(config) };
  }
  if (!daemon) return loaded;
  const { detachedConfig } = await import("./daemon/settings.ts");
  return { ...loaded, config: detachedConfig(config) };
}

async function arbitrate(
  role: ArbiterRole,
  task: Task,
  sources: ConfigSources,
  args: readonly string[],
  loaded: LoadedConfig,
  { host, daemonHost }: Runtime,
): Promise<number> {
  const { runArbiter } = await import("./daemon/arbiter_process.ts");
  const adapt = (again: LoadedConfig) => configFor(task, role.daemon, again);
  let reading = 0;
  return await runArbiter(
    {
      role,
      loaded: await adapt(loaded),
      args,
      reread: async () => {
        reading++;
        return await adapt(await loadConfig({ ...sources, reading }, host));
      },
    },
    host,
    await daemonHost(),
  );
}

async function work(
  role: WorkerRole,
  task: Task,
  loaded: LoadedConfig,
  { host, daemonHost, transport }: Runtime,
): Promise<number> {
  const { runWorker } = await import("./daemon/worker.ts");
  // On a connection that stays open the next answer would be the old one's.
  const manner = task === "dev"
    ? {
      around: (await import("./dev_page.ts")).showErrors,
      wsgi: { firstBlockForHead: true },
      idleSeconds: 0,
    }
    : undefined;
  return await runWorker(
    role,
    await configFor(task, role.daemon, loaded),
    host,
    await daemonHost(),
    await transport(),
    manner,
  );
}
