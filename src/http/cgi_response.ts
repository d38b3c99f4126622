/**
 * The head of what a CGI program or a FastCGI responder answers: RFC 3875 §6.
 * Programs give the same heads again and again, so what was read once is kept.
 * Pure: nothing here reads or writes.
 *
 * Lines end in LF or CRLF (§6.2). Where a `Location` stands alone and is a path
 * of ours, it is a redirect that the client does not see (§6.2.2); beside any
 * other field it goes to the client, for a local redirect would lose that
 * field. A path that begins with "//" names another host (RFC 3986 §4.2).
 */
import { BackendError } from "../errors.ts";
import type { ResponseFields } from "../exchange.ts";
import {
  CR,
  decodeOctets,
  LF,
  octetClass,
  PATH,
  PERCENT,
  QUERY,
  QUESTION,
} from "./bytes.ts";

/** What a program says of its response. Immutable, and shared by equal ones. */
export interface CgiResponseHead {
  /** 200 to 999. */
  readonly status: number;
  /** The reason phrase; "" when the program gave none. */
  readonly reason: string;
  /** What goes on to the client, in order; no two lines are joined. `Status`
   * and the fields of a connection (RFC 9110 §7.6.1) are not among them. */
  readonly fields: ResponseFields;
  /** Content-Length, which stands among the fields too. */
  readonly contentLength: number | undefined;
  /** The path and query of a local redirect; there is no content then, and the
   * response is that of a GET for it (§6.2.2). */
  readonly localRedirect: string | undefined;
}

/** The most octets that a head may have. */
const LONGEST_HEAD = 65_536;

/** Reads one head, however it is cut into pieces. */
export class CgiResponseParser {
  /** Once the head is there: where the content begins in the piece that
   * `push()` was given last. */
  contentStart = 0;

  /** The octets of earlier pieces. */
  #held: Uint8Array | undefined;
  #heldSize = 0;
  #hash = 0;
  /** How many octets of the line that is open are known; a CR counts only
   * before an LF. */
  #lineSize = 0;
  #lastOctet = 0;

  /** Takes the next piece, `bytes[start..end)`; the head once it is whole, and
   * undefined until then. The bytes are the caller's again when this returns.
   * Throws `BackendError` 502. */
  push(
    bytes: Uint8Array,
    start: number = 0,
    end: number = bytes.length,
  ): CgiResponseHead | undefined {
    const headEnd = this.#findEnd(bytes, start, end);
    const size = this.#heldSize + (headEnd < 0 ? end : headEnd) - start;
    if (size > LONGEST_HEAD) {
      throw new BackendError(502, "The response head is too large");
    }
    if (headEnd < 0) {
      this.#hold(bytes, start, end);
      return undefined;
    }
    this.contentStart = headEnd;
    if (this.#held === undefined) {
      return readHead(bytes, start, headEnd, this.#hash);
    }
    this.#hold(bytes, start, headEnd);
    return readHead(this.#held, 0, this.#heldSize, this.#hash);
  }

  /** Where the octet after the empty line is; -1 when that has not come. */
  #findEnd(bytes: Uint8Array, start: number, end: number): number {
    let hash = this.#hash;
    let lineSize = this.#lineSize;
    let last = this.#lastOctet;
    for (let at = start; at < end; at++) {
      const octet = bytes[at]!;
      hash = (Math.imul(hash, 31) + octet) | 0;
      if (octet !== LF) lineSize++;
      else if (lineSize === 0 || (lineSize === 1 && last === CR)) {
        this.#hash = hash;
        return at + 1;
      } else lineSize = 0;
      last = octet;
    }
    this.#hash = hash;
    this.#lineSize = lineSize;
    this.#lastOctet = last;
    return -1;
  }

  #hold(bytes: Uint8Array, start: number, end: number): void {
    const size = this.#heldSize + end - start;
    if (this.#held === undefined || this.#held.length < size) {
      const larger = new Uint8Array(Math.max(1024, 2 * size));
      if (this.#held !== undefined) {
        larger.set(this.#held.subarray(0, this.#heldSize));
      }
      this.#held = larger;
    }
    this.#held.set(bytes.subarray(start, end), this.#heldSize);
    this.#heldSize = size;
  }
}

interface KnownHead {
  readonly octets: Uint8Array;
  readonly head: CgiResponseHead;
}

const CACHE_SLOTS = 64;
const LONGEST_CACHED = 1024;
const cache: (KnownHead | undefined)[] = new Array(CACHE_SLOTS).fill(undefined);

function readHead(
  bytes: Uint8Array,
  start: number,
  end: number,
  hash: number,
): CgiResponseHead {
  const slot = (hash ^ (hash >>> 15)) & (CACHE_SLOTS - 1);
  const known = cache[slot];
  if (known !== undefined && isSame(known.octets, bytes, start, end)) {
    return known.head;
  }
  const head = parse(decodeOctets(bytes, start, end));
  if (end - start <= LONGEST_CACHED) {
    cache[slot] = { octets: bytes.slice(start, end), head };
  }
  return head;
}

function isSame(
  octets: Uint8Array,
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean {
  if (octets.length !== end - start) return false;
  for (let i = 0; start < end; i++, start++) {
    if (octets[i] !== bytes[start]) return false;
  }
  return true;
}

/** Reads the lines of a whole head, its empty line included. */
function parse(text: string): CgiResponseHead {
  const fields: [name: string, value: string][] = [];
  let status: string | undefined;
  let location: string | undefined;
  let contentType: string | undefined;
  let contentLength: string | undefined;
  let others = false;
  for (const line of linesOf(text)) {
    const [name, value] = readField(line);
    switch (name.toLowerCase()) {
      case "status":
        status = once(name, status, value);
        continue;
      case "location":
        location = once(name, location, value);
        break;
      case "content-type":
        contentType = once(name, contentType, value);
        break;
      case "content-length":
        contentLength = once(name, contentLength, value);
        break;
      case "connection":
      case "keep-alive":
      case "proxy-connection":
      case "transfer-encoding":
      case "upgrade":
      case "te":
      case "trailer":
        // Of the connection to the client, which the program knows nothing of.
        continue;
      default:
        others = true;
    }
    fields.push([name, value]);
  }
  if (
    status === undefined && location === undefined && contentType === undefined
  ) {
    throw new BackendError(
      502,
      "The response head has none of Status, Location and Content-Type",
    );
  }
  const length = contentLength === undefined
    ? undefined
    : readLength(contentLength);
  const alone = status === undefined && contentType === undefined &&
    contentLength === undefined && !others;
  if (alone && location !== undefined && isLocal(location)) {
    checkLocal(location);
    return {
      status: 200,
      reason: "",
      fields: [],
      contentLength: undefined,
      localRedirect: location,
    };
  }
  return {
    ...readStatus(status ?? (location === undefined ? "200" : "302")),
    fields,
    contentLength: length,
    localRedirect: undefined,
  };
}

function linesOf(text: string): string[] {
  const lines = text.split("\n").map((line) =>
    line.endsWith("\r") ? line.slice(0, -1) : line
  );
  // What follows the last LF, and the empty line before it.
  return lines.slice(0, -2);
}

function readField(line: string): readonly [name: string, value: string] {
  const field = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)$/
    .exec(line);
  if (field === null) {
    throw new BackendError(502, "The response head is malformed", line);
  }
  return [field[1]!, field[2]!.replace(/^[\t ]+|[\t ]+$/g, "")];
}

function once(
  name: string,
  earlier: string | undefined,
  value: string,
): string {
  if (earlier === undefined) return value;
  throw new BackendError(502, "A field of the response head is doubled", name);
}

/** §6.3.3; a status without a reason phrase is common. */
function readStatus(value: string): { status: number; reason: string } {
  const parts = /^([2-9][0-9]{2})(?: (.*))?$/.exec(value);
  if (parts === null) {
    throw new BackendError(502, "The Status is no final status code", value);
  }
  return { status: Number(parts[1]), reason: (parts[2] ?? "").trim() };
}

function readLength(value: string): number {
  if (!/^[0-9]{1,15}$/.test(value)) {
    throw new BackendError(502, "The Content-Length is malformed", value);
  }
  return Number(value);
}

function isLocal(location: string): boolean {
  return location.startsWith("/") && !location.startsWith("//");
}

/** A local path must be one that a request could have named. */
function checkLocal(location: string): void {
  let allowed = PATH;
  let wellFormed = !/^[^?]*%(?![0-9A-Fa-f]{2})/.test(location);
  for (let at = 0; at < location.length; at++) {
    const octet = location.charCodeAt(at);
    if (octet === QUESTION) allowed = QUERY;
    else if (octet !== PERCENT && (octetClass[octet]! & allowed) === 0) {
      wellFormed = false;
    }
  }
  if (!wellFormed) {
    throw new BackendError(502, "The Location is no path", location);
  }
}
