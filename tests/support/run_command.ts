/** Programs that are run to their end. */
import { execFile } from "node:child_process";

/** What came of one. */
export interface Outcome {
  /** Its exit code; 1 where a signal ended it, NaN where it did not start. */
  readonly code: number;
  /** What it wrote, as UTF-8. */
  readonly stdout: string;
  /** What it said of mistakes. */
  readonly stderr: string;
}

/** Runs a program, for 25 seconds at most. */
export function runCommand(
  command: string,
  args: readonly string[],
): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = {
      timeout: 25_000,
      maxBuffer: 8 << 20,
      encoding: "utf8",
    } as const;
    execFile(command, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : Number(error.code ?? 1);
      resolve({ code, stdout, stderr });
    });
  });
}
