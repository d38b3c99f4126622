/**
 * What the program is to do: a `Config`, made of every option's value, and the
 * configuration file that has its part in it.
 *
 * @module
 */
import { CommandError } from "./command_error.ts";
import { mostWorkers } from "./commands.ts";
import type { ConfigFile } from "./config_file.ts";
import type { ForwardedOptions } from "./forwarded.ts";
import type { Host } from "./host.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import type { LogLevel } from "./log.ts";
import { nearest } from "./nearest.ts";
import { optionTable, variableName } from "./options.ts";
import {
  mostThreads,
  namedPrefix,
  readAccessLogFormat,
  readBind,
  readBound,
  readChoice,
  readCount,
  readFileName,
  readForwarded,
  readLogLevel,
  readMemory,
  readOptional,
  readPlenty,
  readSeconds,
  readSize,
  readStatics,
  readUmask,
  readVariables,
  readWorkers,
  type StaticDirectory,
} from "./setting_values.ts";
import {
  type Environment,
  type FileSettings,
  type Flags,
  Settings,
} from "./settings.ts";

/** The kinds of application that can be asked for. */
const applicationTypes = ["auto", "wsgi", "fetch", "handler"] as const;

/** One of `applicationTypes`. */
export type ApplicationType = typeof applicationTypes[number];

/** What the global `Response` is while an application is loaded and asked. */
const responseClasses = ["own", "light"] as const;

/** One of `responseClasses`. */
export type ResponseClass = typeof responseClasses[number];

/** Which request content is read whole before an application outside of this
 * process is asked. */
const spoolModes = ["off", "chunked", "all"] as const;

/** One of `spoolModes`. */
export type SpoolMode = typeof spoolModes[number];

/** What the program is to do, complete and checked: plain data. Where the
 * command line says 0 or "unlimited" for no bound at all, this has `Infinity`. */
export interface Config {
  /** FILE or FILE:NAME, a Python application or the address of a server;
   * undefined for the welcome application. */
  readonly app: string | undefined;
  /** What kind of application it is. */
  readonly type: ApplicationType;
  /** What it finds as the global `Response`. */
  readonly response: ResponseClass;
  /** Where to go first; undefined to stay. */
  readonly chdir: string | undefined;
  /** What the application's environment has besides ours. */
  readonly env: Readonly<Record<string, string>>;
  /** Directories whose files are served before the application is asked. */
  readonly statics: readonly StaticDirectory[];
  /** The Python interpreter; undefined to look for one. */
  readonly python: string | undefined;
  /** Where Python modules are looked for besides the working directory. */
  readonly pythonPath: readonly string[];
  /** How many Python processes each worker has. */
  readonly pythonWorkers: number;
  /** How many requests each of them serves at a time. */
  readonly threads: number;
  /** How many connections a worker has to a server of applications. */
  readonly connections: number;
  /** Whether those to a FastCGI server are kept between requests. */
  readonly keepConnections: boolean;
  /** The directory of a FastCGI server's scripts; undefined where it has none,
   * but serves every path. */
  readonly root: string | undefined;
  /** The script that serves a directory of `root`. */
  readonly index: string;
  /** Directories whose executables are run. */
  readonly cgi: readonly StaticDirectory[];
  /** Which request content is read whole before it is handed on. */
  readonly spool: SpoolMode;
  /** Directories from which an application may have files sent. */
  readonly sendFileRoots: readonly string[];
  /** Where to listen, each readable by `parseBind()`. */
  readonly bind: readonly string[];
  /** Which proxies are believed, and in what; `Forwarded` takes it. */
  readonly forwarded: ForwardedOptions;
  /** Length of the kernel's accept queue. */
  readonly backlog: number;
  /** How many processes serve; "auto" is one for each core. */
  readonly workers: number | "auto";
  /** Where the arbiter's pid is written; undefined where nothing asks for it. */
  readonly pidfile: string | undefined;
  /** After how many requests a worker is replaced. */
  readonly maxRequests: number;
  /** How many more at most, chosen at random for each worker. */
  readonly maxRequestsJitter: number;
  /** Beyond how many bytes of resident memory a worker is replaced. */
  readonly maxRssBytes: number;
  /** Whom the workers run as, by name or number; undefined for whoever we are. */
  readonly user: string | undefined;
  /** Their group, by name or number. */
  readonly group: string | undefined;
  /** The mask of file permissions; undefined to leave it as it is. */
  readonly umask: number | undefined;
  /** What `ps` calls the processes. */
  readonly name: string | undefined;
  /** The lowest level that is logged. */
  readonly logLevel: LogLevel;
  /** A path, or "-" for standard output. */
  readonly logFile: string;
  /** A path, "-" for standard output, or "off". */
  readonly accessLog: string;
  /** A format that `compileAccessFormat()` takes. */
  readonly accessLogFormat: string;
  /** How long a worker's event loop may be blocked before it is killed. */
  readonly timeoutSeconds: number;
  /** How long a worker may take to load its application. */
  readonly bootSeconds: number;
  /** How long an application outside of this process may send and take
   * nothing. */
  readonly backendSeconds: number;
  /** How long a request may wait for such an application. */
  readonly queueSeconds: number;
  /** How long running requests may take to end. */
  readonly graceSeconds: number;
  /** The gateway's bounds. */
  readonly limits: Limits;
  /** Options of which an application's module has its say, because nobody has
   * given them to us. */
  readonly leftToModule: readonly ModuleOption[];
}

/** Options that an application's module may say itself. */
const moduleOptions = [
  "bind",
  "limit-request-body",
  "keep-alive",
] as const;

/** One of `moduleOptions`. */
export type ModuleOption = typeof moduleOptions[number];

/** What `loadConfig()` is told. */
export interface ConfigSources {
  /** The application that the command line names. */
  readonly app: string | undefined;
  /** Its options. */
  readonly flags: Flags;
  /** The configuration file, where it is known: null for none. Otherwise
   * `findConfigFile()` looks for it. */
  readonly file?: string | null | undefined;
  /** What comes in place of defaults, by the options' names. */
  readonly defaults?: Readonly<Record<string, string>> | undefined;
  /** How many times the file was read before by this process, so that it is
   * read again and not remembered; default 0. */
  readonly reading?: number | undefined;
}

/** A configuration, and what was met on the way to it. */
export interface LoadedConfig {
  /** What the program is to do. */
  readonly config: Config;
  /** The configuration file with its hooks; undefined when there is none. */
  readonly file: ConfigFile | undefined;
  /** What is probably not as it was meant: whole sentences without a full
   * stop, for the log. */
  readonly warnings: readonly string[];
}

/** Finds and reads the configuration file, and makes the configuration. Rejects
 * with `CommandError`. */
export async function loadConfig(
  { app, flags, file: known, defaults, reading = 0 }: ConfigSources,
  host: Host,
): Promise<LoadedConfig> {
  const { env } = host;
  const path = known === undefined ? findConfigFile(flags, host) : known;
  const file = path === undefined || path === null
    ? undefined
    : await (await import("./config_file.ts"))
      .readConfigFile(path, reading, host);
  const config = readConfig(app, flags, env, file, defaults);
  return { config, file, warnings: warningsFor(env) };
}

/** The names of a configuration file that is not asked for by name. */
const fileNames = ["ts", "mts", "js", "mjs", "json"]
  .map((extension) => `headgate.config.${extension}`);

/** The path of the configuration file: what --config or HEADGATE_CONFIG names,
 * else a `headgate.config.*` in the working directory; undefined when there is
 * none. Throws `CommandError` when there are two. */
export function findConfigFile(flags: Flags, host: Host): string | undefined {
  const asked = new Settings(flags, host.env).one("config").text;
  if (asked !== "") return asked;
  const found = fileNames.filter((name) => host.status(name)?.kind === "file");
  if (found.length < 2) return found[0];
  throw new CommandError(
    2,
    `More than one configuration file in ${host.cwd()}: ${found.join(", ")}`,
    `Keep one of them, or choose with --config ${found[0]}.`,
  );
}

const ourPrefix = "HEADGATE_";

/** What the neighbours of a service of our name are given. */
const kubernetesName = /^HEADGATE_(?:PORT|SERVICE)(?:_|$)/;

/** Names that nobody reads and that look like a mistyped one. Others may be
 * somebody else's. */
function warningsFor(env: Environment): string[] {
  const ours = Object.keys(env).filter((name) => name.startsWith(ourPrefix));
  if (ours.length === 0) return [];
  const known = optionTable.filter((option) => option.variable !== false)
    .map(({ name }) => variableName(name));
  return ours.flatMap((name) => {
    if (known.includes(name) || kubernetesName.test(name)) return [];
    const meant = nearest(
      name.slice(ourPrefix.length),
      known.map((one) => one.slice(ourPrefix.length)),
    );
    return meant === undefined
      ? []
      : [`Nothing reads ${name}; did you mean ${ourPrefix}${meant}?`];
  });
}

/** Makes the configuration. Throws `CommandError`. */
export function readConfig(
  app: string | undefined,
  flags: Flags,
  env: Environment,
  file?: FileSettings,
  defaults?: Readonly<Record<string, string>>,
): Config {
  const settings = new Settings(flags, env, file, defaults);
  return {
    app: app ?? file?.app,
    type: readChoice(settings.one("type"), applicationTypes),
    response: readChoice(settings.one("response"), responseClasses),
    chdir: readOptional(settings.one("chdir")),
    env: readVariables(settings.all("env")),
    statics: readStatics(settings.all("static")),
    python: readOptional(settings.one("python")),
    pythonPath: settings.all("pythonpath").map(({ text }) => text),
    pythonWorkers: readPlenty(settings.one("python-workers"), mostWorkers),
    threads: readPlenty(settings.one("threads"), mostThreads),
    connections: readPlenty(settings.one("connections"), mostThreads),
    keepConnections:
      readChoice(settings.one("keep-connections"), ["off", "on"]) === "on",
    root: readOptional(settings.one("root")),
    index: readFileName(settings.one("index")),
    cgi: readStatics(settings.all("cgi-dir").map(namedPrefix)),
    spool: readChoice(settings.one("spool"), spoolModes),
    sendFileRoots: settings.all("sendfile-root").map(({ text }) => text),
    bind: settings.all("bind").map(readBind),
    forwarded: readForwarded(
      settings.all("forwarded-allow-ips"),
      settings.all("forwarded-fields"),
    ),
    backlog: readCount(settings.one("backlog")),
    workers: readWorkers(settings.one("workers")),
    pidfile: readOptional(settings.one("pidfile")),
    maxRequests: readCount(settings.one("max-requests"), { zero: true }) ||
      Infinity,
    maxRequestsJitter: readCount(settings.one("max-requests-jitter"), {
      zero: true,
    }),
    maxRssBytes: readMemory(settings.one("max-rss")),
    user: readOptional(settings.one("user")),
    group: readOptional(settings.one("group")),
    umask: readUmask(settings.one("umask")),
    name: readOptional(settings.one("name")),
    logLevel: readLogLevel(settings.one("log-level")),
    logFile: settings.one("log-file").text,
    accessLog: settings.one("access-log").text,
    accessLogFormat: readAccessLogFormat(settings.one("access-log-format")),
    timeoutSeconds: readSeconds(settings.one("timeout"), {
      zero: true,
      endless: true,
    }) || Infinity,
    bootSeconds: readSeconds(settings.one("boot-timeout"), { endless: true }),
    backendSeconds: readSeconds(settings.one("backend-timeout"), {
      endless: true,
    }),
    queueSeconds: readSeconds(settings.one("queue-timeout"), { endless: true }),
    graceSeconds: readSeconds(settings.one("graceful-timeout"), { zero: true }),
    limits: readLimits(settings),
    leftToModule: moduleOptions.filter((name) => !settings.isGiven(name)),
  };
}

function readLimits(settings: Settings): Limits {
  const fieldLine = readCount(settings.one("limit-request-field-size"));
  return {
    ...defaultLimits,
    connections: readBound(settings.one("limit-connections")),
    requestLine: readCount(settings.one("limit-request-line")),
    fieldLine,
    // A section that is smaller than one of its lines would make the limit
    // that was asked for a lie.
    fieldSection: Math.max(defaultLimits.fieldSection, fieldLine),
    fieldCount: readCount(settings.one("limit-request-fields")),
    content: readSize(settings.one("limit-request-body")),
    headSeconds: readSeconds(settings.one("head-timeout"), {}),
    bodySeconds: readSeconds(settings.one("body-timeout"), { endless: true }),
    idleSeconds: readSeconds(settings.one("keep-alive"), { endless: true }),
  };
}
