/** The command words: what can be asked for besides serving, as a table from
 * which the parser, the help page and the completions are made. */

/** Their names, which stand before everything else. */
export const commandNames = [
  "start",
  "dev",
  "stop",
  "restart",
  "reload",
  "status",
  "scale",
  "reopen",
  "completions",
] as const;

/** One of `commandNames`. */
export type CommandName = typeof commandNames[number];

/** A command word, or "serve" where there is none. */
export type Task = CommandName | "serve";

/** One command word. */
export interface CommandEntry {
  /** The word. */
  readonly name: CommandName;
  /** What follows it, for the help page; undefined when nothing does. */
  readonly value?: string;
  /** What it does, in a few words. */
  readonly summary: string;
}

/** Every command word, in the order of the help page. */
export const commandTable: readonly CommandEntry[] = [
  {
    name: "start",
    value: "[APP]",
    summary: "Serve in the background; ends when the workers are ready",
  },
  {
    name: "dev",
    value: "[APP]",
    summary: "Serve, and anew when a file changes; errors are shown as pages",
  },
  {
    name: "stop",
    summary: "Let running requests end; ends when every process has gone",
  },
  {
    name: "restart",
    summary: "Put new processes in the place of all, on the same sockets",
  },
  {
    name: "reload",
    summary: "Read configuration and application again, losing no request",
  },
  { name: "status", summary: "Show the workers" },
  {
    name: "scale",
    value: "N",
    summary: "Have N workers from now on; +N: so many more",
  },
  {
    name: "reopen",
    summary: "Open the log files again; ends when every worker has",
  },
  {
    name: "completions",
    value: "SHELL",
    summary: "Print a completion script for bash, zsh or fish",
  },
];

/** The tasks that serve an application. */
export const servers: readonly Task[] = ["serve", "start", "dev"];

/** More workers than this are taken for a slip of the pen. */
export const mostWorkers = 1000;
