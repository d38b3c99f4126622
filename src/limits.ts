/**
 * Every bound that the gateway keeps, its default, and what breaking it means.
 *
 * @module
 */

/** Sizes are bytes and times are seconds; `Infinity` lifts a bound, except for
 * those of the head, which must be held in memory. */
export interface Limits {
  /** Connections that are open at a time. Beyond it those that are idle are
   * closed, the oldest first; where none is, the new one. */
  readonly connections: number;
  /** The request line without its CRLF; beyond it 414. */
  readonly requestLine: number;
  /** One field line without its CRLF; beyond it 431. */
  readonly fieldLine: number;
  /** All field lines together; beyond it 431. Also bounds a trailer section. */
  readonly fieldSection: number;
  /** How many field lines; beyond it 431. Also bounds a trailer section. */
  readonly fieldCount: number;
  /** Request content, unframed; beyond it 413. */
  readonly content: number;
  /** Chunk extensions of one request, all together; beyond it 400. */
  readonly chunkExtensions: number;
  /** Request content that an application left unread: so much is read and
   * dropped to save the connection; beyond it the connection is closed. */
  readonly drain: number;
  /** From the first byte of a head to its end; beyond it 408. */
  readonly headSeconds: number;
  /** Between two arrivals of request content that is waited for; beyond it 408.
   * Also for all of the content that is drained. */
  readonly bodySeconds: number;
  /** A connection without a request, new or kept alive; then closed in silence. */
  readonly idleSeconds: number;
  /** For the peer to take a piece of a response (at most 256 KiB); then reset. */
  readonly sendSeconds: number;
  /** For the peer to close, after we have ended our direction. */
  readonly lingerSeconds: number;
}

/** What holds where nothing else is asked for. */
export const defaultLimits: Limits = Object.freeze({
  connections: Infinity,
  requestLine: 8190,
  fieldLine: 8190,
  fieldSection: 32_768,
  fieldCount: 100,
  content: Infinity,
  chunkExtensions: 16_384,
  drain: 65_536,
  headSeconds: 10,
  bodySeconds: 30,
  idleSeconds: 75,
  sendSeconds: 60,
  lingerSeconds: 2,
});
