/**
 * The transport over `node:net`. It serves Node, and on Deno and Bun what
 * their own listeners cannot do.
 *
 * ```ts
 * import { nodeTransport } from "@headgate/headgate/node";
 *
 * const listener = await nodeTransport.listen({ port: 0 }, (stream) => {
 *   stream.closeWrite();
 * });
 * await listener.close();
 * ```
 *
 * @module
 */
import { existsSync } from "node:fs";
import {
  connect as openSocket,
  createServer,
  type Server,
  type Socket,
} from "node:net";
import { dirname } from "node:path";
import process from "node:process";
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
  reusePortUnsupported,
  tcpAddress,
  unixAddress,
} from "./endpoint.ts";
import { PushStream } from "./push_stream.ts";
import { copyOfRead, lendRead, shareRead, takeBack } from "./shared_read.ts";

export type {
  Address,
  ByteStream,
  ConnectOptions,
  Listener,
  ListenOptions,
  MaybePromise,
  Transport,
} from "../src/stream.ts";

/** Listens with `node:net`. */
export const nodeTransport: Transport = { name: "node", listen };

async function listen(
  options: ListenOptions,
  accept: (stream: ByteStream) => void,
): Promise<Listener> {
  if (options.reusePort === true && !supportsReusePort()) {
    throw reusePortUnsupported(options, `Node ${process.versions.node}`);
  }
  const server = createServer({ allowHalfOpen: true, noDelay: true });
  const { fd } = options;
  // Of a socket that is opened here there is nothing to find out.
  const found = fd === undefined ? undefined : await import("./descriptors.ts");
  let path = options.path ?? found?.inheritedPath(options) ?? null;
  let accepted = 0;
  server.on("connection", (socket) => {
    accepted++;
    accept(new NodeStream(socket, path));
  });
  await bind(server, options);
  const bound = server.address();
  if (typeof bound === "string") path = bound; // an inherited Unix socket
  // A failed accept (too many open files) concerns one connection, not us.
  server.on("error", () => {});
  return {
    address: bound === null || typeof bound === "string"
      ? unixAddress(path)
      : tcpAddress(bound.address, bound.port),
    async close() {
      if (fd === undefined) refuseMore(server);
      await acceptQueued(
        () => accepted,
        () => fd === undefined ? undefined : found?.queueLength(fd),
      );
      // Its callback would wait for the accepted connections, which live on.
      if (server.listening) server.close();
    },
  };
}

/** Connects with `node:net`. Rejects with an error whose `code` is
 * "ECONNREFUSED" and the like; with "ETIMEDOUT" after ten seconds. */
export function nodeConnect(options: ConnectOptions): Promise<ByteStream> {
  const { hostname = defaultHostname, port = 0, path } = options;
  return new Promise((resolve, reject) => {
    const socket = openSocket({
      ...path === undefined ? { host: hostname, port } : { path },
      allowHalfOpen: true,
      noDelay: true,
    });
    const failed = (cause: Error) => {
      clearTimeout(timer);
      reject(connectError(options, cause));
    };
    const timer = setTimeout(() => {
      socket.destroy();
      reject(connectTimeout(options));
    }, connectPatienceMs);
    socket.once("error", failed);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", failed);
      resolve(new NodeStream(socket, path ?? null, "connected"));
    });
  });
}

function bind(server: Server, options: ListenOptions): Promise<void> {
  const { promise, resolve, reject } = deferred();
  server.once("error", (cause: NodeJS.ErrnoException) => {
    reject(listenError(options, cause, codeOf(cause, options)));
  });
  const listening = () => {
    server.removeAllListeners("error");
    resolve();
  };
  // Beside a descriptor, the options' backlog is not looked at.
  const { fd, backlog = defaultBacklog } = options;
  if (fd !== undefined) server.listen({ fd }, backlog, listening);
  else server.listen(endpoint(options), listening);
  return promise;
}

/** Node accepts one connection a turn, so that a busy queue would never be
 * empty: from now on the kernel takes next to none. Whoever is not taken tries
 * again after a second, and is refused then. To listen again is how a queue is
 * made shorter, which only the handle can, and that is not documented. */
function refuseMore(server: Server): void {
  const { _handle: handle } = server as unknown as {
    _handle?: { listen?: (backlog: number) => unknown } | null;
  };
  if (process.versions.deno === undefined) handle?.listen?.(1);
}

function endpoint(options: ListenOptions): object {
  const backlog = options.backlog ?? defaultBacklog;
  if (options.path !== undefined) return { path: options.path, backlog };
  return {
    host: options.hostname ?? defaultHostname,
    port: options.port ?? 0,
    backlog,
    reusePort: options.reusePort === true,
  };
}

/** libuv reports a missing directory of a Unix socket as EACCES. */
function codeOf(
  cause: NodeJS.ErrnoException,
  options: ListenOptions,
): string | undefined {
  const missing = cause.code === "EACCES" && options.path !== undefined &&
    !existsSync(dirname(options.path));
  return missing ? "ENOENT" : cause.code;
}

/** Since 23.1 and 22.12; Deno and Bun have it in every version that we run on. */
function supportsReusePort(): boolean {
  if (process.versions.deno !== undefined) return true;
  if (process.versions.bun !== undefined) return true;
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  return major > 23 || (major === 23 && minor >= 1) ||
    (major === 22 && minor >= 12);
}

/** The stream of a socket, so that the event functions below are shared by all
 * connections instead of being closures of each. */
const owner: unique symbol = Symbol("owner");

interface OwnedSocket extends Socket {
  [owner]: NodeStream;
}

function onData(this: Socket, chunk: Uint8Array): void {
  (this as OwnedSocket)[owner].arrived(chunk);
}

function onRead(this: Socket, size: number): boolean {
  (this as OwnedSocket)[owner].arrivedShared(size);
  return true;
}

function onEnd(this: Socket): void {
  (this as OwnedSocket)[owner].arrivedEnd();
}

function onError(this: Socket, cause: Error): void {
  (this as OwnedSocket)[owner].failed(cause);
}

function onClose(this: Socket): void {
  (this as OwnedSocket)[owner].closed();
}

/** A write that the kernel did not take at once. */
interface PendingWrite {
  /** Its number among all writes of the connection. */
  readonly number: number;
  readonly resolve: () => void;
  readonly reject: (failure: StreamError) => void;
}

class NodeStream extends PushStream {
  /** A write costs more here than a copy of 64 KiB. */
  readonly directSize: number = 98_304;
  readonly remote: Address;
  readonly #socket: Socket;
  /** The listener's path, for a Unix-domain connection. */
  readonly #path: string | null;
  readonly #end: "accepted" | "connected";
  /** Whether what arrives is a copy, in memory that is used again. */
  readonly #copies: boolean;
  /** The memory of the last arrival, where it is to be given back. */
  #borrowed: Uint8Array | null = null;
  #local: Address | null = null;
  /** How many writes were issued, and how many of them have left. */
  #issued = 0;
  #completed = 0;
  readonly #pending: PendingWrite[] = [];
  #writable = true;
  #open = true;

  constructor(
    socket: Socket,
    path: string | null,
    end: "accepted" | "connected" = "accepted",
  ) {
    super();
    this.#socket = socket;
    this.#path = path;
    this.#end = end;
    this.remote = path === null
      ? tcpAddress(socket.remoteAddress, socket.remotePort)
      : unixAddress(end === "connected" ? path : "");
    (socket as OwnedSocket)[owner] = this;
    socket.on("error", onError);
    socket.on("close", onClose);
    socket.on("end", onEnd);
    this.#copies = shareRead(socket, onRead);
    if (!this.#copies) socket.on("data", onData);
  }

  get local(): Address {
    return this.#local ??= this.#path === null
      ? tcpAddress(this.#socket.localAddress, this.#socket.localPort)
      : unixAddress(this.#end === "accepted" ? this.#path : "");
  }

  override read(): MaybePromise<Uint8Array | null> {
    if (this.#borrowed !== null) {
      takeBack(this.#borrowed);
      this.#borrowed = null;
    }
    return super.read();
  }

  override give(): void {
    this.#borrowed = null;
    super.give();
  }

  /** So much has been read. Nobody knows how long what has to queue will be
   * there, so it does so in memory of its own. */
  arrivedShared(size: number): void {
    const memory = this.awaited ? lendRead(size) : undefined;
    if (memory === undefined) return this.arrived(copyOfRead(size));
    this.#borrowed = memory;
    this.arrived(memory.subarray(0, size));
  }

  write(bytes: Uint8Array): MaybePromise<void> {
    if (!this.#writable) throw this.failure ?? new StreamError(notWritable);
    this.#issued++;
    this.#socket.write(bytes, this.#written);
    // libuv tries the system call before it queues: nothing left, all sent.
    if (this.#socket.writableLength === 0) return undefined;
    const { promise, resolve, reject } = deferred();
    promise.catch(ignore);
    this.#pending.push({ number: this.#issued, resolve, reject });
    return promise;
  }

  /** Called after each write, in order, and not before `write()` returned. */
  readonly #written = (cause?: Error | null): void => {
    if (cause) return this.failed(cause);
    this.#completed++;
    while (this.#pending.length > 0) {
      const first = this.#pending[0]!;
      if (first.number > this.#completed) return;
      this.#pending.shift();
      first.resolve();
    }
  };

  closeWrite(): void {
    if (!this.#writable) return;
    this.#writable = false;
    this.#socket.end();
  }

  close(): void {
    if (!this.#drop()) return;
    this.#socket.destroy();
  }

  reset(): void {
    if (!this.#drop()) return;
    const socket = this.#socket;
    // A Unix socket knows no RST, and libuv refuses it while a FIN is queued.
    const finQueued = socket.writableEnded && !socket.writableFinished;
    if (this.#path !== null || finQueued) socket.destroy();
    else socket.resetAndDestroy();
  }

  failed(cause: Error): void {
    const failure = new StreamError(cause.message, { cause });
    this.arrivedFailure(failure);
    this.#dropOutput(failure);
  }

  closed(): void {
    this.arrivedEnd();
    this.#dropOutput(new StreamError("Connection closed"));
  }

  protected override free(chunk: Uint8Array): void {
    if (!this.#copies || !takeBack(chunk)) super.free(chunk);
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

/** `Promise.withResolvers()`, which Node 20 lacks. */
function deferred(): {
  promise: Promise<void>;
  resolve: () => void;
  reject: (failure: Error) => void;
} {
  let resolve!: () => void;
  let reject!: (failure: Error) => void;
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
