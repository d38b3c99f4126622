/**
 * The request-target and the authority: RFC 9112 §3.2, RFC 3986.
 * Pure: nothing here reads or writes.
 */
import { HttpError } from "../errors.ts";
import type { TargetForm } from "../exchange.ts";
import {
  ASTERISK,
  HEX,
  octetClass,
  PATH,
  PERCENT,
  QUERY,
  QUESTION,
  SLASH,
  SP,
} from "./bytes.ts";
import { badOctet } from "./fields.ts";

/** Where the parts of a target lie, as offsets into the buffer. */
export interface TargetSpan {
  form: TargetForm;
  /** Both 0 unless the form is absolute. */
  authorityStart: number;
  authorityEnd: number;
  pathStart: number;
  /** Where the path ends and, after "?", the query begins. */
  pathEnd: number;
  /** Where the target ends: at the SP behind it. */
  end: number;
}

// One span is enough: parsing never waits, so nobody else can be in here.
const span: TargetSpan = {
  form: "origin",
  authorityStart: 0,
  authorityEnd: 0,
  pathStart: 0,
  pathEnd: 0,
  end: 0,
};

/** Finds the parts of the target that starts at `start`; undefined while its
 * end has not arrived. The span is lent: it is valid until the next call.
 * Throws `HttpError` 400. */
export function scanTarget(
  buffer: Uint8Array,
  start: number,
  end: number,
): TargetSpan | undefined {
  if (start >= end) return undefined;
  span.authorityStart = span.authorityEnd = 0;
  let at = start;
  const first = buffer[at]!;
  if (first === SLASH) {
    span.form = "origin";
  } else if (first === ASTERISK) {
    span.form = "asterisk";
    span.pathStart = at;
    span.pathEnd = span.end = at + 1;
    if (at + 1 >= end) return undefined;
    if (buffer[at + 1] !== SP) {
      throw badOctet("Malformed request target", buffer, at, end);
    }
    return span;
  } else {
    span.form = "absolute";
    at = skipScheme(buffer, at, end);
    if (at < 0) return undefined;
    span.authorityStart = at;
    // "@" is part of no authority here: userinfo is refused further down.
    while (at < end && endsAuthority(buffer[at]!) === false) at++;
    if (at >= end) return undefined;
    span.authorityEnd = at;
  }

  span.pathStart = at;
  while (at < end) {
    const octet = buffer[at]!;
    if ((octetClass[octet]! & PATH) !== 0) {
      at++;
    } else if (octet === PERCENT) {
      if (at + 2 >= end) return undefined;
      checkPercentEncoding(buffer, at, end);
      at += 3;
    } else {
      break;
    }
  }
  span.pathEnd = at;
  if (at < end && buffer[at] === QUESTION) {
    at++;
    while (at < end && (octetClass[buffer[at]!]! & QUERY) !== 0) at++;
  }
  if (at >= end) return undefined;
  if (buffer[at] !== SP) throw badTargetEnd(buffer, at, end);
  span.end = at;
  return span;
}

/** Where the authority begins behind `http://` or `https://` in any case; -1
 * while that is not known yet. */
function skipScheme(buffer: Uint8Array, start: number, end: number): number {
  let wanted = "http://";
  for (let i = 0; i < wanted.length; i++) {
    if (start + i >= end) return -1;
    const octet = buffer[start + i]!;
    if (i === 4 && (octet | 0x20) === 0x73) {
      wanted = "https://";
      continue;
    }
    const lower = octet >= 0x41 && octet <= 0x5a ? octet | 0x20 : octet;
    if (lower !== wanted.charCodeAt(i)) {
      throw badOctet("Malformed request target", buffer, start, end);
    }
  }
  return start + wanted.length;
}

function endsAuthority(octet: number): boolean {
  return octet === SLASH || octet === QUESTION || octet <= SP || octet >= 0x7f;
}

function checkPercentEncoding(
  buffer: Uint8Array,
  at: number,
  end: number,
): void {
  const high = buffer[at + 1]!;
  const low = buffer[at + 2]!;
  if ((octetClass[high]! & octetClass[low]! & HEX) === 0) {
    throw badOctet("Malformed percent-encoding in the path", buffer, at, end);
  }
  if (high === 0x30 && low === 0x30) {
    // A NUL would end the path early for whatever hands it to the system.
    throw badOctet("NUL in the path", buffer, at, end);
  }
}

function badTargetEnd(buffer: Uint8Array, at: number, end: number): HttpError {
  const octet = buffer[at];
  return octet === 0x0d || octet === 0x0a
    ? badOctet("No HTTP version; HTTP/0.9 is not supported", buffer, at, end)
    : badOctet("Forbidden octet in the request target", buffer, at, end);
}

/** RFC 3986 §3.2.2 without userinfo: a name or IPv4 address, or an IPv6 literal,
 * and perhaps a port. A comma, which the grammar allows, is refused: no name
 * has one, and it is what two joined Host fields look like. */
const AUTHORITY =
  /^(?:\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]|(?:[0-9A-Za-z\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})+)(?::([0-9]{0,5}))?$/;

// Not "", which would pass before anything was checked.
let lastAuthority = "localhost";

/** Throws `HttpError` 400 unless `text` is `host [ ":" port ]`. */
export function checkAuthority(text: string): void {
  // Requests mostly repeat the host of the one before.
  if (text === lastAuthority) return;
  const match = AUTHORITY.exec(text);
  if (match === null || Number(match[1] ?? 0) > 65_535) {
    throw new HttpError(400, "Malformed host", text);
  }
  lastAuthority = text;
}
