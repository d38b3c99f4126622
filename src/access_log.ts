/**
 * Formats finished exchanges for the access log, with gunicorn's atoms. A
 * format is compiled once to an array of functions, so that a line costs a few
 * calls and one string. Whatever a client or an application chose is escaped:
 * no value can leave its quotes or its line.
 *
 * @module
 */
import {
  basicUser,
  clock,
  escape,
  protocol,
  requestLine,
  shown,
  shownWord,
} from "./access_values.ts";
import { CommandError } from "./command_error.ts";
import { putCombined, putCommon } from "./common_log.ts";
import type { AccessRecord } from "./exchange.ts";
import { type Line, TextLine } from "./line.ts";
import { escapeForLog } from "./logger.ts";

/** Makes the line of a record, without a newline. */
export type AccessFormatter = (record: AccessRecord) => string;

/** Puts what a format tells of a record. */
export type AccessWriter = (record: AccessRecord, line: Line) => void;

/** The format where nothing else is asked for: gunicorn's own. */
export const defaultAccessFormat: string =
  '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"';

const commonFormat = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s';

const namedFormats: Readonly<Record<string, string>> = {
  default: defaultAccessFormat,
  common: commonFormat,
  combined: defaultAccessFormat,
};

const spelledOut: Readonly<Record<string, AccessWriter>> = {
  [commonFormat]: putCommon,
  [defaultAccessFormat]: putCombined,
};

/** The names that stand for a format. */
export const accessFormatNames: readonly string[] = [
  "common",
  "combined",
  "json",
  "dev",
  "default",
];

const remedy = "Use common, combined, json, or atoms as in " +
  "'%(h)s \"%(r)s\" %(s)s %({x-request-id}i)s'.";

/** Compiles a format: `default`, `common`, `combined`, `json`, `dev`, or a text
 * with atoms (`%(h)s`, `%({name}i)s`; `%%` is a percent sign). `pid` is shown by
 * the atom `p`; `colours` are for the eyes of who reads `dev` on a terminal.
 * Throws `CommandError` on an atom that is none. */
export function compileAccessFormat(
  format: string,
  pid: number,
  colours = false,
): AccessFormatter {
  if (format === "dev") return (record) => formatDev(record, colours);
  if (format === "json") return (record) => formatJson(record, pid);
  const text = namedFormats[format] ?? format;
  const write = ownEntry(spelledOut, text);
  return write === undefined ? compileAtoms(text, pid) : (record) => {
    const line = new TextLine();
    write(record, line);
    return line.text;
  };
}

/** Whether lines of a format tell how long a request took. */
export function showsElapsed(format: string): boolean {
  if (format === "dev" || format === "json") return true;
  return /%\([TMDL]\)s/.test(namedFormats[format] ?? format);
}

/** Compiles a format, for lines that are gathered: as `compileAccessFormat()`. */
export function compileAccessWriter(
  format: string,
  pid: number,
  colours = false,
): AccessWriter {
  const write = ownEntry(
    spelledOut,
    namedFormats[format] ?? format,
  );
  if (write !== undefined) return write;
  const spell = compileAccessFormat(format, pid, colours);
  return (record, line) => line.put(spell(record));
}

/** Compiles a text with atoms, and nothing else. */
export function compileAtoms(format: string, pid: number): AccessFormatter {
  const pieces = splitFormat(format, pid);
  return (record) => {
    let line = "";
    for (const piece of pieces) {
      line += typeof piece === "string" ? piece : piece(record);
    }
    return line;
  };
}

// Either "%%", or an atom with or without a name in braces, or a stray "%".
const percent = /%(?:(%)|\((?:\{([^{}]+)\})?([^(){}]*)\)s|)/g;

function splitFormat(
  format: string,
  pid: number,
): (string | AccessFormatter)[] {
  const pieces: (string | AccessFormatter)[] = [];
  let end = 0;
  for (const match of format.matchAll(percent)) {
    const [text, literal, name, letter] = match;
    pieces.push(escapeControls(format.slice(end, match.index)));
    end = match.index + text.length;
    if (literal !== undefined) pieces.push(literal);
    else pieces.push(findAtom(format, name, letter, pid));
  }
  pieces.push(escapeControls(format.slice(end)));
  return pieces.filter((piece) => piece !== "");
}

// The format is the user's own text; only a line break in it would do harm.
function escapeControls(text: string): string {
  return text.replace(/[\r\n]/g, escapeForLog);
}

function findAtom(
  format: string,
  name: string | undefined,
  letter: string | undefined,
  pid: number,
): AccessFormatter {
  if (letter === undefined) {
    throw new CommandError(
      2,
      `Stray "%" in the access log format ${JSON.stringify(format)}`,
      `An atom is written %(h)s, a percent sign %%. ${remedy}`,
    );
  }
  if (letter === "p" && name === undefined) return () => `<${pid}>`;
  const atom = name === undefined
    ? ownEntry(atoms, letter)
    : ownEntry(namedAtoms, letter)?.(name);
  if (atom !== undefined) return atom;
  const spelled = name === undefined ? letter : `{${name}}${letter}`;
  throw new CommandError(
    2,
    `No access log atom "%(${spelled})s"`,
    `Atoms are ${[...Object.keys(atoms), "p"].join(" ")}, ${
      Object.keys(namedAtoms).map((key) => `{name}${key}`).join(" ")
    }. ${remedy}`,
  );
}

function ownEntry<T>(
  table: Readonly<Record<string, T>>,
  key: string,
): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

const atoms: Readonly<Record<string, AccessFormatter>> = {
  h: ({ remote }) => shown(remote.host),
  l: () => "-",
  u: ({ head }) => shownWord(basicUser(head)),
  t: ({ startedAt }) => clock(startedAt),
  r: ({ head }) => head === undefined ? "-" : shown(requestLine(head)),
  s: ({ status }) => String(status),
  m: ({ head }) => shown(head?.method),
  U: ({ head }) => shown(head?.path),
  q: ({ head }) => head === undefined ? "-" : escape(head.query),
  H: ({ head }) => head === undefined ? "-" : protocol(head),
  B: ({ contentSent }) => String(contentSent),
  b: ({ contentSent }) => contentSent === 0 ? "-" : String(contentSent),
  f: ({ head }) => shown(head?.fields.get("referer")),
  a: ({ head }) => shown(head?.fields.get("user-agent")),
  T: ({ elapsedMs }) => String(Math.floor(elapsedMs / 1000)),
  M: ({ elapsedMs }) => String(Math.floor(elapsedMs)),
  D: ({ elapsedMs }) => String(Math.round(elapsedMs * 1000)),
  L: ({ elapsedMs }) => (elapsedMs / 1000).toFixed(6),
};

const namedAtoms: Readonly<Record<string, (name: string) => AccessFormatter>> =
  {
    i: requestField,
    o: responseField,
    e: environVariable,
  };

function requestField(name: string): AccessFormatter {
  const lower = name.toLowerCase();
  return ({ head }) => shown(head?.fields.get(lower));
}

function responseField(name: string): AccessFormatter {
  const lower = name.toLowerCase();
  return ({ responseFields }) => {
    const values = responseFields
      .filter(([name]) => name.toLowerCase() === lower)
      .map(([, value]) => value);
    return shown(values.join(", "));
  };
}

// The environ itself is gone by now, and other kinds of application never had
// one: these are the variables that the request alone determines.
function environVariable(name: string): AccessFormatter {
  if (name.startsWith("HTTP_")) {
    return requestField(name.slice("HTTP_".length).replaceAll("_", "-"));
  }
  return ownEntry(environVariables, name) ?? (() => "-");
}

const environVariables: Readonly<Record<string, AccessFormatter>> = {
  CONTENT_LENGTH: requestField("content-length"),
  CONTENT_TYPE: requestField("content-type"),
  PATH_INFO: ({ head }) => shown(head?.path),
  QUERY_STRING: ({ head }) => shown(head?.query),
  RAW_URI: ({ head }) => shown(head?.target),
  REMOTE_ADDR: ({ remote }) => shown(remote.host),
  REMOTE_PORT: ({ remote }) => String(remote.port),
  REQUEST_METHOD: ({ head }) => shown(head?.method),
  REQUEST_URI: ({ head }) => shown(head?.target),
  SERVER_PROTOCOL: ({ head }) => head === undefined ? "-" : protocol(head),
};

/** One glance a line: what was asked, what came of it, how long that took. */
function formatDev(
  { head, status, contentSent, elapsedMs }: AccessRecord,
  colours: boolean,
): string {
  const method = shown(head?.method).padEnd(methodWidth);
  const shade = colours ? shades[Math.floor(status / 100)] : undefined;
  const result = shade === undefined
    ? String(status)
    : `\x1b[${shade}m${status}\x1b[0m`;
  return `${method} ${shown(head?.target)} ${result} ${
    elapsedMs.toFixed(1)
  } ms ${sizeInWords(contentSent)}`;
}

/** Of the methods that are most of all: GET, POST, HEAD. */
const methodWidth = 4;

/** By the class of the status: well, elsewhere, the client's fault, ours. */
const shades: readonly (string | undefined)[] = [
  undefined,
  undefined,
  "32",
  "36",
  "33",
  "31",
];

function sizeInWords(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 ** 2) return `${(bytes / 1024).toFixed(1)} kB`;
  return `${(bytes / 1024 ** 2).toFixed(1)} MB`;
}

/** One object a line, every value through the encoder of its type. */
function formatJson(record: AccessRecord, pid: number): string {
  const { head } = record;
  return `{"time":"${isoTime(record.startedAt)}"` +
    `,"remote":${jsonString(record.remote.host)}` +
    `,"user":${jsonString(basicUser(head))}` +
    `,"method":${jsonString(head?.method)}` +
    `,"target":${jsonString(head?.target)}` +
    `,"protocol":${jsonString(head && protocol(head))}` +
    `,"status":${record.status}` +
    `,"bytes":${record.contentSent}` +
    `,"milliseconds":${record.elapsedMs.toFixed(3)}` +
    `,"referer":${jsonString(head?.fields.get("referer"))}` +
    `,"userAgent":${jsonString(head?.fields.get("user-agent"))}` +
    `,"pid":${pid}}`;
}

let isoSecond = NaN;
let isoText = "";

/** `2026-11-22T05:24:31.402Z`; all but the milliseconds spelled once a second. */
function isoTime(time: number): string {
  const second = Math.floor(time / 1000);
  if (second !== isoSecond) {
    isoSecond = second;
    isoText = new Date(second * 1000).toISOString().slice(0, -"000Z".length);
  }
  const milliseconds = Math.floor(time) - second * 1000;
  return `${isoText}${String(milliseconds).padStart(3, "0")}Z`;
}

// ASCII alone: U+0085 or U+2028 would end the line for some readers.
function jsonString(value: string | undefined): string {
  if (value === undefined) return "null";
  if (!/[^\x20\x21\x23-\x5b\x5d-\x7e]/.test(value)) return `"${value}"`;
  return JSON.stringify(value).replace(
    /[^\x20-\x7e]/g,
    (character) =>
      `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
