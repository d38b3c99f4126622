/**
 * A mistake that the user can mend, told with its remedy.
 *
 * @module
 */

/** Ends the program with a message and an exit code, without a stack. */
export class CommandError extends Error {
  /** "CommandError". */
  override readonly name = "CommandError";
  /** 2 when the command line is wrong, 1 when what it names is, 3 when an
   * application outside of this process does not start. */
  readonly exitCode: 1 | 2 | 3;
  /** How to fix it: whole sentences; lines are kept. */
  readonly remedy: string;
  /** What the runtime or the application said of it; may have several lines. */
  readonly detail: string | undefined;

  /** `message` says what is wrong and where, in sentence case with no full
   * stop. */
  constructor(
    exitCode: 1 | 2 | 3,
    message: string,
    remedy: string,
    detail?: string,
  ) {
    super(message);
    this.exitCode = exitCode;
    this.remedy = remedy;
    this.detail = detail;
  }
}

/** The error as the user sees it, newline included. */
export function formatCommandError(error: CommandError): string {
  const detail = error.detail === undefined
    ? ""
    : error.detail.split("\n").map((line) => `    ${line}\n`).join("");
  return `headgate: ${error.message}${detail ? `:\n${detail}` : ".\n"}` +
    `${error.remedy}\n`;
}

/** The `code` of a runtime's own error, as in "EADDRINUSE"; "" without one. */
export function errorCode(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : "";
  return typeof code === "string" ? code : "";
}
