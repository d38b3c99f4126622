/**
 * `wsgi.file_wrapper`: a file as the body of a response (PEP 3333, "Optional
 * Platform-Specific File Handling").
 */
import { ApplicationError } from "../errors.ts";
import type { FileLike } from "../wsgi.ts";

const defaultBlockSize = 65_536;

/** A body that reads `file` from its position on. Making one reads nothing. */
export class FileWrapper implements AsyncIterableIterator<Uint8Array> {
  readonly #file: FileLike;
  readonly #blockSize: number;
  #remaining = Infinity;
  #closed = false;

  /** Reads `blockSize` bytes at a time, 64 KiB if nothing is said. */
  constructor(file: FileLike, blockSize: number = defaultBlockSize) {
    if (typeof file?.read !== "function") {
      throw new ApplicationError("wsgi.file_wrapper takes a file with read()");
    }
    if (!Number.isInteger(blockSize) || blockSize <= 0) {
      throw new ApplicationError(
        `wsgi.file_wrapper takes a block size above 0, not ${
          String(blockSize)
        }`,
      );
    }
    this.#file = file;
    this.#blockSize = blockSize;
  }

  /** Ends the body after `count` bytes, although the file may have more. */
  stopAfter(count: number): void {
    this.#remaining = count;
  }

  /** The next block. */
  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    const size = Math.min(this.#blockSize, this.#remaining);
    if (this.#closed || size === 0) return { done: true, value: undefined };
    const block = await this.#file.read(size);
    if (!(block instanceof Uint8Array)) {
      throw new ApplicationError("The file's read() must give a Uint8Array");
    }
    if (block.length > size) {
      throw new ApplicationError(
        `The file's read(${size}) gave ${block.length} bytes`,
      );
    }
    if (block.length === 0) return { done: true, value: undefined };
    this.#remaining -= block.length;
    return { done: false, value: block };
  }

  /** The wrapper is its own iterator: a file has one position. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Closes the file, once. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#file.close?.();
  }
}
