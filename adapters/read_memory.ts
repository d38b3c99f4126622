/** The memory that connections read into. One has some only from the moment
 * that something arrives until it reads on: those that wait have none. */

/** What a read gets at first, because most requests are small ones; a stream
 * that fills it takes more, up to `largestRead`. In bytes. */
export const smallestRead = 4096;
/** The most that is read at once. In bytes. */
export const largestRead = 65_536;

/** How much of each size is kept for the next who reads. In bytes. */
const keptBytes = 1_048_576;

/** Memory to read into, of which there are three sizes: `smallestRead`, four
 * times as much, and `largestRead`. */
export class ReadMemory {
  /** All of it. */
  readonly bytes: Uint8Array;
  /** Its length, as the kernel wants it. */
  readonly size: bigint;
  /** The view that was lent last: one as long gets the same object again. */
  #view: Uint8Array;

  private constructor(size: number) {
    this.bytes = this.#view = new Uint8Array(size);
    this.size = BigInt(size);
  }

  /** Memory that nobody else has. */
  static take(size: number): ReadMemory {
    return spare(size).pop() ?? new ReadMemory(size);
  }

  /** A view of the first `count` bytes. */
  lend(count: number): Uint8Array {
    if (count !== this.#view.length) this.#view = this.bytes.subarray(0, count);
    return this.#view;
  }

  /** Nobody uses it any more. It is not kept if somebody has transferred it to
   * elsewhere, and left nothing here. */
  giveBack(): void {
    const size = this.bytes.length;
    if (size === 0) return;
    const list = spare(size);
    if ((list.length + 1) * size <= keptBytes) list.push(this);
  }
}

const small: ReadMemory[] = [];
const middling: ReadMemory[] = [];
const large: ReadMemory[] = [];

function spare(size: number): ReadMemory[] {
  return size === smallestRead
    ? small
    : size === largestRead
    ? large
    : middling;
}
