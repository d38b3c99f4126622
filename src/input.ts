/**
 * `wsgi.input` over the request content.
 *
 * The content lends its bytes view by view. A view is kept, with a position in
 * it, until it is used up, and only what a read yields is copied out of it; so
 * nothing is held beyond one view and the result that is being gathered. Where
 * the body gives its memory away, a large result is that memory. A result grows
 * with what has arrived: Content-Length is a stranger's claim, and only a small
 * part of it is allocated ahead.
 */
import { ApplicationError } from "./errors.ts";
import type { RequestBody } from "./exchange.ts";
import type { MaybePromise } from "./stream.ts";
import type { InputStream } from "./wsgi.ts";

const LF = 0x0a;
const empty = new Uint8Array(0);

/** A piece from this size on is passed on as it is where the body gives it away;
 * a smaller one is as soon copied. */
const GIVEN = 4096;

/** How much of a declared length is allocated before it has arrived. */
const AHEAD = 262_144;
/** And how many times what has arrived: many claims with a byte behind each
 * must not cost much either. */
const TRUST = 8;

/** The content of one request, read as PEP 3333 has it. */
export class ContentInput implements InputStream {
  readonly #body: RequestBody;
  /** Bytes that are declared and have not arrived; Infinity if none are. */
  #expected: number;
  /** What the body lent last, used up to `#at`. */
  #view: Uint8Array = empty;
  #at = 0;
  #ended = false;
  #reading = false;
  #detached = false;
  /** What the body owes us, while we wait for it. */
  #arrival: Promise<Uint8Array | null> | undefined = undefined;

  /** `declaredLength` is the Content-Length, Infinity when there is none. It
   * says how much to allocate; where the content ends is for `body` to say. */
  constructor(body: RequestBody, declaredLength: number) {
    this.#body = body;
    this.#expected = declaredLength;
  }

  /** The next `size` bytes, fewer only at the end of the content. */
  read(size?: number): Promise<Uint8Array> {
    return this.#exclusively(this.#take, size);
  }

  /** What has come, at most `size` bytes; nothing only at the end. */
  read1(size?: number): Promise<Uint8Array> {
    return this.#exclusively(this.#takeSome, size);
  }

  /** Through the next LF, at most `limit` bytes. */
  readline(limit?: number): Promise<Uint8Array> {
    return this.#exclusively(this.#takeLine, limit);
  }

  /** The lines that remain, or enough of them to hold `hint` bytes. */
  readlines(hint?: number): Promise<Uint8Array[]> {
    return this.#exclusively(this.#takeLines, hint === 0 ? -1 : hint);
  }

  /** The lines that remain. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
    for (;;) {
      const line = await this.readline();
      if (line.length === 0) return;
      yield line;
    }
  }

  /** Refuses every read from now on, because the bytes that follow may belong to
   * another request. Returns what a read that the application left behind is
   * waiting for: nobody else may read the body until that has settled. */
  detach(): Promise<unknown> | undefined {
    this.#detached = true;
    this.#view = empty;
    this.#at = 0;
    return this.#arrival;
  }

  /** One read at a time: two would tear the content between them, and the
   * second is mostly a forgotten `await`. */
  #exclusively<T>(
    read: (this: ContentInput, most: number) => Promise<T>,
    most: number | undefined,
  ): Promise<T> {
    if (this.#reading) {
      return refuse("was read while another read was waiting; await each read");
    }
    if (most !== undefined && !Number.isInteger(most)) {
      return refuse(`takes a whole number of bytes, not ${String(most)}`);
    }
    this.#reading = true;
    // As in Python, a negative number is no bound.
    const bound = most === undefined || most < 0 ? Infinity : most;
    const result = read.call(this, bound);
    const release = (): void => {
      this.#reading = false;
    };
    // Also marks the failure of a read that nobody waits for as seen: a peer
    // that leaves must not end the process.
    result.then(release, release);
    return result;
  }

  async #take(size: number): Promise<Uint8Array> {
    const result = new Gathering();
    while (result.length < size) {
      if (this.#at === this.#view.length) {
        const more = this.#fill();
        if (!(more instanceof Promise ? await more : more)) break;
      }
      const wanted = size - result.length;
      const piece = this.#at === 0 && this.#view.length <= wanted
        ? this.#view
        : this.#view.subarray(this.#at, this.#at + wanted);
      this.#at += piece.length;
      const unread = this.#view.length - this.#at + this.#expected;
      if (
        result.length === 0 && (piece.length === size || unread === 0) &&
        this.#given(piece)
      ) return piece;
      const ahead = unread === Infinity ? 0 : AHEAD;
      result.add(piece, Math.min(wanted - piece.length, unread), ahead);
    }
    return result.bytes();
  }

  async #takeSome(size: number): Promise<Uint8Array> {
    if (size === 0) return new Uint8Array(0);
    while (this.#at === this.#view.length) {
      const more = this.#fill();
      if (!(more instanceof Promise ? await more : more)) {
        return new Uint8Array(0);
      }
    }
    const piece = this.#view.subarray(this.#at, this.#at + size);
    this.#at += piece.length;
    return this.#given(piece) ? piece : new Uint8Array(piece);
  }

  /** Whether `piece`, the end of the view, is ours to pass on as it is. */
  #given(piece: Uint8Array): boolean {
    return piece.length >= GIVEN && this.#at === this.#view.length &&
      this.#body.give?.(piece.length) === true;
  }

  async #takeLine(limit: number): Promise<Uint8Array> {
    const result = new Gathering();
    while (result.length < limit) {
      if (this.#at === this.#view.length) {
        const more = this.#fill();
        if (!(more instanceof Promise ? await more : more)) break;
      }
      const room = limit - result.length;
      const lineEnd = this.#view.indexOf(LF, this.#at) + 1;
      const piece = this.#view.subarray(
        this.#at,
        Math.min(lineEnd || this.#view.length, this.#at + room),
      );
      this.#at += piece.length;
      result.add(piece, room - piece.length, 0);
      if (lineEnd !== 0) break;
    }
    return result.bytes();
  }

  async #takeLines(enough: number): Promise<Uint8Array[]> {
    const lines: Uint8Array[] = [];
    for (let total = 0; total < enough;) {
      const line = await this.#takeLine(Infinity);
      if (line.length === 0) break;
      lines.push(line);
      total += line.length;
    }
    return lines;
  }

  /** Gets the next view; false at the end of the content. */
  #fill(): MaybePromise<boolean> {
    this.#refuseWhenDetached();
    if (this.#ended) return false;
    this.#view = empty;
    this.#at = 0;
    const view = this.#body.read();
    return view instanceof Promise ? this.#awaitView(view) : this.#keep(view);
  }

  async #awaitView(arrival: Promise<Uint8Array | null>): Promise<boolean> {
    this.#arrival = arrival;
    try {
      const view = await arrival;
      this.#refuseWhenDetached();
      return this.#keep(view);
    } finally {
      this.#arrival = undefined;
    }
  }

  #keep(view: Uint8Array | null): boolean {
    if (view === null) {
      this.#ended = true;
      return false;
    }
    this.#view = view;
    this.#expected = Math.max(0, this.#expected - view.length);
    return true;
  }

  #refuseWhenDetached(): void {
    if (this.#detached) {
      throw new ApplicationError(
        "wsgi.input was read after the response had ended",
      );
    }
  }
}

function refuse(complaint: string): Promise<never> {
  return Promise.reject(new ApplicationError(`wsgi.input ${complaint}`));
}

/** Bytes on their way from lent views into memory of our own. What fits the
 * first allocation is copied once. */
class Gathering {
  #bytes: Uint8Array = empty;
  /** Bytes gathered so far. */
  length = 0;

  /** Copies `piece`, behind which at most `most` bytes can follow; `ahead` is
   * how many of those may be allocated on trust. */
  add(piece: Uint8Array, most: number, ahead: number): void {
    const needed = this.length + piece.length;
    if (this.length === 0 && most === 0) {
      // All of it at once: memory that need not be cleared first.
      this.#bytes = new Uint8Array(piece);
      this.length = needed;
      return;
    }
    if (needed > this.#bytes.length) {
      const trusted = Math.min(ahead, TRUST * needed);
      const spare = Math.max(trusted, this.length === 0 ? 0 : needed);
      const grown = new Uint8Array(needed + Math.min(most, spare));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    this.#bytes.set(piece, this.length);
    this.length = needed;
  }

  /** The result, in a buffer that holds nothing else. */
  bytes(): Uint8Array {
    return this.length === this.#bytes.length
      ? this.#bytes
      : this.#bytes.slice(0, this.length);
  }
}
