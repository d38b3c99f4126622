/**
 * Reads a byte stream as HTTP/1.1 responses, as strictly as RFC 9112 allows: a
 * deviation that a browser would forgive is an error here.
 */
import { latin1, octets } from "./octets.ts";

/** One response, taken apart. */
export interface ParsedResponse {
  /** Three digits. */
  readonly status: number;
  /** The reason phrase. */
  readonly reason: string;
  /** Field lines in order, names as sent. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** All values of a field joined with ", "; undefined when it is absent. The
   * name is given in lower case. */
  get(lower: string): string | undefined;
  /** The content, unframed. */
  readonly content: Uint8Array;
  /** Field lines of the trailer section. */
  readonly trailers: readonly (readonly [name: string, value: string])[];
  /** How the end of the content was told. */
  readonly framing: "none" | "length" | "chunked" | "close";
}

/** What the stream alone does not tell. */
export interface ResponseContext {
  /** The method of the request that final response `index` answers; "GET" where
   * it is undefined. The response is there to be asked. */
  readonly method?: (index: number, head: ParsedHead) => string | undefined;
  /** True when the server has ended its direction: content without other
   * framing is then whole. Default true. */
  readonly ended?: boolean;
}

/** The status line and header section of a response. */
export type ParsedHead = Pick<
  ParsedResponse,
  "status" | "reason" | "fields" | "get"
>;

/** Splits `bytes` into whole responses. Throws `SyntaxError` where they are
 * malformed, or where something unfinished is left. */
export function parseResponses(
  bytes: Uint8Array,
  context: ResponseContext = {},
): ParsedResponse[] {
  const { responses, rest } = readResponses(bytes, context);
  if (rest.length > 0) refuse("Unfinished response", latin1(rest));
  return responses;
}

/** The whole responses at the start of `bytes`, and what is left behind them:
 * the beginning of another, or nothing. Throws `SyntaxError` on what can not
 * become a response. */
export function readResponses(
  bytes: Uint8Array,
  context: ResponseContext = {},
): { responses: ParsedResponse[]; rest: Uint8Array } {
  const scanner = new Scanner(latin1(bytes));
  const responses: ParsedResponse[] = [];
  let final = 0;
  while (!scanner.done) {
    const before = scanner.at;
    try {
      const head = readHead(scanner);
      const informational = head.status < 200;
      const method = informational
        ? undefined
        : context.method?.(final, head) ?? "GET";
      responses.push(
        readContent(scanner, head, method, context.ended ?? true),
      );
      if (!informational) final++;
    } catch (error) {
      if (!(error instanceof Unfinished)) throw error;
      return { responses, rest: bytes.subarray(before) };
    }
  }
  return { responses, rest: new Uint8Array(0) };
}

/** The input ends before the response does. */
class Unfinished extends Error {}

function refuse(rule: string, text: string): never {
  throw new SyntaxError(`${rule}: ${JSON.stringify(text.slice(0, 200))}`);
}

class Scanner {
  at = 0;
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  get done(): boolean {
    return this.at === this.text.length;
  }

  /** Up to the next CRLF, which is consumed. */
  line(): string {
    const end = this.text.indexOf("\r\n", this.at);
    const line = this.text.slice(this.at, end < 0 ? undefined : end);
    const bare = /[\r\n]/.exec(line);
    // A CR that ends the input may still become a CRLF.
    if (bare && !(end < 0 && bare.index === line.length - 1)) {
      refuse("Bare CR or LF", line);
    }
    if (end < 0) throw new Unfinished();
    this.at = end + 2;
    return line;
  }

  take(count: number): string {
    if (this.text.length - this.at < count) throw new Unfinished();
    this.at += count;
    return this.text.slice(this.at - count, this.at);
  }

  rest(): string {
    return this.take(this.text.length - this.at);
  }
}

function readHead(scanner: Scanner): ParsedHead {
  const line = scanner.line();
  // RFC 9112 §4; the space before an empty reason phrase is not optional.
  const match = /^HTTP\/1\.1 ([1-5][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)$/
    .exec(line);
  if (match === null) return refuse("Malformed status line", line);
  const fields = readFields(scanner);
  const get = (lower: string) => valueOf(fields, lower);
  const head = { status: Number(match[1]), reason: match[2]!, fields, get };
  judgeHead(head);
  return head;
}

function readFields(scanner: Scanner): [string, string][] {
  const fields: [string, string][] = [];
  for (let line = scanner.line(); line !== ""; line = scanner.line()) {
    const match =
      /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)$/
        .exec(line);
    if (match === null) return refuse("Malformed field line", line);
    fields.push([match[1]!, match[2]!]);
  }
  return fields;
}

function valueOf(
  fields: readonly (readonly [string, string])[],
  lower: string,
): string | undefined {
  const values = fields
    .filter(([name]) => name.toLowerCase() === lower)
    .map(([, value]) => value);
  return values.length === 0 ? undefined : values.join(", ");
}

/** What a head must and must not hold, whatever the request was. */
function judgeHead(head: ParsedHead): void {
  const once = ["date", "content-length", "transfer-encoding", "server"];
  for (const name of once) {
    const count = head.fields.filter(([n]) => n.toLowerCase() === name).length;
    if (count > 1) refuse(`${name} ${count} times`, String(head.status));
  }
  const length = head.get("content-length");
  const coding = head.get("transfer-encoding");
  if (length !== undefined && !/^[0-9]+$/.test(length)) {
    refuse("Malformed Content-Length", length);
  }
  if (coding !== undefined && coding !== "chunked") {
    refuse("Unexpected Transfer-Encoding", coding);
  }
  if (length !== undefined && coding !== undefined) {
    refuse("Content-Length beside Transfer-Encoding", String(head.status));
  }
  // RFC 9112 §6.1 and RFC 9110 §8.6.
  const unframed = head.status < 200 || head.status === 204;
  if (unframed && (length !== undefined || coding !== undefined)) {
    refuse("Framing on a response without content", String(head.status));
  }
  const date = head.get("date");
  if (head.status >= 200 && (date === undefined || !isImfFixdate(date))) {
    refuse("No proper Date (RFC 9110 §6.6.1)", String(date));
  }
}

function isImfFixdate(text: string): boolean {
  const shape =
    /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT$/;
  return shape.test(text) && new Date(text).toUTCString() === text;
}

/** RFC 9112 §6.3, for responses. */
function readContent(
  scanner: Scanner,
  head: ParsedHead,
  method: string | undefined,
  ended: boolean,
): ParsedResponse {
  const whole = (
    framing: ParsedResponse["framing"],
    content = "",
    trailers: ParsedResponse["trailers"] = [],
  ): ParsedResponse => ({
    ...head,
    framing,
    content: octets(content),
    trailers,
  });
  if (head.status < 200 || head.status === 204 || head.status === 304) {
    return whole("none");
  }
  if (method === "HEAD") return whole("none");
  if (head.get("transfer-encoding") !== undefined) {
    const content = readChunks(scanner);
    return whole("chunked", content, readFields(scanner));
  }
  const length = head.get("content-length");
  if (length !== undefined) {
    return whole("length", scanner.take(Number(length)));
  }
  if (!/(^|[\s,])close([\s,]|$)/i.test(head.get("connection") ?? "")) {
    refuse("Delimited by close without saying so", String(head.status));
  }
  if (!ended) throw new Unfinished();
  return whole("close", scanner.rest());
}

function readChunks(scanner: Scanner): string {
  let content = "";
  for (;;) {
    const line = scanner.line();
    if (!/^[0-9A-Fa-f]+$/.test(line)) refuse("Malformed chunk size", line);
    const size = parseInt(line, 16);
    if (size === 0) return content;
    content += scanner.take(size);
    const end = scanner.take(2);
    if (end !== "\r\n") refuse("Chunk data is not followed by CRLF", end);
  }
}
