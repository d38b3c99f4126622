/**
 * The options of the command line: one table, from which the parser, the help
 * page and the suggestions for mistyped names are made.
 *
 * @module
 */
import { defaultLimits } from "./limits.ts";

/** The groups of the help page, in their order. */
export const optionGroups = [
  "Application",
  "Listening",
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
  /** Whether it may be given several times. */
  readonly repeatable?: true;
  /** Whether the environment variable `HEADGATE_NAME` sets it too. */
  readonly variable?: false;
}

/** Every option, in the order of the help page. */
export const optionTable: readonly OptionEntry[] = [
  {
    name: "type",
    value: "TYPE",
    group: "Application",
    summary: "What the application is: auto or wsgi",
    fallback: "auto",
  },
  {
    name: "bind",
    short: "b",
    value: "ADDRESS",
    group: "Listening",
    summary: "HOST:PORT, PORT, :PORT (every interface), [::]:PORT (IPv6 too) " +
      "or unix:PATH; may be repeated",
    fallback: "127.0.0.1:8000",
    repeatable: true,
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
    summary: "common, combined, json, or gunicorn's atoms, as in " +
      "'%(h)s \"%(r)s\" %(s)s %({referer}i)s'",
    fallback: "combined",
  },
  {
    name: "graceful-timeout",
    value: "N",
    group: "Timeouts, in seconds",
    summary: "For running requests to end after SIGTERM or Ctrl+C",
    fallback: "30",
  },
  {
    name: "head-timeout",
    value: "N",
    group: "Timeouts, in seconds",
    summary: "For a whole request head to arrive",
    fallback: String(defaultLimits.headSeconds),
  },
  {
    name: "body-timeout",
    value: "N",
    group: "Timeouts, in seconds",
    summary: "For more of the request content to arrive, or unlimited",
    fallback: String(defaultLimits.bodySeconds),
  },
  {
    name: "keep-alive",
    value: "N",
    group: "Timeouts, in seconds",
    summary: "For the next request of a connection, or unlimited",
    fallback: String(defaultLimits.idleSeconds),
  },
  {
    name: "limit-request-line",
    value: "N",
    group: "Limits",
    summary: "Bytes of the request line",
    fallback: String(defaultLimits.requestLine),
  },
  {
    name: "limit-request-field-size",
    value: "N",
    group: "Limits",
    summary: "Bytes of one header field line",
    fallback: String(defaultLimits.fieldLine),
  },
  {
    name: "limit-request-fields",
    value: "N",
    group: "Limits",
    summary: "Number of header field lines",
    fallback: String(defaultLimits.fieldCount),
  },
  {
    name: "limit-request-body",
    value: "N",
    group: "Limits",
    summary: "Bytes of the request content, as in 65536, 64K, 10M, 1G " +
      "or unlimited",
    fallback: "unlimited",
  },
  {
    name: "help",
    short: "h",
    group: "Other",
    summary: "Show this page",
    variable: false,
  },
  {
    name: "version",
    short: "v",
    group: "Other",
    summary: "Show the version",
    variable: false,
  },
];

/** The environment variable that sets an option: "HEADGATE_LOG_LEVEL". */
export function variableName(name: string): string {
  return `HEADGATE_${name.toUpperCase().replaceAll("-", "_")}`;
}

const width = 80;
const indent = 2;
const column = 36;

/** The help page: examples first, then the options by group; at most 80
 * columns wide. */
export function helpPage(): string {
  const groups = optionGroups.map((group) => {
    const entries = optionTable.filter((entry) => entry.group === group);
    return `${group}:\n${entries.map(describe).join("\n")}`;
  });
  return `${opening}\n${groups.join("\n\n")}\n\n${closing}`;
}

const opening = `Headgate: an HTTP/1.1 gateway and WSGI server.

Usage: headgate [APP] [OPTIONS]

Examples:
  headgate                              the built-in welcome page, port 8000
  headgate app.ts:app                   the WSGI application exported as app
  headgate app.ts --type wsgi           the module's default export
  headgate app.ts:app -b :8080          every interface, port 8080
  headgate app.ts:app -b unix:app.sock  behind a proxy on this machine
  headgate app.ts:app --access-log access.log --log-level debug

APP is FILE:NAME, or FILE alone for its default export; the file is
JavaScript or TypeScript (.js .mjs .cjs .ts .mts .tsx).
`;

const closing = `Environment:
  PORT                      changes the default address to 0.0.0.0:PORT
  HEADGATE_BIND and so on   set any option that takes a value; the command line
                            goes before them
  NO_COLOR, FORCE_COLOR     turn colours off or on

Signals: SIGINT (Ctrl+C) and SIGTERM let running requests end, then exit; a
second one exits at once.
Exit codes: 0 stopped; 1 the application or the address is at fault; 2 the
command line is; 130, 143 a second signal.
`;

function describe(entry: OptionEntry): string {
  const short = entry.short === undefined ? "    " : `-${entry.short}, `;
  const value = entry.value === undefined ? "" : ` ${entry.value}`;
  const left = `${" ".repeat(indent)}${short}--${entry.name}${value}`;
  const suffix = entry.fallback === undefined ? "" : ` [${entry.fallback}]`;
  const lines = wrap(entry.summary + suffix, width - column);
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
