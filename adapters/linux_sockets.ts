/** The kernel's own sockets, by the C library and Deno's foreign function
 * interface: on Linux, where the program may use it. A call takes well under a
 * microsecond beside the kernel's work, where an asynchronous read or write of
 * Deno takes one and more, and it answers at once.
 *
 * Descriptors are plain numbers here, and belong to whoever opened them.
 *
 * Length: a third of it is the types of the calls, and of the part of Deno's
 * that makes them. */
import type { Address } from "../src/stream.ts";
import { canonicalIp, tcpAddress, unixAddress } from "./endpoint.ts";

/** The calls, as their manual pages have them: a negative number is a failure,
 * of which `errno()` tells more until the next call. None waits, for every
 * socket here is non-blocking; only `wait` does, in a thread of its own. */
export interface SocketCalls {
  /** socket(2) */
  socket(domain: number, type: number, protocol: number): number;
  /** bind(2) */
  bind(fd: number, address: Uint8Array, length: number): number;
  /** listen(2) */
  listen(fd: number, backlog: number): number;
  /** connect(2) */
  connect(fd: number, address: Uint8Array, length: number): number;
  /** accept4(2) */
  accept4(
    fd: number,
    address: Uint8Array,
    length: Uint32Array,
    flags: number,
  ): number;
  /** setsockopt(2) */
  setsockopt(
    fd: number,
    level: number,
    name: number,
    value: Int32Array,
    length: number,
  ): number;
  /** getsockname(2) */
  getsockname(fd: number, address: Uint8Array, length: Uint32Array): number;
  /** recv(2) */
  recv(fd: number, memory: Uint8Array, size: bigint, flags: number): number;
  /** send(2) */
  send(fd: number, bytes: Uint8Array, size: bigint, flags: number): number;
  /** shutdown(2) */
  shutdown(fd: number, how: number): number;
  /** close(2) */
  close(fd: number): number;
  /** ioctl(2) */
  ioctl(fd: number, request: bigint, value: Int32Array): number;
  /** eventfd(2) */
  eventfd(value: number, flags: number): number;
  /** eventfd_write(3) */
  eventfd_write(fd: number, value: bigint): number;
  /** epoll_create1(2) */
  epoll_create1(flags: number): number;
  /** epoll_ctl(2) */
  epoll_ctl(
    epoll: number,
    operation: number,
    fd: number,
    event: Uint32Array,
  ): number;
  /** epoll_wait(2) that returns at once. */
  epoll_wait(
    epoll: number,
    events: Uint32Array,
    count: number,
    timeoutMs: 0,
  ): number;
  /** epoll_wait(2) that waits, while the program goes on. */
  wait(
    epoll: number,
    events: Uint32Array,
    count: number,
    timeoutMs: -1,
  ): Promise<number>;
}

/** The system calls, what they failed with, and how this machine lays out an
 * event of epoll. */
export interface LinuxSockets extends SocketCalls {
  /** Why the last call failed. */
  errno(): number;
  /** Of `struct epoll_event`, in words of 32 bits. */
  readonly event: EventLayout;
}

/** Where the parts of `struct epoll_event` are, in words of 32 bits: it is
 * packed on x86-64 and on nothing else. */
export interface EventLayout {
  /** Of the whole. */
  readonly size: number;
  /** Where its 64 bits of data begin. */
  readonly data: number;
}

const layouts: Readonly<Record<string, EventLayout>> = {
  x86_64: { size: 3, data: 1 },
  aarch64: { size: 4, data: 2 },
};

const library = "libc.so.6";

const signatures: Readonly<Record<keyof ForeignCalls, unknown>> = {
  socket: call("i32", "i32", "i32"),
  bind: call("i32", "buffer", "u32"),
  listen: call("i32", "i32"),
  connect: call("i32", "buffer", "u32"),
  accept4: call("i32", "buffer", "buffer", "i32"),
  setsockopt: call("i32", "i32", "i32", "buffer", "u32"),
  getsockname: call("i32", "buffer", "buffer"),
  recv: call("i32", "buffer", "usize", "i32"),
  send: call("i32", "buffer", "usize", "i32"),
  shutdown: call("i32", "i32"),
  close: call("i32"),
  ioctl: call("i32", "usize", "buffer"),
  eventfd: call("u32", "i32"),
  eventfd_write: call("i32", "usize"),
  epoll_create1: call("i32"),
  epoll_ctl: call("i32", "i32", "i32", "buffer"),
  epoll_wait: call("i32", "buffer", "i32", "i32"),
  wait: {
    ...call("i32", "buffer", "i32", "i32"),
    name: "epoll_wait",
    nonblocking: true,
  },
  __errno_location: { parameters: [], result: "pointer" },
};

/** What recv(2) and send(2) return is 64 bits wide; no buffer here is so large
 * that 32 would not do. What they take is 64 bits wide too, and has to be a
 * BigInt: for a number, V8 would throw its fastest code away at each call. */
function call(...parameters: string[]): object {
  return { parameters, result: "i32" };
}

/** The part of `Deno` that this module uses. */
export interface DenoForeign {
  /** The system and the machine. */
  readonly build: { readonly os: string; readonly arch: string };
  /** What the program may do. */
  readonly permissions: {
    /** Looks, and asks nobody. */
    querySync(permission: { readonly name: DenoPermission }): {
      /** "granted" and the like. */
      readonly state: string;
      /** Whether exceptions were made: `--deny-net=192.0.2.1`. */
      readonly partial: boolean;
    };
  };
  /** Loads a library. Throws where there is none, or a symbol is missing. */
  dlopen(path: string, symbols: Readonly<Record<string, unknown>>): {
    readonly symbols: unknown;
  };
  /** Looks at foreign memory. */
  readonly UnsafePointerView: new (pointer: never) => {
    /** Its first 32 bits. */
    getInt32(): number;
  };
}

/** A permission, for all that it covers. */
export type DenoPermission = "ffi" | "net" | "read" | "write";

let found: LinuxSockets | null | undefined;

/** The kernel's sockets; null on another system or machine, with another C
 * library, and where the program may not call it (`--allow-ffi`) or may use
 * parts of the network only, which these calls would not heed.
 *
 * Null in a worker too: it can be terminated at any moment. Deno would not
 * close what it knows nothing of, so that clients would wait for ever; and the
 * kernel would still write events into memory that has been freed. */
export function linuxSockets(): LinuxSockets | null {
  return found === undefined ? found = find() : found;
}

/** Whether the program may make and remove sockets anywhere in the file
 * system. */
export function mayUsePaths(): boolean {
  return isGranted("read") && isGranted("write");
}

function denoForeign(): DenoForeign | undefined {
  return (globalThis as unknown as { Deno?: DenoForeign }).Deno;
}

/** To ask for it could ask a person. */
function isGranted(name: DenoPermission): boolean {
  const status = denoForeign()?.permissions.querySync({ name });
  return status?.state === "granted" && !status.partial;
}

function inWorker(): boolean {
  return "DedicatedWorkerGlobalScope" in globalThis;
}

function find(): LinuxSockets | null {
  const Deno = denoForeign();
  const event = layouts[Deno?.build.arch ?? ""];
  if (Deno?.build.os !== "linux" || event === undefined) return null;
  if (inWorker() || !isGranted("ffi") || !isGranted("net")) return null;
  let symbols;
  try {
    symbols = Deno.dlopen(library, signatures).symbols as ForeignCalls;
  } catch {
    return null;
  }
  const { __errno_location, ...calls } = symbols;
  const errno = new Deno.UnsafePointerView(__errno_location());
  return { ...calls, event, errno: () => errno.getInt32() };
}

/** What the C library is asked for. */
interface ForeignCalls extends SocketCalls {
  /** Where this thread's `errno` is. */
  __errno_location(): never;
}

// ---- Their constants, which are the same on both machines ----

/** Domains of socket(2). */
export const AF_UNIX = 1, AF_INET = 2, AF_INET6 = 10;
/** Types of socket(2), with what accept4(2) takes too. */
export const SOCK_STREAM = 1, SOCK_NONBLOCK = 0x800, SOCK_CLOEXEC = 0x80000;
/** Levels of setsockopt(2). */
export const SOL_SOCKET = 1, IPPROTO_TCP = 6;
/** Options of setsockopt(2). */
export const SO_REUSEADDR = 2, SO_LINGER = 13, SO_REUSEPORT = 15;
/** Turns Nagle's algorithm off. */
export const TCP_NODELAY = 1;
/** Flags of recv(2) and send(2). */
export const MSG_PEEK = 2, MSG_DONTWAIT = 0x40, MSG_NOSIGNAL = 0x4000;
/** No more will be sent. */
export const SHUT_WR = 1;
/** Makes a descriptor non-blocking, or not. */
export const FIONBIO = 0x5421n;

/** Events of epoll(7). */
export const EPOLLIN = 1,
  EPOLLPRI = 2,
  EPOLLOUT = 4,
  EPOLLERR = 8,
  EPOLLHUP = 0x10,
  EPOLLRDHUP = 0x2000,
  EPOLLET = 0x80000000;
/** Operations of epoll_ctl(2). */
export const EPOLL_CTL_ADD = 1, EPOLL_CTL_DEL = 2, EPOLL_CTL_MOD = 3;

/** What a call can fail with and be called again. */
export const EINTR = 4, EAGAIN = 11;
/** A connection is being made. */
export const EALREADY = 114, EINPROGRESS = 115;
/** There is nothing to be read from it any more, and it has not failed. */
export const EPIPE = 32;
/** What an accept(2) fails with time and again, not since a peer has left. */
export const notForNow: readonly number[] = [
  9, // EBADF
  12, // ENOMEM
  22, // EINVAL: it does not listen any more
  23, // ENFILE
  24, // EMFILE
  88, // ENOTSOCK
  105, // ENOBUFS
];
/** What no address can be made of. */
export const EINVAL = 22, ENAMETOOLONG = 36, EADDRNOTAVAIL = 99;

const names: Readonly<Record<number, [code: string, message: string]>> = {
  1: ["EPERM", "operation not permitted"],
  2: ["ENOENT", "no such file or directory"],
  9: ["EBADF", "bad file descriptor"],
  12: ["ENOMEM", "out of memory"],
  13: ["EACCES", "permission denied"],
  20: ["ENOTDIR", "not a directory"],
  22: ["EINVAL", "invalid argument"],
  23: ["ENFILE", "too many open files in the system"],
  24: ["EMFILE", "too many open files"],
  30: ["EROFS", "read-only file system"],
  32: ["EPIPE", "broken pipe"],
  36: ["ENAMETOOLONG", "file name too long"],
  88: ["ENOTSOCK", "not a socket"],
  95: ["EOPNOTSUPP", "operation not supported"],
  97: ["EAFNOSUPPORT", "address family not supported"],
  98: ["EADDRINUSE", "address in use"],
  99: ["EADDRNOTAVAIL", "address not available"],
  103: ["ECONNABORTED", "connection aborted"],
  104: ["ECONNRESET", "connection reset by peer"],
  105: ["ENOBUFS", "no buffer space"],
  110: ["ETIMEDOUT", "connection timed out"],
  111: ["ECONNREFUSED", "connection refused"],
  113: ["EHOSTUNREACH", "no route to host"],
};

/** A failed call as an error of Node would tell it: `code` is "EPIPE" and the
 * like. */
export function systemError(errno: number): Error & { code: string } {
  const [code, message] = names[errno] ??
    [`E${errno}`, `system error ${errno}`];
  return Object.assign(new Error(`${code}: ${message}`), { code });
}

// ---- Addresses ----

/** A `struct sockaddr` of any kind fits. */
export const addressSize = 128;

/** `struct sockaddr_un` has room for so much of a path and the NUL behind it. */
const longestPath = 108;

/** The `struct sockaddr_un` of a path; undefined where it is too long, and
 * where the kernel would take it for another: it ends a path at a NUL. */
export function unixSocketAddress(path: string): Uint8Array | undefined {
  if (path === "" || path.includes("\0")) return undefined;
  const bytes = new TextEncoder().encode(path);
  if (bytes.length >= longestPath) return undefined;
  const address = new Uint8Array(2 + bytes.length + 1);
  new Uint16Array(address.buffer, 0, 1)[0] = AF_UNIX;
  address.set(bytes, 2);
  return address;
}

/** The `struct sockaddr_in` or `sockaddr_in6` of an IP address; undefined where
 * it is none, or names a zone. Throws where the port is none. */
export function ipSocketAddress(
  host: string,
  port: number,
): Uint8Array | undefined {
  if (!Number.isInteger(port) || port < 0 || port > 0xffff) {
    const failure = new RangeError(`Port ${port} is not from 0 to 65535`);
    throw Object.assign(failure, { code: "ERR_SOCKET_BAD_PORT" });
  }
  const octets = host.includes(":") ? ipv6Octets(host) : ipv4Octets(host);
  if (octets === undefined) return undefined;
  const isV4 = octets.length === 4;
  const address = new Uint8Array(isV4 ? 16 : 28);
  new Uint16Array(address.buffer, 0, 1)[0] = isV4 ? AF_INET : AF_INET6;
  address[2] = port >> 8;
  address[3] = port & 0xff;
  address.set(octets, isV4 ? 4 : 8);
  return address;
}

/** A leading zero makes an octal number for some, and a decimal one for others:
 * such a host is left to the resolver. */
function ipv4Octets(host: string): number[] | undefined {
  if (!/^(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}$/.test(host)) return undefined;
  const octets = host.split(".").map(Number);
  return octets.every((octet) => octet < 256) ? octets : undefined;
}

function ipv6Octets(host: string): number[] | undefined {
  if (!/^[\da-f:.]+$/i.test(host) || !URL.canParse(`http://[${host}]/`)) {
    return undefined;
  }
  const canonical = canonicalIp(host); // without dots
  const [before = [], after = []] = canonical.split("::").map((half) =>
    half === "" ? [] : half.split(":").map((group) => parseInt(group, 16))
  );
  const zeros = Array<number>(8 - before.length - after.length).fill(0);
  return [...before, ...zeros, ...after]
    .flatMap((group) => [group >> 8, group & 0xff]);
}

/** The domain of an address, as socket(2) wants it. */
export function familyOf(address: Uint8Array): number {
  return address[0]! | address[1]!; // one of them is 0
}

/** What a `struct sockaddr` of `length` bytes says. */
export function shownSocketAddress(
  address: Uint8Array,
  length: number,
): Address {
  const family = familyOf(address);
  const port = address[2]! << 8 | address[3]!;
  if (family === AF_INET) return { host: dotted(address, 4), port };
  if (family !== AF_INET6) return unixAddress(shownPath(address, length));
  if (isMapped(address)) return { host: dotted(address, 20), port };
  const groups: string[] = [];
  for (let at = 8; at < 24; at += 2) {
    groups.push((address[at]! << 8 | address[at + 1]!).toString(16));
  }
  return tcpAddress(canonicalIp(groups.join(":")), port);
}

function dotted(address: Uint8Array, at: number): string {
  return `${address[at]}.${address[at + 1]}.${address[at + 2]}.${
    address[at + 3]
  }`;
}

/** Whether it is an IPv4 address within IPv6, as in `::ffff:192.0.2.1`. */
function isMapped(address: Uint8Array): boolean {
  for (let at = 8; at < 18; at++) if (address[at] !== 0) return false;
  return address[18] === 0xff && address[19] === 0xff;
}

/** The path ends with the address or with a NUL; where it begins with one, it
 * is an abstract name, which is shown with "@". */
function shownPath(address: Uint8Array, length: number): string {
  const path = new TextDecoder().decode(
    address.subarray(2, Math.max(2, length)),
  );
  return path.startsWith("\0")
    ? `@${path.slice(1)}`
    : path.replace(/\0.*$/s, "");
}
