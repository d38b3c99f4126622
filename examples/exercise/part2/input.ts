/** `wsgi.input`: the content of a request, read off the wire behind its head. */
import { type InputStream, StreamError, type Wire } from "../../../mod.ts";

/** Ends where Content-Length says, although the connection goes on. */
export class ContentInput implements InputStream {
  readonly #wire: Wire;
  #left: number;

  /** The next `length` bytes of the wire. */
  constructor(wire: Wire, length: number) {
    this.#wire = wire;
    this.#left = length;
  }

  /** The next `size` bytes, fewer only at the end. */
  async read(size = -1): Promise<Uint8Array> {
    return this.#keep(await this.#wire.read(this.#bound(size)));
  }

  /** What has come, at most `size` bytes: here it waits for all of them. */
  read1(size = -1): Promise<Uint8Array> {
    return this.read(size);
  }

  /** Through the next line feed. */
  async readline(limit = -1): Promise<Uint8Array> {
    return this.#keep(await this.#wire.readLine(this.#bound(limit)));
  }

  /** The lines that remain, or enough of them to hold `hint` bytes. */
  async readlines(hint = -1): Promise<Uint8Array[]> {
    const lines: Uint8Array[] = [];
    let total = 0;
    for await (const line of this) {
      lines.push(line);
      total += line.length;
      if (hint > 0 && total >= hint) break;
    }
    return lines;
  }

  /** The lines that remain. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
    while (this.#left > 0) yield await this.readline();
  }

  /** As in Python, a negative size is no bound. */
  #bound(size: number): number {
    return size < 0 ? this.#left : Math.min(size, this.#left);
  }

  /** The wire lends its bytes until the next read; the application may keep
   * what it was given. */
  #keep(lent: Uint8Array | null): Uint8Array {
    const bytes = new Uint8Array(lent ?? []);
    this.#left -= bytes.length;
    const { ended, start, end } = this.#wire;
    if (ended && end - start < this.#left) {
      throw new StreamError("The peer left before its content was whole");
    }
    return bytes;
  }
}
