/**
 * Flags and environment, read into one `Config`. The command line goes before
 * `HEADGATE_*`, which goes before `PORT`, which goes before the defaults.
 * Every refusal says what is wrong, where it was written and how to fix it.
 *
 * @module
 */
import { accessFormatNames, compileAccessFormat } from "./access_log.ts";
import { parseBind } from "./bind.ts";
import { CommandError } from "./command_error.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import { type LogLevel, logLevels } from "./log.ts";
import { nearest, optionTable, variableName } from "./options.ts";

/** The kinds of application that can be asked for. */
export const applicationTypes = ["auto", "wsgi"] as const;

/** One of `applicationTypes`. */
export type ApplicationType = typeof applicationTypes[number];

/** What the program is to do, complete and checked. */
export interface Config {
  /** FILE or FILE:NAME; undefined for the welcome application. */
  readonly app: string | undefined;
  /** What kind of application it is. */
  readonly type: ApplicationType;
  /** Where to listen, each readable by `parseBind()`. */
  readonly bind: readonly string[];
  /** The lowest level that is logged. */
  readonly logLevel: LogLevel;
  /** A path, or "-" for standard output. */
  readonly logFile: string;
  /** A path, "-" for standard output, or "off". */
  readonly accessLog: string;
  /** A format that `compileAccessFormat()` takes. */
  readonly accessLogFormat: string;
  /** How long running requests may take to end. */
  readonly graceSeconds: number;
  /** The gateway's bounds. */
  readonly limits: Limits;
}

/** Options as they were written on the command line, by name. */
export type Flags = Readonly<Record<string, string | readonly string[]>>;

type Environment = Readonly<Record<string, string | undefined>>;

/** A value, and for messages where it was written and how to write one. */
interface Setting {
  readonly text: string;
  readonly source: string;
  readonly example: string;
}

/** Makes the configuration. Throws `CommandError`. */
export function readConfig(
  app: string | undefined,
  flags: Flags,
  env: Environment,
): Config {
  const settings = new Settings(flags, env);
  return {
    app,
    type: readChoice(settings.one("type"), applicationTypes),
    bind: settings.all("bind").map(readBind),
    logLevel: readLogLevel(settings.one("log-level")),
    logFile: settings.one("log-file").text,
    accessLog: settings.one("access-log").text,
    accessLogFormat: readAccessLogFormat(settings.one("access-log-format")),
    graceSeconds: readSeconds(settings.one("graceful-timeout"), { zero: true }),
    limits: readLimits(settings),
  };
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

/** Where each option's value comes from. */
class Settings {
  readonly #flags: Flags;
  readonly #env: Environment;

  constructor(flags: Flags, env: Environment) {
    this.#flags = flags;
    this.#env = env;
  }

  one(name: string): Setting {
    const settings = this.all(name);
    // The last one wins, as it does in every shell's habit.
    return settings[settings.length - 1] ?? flagSetting(name, "");
  }

  all(name: string): Setting[] {
    return this.#fromFlags(name) ?? this.#fromEnvironment(name) ??
      this.#fromPort(name) ?? this.#fromDefault(name);
  }

  #fromFlags(name: string): Setting[] | undefined {
    const given = this.#flags[name];
    const texts = typeof given === "string" ? [given] : given ?? [];
    if (texts.length === 0) return undefined;
    return texts.map((text) => checkGiven(flagSetting(name, text)));
  }

  #fromEnvironment(name: string): Setting[] | undefined {
    const source = variableName(name);
    const text = this.#env[source];
    if (text === undefined || text === "") return undefined;
    const repeatable = findOption(name)?.repeatable === true;
    const texts = repeatable ? text.trim().split(/\s+/) : [text];
    const example = `${source}=${exampleValue(name)}`;
    return texts.map((text) => ({ text, source, example }));
  }

  #fromPort(name: string): Setting[] | undefined {
    const port = this.#env["PORT"];
    if (name !== "bind" || port === undefined || port === "") return undefined;
    return [{
      text: `0.0.0.0:${port}`,
      source: "PORT in the environment",
      example: "PORT=8000",
    }];
  }

  #fromDefault(name: string): Setting[] {
    return [flagSetting(name, findOption(name)?.fallback ?? "")];
  }
}

function findOption(name: string): typeof optionTable[number] | undefined {
  return optionTable.find((option) => option.name === name);
}

function flagSetting(name: string, text: string): Setting {
  const source = `--${name}`;
  return { text, source, example: `${source} ${exampleValue(name)}` };
}

function exampleValue(name: string): string {
  const option = findOption(name);
  return option?.fallback ?? option?.value ?? "VALUE";
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

function readCount({ text, source, example }: Setting): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (value > 0) return value;
  throw new CommandError(
    2,
    `${source}: "${text}" is not a whole number above 0`,
    `Write ${example}, for example.`,
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
