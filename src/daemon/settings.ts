/** What the daemon reads off a configuration. Pure. */
import { CommandError } from "../command_error.ts";
import type { Config } from "../config.ts";
import type { ArbiterSettings } from "./arbiter.ts";
import type { DaemonHost, Identity } from "./host.ts";

/** Where `start` keeps the pid when it is not told. */
export const defaultPidfile = "headgate.pid";

/** How many workers there are to be. */
export function workersOf({ workers }: Config, cores: number): number {
  return workers === "auto" ? cores : workers;
}

/** What the arbiter goes by. */
export function arbiterSettings(
  config: Config,
  cores: number,
): ArbiterSettings {
  return {
    workers: workersOf(config, cores),
    graceSeconds: config.graceSeconds,
    timeoutSeconds: config.timeoutSeconds,
    bootSeconds: config.bootSeconds,
    maxRequests: config.maxRequests,
    maxRequestsJitter: config.maxRequestsJitter,
    maxRssBytes: config.maxRssBytes,
  };
}

/** The configuration of a process that no terminal is left to: it has a
 * pidfile, and what would go to standard output goes to a file beside that. */
export function detachedConfig(config: Config): Config {
  const { pidfile = defaultPidfile, logFile, accessLog } = config;
  const file = logFile === "-"
    ? `${pidfile.replace(/\.pid$/, "")}.log`
    : logFile;
  return {
    ...config,
    pidfile,
    logFile: file,
    accessLog: accessLog === "-" ? file : accessLog,
  };
}

/** What belongs to the sockets, and to the place where the arbiter is found. */
const fromStart: readonly (keyof Config & string)[] = [
  "bind",
  "backlog",
  "umask",
  "chdir",
  "pidfile",
  "logFile",
];
/** What belongs to the arbiter. */
const fromRestart: readonly (keyof Config & string)[] = [
  "user",
  "group",
  "name",
];

/** What a reload cannot change, as far as it differs: sentences for the log. */
export function unchangeable(before: Config, after: Config): string[] {
  const differs = (name: keyof Config) =>
    JSON.stringify(before[name]) !== JSON.stringify(after[name]);
  return [
    ...fromStart.filter(differs)
      .map((name) => `${name} has changed; that takes a stop and a start`),
    ...fromRestart.filter(differs)
      .map((name) => `${name} has changed; that takes a restart`),
  ];
}

/** Whom the workers run as; undefined for whom the arbiter runs as. Throws
 * `CommandError`. */
export function identityOf(
  { user, group }: Config,
  host: DaemonHost,
): Identity | undefined {
  if (user === undefined && group === undefined) return undefined;
  const account = user === undefined ? undefined : host.findUser(user);
  if (user !== undefined && account === undefined) {
    throw new CommandError(
      2,
      `--user: there is no user ${user}`,
      "Name one of /etc/passwd, or a number.",
    );
  }
  const gid = group === undefined ? account?.gid : host.findGroup(group);
  if (group !== undefined && gid === undefined) {
    throw new CommandError(
      2,
      `--group: there is no group ${group}`,
      "Name one of /etc/group, or a number.",
    );
  }
  return {
    ...(account === undefined ? {} : { uid: account.uid }),
    ...(gid === undefined ? {} : { gid }),
  };
}
