/** Turns a socket that pushes (Node, Bun) into a stream that is pulled.
 *
 * What arrives is handed to the waiting `read()`, or queued. The queue is
 * bounded: beyond `queueLimit` the socket is paused, so that the kernel's
 * buffers fill and the peer has to wait; it is resumed once the queue is empty.
 * A chunk that is queued has memory of its own, so it is never copied here; and
 * the memory of a large one is freed as soon as its life has ended.
 */
import type { Address, ByteStream, MaybePromise } from "../src/stream.ts";
import type { StreamError } from "../src/errors.ts";

/** Beyond this many queued bytes the socket is paused. */
const queueLimit = 65_536;

/** Charged for each chunk beside its bytes. Without it a peer that sends single
 * bytes would fill the queue with 65,536 objects. */
const chunkOverhead = 128;

/** Chunks from this size on are freed by hand. The collector would let many
 * megabytes of them gather, so that each chunk is memory that has to be fetched
 * and cleared anew. */
const freedSize = 16_384;

const canFree = typeof ArrayBuffer.prototype.transfer === "function";

/** The reading half of a connection, and the news of its end. The writing half
 * belongs to the runtime's own class. */
export abstract class PushStream implements ByteStream {
  /** The peer's end. */
  abstract readonly remote: Address;
  /** Our end. */
  abstract readonly local: Address;
  /** TLS never ends here. */
  readonly encrypted: boolean = false;

  readonly #chunks: Uint8Array[] = [];
  /** What was lent last, if it is to be freed by hand. */
  #lent: Uint8Array | null = null;
  /** Bytes in `#chunks`, with the charge for each chunk. */
  #queued = 0;
  #paused = false;
  /** Nothing more will arrive: the peer ended, the line failed or we closed. */
  #ended = false;
  #failure: StreamError | null = null;
  #resolve: ((chunk: Uint8Array | null) => void) | null = null;
  #reject: ((failure: StreamError) => void) | null = null;
  #onGone: (() => void) | null = null;

  /** One closure for the life of the connection instead of one for each wait. */
  readonly #wait = (
    resolve: (chunk: Uint8Array | null) => void,
    reject: (failure: StreamError) => void,
  ): void => {
    this.#resolve = resolve;
    this.#reject = reject;
  };

  /** Sends, in order; see `ByteStream`. */
  abstract write(bytes: Uint8Array): MaybePromise<void>;
  /** Ends our direction. */
  abstract closeWrite(): void;
  /** Drops both directions. */
  abstract close(): void;
  /** Drops both directions so that the peer sees a failure. */
  abstract reset(): void;
  /** Gives the memory of a chunk back, where the runtime can do that: not before
   * Node 21. */
  protected free(chunk: Uint8Array): void {
    if (canFree) (chunk.buffer as ArrayBuffer).transfer(0);
  }

  /** Stops the socket from pushing. */
  protected abstract pauseInput(): void;
  /** Lets the socket push again. */
  protected abstract resumeInput(): void;

  /** The next chunk; see `ByteStream`. */
  read(): MaybePromise<Uint8Array | null> {
    if (this.#lent !== null) {
      this.free(this.#lent);
      this.#lent = null;
    }
    if (this.#queued > 0) return this.#take();
    if (this.#failure !== null) return Promise.reject(this.#failure);
    if (this.#ended) return null;
    return new Promise(this.#wait);
  }

  /** See `ByteStream`. */
  give(): void {
    this.#lent = null;
  }

  #take(): Uint8Array {
    const chunk = this.#chunks.shift()!;
    this.#queued -= chunk.length + chunkOverhead;
    if (this.#paused && this.#queued === 0) {
      this.#paused = false;
      this.resumeInput();
    }
    return this.#lend(chunk);
  }

  #lend(chunk: Uint8Array): Uint8Array {
    const { length } = chunk;
    // To ask for the buffer of a small one would cost more than it is worth.
    if (length >= freedSize && length === chunk.buffer.byteLength) {
      this.#lent = chunk;
    }
    return chunk;
  }

  /** Called when the peer has ended or left while nobody reads. */
  get onGone(): (() => void) | null {
    return this.#onGone;
  }

  set onGone(listener: (() => void) | null) {
    this.#onGone = listener;
    // The end may have come before the gateway began to wait.
    if (listener !== null && this.#ended) {
      queueMicrotask(() => this.#tellGone(listener));
    }
  }

  /** Whether a `read()` waits, so that whatever was lent before is ours again. */
  protected get awaited(): boolean {
    return this.#resolve !== null;
  }

  /** Why the connection failed, or null. */
  protected get failure(): StreamError | null {
    return this.#failure;
  }

  /** The socket has read a chunk, whose memory is ours from now on. */
  arrived(chunk: Uint8Array): void {
    const resolve = this.#resolve;
    if (resolve !== null) {
      this.#resolve = this.#reject = null;
      resolve(this.#lend(chunk));
      return;
    }
    if (this.#ended) return;
    this.#chunks.push(chunk);
    this.#queued += chunk.length + chunkOverhead;
    if (this.#queued > queueLimit && !this.#paused) {
      this.#paused = true;
      this.pauseInput();
    }
  }

  /** The peer has ended its direction. What is queued can still be read. */
  arrivedEnd(): void {
    if (this.#ended) return;
    this.#ended = true;
    const resolve = this.#resolve;
    if (resolve === null) return this.#tellGone(this.#onGone);
    this.#resolve = this.#reject = null;
    resolve(null);
  }

  /** The connection has failed. What is queued can still be read; where the
   * peer had already ended, reading goes on to tell just that. */
  arrivedFailure(failure: StreamError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    const reject = this.#reject;
    if (reject === null) return this.#tellGone(this.#onGone);
    this.#resolve = this.#reject = null;
    reject(failure);
  }

  /** We have closed: drops the queue and lets a pending `read()` go. */
  protected dropInput(): void {
    this.#chunks.length = 0;
    this.#queued = 0;
    this.#failure = null;
    this.#ended = true;
    this.#onGone = null;
    const resolve = this.#resolve;
    this.#resolve = this.#reject = null;
    resolve?.(null);
  }

  #tellGone(listener: (() => void) | null): void {
    if (listener === null || listener !== this.#onGone) return;
    this.#onGone = null;
    listener();
  }
}
