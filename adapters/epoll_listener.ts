/** Listens with the kernel's own sockets: on addresses and on descriptors that
 * somebody else has bound. */
import type {
  Address,
  ByteStream,
  Listener,
  ListenOptions,
} from "../src/stream.ts";
import {
  defaultBacklog,
  defaultHostname,
  listenError,
  unixAddress,
} from "./endpoint.ts";
import { type Epoll, throwInOwnTurn, type Watched } from "./epoll.ts";
import { EpollStream, localAddress } from "./epoll_stream.ts";
import {
  addressSize,
  EADDRNOTAVAIL,
  EAGAIN,
  EINVAL,
  ENAMETOOLONG,
  EPOLLET,
  EPOLLIN,
  familyOf,
  FIONBIO,
  IPPROTO_TCP,
  ipSocketAddress,
  type LinuxSockets,
  notForNow,
  shownSocketAddress,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
  systemError,
  TCP_NODELAY,
  unixSocketAddress,
} from "./linux_sockets.ts";

const on = new Int32Array([1]);

/** Listens. Rejects as `Transport.listen` promises. */
export async function listenWithEpoll(
  sockets: LinuxSockets,
  epoll: Epoll,
  options: ListenOptions,
  accept: (stream: ByteStream) => void,
): Promise<Listener> {
  let fd = options.fd;
  let unlink = () => {};
  try {
    fd ??= await bind(sockets, options);
    if (options.fd === undefined && options.path !== undefined) {
      unlink = await unlinking(options.path);
    }
    // This refuses what is no socket to listen on. Nothing of it has been
    // changed then: it may be the terminal, which others use too.
    if (sockets.listen(fd, options.backlog ?? defaultBacklog) < 0) {
      throw systemError(sockets.errno());
    }
    if (sockets.ioctl(fd, FIONBIO, on) < 0) throw systemError(sockets.errno());
    return new EpollListener(sockets, epoll, fd, options, accept, unlink);
  } catch (cause) {
    unlink();
    if (options.fd === undefined && fd !== undefined) sockets.close(fd);
    throw listenError(options, cause);
  }
}

/** A socket that is bound where the options say. */
async function bind(
  sockets: LinuxSockets,
  options: ListenOptions,
): Promise<number> {
  const { path } = options;
  const address = path === undefined
    ? await tcpSocketAddress(options)
    : unixSocketAddress(path);
  if (address === undefined) {
    const nameless = path === "" || path!.includes("\0");
    throw systemError(nameless ? EINVAL : ENAMETOOLONG);
  }
  const type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const fd = sockets.socket(familyOf(address), type, 0);
  if (fd < 0) throw systemError(sockets.errno());
  if (path === undefined) {
    sockets.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, on, 4);
    if (options.reusePort === true) {
      sockets.setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, on, 4);
    }
  }
  if (sockets.bind(fd, address, address.length) === 0) return fd;
  const failure = systemError(sockets.errno());
  sockets.close(fd);
  throw failure;
}

/** Removes a socket of ours from the file system, unless another has come to its
 * place. */
async function unlinking(path: string): Promise<() => void> {
  const { lstatSync, realpathSync, unlinkSync } = await import("node:fs");
  const ours = lstatSync(path);
  const whole = realpathSync(path); // the program may go elsewhere
  return () => {
    try {
      const now = lstatSync(whole);
      if (now.ino === ours.ino && now.dev === ours.dev) unlinkSync(whole);
    } catch {
      return; // it has gone, or the directory is not ours any more
    }
  };
}

/** The address of a host: the first that a name has. */
async function tcpSocketAddress(
  { hostname = defaultHostname, port = 0 }: ListenOptions,
): Promise<Uint8Array> {
  const given = ipSocketAddress(hostname, port);
  if (given !== undefined) return given;
  const { lookup } = await import("node:dns/promises");
  const { address } = await lookup(hostname);
  const found = ipSocketAddress(address, port);
  if (found === undefined) throw systemError(EADDRNOTAVAIL);
  return found;
}

/** How many connections are accepted before others have their turn. */
const acceptedAtOnce = 64;
/** Of a socket that other processes accept from too: each is to have some. */
const acceptedAtOnceShared = 1;

/** How long to wait after a failed accept: too many open files is cured by
 * connections that end, not by trying at once. */
const acceptRetryMs = 50;

/** The most that a queue holds, give or take: an end for the last look. */
const longestQueue = 65_536;

class EpollListener implements Listener, Watched {
  readonly fd: number;
  readonly address: Address;
  readonly #sockets: LinuxSockets;
  readonly #epoll: Epoll;
  readonly #accept: (stream: ByteStream) => void;
  /** The path of a Unix socket. */
  readonly #path: string | null;
  /** Removes what the socket has left in the file system. */
  readonly #unlink: () => void;
  readonly #atOnce: number;
  #open = true;
  #closing = false;
  #retry: ReturnType<typeof setTimeout> | undefined;

  readonly #peer: Uint8Array = new Uint8Array(addressSize);
  readonly #peerLength: Uint32Array = new Uint32Array(1);

  constructor(
    sockets: LinuxSockets,
    epoll: Epoll,
    fd: number,
    options: ListenOptions,
    accept: (stream: ByteStream) => void,
    unlink: () => void,
  ) {
    this.#sockets = sockets;
    this.#epoll = epoll;
    this.fd = fd;
    this.#accept = accept;
    this.#unlink = unlink;
    this.#atOnce = options.fd === undefined
      ? acceptedAtOnce
      : acceptedAtOnceShared;
    const bound = localAddress(sockets, fd);
    this.#path = bound.port === 0 ? options.path ?? bound.host : null;
    this.address = this.#path === null ? bound : unixAddress(this.#path);
    epoll.add(this, EPOLLIN);
  }

  ready(): void {
    // Some events cannot be declined.
    if (this.#retry === undefined) this.#acceptUpTo(this.#atOnce);
  }

  /** What has connected before is served: the kernel resets whatever it has
   * queued when the socket goes. */
  close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      this.#acceptUpTo(longestQueue);
      this.#open = false;
      clearTimeout(this.#retry);
      this.#epoll.remove(this);
      this.#unlink();
      this.#sockets.close(this.fd);
    }
    return Promise.resolve();
  }

  #acceptUpTo(most: number): void {
    const flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
    for (let count = 0; count < most && this.#open; count++) {
      this.#peerLength[0] = addressSize;
      const fd = this.#sockets.accept4(
        this.fd,
        this.#peer,
        this.#peerLength,
        flags,
      );
      if (fd >= 0) this.#take(fd);
      else {
        const errno = this.#sockets.errno();
        if (errno === EAGAIN) return;
        if (notForNow.includes(errno)) return this.#acceptLater();
        // A peer that has left already was next, and is gone.
      }
    }
  }

  #take(fd: number): void {
    let stream: EpollStream;
    try {
      stream = this.#streamOf(fd);
    } catch { // no room to watch it
      this.#sockets.close(fd);
      return;
    }
    try {
      this.#accept(stream);
    } catch (error) { // the others in the queue are not to suffer from it
      throwInOwnTurn(error);
    }
  }

  #streamOf(fd: number): EpollStream {
    if (this.#path !== null) {
      const nobody = unixAddress("");
      const ours = this.address;
      return new EpollStream(this.#sockets, this.#epoll, fd, nobody, ours);
    }
    this.#sockets.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, on, 4);
    const remote = shownSocketAddress(this.#peer, this.#peerLength[0]!);
    return new EpollStream(this.#sockets, this.#epoll, fd, remote);
  }

  /** It stays registered: where there are no descriptors, none could be had to
   * begin again. */
  #acceptLater(): void {
    if (this.#closing) return;
    this.#epoll.change(this, EPOLLET);
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#epoll.change(this, EPOLLIN);
    }, acceptRetryMs);
  }
}
