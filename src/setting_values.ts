/**
 * Reads values as a person writes them: numbers, sizes, durations, choices,
 * addresses, directories. Every refusal says what is wrong, where it was
 * written and how to fix it.
 *
 * @module
 */
import { accessFormatNames, compileAccessFormat } from "./access_log.ts";
import { parseBind } from "./bind.ts";
import { CommandError } from "./command_error.ts";
import { mostWorkers } from "./commands.ts";
import {
  Forwarded,
  type ForwardedField,
  type ForwardedOptions,
} from "./forwarded.ts";
import { type LogLevel, logLevels } from "./log.ts";
import { nearest } from "./nearest.ts";
import type { Setting } from "./settings.ts";

// ---- Words ----

/** Whatever was written; undefined where nothing was. */
export function readOptional({ text }: Setting): string | undefined {
  return text === "" ? undefined : text;
}

/** One of some words, in letters of either case. */
export function readChoice<T extends string>(
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

/** A level of the log, by any of its names. */
export function readLogLevel(setting: Setting): LogLevel {
  if (setting.text.toLowerCase() === "warn") return "warning";
  return readChoice(setting, logLevels);
}

/** The text, where `check` takes it; else what that says, with where it stands. */
function accepted(
  text: string,
  source: string,
  check: (text: string) => unknown,
): string {
  try {
    check(text);
    return text;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    throw new CommandError(2, `${source}: ${error.message}`, error.remedy);
  }
}

/** A format of the access log, by its name or with atoms. */
export function readAccessLogFormat({ text, source }: Setting): string {
  if (accessFormatNames.includes(text)) return text;
  if (!text.includes("%")) {
    const meant = nearest(text.toLowerCase(), accessFormatNames);
    throw new CommandError(
      2,
      `${source}: "${text}" is not one of ${accessFormatNames.join(", ")}`,
      meant === undefined
        ? "A format of your own has atoms, as in '%(h)s \"%(r)s\" %(s)s'."
        : `Did you mean ${meant}?`,
    );
  }
  return accepted(text, source, (format) => compileAccessFormat(format, 0));
}

/** Variables with their values; the last of a name wins. */
export function readVariables(
  settings: readonly Setting[],
): Record<string, string> {
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

// ---- Numbers ----

/** A whole number above 0; 0 too, where that is allowed. `or` is a word that
 * the caller takes instead. */
export function readCount(
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

/** A count, or "unlimited". */
export function readBound(setting: Setting): number {
  if (setting.text.toLowerCase() === "unlimited") return Infinity;
  return readCount(setting, { or: "unlimited" });
}

/** More threads in one process than this are taken for a slip of the pen. */
export const mostThreads = 1000;

/** A whole number above 0 that is not too much. */
export function readPlenty(setting: Setting, most: number): number {
  const count = readCount(setting);
  if (count <= most) return count;
  throw new CommandError(
    2,
    `${setting.source}: ${count} is more than ${most}`,
    `Write ${setting.example}, for example.`,
  );
}

/** How many workers, or "auto". */
export function readWorkers(setting: Setting): number | "auto" {
  if (setting.text.toLowerCase() === "auto") return "auto";
  const count = readCount(setting, { or: "auto" });
  if (count <= mostWorkers) return count;
  throw new CommandError(
    2,
    `${setting.source}: ${count} workers are more than ${mostWorkers}`,
    "Write auto for one per core.",
  );
}

/** Permissions in octal digits; undefined where nothing was written. */
export function readUmask(
  { text, source, example }: Setting,
): number | undefined {
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

const units: Readonly<Record<string, number>> = {
  "": 1,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
};

/** A number of bytes; `Infinity` for "unlimited". */
export function readSize({ text, source }: Setting): number {
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

/** A size that a worker can do with; `Infinity` for 0 as well. */
export function readMemory(setting: Setting): number {
  const size = readSize(setting) || Infinity;
  if (size >= leastMemory) return size;
  throw new CommandError(
    2,
    `${setting.source}: ${setting.text} is less memory than a worker needs`,
    `Write megabytes as in 300M, or unlimited.`,
  );
}

/** A number of seconds above 0; 0 too, where that is allowed. `Infinity` for
 * "unlimited", where that is. */
export function readSeconds(
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

// ---- Addresses ----

/** An address that `parseBind()` takes. */
export function readBind({ text, source }: Setting): string {
  return accepted(text, source, parseBind);
}

/** The proxies that are believed, and in what. */
export function readForwarded(
  allow: readonly Setting[],
  fields: readonly Setting[],
): ForwardedOptions {
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
  if (setting?.origin === "default") return;
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

// ---- Files and directories ----

/** A directory whose files are served, or run. */
export interface StaticDirectory {
  /** What their paths begin with in a URL: "/assets", or "/". */
  readonly prefix: string;
  /** Its path. */
  readonly directory: string;
}

/** The name of a file, without a path. */
export function readFileName({ text, source, example }: Setting): string {
  if (/^[^/\0.][^/\0]*$/.test(text)) return text;
  throw new CommandError(
    2,
    `${source}: "${text}" is not the name of a file below --root`,
    `Write ${example}, for example.`,
  );
}

/** Directories with their prefixes, PREFIX=DIR. */
export function readStatics(settings: readonly Setting[]): StaticDirectory[] {
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
export function namedPrefix(setting: Setting): Setting {
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
