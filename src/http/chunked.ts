/**
 * The chunked transfer coding, decoded in place: RFC 9112 §7.1.
 * Pure: nothing here reads or writes.
 */
import { HttpError } from "../errors.ts";
import type { Limits } from "../limits.ts";
import {
  BACKSLASH,
  CR,
  DQUOTE,
  EQUALS,
  HEX,
  hexValue,
  HTAB,
  LF,
  octetClass,
  SEMICOLON,
  SP,
  TOKEN,
  VALUE,
} from "./bytes.ts";
import { badOctet, type FieldSection, parseFieldSection } from "./fields.ts";

// What the next octet belongs to. The names are those of the grammar.
const SIZE = 0;
const EXTENSION = 1; // ";" or the end of the line, or BWS
const NAME_START = 2; // BWS, then chunk-ext-name
const NAME = 3;
const AFTER_NAME = 4; // BWS, then "=", ";" or the end of the line
const VALUE_START = 5; // BWS, then chunk-ext-val
const TOKEN_VALUE = 6;
const QUOTED_VALUE = 7;
const QUOTED_PAIR = 8;
const SIZE_LF = 9;
const DATA = 10;
const DATA_CR = 11;
const DATA_LF = 12;
const TRAILER = 13;
const DONE = 14;
const EXTENSION_SPACE = 15; // more BWS, then ";"

/** Leading zeros are legal, and endless ones a way to hold a connection. */
const MOST_SIZE_DIGITS = 16;

/** Takes one content apart. After each {@linkcode advance}, `at` says how far it
 * has come, and `contentStart..contentEnd` where content lies. */
export class ChunkedDecoder {
  /** The octet after the last one that was taken. */
  at = 0;
  /** Content in the buffer, `contentStart..contentEnd`; none when equal. */
  contentStart = 0;
  contentEnd = 0;
  /** The trailer section, once `done`; undefined when it was empty. */
  trailers: FieldSection | undefined;

  readonly #limits: Limits;
  #state = SIZE;
  #size = 0;
  #digits = 0;
  #extensionOctets = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** True once the whole content and its trailer section have been taken. */
  get done(): boolean {
    return this.#state === DONE;
  }

  /** True while a trailer section is awaited, which is taken all at once. */
  get inTrailer(): boolean {
    return this.#state === TRAILER;
  }

  /** Takes octets from `buffer[start..end)` up to and with the next piece of
   * content, or up to the end of the whole. Where it yields neither, it needs
   * more octets than these. Throws `HttpError` 400, 413 or 431. */
  advance(buffer: Uint8Array, start: number, end: number): void {
    this.at = start;
    this.contentStart = this.contentEnd = start;
    while (this.at < end) {
      switch (this.#state) {
        case DATA: {
          const size = Math.min(this.#size, end - this.at);
          this.contentStart = this.at;
          this.contentEnd = this.at += size;
          this.#size -= size;
          if (this.#size === 0) this.#state = DATA_CR;
          return;
        }
        case DATA_CR:
          this.#expect(buffer, end, CR, DATA_LF);
          break;
        case DATA_LF:
          this.#expect(buffer, end, LF, SIZE);
          this.#size = 0;
          this.#digits = 0;
          break;
        case TRAILER:
          this.#takeTrailer(buffer, end);
          return;
        case DONE:
          return;
        default:
          this.#takeSizeLine(buffer, end);
      }
    }
  }

  #expect(buffer: Uint8Array, end: number, octet: number, next: number): void {
    if (buffer[this.at] !== octet) {
      throw badOctet(
        "Chunk does not end where its size says",
        buffer,
        this.at,
        end,
      );
    }
    this.at++;
    this.#state = next;
  }

  #takeTrailer(buffer: Uint8Array, end: number): void {
    const { at } = this;
    const section = parseFieldSection(buffer, at, end, this.#limits, at);
    if (section === undefined) return;
    for (let i = 0; i < section.length; i++) {
      const { lower } = section.name(i);
      // RFC 9110 §6.5.1: what frames or routes a message must not trail it.
      if (
        lower === "content-length" || lower === "transfer-encoding" ||
        lower === "host"
      ) {
        throw new HttpError(
          400,
          "Framing or routing field in a trailer",
          lower,
        );
      }
    }
    if (section.length > 0) this.trailers = section;
    this.at = at + section.size;
    this.#state = DONE;
  }

  /** chunk-size [ chunk-ext ] CRLF, octet by octet. */
  #takeSizeLine(buffer: Uint8Array, end: number): void {
    while (this.at < end) {
      const octet = buffer[this.at]!;
      if (this.#state === SIZE) {
        if ((octetClass[octet]! & HEX) !== 0) {
          if (++this.#digits > MOST_SIZE_DIGITS) throw this.#bad(buffer, end);
          this.#size = this.#size * 16 + hexValue(octet);
          if (this.#size > Number.MAX_SAFE_INTEGER) {
            throw new HttpError(413, "Chunk too large");
          }
          this.at++;
          continue;
        }
        if (this.#digits === 0) throw this.#bad(buffer, end);
        // From here on the octet is judged as the grammar's chunk-ext, which
        // may be empty: the end of the line.
        this.#state = EXTENSION;
      }
      if (octet === LF && this.#state === SIZE_LF) {
        this.at++;
        this.#state = this.#size === 0 ? TRAILER : DATA;
        return;
      }
      this.#state = this.#afterSize(octet, buffer, end);
      if (
        this.#state !== SIZE_LF &&
        ++this.#extensionOctets > this.#limits.chunkExtensions
      ) throw new HttpError(400, "Chunk extensions too long");
      this.at++;
    }
  }

  /** chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) */
  #afterSize(octet: number, buffer: Uint8Array, end: number): number {
    const state = this.#state;
    const isToken = (octetClass[octet]! & TOKEN) !== 0;
    const isSpace = octet === SP || octet === HTAB;
    switch (state) {
      case EXTENSION:
        if (octet === CR) return SIZE_LF;
        if (octet === SEMICOLON) return NAME_START;
        if (isSpace) return EXTENSION_SPACE;
        break;
      case EXTENSION_SPACE:
        // The grammar has BWS before ";" alone: space at the end of the line
        // is refused, because it is read in more than one way.
        if (isSpace) return EXTENSION_SPACE;
        if (octet === SEMICOLON) return NAME_START;
        break;
      case NAME_START:
        if (isSpace) return NAME_START;
        if (isToken) return NAME;
        break;
      case NAME:
      case AFTER_NAME:
        if (isToken && state === NAME) return NAME;
        if (isSpace) return AFTER_NAME;
        if (octet === EQUALS) return VALUE_START;
        if (octet === SEMICOLON) return NAME_START;
        if (octet === CR && state === NAME) return SIZE_LF;
        break;
      case VALUE_START:
        if (isSpace) return VALUE_START;
        if (octet === DQUOTE) return QUOTED_VALUE;
        if (isToken) return TOKEN_VALUE;
        break;
      case TOKEN_VALUE:
        if (isToken) return TOKEN_VALUE;
        if (isSpace) return EXTENSION_SPACE;
        if (octet === SEMICOLON) return NAME_START;
        if (octet === CR) return SIZE_LF;
        break;
      case QUOTED_VALUE:
        if (octet === DQUOTE) return EXTENSION;
        if (octet === BACKSLASH) return QUOTED_PAIR;
        if ((octetClass[octet]! & VALUE) !== 0) return QUOTED_VALUE;
        break;
      case QUOTED_PAIR:
        if ((octetClass[octet]! & VALUE) !== 0) return QUOTED_VALUE;
        break;
    }
    throw this.#bad(buffer, end);
  }

  #bad(buffer: Uint8Array, end: number): HttpError {
    return badOctet("Malformed chunk size or extension", buffer, this.at, end);
  }
}
