/**
 * The configuration file: a module's default export, or a JSON object, whose
 * keys are the options' names as one word. Loaded only where there is one.
 *
 * @module
 */
import { CommandError } from "./command_error.ts";
import { type HookName, hookNames } from "./hook_names.ts";
import type { Hooks } from "./hooks.ts";
import type { Host, ImportFailure } from "./host.ts";
import { nearest } from "./nearest.ts";
import { keyName, type OptionEntry, optionTable } from "./options.ts";
import type { FileSettings } from "./settings.ts";

/** What a configuration file may say: every key is an option of the command
 * line, and what that does is said by `headgate --help`. */
export interface HeadgateConfig extends Hooks {
  /** The application: FILE or FILE:NAME, a Python application or the address
   * of a server. */
  readonly app?: string;
  /** What kind of application it is. */
  readonly type?: "auto" | "wsgi" | "fetch" | "handler";
  /** What it finds as the global `Response`: the runtime's or a
   * `LightResponse`. */
  readonly response?: "own" | "light";
  /** Where to go first; other paths are relative to it. */
  readonly chdir?: string;
  /** Variables of the application's environment. */
  readonly env?:
    | Readonly<Record<string, string | number | boolean>>
    | readonly string[];
  /** Directories whose files are served, PREFIX=DIR: one or several. */
  readonly static?: string | readonly string[];
  /** The Python interpreter. */
  readonly python?: string;
  /** Where Python modules are looked for too: one directory or several. */
  readonly pythonpath?: string | readonly string[];
  /** Python processes of each worker. */
  readonly pythonWorkers?: number;
  /** Threads of each. */
  readonly threads?: number;
  /** Connections of each worker to a FastCGI or SCGI server, at most. */
  readonly connections?: number;
  /** Whether those to a FastCGI server are kept between requests. */
  readonly keepConnections?: "off" | "on";
  /** The directory of a FastCGI server's scripts. */
  readonly root?: string;
  /** The script that serves a directory of `root`. */
  readonly index?: string;
  /** Directories whose executables are run, DIR or PREFIX=DIR: one or
   * several. */
  readonly cgiDir?: string | readonly string[];
  /** Which request content is read whole before it is handed on. */
  readonly spool?: "off" | "chunked" | "all";
  /** Directories from which an application may have files sent: one or
   * several. */
  readonly sendfileRoot?: string | readonly string[];
  /** Where to listen: one address or several; a number is a port. */
  readonly bind?: string | number | readonly (string | number)[];
  /** Length of the kernel's accept queue. */
  readonly backlog?: number;
  /** Proxies that are believed in what they tell of their clients: addresses,
   * networks, "*" or "off". */
  readonly forwardedAllowIps?: string | readonly string[];
  /** The fields that they tell it in. */
  readonly forwardedFields?: string | readonly string[];
  /** How many processes serve; "auto" is one for each core. */
  readonly workers?: number | "auto";
  /** Where the pid is written. */
  readonly pidfile?: string;
  /** After how many requests a worker is replaced; 0 never does. */
  readonly maxRequests?: number;
  /** How many more at most, at random. */
  readonly maxRequestsJitter?: number;
  /** Beyond how much resident memory a worker is replaced: bytes, "300M" or
   * "unlimited". */
  readonly maxRss?: number | string;
  /** Whom the workers run as, by name or number. */
  readonly user?: string | number;
  /** Their group, by name or number. */
  readonly group?: string | number;
  /** Permissions that new files lack, in octal digits: "027". */
  readonly umask?: string;
  /** What `ps` calls the processes. */
  readonly name?: string;
  /** The lowest level that is logged. */
  readonly logLevel?: "debug" | "info" | "warning" | "error" | "critical";
  /** The log's file; "-" is standard output. */
  readonly logFile?: string;
  /** The access log's file; "-" is standard output, "off" writes none. */
  readonly accessLog?: string;
  /** "common", "combined", "json", or a format with atoms. */
  readonly accessLogFormat?: string;
  /** How many seconds a worker's event loop may be blocked; 0 for ever. */
  readonly timeout?: number;
  /** How many seconds a worker may take to load its application. */
  readonly bootTimeout?: number | "unlimited";
  /** How many seconds running requests have to end. */
  readonly gracefulTimeout?: number;
  /** Seconds for a whole request head to arrive. */
  readonly headTimeout?: number;
  /** Seconds for more of the request content to arrive. */
  readonly bodyTimeout?: number | "unlimited";
  /** Seconds for an application outside of this process to send or take
   * something. */
  readonly backendTimeout?: number | "unlimited";
  /** Seconds for a request to wait until such an application is free. */
  readonly queueTimeout?: number | "unlimited";
  /** Seconds for the next request of a connection. */
  readonly keepAlive?: number | "unlimited";
  /** Bytes of the request line. */
  readonly limitRequestLine?: number;
  /** Bytes of one header field line. */
  readonly limitRequestFieldSize?: number;
  /** Number of header field lines. */
  readonly limitRequestFields?: number;
  /** Open connections of each process. */
  readonly limitConnections?: number | "unlimited";
  /** Bytes of the request content: a number, "10M" or "unlimited". */
  readonly limitRequestBody?: number | string;
}

/** Gives the configuration back as it is; an editor then knows its keys. */
export function defineConfig(config: HeadgateConfig): HeadgateConfig {
  return config;
}

/** A configuration file, read. */
export interface ConfigFile extends FileSettings {
  /** What it has called. */
  readonly hooks: Hooks;
}

type Entries = Readonly<Record<string, unknown>>;

/** Reads a configuration file; `reading` is how many times this process did so
 * before. Rejects with `CommandError`. */
export async function readConfigFile(
  path: string,
  reading: number,
  host: Host,
): Promise<ConfigFile> {
  checkFile(path, host);
  const entries = path.endsWith(".json")
    ? readJson(path, host)
    : await importEntries(path, reading, host);
  return readEntries(path, entries);
}

const extensions = [".ts", ".mts", ".js", ".mjs", ".json"];

function checkFile(path: string, host: Host): void {
  if (!extensions.some((extension) => path.endsWith(extension))) {
    throw new CommandError(
      2,
      `${path} is no configuration file`,
      `Name one that ends in ${extensions.join(", ")}.`,
    );
  }
  const kind = host.status(path)?.kind;
  if (kind === "file") return;
  throw new CommandError(
    2,
    kind === undefined
      ? `No configuration file ${path} in ${host.cwd()}`
      : kind === "hidden"
      ? `No permission to look at ${path}`
      : `${path} is not a file`,
    "Check the spelling of --config and what it names.",
  );
}

function readJson(path: string, host: Host): Entries {
  const text = host.readText(path);
  try {
    return checkEntries(path, "the file", JSON.parse(text));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new CommandError(
      2,
      `${path} is not JSON`,
      "Correct it, or write it as a module (headgate.config.mjs).",
      error.message,
    );
  }
}

async function importEntries(
  path: string,
  reading: number,
  host: Host,
): Promise<Entries> {
  const outcome = await host.importModule(path, reading);
  if ("failure" in outcome) throw explain(path, outcome.failure);
  if (Object.hasOwn(outcome.exports, "default")) {
    const { default: value } = outcome.exports;
    return checkEntries(path, "its default export", value);
  }
  throw new CommandError(
    2,
    `${path} has no default export`,
    "Write export default { workers: 4 }, for example.",
  );
}

const remedies: Readonly<Record<ImportFailure["reason"], string>> = {
  typescript: "Use Node 22.18 or later, Deno or Bun, or write it as " +
    "headgate.config.mjs or headgate.config.json.",
  syntax: "Correct the line that is shown. Where Node takes the file for " +
    "CommonJS, call it .mjs or .mts.",
  missing: "Install what is missing, or correct the import.",
  threw: "Correct what threw and start again.",
};

const reasons: Readonly<Record<ImportFailure["reason"], string>> = {
  typescript: "this runtime does not read it as TypeScript",
  syntax: "it, or a module it imports, does not parse or link",
  missing: "a module that it imports is missing",
  threw: "it threw while it was imported",
};

function explain(path: string, { reason, account }: ImportFailure): Error {
  return new CommandError(
    2,
    `Cannot load ${path}: ${reasons[reason]}`,
    remedies[reason],
    account,
  );
}

function checkEntries(path: string, what: string, value: unknown): Entries {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Entries;
  }
  throw new CommandError(
    2,
    `${path}: ${what} is ${describe(value)}, not an object`,
    'Its keys are the options\' names, as in { "workers": 4 }.',
  );
}

// ---- Entries ----

const fileOptions: ReadonlyMap<string, OptionEntry> = new Map(
  optionTable.filter((option) => option.file !== false)
    .map((option) => [keyName(option.name), option]),
);

/** Takes settings and hooks out of what a file says. Throws `CommandError` on
 * what it should not say. */
export function readEntries(path: string, entries: Entries): ConfigFile {
  const values: Record<string, string[]> = {};
  const hooks: Record<string, unknown> = {};
  let app: string | undefined;
  for (const [key, value] of Object.entries(entries)) {
    const option = fileOptions.get(key);
    if (value === undefined) continue;
    if (option !== undefined) {
      values[option.name] = readValue(path, option, value);
    } else if (key === "app") app = readApp(path, value);
    else if (hookNames.includes(key as HookName)) {
      hooks[key] = readHook(path, key, value);
    } else throw unknownKey(path, key);
  }
  return { path, app, values, hooks };
}

function unknownKey(path: string, key: string): CommandError {
  const option = optionTable.find(({ name }) => keyName(name) === key);
  if (option !== undefined) {
    return new CommandError(
      2,
      `${path}: "${key}" is not set by a configuration file`,
      `Write --${option.name} on the command line.`,
    );
  }
  const known = ["app", ...fileOptions.keys(), ...hookNames];
  const meant = nearest(key, known);
  return new CommandError(
    2,
    `${path}: no setting is called "${key}"`,
    meant === undefined
      ? "Keys are the options' names as one word, as in gracefulTimeout; " +
        "see headgate --help."
      : `Did you mean ${meant}?`,
  );
}

function readApp(path: string, value: unknown): string {
  if (typeof value === "string") return value;
  throw wrongType(path, "app", value, 'a string, as in "app.ts:app"');
}

function readHook(path: string, key: string, value: unknown): unknown {
  if (typeof value === "function") return value;
  throw wrongType(path, key, value, "a function");
}

function readValue(
  path: string,
  option: OptionEntry,
  value: unknown,
): string[] {
  const key = keyName(option.name);
  if (option.repeatable && Array.isArray(value)) {
    if (value.length > 0) {
      return value.map((one) => readScalar(path, option, one));
    }
    throw new CommandError(
      2,
      `${path}: ${key} is an empty array`,
      "Leave it out, or name at least one.",
    );
  }
  if (option.name === "env" && typeof value === "object" && value !== null) {
    return readVariables(path, value as Entries);
  }
  return [readScalar(path, option, value)];
}

function readScalar(
  path: string,
  option: OptionEntry,
  value: unknown,
): string {
  if (typeof value === "string") return value;
  if (option.numeric && typeof value === "number") {
    return value === Infinity ? "unlimited" : String(value);
  }
  throw wrongType(path, keyName(option.name), value, expected(option));
}

function expected(option: OptionEntry): string {
  if (option.name === "env") return "an object";
  const one = option.numeric ? "a number or a string" : "a string";
  return option.repeatable ? `${one}, or an array of such` : one;
}

function readVariables(path: string, entries: Entries): string[] {
  return Object.entries(entries).flatMap(([name, value]) => {
    if (value === undefined) return [];
    if (["string", "number", "boolean"].includes(typeof value)) {
      return [`${name}=${value}`];
    }
    throw wrongType(path, `env.${name}`, value, "a string");
  });
}

function wrongType(
  path: string,
  key: string,
  value: unknown,
  right: string,
): CommandError {
  return new CommandError(
    2,
    `${path}: ${key} is ${describe(value)}`,
    `It takes ${right}.`,
  );
}

function describe(value: unknown): string {
  if (value === null) return "null";
  if (value === undefined) return "undefined";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
