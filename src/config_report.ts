/**
 * What `--print-config` and `--check-config` show. Loaded for them alone.
 *
 * @module
 */
import type { ConfigSources, LoadedConfig } from "./config.ts";
import type { Host } from "./host.ts";
import { optionTable } from "./options.ts";
import { type Setting, Settings } from "./settings.ts";

/** What `--check-config` says when configuration and application were loaded. */
export const configIsRight: string = "Configuration is right\n";

interface Row {
  readonly name: string;
  readonly value: string;
  readonly origin: string;
}

/** Every setting with its value as it was written and where it comes from, a
 * line each. `loaded` is what `sources` were loaded to. */
export function configReport(
  sources: ConfigSources,
  { file }: LoadedConfig,
  { env }: Pick<Host, "env">,
): string {
  const settings = new Settings(
    sources.flags,
    env,
    file,
    sources.defaults,
  );
  const rows = [
    applicationRow(sources.app, file),
    fileRow(settings.all("config"), file?.path),
    ...hookRows(file),
    ...optionTable
      .filter(({ value, name }) => value !== undefined && name !== "config")
      .flatMap(({ name, repeatable }) =>
        optionRows(
          name,
          repeatable ? settings.all(name) : settings.all(name).slice(-1),
        )
      ),
  ];
  return align(rows);
}

function applicationRow(
  app: string | undefined,
  file: LoadedConfig["file"],
): Row {
  const name = "app";
  if (app !== undefined) {
    return { name, value: printable(app), origin: "command line" };
  }
  return file?.app === undefined
    ? { name, value: "the welcome page", origin: "default" }
    : { name, value: printable(file.app), origin: file.path };
}

function fileRow(asked: readonly Setting[], path: string | undefined): Row {
  const name = "config";
  if (path === undefined) return { name, value: unset, origin: "default" };
  const origin = asked.at(-1)?.origin ?? "found in the working directory";
  return { name, value: printable(path), origin };
}

function hookRows(file: LoadedConfig["file"]): Row[] {
  const names = Object.keys(file?.hooks ?? {});
  if (file === undefined || names.length === 0) {
    return [{ name: "hooks", value: unset, origin: "default" }];
  }
  return names.map((value, index) => ({
    name: index === 0 ? "hooks" : "",
    value,
    origin: file.path,
  }));
}

function optionRows(name: string, settings: readonly Setting[]): Row[] {
  if (settings.length === 0) return [{ name, value: unset, origin: "default" }];
  return settings.map(({ text, origin }, index) => ({
    name: index === 0 ? name : "",
    value: printable(text),
    origin,
  }));
}

const unset = "not set";

/** As it is where that can be read, else as a JSON string. */
function printable(text: string): string {
  return /^[^\s\p{C}]([^\p{C}]*[^\s\p{C}])?$/u.test(text)
    ? text
    : JSON.stringify(text).replace(
      /\p{C}/gu,
      (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
    );
}

/** A longer value pushes the column behind it aside, in its own line. */
const widestValue = 36;

function align(rows: readonly Row[]): string {
  const widthOf = (texts: string[]) =>
    Math.max(...texts.map(({ length }) => length)) + 2;
  const first = widthOf(rows.map(({ name }) => name));
  const second = widthOf(
    rows.map(({ value }) => value)
      .filter((value) => value.length <= widestValue),
  );
  return rows.map(({ name, value, origin }) =>
    `${name.padEnd(first)}${`${value}  `.padEnd(second)}${origin}\n`
  ).join("");
}
