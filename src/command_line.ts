/** The arguments of the program: options with their values, and the words beside
 * them. The only room that knows `@std/cli`. */
import { parseArgs } from "@std/cli/parse-args";
import { CommandError } from "./command_error.ts";
import { type CommandWords, readCommandWords } from "./command_words.ts";
import { nearest } from "./nearest.ts";
import { optionTable } from "./options.ts";
import type { Flags } from "./settings.ts";

/** What the arguments say. */
export interface CommandLine extends CommandWords {
  /** The options that take a value, each with those that it was given. */
  readonly flags: Flags;
  /** Whether the help page is asked for. */
  readonly help: boolean;
  /** Whether the version is. */
  readonly version: boolean;
  /** The other options without a value that were written. */
  readonly switches: readonly string[];
}

const valueOptions = optionTable.filter((option) => option.value !== undefined);
const switches = optionTable.filter((option) => option.value === undefined);

/** Reads the arguments. Throws `CommandError`. */
export function readCommandLine(args: readonly string[]): CommandLine {
  const parsed = parseArgs(joinValues(args), {
    boolean: switches.map((option) => option.name),
    string: [...valueOptions.map((option) => option.name), "_"],
    collect: valueOptions.map((option) => option.name),
    alias: Object.fromEntries(
      optionTable.flatMap(({ name, short }) => short ? [[name, short]] : []),
    ),
    unknown: refuseUnknown,
  });
  const flags: Record<string, string[]> = {};
  for (const { name } of valueOptions) {
    flags[name] = [parsed[name] ?? []].flat().map(String);
  }
  const written = switches.map(({ name }) => name)
    .filter((name) => parsed[name] === true);
  const help = written.includes("help");
  const version = written.includes("version");
  const given = Object.keys(flags).filter((name) => flags[name]?.length !== 0);
  const words = parsed._.map(String);
  const asked = help || version
    ? { task: "serve" as const, app: undefined, count: undefined }
    : readCommandWords(words, [...given, ...written]);
  return { ...asked, flags, help, version, switches: written };
}

// @std/cli takes no value that starts with a dash from the argument that
// follows, but "-" is standard output here, and of "-1" it should be said that
// it is too little: such pairs become one argument. A negative number by itself
// is a word, for "scale -1".
function joinValues(args: readonly string[]): string[] {
  const joined: string[] = [];
  const numbers: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? "";
    if (arg === "--") {
      return [...joined, arg, ...numbers, ...args.slice(index + 1)];
    }
    if (/^-\d+$/.test(arg)) {
      numbers.push(arg);
      continue;
    }
    const option = valueOptions.find(({ name, short }) =>
      arg === `--${name}` || (short !== undefined && arg === `-${short}`)
    );
    const next = args[index + 1];
    if (option === undefined) joined.push(arg);
    else if (next !== undefined && !/^-[^\d]/.test(next)) {
      joined.push(`--${option.name}=${next}`);
      index++;
    } else joined.push(`--${option.name}=`);
  }
  return numbers.length === 0 ? joined : [...joined, "--", ...numbers];
}

function refuseUnknown(argument: string, key?: string): boolean {
  if (key === undefined) return true;
  const written = argument.replace(/=.*$/s, "");
  const meant = written.startsWith("--")
    ? nearest(written.slice(2), optionTable.map(({ name }) => name))
    : undefined;
  throw new CommandError(
    2,
    `No option ${written}`,
    meant === undefined
      ? "See headgate --help for the options."
      : `Did you mean --${meant}?`,
  );
}
