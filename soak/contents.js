/**
 * What requests and answers carry: each number has content of its own, which
 * server and client make alike, so that an answer that was cut, mixed up or
 * meant for another shows.
 */

/** The length of the content of a GET's answer. */
export const answerSize = 1_000;
/** The length of the content of a POST, which is sent back. */
export const uploadSize = 20_000;

const pool = new Uint8Array(65_536);
for (let x = 1, n = 0; n < pool.length; n++) {
  x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0;
  pool[n] = x >>> 24;
}

/** The content of the number `id`, `size` bytes of it at most 20,000. */
export function contentOf(id, size) {
  const begin = (id * 7_919) % (pool.length - uploadSize);
  return pool.subarray(begin, begin + size);
}
