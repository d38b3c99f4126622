/** Reads the wire corpus, whose format tests/corpus/README.md explains. */
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { defaultLimits, type Limits } from "../../src/limits.ts";
import { octets } from "./octets.ts";

/** What becomes of the connection behind the last response. */
export type End =
  /** The gateway ends its direction. */
  | "close"
  /** The gateway reads the next request. */
  | "open"
  /** The gateway reads on in a request that is not whole. */
  | "waiting";

/** What one request must have been to the application. */
export interface RequestExpectation {
  /** Keys of the environ, and their values; undefined means absent. */
  readonly environ: ReadonlyMap<string, string | undefined>;
  /** The content, one character per octet; undefined when nothing is said. */
  readonly content: string | undefined;
  /** Fields of the response, by name in lower case. */
  readonly fields: ReadonlyMap<string, string | undefined>;
}

/** One file of the corpus. */
export interface CorpusCase {
  /** "valid/rfc9112_7.1_chunked_01". */
  readonly name: string;
  /** The first line: the clause, and what the case shows. */
  readonly title: string;
  /** True under `invalid/`: the last request is refused. */
  readonly invalid: boolean;
  /** The statuses, in order. */
  readonly statuses: readonly number[];
  /** What comes behind the last of them. */
  readonly end: End;
  /** A 100 (Continue) may stand before the first status, or may not. */
  readonly mayContinue: boolean;
  /** What the requests were to the application, in order. */
  readonly requests: readonly RequestExpectation[];
  /** The methods of the requests, in order; "GET" beyond its end. */
  readonly methods: readonly string[];
  /** True when the application leaves the content unread. */
  readonly ignoresContent: boolean;
  /** True when the peer ends its direction behind the bytes. */
  readonly inputEnds: boolean;
  /** Limits other than the defaults. */
  readonly limits: Partial<Limits>;
  /** What the peer sends. */
  readonly wire: Uint8Array;
}

/** Every case, in the order of the names. */
export function readCorpus(): CorpusCase[] {
  const cases: CorpusCase[] = [];
  for (const kind of ["invalid", "valid"]) {
    const folder = `${process.cwd()}/tests/corpus/${kind}`;
    const files = readdirSync(folder).filter((file) => file.endsWith(".http"));
    for (const file of files.sort()) {
      const name = `${kind}/${file.slice(0, -".http".length)}`;
      cases.push(parseCase(name, readFileSync(`${folder}/${file}`, "utf8")));
    }
  }
  return cases;
}

/** A directive's key, the request that it is about, and what it says. */
interface Directive {
  readonly key: string;
  readonly request: number;
  readonly text: string;
}

const directiveLine =
  /^(expect|methods|application|input|limits|environ|content|field)(?: ([1-9][0-9]?))?:(?: (.*))?$/;

/** Reads one file. Throws `SyntaxError` on what the format does not know. */
export function parseCase(name: string, text: string): CorpusCase {
  if (
    !/^(valid|invalid)\/[a-z]+[0-9]+(_[0-9.]+)?_[a-z0-9._]+_[0-9]{2}$/.test(
      name,
    )
  ) {
    throw new SyntaxError(`${name}: not named by its clause`);
  }
  const lines = text.split("\n");
  if (lines.pop() !== "") throw new SyntaxError(`${name}: no end of line`);
  const title = lines.shift() ?? "";
  if (!title.startsWith("# ")) throw new SyntaxError(`${name}: no title`);
  const directives: Directive[] = [];
  const wire: string[] = [];
  for (const line of lines) {
    if (!line.startsWith("#")) {
      if (line.trim() !== line) {
        throw new SyntaxError(`${name}: white space at an edge of "${line}"`);
      }
      wire.push(line);
      continue;
    }
    // Behind the first octet on the wire there are remarks only.
    const match = wire.length > 0 ? null : directiveLine.exec(line.slice(2));
    if (match !== null) {
      const [, key, request, value] = match;
      directives.push({
        key: key!,
        request: Number(request ?? "1"),
        text: value ?? "",
      });
    } else if (wire.length === 0) {
      throw new SyntaxError(`${name}: unknown directive "${line}"`);
    }
  }
  return interpret(name, title.slice(2), directives, wire.join(""));
}

function interpret(
  name: string,
  title: string,
  directives: readonly Directive[],
  wire: string,
): CorpusCase {
  const only = (key: string) => {
    const found = directives.filter((directive) => directive.key === key);
    if (found.length > 1) throw new SyntaxError(`${name}: ${key} twice`);
    return found[0]?.text;
  };
  const expected = /^(100\? )?((?:[1-5][0-9]{2} )*)(close|open|waiting)$/
    .exec(only("expect") ?? "");
  if (expected === null) throw new SyntaxError(`${name}: malformed expect`);
  return {
    name,
    title,
    invalid: name.startsWith("invalid/"),
    statuses: expected[2]!.split(" ").filter(Boolean).map(Number),
    end: expected[3] as End,
    mayContinue: expected[1] !== undefined,
    requests: interpretRequests(name, directives),
    methods: (only("methods") ?? "").split(" ").filter(Boolean),
    ignoresContent: oneOf(name, only("application"), "ignore"),
    inputEnds: oneOf(name, only("input"), "ends"),
    limits: interpretLimits(name, only("limits") ?? ""),
    wire: unescape(wire),
  };
}

function oneOf(name: string, text: string | undefined, word: string): boolean {
  if (text === undefined || text === word) return text === word;
  throw new SyntaxError(`${name}: "${text}" where "${word}" may stand`);
}

function interpretLimits(name: string, text: string): Partial<Limits> {
  const entries = text.split(" ").filter(Boolean).map((pair) => {
    const [key, value] = pair.split("=");
    if (!Object.hasOwn(defaultLimits, key!)) {
      throw new SyntaxError(`${name}: no limit is called ${key}`);
    }
    return [key, Number(value)] as const;
  });
  return Object.fromEntries(entries);
}

function interpretRequests(
  name: string,
  directives: readonly Directive[],
): RequestExpectation[] {
  const perRequest = directives.filter(({ key }) =>
    key === "environ" || key === "content" || key === "field"
  );
  const count = Math.max(0, ...perRequest.map(({ request }) => request));
  return Array.from({ length: count }, (_, index) => {
    const about = perRequest.filter(({ request }) => request === index + 1);
    const content = about.filter(({ key }) => key === "content");
    if (content.length > 1) throw new SyntaxError(`${name}: content twice`);
    const mapOf = (key: string, fold: (text: string) => string) =>
      new Map(
        about.filter((directive) => directive.key === key)
          .map(({ text }) => interpretValue(name, text, fold)),
      );
    return {
      environ: mapOf("environ", (key) => key),
      content: content[0] && unescapeText(content[0].text),
      fields: mapOf("field", (key) => key.toLowerCase()),
    };
  });
}

/** `NAME = value` or `NAME absent`. */
function interpretValue(
  name: string,
  text: string,
  fold: (name: string) => string,
): readonly [string, string | undefined] {
  const match = /^(\S+) (?:absent|=(?: (.*))?)$/.exec(text);
  if (match === null) throw new SyntaxError(`${name}: malformed "${text}"`);
  const value = text.endsWith(" absent") && !text.includes("=")
    ? undefined
    : unescapeText(match[2] ?? "");
  return [fold(match[1]!), value];
}

/** The octets that an escaped text stands for. */
export function unescape(text: string): Uint8Array {
  return octets(unescapeText(text));
}

/** The same, one character per octet. */
function unescapeText(text: string): string {
  const reader = new EscapeReader(text);
  const result = reader.read(false);
  if (!reader.done) {
    throw new SyntaxError("A repetition ends and began nowhere");
  }
  return result;
}

const simpleEscapes: ReadonlyMap<string, string> = new Map([
  ["r", "\r"],
  ["n", "\n"],
  ["t", "\t"],
  ["0", "\0"],
  ["\\", "\\"],
]);

/** Reads `\r \n \t \0 \\ \xNN` and `\{text*count}`, which may be nested. */
class EscapeReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get done(): boolean {
    return this.#at === this.#text.length;
  }

  /** Up to the end, or up to and with `*count}` when `inside` a repetition. */
  read(inside: boolean): string {
    let result = "";
    while (!this.done) {
      const character = this.#text[this.#at]!;
      if (inside && character === "*") {
        const end = /^\*([0-9]+)\}/.exec(
          this.#text.slice(this.#at, this.#at + 9),
        );
        if (end !== null) {
          this.#at += end[0].length;
          return result.repeat(Number(end[1]));
        }
      }
      if (character < " " || character > "~") {
        throw new SyntaxError(
          `Not visible ASCII: ${JSON.stringify(character)}`,
        );
      }
      this.#at++;
      result += character === "\\" ? this.#escape() : character;
    }
    if (inside) throw new SyntaxError("A repetition does not end");
    return result;
  }

  #escape(): string {
    const letter = this.#text[this.#at++] ?? "";
    if (letter === "{") return this.read(true);
    if (letter === "x") {
      const digits = this.#text.slice(this.#at, this.#at += 2);
      if (!/^[0-9a-f]{2}$/.test(digits)) {
        throw new SyntaxError(`No two digits in lower case: \\x${digits}`);
      }
      return String.fromCharCode(parseInt(digits, 16));
    }
    const simple = simpleEscapes.get(letter);
    if (simple === undefined) throw new SyntaxError(`No escape: \\${letter}`);
    return simple;
  }
}
