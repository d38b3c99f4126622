/**
 * Flags, environment and configuration file, read into one `Config`. The
 * command line goes before `HEADGATE_*`, which goes before `PORT` and
 * `WEB_CONCURRENCY`, which go before the file, which goes before the defaults.
 * Every refusal says what is wrong, where it was written and how to fix it.
 *
 * Length: where a value comes from and how it is read are one story, and a
 * start loads no more modules than it must.
 *
 * @module
 */
import { accessFormatNames, compileAccessFormat } from "./access_log.ts";
import { parseBind } from "./bind.ts";
import { CommandError } from "./command_error.ts";
import {
  Forwarded,
  type ForwardedField,
  type ForwardedOptions,
} from "./forwarded.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import type { ConfigFile } from "./config_file.ts";
import type { ApplicationExports, HookSet } from "./hooks.ts";
import type { Host } from "./host.ts";
import { type LogLevel, logLevels } from "./log.ts";
import {
  hookNames,
  keyName,
  mostWorkers,
  nearest,
  optionTable,
  variableName,
} from "./options.ts";

/** The kinds of application that can be asked for. */
export const applicationTypes = ["auto", "wsgi", "fetch", "handler"] as const;

/** One of `applicationTypes`. */
export type ApplicationType = typeof applicationTypes[number];

/** Which request content is read whole before an application outside of this
 * process is asked. */
export const spoolModes = ["off", "chunked", "all"] as const;

/** One of `spoolModes`. */
export type SpoolMode = typeof spoolModes[number];

/** A directory whose files are served, or run. */
export interface StaticDirectory {
  /** What their paths begin with in a URL: "/assets", or "/". */
  readonly prefix: string;
  /** Its path. */
  readonly directory: string;
}

/** What the program is to do, complete and checked: plain data. Where the
 * command line says 0 or "unlimited" for no bound at all, this has `Infinity`. */
export interface Config {
  /** FILE or FILE:NAME, a Python application or the address of a server;
   * undefined for the welcome application. */
  readonly app: string | undefined;
  /** What kind of application it is. */
  readonly type: ApplicationType;
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
export const moduleOptions = [
  "bind",
  "limit-request-body",
  "keep-alive",
] as const;

/** One of `moduleOptions`. */
export type ModuleOption = typeof moduleOptions[number];

/** Options as they were written on the command line, by name. */
export type Flags = Readonly<Record<string, string | readonly string[]>>;

type Environment = Readonly<Record<string, string | undefined>>;

/** What a configuration file sets, as the command line would write it. */
export interface FileSettings {
  /** The file, for messages. */
  readonly path: string;
  /** FILE or FILE:NAME; undefined when it names no application. */
  readonly app: string | undefined;
  /** By the options' names. */
  readonly values: Readonly<Record<string, readonly string[]>>;
}

/** A value, and for messages where it was written and how to write one. */
export interface Setting {
  /** As it was written. */
  readonly text: string;
  /** Who wrote it: "command line", a variable, a file, or "default". */
  readonly origin: string;
  /** What to call it in a message, as in "--log-level". */
  readonly source: string;
  /** How it is written right. */
  readonly example: string;
}

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
  const known = optionTable.filter((option) => option.variable !== false)
    .map(({ name }) => variableName(name));
  return Object.keys(env).flatMap((name) => {
    if (!name.startsWith(ourPrefix) || known.includes(name)) return [];
    if (kubernetesName.test(name)) return [];
    const meant = nearest(
      name.slice(ourPrefix.length),
      known.map((one) => one.slice(ourPrefix.length)),
    );
    return meant === undefined
      ? []
      : [`Nothing reads ${name}; did you mean ${ourPrefix}${meant}?`];
  });
}

/** The hooks of a configuration file and of the application's module; undefined
 * where there are none. Rejects with `CommandError` as `collectHooks()` throws. */
export async function loadHooks(
  file: ConfigFile | undefined,
  application?: ApplicationExports,
): Promise<HookSet | undefined> {
  const givers = [file?.hooks ?? {}, application?.exports ?? {}];
  const given = hookNames.some((name) =>
    givers.some((giver) => Object.hasOwn(giver, name))
  );
  if (!given) return undefined;
  const { collectHooks } = await import("./hooks.ts");
  return collectHooks(file, application);
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
    forwarded: readForwarded(settings),
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

function readForwarded(settings: Settings): ForwardedOptions {
  const allow = settings.all("forwarded-allow-ips");
  const fields = settings.all("forwarded-fields");
  const listed = listOf(allow);
  const options = {
    // Beside others it is refused: nobody and somebody cannot both be meant.
    allow: listed.every((text) => text === "off") ? [] : listed,
    fields: listOf(fields).map((text) => text.toLowerCase() as ForwardedField),
  };
  checkForwarded({ allow: options.allow }, allow);
  checkForwarded({ ...options, allow: [] }, fields);
  return options;
}

function checkForwarded(
  options: ForwardedOptions,
  [setting]: readonly Setting[],
): void {
  try {
    new Forwarded(options);
  } catch (error) {
    if (!(error instanceof TypeError) || setting === undefined) throw error;
    throw new CommandError(
      2,
      `${setting.source}: ${error.message}`,
      `Write ${setting.example}, for example.`,
    );
  }
}

/** Whether with commas or one by one. */
function listOf(settings: readonly Setting[]): string[] {
  return settings.flatMap(({ text }) => text.split(/[\s,]+/))
    .filter((text) => text !== "");
}

function readLimits(settings: Settings): Limits {
  const fieldLine = readCount(settings.one("limit-request-field-size"));
  return {
    ...defaultLimits,
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

/** Variables of other programs' making that set an option too. */
const foreignVariables: Readonly<
  Record<string, { variable: string; prefix: string; example: string }>
> = {
  bind: { variable: "PORT", prefix: "0.0.0.0:", example: "PORT=8000" },
  workers: {
    variable: "WEB_CONCURRENCY",
    prefix: "",
    example: "WEB_CONCURRENCY=4",
  },
  "forwarded-allow-ips": {
    variable: "FORWARDED_ALLOW_IPS",
    prefix: "",
    example: "FORWARDED_ALLOW_IPS=10.0.0.0/8",
  },
};

/** Where each option's value comes from. */
export class Settings {
  readonly #flags: Flags;
  readonly #env: Environment;
  readonly #file: FileSettings | undefined;
  readonly #defaults: Readonly<Record<string, string>>;

  constructor(
    flags: Flags,
    env: Environment,
    file?: FileSettings,
    defaults: Readonly<Record<string, string>> = {},
  ) {
    this.#flags = flags;
    this.#env = env;
    this.#file = file;
    this.#defaults = defaults;
  }

  /** The value of an option; its text is "" when nothing gives one. */
  one(name: string): Setting {
    const settings = this.all(name);
    // The last one wins, as it does in every shell's habit.
    return settings[settings.length - 1] ?? flagSetting(name, "", "default");
  }

  /** Whether somebody has given us an option. `PORT` is for whoever listens. */
  isGiven(name: string): boolean {
    return (this.#fromFlags(name) ?? this.#fromEnvironment(name) ??
      this.#fromFile(name)) !== undefined;
  }

  /** The values of an option that may be repeated. Those of --env add up, the
   * command line's last; of the others one place has its way. */
  all(name: string): Setting[] {
    const flags = this.#fromFlags(name);
    if (name === "env") return [...this.#fromFile(name) ?? [], ...flags ?? []];
    return flags ?? this.#fromEnvironment(name) ??
      this.#fromForeignVariable(name) ?? this.#fromFile(name) ??
      this.#fromDefault(name);
  }

  #fromFlags(name: string): Setting[] | undefined {
    const given = this.#flags[name];
    const texts = typeof given === "string" ? [given] : given ?? [];
    if (texts.length === 0) return undefined;
    return texts.map((text) =>
      checkGiven(flagSetting(name, text, "command line"))
    );
  }

  #fromEnvironment(name: string): Setting[] | undefined {
    const option = findOption(name);
    const source = variableName(name);
    const text = this.#env[source];
    if (option?.variable === false || !text) return undefined;
    const texts = option?.repeatable ? text.trim().split(/\s+/) : [text];
    const example = `${source}=${exampleValue(name)}`;
    return texts.map((text) => ({ text, origin: source, source, example }));
  }

  #fromForeignVariable(name: string): Setting[] | undefined {
    const foreign = foreignVariables[name];
    const text = foreign && this.#env[foreign.variable];
    if (!foreign || !text) return undefined;
    return [{
      text: foreign.prefix + text,
      origin: foreign.variable,
      source: `${foreign.variable} in the environment`,
      example: foreign.example,
    }];
  }

  #fromFile(name: string): Setting[] | undefined {
    const texts = this.#file?.values[name];
    if (this.#file === undefined || texts === undefined) return undefined;
    const { path } = this.#file;
    const key = keyName(name);
    const value = exampleValue(name);
    const literal = /^\d+$/.test(value) ? value : JSON.stringify(value);
    return texts.map((text) =>
      checkGiven({
        text,
        origin: path,
        source: `${path}: ${key}`,
        example: `${key}: ${literal}`,
      })
    );
  }

  #fromDefault(name: string): Setting[] {
    const text = this.#defaults[name] ?? findOption(name)?.fallback;
    return text === undefined ? [] : [flagSetting(name, text, "default")];
  }
}

function findOption(name: string): typeof optionTable[number] | undefined {
  return optionTable.find((option) => option.name === name);
}

function flagSetting(name: string, text: string, origin: string): Setting {
  const source = `--${name}`;
  const example = `${source} ${exampleValue(name)}`;
  return { text, origin, source, example };
}

function exampleValue(name: string): string {
  const option = findOption(name);
  return option?.example ?? option?.fallback ?? option?.value ?? "VALUE";
}

function checkGiven(setting: Setting): Setting {
  if (setting.text !== "") return setting;
  throw new CommandError(
    2,
    `${setting.source} needs a value`,
    `Write ${setting.example}.`,
  );
}

function readBind({ text, source }: Setting): string {
  try {
    parseBind(text);
    return text;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    throw new CommandError(2, `${source}: ${error.message}`, error.remedy);
  }
}

function readChoice<T extends string>(
  { text, source }: Setting,
  choices: readonly T[],
): T {
  const found = choices.find((choice) => choice === text.toLowerCase());
  if (found !== undefined) return found;
  const meant = nearest(text.toLowerCase(), choices);
  throw new CommandError(
    2,
    `${source}: "${text}" is not one of ${choices.join(", ")}`,
    meant === undefined ? `Write ${choices[0]}.` : `Did you mean ${meant}?`,
  );
}

function readLogLevel(setting: Setting): LogLevel {
  if (setting.text.toLowerCase() === "warn") return "warning";
  return readChoice(setting, logLevels);
}

function readAccessLogFormat({ text, source }: Setting): string {
  if (!text.includes("%") && !accessFormatNames.includes(text)) {
    const meant = nearest(text.toLowerCase(), accessFormatNames);
    throw new CommandError(
      2,
      `${source}: "${text}" is not one of ${accessFormatNames.join(", ")}`,
      meant === undefined
        ? "A format of your own has atoms, as in '%(h)s \"%(r)s\" %(s)s'."
        : `Did you mean ${meant}?`,
    );
  }
  try {
    compileAccessFormat(text, 0);
    return text;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    throw new CommandError(2, `${source}: ${error.message}`, error.remedy);
  }
}

function readOptional({ text }: Setting): string | undefined {
  return text === "" ? undefined : text;
}

function readVariables(settings: readonly Setting[]): Record<string, string> {
  return Object.fromEntries(settings.map(({ text, source, example }) => {
    const match = /^([^\s=\0]+)=([^\0]*)$/.exec(text);
    if (match !== null) return [match[1], match[2]];
    throw new CommandError(
      2,
      `${source}: "${text}" is not a variable with its value`,
      `Write ${example}, with a name before the = sign.`,
    );
  }));
}

function readStatics(settings: readonly Setting[]): StaticDirectory[] {
  const statics = settings.map(readStatic);
  for (const [index, { prefix }] of statics.entries()) {
    if (statics.findIndex((other) => other.prefix === prefix) === index) {
      continue;
    }
    throw new CommandError(
      2,
      `${settings[index]?.source}: ${prefix} is served from two directories`,
      "Give each a prefix of its own.",
    );
  }
  return statics;
}

/** A prefix as it stands in a URL: RFC 3986 §3.3, without empty steps. */
const prefixPattern =
  /^(?:\/|(?:\/(?:[\w.~!$&'()*+,;:@-]|%[0-9A-Fa-f]{2})+)+\/?)$/;

function readStatic({ text, source, example }: Setting): StaticDirectory {
  const [, prefix = "", directory = ""] = /^([^=]*)=([^\0]+)$/.exec(text) ?? [];
  if (prefixPattern.test(prefix)) {
    return { prefix: prefix.replace(/(.)\/$/, "$1"), directory };
  }
  throw new CommandError(
    2,
    directory === ""
      ? `${source}: "${text}" is not a prefix with its directory`
      : prefix.startsWith("/")
      ? `${source}: ${prefix} cannot begin the path of a URL`
      : `${source}: the prefix "${prefix}" does not start with /`,
    `Write ${example}, for example.`,
  );
}

/** A directory without a prefix is found below its own name. */
function namedPrefix(setting: Setting): Setting {
  const { text, source } = setting;
  if (text.includes("=")) return setting;
  const name = text.replace(/\/+$/, "").replace(/^.*\//s, "");
  const prefix = `/${name}`;
  if (name !== "" && !/^\.+$/.test(name) && prefixPattern.test(prefix)) {
    return { ...setting, text: `${prefix}=${text}` };
  }
  throw new CommandError(
    2,
    `${source}: the name of ${text} cannot begin the path of a URL`,
    `Write where it is found, as in ${source} /cgi-bin=${text}.`,
  );
}

/** More threads in one process than this are taken for a slip of the pen. */
const mostThreads = 1000;

function readPlenty(setting: Setting, most: number): number {
  const count = readCount(setting);
  if (count <= most) return count;
  throw new CommandError(
    2,
    `${setting.source}: ${count} is more than ${most}`,
    `Write ${setting.example}, for example.`,
  );
}

function readFileName({ text, source, example }: Setting): string {
  if (/^[^/\0.][^/\0]*$/.test(text)) return text;
  throw new CommandError(
    2,
    `${source}: "${text}" is not the name of a file below --root`,
    `Write ${example}, for example.`,
  );
}

function readWorkers(setting: Setting): number | "auto" {
  if (setting.text.toLowerCase() === "auto") return "auto";
  const count = readCount(setting, { or: "auto" });
  if (count <= mostWorkers) return count;
  throw new CommandError(
    2,
    `${setting.source}: ${count} workers are more than ${mostWorkers}`,
    "Write auto for one per core.",
  );
}

function readUmask({ text, source, example }: Setting): number | undefined {
  if (text === "") return undefined;
  if (/^(0o)?[0-7]{1,4}$/.test(text)) {
    const mask = parseInt(text.replace("0o", ""), 8);
    if (mask <= 0o777) return mask;
  }
  throw new CommandError(
    2,
    `${source}: "${text}" is not an octal number up to 777`,
    `Write ${example}, for example.`,
  );
}

function readCount(
  { text, source, example }: Setting,
  allowed: { readonly zero?: true; readonly or?: string } = {},
): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
  if (value > 0 || (allowed.zero && value === 0)) return value;
  const either = allowed.or === undefined ? "" : `, or ${allowed.or}`;
  throw new CommandError(
    2,
    `${source}: "${text}" is not a whole number${
      allowed.zero ? "" : " above 0"
    }`,
    `Write ${example}, for example${either}.`,
  );
}

const units: Readonly<Record<string, number>> = {
  "": 1,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
};

function readSize({ text, source }: Setting): number {
  if (text.toLowerCase() === "unlimited") return Infinity;
  const match = /^(\d{1,12})([kmg]?)b?$/i.exec(text);
  const unit = units[match?.[2]?.toLowerCase() ?? ""] ?? 1;
  if (match !== null) return Number(match[1]) * unit;
  throw new CommandError(
    2,
    `${source}: "${text}" is not a size`,
    "Write bytes (65536), or 64K, 10M, 1G, or unlimited.",
  );
}

/** Less than this no worker does with: a unit was forgotten. */
const leastMemory = 1024 ** 2;

function readMemory(setting: Setting): number {
  const size = readSize(setting) || Infinity;
  if (size >= leastMemory) return size;
  throw new CommandError(
    2,
    `${setting.source}: ${setting.text} is less memory than a worker needs`,
    `Write megabytes as in 300M, or unlimited.`,
  );
}

function readSeconds(
  { text, source, example }: Setting,
  allowed: { readonly zero?: true; readonly endless?: true },
): number {
  if (allowed.endless && text.toLowerCase() === "unlimited") return Infinity;
  const value = /^\d{1,9}(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (value > 0 || (allowed.zero && value === 0)) return value;
  throw new CommandError(
    2,
    `${source}: "${text}" is not a number of seconds${
      allowed.zero ? "" : " above 0"
    }`,
    `Write ${example}, for example${allowed.endless ? ", or unlimited" : ""}.`,
  );
}
