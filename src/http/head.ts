/**
 * The head of a request, read in place: request line (RFC 9112 §3), header
 * section (§5), and what they say of the host, the content and the connection.
 * Pure: nothing here reads or writes.
 */
import { HttpError } from "../errors.ts";
import type {
  Framing,
  HttpVersion,
  RequestHead,
  TargetForm,
} from "../exchange.ts";
import type { Limits } from "../limits.ts";
import { CR, decodeOctets, LF, octetClass, SP, TOKEN } from "./bytes.ts";
import {
  badOctet,
  CONNECTION,
  CONTENT_LENGTH,
  EXPECT,
  type FieldSection,
  HOST,
  parseFieldSection,
  TRANSFER_ENCODING,
} from "./fields.ts";
import { checkTransferEncoding, parseContentLength } from "./framing.ts";
import { checkAuthority, scanTarget, type TargetSpan } from "./target.ts";

/** A head, and how many octets it has. */
export class ParsedHead implements RequestHead {
  readonly method: string;
  readonly target: string;
  readonly targetForm: TargetForm;
  readonly path: string;
  readonly query: string;
  readonly authority: string;
  readonly version: HttpVersion;
  readonly fields: FieldSection;
  readonly framing: Framing;
  readonly contentLength: number;
  readonly keepAlive: boolean;
  readonly expectContinue: boolean;
  /** How many octets the request line has, with its CRLF. */
  readonly lineSize: number;
  /** A text that begins with them. */
  readonly #text: string;

  constructor(
    text: string,
    lineSize: number,
    method: string,
    target: string,
    targetForm: TargetForm,
    path: string,
    query: string,
    authority: string,
    version: HttpVersion,
    fields: FieldSection,
    contentLength: number | undefined,
    chunked: boolean,
    keepAlive: boolean,
    expectContinue: boolean,
  ) {
    this.#text = text;
    this.lineSize = lineSize;
    this.method = method;
    this.target = target;
    this.targetForm = targetForm;
    this.path = path;
    this.query = query;
    this.authority = authority;
    this.version = version;
    this.fields = fields;
    this.framing = chunked
      ? "chunked"
      : contentLength === undefined
      ? "none"
      : "length";
    this.contentLength = contentLength ?? 0;
    this.keepAlive = keepAlive;
    this.expectContinue = expectContinue;
  }

  /** How many octets the head has: the content, or the next request, is behind
   * them. */
  get size(): number {
    return this.lineSize + this.fields.size;
  }

  /** Whether the same request line is at `at`, if it has arrived. */
  lineStandsAt(buffer: Uint8Array, at: number): boolean {
    const text = this.#text;
    for (let i = 0; i < this.lineSize; i++) {
      if (buffer[at + i] !== text.charCodeAt(i)) return false;
    }
    return true;
  }
}

/** Knows field sections again. */
export interface Recall {
  /** What reading the section at `at` under the same limits has given before;
   * undefined when that is not known, or the section may not be whole. */
  recall(buffer: Uint8Array, at: number, end: number): FieldSection | undefined;
}

/** Reads one request head from `buffer[start..end)`; undefined while its end
 * has not arrived: ask again with more. The buffer may be reused once this has
 * returned. Where `recall` knows the field section, it is not read again. Throws
 * `HttpError` as soon as the octets at hand cannot become a request that may be
 * answered. */
export function parseRequestHead(
  buffer: Uint8Array,
  start: number,
  end: number,
  limits: Limits,
  recall?: Recall,
): ParsedHead | undefined {
  // Nothing behind the longest line is looked at, so that a line is refused
  // alike however it arrives.
  const bound = Math.min(end, start + limits.requestLine + CRLF_LENGTH);

  // method (RFC 9110 §9.1)
  let at = start;
  while (at < bound && (octetClass[buffer[at]!]! & TOKEN) !== 0) at++;
  if (at >= bound) return pendingLine(start, end, limits);
  if (buffer[at] !== SP || at === start) {
    throw badOctet("Malformed request line", buffer, start, end);
  }
  const methodEnd = at;
  if (isConnect(buffer, start, methodEnd)) {
    throw new HttpError(501, "CONNECT is not implemented");
  }

  const target = scanTarget(buffer, at + 1, bound);
  if (target === undefined) return pendingLine(start, end, limits);

  const version = parseVersion(buffer, target.end + 1, bound);
  if (version === undefined) return pendingLine(start, end, limits);
  const lineEnd = target.end + 1 + VERSION_LENGTH + CRLF_LENGTH;

  const known = recall?.recall(buffer, lineEnd, end);
  if (known !== undefined) {
    const text = decodeOctets(buffer, start, lineEnd);
    return judge(
      known,
      text,
      lineEnd - start,
      start,
      methodEnd,
      target,
      version,
    );
  }
  const fields = parseFieldSection(buffer, lineEnd, end, limits, start);
  if (fields === undefined) return undefined;
  return judge(
    fields,
    fields.text,
    lineEnd - start,
    start,
    methodEnd,
    target,
    version,
  );
}

const VERSION_LENGTH = "HTTP/1.1".length;
const CRLF_LENGTH = 2;

/** Reads `HTTP-version CRLF` (RFC 9112 §2.3); undefined while it is not whole. */
function parseVersion(
  buffer: Uint8Array,
  start: number,
  end: number,
): HttpVersion | undefined {
  for (let i = 0; i < 5; i++) {
    if (start + i >= end) return undefined;
    if (buffer[start + i] !== HTTP_SLASH[i]) {
      throw badOctet("Malformed HTTP version", buffer, start, end);
    }
  }
  if (start + 7 >= end) return undefined;
  const major = buffer[start + 5]! - 0x30;
  const minor = buffer[start + 7]! - 0x30;
  if (
    major < 0 || major > 9 || minor < 0 || minor > 9 ||
    buffer[start + 6] !== 0x2e
  ) throw badOctet("Malformed HTTP version", buffer, start, end);
  if (start + 8 >= end) return undefined;
  if (buffer[start + 8] !== CR) {
    throw badOctet("Malformed request line", buffer, start, end);
  }
  if (start + 9 >= end) return undefined;
  if (buffer[start + 9] !== LF) {
    throw badOctet("CR without LF", buffer, start + 8, end);
  }
  if (major !== 1) {
    throw new HttpError(505, `HTTP/${major} is not spoken here; use HTTP/1.1`);
  }
  // RFC 9110 §2.5: a higher minor version is answered as the highest we speak.
  return minor === 0 ? 10 : 11;
}

const HTTP_SLASH = [0x48, 0x54, 0x54, 0x50, 0x2f];

function pendingLine(start: number, end: number, limits: Limits): undefined {
  if (end - start > limits.requestLine + 1) throw lineTooLong();
  return undefined;
}

function lineTooLong(): HttpError {
  return new HttpError(414, "Request line too long");
}

/** Draws the conclusions from a head that is whole. */
function judge(
  fields: FieldSection,
  text: string,
  lineSize: number,
  start: number,
  methodEnd: number,
  span: TargetSpan,
  version: HttpVersion,
): ParsedHead {
  const method = knownMethod(text, methodEnd - start);
  const target = text.substring(methodEnd + 1 - start, span.end - start);
  const targetForm = span.form;
  if (method === "CONNECT") {
    throw new HttpError(501, "CONNECT is not implemented");
  }
  const hasQuery = span.pathEnd < span.end;
  let path = targetForm === "origin" && !hasQuery
    ? target
    : text.substring(span.pathStart - start, span.pathEnd - start);
  const query = hasQuery
    ? text.substring(span.pathEnd + 1 - start, span.end - start)
    : "";
  if (targetForm === "asterisk" && method !== "OPTIONS") {
    throw new HttpError(400, "Target * belongs to OPTIONS", method);
  }

  let host: string | undefined;
  let contentLength: number | undefined;
  let transferEncoding: string | undefined;
  let expectation: string | undefined;
  let close = false;
  let keepAlive = false;
  for (let i = 0; i < fields.length; i++) {
    switch (fields.role(i)) {
      case HOST:
        // RFC 9112 §3.2: more than one is refused, whatever they say.
        if (host !== undefined) throw new HttpError(400, "Host given twice");
        host = fields.value(i);
        if (host !== "") checkAuthority(host);
        break;
      case CONTENT_LENGTH:
        if (contentLength !== undefined) {
          throw new HttpError(400, "Content-Length given twice");
        }
        contentLength = parseContentLength(fields.value(i));
        break;
      case TRANSFER_ENCODING:
        transferEncoding = transferEncoding === undefined
          ? fields.value(i)
          : `${transferEncoding},${fields.value(i)}`;
        break;
      case CONNECTION:
        switch (fields.value(i)) {
          case "keep-alive":
            keepAlive = true;
            break;
          case "close":
            close = true;
            break;
          default:
            for (const option of fields.value(i).split(",")) {
              const token = option.replace(/^[ \t]+|[ \t]+$/g, "")
                .toLowerCase();
              if (token === "close") close = true;
              else if (token === "keep-alive") keepAlive = true;
            }
        }
        break;
      case EXPECT:
        expectation = expectation === undefined
          ? fields.value(i)
          : `${expectation},${fields.value(i)}`;
        break;
    }
  }

  if (host === undefined && version >= 11) {
    throw new HttpError(400, "Host is missing");
  }
  let authority = host ?? "";
  if (targetForm === "absolute") {
    // RFC 9112 §3.2.2: the target's own authority counts, not Host.
    authority = text.substring(
      span.authorityStart - start,
      span.authorityEnd - start,
    );
    checkAuthority(authority);
    if (path === "") path = method === "OPTIONS" && query === "" ? "*" : "/";
  }
  if (transferEncoding !== undefined) {
    checkTransferEncoding(
      transferEncoding,
      version,
      contentLength !== undefined,
    );
  }
  let expectContinue = false;
  if (expectation !== undefined && version >= 11) {
    if (expectation.toLowerCase() !== "100-continue") {
      throw new HttpError(417, "Unknown expectation", expectation);
    }
    expectContinue = transferEncoding !== undefined || (contentLength ?? 0) > 0;
  }
  return new ParsedHead(
    text,
    lineSize,
    method,
    target,
    targetForm,
    path,
    query,
    authority,
    version,
    fields,
    contentLength,
    transferEncoding !== undefined,
    version >= 11 ? !close : keepAlive && !close,
    expectContinue,
  );
}

/** CONNECT has a form of target of its own (RFC 9112 §3.2.3), which is not read. */
function isConnect(buffer: Uint8Array, start: number, end: number): boolean {
  return end - start === 7 && buffer[start] === 0x43 &&
    decodeOctets(buffer, start, end) === "CONNECT";
}

/** The method as a string that all requests share, where it is a common one. */
function knownMethod(text: string, length: number): string {
  switch (length) {
    case 3:
      if (text.startsWith("GET")) return "GET";
      if (text.startsWith("PUT")) return "PUT";
      break;
    case 4:
      if (text.startsWith("POST")) return "POST";
      if (text.startsWith("HEAD")) return "HEAD";
      break;
  }
  return text.substring(0, length);
}

/** The request line at `start` as far as it has arrived, for the log of a
 * refusal; not escaped. */
export function firstLine(
  buffer: Uint8Array,
  start: number,
  end: number,
): string {
  let at = start;
  while (
    at < end && at - start < 256 && buffer[at] !== CR && buffer[at] !== LF
  ) at++;
  return decodeOctets(buffer, start, at);
}
