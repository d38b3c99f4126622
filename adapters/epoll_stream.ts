/** A connection over the kernel's own socket: read and written the moment that
 * it is ready, into memory that all connections share. */
import { StreamError } from "../src/errors.ts";
import type { Address, ByteStream, MaybePromise } from "../src/stream.ts";
import { unixAddress } from "./endpoint.ts";
import type { Epoll, Watched } from "./epoll.ts";
import {
  addressSize,
  EAGAIN,
  EINTR,
  EPIPE,
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLPRI,
  EPOLLRDHUP,
  type LinuxSockets,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_PEEK,
  shownSocketAddress,
  SHUT_WR,
  SO_LINGER,
  SOL_SOCKET,
  systemError,
} from "./linux_sockets.ts";
import { largestRead, ReadMemory, smallestRead } from "./read_memory.ts";

/** All that is watched for, told once each time that it begins. */
const watchedEvents = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET;
const inputEvents = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
const endEvents = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
const outputEvents = EPOLLOUT | EPOLLHUP | EPOLLERR;

/** So many bytes, about, a connection that can always go on reads before the
 * others have their turn, */
const readBurst = 524_288;
/** and so many it sends. More would only lie in the kernel's memory, and leave
 * the processor's before the peer reads it. */
const sendBurst = 262_144;

/** What the kernel did not take at once. */
interface PendingWrite {
  /** What is left of it. */
  bytes: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (failure: StreamError) => void;
}

const oneByte = new Uint8Array(1);

/** Closing sends RST instead of FIN. */
const lingerNot = new Int32Array([1, 0]);

/** A connection that has been accepted, or made. It closes its descriptor. */
export class EpollStream implements ByteStream, Watched {
  readonly fd: number;
  readonly remote: Address;
  readonly encrypted: boolean = false;
  readonly #sockets: LinuxSockets;
  readonly #epoll: Epoll;
  #local: Address | null = null;

  /** There may be something to read. */
  #readable = false;
  /** The peer has ended, or the connection failed: how that came shows when all
   * that came before has been read. */
  #ending = false;
  #ended = false;
  /** The peer has sent urgent data, at which a read stops short. */
  #marked = false;
  #failure: StreamError | null = null;
  /** What was lent last; null while nothing is. */
  #memory: ReadMemory | null = null;
  #readSize = smallestRead;
  #resolve: ((chunk: Uint8Array | null) => void) | null = null;
  #reject: ((failure: StreamError) => void) | null = null;
  #onGone: (() => void) | null = null;

  #pending: PendingWrite[] | null = null;
  #writable = true;
  #finPending = false;
  #open = true;
  /** How many bytes were moved since somebody had to wait. */
  #burst = 0;

  /** Takes over a non-blocking descriptor. `local` is for a Unix-domain
   * connection, of which the kernel tells less. Throws where it cannot be
   * watched, with the descriptor left open. */
  constructor(
    sockets: LinuxSockets,
    epoll: Epoll,
    fd: number,
    remote: Address,
    local: Address | null = null,
  ) {
    this.#sockets = sockets;
    this.#epoll = epoll;
    this.fd = fd;
    this.remote = remote;
    this.#local = local;
    epoll.add(this, watchedEvents);
  }

  get local(): Address {
    return this.#local ??= localAddress(this.#sockets, this.fd);
  }

  // ---- Input ----

  read(): MaybePromise<Uint8Array | null> {
    if (this.#readable && this.#burst < readBurst) {
      const chunk = this.#receive();
      if (chunk !== undefined) return chunk;
    }
    this.#giveBack();
    if (!this.#open || this.#ended) return this.#endOfInput();
    if (this.#readable) setImmediate(this.#readOn);
    this.#burst = 0;
    return new Promise(this.#waitForInput);
  }

  readonly #waitForInput = (
    resolve: (chunk: Uint8Array | null) => void,
    reject: (failure: StreamError) => void,
  ): void => {
    this.#resolve = resolve;
    this.#reject = reject;
  };

  /** See `ByteStream`. */
  give(): void {
    this.#memory = null;
  }

  /** What has arrived, null at the end; undefined when there is nothing yet.
   * Throws when the connection has failed. */
  #receive(): Uint8Array | null | undefined {
    const memory = this.#memoryToRead();
    const { bytes, size } = memory;
    const count = this.#sockets.recv(this.fd, bytes, size, MSG_DONTWAIT);
    if (count > 0) return this.#received(memory, count);
    if (count < 0) {
      const errno = this.#sockets.errno();
      if (errno === EINTR) return this.#receive();
      if (errno === EAGAIN) {
        this.#readable = false;
        return undefined;
      }
      this.#failure ??= new StreamError(systemError(errno).message);
    }
    this.#ended = true;
    this.#readable = false;
    this.#giveBack();
    return this.#endOfInput();
  }

  /** The next read gets more room when this one has filled it, and less when
   * it has left most of it empty. */
  #received(memory: ReadMemory, count: number): Uint8Array {
    const size = memory.bytes.length;
    this.#burst += count;
    if (count < size) {
      // A short read has taken all: only an end could be behind it.
      this.#readable = this.#ending || this.#marked;
      if (this.#ending && this.#onGone !== null) this.#tellLater(this.#onGone);
      if (size > smallestRead && 4 * count < size) this.#readSize = size / 4;
    } else if (size < largestRead) this.#readSize = 4 * size;
    return memory.lend(count);
  }

  #memoryToRead(): ReadMemory {
    const memory = this.#memory;
    if (memory !== null && memory.bytes.length === this.#readSize) {
      return memory;
    }
    memory?.giveBack();
    return this.#memory = ReadMemory.take(this.#readSize);
  }

  /** Nobody looks any more at what was lent. */
  #giveBack(): void {
    this.#memory?.giveBack();
    this.#memory = null;
  }

  #endOfInput(): null {
    const failure = this.#failure;
    if (failure === null || !this.#open) return null;
    this.#failure = null;
    throw failure;
  }

  /** Lets a `read()` that waits go on, if it can. */
  readonly #readOn = (): void => {
    if (this.#resolve === null || !this.#readable) return;
    let chunk: Uint8Array | null | undefined;
    try {
      chunk = this.#receive();
    } catch (failure) {
      const reject = this.#reject!;
      this.#resolve = this.#reject = null;
      return reject(failure as StreamError);
    }
    if (chunk === undefined) return this.#giveBack();
    const resolve = this.#resolve;
    this.#resolve = this.#reject = null;
    resolve(chunk);
  };

  get onGone(): (() => void) | null {
    return this.#onGone;
  }

  set onGone(listener: (() => void) | null) {
    this.#onGone = listener;
    // The end may have come before the gateway began to wait.
    if (listener !== null && (this.#ending || this.#ended)) {
      this.#tellLater(listener);
    }
  }

  #tellLater(listener: () => void): void {
    queueMicrotask(() => this.#tellWhenGone(listener));
  }

  /** Tells that the peer has gone, unless it has left something to read. */
  #tellWhenGone(listener: (() => void) | null): void {
    if (listener === null || listener !== this.#onGone) return;
    if (!this.#open || !this.#ended && this.#hasInput()) return;
    this.#onGone = null;
    listener();
  }

  #hasInput(): boolean {
    const flags = MSG_PEEK | MSG_DONTWAIT;
    const count = this.#sockets.recv(this.fd, oneByte, 1n, flags);
    if (count >= 0) return count > 0;
    const errno = this.#sockets.errno();
    if (errno === EAGAIN || errno === EINTR) return true; // still to come
    // The kernel tells a failure once.
    this.#failure ??= new StreamError(systemError(errno).message);
    this.#ended = true;
    return false;
  }

  // ---- Output ----

  write(bytes: Uint8Array): MaybePromise<void> {
    if (!this.#writable) throw new StreamError("Write to a closed connection");
    if (this.#pending !== null) return this.#queue(bytes);
    const { length } = bytes;
    const sent = this.#send(bytes);
    if (sent < length) {
      this.#pending = [];
      return this.#queue(sent === 0 ? bytes : bytes.subarray(sent));
    }
    this.#burst += length;
    if (this.#burst < sendBurst) return undefined;
    this.#burst = 0;
    return new Promise((resolve) => setImmediate(resolve));
  }

  #queue(bytes: Uint8Array): Promise<void> {
    this.#burst = 0;
    const written = new Promise<void>((resolve, reject) => {
      this.#pending!.push({ bytes, resolve, reject });
    });
    written.catch(ignore); // the caller may look at it later
    return written;
  }

  /** How much the kernel has taken. Throws when the connection has failed. */
  #send(bytes: Uint8Array): number {
    const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    const size = sizeOf(bytes.length);
    const sent = this.#sockets.send(this.fd, bytes, size, flags);
    if (sent >= 0) return sent;
    const errno = this.#sockets.errno();
    if (errno === EINTR) return this.#send(bytes);
    if (errno === EAGAIN) return 0;
    this.#writable = false;
    const failure = new StreamError(systemError(errno).message);
    // The kernel tells it once: a read would be told of an end.
    if (errno !== EPIPE) this.#failure ??= failure;
    throw failure;
  }

  #sendPending(): void {
    const pending = this.#pending!;
    for (let first = pending[0]; first !== undefined; first = pending[0]) {
      let sent;
      try {
        sent = this.#send(first.bytes);
      } catch (failure) {
        return this.#dropOutput(failure as StreamError);
      }
      if (sent < first.bytes.length) {
        first.bytes = first.bytes.subarray(sent);
        return;
      }
      pending.shift();
      first.resolve();
    }
    this.#pending = null;
    if (this.#finPending) this.#sockets.shutdown(this.fd, SHUT_WR);
  }

  #dropOutput(failure: StreamError): void {
    this.#writable = false;
    const pending = this.#pending;
    this.#pending = null;
    if (pending !== null) {
      for (const write of pending) {
        write.reject(failure);
      }
    }
  }

  closeWrite(): void {
    if (!this.#writable) return;
    this.#writable = false;
    if (this.#pending === null) this.#sockets.shutdown(this.fd, SHUT_WR);
    else this.#finPending = true;
  }

  // ---- Both ----

  ready(events: number): void {
    if ((events & endEvents) !== 0) this.#ending = true;
    if ((events & EPOLLPRI) !== 0) this.#marked = true;
    if ((events & inputEvents) !== 0) {
      this.#readable = !this.#ended;
      if (this.#resolve !== null) this.#readOn();
      else if (this.#ending) this.#tellWhenGone(this.#onGone);
    }
    if ((events & outputEvents) !== 0 && this.#pending !== null) {
      this.#sendPending();
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#local = this.local; // the descriptor will be another's
    this.#open = this.#readable = false;
    this.#onGone = null;
    this.#memory = null; // somebody may look at it still
    this.#epoll.remove(this);
    this.#sockets.close(this.fd);
    const resolve = this.#resolve;
    this.#resolve = this.#reject = null;
    resolve?.(null);
    this.#dropOutput(new StreamError("Connection closed"));
  }

  reset(): void {
    if (!this.#open) return;
    this.#sockets.setsockopt(this.fd, SOL_SOCKET, SO_LINGER, lingerNot, 8);
    this.close();
  }
}

/** The sizes of small sends, each made once. */
const sizes = new Array<bigint | undefined>(4096).fill(undefined);

function sizeOf(length: number): bigint {
  if (length >= sizes.length) return BigInt(length);
  return sizes[length] ??= BigInt(length);
}

const address = new Uint8Array(addressSize);
const length = new Uint32Array(1);

/** Where a socket is bound. */
export function localAddress(sockets: LinuxSockets, fd: number): Address {
  length[0] = addressSize;
  if (sockets.getsockname(fd, address, length) < 0) return unixAddress("");
  return shownSocketAddress(address, length[0]!);
}

function ignore(): void {}
