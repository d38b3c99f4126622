/** Seeded mutations of request bytes: what a broken or hostile peer might make
 * of a good request. The same seed gives the same bytes on every runtime. */
import { concat, octets } from "../support/octets.ts";

/** A generator of numbers that can be repeated: xorshift, 32 bits. */
export class Random {
  #state: number;

  /** `seed` is any integer. */
  constructor(seed: number) {
    // Zero would stay zero for ever.
    this.#state = (seed | 0) || 0x9e3779b9;
    for (let round = 0; round < 8; round++) this.below(2);
  }

  /** An integer from 0 up to but not including `bound`. */
  below(bound: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % bound;
  }

  /** One of `choices`. */
  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }
}

/** What is apt to be read in more than one way. */
const fragments: readonly Uint8Array[] = [
  "\r\n",
  "\n",
  "\r",
  "\r\n\r\n",
  "\0",
  " ",
  "\t",
  ":",
  ",",
  ";",
  "=",
  '"',
  "%",
  "%00",
  "#",
  "?",
  "/",
  "*",
  "\x7f",
  "\x80",
  "\xff",
  "0",
  "5",
  "f",
  "ffffffffffffffff",
  "-1",
  "+",
  "0x",
  "GET ",
  "HEAD ",
  "OPTIONS * ",
  " HTTP/1.1",
  " HTTP/1.0",
  " HTTP/2.0",
  "http://a",
  "GET /s HTTP/1.1\r\nHost: a\r\n\r\n",
  "Host: b\r\n",
  "Content-Length: 5\r\n",
  "Content-Length: 0\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Connection: close\r\n",
  "Connection: keep-alive\r\n",
  "Expect: 100-continue\r\n",
  "5\r\nhello\r\n",
  "0\r\n\r\n",
  "X".repeat(300),
].map(octets);

type Mutation = (bytes: Uint8Array, random: Random) => Uint8Array;

/** Replaces `bytes[from..to)`. */
function splice(
  bytes: Uint8Array,
  from: number,
  to: number,
  replacement: Uint8Array,
): Uint8Array {
  return concat([bytes.subarray(0, from), replacement, bytes.subarray(to)]);
}

/** A place in `bytes`, the end included, and one up to 16 bytes behind it. */
function range(bytes: Uint8Array, random: Random): [number, number] {
  const from = random.below(bytes.length + 1);
  return [from, Math.min(bytes.length, from + 1 + random.below(16))];
}

const nothing = new Uint8Array(0);

const mutations: readonly Mutation[] = [
  function changeOctet(bytes, random) {
    const [from] = range(bytes, random);
    return splice(bytes, from, from + 1, Uint8Array.of(random.below(256)));
  },
  function flipBit(bytes, random) {
    const copy = bytes.slice();
    const at = random.below(Math.max(1, copy.length));
    if (at < copy.length) copy[at]! ^= 1 << random.below(8);
    return copy;
  },
  function remove(bytes, random) {
    const [from, to] = range(bytes, random);
    return splice(bytes, from, to, nothing);
  },
  function repeat(bytes, random) {
    const [from, to] = range(bytes, random);
    return splice(bytes, to, to, bytes.subarray(from, to));
  },
  function insert(bytes, random) {
    const [from] = range(bytes, random);
    return splice(bytes, from, from, random.pick(fragments));
  },
  function insertAtLine(bytes, random) {
    // Whole lines do their harm where a line begins.
    const from = bytes.indexOf(0x0a, random.below(bytes.length + 1)) + 1;
    return splice(bytes, from, from, random.pick(fragments));
  },
  function replace(bytes, random) {
    const [from, to] = range(bytes, random);
    return splice(bytes, from, to, random.pick(fragments));
  },
  function cutShort(bytes, random) {
    return bytes.subarray(0, random.below(bytes.length + 1));
  },
];

/** `seed` with one to four mutations; now and then with the end of another. */
export function mutate(
  seed: Uint8Array,
  others: readonly Uint8Array[],
  random: Random,
): Uint8Array {
  let bytes = seed;
  if (random.below(8) === 0) {
    const other = random.pick(others);
    bytes = concat([
      bytes.subarray(0, random.below(bytes.length + 1)),
      other.subarray(random.below(other.length + 1)),
    ]);
  }
  for (let count = 1 + random.below(4); count > 0; count--) {
    bytes = random.pick(mutations)(bytes, random);
  }
  return bytes;
}

/** `bytes` in pieces of random lengths. */
export function shred(bytes: Uint8Array, random: Random): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  const most = random.pick([2, 10, 100]);
  for (let at = 0; at < bytes.length;) {
    const size = 1 + random.below(most);
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return pieces;
}
