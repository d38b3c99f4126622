/** Why the file of a module cannot be read, before anybody tries. */
import { CommandError } from "./command_error.ts";

/** What is told of it. */
export interface ModuleFileTerms {
  /** What is wrong where there is no such file, and how that is mended. */
  readonly absent: readonly [message: string, remedy: string];
  /** What should be named in the place of a directory. */
  readonly inside: string;
}

/** Checks by its kind, as `Host.status` has it, that `path` is a file. Throws
 * `CommandError`. */
export function checkModuleFile(
  path: string,
  kind: string | undefined,
  { absent, inside }: ModuleFileTerms,
): void {
  switch (kind) {
    case "file":
      return;
    case undefined:
      throw new CommandError(1, ...absent);
    case "hidden":
      throw new CommandError(
        1,
        `No permission to look at ${path}`,
        "Have its directories made readable, or start as another user.",
      );
    default:
      throw new CommandError(
        1,
        `${path} is not a file`,
        `Name the ${inside} inside it.`,
      );
  }
}
