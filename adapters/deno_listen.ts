/** The transport over `Deno.listen`: for systems, machines and permissions with
 * which the kernel's own sockets cannot be had (`linux_sockets.ts`).
 *
 * Length: a quarter of it is the part of Deno's types that it uses. */
import { StreamError } from "../src/errors.ts";
import type {
  Address,
  ByteStream,
  ConnectOptions,
  Listener,
  ListenOptions,
  MaybePromise,
  Transport,
} from "../src/stream.ts";
import { acceptQueued } from "./accept_queue.ts";
import {
  connectError,
  connectPatienceMs,
  connectTimeout,
  defaultBacklog,
  defaultHostname,
  listenError,
  tcpAddress,
  unixAddress,
  wrongRuntime,
} from "./endpoint.ts";

/** The part of `Deno` that this adapter uses. */
export interface DenoHost {
  /** Listens on TCP. */
  listen(options: DenoTcpEndpoint): DenoListener;
  /** Listens on a Unix-domain socket. */
  listen(options: { transport: "unix"; path: string }): DenoListener;
  /** Connects over TCP. */
  connect(options: DenoTcpPeer): Promise<DenoConn>;
  /** Connects to a Unix-domain socket. */
  connect(options: { transport: "unix"; path: string }): Promise<DenoConn>;
}

/** Where Deno connects to over TCP. */
export interface DenoTcpPeer {
  /** A name or an IP address. */
  hostname: string;
  /** A port. */
  port: number;
  /** Gives up. */
  signal: AbortSignal;
}

/** Where a TCP listener of Deno stands. */
export interface DenoTcpEndpoint {
  /** A name or an IP address. */
  hostname: string;
  /** 0 lets the system choose. */
  port: number;
  /** The accept queue's length. */
  tcpBacklog: number;
}

/** The part of `Deno.Listener` that this adapter uses. */
export interface DenoListener {
  /** Where it listens. */
  readonly addr: DenoAddress;
  /** The next connection. */
  accept(): Promise<DenoConn>;
  /** Stops accepting; a pending `accept()` rejects. */
  close(): void;
}

/** The part of `Deno.Addr` that this adapter uses. */
export interface DenoAddress {
  /** "tcp" or "unix". */
  readonly transport: string;
  /** Of a TCP address. */
  readonly hostname?: string;
  /** Of a TCP address. */
  readonly port?: number;
  /** Of a Unix-domain address; null for an unnamed one. */
  readonly path?: string | null;
}

/** The part of `Deno.Conn` that this adapter uses. */
export interface DenoConn {
  /** Our end. */
  readonly localAddr: DenoAddress;
  /** The peer's end. */
  readonly remoteAddr: DenoAddress;
  /** Fills the buffer, maybe in part; null at the end. */
  read(buffer: Uint8Array): Promise<number | null>;
  /** Sends the bytes, maybe in part. */
  write(bytes: Uint8Array): Promise<number>;
  /** Sends FIN. */
  closeWrite(): Promise<void>;
  /** Closes both directions; what is pending rejects. */
  close(): void;
  /** Turns Nagle's algorithm off; TCP only. */
  setNoDelay?(noDelay: boolean): void;
}

/** Listens with `Deno.listen`, except for an inherited descriptor, which Deno
 * ignores, and SO_REUSEPORT, for which it wants a flag: both go through
 * `node:net`. Deno cannot send RST, so `reset()` is `close()`; and it writes
 * in the background, so every `write()` is a promise and `close()` before it
 * settles loses the bytes. */
export const denoListenTransport: Transport = { name: "deno", listen };

async function listen(
  options: ListenOptions,
  accept: (stream: ByteStream) => void,
): Promise<Listener> {
  if (options.fd !== undefined || options.reusePort === true) {
    const { nodeTransport } = await import("./node.ts");
    return nodeTransport.listen(options, accept);
  }
  return new DenoAcceptor(bind(options), accept);
}

/** Connects with `Deno.connect`. Rejects with an error whose `code` is
 * "ECONNREFUSED" and the like; with "ETIMEDOUT" after ten seconds. */
export async function connectWithDeno(
  options: ConnectOptions,
): Promise<ByteStream> {
  const Deno = denoHost("denoConnect()");
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), connectPatienceMs);
  try {
    const { hostname = defaultHostname, port = 0, path } = options;
    const conn = path === undefined
      ? await Deno.connect({ hostname, port, signal: patience.signal })
      : await Deno.connect({ transport: "unix", path });
    sendAtOnce(conn);
    return new DenoStream(conn);
  } catch (cause) {
    if (patience.signal.aborted) throw connectTimeout(options);
    if (cause instanceof Error && cause.name === "NotCapable") throw cause;
    throw connectError(options, cause);
  } finally {
    clearTimeout(timer);
  }
}

function denoHost(user: string): DenoHost {
  const { Deno } = globalThis as unknown as { Deno?: DenoHost };
  if (Deno === undefined) throw wrongRuntime(user, "Deno");
  return Deno;
}

function bind(options: ListenOptions): DenoListener {
  const Deno = denoHost("denoTransport");
  try {
    if (options.path !== undefined) {
      return Deno.listen({ transport: "unix", path: options.path });
    }
    return Deno.listen({
      hostname: options.hostname ?? defaultHostname,
      port: options.port ?? 0,
      tcpBacklog: options.backlog ?? defaultBacklog,
    });
  } catch (cause) {
    // What it says about a missing permission is better than what we know.
    if (cause instanceof Error && cause.name === "NotCapable") throw cause;
    throw listenError(options, cause);
  }
}

/** How long to wait after a failed accept: too many open files is cured by
 * connections that end, not by trying at once. */
const acceptRetryMs = 50;

/** What fails to accept because a peer has left already: it was next, and is
 * gone. A wait for each would let a few such peers keep all others out. */
const peerLeft: readonly unknown[] = [
  "ENOTCONN",
  "ECONNABORTED",
  "ECONNRESET",
  "EINVAL", // ENOTCONN on macOS
];

class DenoAcceptor implements Listener {
  readonly address: Address;
  readonly #listener: DenoListener;
  readonly #accepting: Promise<void>;
  #open = true;
  #accepted = 0;
  #endWait: (() => void) | null = null;

  constructor(listener: DenoListener, accept: (stream: ByteStream) => void) {
    this.#listener = listener;
    this.address = shownAddress(listener.addr);
    this.#accepting = this.#run(accept);
  }

  async close(): Promise<void> {
    await acceptQueued(() => this.#accepted);
    if (this.#open) {
      this.#open = false;
      this.#listener.close();
      this.#endWait?.();
    }
    await this.#accepting;
  }

  async #run(accept: (stream: ByteStream) => void): Promise<void> {
    while (this.#open) {
      const conn = await this.#next();
      if (conn !== null) accept(new DenoStream(conn));
    }
  }

  /** The next connection, or null when there is none this time: a failure to
   * accept does not end the listener. */
  async #next(): Promise<DenoConn | null> {
    try {
      const conn = await this.#listener.accept();
      this.#accepted++;
      sendAtOnce(conn);
      return conn;
    } catch (cause) {
      const { code } = cause as { code?: unknown };
      if (this.#open && !peerLeft.includes(code)) await this.#waitForRetry();
      return null;
    }
  }

  #waitForRetry(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, acceptRetryMs);
      this.#endWait = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Turns Nagle's algorithm off, which Deno leaves on. A peer that has left
 * already can make this fail; the first read will tell. */
function sendAtOnce(conn: DenoConn): void {
  try {
    conn.setNoDelay?.(true);
  } catch {
    return;
  }
}

function shownAddress(address: DenoAddress): Address {
  return address.transport === "tcp"
    ? tcpAddress(address.hostname, address.port)
    : unixAddress(address.path);
}

/** A read buffer begins small, because most connections are idle ones. It
 * grows fourfold when a read fills it, and shrinks again when one leaves most
 * of it empty: what a connection once sent must not cost memory for its life. */
const smallestBuffer = 4096;
const largestBuffer = 65_536;

const nothing = new Uint8Array(0);

class DenoStream implements ByteStream {
  readonly remote: Address;
  readonly encrypted: boolean = false;
  readonly #conn: DenoConn;
  #local: Address | null = null;

  /** What is being read into, or was lent last. */
  #buffer: Uint8Array = new Uint8Array(smallestBuffer);
  /** The view that was lent last; a request as long as the last one gets the
   * same object again. */
  #view: Uint8Array = this.#buffer;
  /** What `read()` brought last; its memory is one of our two buffers, or was. */
  #lent: Uint8Array | null = null;
  /** A read has been started and not yet settled. */
  #reading = false;
  /** The read that was started for `onGone`, until `read()` takes it over. */
  #ahead: Promise<Uint8Array | null> | null = null;
  /** What that read has brought; undefined while it is pending. */
  #arrived: Uint8Array | null | undefined = undefined;
  /** The buffer that is not lent, once there has been a read ahead. */
  #spare: Uint8Array | null = null;
  #ended = false;
  #onGone: (() => void) | null = null;

  /** The last write, while writes are pending: each waits for its turn. */
  #lastWrite: Promise<void> | null = null;
  #pendingWrites = 0;
  /** What is being written; nothing else, for it may be large. */
  #sending: Uint8Array = nothing;
  #writable = true;
  #open = true;

  constructor(conn: DenoConn) {
    this.#conn = conn;
    this.remote = shownAddress(conn.remoteAddr);
  }

  get local(): Address {
    return this.#local ??= shownAddress(this.#conn.localAddr);
  }

  read(): MaybePromise<Uint8Array | null> {
    this.#lent = null; // or its memory would be kept for as long as we wait
    if (!this.#open) return null;
    if (this.#ahead !== null) return this.#takeAhead(this.#ahead);
    return this.#startRead();
  }

  #startRead(): Promise<Uint8Array | null> {
    this.#reading = true;
    return this.#conn.read(this.#buffer).then(this.#received, this.#readFailed);
  }

  readonly #received = (count: number | null): Uint8Array | null => {
    const view = this.#lent = this.#keep(count);
    this.#watchOn(view);
    return view;
  };

  /** See `ByteStream`. */
  give(): void {
    const memory = this.#lent?.buffer;
    this.#lent = null;
    if (memory === this.#buffer.buffer) this.#resize(this.#buffer.length);
    else if (this.#spare !== null && memory === this.#spare.buffer) {
      this.#spare = new Uint8Array(this.#spare.length);
    }
  }

  readonly #keep = (count: number | null): Uint8Array | null => {
    this.#reading = false;
    if (!this.#open) return null;
    if (count === null) {
      this.#ended = true;
      return null;
    }
    const buffer = this.#buffer;
    if (count !== this.#view.length) this.#view = buffer.subarray(0, count);
    const view = this.#view;
    const { length } = buffer;
    if (count === length) {
      if (length < largestBuffer) this.#resize(4 * length);
    } else if (length > smallestBuffer && 4 * count < length) {
      this.#resize(length / 4);
    }
    return view;
  };

  readonly #readFailed = (cause: unknown): null => {
    this.#reading = false;
    if (!this.#open) return null; // closing interrupts the read
    this.#ended = true;
    throw streamError(cause);
  };

  /** The next read gets so much room. The view that is lent keeps the old
   * buffer. */
  #resize(size: number): void {
    this.#buffer = this.#view = new Uint8Array(size);
  }

  get onGone(): (() => void) | null {
    return this.#onGone;
  }

  /** Only a read tells that the peer has gone, so one is started, into the
   * buffer that is not lent. */
  set onGone(listener: (() => void) | null) {
    this.#onGone = listener;
    if (listener === null || !this.#open) return;
    if (this.#ahead === null && !this.#reading) this.#readAhead();
    else if (this.#ended) queueMicrotask(() => this.#tellGone(listener));
  }

  /** Whoever has waited for `view` may wait for something else next. */
  #watchOn(view: Uint8Array | null): void {
    if (this.#onGone !== null && view !== null) this.#readAhead();
  }

  #readAhead(): void {
    const lent = this.#buffer;
    this.#buffer = this.#view = this.#spare ?? new Uint8Array(smallestBuffer);
    this.#spare = lent;
    this.#reading = true;
    this.#ahead = this.#conn.read(this.#buffer)
      .then(this.#receivedAhead, this.#aheadFailed);
    this.#ahead.catch(ignore); // `read()` will throw it
  }

  readonly #receivedAhead = (count: number | null): Uint8Array | null => {
    const view = this.#keep(count);
    if (this.#ahead === null) { // `read()` waits for it
      this.#lent = view;
      this.#watchOn(view);
    } else {
      this.#arrived = view;
      if (view === null) this.#tellGone(this.#onGone);
    }
    return view;
  };

  readonly #aheadFailed = (cause: unknown): null => {
    if (this.#ahead !== null) this.#tellGone(this.#onGone);
    return this.#readFailed(cause);
  };

  #takeAhead(
    ahead: Promise<Uint8Array | null>,
  ): MaybePromise<Uint8Array | null> {
    const arrived = this.#arrived;
    this.#ahead = null;
    this.#arrived = undefined;
    if (arrived === undefined) return ahead;
    this.#lent = arrived;
    this.#watchOn(arrived);
    return arrived;
  }

  #tellGone(listener: (() => void) | null): void {
    if (listener === null || listener !== this.#onGone) return;
    this.#onGone = null;
    listener();
  }

  write(bytes: Uint8Array): MaybePromise<void> {
    if (!this.#writable) throw new StreamError("Write to a closed connection");
    this.#pendingWrites++;
    if (this.#lastWrite !== null) {
      const write = this.#lastWrite.then(() => this.#send(bytes));
      write.catch(ignore); // the caller may look at it later
      return this.#lastWrite = write;
    }
    return this.#lastWrite = this.#send(bytes);
  }

  #send(bytes: Uint8Array): Promise<void> {
    this.#sending = bytes;
    return this.#conn.write(bytes).then(this.#sent, this.#sendFailed);
  }

  readonly #sent = (count: number): void | Promise<void> => {
    const { length } = this.#sending;
    if (count < length) return this.#send(this.#sending.subarray(count));
    this.#sending = nothing;
    if (--this.#pendingWrites === 0) this.#lastWrite = null;
  };

  readonly #sendFailed = (cause: unknown): never => {
    this.#writable = false;
    this.#lastWrite?.catch(ignore); // the caller may look at it later
    throw streamError(cause);
  };

  closeWrite(): void {
    if (!this.#writable) return;
    this.#writable = false;
    if (this.#lastWrite === null) this.#finish();
    else this.#lastWrite.then(() => this.#finish(), ignore);
  }

  #finish(): void {
    if (this.#open) this.#conn.closeWrite().catch(ignore);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#writable = false;
    this.#onGone = null;
    this.#conn.close();
  }

  reset(): void {
    this.close();
  }
}

function streamError(cause: unknown): StreamError {
  const message = cause instanceof Error ? cause.message : String(cause);
  return new StreamError(message, { cause });
}

function ignore(): void {}
