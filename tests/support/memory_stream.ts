/**
 * A {@linkcode ByteStream} over arrays, with the peer's end in the hands of a
 * test. It is strict about what the contract leaves to trust:
 *
 * - a view that `read()` has lent is overwritten when its life ends, and never
 *   starts its buffer;
 * - bytes of a write that must wait are copied only when it settles, so that
 *   memory which was reused too early shows in the output;
 * - what no gateway may do is kept in `misuse`, for the test to find.
 */
import { StreamError } from "../../src/errors.ts";
import type { Address, ByteStream, MaybePromise } from "../../src/stream.ts";
import { concat, latin1, octets } from "./octets.ts";
import { Watch } from "./watch.ts";

/** Written over views whose life has ended. */
const overwritten = 0xee;

/** Bytes of a foreign buffer on both sides of a lent view. */
const margin = 8;

/** What can be chosen when the stream is made. */
export interface MemoryStreamOptions {
  /** Default 192.0.2.1, port 50000. */
  readonly remote?: Address;
  /** Default 192.0.2.2, port 80. */
  readonly local?: Address;
  /** Default false. */
  readonly encrypted?: boolean;
  /** Whether `read()` gives waiting bytes at once (the default) or always a
   * promise of them. */
  readonly arrival?: "at once" | "later";
  /** How many bytes the peer takes before `write()` must wait for `take()`;
   * default Infinity. */
  readonly window?: number;
}

interface PendingWrite {
  readonly bytes: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (error: StreamError) => void;
}

/** See the top of the file. The members of ByteStream are for the gateway,
 * the others for the test. */
export class MemoryStream implements ByteStream {
  readonly remote: Address;
  readonly local: Address;
  readonly encrypted: boolean;
  /** What was done against the contract; a test expects it empty. */
  readonly misuse: string[] = [];
  /** How many times `write()` was called. */
  writes = 0;
  /** How many times `read()` was called. */
  reads = 0;

  readonly #later: boolean;
  readonly #input: Uint8Array[] = [];
  readonly #output: Uint8Array[] = [];
  readonly #pendingWrites: PendingWrite[] = [];
  readonly #watch = new Watch();
  #window: number;
  #lent: Uint8Array | undefined;
  #pendingRead: PendingRead | undefined;
  #onGone: (() => void) | null = null;
  #inputEnded = false;
  #failure: StreamError | undefined;
  #writeClosed = false;
  #closed = false;
  #reset = false;

  /** The peer has sent `pieces`, each of which arrives by itself. */
  constructor(
    pieces: Iterable<Uint8Array | string> = [],
    options: MemoryStreamOptions = {},
  ) {
    this.remote = options.remote ?? { host: "192.0.2.1", port: 50000 };
    this.local = options.local ?? { host: "192.0.2.2", port: 80 };
    this.encrypted = options.encrypted ?? false;
    this.#later = options.arrival === "later";
    this.#window = options.window ?? Infinity;
    for (const piece of pieces) this.push(piece);
  }

  // The gateway's end.

  read(): MaybePromise<Uint8Array | null> {
    this.reads++;
    this.#endLoan();
    if (this.#pendingRead !== undefined) {
      this.misuse.push("read() while a read is pending");
      throw new Error("One read at a time");
    }
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#closed) return null;
    if (this.#input.length > 0 || this.#inputEnded) {
      if (!this.#later) return this.#next();
      return Promise.resolve().then(() => this.#closed ? null : this.#next());
    }
    return new Promise((resolve, reject) => {
      this.#pendingRead = { resolve, reject };
      this.#watch.changed();
    });
  }

  write(bytes: Uint8Array): MaybePromise<void> {
    this.writes++;
    if (this.#writeClosed) this.misuse.push("write() after closeWrite()");
    const broken = this.#broken();
    if (broken !== undefined) throw broken;
    if (this.#pendingWrites.length === 0 && bytes.length <= this.#window) {
      this.#window -= bytes.length;
      this.#output.push(bytes.slice());
      this.#watch.changed();
      return;
    }
    return new Promise((resolve, reject) => {
      this.#pendingWrites.push({ bytes, resolve, reject });
      this.#watch.changed();
    });
  }

  closeWrite(): void {
    this.#writeClosed = true;
    this.#watch.changed();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#endLoan();
    this.#resolveRead(null);
    this.#rejectWrites(new StreamError("Closed"));
    this.#watch.changed();
  }

  reset(): void {
    if (!this.#closed) this.#reset = true;
    this.close();
  }

  get onGone(): (() => void) | null {
    return this.#onGone;
  }

  set onGone(callback: (() => void) | null) {
    this.#onGone = callback;
    // An adapter may have learnt it before anyone asked.
    if (callback !== null) queueMicrotask(() => this.#tellGone());
  }

  // The peer's end.

  /** The peer sends; the bytes are copied. */
  push(bytes: Uint8Array | string): void {
    const copy = typeof bytes === "string" ? octets(bytes) : bytes.slice();
    if (copy.length === 0) return; // no transport delivers nothing
    this.#input.push(copy);
    if (this.#pendingRead !== undefined) this.#resolveRead(this.#next());
  }

  /** The peer ends its direction (FIN). */
  end(): void {
    this.#inputEnded = true;
    if (this.#pendingRead !== undefined) this.#resolveRead(null);
    this.#tellGone();
  }

  /** The connection fails: reads and writes reject from now on. */
  fail(message = "Connection reset by peer"): void {
    this.#failure = new StreamError(message);
    this.#input.length = 0;
    const pending = this.#pendingRead;
    this.#pendingRead = undefined;
    pending?.reject(this.#failure);
    this.#rejectWrites(this.#failure);
    this.#tellGone();
    this.#watch.changed();
  }

  /** The peer takes `count` bytes more, or all that will come, so that pending
   * writes go on. */
  take(count?: number): void {
    this.#window += count ?? Infinity;
    let first = this.#pendingWrites[0];
    while (first !== undefined && first.bytes.length <= this.#window) {
      this.#window -= first.bytes.length;
      this.#output.push(first.bytes.slice());
      this.#pendingWrites.shift();
      first.resolve();
      first = this.#pendingWrites[0];
    }
    this.#watch.changed();
  }

  // What the test sees.

  /** All that the peer has received. */
  get output(): Uint8Array {
    return concat(this.#output);
  }

  /** The same, one character per octet. */
  get outputText(): string {
    return latin1(this.output);
  }

  /** True while a `read()` waits and nothing has arrived. */
  get waiting(): boolean {
    return this.#pendingRead !== undefined;
  }

  /** How many bytes pending writes hold. */
  get held(): number {
    return this.#pendingWrites.reduce(
      (sum, { bytes }) => sum + bytes.length,
      0,
    );
  }

  /** True once the gateway has ended its direction, one way or another. */
  get finished(): boolean {
    return (this.#writeClosed && this.#pendingWrites.length === 0) ||
      this.#closed;
  }

  /** True after `close()` or `reset()`. */
  get closed(): boolean {
    return this.#closed;
  }

  /** True when `reset()` came before any `close()`. */
  get wasReset(): boolean {
    return this.#reset;
  }

  /** Settles as soon as `condition` holds; looks whenever something happens on
   * the stream. Rejects after 25 seconds. */
  until(condition: () => boolean, what = "the condition"): Promise<void> {
    return this.#watch.until(condition, what, () => this.#summary());
  }

  /** Settles when the gateway has ended its direction, or waits for input that
   * has not arrived: no more will come unless the test does something. */
  untilQuiet(): Promise<void> {
    return this.until(() => this.finished || this.waiting, "quiet");
  }

  /** Settles when the gateway has dropped the stream. */
  untilClosed(): Promise<void> {
    return this.until(() => this.closed, "the end of the stream");
  }

  #summary(): string {
    return `waiting=${this.waiting} finished=${this.finished} ` +
      `closed=${this.closed} held=${this.held} ` +
      `output=${JSON.stringify(this.outputText.slice(-200))}`;
  }

  #next(): Uint8Array | null {
    const piece = this.#input.shift();
    if (piece === undefined) return null;
    const foreign = new Uint8Array(piece.length + 2 * margin).fill(overwritten);
    foreign.set(piece, margin);
    this.#lent = foreign.subarray(margin, margin + piece.length);
    return this.#lent;
  }

  #endLoan(): void {
    this.#lent?.fill(overwritten);
    this.#lent = undefined;
  }

  #resolveRead(bytes: Uint8Array | null): void {
    const pending = this.#pendingRead;
    this.#pendingRead = undefined;
    pending?.resolve(bytes);
  }

  #rejectWrites(error: StreamError): void {
    for (const pending of this.#pendingWrites.splice(0)) pending.reject(error);
  }

  #broken(): StreamError | undefined {
    if (this.#failure !== undefined) return this.#failure;
    if (this.#closed) return new StreamError("Closed");
    if (this.#writeClosed) return new StreamError("Ended");
    return undefined;
  }

  #tellGone(): void {
    const gone = this.#failure !== undefined ||
      (this.#inputEnded && this.#input.length === 0);
    if (!gone || this.#closed || this.#onGone === null) return;
    const callback = this.#onGone;
    this.#onGone = null;
    try {
      callback();
    } catch (error) {
      // It would take an adapter down.
      this.misuse.push(`onGone threw ${error}`);
    }
  }
}

interface PendingRead {
  readonly resolve: (bytes: Uint8Array | null) => void;
  readonly reject: (error: StreamError) => void;
}
