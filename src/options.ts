/**
 * The options: a table, from which the parser, the help page and whatever else
 * speaks of options are made; and how the environment and the configuration
 * file spell them.
 *
 * Length: most of it is the table itself, which is read as a table.
 *
 * @module
 */
import { commandNames, type Task } from "./commands.ts";
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
    name: "response",
    value: "CLASS",
    group: "Application",
    summary: "What the global Response is for an application: own, the " +
      "runtime's, or light, a LightResponse, several times as fast on Node",
    fallback: "own",
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
    name: "limit-connections",
    value: "N",
    group: "Limits",
    summary: "Open connections of each process, or unlimited; beyond it idle " +
      "ones are closed, then new ones",
    fallback: "unlimited",
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

const byName: ReadonlyMap<string, OptionEntry> = new Map(
  optionTable.map((option) => [option.name, option]),
);

/** An option by its name; undefined when there is none. */
export function findOption(name: string): OptionEntry | undefined {
  return byName.get(name);
}

/** The environment variable that sets an option: "HEADGATE_LOG_LEVEL". */
export function variableName(name: string): string {
  return `HEADGATE_${name.toUpperCase().replaceAll("-", "_")}`;
}

/** How the configuration file spells an option: "logLevel". */
export function keyName(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
