/**
 * Status line and field lines of a response as octets: RFC 9112 §4 and §5.
 * Applications give the same fields again and again, so what was checked and
 * spelled once is kept. Pure: nothing here reads or writes.
 */
import { ApplicationError } from "../errors.ts";
import type { ResponseFields } from "../exchange.ts";
import { encodeOctets } from "./bytes.ts";
import { reasonPhrase } from "./status.ts";

/** A checked head, but for the fields that are the gateway's own. */
export interface ComposedHead {
  readonly status: number;
  readonly reason: string;
  readonly fields: ResponseFields;
  /** Status line and field lines, each with its CRLF. Shared: do not write. */
  readonly octets: Uint8Array;
  /** The head as it was sent last, whole; see {@linkcode wholeHead}. */
  whole: Uint8Array | undefined;
  /** What it was sent with. */
  wholeDate: Uint8Array;
  wholeOwn: string;
  /** What the fields say of Content-Length. */
  readonly contentLength: number | undefined;
  /** The fields ask for the connection to be closed. */
  readonly close: boolean;
  readonly hasDate: boolean;
}

const noOctets = new Uint8Array(0);
const SERVER = "Server: headgate\r\n";
const CACHE_SLOTS = 64;
const LONGEST_CACHED = 1024;
const cache: (ComposedHead | undefined)[] = new Array(CACHE_SLOTS).fill(
  undefined,
);

/** Checks and spells a head. Throws `ApplicationError` on what HTTP forbids. */
export function composeHead(
  status: number,
  reason: string,
  fields: ResponseFields,
): ComposedHead {
  let hash = status + fields.length;
  for (let i = 0; i < fields.length; i++) {
    // An application may give what is no string; spelling it will tell.
    hash = hash * 3 + fields[i]![1]?.length;
  }
  const slot = hash & (CACHE_SLOTS - 1);
  const known = cache[slot];
  if (known !== undefined && isFor(known, status, reason, fields)) return known;
  const composed = spell(status, reason, fields);
  if (composed.octets.length <= LONGEST_CACHED) cache[slot] = composed;
  return composed;
}

/** The whole head, with the Date line and the gateway's `own` field lines, to be
 * copied at once. Undefined when it was not sent like that before, which makes
 * it be kept for the next time. Shared: do not write. */
export function wholeHead(
  head: ComposedHead,
  date: Uint8Array,
  own: string,
): Uint8Array | undefined {
  if (head.wholeOwn !== own) {
    // Not worth keeping until it comes again: sizes mostly differ.
    head.wholeOwn = own;
    return head.whole = undefined;
  }
  if (head.whole === undefined || head.wholeDate !== date) {
    head.whole = assemble(head, date, own);
    head.wholeDate = date;
  }
  return head.whole;
}

function assemble(
  head: ComposedHead,
  date: Uint8Array,
  own: string,
): Uint8Array {
  const { octets } = head;
  const whole = new Uint8Array(octets.length + date.length + own.length + 2);
  whole.set(octets);
  whole.set(date, octets.length);
  encodeOctets(`${own}\r\n`, whole, octets.length + date.length);
  return whole;
}

function isFor(
  head: ComposedHead,
  status: number,
  reason: string,
  fields: ResponseFields,
): boolean {
  if (
    head.status !== status || head.reason !== reason ||
    head.fields.length !== fields.length
  ) return false;
  for (let i = 0; i < fields.length; i++) {
    const ours = head.fields[i]!;
    const theirs = fields[i]!;
    if (ours[0] !== theirs[0] || ours[1] !== theirs[1]) return false;
  }
  return true;
}

function spell(
  status: number,
  reason: string,
  fields: ResponseFields,
): ComposedHead {
  if (!Number.isInteger(status) || status < 200 || status > 999) {
    throw new ApplicationError(
      `Status ${
        JSON.stringify(status)
      } is not a final status code (200 to 999)`,
    );
  }
  checkValue("reason phrase", reason);
  // A response of the Fetch standard mostly has none.
  let text = `HTTP/1.1 ${status} ${reason || reasonPhrase(status)}\r\n`;
  let contentLength: number | undefined;
  let close = false;
  let hasDate = false;
  let hasServer = false;
  for (const [name, value] of fields) {
    checkName(name);
    checkValue(name, value);
    switch (name.toLowerCase()) {
      case "content-length":
        if (contentLength !== undefined || !/^[0-9]{1,15}$/.test(value)) {
          throw new ApplicationError(
            `Content-Length ${
              JSON.stringify(value)
            } is malformed or given twice`,
          );
        }
        contentLength = Number(value);
        // RFC 9110 §8.6: never in a 204. A 205 ends after its head.
        if (status === 204 || status === 205) continue;
        break;
      case "connection":
        if (/(?:^|,)[ \t]*close[ \t]*(?:,|$)/i.test(value)) close = true;
        continue;
      case "keep-alive":
      case "proxy-connection":
      case "transfer-encoding":
      case "upgrade":
      case "te":
      case "trailer":
        // Of this connection, so the gateway's to say (RFC 9110 §7.6.1).
        continue;
      case "date":
        hasDate = true;
        break;
      case "server":
        hasServer = true;
        break;
    }
    text += `${name}: ${value}\r\n`;
  }
  if (!hasServer) text += SERVER;
  const octets = new Uint8Array(text.length);
  encodeOctets(text, octets, 0);
  const kept = fields.map(([name, value]) => [name, value] as const);
  return {
    status,
    reason,
    fields: kept,
    octets,
    contentLength,
    close,
    hasDate,
    whole: undefined,
    wholeDate: noOctets,
    wholeOwn: "",
  };
}

/** An interim response, whole. 100 is the gateway's own, and 101 would give the
 * connection away. Throws `ApplicationError` on what HTTP forbids. */
export function composeInterim(status: number, fields: ResponseFields): string {
  if (!Number.isInteger(status) || status < 102 || status > 199) {
    throw new ApplicationError(
      `Status ${JSON.stringify(status)} is not one of an interim response ` +
        "that may be given (102 to 199)",
    );
  }
  let text = `HTTP/1.1 ${status} ${reasonPhrase(status)}\r\n`;
  for (const [name, value] of fields) {
    checkName(name);
    checkValue(name, value);
    if (!notOfInterim.has(name.toLowerCase())) text += `${name}: ${value}\r\n`;
  }
  return `${text}\r\n`;
}

/** Those of the connection, and of a content that there is not: RFC 9110 §8.6,
 * RFC 9112 §6.1. */
const notOfInterim: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

function checkName(name: string): void {
  if (
    typeof name !== "string" || !/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name)
  ) {
    throw new ApplicationError(
      `Field name ${JSON.stringify(name)} is not a token`,
    );
  }
}

function checkValue(name: string, value: string): void {
  // A CR or LF here would let an application be made to send fields, or whole
  // responses, that it did not write.
  if (
    typeof value !== "string" || !/^[\t\x20-\x7e\x80-\xff]*$/.test(value)
  ) {
    throw new ApplicationError(
      `Value of ${name} ${
        JSON.stringify(value)
      } holds what a field value must not`,
    );
  }
}
