/**
 * `@std/cli/parse-args` for machines that cannot reach JSR: the same code, by
 * way of npm, with the types of the part that Headgate uses.
 *
 * @module
 */
// @ts-ignore deno-std ships no declarations
import { parseArgs as untyped } from "deno-std/cli/parse_args.js";

/** The options of `parseArgs` that Headgate uses. */
export interface ParseOptions {
  /** Names that are flags without a value. */
  readonly boolean?: readonly string[];
  /** Names whose value stays a string. */
  readonly string?: readonly string[];
  /** Names that may be given several times, and so yield an array. */
  readonly collect?: readonly string[];
  /** Short names, by long name. */
  readonly alias?: Readonly<Record<string, string | readonly string[]>>;
  /** Values of names that are absent. */
  readonly default?: Readonly<Record<string, unknown>>;
  /** Names that `--no-NAME` sets to false. */
  readonly negatable?: readonly string[];
  /** Leave everything after the first positional argument unparsed. */
  readonly stopEarly?: boolean;
  /** Put what follows `--` under the key `--`. */
  readonly "--"?: boolean;
  /** Called for an argument that no option names; false drops it. */
  readonly unknown?: (
    argument: string,
    key?: string,
    value?: unknown,
  ) => unknown;
}

/** What was parsed: positional arguments under `_`, the rest by name. */
export interface Args {
  /** Positional arguments. */
  _: (string | number)[];
  [name: string]: unknown;
}

/** Parses command-line arguments, as `@std/cli/parse-args` does. */
export const parseArgs: (args: string[], options?: ParseOptions) => Args =
  untyped;
