/** The words of the command line that are no options: a command, what follows
 * it, an application; and whether they go together with the options. */
import { CommandError } from "./command_error.ts";
import { commandNames, mostWorkers, servers, type Task } from "./commands.ts";
import { nearest } from "./nearest.ts";
import { findOption } from "./options.ts";

/** What they ask for. */
export interface CommandWords {
  /** What is to be done. */
  readonly task: Task;
  /** FILE or FILE:NAME, for those who serve. */
  readonly app: string | undefined;
  /** How many workers there shall be, for "scale". */
  readonly count: number | undefined;
  /** Instead of that, how many more or, negative, fewer. */
  readonly more?: number;
  /** For which shell, for "completions". */
  readonly shell?: string | undefined;
}

/** Reads the words that are no options; `given` names the options that were
 * written beside them. Throws `CommandError` where they do not go together. */
export function readCommandWords(
  words: readonly string[],
  given: readonly string[],
): CommandWords {
  const [first = "", ...rest] = words;
  const command = commandNames.find((name) => name === first);
  const task = command ?? "serve";
  for (const name of given) checkBelongs(name, task);
  if (command === "scale") {
    return { task, app: undefined, ...readScale(rest) };
  }
  if (command === "completions") {
    return { task, app: undefined, count: undefined, shell: rest[0] };
  }
  if (command !== undefined && !servers.includes(command)) {
    if (rest[0] === undefined) {
      return { task, app: undefined, count: undefined };
    }
    throw new CommandError(
      2,
      `${command} takes no application, and "${rest[0]}" is one`,
      "The server is named by --pidfile FILE.",
    );
  }
  const [app, second] = command === undefined ? words : rest;
  if (command === undefined) refuseMistypedCommand(first);
  if (second === undefined) return { task, app, count: undefined };
  throw new CommandError(
    2,
    `One application is served at a time; "${second}" is a second one`,
    "Quote arguments that hold spaces; see headgate --help.",
  );
}

function checkBelongs(name: string, task: Task): void {
  const tasks = findOption(name)?.tasks ??
    servers;
  if (tasks.includes(task)) return;
  const owners = tasks.map((owner) =>
    owner === "serve" ? "headgate APP" : `headgate ${owner}`
  );
  throw new CommandError(
    2,
    task === "serve"
      ? `--${name} is no option of serving`
      : `${task} takes no --${name}`,
    `It belongs to ${owners.join(" and ")}.`,
  );
}

function readScale(
  [text, second]: readonly string[],
): { count: number | undefined; more?: number } {
  const [, sign, digits] = /^([+-]?)(\d{1,9})$/.exec(text ?? "") ?? [];
  const count = Number(digits ?? 0);
  if (count > 0 && count <= mostWorkers && second === undefined) {
    if (!sign) return { count };
    return { count: undefined, more: sign === "+" ? count : -count };
  }
  throw new CommandError(
    2,
    text === undefined
      ? "scale needs the number of workers"
      : second === undefined
      ? `scale: "${text}" is not a number from 1 to ${mostWorkers}`
      : `scale takes one number, and "${second}" is another word`,
    "Write headgate scale 4, or headgate scale +1, for example.",
  );
}

function refuseMistypedCommand(word: string): void {
  const meant = /^[a-z]+$/.test(word) ? nearest(word, commandNames) : undefined;
  if (meant === undefined) return;
  throw new CommandError(
    2,
    `No command ${word}`,
    `Did you mean headgate ${meant}?`,
  );
}
