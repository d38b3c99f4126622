/**
 * The options, the command words and the names of hooks: tables, from which the
 * parser, the help page and the suggestions for mistyped names are made. Length: most of it is
 * the table itself, which is read as a table.
 *
 * @module
 */
import { CommandError } from "./command_error.ts";
import { defaultLimits } from "./limits.ts";

/** The groups of the help page, in their order. */
export const optionGroups = [
  "Application",
  "Python, FastCGI and CGI",
  "Configuration",
  "Listening",
  "Processes",
  "Logging",
  "Timeouts, in seconds",
  "Limits",
  "Other",
] as const;

/** The words that stand before everything else: what is to be done with the
 * server that a pidfile names. */
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
  { name: "reopen", summary: "Open the log files again, after rotation" },
  {
    name: "completions",
    value: "SHELL",
    summary: "Print a completion script for bash, zsh or fish",
  },
];

/** One option. */
export interface OptionEntry {
  /** Its name without the dashes. */
  readonly name: string;
  /** Its one-letter name. */
  readonly short?: string;
  /** What its value is called; undefined when it takes none. */
  readonly value?: string;
  /** Where the help page shows it. */
  readonly group: typeof optionGroups[number];
  /** What it does, in a few words. */
  readonly summary: string;
  /** Its default as a user would write it; undefined when it has none. */
  readonly fallback?: string;
  /** A value for messages, where neither `fallback` nor `value` is one. */
  readonly example?: string;
  /** Whether it may be given several times. */
  readonly repeatable?: true;
  /** Whether the environment variable `HEADGATE_NAME` sets it too. */
  readonly variable?: false;
  /** Whether the configuration file may set it. */
  readonly file?: false;
  /** Whether the configuration file may give it as a number. */
  readonly numeric?: true;
  /** Who takes it; undefined for `servers`. */
  readonly tasks?: readonly Task[];
}

/** The tasks that serve an application. */
export const servers: readonly Task[] = ["serve", "start", "dev"];
const everybody: readonly Task[] = ["serve", ...commandNames];

/** Every option, in the order of the help page. */
export const optionTable: readonly OptionEntry[] = [
  {
    name: "type",
    value: "TYPE",
    group: "Application",
    summary: "What the application is: auto, wsgi, fetch or handler",
    fallback: "auto",
  },
  {
    name: "chdir",
    value: "DIR",
    group: "Application",
    summary: "Go there first; other paths are relative to it",
    tasks: everybody,
  },
  {
    name: "env",
    value: "KEY=VALUE",
    group: "Application",
    summary: "Set a variable of the application's environment; may be repeated",
    repeatable: true,
    variable: false,
  },
  {
    name: "static",
    value: "PREFIX=DIR",
    group: "Application",
    summary: "Serve the files of a directory below a path, before the " +
      "application; may be repeated",
    example: "/assets=public",
    repeatable: true,
  },
  {
    name: "python",
    value: "PATH",
    group: "Python, FastCGI and CGI",
    summary: "The interpreter; else that of the active virtual environment, " +
      "else python3",
  },
  {
    name: "pythonpath",
    value: "DIR",
    group: "Python, FastCGI and CGI",
    summary: "Look there for Python modules too; may be repeated",
    repeatable: true,
  },
  {
    name: "python-workers",
    value: "N",
    group: "Python, FastCGI and CGI",
    summary: "Python processes of each worker",
    fallback: "1",
    numeric: true,
  },
  {
    name: "threads",
    value: "N",
    group: "Python, FastCGI and CGI",
    summary: "Threads of each: how many requests it serves at a time",
    fallback: "4",
    numeric: true,
  },
  {
    name: "connections",
    value: "N",
    group: "Python, FastCGI and CGI",
    summary: "Connections of each worker to a FastCGI or SCGI server, at most",
    fallback: "32",
    numeric: true,
  },
  {
    name: "keep-connections",
    value: "WHETHER",
    group: "Python, FastCGI and CGI",
    summary: "on: keep those to a FastCGI server between requests; each " +
      "occupies a process of PHP-FPM's then",
    fallback: "off",
  },
  {
    name: "root",
    value: "DIR",
    group: "Python, FastCGI and CGI",
    summary: "For FastCGI: the directory of the scripts; other files below " +
      "it are served as they are",
  },
  {
    name: "index",
    value: "FILE",
    group: "Python, FastCGI and CGI",
    summary: "For FastCGI: the script that serves a directory, and whatever " +
      "names no file",
    fallback: "index.php",
  },
  {
    name: "cgi-dir",
    value: "[PREFIX=]DIR",
    group: "Python, FastCGI and CGI",
    summary: "Run the executables of a directory below a path, by default " +
      "/ and its name; may be repeated",
    example: "/cgi-bin=scripts",
    repeatable: true,
  },
  {
    name: "spool",
    value: "WHAT",
    group: "Python, FastCGI and CGI",
    summary: "Which request content is read whole before one of these is " +
      "asked: off, chunked (whose length they need) or all",
    fallback: "chunked",
  },
  {
    name: "sendfile-root",
    value: "DIR",
    group: "Python, FastCGI and CGI",
    summary: "Send files below it where a response has X-Sendfile or " +
      "X-Accel-Redirect; may be repeated",
    repeatable: true,
  },
  {
    name: "config",
    short: "c",
    value: "FILE",
    group: "Configuration",
    summary:
      "The configuration file, .ts .mts .js .mjs or .json; else headgate.config.* in the working directory, if any",
    file: false,
    tasks: everybody,
  },
  {
    name: "check-config",
    group: "Configuration",
    summary:
      "Load configuration and application, tell whether they are right, exit",
    variable: false,
    file: false,
  },
  {
    name: "print-config",
    group: "Configuration",
    summary: "Show every setting and where it comes from, exit",
    variable: false,
    file: false,
  },
  {
    name: "bind",
    short: "b",
    value: "ADDRESS",
    group: "Listening",
    summary: "HOST:PORT, PORT, :PORT (every interface), [::]:PORT (IPv6 " +
      "too), unix:PATH or fd://N (inherited); may be repeated",
    fallback: "127.0.0.1:8000",
    repeatable: true,
    numeric: true,
  },
  {
    name: "backlog",
    value: "N",
    group: "Listening",
    summary: "Connections that the kernel keeps waiting",
    fallback: "2048",
    numeric: true,
  },
  {
    name: "forwarded-allow-ips",
    value: "LIST",
    group: "Listening",
    summary: "Proxies that are believed in what they tell of their clients: " +
      "addresses, networks, * for all, off for none",
    fallback: "127.0.0.1,::1",
    repeatable: true,
  },
  {
    name: "forwarded-fields",
    value: "LIST",
    group: "Listening",
    summary: "What they tell it in; also x-forwarded-host, or forwarded alone",
    fallback: "x-forwarded-for,x-forwarded-proto",
    repeatable: true,
  },
  {
    name: "workers",
    short: "w",
    value: "N",
    group: "Processes",
    summary: "Processes that serve; auto is one per core",
    fallback: "1",
    numeric: true,
  },
  {
    name: "pidfile",
    short: "p",
    value: "FILE",
    group: "Processes",
    summary:
      "Names the server to the commands; headgate.pid for them if not given",
    tasks: everybody,
  },
  {
    name: "max-requests",
    value: "N",
    group: "Processes",
    summary: "Replace a worker after so many; 0 never does",
    fallback: "0",
    numeric: true,
  },
  {
    name: "max-requests-jitter",
    value: "N",
    group: "Processes",
    summary: "Up to so many more, at random",
    fallback: "0",
    numeric: true,
  },
  {
    name: "max-rss",
    value: "SIZE",
    group: "Processes",
    summary: "Replace a worker that takes more memory, as in 300M",
    fallback: "unlimited",
    numeric: true,
  },
  {
    name: "user",
    value: "USER",
    group: "Processes",
    summary: "Whom the workers run as, by name or number",
    numeric: true,
  },
  {
    name: "group",
    value: "GROUP",
    group: "Processes",
    summary: "Their group, by name or number",
    numeric: true,
  },
  {
    name: "umask",
    value: "MASK",
    group: "Processes",
    summary: "Permissions that new files lack, octal, as in 027",
    example: "027",
  },
  {
    name: "name",
    value: "NAME",
    group: "Processes",
    summary: "What ps calls the processes, where the runtime can",
  },
  {
    name: "log-level",
    value: "LEVEL",
    group: "Logging",
    summary: "debug, info, warning, error or critical",
    fallback: "info",
  },
  {
    name: "log-file",
    value: "FILE",
    group: "Logging",
    summary: "Append the log to a file; - is standard output",
    fallback: "-",
  },
  {
    name: "access-log",
    value: "FILE",
    group: "Logging",
    summary: "Append a line per request to a file; - is standard output, " +
      "off writes none",
    fallback: "-",
  },
  {
    name: "access-log-format",
    value: "FORMAT",
    group: "Logging",
    summary: "common, combined, json, dev, or gunicorn's atoms, as in " +
      "'%(h)s \"%(r)s\" %(s)s %({referer}i)s'",
    fallback: "combined",
  },
  {
    name: "timeout",
    value: "N",
    group: "Timeouts, in seconds",
    summary: "For a worker's event loop to turn, or it is killed; 0 never does",
    fallback: "30",
    numeric: true,
  },
  {
    name: "boot-timeout",
    value: "N",
    group: "Timeouts, in seconds",
    summary: "For a worker to load its application, or unlimited",
    fallback: "60",
    numeric: true,
  },
  {
    name: "graceful-timeout",
    value: "N",
    group: "Timeouts, in seconds",
    summary: "For running requests to end before a worker leaves",
    fallback: "30",
    numeric: true,
  },
  {
    name: "head-timeout",
    value: "N",
    group: "Timeouts, in seconds",
    summary: "For a whole request head to arrive",
    fallback: String(defaultLimits.headSeconds),
    numeric: true,
  },
  {
    name: "body-timeout",
    value: "N",
    group: "Timeouts, in seconds",
    summary: "For more of the request content to arrive, or unlimited",
    fallback: String(defaultLimits.bodySeconds),
    numeric: true,
  },
  {
    name: "backend-timeout",
    value: "N",
    group: "Timeouts, in seconds",
    summary: "For a Python, FastCGI or CGI application to send or take " +
      "something, or unlimited; one in Python is replaced then",
    fallback: "30",
    numeric: true,
  },
  {
    name: "queue-timeout",
    value: "N",
    group: "Timeouts, in seconds",
    summary: "For a request to wait until one of them is free, or unlimited",
    fallback: "30",
    numeric: true,
  },
  {
    name: "keep-alive",
    value: "N",
    group: "Timeouts, in seconds",
    summary: "For the next request of a connection, or unlimited",
    fallback: String(defaultLimits.idleSeconds),
    numeric: true,
  },
  {
    name: "limit-request-line",
    value: "N",
    group: "Limits",
    summary: "Bytes of the request line",
    fallback: String(defaultLimits.requestLine),
    numeric: true,
  },
  {
    name: "limit-request-field-size",
    value: "N",
    group: "Limits",
    summary: "Bytes of one header field line",
    fallback: String(defaultLimits.fieldLine),
    numeric: true,
  },
  {
    name: "limit-request-fields",
    value: "N",
    group: "Limits",
    summary: "Number of header field lines",
    fallback: String(defaultLimits.fieldCount),
    numeric: true,
  },
  {
    name: "limit-request-body",
    value: "N",
    group: "Limits",
    summary: "Bytes of the request content, as in 65536, 64K, 10M, 1G " +
      "or unlimited",
    fallback: "unlimited",
    numeric: true,
  },
  {
    name: "json",
    group: "Other",
    summary: "For status: as JSON",
    variable: false,
    file: false,
    tasks: ["status"],
  },
  {
    name: "quick",
    group: "Other",
    summary: "For stop: cut what runs",
    variable: false,
    file: false,
    tasks: ["stop"],
  },
  {
    name: "help",
    short: "h",
    group: "Other",
    summary: "Show this page",
    variable: false,
    file: false,
    tasks: everybody,
  },
  {
    name: "version",
    short: "v",
    group: "Other",
    summary: "Show the version",
    variable: false,
    file: false,
    tasks: everybody,
  },
];

/** The functions that a configuration file may give, in the order in which they
 * are called; `Hooks` tells what each is. */
export const hookNames = [
  "onStarting",
  "onReload",
  "whenReady",
  "workerStart",
  "workerReady",
  "preRequest",
  "postRequest",
  "workerExit",
  "onExit",
] as const;

/** One of `hookNames`. */
export type HookName = typeof hookNames[number];

/** The environment variable that sets an option: "HEADGATE_LOG_LEVEL". */
export function variableName(name: string): string {
  return `HEADGATE_${name.toUpperCase().replaceAll("-", "_")}`;
}

/** How the configuration file spells an option: "logLevel". */
export function keyName(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** More workers than this are taken for a slip of the pen. */
export const mostWorkers = 1000;

/** What the words of the command line ask for. */
export interface CommandLine {
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
export function readCommandLine(
  words: readonly string[],
  given: readonly string[],
): CommandLine {
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
  const tasks = optionTable.find((option) => option.name === name)?.tasks ??
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

const width = 80;
const indent = 2;
const column = 36;

/** The help page: examples first, then the commands and the options by group;
 * at most 80 columns wide. */
export function helpPage(): string {
  const commands = commandTable.map(({ name, value, summary }) =>
    describe(value === undefined ? name : `${name} ${value}`, summary)
  );
  const groups = optionGroups.map((group) => {
    const entries = optionTable.filter((entry) => entry.group === group);
    return `${group}:\n${entries.map(describeOption).join("\n")}`;
  });
  const sections = [`Commands:\n${commands.join("\n")}`, ...groups];
  return `${opening}\n${sections.join("\n\n")}\n\n${closing}`;
}

const opening = `Headgate: an HTTP/1.1 gateway and WSGI server.

Usage: headgate [APP] [OPTIONS]
       headgate COMMAND [OPTIONS]

Examples:
  headgate                              the built-in welcome page, port 8000
  headgate app.ts:app                   the WSGI application exported as app
  headgate server.ts                    what has a fetch: Hono, H3, Elysia, oak
  headgate app.ts --type wsgi           the module's default export
  headgate app.ts:app -b :8080          every interface, port 8080
  headgate app.ts:app -b unix:app.sock  behind a proxy on this machine
  headgate app.ts:app --access-log access.log --log-level debug
  headgate flaskapp:app --workers 2     a Python WSGI application
  headgate fastcgi+unix:/run/php.sock --root public    PHP-FPM
  headgate --cgi-dir cgi-bin            any executable, below /cgi-bin
  headgate dev server.ts                reloads on change, shows errors
  headgate start app.ts:app -w auto     a worker per core, in the background
  headgate status; headgate stop        the same server, by its pidfile

APP is FILE:NAME, or FILE alone for its default export; the file is
JavaScript or TypeScript (.js .mjs .cjs .ts .mts .tsx). For Python it is
MODULE:CALLABLE, MODULE:FACTORY() or FILE.py:CALLABLE. A server elsewhere is
fastcgi://HOST:PORT, fastcgi+unix:PATH, scgi://HOST:PORT or scgi+unix:PATH.
Write ./start for a file that is called like a command.
`;

const closing = `Environment:
  HEADGATE_BIND and so on   set any option that takes a value, except --env
  PORT                      changes the default address to 0.0.0.0:PORT
  WEB_CONCURRENCY           changes the default of --workers
  FORWARDED_ALLOW_IPS       that of --forwarded-allow-ips
  NO_COLOR, FORCE_COLOR     turn colours off or on

The command line goes before HEADGATE_*, that before PORT and the like, those
before the configuration file. There an option is written as one word,
as in gracefulTimeout: 10, and the application is app.

Signals: SIGTERM lets running requests end, then exits; a second one exits at
once. SIGINT (Ctrl+C) does so too, and with workers cuts what runs, as SIGQUIT
does. With workers there are SIGHUP (reload), SIGUSR1 (reopen), SIGUSR2
(restart), SIGTTIN and SIGTTOU (one worker more, one less) and, after start,
SIGWINCH (no workers).
Exit codes: 0 stopped; 1 the application or the address is at fault; 2 the
command line or the configuration is; 3 the workers could not start; 130, 143
a second signal. Of status: 0 running; 1 dead, and its pidfile is left; 3 not
running; 4 unknown.
`;

function describeOption(entry: OptionEntry): string {
  const short = entry.short === undefined ? "    " : `-${entry.short}, `;
  const value = entry.value === undefined ? "" : ` ${entry.value}`;
  const suffix = entry.fallback === undefined ? "" : ` [${entry.fallback}]`;
  return describe(`${short}--${entry.name}${value}`, entry.summary + suffix);
}

function describe(name: string, text: string): string {
  const left = " ".repeat(indent) + name;
  const lines = wrap(text, width - column);
  const first = left.length < column
    ? left.padEnd(column) + lines.shift()
    : left;
  const rest = lines.map((line) => " ".repeat(column) + line);
  return [first, ...rest].join("\n");
}

function wrap(text: string, columns: number): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines[lines.length - 1] ?? "";
    if (line === "") lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length <= columns) {
      lines[lines.length - 1] = `${line} ${word}`;
    } else lines.push(word);
  }
  return lines;
}

/** The candidate that was probably meant; undefined when none is near. */
export function nearest(
  text: string,
  candidates: readonly string[],
): string | undefined {
  let best: string | undefined;
  let least = Math.max(2, Math.floor(text.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(text, candidate);
    if (distance < least) {
      best = candidate;
      least = distance;
    }
  }
  return best ??
    candidates.find((candidate) =>
      text.length >= 3 && candidate.startsWith(text)
    );
}

/** How many letters must be put in, left out, changed or swapped with their
 * neighbour (the optimal string alignment distance). */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1;
      let cost = Math.min(
        at(last, j) + 1,
        at(row, j - 1) + 1,
        at(last, j - 1) + change,
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, at(beforeLast, j - 2) + 1);
      }
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return at(last, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Infinity;
}
