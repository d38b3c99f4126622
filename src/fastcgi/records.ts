/**
 * FastCGI 1.0 records, as the side of the web server reads and writes them.
 * A connection carries one request at a time, whose id is 1.
 * Pure: nothing here reads or writes.
 */
import { BackendError } from "../errors.ts";
import { encodeOctets } from "../http/bytes.ts";

// Types (FastCGI 1.0 §8).
const BEGIN_REQUEST = 1;
const ABORT_REQUEST = 2;
const END_REQUEST = 3;
const PARAMS = 4;
const STDIN = 5;
const STDOUT = 6;
const STDERR = 7;
const UNKNOWN_TYPE = 11;

const VERSION = 1;
const REQUEST_ID = 1;
const HEADER_SIZE = 8;
const LONGEST_CONTENT = 65_535;
/** Content that we cut into records is cut here, a multiple of eight. */
const CONTENT_SIZE = 65_528;

// ---- Reading ----

/** What {@linkcode RecordReader.next} finds. */
export const NOTHING = 0;
/** A piece of the response. */
export const OUTPUT = 1;
/** A piece for the log. */
export const ERRORS = 2;
/** The request has ended. */
export const ENDED = 3;
/** The peer does not know a type of record that we sent. */
export const UNKNOWN = 4;

/** `protocolStatus` of an END_REQUEST. */
export const REQUEST_COMPLETE = 0;
export const OVERLOADED = 2;

/** Reads records where they lie, however they are cut into chunks. */
export class RecordReader {
  /** The piece that `next()` found is `chunk[start..end)`. */
  chunk: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;
  /** Of the last END_REQUEST. */
  protocolStatus = 0;
  /** Of the last END_REQUEST: as of `exit()`. */
  appStatus = 0;

  #at = 0;
  #type = 0;
  /** What the record at hand has still to come. */
  #content = 0;
  #padding = 0;
  /** A header, or the body of a small record, that comes in pieces. */
  readonly #small = new Uint8Array(HEADER_SIZE);
  #smallSize = 0;

  /** Takes the next chunk, once `next()` has found nothing in the last. It is
   * lent until then. */
  feed(chunk: Uint8Array): void {
    this.chunk = chunk;
    this.#at = 0;
  }

  /** What comes next in the chunk; NOTHING at its end. Pieces come as they
   * arrive, so a record may be several. Throws `BackendError` 502, after which
   * the connection is of no use. */
  next(): number {
    for (;;) {
      if (this.#content > 0) {
        const size = Math.min(this.#content, this.chunk.length - this.#at);
        if (size === 0) return NOTHING;
        this.start = this.#at;
        this.end = this.#at += size;
        this.#content -= size;
        if (this.#type === STDOUT) return OUTPUT;
        if (this.#type === STDERR) return ERRORS;
        if (this.#bodyIsWhole()) return this.#readBody();
      }
      if (this.#padding > 0) {
        const size = Math.min(this.#padding, this.chunk.length - this.#at);
        this.#at += size;
        this.#padding -= size;
      }
      if (this.#at === this.chunk.length || !this.#readHeader()) return NOTHING;
    }
  }

  /** How many octets of output follow the piece at hand, where all of them and
   * the end of the request lie in this chunk; -1 otherwise. */
  outputAhead(): number {
    const { chunk } = this;
    let output = this.#type === STDOUT ? this.#content : 0;
    let at = this.#at + this.#content + this.#padding;
    while (at + HEADER_SIZE <= chunk.length) {
      const type = chunk[at + 1];
      const size = (chunk[at + 4]! << 8) | chunk[at + 5]!;
      const end = at + HEADER_SIZE + size;
      if (type === END_REQUEST) return end <= chunk.length ? output : -1;
      if (type === STDOUT) output += size;
      at = end + chunk[at + 6]!;
    }
    return -1;
  }

  /** Reads a header; false while it is not whole. */
  #readHeader(): boolean {
    const { chunk } = this;
    if (this.#smallSize === 0 && chunk.length - this.#at >= HEADER_SIZE) {
      this.#openRecord(chunk, this.#at);
      this.#at += HEADER_SIZE;
      return true;
    }
    while (this.#smallSize < HEADER_SIZE) {
      if (this.#at === chunk.length) return false;
      this.#small[this.#smallSize++] = chunk[this.#at++]!;
    }
    this.#smallSize = 0;
    this.#openRecord(this.#small, 0);
    return true;
  }

  #openRecord(header: Uint8Array, at: number): void {
    if (header[at] !== VERSION) throw malformed(`version ${header[at]}`);
    const type = header[at + 1]!;
    const id = (header[at + 2]! << 8) | header[at + 3]!;
    const size = (header[at + 4]! << 8) | header[at + 5]!;
    // Records of the application at large have the id 0 (§3.3).
    const expectedId = type === UNKNOWN_TYPE ? 0 : REQUEST_ID;
    if (
      type !== STDOUT && type !== STDERR && type !== END_REQUEST &&
      type !== UNKNOWN_TYPE
    ) throw malformed(`type ${type}`);
    if (id !== expectedId) throw malformed(`type ${type} with id ${id}`);
    if ((type === END_REQUEST || type === UNKNOWN_TYPE) && size !== 8) {
      throw malformed(`type ${type} with ${size} octets`);
    }
    this.#type = type;
    this.#content = size;
    this.#padding = header[at + 6]!;
  }

  /** Gathers the eight octets that END_REQUEST and UNKNOWN_TYPE hold. */
  #bodyIsWhole(): boolean {
    for (let at = this.start; at < this.end; at++) {
      this.#small[this.#smallSize++] = this.chunk[at]!;
    }
    return this.#smallSize === HEADER_SIZE;
  }

  #readBody(): number {
    const body = this.#small;
    this.#smallSize = 0;
    if (this.#type === UNKNOWN_TYPE) return UNKNOWN;
    this.appStatus = (body[0]! << 24) | (body[1]! << 16) | (body[2]! << 8) |
      body[3]!;
    this.protocolStatus = body[4]!;
    return ENDED;
  }
}

function malformed(detail: string): BackendError {
  return new BackendError(502, "The FastCGI record is malformed", detail);
}

// ---- Writing ----

/** Memory that has grown beyond this is not kept for the next request. */
const LARGEST_KEPT = 262_144;
const FIRST_SIZE = 16_384;
/** Where the flags of BEGIN_REQUEST are. */
const FLAGS = 10;
const KEEP_CONNECTION = 1;

/** Composes the records of requests, one after the other, in memory that is
 * used again: what {@linkcode octets} gives is lent until `begin()`, `clear()`
 * or `detach()`. */
export class RecordWriter {
  /** How many octets there are. */
  size = 0;

  #memory = new Uint8Array(FIRST_SIZE);
  /** Where the content of the open PARAMS record begins. */
  #params = 0;

  /** What was composed. */
  get octets(): Uint8Array {
    return this.#memory.subarray(0, this.size);
  }

  /** Begins with nothing. */
  clear(): void {
    this.size = 0;
    if (this.#memory.length > LARGEST_KEPT) this.detach();
  }

  /** Leaves the memory to whoever has it, for a write that is under way. */
  detach(): void {
    this.#memory = new Uint8Array(FIRST_SIZE);
    this.size = 0;
  }

  /** Begins a request for a responder, whose parameters come next. */
  begin(): void {
    this.clear();
    this.#putHeader(BEGIN_REQUEST, 8);
    const at = this.size;
    this.#memory.fill(0, at, at + 8);
    this.#memory[at + 1] = 1; // FCGI_RESPONDER
    this.size = this.#params = at + 8 + HEADER_SIZE;
  }

  /** Adds a parameter. Each character of both is one octet. */
  readonly put = (name: string, value: string): void => {
    this.#reserve(8 + name.length + value.length);
    const memory = this.#memory;
    let at = putLength(memory, this.size, name.length);
    at = putLength(memory, at, value.length);
    at = encodeOctets(name, memory, at);
    this.size = encodeOctets(value, memory, at);
  };

  /** Ends the parameters. */
  endParams(): void {
    const size = this.size - this.#params;
    if (size > LONGEST_CONTENT) this.#splitParams();
    else {
      this.size = this.#params - HEADER_SIZE;
      if (size > 0) {
        this.#putHeader(PARAMS, size);
        this.size += size;
      }
    }
    this.#putHeader(PARAMS, 0);
  }

  /** Adds content of the request. */
  putContent(content: Uint8Array): void {
    this.#putStream(STDIN, content);
  }

  /** Ends the content of the request. */
  endContent(): void {
    this.#putHeader(STDIN, 0);
  }

  #splitParams(): void {
    const params = this.#memory.slice(this.#params, this.size);
    this.size = this.#params - HEADER_SIZE;
    this.#putStream(PARAMS, params);
  }

  #putStream(type: number, content: Uint8Array): void {
    for (let from = 0; from < content.length; from += CONTENT_SIZE) {
      const piece = content.length <= LONGEST_CONTENT
        ? content
        : content.subarray(from, from + CONTENT_SIZE);
      this.#putHeader(type, piece.length);
      this.#reserve(piece.length);
      this.#memory.set(piece, this.size);
      this.size += piece.length;
      if (piece === content) return;
    }
  }

  #putHeader(type: number, size: number): void {
    this.#reserve(HEADER_SIZE + 16);
    writeHeader(this.#memory, this.size, type, size);
    this.size += HEADER_SIZE;
  }

  /** Sees to it that `size` more octets fit. */
  #reserve(size: number): void {
    if (this.size + size <= this.#memory.length) return;
    const larger = new Uint8Array(2 * (this.size + size));
    larger.set(this.#memory.subarray(0, this.size));
    this.#memory = larger;
  }
}

function putLength(memory: Uint8Array, at: number, length: number): number {
  if (length < 128) memory[at++] = length;
  else {
    memory[at++] = (length >>> 24) | 0x80;
    memory[at++] = length >>> 16;
    memory[at++] = length >>> 8;
    memory[at++] = length;
  }
  return at;
}

function writeHeader(
  memory: Uint8Array,
  at: number,
  type: number,
  size: number,
): void {
  memory[at] = VERSION;
  memory[at + 1] = type;
  memory[at + 2] = 0;
  memory[at + 3] = REQUEST_ID;
  memory[at + 4] = size >>> 8;
  memory[at + 5] = size;
  memory[at + 6] = 0;
  memory[at + 7] = 0;
}

/** Says in what `begin()` began whether the peer is to keep the connection. */
export function setKeepConnection(request: Uint8Array, keep: boolean): void {
  request[FLAGS] = keep ? KEEP_CONNECTION : 0;
}

/** The record that asks for a request to be ended. */
export function abortRecord(): Uint8Array {
  const record = new Uint8Array(HEADER_SIZE);
  writeHeader(record, 0, ABORT_REQUEST, 0);
  return record;
}
