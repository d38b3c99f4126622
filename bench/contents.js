/** What every server of the benchmark answers with. */
const encoder = new TextEncoder();

/** The answer to `/`. */
export const hello = encoder.encode("Hello, World!");

/** What the answer to `/json` says. */
export const message = { message: "Hello, World!" };

/** The answer to `/large` is so many of these. */
export const block = new Uint8Array(65_536).fill(0x61);
export const blockCount = 16;

/** The content that `/echo` is sent. */
export const note = new Uint8Array(10_240).fill(0x62);

/** What `/upload` answers: how many bytes came. */
export function tally(size) {
  return encoder.encode(`${size} bytes`);
}
