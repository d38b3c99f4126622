/** Why a module could not be imported, in the words of the runtime. Imported on
 * demand: a start that succeeds needs none of it. */
import process from "node:process";
import type { ImportFailure } from "../src/host.ts";
import { systemCode } from "./whole_write.ts";

/** Says what failed; `href` is the module's address. */
export async function explainImport(
  error: unknown,
  href: string,
): Promise<ImportFailure> {
  const reason = reasonOf(error);
  if (error instanceof AggregateError) {
    return { reason, account: error.errors.map(accountOf).join("\n") };
  }
  const account = reason === "syntax" ? await locate(error, href) : undefined;
  return { reason, account: account ?? accountOf(error) };
}

function reasonOf(error: unknown): ImportFailure["reason"] {
  const code = systemCode(error);
  if (
    code === "ERR_UNKNOWN_FILE_EXTENSION" ||
    code === "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX"
  ) return "typescript";
  if (isSyntaxError(error)) return "syntax";
  return code === "ERR_MODULE_NOT_FOUND" ? "missing" : "threw";
}

function isSyntaxError(error: unknown): boolean {
  // Bun reports what does not parse as BuildMessage, several of them together.
  if (error instanceof AggregateError) return error.errors.some(isSyntaxError);
  if (nameOf(error) === "BuildMessage") return true;
  if (!(error instanceof Error)) return false;
  // Deno gives it the code of a missing module.
  if (error.message.startsWith("SyntaxError: ")) return true;
  return error instanceof SyntaxError && !wasThrownByCode(error);
}

/** JSON.parse() in a module throws SyntaxError too, from a line of the module;
 * one that the loader throws has frames of the loader alone. */
function wasThrownByCode(error: Error): boolean {
  const frames = (error.stack ?? "").split("\n")
    .filter((line) => /^\s+at (?!async )/.test(line));
  return frames.length > 0 && !/node:internal\/modules/.test(frames[0] ?? "");
}

function nameOf(error: unknown): string {
  return typeof error === "object" && error !== null && "name" in error
    ? String(error.name)
    : "";
}

/** Node keeps the line of a syntax error to itself until the error goes
 * uncaught, so a second Node imports the module for the sake of its message.
 * What does not parse is not run. */
async function locate(
  error: unknown,
  href: string,
): Promise<string | undefined> {
  if ("Deno" in globalThis || "Bun" in globalThis) return undefined;
  const stack = error instanceof Error ? error.stack ?? "" : "";
  if (stack.startsWith("file:")) return undefined;
  const { spawnSync } = await import("node:child_process");
  const { stderr } = spawnSync(process.execPath, [
    ...process.execArgv,
    "--input-type=module",
    "--eval",
    `await import(${JSON.stringify(href)})`,
  ], { encoding: "utf8", timeout: 10_000 });
  const lines = (stderr ?? "").split("\n")
    .filter((line) => line.trim() !== "" && !/^\s+at /.test(line))
    .filter((line) => !/^Node\.js v/.test(line));
  return lines[0]?.startsWith("file:") ? lines.join("\n") : undefined;
}

function accountOf(error: unknown): string {
  const text = nameOf(error) === "BuildMessage"
    ? accountOfBuildMessage(error)
    : error instanceof Error
    ? error.stack || `${error.name}: ${error.message}`
    : nameOf(error) === "ResolveMessage"
    ? String((error as { message: unknown }).message)
    : `Thrown: ${String(error)}`;
  const lines = stripColours(text).replace(
    "TypeError: SyntaxError: ",
    "SyntaxError: ",
  )
    .split("\n");
  // From here on the stack is ours: the importer and whoever called it.
  const importer = lines.findIndex((line) =>
    /^\s+at .*\bimportModule\b/.test(line)
  );
  return lines.slice(0, importer < 0 ? undefined : importer)
    .filter(isUserLine).join("\n");
}

interface BuildMessage {
  readonly message: string;
  readonly position: {
    readonly file: string;
    readonly line: number;
    readonly column: number;
    readonly lineText: string;
  } | null;
}

function accountOfBuildMessage(error: unknown): string {
  const { message, position } = error as BuildMessage;
  if (position === null) return `SyntaxError: ${message}`;
  const { file, line, column, lineText } = position;
  return `SyntaxError: ${message}\n    ${lineText.trimEnd()}\n` +
    `    at ${file}:${line}:${column}`;
}

function stripColours(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/\x1b\[[\d;]*m/g, "");
}

// Frames of the runtime's loader are no news to the user.
function isUserLine(line: string): boolean {
  return !/^\s+at /.test(line) || !/node:internal|\bext:|native:/.test(line);
}
