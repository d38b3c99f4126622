/**
 * The ceiling: what a runtime's sockets alone can do. Nothing is parsed. Every
 * `requestSize` bytes that arrive are answered with the same bytes, all answers
 * that are due in one write.
 *
 * Arguments: the port, the size of a request, the file that holds the answer.
 */
import { readFileSync } from "node:fs";
import process from "node:process";

const args = process.argv.slice(2);

export const port = Number(args[0]);
const requestSize = Number(args[1]);
const answer = new Uint8Array(readFileSync(args[2]));

/** Made once for each number of answers that become due together. */
const answers = [];

function repeated(count) {
  const bytes = new Uint8Array(answer.length * count);
  for (let n = 0; n < count; n++) bytes.set(answer, n * answer.length);
  return bytes;
}

/** Counts what arrives on one connection. */
export class Tally {
  #arrived = 0;

  /** Takes note of `size` more bytes; the answers that are due, if any. */
  due(size) {
    this.#arrived += size;
    const count = Math.floor(this.#arrived / requestSize);
    if (count === 0) return undefined;
    this.#arrived -= count * requestSize;
    return answers[count] ??= repeated(count);
  }
}
