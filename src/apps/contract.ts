/**
 * What PEP 3333 asks of an application, checked at the call, where the stack
 * still shows whose mistake it is. Names and statuses that have passed are
 * remembered, because an application repeats its own.
 */
import { ApplicationError } from "../errors.ts";
import type { ResponseBody } from "../wsgi.ts";

/** A status that has passed {@linkcode parseStatus}. */
export interface Status {
  /** 200 to 599. */
  readonly code: number;
  /** May be empty. */
  readonly reason: string;
}

const REMEMBERED = 256;
const statuses = new Map<string, Status>();
const STATUS = /^([2-5][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)$/;

/** Takes "200 OK" apart. 1xx is not a response but the gateway's own affair. */
export function parseStatus(status: unknown): Status {
  const known = statuses.get(status as string);
  if (known !== undefined) return known;
  const parts = typeof status === "string" ? STATUS.exec(status) : null;
  if (parts === null) {
    throw new ApplicationError(
      `The status must be like "200 OK", 200 to 599, not ${quote(status)}`,
    );
  }
  const parsed = { code: Number(parts[1]), reason: parts[2]! };
  if (statuses.size < REMEMBERED) statuses.set(status as string, parsed);
  return parsed;
}

/** Fields that speak of the connection, which is the gateway's: those of PEP
 * 3333 (RFC 2616 §13.5.1), and `Trailer` and `Proxy-Connection`. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "trailers",
  "transfer-encoding",
  "upgrade",
]);

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const FORBIDDEN_IN_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

/** Whether a name that has passed is Content-Length. */
const names = new Map<string, boolean>();

/** Checks the headers and returns what Content-Length among them declares; -1
 * when it is not there. */
export function checkHeaders(headers: unknown): number {
  if (!Array.isArray(headers)) {
    throw new ApplicationError(
      `The headers must be an array of [name, value] pairs, not ${
        describe(headers)
      }`,
    );
  }
  let declared = -1;
  for (let i = 0; i < headers.length; i++) {
    const pair: unknown = headers[i];
    if (!Array.isArray(pair) || pair.length !== 2) {
      throw new ApplicationError(
        `A header must be a [name, value] pair, not ${describe(pair)}`,
      );
    }
    const name: unknown = pair[0];
    const value: unknown = pair[1];
    const isContentLength = names.get(name as string) ?? checkName(name);
    if (typeof value !== "string") {
      throw new ApplicationError(
        `The value of ${name} must be a string, not ${describe(value)}`,
      );
    }
    if (FORBIDDEN_IN_VALUE.test(value)) {
      throw new ApplicationError(
        `The value of ${name} must have no control characters and none above U+00FF, not ${
          quote(value)
        }`,
      );
    }
    if (isContentLength) {
      if (declared !== -1) {
        throw new ApplicationError("Content-Length is given twice");
      }
      declared = parseContentLength(value);
    }
  }
  return declared;
}

function checkName(name: unknown): boolean {
  if (typeof name !== "string" || !TOKEN.test(name)) {
    throw new ApplicationError(
      `A header name must be a token (RFC 9110 §5.1), not ${quote(name)}`,
    );
  }
  const lower = name.toLowerCase();
  if (HOP_BY_HOP.has(lower)) {
    throw new ApplicationError(
      `${name} is hop-by-hop: the gateway alone may send it`,
    );
  }
  const isContentLength = lower === "content-length";
  if (names.size < REMEMBERED) names.set(name, isContentLength);
  return isContentLength;
}

function parseContentLength(value: string): number {
  const length = /^[0-9]+$/.test(value) ? Number(value) : NaN;
  if (!Number.isSafeInteger(length)) {
    throw new ApplicationError(
      `Content-Length must be a number of bytes, not ${quote(value)}`,
    );
  }
  return length;
}

/** Refuses what cannot be a body; bytes and text are iterable, but what comes
 * out of them are numbers and characters. */
export function checkBody(body: unknown): ResponseBody {
  if (
    typeof body === "object" && body !== null && !ArrayBuffer.isView(body) &&
    (Symbol.asyncIterator in body || Symbol.iterator in body)
  ) return body as ResponseBody;
  throw new ApplicationError(
    `An application must return an iterable of Uint8Array, such as [bytes], not ${
      describe(body)
    }`,
  );
}

/** Refuses what is not bytes. */
export function checkBlock(block: unknown): Uint8Array {
  if (block instanceof Uint8Array) return block;
  throw new ApplicationError(
    `A body must give Uint8Array, not ${describe(block)}`,
  );
}

/** Names the kind of a value in a sentence: "a string", "an object of Foo". */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value !== "object") return `a ${typeof value}`;
  if (value instanceof Uint8Array) return "a bare Uint8Array";
  const maker = Object.getPrototypeOf(value)?.constructor?.name || "no class";
  return `an object of ${maker}`;
}

/** Shows a string as it would be written, cut where it is long; names the kind
 * of anything else. */
export function quote(value: unknown): string {
  if (typeof value !== "string") return describe(value);
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
}
