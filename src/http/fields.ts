/**
 * The field section: RFC 9112 §5, read in place. Field names are interned, so
 * that a name costs its spelling once and not once a request; values stay
 * offsets into one decoded text until someone asks for them.
 * Pure: nothing here reads or writes.
 */
import { HttpError } from "../errors.ts";
import type { FieldName, Fields } from "../exchange.ts";
import type { Limits } from "../limits.ts";
import {
  COLON,
  CR,
  decodeOctets,
  encodeOctets,
  HTAB,
  LF,
  lowerCase,
  octetClass,
  sameOctets,
  SP,
  TOKEN,
  VALUE,
} from "./bytes.ts";

/** What the gateway itself must know a field by. */
export const OTHER = 0;
export const HOST = 1;
export const CONTENT_LENGTH = 2;
export const TRANSFER_ENCODING = 3;
export const CONNECTION = 4;
export const EXPECT = 5;

const roles: Readonly<Record<string, number>> = {
  "host": HOST,
  "content-length": CONTENT_LENGTH,
  "transfer-encoding": TRANSFER_ENCODING,
  "connection": CONNECTION,
  "expect": EXPECT,
};

/** A {@linkcode FieldName} with what finds it again. */
class InternedName implements FieldName {
  readonly lower: string;
  readonly meta: string | undefined;
  readonly role: number;
  readonly hash: number;
  /** The first of the two places in the cache where it may be. */
  readonly slot: number;
  readonly octets: Uint8Array;
  /** The section that it was met in last; 0 when it is new. */
  metIn = 0;

  constructor(octets: Uint8Array, hash: number, slot: number) {
    this.octets = octets;
    this.hash = hash;
    this.slot = slot;
    this.lower = decodeOctets(octets, 0, octets.length);
    this.meta = metaVariable(this.lower);
    this.role = Object.hasOwn(roles, this.lower) ? roles[this.lower]! : OTHER;
  }

  spells(buffer: Uint8Array, start: number, end: number): boolean {
    const { octets } = this;
    if (end - start !== octets.length) return false;
    for (let i = 0; start < end; i++, start++) {
      if (octets[i] !== lowerCase[buffer[start]!]) return false;
    }
    return true;
  }

  /** Whether this name and a colon begin at `at`. */
  standsAt(buffer: Uint8Array, at: number, end: number): boolean {
    const nameEnd = at + this.octets.length;
    return nameEnd < end && buffer[nameEnd] === COLON &&
      this.spells(buffer, at, nameEnd);
  }

  /** Whether the cache still has it, so that the name has no other object. */
  get kept(): boolean {
    return cache[this.slot] === this || cache[this.slot + 1] === this;
  }
}

/** RFC 3875 §4.1.18. `foo_bar` and `foo-bar` would be one variable, as `foo.bar`
 * is to PHP, and a `Proxy` field would become HTTP_PROXY, which programs trust:
 * all but letters, digits and hyphens is left out of every environ. */
export function metaVariable(lower: string): string | undefined {
  if (!/^[0-9a-z-]+$/.test(lower) || lower === "proxy") return undefined;
  const upper = lower.toUpperCase().replaceAll("-", "_");
  return upper === "CONTENT_TYPE" || upper === "CONTENT_LENGTH"
    ? upper
    : `HTTP_${upper}`;
}

// A cache of two slots to a hash: a stranger who sends made-up names can slow
// others down a little, but can neither fill memory nor be taken for another
// name.
const CACHE_SLOTS = 1024;
const LONGEST_INTERNED = 64;
const cache: (InternedName | undefined)[] = new Array(CACHE_SLOTS).fill(
  undefined,
);

function intern(
  buffer: Uint8Array,
  start: number,
  end: number,
  hash: number,
): InternedName {
  const slot = (hash ^ (hash >>> 15)) & (CACHE_SLOTS - 2);
  const recent = cache[slot];
  if (
    recent !== undefined && recent.hash === hash &&
    recent.spells(buffer, start, end)
  ) return recent;
  const older = cache[slot + 1];
  if (
    older !== undefined && older.hash === hash &&
    older.spells(buffer, start, end)
  ) return older;
  const octets = new Uint8Array(end - start);
  for (let i = 0; i < octets.length; i++) {
    octets[i] = lowerCase[buffer[start + i]!]!;
  }
  const name = new InternedName(octets, hash, slot);
  if (octets.length <= LONGEST_INTERNED) {
    cache[slot + 1] = recent;
    cache[slot] = name;
  }
  return name;
}

// Clients send the same fields in the same order, so the name that was in a line
// last time is tried first: comparing costs a third of hashing and finding.
const USUAL_LINES = 32;
const usualNames: (InternedName | undefined)[] = new Array(USUAL_LINES).fill(
  undefined,
);

/** Counts sections, to tell a name met twice in one from one met again. Starting
 * over is harmless: it makes a name look met. */
let sections = 0;

/** A parsed field section. Immutable. */
export class FieldSection implements Fields {
  readonly #names: InternedName[];
  readonly #spans: number[];
  /** The octets from `textStart` on (see {@linkcode parseFieldSection}), decoded,
   * but for the empty line at the end. */
  readonly text: string;
  /** How many of them stand before the section. */
  readonly #lead: number;
  readonly mayRepeat: boolean;
  recurs = false;
  /** The section again, once there was something to compare it with. */
  #octets: Uint8Array | undefined;

  constructor(
    names: InternedName[],
    spans: number[],
    mayRepeat: boolean,
    text: string,
    lead: number,
  ) {
    this.mayRepeat = mayRepeat;
    this.#names = names;
    this.#spans = spans;
    this.text = text;
    this.#lead = lead;
  }

  /** How many octets the section has, the empty line at its end included. */
  get size(): number {
    return this.text.length - this.#lead + 2;
  }

  /** Whether the same section may be at `at`, as far as a glance can tell. */
  mayStandAt(buffer: Uint8Array, at: number, end: number): boolean {
    const { text, size } = this;
    const last = at + size - 1;
    if (last >= end || buffer[last - 2] !== LF) return false;
    const stride = (size >> 4) + 1;
    for (let i = 0; i < size - 2; i += stride) {
      if (buffer[at + i] !== text.charCodeAt(this.#lead + i)) return false;
    }
    return true;
  }

  /** Whether the same octets are at `at`, where {@linkcode mayStandAt} was true:
   * to read them would give this section again. */
  standsAt(buffer: Uint8Array, at: number): boolean {
    if (this.#octets === undefined) {
      this.#octets = new Uint8Array(this.size);
      encodeOctets(this.text.substring(this.#lead) + "\r\n", this.#octets, 0);
    }
    if (!sameOctets(buffer, at, this.#octets)) return false;
    return this.recurs = true;
  }

  get length(): number {
    return this.#names.length;
  }

  name(index: number): FieldName {
    return this.#names[index]!;
  }

  /** What the gateway knows line `index` by; OTHER for most. */
  role(index: number): number {
    return this.#names[index]!.role;
  }

  value(index: number): string {
    return this.text.substring(
      this.#spans[2 * index]!,
      this.#spans[2 * index + 1]!,
    );
  }

  get(lower: string): string | undefined {
    let joined: string | undefined;
    for (let i = 0; i < this.#names.length; i++) {
      if (this.#names[i]!.lower !== lower) continue;
      const value = this.value(i);
      if (joined === undefined) joined = value;
      else joined += (lower === "cookie" ? "; " : ", ") + value;
    }
    return joined;
  }
}

/** Reads `*( field-line CRLF ) CRLF` from `buffer[start..end)`; undefined while
 * the end of the section has not arrived. The section's text is decoded from
 * `textStart` on, so that a head is decoded in one go. The buffer may be reused
 * once this has returned. Throws `HttpError` 400 or 431. */
export function parseFieldSection(
  buffer: Uint8Array,
  start: number,
  end: number,
  limits: Limits,
  textStart: number,
): FieldSection | undefined {
  const section = sections = (sections & 0x3fffffff) + 1;
  let mayRepeat = false;
  const names: InternedName[] = [];
  const spans: number[] = [];
  const bound4 = end - 3;
  let at = start;
  for (;;) {
    const lineStart = at;
    if (at >= end) return pending(start, lineStart, end, limits);
    if (buffer[at] === CR) {
      if (at + 1 >= end) return undefined;
      if (buffer[at + 1] !== LF) {
        throw badOctet("CR without LF", buffer, at, end);
      }
      const text = decodeOctets(buffer, textStart, at);
      return new FieldSection(names, spans, mayRepeat, text, start - textStart);
    }

    // field-name (RFC 9110 §5.1)
    const line = names.length % USUAL_LINES;
    let name = usualNames[line];
    if (name !== undefined && name.standsAt(buffer, at, end) && name.kept) {
      at += name.octets.length;
    } else {
      let hash = 0;
      let octet = 0;
      while (at < end) {
        octet = buffer[at]!;
        if ((octetClass[octet]! & TOKEN) === 0) break;
        hash = (hash * 31 + lowerCase[octet]!) | 0;
        at++;
      }
      if (at >= end) return pending(start, lineStart, end, limits);
      if (octet !== COLON || at === lineStart) {
        checkReach(start, lineStart, at, limits);
        throw badName(buffer, lineStart, at, end);
      }
      name = usualNames[line] = intern(buffer, lineStart, at, hash);
    }

    // OWS field-value OWS (RFC 9112 §5)
    at++;
    while (at < end && (buffer[at] === SP || buffer[at] === HTAB)) at++;
    const valueStart = at;
    while (
      at < bound4 &&
      (octetClass[buffer[at]!]! & octetClass[buffer[at + 1]!]! &
          octetClass[buffer[at + 2]!]! & octetClass[buffer[at + 3]!]! &
          VALUE) !== 0
    ) at += 4;
    while (at < end && (octetClass[buffer[at]!]! & VALUE) !== 0) at++;
    if (at - lineStart > limits.fieldLine) throw lineTooLong();
    if (at >= end) return pending(start, lineStart, end, limits);
    if (buffer[at] !== CR) {
      checkReach(start, lineStart, at, limits);
      throw badValue(buffer, at, end);
    }
    if (at + 1 >= end) return pending(start, lineStart, end, limits);
    if (buffer[at + 1] !== LF) {
      checkReach(start, lineStart, at + 1, limits);
      throw badOctet("CR without LF", buffer, at, end);
    }
    let valueEnd = at;
    while (
      valueEnd > valueStart &&
      (buffer[valueEnd - 1] === SP || buffer[valueEnd - 1] === HTAB)
    ) valueEnd--;
    at += 2;

    if (names.length === limits.fieldCount) {
      throw new HttpError(431, "Too many field lines");
    }
    if (at - start > limits.fieldSection) throw sectionTooLong();
    // A name that was not kept since is new each time, so it may repeat.
    if (name.metIn === section || name.metIn === 0) mayRepeat = true;
    name.metIn = section;
    names.push(name);
    spans.push(valueStart - textStart, valueEnd - textStart);
  }
}

/** The section is not whole yet; it must not grow for ever. */
function pending(
  start: number,
  lineStart: number,
  end: number,
  limits: Limits,
): undefined {
  if (end - lineStart > limits.fieldLine + 1) throw lineTooLong();
  if (end - start > limits.fieldSection) throw sectionTooLong();
  return undefined;
}

/** What is malformed beyond a limit is too long: the same octets, arriving in
 * pieces, would have been refused as that before the fault was there. */
function checkReach(
  start: number,
  lineStart: number,
  at: number,
  limits: Limits,
): void {
  if (at - lineStart > limits.fieldLine) throw lineTooLong();
  if (at - start > limits.fieldSection) throw sectionTooLong();
}

function lineTooLong(): HttpError {
  return new HttpError(431, "Field line too long");
}

function sectionTooLong(): HttpError {
  return new HttpError(431, "Header section too large");
}

function badName(
  buffer: Uint8Array,
  lineStart: number,
  at: number,
  end: number,
): HttpError {
  const octet = buffer[at];
  if (at === lineStart) {
    if (octet === SP || octet === HTAB) {
      return badOctet("Folded field line", buffer, lineStart, end);
    }
    if (octet === COLON) {
      return badOctet("Empty field name", buffer, lineStart, end);
    }
  }
  if (octet === SP || octet === HTAB) {
    return badOctet(
      "White space in or after a field name",
      buffer,
      lineStart,
      end,
    );
  }
  if (octet === CR || octet === LF) {
    return badOctet("Field line without a colon", buffer, lineStart, end);
  }
  return badOctet("Forbidden octet in a field name", buffer, lineStart, end);
}

function badValue(buffer: Uint8Array, at: number, end: number): HttpError {
  return buffer[at] === LF
    ? badOctet("LF without CR", buffer, at, end)
    : badOctet("Forbidden octet in a field value", buffer, at, end);
}

/** A 400 that shows the log, and the log alone, the octets around the fault. */
export function badOctet(
  message: string,
  buffer: Uint8Array,
  at: number,
  end: number,
): HttpError {
  const to = Math.min(end, at + 48);
  return new HttpError(400, message, decodeOctets(buffer, at, to));
}
