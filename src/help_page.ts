/** The help page, made from the tables of commands and options. Loaded for
 * `--help` alone. Pure. */
import { commandTable } from "./commands.ts";
import { type OptionEntry, optionGroups, optionTable } from "./options.ts";

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
does. SIGUSR1 opens the log files again. With workers there are SIGHUP (reload),
SIGUSR2 (restart), SIGTTIN and SIGTTOU (one worker more, one less) and, after
start, SIGWINCH (no workers).
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
