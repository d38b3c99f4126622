/** Connects the kernel's own sockets. */
import type { Address, ByteStream, ConnectOptions } from "../src/stream.ts";
import {
  connectError,
  connectPatienceMs,
  connectTimeout,
  unixAddress,
} from "./endpoint.ts";
import type { Epoll, Watched } from "./epoll.ts";
import { EpollStream } from "./epoll_stream.ts";
import {
  EALREADY,
  EINPROGRESS,
  EPOLLET,
  EPOLLOUT,
  familyOf,
  IPPROTO_TCP,
  type LinuxSockets,
  shownSocketAddress,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  systemError,
  TCP_NODELAY,
} from "./linux_sockets.ts";

const on = new Int32Array([1]);

/** Connects to `address`, which is that of the options. Rejects as
 * `denoConnect()` does. */
export async function connectWithEpoll(
  sockets: LinuxSockets,
  epoll: Epoll,
  options: ConnectOptions,
  address: Uint8Array,
): Promise<ByteStream> {
  const type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const fd = sockets.socket(familyOf(address), type, 0);
  if (fd < 0) throw connectError(options, systemError(sockets.errno()));
  try {
    const { length } = address;
    if (sockets.connect(fd, address, length) < 0) {
      const errno = sockets.errno();
      if (errno !== EINPROGRESS) throw systemError(errno);
      await connected(sockets, epoll, fd, address);
    }
    return streamTo(sockets, epoll, options, fd, address);
  } catch (cause) {
    sockets.close(fd);
    throw cause === tooLate
      ? connectTimeout(options)
      : connectError(options, cause);
  }
}

function streamTo(
  sockets: LinuxSockets,
  epoll: Epoll,
  { path }: ConnectOptions,
  fd: number,
  address: Uint8Array,
): EpollStream {
  const [remote, local]: [Address, Address | null] = path === undefined
    ? [shownSocketAddress(address, address.length), null]
    : [unixAddress(path), unixAddress("")];
  if (path === undefined) {
    sockets.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, on, 4);
  }
  return new EpollStream(sockets, epoll, fd, remote, local);
}

const tooLate: unique symbol = Symbol("too late");

/** Resolves when a connection that is under way has been made. */
function connected(
  sockets: LinuxSockets,
  epoll: Epoll,
  fd: number,
  address: Uint8Array,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket: Watched = {
      fd,
      ready() {
        // To ask again is how the kernel tells what has become of it.
        if (sockets.connect(fd, address, address.length) === 0) {
          return end(resolve);
        }
        const errno = sockets.errno();
        if (errno === EALREADY) return;
        end(() => reject(systemError(errno)));
      },
    };
    const end = (settle: () => void) => {
      clearTimeout(timer);
      epoll.remove(socket);
      settle();
    };
    epoll.add(socket, EPOLLOUT | EPOLLET);
    const timer = setTimeout(
      () => end(() => reject(tooLate)),
      connectPatienceMs,
    );
  });
}
