/**
 * The lower door: what the gateway asks of a transport. Adapters implement it
 * over `Deno.listen`, `Bun.listen` and `node:net`; tests implement it over
 * arrays. This module imports nothing.
 *
 * @module
 */

/** A value if it is at hand, else a promise of it. The hot path tests
 * `instanceof Promise` and awaits only when it must. */
export type MaybePromise<T> = T | Promise<T>;

/** One end of a connection, as REMOTE_ADDR and REMOTE_PORT will show it. */
export interface Address {
  /** IP address, or the path of a Unix-domain socket ("" for an unnamed one). */
  readonly host: string;
  /** TCP port; 0 for a Unix-domain socket. */
  readonly port: number;
}

/** A reliable, ordered, two-way stream of bytes: one accepted connection. */
export interface ByteStream {
  /** The peer's end. */
  readonly remote: Address;
  /** Our end: the address that the peer connected to. */
  readonly local: Address;
  /** True when TLS ends in this process; becomes `wsgi.url_scheme`. */
  readonly encrypted: boolean;
  /** Content from this many bytes on is better written by itself than copied
   * behind what else is to be sent; default 32 KiB. At most 96 KiB. */
  readonly directSize?: number;
  /** The next bytes to arrive, `null` at end of stream. The view is lent: it
   * is valid until the next `read()`. One read at a time. Rejects with
   * `StreamError` when the connection failed. */
  read(): MaybePromise<Uint8Array | null>;
  /** Makes what the last `read()` gave the caller's for good, to be changed or
   * kept. Absent where a stream reads into the same memory come what may. */
  give?(): void;
  /** Sends all of `bytes`, in order. The bytes are lent to the stream until
   * the call settles: `undefined` means that they have been sent or copied, so
   * the caller may reuse the memory at once; a promise means that the peer
   * must drain first, and settles when the memory is the caller's again.
   * A further write while a promise is pending is legal and keeps its order.
   * Throws or rejects with `StreamError` when the connection failed. */
  write(bytes: Uint8Array): MaybePromise<void>;
  /** Ends our direction (FIN) after what was written; reading may go on.
   * Idempotent; a failure is swallowed, because a read will tell it. */
  closeWrite(): void;
  /** Drops both directions. Idempotent; a pending `read()` resolves `null`, a
   * pending write rejects. */
  close(): void;
  /** Drops both directions so that the peer sees a failure (RST) where the
   * runtime can do that; else as `close()`. Tells a peer that what it has
   * received is not whole. Idempotent. */
  reset(): void;
  /** Set by the gateway while it waits for something other than input, and
   * cleared afterwards: called at most once, when the adapter learns that the
   * peer has ended its direction or left. Bytes that arrive meanwhile are kept
   * for the next `read()`. Best effort: input that nobody reads hides what
   * comes behind it. */
  onGone: (() => void) | null;
}

/** Where to listen: `path`, or `fd`, or `hostname` and `port`. */
export interface ListenOptions {
  /** IP address or name; default `127.0.0.1`. */
  readonly hostname?: string;
  /** TCP port; 0 lets the system choose one. */
  readonly port?: number;
  /** Unix-domain socket path, instead of hostname and port. */
  readonly path?: string;
  /** Length of the kernel's accept queue; default 2048. */
  readonly backlog?: number;
  /** A listening descriptor inherited from the arbiter or systemd. */
  readonly fd?: number;
  /** SO_REUSEPORT, for runtimes that cannot hand a descriptor to a child. */
  readonly reusePort?: boolean;
}

/** A listening socket. */
export interface Listener {
  /** Where it listens, the port as the system chose it. */
  readonly address: Address;
  /** Stops accepting. Connections already accepted live on. Idempotent. */
  close(): Promise<void>;
}

/** All that the core needs from a runtime. */
export interface Transport {
  /** "deno", "bun" or "node". */
  readonly name: string;
  /** Listens, and hands over each connection as it is accepted. Rejects with an
   * error whose `code` is "EADDRINUSE" and the like, and whose `cause` is the
   * runtime's own. */
  listen(
    options: ListenOptions,
    accept: (stream: ByteStream) => void,
  ): Promise<Listener>;
}

/** Where to connect: `path`, or `hostname` and `port`. */
export interface ConnectOptions {
  /** IP address or name; default `127.0.0.1`. */
  readonly hostname?: string;
  /** TCP port. */
  readonly port?: number;
  /** Unix-domain socket path, instead of hostname and port. */
  readonly path?: string;
}
