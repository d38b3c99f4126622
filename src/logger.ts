/**
 * What the gateway asks of a logger: four methods, which `@std/log`, LogTape
 * and `console` satisfy. `log.ts` makes one over `@std/log`.
 *
 * @module
 */

/** Receives the gateway's log records. What a stranger sent is escaped in them;
 * line ends are those of stacks. */
export interface Logger {
  /** The life of a connection, refusals, peers that left. */
  debug(message: string): void;
  /** Start, stop, addresses. */
  info(message: string): void;
  /** Something is wrong and the gateway goes on. */
  warn(message: string): void;
  /** An application failed, or the gateway itself. */
  error(message: string): void;
}

/** Drops every line. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
};

/** Makes octets of a stranger printable on one line: everything but visible
 * ASCII and space becomes `\xNN` (or `\u{N}`), and a backslash is doubled. */
export function escapeForLog(text: string): string {
  return text.replace(/[^\x20-\x5b\x5d-\x7e]/g, (character) => {
    if (character === "\\") return "\\\\";
    const code = character.charCodeAt(0);
    return code <= 0xff
      ? `\\x${code.toString(16).padStart(2, "0")}`
      : `\\u{${code.toString(16)}}`;
  });
}

/** What somebody else did wrong, on one line: no stack of ours tells more. */
export function describeFault(
  { message, detail, cause }: {
    readonly message: string;
    readonly detail: string | undefined;
    readonly cause?: unknown;
  },
): string {
  let told = message;
  if (detail !== undefined) told += `: "${escapeForLog(detail)}"`;
  if (cause instanceof Error) told += ` (${escapeForLog(cause.message)})`;
  return told;
}

/** The most causes that are followed, lest they go in a circle. */
const CAUSES = 8;

/** What was thrown, for a log line: with its stack where it is an error, and
 * with what caused it. Never throws. */
export function traceOf(thrown: unknown): string {
  const traces = [traceOfOne(thrown)];
  let last = thrown;
  while (last instanceof Error && last.cause !== undefined) {
    last = last.cause;
    traces.push(traceOfOne(last));
    if (traces.length > CAUSES) break;
  }
  return traces.join("\nCaused by: ");
}

function traceOfOne(thrown: unknown): string {
  try {
    const stack = thrown instanceof Error ? thrown.stack : undefined;
    return String(stack ?? thrown);
  } catch {
    return "a value that has no text"; // Object.create(null), for one
  }
}
