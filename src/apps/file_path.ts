/** The path of a request, as the steps of a file's path below a directory.
 * Pure: whatever could lead out of the directory on any system ends here, but
 * for symbolic links. */

/** Where a request leads. */
export interface FilePath {
  /** The steps, decoded; none is empty, hidden, "." or "..". */
  readonly steps: readonly string[];
  /** The path ends in "/", so that only a directory can be meant. */
  readonly directory: boolean;
}

/** Reads what follows the prefix: "" or a text that starts with "/", still
 * percent-encoded, one character per octet. Undefined where no file can be
 * meant. */
export function readFilePath(path: string): FilePath | undefined {
  const encoded = path.split("/").slice(1);
  const directory = encoded.at(-1) === "";
  if (directory) encoded.pop();
  const steps: string[] = [];
  for (const one of encoded) {
    const step = readStep(one);
    if (step === undefined) return undefined;
    steps.push(step);
  }
  return { steps, directory };
}

/** The text that one step of a path stands for; undefined where it names no
 * file. */
export function readStep(encoded: string): string | undefined {
  const step = decode(encoded);
  return step !== undefined && names(step) ? step : undefined;
}

/** Names that begin with a dot are hidden: ".env", ".git", and with them "." and
 * "..". RFC 8615 has made one of them public. */
function names(step: string): boolean {
  if (step === "" || forbidden.test(step)) return false;
  return !step.startsWith(".") || step === ".well-known";
}

// What came percent-encoded is no separator (RFC 3986 §2.2), nor may the file
// system take it for one: "/" here, "\" and the ":" of a drive or a stream on
// Windows. Names there lose dots and spaces at their end, which would make two
// paths of one file.
// deno-lint-ignore no-control-regex
const forbidden = /[\0-\x1f\x7f/\\:]|[. ]$/;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text that a step is the encoding of; undefined where it is none. */
function decode(step: string): string | undefined {
  if (/^[\x20-\x24\x26-\x7e]*$/.test(step)) return step;
  const octets: number[] = [];
  for (let at = 0; at < step.length; at++) {
    if (step[at] !== "%") {
      octets.push(step.charCodeAt(at));
      continue;
    }
    const digits = step.slice(at + 1, at + 3);
    if (!/^[0-9A-Fa-f]{2}$/.test(digits)) return undefined;
    octets.push(parseInt(digits, 16));
    at += 2;
  }
  try {
    return utf8.decode(Uint8Array.from(octets));
  } catch {
    return undefined;
  }
}

/** What paths begin with, without the slash at its end: "" for all of them. */
export function pathPrefix(prefix: string): string {
  return prefix.replace(/\/+$/, "");
}

/** Whether the path of a request begins with such a prefix, step by step. */
export function hasPrefix(prefix: string, path: string): boolean {
  if (!path.startsWith(prefix)) return false;
  return path[prefix.length] === "/" || (path === prefix && prefix !== "");
}

/** Whether a path without symbolic links is that of a directory or below it,
 * both absolute and as the system spells them. */
export function isWithin(directory: string, path: string): boolean {
  if (path === directory) return true;
  const separator = directory.includes("/") ? "/" : "\\";
  const start = directory.endsWith(separator)
    ? directory
    : directory + separator;
  return path.startsWith(start);
}
