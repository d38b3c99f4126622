/** Where each option's value comes from. The command line goes before
 * `HEADGATE_*`, which goes before `PORT` and `WEB_CONCURRENCY`, which go before
 * the configuration file, which goes before the defaults. */
import { CommandError } from "./command_error.ts";
import { findOption, keyName, variableName } from "./options.ts";

/** Options as they were written on the command line, by name. */
export type Flags = Readonly<Record<string, string | readonly string[]>>;

/** Variables of the environment. */
export type Environment = Readonly<Record<string, string | undefined>>;

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

/** What an empty variable says. Of the others it says nothing; but whoever
 * empties a list of those who are believed wants nobody to be. */
const emptyVariables: Readonly<Record<string, string>> = {
  "forwarded-allow-ips": "off",
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
    const text = this.#variable(source, name);
    if (option?.variable === false || !text) return undefined;
    const texts = option?.repeatable ? text.trim().split(/\s+/) : [text];
    const example = `${source}=${exampleValue(name)}`;
    return texts.map((text) => ({ text, origin: source, source, example }));
  }

  #fromForeignVariable(name: string): Setting[] | undefined {
    const foreign = foreignVariables[name];
    const text = foreign && this.#variable(foreign.variable, name);
    if (!foreign || !text) return undefined;
    return [{
      text: foreign.prefix + text,
      origin: foreign.variable,
      source: `${foreign.variable} in the environment`,
      example: foreign.example,
    }];
  }

  #variable(variable: string, name: string): string | undefined {
    const text = this.#env[variable];
    return text === "" ? emptyVariables[name] : text;
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
