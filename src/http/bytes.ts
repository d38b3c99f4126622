/**
 * Octets and their classes (RFC 9110 §5.6.2, RFC 3986), and the one way
 * between octets and strings: each octet is one character, U+0000 to U+00FF.
 * Pure: nothing here reads or writes.
 */

export const HTAB = 0x09;
export const LF = 0x0a;
export const CR = 0x0d;
export const SP = 0x20;
export const PERCENT = 0x25;
export const ASTERISK = 0x2a;
export const SLASH = 0x2f;
export const COLON = 0x3a;
export const SEMICOLON = 0x3b;
export const EQUALS = 0x3d;
export const QUESTION = 0x3f;
export const DQUOTE = 0x22;
export const BACKSLASH = 0x5c;

/** Classes of an octet in {@linkcode octetClass}; an octet may be in several. */
export const TOKEN = 1;
/** May stand in a field value: HTAB, SP, VCHAR, obs-text (RFC 9110 §5.5). */
export const VALUE = 2;
/** May stand in a path as it is, beside `%`. */
export const PATH = 4;
/** May stand in a query as it is. */
export const QUERY = 8;
/** 0-9, A-F, a-f. */
export const HEX = 16;

const ALPHANUMERIC =
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/** RFC 3986: unreserved, sub-delims, ":", "@" and "/". */
const PCHAR_OR_SLASH = ALPHANUMERIC + "-._~!$&'()*+,;=:@/";

function classify(): Uint8Array {
  const classes = new Uint8Array(256);
  const mark = (octets: string, bit: number) => {
    for (let i = 0; i < octets.length; i++) {
      classes[octets.charCodeAt(i)]! |= bit;
    }
  };
  mark(ALPHANUMERIC + "!#$%&'*+-.^_`|~", TOKEN);
  mark("0123456789ABCDEFabcdef", HEX);
  // What a browser leaves as it is in a path or a query (the URL standard's
  // percent-encode sets) goes beyond RFC 3986, so those few are let in. None
  // of them delimits anything in a request line.
  mark(PCHAR_OR_SLASH + "[]|", PATH);
  mark(PCHAR_OR_SLASH + "?%[]\\^`{|}", QUERY);
  classes[HTAB]! |= VALUE;
  for (let octet = 0x20; octet < 256; octet++) {
    if (octet !== 0x7f) classes[octet]! |= VALUE;
  }
  return classes;
}

/** The classes of each octet, as bits. */
export const octetClass: Uint8Array = classify();

/** Each octet with A-Z as a-z. */
export const lowerCase: Uint8Array = Uint8Array.from(
  { length: 256 },
  (_, octet) => octet >= 0x41 && octet <= 0x5a ? octet + 0x20 : octet,
);

/** The value of a hexadecimal digit; anything else is `NaN`-free garbage, so
 * check the class first. */
export function hexValue(octet: number): number {
  return octet <= 0x39 ? octet - 0x30 : (octet | 0x20) - 0x57;
}

const asciiEncoder = new TextEncoder();

/** What a `Buffer` does in one native call. */
interface NativeOctets {
  latin1Slice?(this: Uint8Array, start: number, end: number): string;
  compare?(
    this: Uint8Array,
    target: Uint8Array,
    targetStart: number,
    targetEnd: number,
    start: number,
    end: number,
  ): number;
}

let { latin1Slice, compare }: NativeOctets = {};

/** All three runtimes have `Buffer` as a global, and it is nowhere required. Deno
 * takes milliseconds to make it when it is first touched: the first few texts
 * of a process are decoded without. */
let untilNative = 16;

function goNative(): void {
  const { Buffer } = globalThis as { Buffer?: { prototype: NativeOctets } };
  if (Buffer !== undefined) ({ latin1Slice, compare } = Buffer.prototype);
}

/** Octets as characters. (`TextDecoder("latin1")` is windows-1252, and so is
 * wrong for 0x80-0x9f.) */
export function decodeOctets(
  buffer: Uint8Array,
  start: number,
  end: number,
): string {
  if (latin1Slice !== undefined) return latin1Slice.call(buffer, start, end);
  if (untilNative-- === 0) goNative();
  return decodeSlowly(buffer, start, end);
}

/** For where there is no `Buffer`, or none yet. */
export function decodeSlowly(
  buffer: Uint8Array,
  start: number,
  end: number,
): string {
  let text = "";
  for (let from = start; from < end; from += 4096) {
    text += String.fromCharCode.apply(
      null,
      buffer.subarray(from, Math.min(end, from + 4096)) as unknown as number[],
    );
  }
  return text;
}

/** Whether `octets` are what is at `buffer[at]`, where there is room for them. */
export function sameOctets(
  buffer: Uint8Array,
  at: number,
  octets: Uint8Array,
): boolean {
  const { length } = octets;
  if (length > 32 && compare !== undefined) {
    return compare.call(buffer, octets, 0, length, at, at + length) === 0;
  }
  for (let i = 0; i < length; i++) {
    if (buffer[at + i] !== octets[i]) return false;
  }
  return true;
}

/** Writes one octet a character at `target[at]`, and returns where the text
 * ends. The caller has made room for `text.length` octets and has refused
 * characters above U+00FF. */
export function encodeOctets(
  text: string,
  target: Uint8Array,
  at: number,
): number {
  const { length } = text;
  if (length > 24) {
    // One native call beats a loop from about two dozen characters on. Beyond
    // ASCII it would write UTF-8, which shows as fewer characters read or more
    // octets written; the loop below then writes over it.
    const { read, written } = asciiEncoder.encodeInto(
      text,
      target.subarray(at, at + length),
    );
    if (read === length && written === length) return at + length;
  }
  for (let i = 0; i < length; i++) target[at++] = text.charCodeAt(i);
  return at;
}
