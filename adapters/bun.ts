/**
 * The transport over `Bun.listen`.
 *
 * ```ts
 * import { bunTransport } from "@headgate/headgate/bun";
 *
 * const listener = await bunTransport.listen({ port: 0 }, (stream) => {
 *   stream.closeWrite();
 * });
 * await listener.close();
 * ```
 *
 * @module
 */
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
  defaultHostname,
  listenError,
  tcpAddress,
  unixAddress,
  wrongRuntime,
} from "./endpoint.ts";
import { PushStream } from "./push_stream.ts";

export type {
  Address,
  ByteStream,
  ConnectOptions,
  Listener,
  ListenOptions,
  MaybePromise,
  Transport,
} from "../src/stream.ts";

/** The part of `Bun` that this adapter uses. */
export interface BunHost {
  /** Listens on TCP. */
  listen(options: BunListenOptions & BunTcpEndpoint): BunListener;
  /** Listens on a Unix-domain socket. */
  listen(options: BunListenOptions & { unix: string }): BunListener;
  /** Connects over TCP. */
  connect(options: BunListenOptions & BunTcpEndpoint): Promise<BunSocket>;
  /** Connects to a Unix-domain socket. */
  connect(options: BunListenOptions & { unix: string }): Promise<BunSocket>;
}

/** Where a TCP listener of Bun stands, or where it connects to. */
export interface BunTcpEndpoint {
  /** A name or an IP address. */
  hostname: string;
  /** 0 lets the system choose. */
  port: number;
  /** SO_REUSEPORT. */
  reusePort?: boolean;
}

/** What all sockets of this adapter have in common. */
export interface BunListenOptions {
  /** Keeps our direction open when the peer has ended its own. */
  allowHalfOpen: boolean;
  /** One set of handlers for all connections. */
  socket: BunHandlers;
}

/** The events of a connection. */
export interface BunHandlers {
  /** What `data()` is given. */
  binaryType: "uint8array";
  /** Accepted, or connected. */
  open(socket: BunSocket): void;
  /** A chunk in memory of its own. */
  data(socket: BunSocket, chunk: Uint8Array): void;
  /** The peer has ended its direction. */
  end(socket: BunSocket): void;
  /** There is room to write again. */
  drain(socket: BunSocket): void;
  /** The connection is gone; `error` says why, if it failed. */
  close(socket: BunSocket, error?: Error): void;
}

/** The part of `Bun.Socket` that this adapter uses. */
export interface BunSocket {
  /** Ours to set. */
  data: unknown;
  /** Undefined on a Unix-domain socket. */
  readonly remoteAddress: string | undefined;
  /** Undefined on a Unix-domain socket. */
  readonly remotePort: number | undefined;
  /** Undefined on a Unix-domain socket. */
  readonly localAddress: string | undefined;
  /** Undefined on a Unix-domain socket. */
  readonly localPort: number | undefined;
  /** How many bytes the kernel took; -1 when the connection is closed. */
  write(bytes: Uint8Array): number;
  /** Stops reading. */
  pause(): void;
  /** Reads again. */
  resume(): void;
  /** Sends FIN; reading goes on. */
  shutdown(): void;
  /** Closes both directions. */
  end(): void;
  /** Closes both directions with RST. */
  terminate(): void;
  /** Turns Nagle's algorithm off. */
  setNoDelay(noDelay: boolean): boolean;
}

/** The part of Bun's listeners that this adapter uses. */
export interface BunListener {
  /** Undefined for a Unix-domain or an inherited socket. */
  readonly port?: number;
  /** Undefined for a Unix-domain or an inherited socket. */
  readonly hostname?: string;
  /** Stops accepting. */
  stop(): void;
}

/** Listens with `Bun.listen`. Bun has no setting for the accept queue, whose
 * length is always 512. A listener opened by descriptor learns no address from
 * Bun, so it shows `hostname` and `port`, or `path`, of its options. */
export const bunTransport: Transport = { name: "bun", listen };

/** Connects with `Bun.connect`. Rejects with an error whose `code` is
 * "ECONNREFUSED" and the like; with "ETIMEDOUT" after ten seconds. A Unix-domain
 * socket whose queue is full refuses, as Bun tells it. */
export function bunConnect(options: ConnectOptions): Promise<ByteStream> {
  return new Promise((resolve, reject) => {
    const Bun = bunHost("bunConnect()");
    let waiting = true;
    const settle = (settled: () => void) => {
      waiting = false;
      clearTimeout(timer);
      settled();
    };
    const timer = setTimeout(
      () => settle(() => reject(connectTimeout(options))),
      connectPatienceMs,
    );
    connectSocket(Bun, options, (socket) => {
      const { path } = options;
      const stream = new BunStream(socket, unixAddress(""), unixAddress(path));
      // Bun has no way to give up: whoever comes too late is sent away.
      if (waiting) settle(() => resolve(stream));
      else stream.close();
    }).catch((cause) => settle(() => reject(connectError(options, cause))));
  });
}

// deno-lint-ignore require-await -- what Bun throws has to be a rejection
async function connectSocket(
  Bun: BunHost,
  { hostname = defaultHostname, port = 0, path }: ConnectOptions,
  open: (socket: BunSocket) => void,
): Promise<unknown> {
  const connecting = {
    allowHalfOpen: true,
    socket: { binaryType: "uint8array", open, ...handlers },
  } satisfies BunListenOptions;
  return path === undefined
    ? Bun.connect({ ...connecting, hostname, port })
    : Bun.connect({ ...connecting, unix: path });
}

function bunHost(user: string): BunHost {
  const { Bun } = globalThis as unknown as { Bun?: BunHost };
  if (Bun === undefined) throw wrongRuntime(user, "Bun");
  return Bun;
}

async function listen(
  options: ListenOptions,
  accept: (stream: ByteStream) => void,
): Promise<Listener> {
  const Bun = bunHost("bunTransport");
  // Connections come after this function has returned.
  let address = await givenAddress(options);
  let accepted = 0;
  const listening = {
    allowHalfOpen: true,
    socket: {
      binaryType: "uint8array",
      open(socket) {
        accepted++;
        accept(new BunStream(socket, address));
      },
      ...handlers,
    },
  } satisfies BunListenOptions;
  const listener = bind(Bun, options, listening);
  if (listener.port !== undefined) {
    address = tcpAddress(listener.hostname, listener.port);
  }
  return {
    address,
    async close() {
      await acceptQueued(() => accepted);
      listener.stop();
    },
  };
}

function bind(
  Bun: BunHost,
  options: ListenOptions,
  listening: BunListenOptions,
): BunListener {
  try {
    if (options.fd !== undefined) {
      return Bun.listen({ ...listening, ...inherited(options.fd) });
    }
    if (options.path !== undefined) {
      return Bun.listen({ ...listening, unix: options.path });
    }
    return Bun.listen({
      ...listening,
      hostname: options.hostname ?? defaultHostname,
      port: options.port ?? 0,
      reusePort: options.reusePort === true,
    });
  } catch (cause) {
    throw listenError(options, cause);
  }
}

/** Bun takes `fd` in place of an address, which its types do not show. */
function inherited(fd: number): BunTcpEndpoint {
  return { fd } as unknown as BunTcpEndpoint;
}

async function givenAddress(options: ListenOptions): Promise<Address> {
  // Of a socket that is opened here there is nothing to find out.
  const found = options.fd === undefined
    ? undefined
    : await import("./descriptors.ts");
  const path = options.path ?? found?.inheritedPath(options);
  return path !== undefined
    ? unixAddress(path)
    : tcpAddress(options.hostname, options.port);
}

const handlers = {
  data: (socket, chunk) => streamOf(socket).arrived(chunk),
  end: (socket) => streamOf(socket).arrivedEnd(),
  drain: (socket) => streamOf(socket).drained(),
  close: (socket, error) => streamOf(socket).closed(error),
} satisfies Partial<BunHandlers>;

function streamOf(socket: BunSocket): BunStream {
  return socket.data as BunStream;
}

/** Bytes that the kernel has not taken yet, and whom to tell when it has. */
interface PendingWrite {
  unsent: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (failure: StreamError) => void;
}

class BunStream extends PushStream {
  /** A write costs more here than a copy of 64 KiB. */
  readonly directSize: number = 98_304;
  readonly remote: Address;
  readonly #socket: BunSocket;
  readonly #path: Address;
  #local: Address | null = null;
  /** Bun buffers nothing: what the kernel leaves is kept here, in order. */
  readonly #pending: PendingWrite[] = [];
  #writable = true;
  #open = true;

  /** `local` and `remote` are those of a Unix-domain connection; Bun tells the
   * ends of any other. */
  constructor(
    socket: BunSocket,
    local: Address,
    remote: Address = unixAddress(""),
  ) {
    super();
    this.#socket = socket;
    this.#path = local;
    const host = socket.remoteAddress;
    this.remote = host === undefined
      ? remote
      : tcpAddress(host, socket.remotePort);
    socket.data = this;
    socket.setNoDelay(true);
  }

  get local(): Address {
    return this.#local ??= this.#findLocal();
  }

  #findLocal(): Address {
    const host = this.#socket.localAddress;
    return host === undefined
      ? this.#path
      : tcpAddress(host, this.#socket.localPort);
  }

  write(bytes: Uint8Array): MaybePromise<void> {
    if (!this.#writable) throw this.failure ?? new StreamError(notWritable);
    if (this.#pending.length > 0) return this.#keep(bytes);
    const taken = this.#socket.write(bytes);
    if (taken === bytes.length) return undefined;
    if (taken < 0) throw new StreamError(notWritable);
    return this.#keep(bytes.subarray(taken));
  }

  #keep(unsent: Uint8Array): Promise<void> {
    const promise = new Promise<void>((resolve, reject) => {
      this.#pending.push({ unsent, resolve, reject });
    });
    promise.catch(ignore);
    return promise;
  }

  /** The kernel has room again. Bun also says so when nothing is pending. */
  drained(): void {
    if (this.#pending.length === 0) return;
    while (this.#pending.length > 0) {
      const first = this.#pending[0]!;
      const taken = this.#socket.write(first.unsent);
      if (taken < 0) return; // `closed()` follows
      if (taken < first.unsent.length) {
        first.unsent = first.unsent.subarray(taken);
        return;
      }
      this.#pending.shift();
      first.resolve();
    }
    if (!this.#writable) this.#socket.shutdown(); // closeWrite() was waiting
  }

  closeWrite(): void {
    if (!this.#writable) return;
    this.#writable = false;
    if (this.#pending.length === 0) this.#socket.shutdown();
  }

  close(): void {
    if (this.#drop()) this.#socket.end();
  }

  reset(): void {
    if (this.#drop()) this.#socket.terminate();
  }

  closed(cause: Error | undefined): void {
    this.#open = false;
    const failure = new StreamError(
      cause?.message ?? "Connection closed",
      { cause },
    );
    if (cause === undefined) this.arrivedEnd();
    else this.arrivedFailure(failure);
    this.#dropOutput(failure);
  }

  protected override pauseInput(): void {
    this.#socket.pause();
  }

  protected override resumeInput(): void {
    this.#socket.resume();
  }

  /** False when there is nothing to drop any more. */
  #drop(): boolean {
    if (!this.#open) return false;
    this.#open = false;
    this.dropInput();
    this.#dropOutput(new StreamError("Connection closed"));
    return true;
  }

  #dropOutput(failure: StreamError): void {
    this.#writable = false;
    for (const write of this.#pending.splice(0)) write.reject(failure);
  }
}

const notWritable = "Write to a closed connection";

function ignore(): void {}
