/**
 * A ByteStream with both its buffers, and the rule for waiting: output is never
 * held while input is waited for. Everything that reads or writes a connection
 * does it through here.
 *
 * Input is used where the stream lent it; only an unfinished tail is copied, to
 * stand before what arrives next. Output gathers in a slab that is borrowed
 * from a pool and goes back as soon as the stream is done with it, so that a
 * silent connection owns no memory of ours.
 *
 * Length: both directions are one story, since neither may wait for the other.
 *
 * @module
 */
import { StreamError } from "./errors.ts";
import { encodeOctets } from "./http/bytes.ts";
import type { ByteStream, MaybePromise } from "./stream.ts";

/** Output gathers up to this many bytes before it is sent regardless; twice as
 * many where a stream would have large content copied. */
const SLAB_SIZE = 65_536;
/** Content from this size on goes past the slab, where the stream says nothing
 * else: a copy would cost more than the second write that it saves. */
const DIRECT_SIZE = 32_768;
/** A copy from this size on is up to fifteen times slower on some processors (AMD
 * Zen with FSRM) where target and source lie 1 to 15 octets apart, modulo a page.
 * Large buffers begin alike: behind a chunk's size line it would always be so. */
const SLOW_SIZE = 2048;
/** Not more is moved to keep clear of that. */
const MOVED_SIZE = 1024;
/** The most that is handed over in one write, so that a deadline can tell slow
 * from stalled. */
const PIECE_SIZE = 262_144;
/** Slabs kept for reuse; beyond it they are left to the collector. */
const POOLED_SLABS = 64;

/** Input without a line end is looked at again after so many bytes more. */
const LOOK_AGAIN = 1024;

const pool: Uint8Array[] = [];
const nothing = new Uint8Array(0);

/** A connection's bytes in both directions. */
export class Wire {
  /** Received and not yet consumed: `buffer[start..end)`. Lent: the next
   * `fill()` moves or replaces it. */
  buffer: Uint8Array = nothing;
  /** Where the unconsumed bytes begin. */
  start = 0;
  /** Where they end. */
  end = 0;
  /** True once the peer has ended its direction. */
  ended = false;
  /** True while the peer must drain before a write settles. */
  stalled = false;
  /** Counts writes, so that a clock can tell slow from stalled. */
  writes = 0;

  /** Content from this size on is lent to the stream, not copied. */
  readonly directSize: number;

  readonly #stream: ByteStream;
  readonly #slabSize: number;
  /** `buffer` is this one, not the stream's, when a tail had to be kept. */
  #own: Uint8Array = nothing;
  /** Where in `buffer` the last arrival begins. */
  #arrival = 0;
  /** Output gathers in `#slab[#from..#used)`. */
  #slab: Uint8Array | undefined;
  #from = 0;
  #used = 0;
  /** A read that the stream has not settled. */
  #reading: Promise<boolean> | undefined;
  /** The one write that the stream has not settled; never rejects. */
  #inFlight: Promise<void> | undefined;
  /** The slab that it is made of, if it is. */
  #lent: Uint8Array | undefined;
  #failure: unknown;

  /** Takes over all reading and writing of `stream`. */
  constructor(stream: ByteStream) {
    this.#stream = stream;
    this.directSize = stream.directSize ?? DIRECT_SIZE;
    this.#slabSize = this.directSize > DIRECT_SIZE ? 2 * SLAB_SIZE : SLAB_SIZE;
  }

  // Input

  /** Marks `count` bytes as used. */
  consume(count: number): void {
    this.start += count;
  }

  /** Waits for more bytes behind those that are there; false at end of stream.
   * Sends what is buffered before it waits. Rejects with `StreamError`. */
  fill(): MaybePromise<boolean> {
    if (this.ended) return false;
    // Before a pending read is joined, too: what was buffered since would be
    // held for as long as it waits.
    if (this.#used > this.#from) {
      const flushed = this.flush();
      if (flushed !== undefined) return this.#fillAfter(flushed);
    }
    return this.#reading ?? this.#receive();
  }

  /** Receives when the peer has drained, once for all who ask meanwhile. */
  #fillAfter(flushed: Promise<void>): Promise<boolean> {
    if (this.#reading !== undefined) {
      flushed.catch(() => {}); // the next write will throw it
      return this.#reading;
    }
    return this.#reading = flushed.then(() => {
      this.#reading = undefined;
      return this.fill();
    });
  }

  #receive(): MaybePromise<boolean> {
    this.#keepTail();
    const chunk = this.#stream.read();
    if (chunk instanceof Promise) {
      return this.#reading = chunk.then(this.#accept);
    }
    return this.#accept(chunk);
  }

  /** The stream takes its view back with the next read, so what is left of it
   * moves into memory of our own. */
  #keepTail(): void {
    const length = this.end - this.start;
    if (length === 0) {
      this.buffer = nothing;
      this.#own = nothing;
      this.start = this.end = 0;
    } else if (this.buffer !== this.#own) {
      this.#own = new Uint8Array(Math.max(1024, 2 * length));
      this.#own.set(this.buffer.subarray(this.start, this.end));
      this.buffer = this.#own;
      this.start = 0;
      this.end = length;
    }
  }

  readonly #accept = (chunk: Uint8Array | null): boolean => {
    this.#reading = undefined;
    if (chunk === null) {
      this.ended = true;
      return false;
    }
    this.#arrival = this.end;
    if (this.end === 0) {
      this.buffer = chunk;
      this.end = chunk.length;
    } else {
      this.#append(chunk);
    }
    return true;
  };

  #append(chunk: Uint8Array): void {
    const kept = this.end - this.start;
    const needed = kept + chunk.length;
    if (this.end + chunk.length > this.#own.length) {
      const target = needed > this.#own.length
        ? new Uint8Array(2 * needed)
        : this.#own;
      target.set(this.#own.subarray(this.start, this.end));
      this.buffer = this.#own = target;
      this.start = 0;
      this.#arrival = kept;
    }
    this.#own.set(chunk, this.#arrival);
    this.end = this.#arrival + chunk.length;
  }

  /** Makes the last `size` bytes that were consumed the caller's for good, where
   * nothing lies behind them and they are most of their memory: what is to be
   * kept must not keep much more. False where they had better be copied. */
  give(size: number): boolean {
    const { buffer } = this;
    if (
      this.#stream.give === undefined || buffer === this.#own ||
      this.start < this.end || size < 3 / 4 * buffer.length ||
      // A stream may lend a part of memory that has others' bytes in its rest.
      buffer.length < buffer.buffer.byteLength
    ) return false;
    this.#stream.give();
    return true;
  }

  /** Whether something that ends with a line may have become whole, or too
   * long, since `examined` bytes were looked at in vain. It keeps the cost of a
   * head that drips in byte by byte in proportion to its size. */
  worthLooking(examined: number): boolean {
    if (this.end - this.start - examined >= LOOK_AGAIN) return true;
    if (this.#arrival <= this.start) return true;
    return this.buffer.subarray(this.#arrival, this.end).includes(0x0a);
  }

  /** The next line with its LF, or `limit` bytes of it, or what there is at end
   * of stream; null when there is nothing. Lent until the next call of
   * `readLine`, `read` or `fill`. Rejects with `StreamError`. */
  readLine(limit = 65_536): MaybePromise<Uint8Array | null> {
    for (let from = this.start;;) {
      const index = this.buffer.subarray(0, this.end).indexOf(0x0a, from);
      if (index >= 0 && index - this.start < limit) {
        return this.#take(index + 1 - this.start);
      }
      if (this.end - this.start >= limit) return this.#take(limit);
      const scanned = this.end - this.start;
      const more = this.fill();
      if (more instanceof Promise) return this.#readLineLater(more, limit);
      if (!more) return this.#rest();
      from = this.start + scanned;
    }
  }

  async #readLineLater(
    more: Promise<boolean>,
    limit: number,
  ): Promise<Uint8Array | null> {
    return await more ? this.readLine(limit) : this.#rest();
  }

  /** Exactly `size` bytes, or fewer at end of stream; null when there is
   * nothing and `size` is not 0. Lent until the next call of `readLine`, `read`
   * or `fill`. Rejects with `StreamError`. */
  read(size: number): MaybePromise<Uint8Array | null> {
    if (!(size >= 0)) throw new RangeError(`Cannot read ${size} bytes`);
    while (this.end - this.start < size) {
      const more = this.fill();
      if (more instanceof Promise) {
        return more.then((arrived) => arrived ? this.read(size) : this.#rest());
      }
      if (!more) return this.#rest();
    }
    return this.#take(size);
  }

  #rest(): Uint8Array | null {
    const length = this.end - this.start;
    return length === 0 ? null : this.#take(length);
  }

  #take(length: number): Uint8Array {
    const taken = this.buffer.subarray(this.start, this.start + length);
    this.start += length;
    return taken;
  }

  // Output

  /** Buffers a text of one octet a character, of at most 16 KiB. */
  putText(text: string): void {
    const slab = this.#room(text.length);
    this.#used = encodeOctets(text, slab, this.#used);
  }

  /** Buffers a copy of at most 16 KiB. */
  putOctets(octets: Uint8Array): void {
    const slab = this.#room(octets.length);
    slab.set(octets, this.#used);
    this.#used += octets.length;
  }

  /** Space in the slab. It overruns the flushing size rather than wait. */
  #room(length: number): Uint8Array {
    const slab = this.#slab ??= borrow(this.#slabSize);
    if (this.#used + length <= slab.length) return slab;
    const larger = new Uint8Array(2 * (this.#used + length));
    larger.set(slab.subarray(this.#from, this.#used), this.#from);
    recycle(slab);
    return this.#slab = larger;
  }

  /** Sends content of any size, in order: small content is copied, large
   * content is lent to the stream. Returns a promise when the peer must drain
   * first; `content` is lent until then. Rejects with `StreamError`. */
  put(content: Uint8Array): MaybePromise<void> {
    if (content.length < this.directSize) {
      const fits = this.#used + content.length <= this.#slabSize;
      const flushed = fits ? undefined : this.flush();
      if (flushed === undefined) return this.#copy(content);
      return flushed.then(() => this.#copy(content));
    }
    const flushed = this.flush();
    if (flushed !== undefined) {
      return flushed.then(() => this.#putDirect(content, 0));
    }
    return this.#putDirect(content, 0);
  }

  /** Moves up what little is buffered: see `SLOW_SIZE`. */
  #copy(content: Uint8Array): void {
    const shift = (content.byteOffset - this.#used) & 15;
    if (
      shift !== 0 && content.length >= SLOW_SIZE && this.buffered <= MOVED_SIZE
    ) {
      const slab = this.#room(shift);
      slab.copyWithin(this.#from + shift, this.#from, this.#used);
      this.#from += shift;
      this.#used += shift;
    }
    this.putOctets(content);
  }

  #putDirect(content: Uint8Array, from: number): MaybePromise<void> {
    while (from < content.length) {
      if (this.#inFlight !== undefined) {
        return this.#inFlight.then(() => this.#putDirect(content, from));
      }
      const piece = content.subarray(from, from + PIECE_SIZE);
      from += piece.length;
      const pending = this.#write(piece);
      if (pending !== undefined) {
        return this.#track(pending).then(() => {
          this.#check();
          return this.#putDirect(content, from);
        });
      }
    }
  }

  /** True when everything that was put has been sent. */
  get sent(): boolean {
    return this.#used === this.#from && this.#inFlight === undefined &&
      this.#failure === undefined;
  }

  /** How many bytes are buffered. */
  get buffered(): number {
    return this.#used - this.#from;
  }

  /** Forgets what was buffered beyond `length` bytes. The caller knows that
   * nothing was sent since there were so many. */
  takeBack(length: number): void {
    this.#used = this.#from + length;
  }

  /** Hands what is buffered to the stream. Returns a promise only when an
   * earlier write must drain first, so at most two slabs are held for one
   * connection. Throws or rejects with `StreamError`. */
  flush(): MaybePromise<void> {
    if (this.#used === this.#from) return;
    if (this.#inFlight !== undefined) {
      return this.#inFlight.then(() => this.flush());
    }
    const slab = this.#slab!;
    const output = slab.subarray(this.#from, this.#used);
    this.#slab = undefined;
    this.#from = this.#used = 0;
    const pending = this.#write(output);
    if (pending === undefined) return recycle(slab);
    this.#lent = slab;
    this.#track(pending);
  }

  /** Waits until the stream has settled every write. Rejects with
   * `StreamError`. */
  drained(): MaybePromise<void> {
    const pending = this.flush() ?? this.#inFlight;
    if (pending === undefined) return this.#check();
    return pending.then(() => this.drained());
  }

  #write(bytes: Uint8Array): MaybePromise<void> {
    this.#check();
    this.writes++;
    return this.#stream.write(bytes);
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Waits for a write that is not settled. What comes back never rejects, since
   * nobody may be waiting: the next write throws the failure. */
  #track(pending: Promise<void>): Promise<void> {
    this.stalled = true;
    return this.#inFlight = pending.then(this.#settled, this.#failed);
  }

  readonly #settled = (): void => {
    this.#inFlight = undefined;
    this.stalled = false;
    if (this.#lent !== undefined) recycle(this.#lent);
    this.#lent = undefined;
  };

  readonly #failed = (error: unknown): void => {
    this.#failure = error ?? new StreamError("Write failed");
    this.#settled();
  };

  /** Gives up what is buffered. */
  discard(): void {
    if (this.#slab !== undefined) recycle(this.#slab);
    this.#slab = undefined;
    this.#from = this.#used = 0;
  }
}

function borrow(size: number): Uint8Array {
  const slab = pool.pop();
  // Another size is that of another transport; they hardly ever meet.
  return slab?.length === size ? slab : new Uint8Array(size);
}

function recycle(slab: Uint8Array): void {
  const { length } = slab;
  if (
    (length === SLAB_SIZE || length === 2 * SLAB_SIZE) &&
    pool.length < POOLED_SLABS
  ) pool.push(slab);
}
