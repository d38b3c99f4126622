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
