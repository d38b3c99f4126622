/** Which of this process's descriptors is which socket, and where it listens,
 * from Linux's /proc. Elsewhere nobody tells, and everything here is empty. */
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
} from "node:fs";
import { endianness } from "node:os";
import type { Address, ListenOptions } from "../src/stream.ts";
import { canonicalIp, tcpAddress, unixAddress } from "./endpoint.ts";

/** A socket of this network namespace, as the kernel lists it. */
export interface SocketEntry {
  /** The number by which descriptors are told to be of this socket. */
  readonly inode: string;
  /** False for a connection, or a socket that is none yet. */
  readonly listening: boolean;
  /** Where it is bound. An abstract Unix address starts with "@". */
  readonly address: Address;
}

/** Where this process's sockets are: the first descriptor of each inode. */
export function openSockets(): Map<string, number> {
  const found = new Map<string, number>();
  for (const fd of descriptorNumbers()) {
    const inode = socketInode(fd);
    if (inode !== undefined && !found.has(inode)) found.set(inode, fd);
  }
  return found;
}

/** The descriptors that this process has open; none where nobody tells. */
export function descriptorNumbers(): number[] {
  try {
    return readdirSync("/proc/self/fd").map(Number).sort((a, b) => a - b);
  } catch {
    return [];
  }
}

/** The inode of the socket that a descriptor is open on; undefined when it is
 * open on something else, or not open at all. */
export function socketInode(fd: number): string | undefined {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
  } catch {
    return undefined;
  }
}

/** The path of an inherited Unix socket, of which runtimes do not tell; undefined
 * where it is none, its address is known, or nobody tells. */
export function inheritedPath(
  { fd, hostname, path }: ListenOptions,
): string | undefined {
  if (fd === undefined || hostname !== undefined || path !== undefined) {
    return undefined;
  }
  const inode = socketInode(fd);
  return unixEntries().find((entry) => entry.inode === inode)?.address.host;
}

/** The TCP and Unix sockets of this network namespace, by inode. */
export function socketTable(): Map<string, SocketEntry> {
  const entries = [
    ...tcpEntries("/proc/net/tcp"),
    ...tcpEntries("/proc/net/tcp6"),
    ...unixEntries(),
  ];
  return new Map(entries.map((entry) => [entry.inode, entry]));
}

/** The TCP sockets that listen on a port. */
export function listenersOn(port: number): SocketEntry[] {
  return [...tcpEntries("/proc/net/tcp"), ...tcpEntries("/proc/net/tcp6")]
    .filter((entry) => entry.listening && entry.address.port === port);
}

/** Whether somebody listens on an abstract Unix address. Not every runtime
 * gives the same length to the same name, so NULs at its end do not count. */
export function holdsAbstractName(name: string): boolean {
  return unixEntries().some(({ address }) =>
    address.host.startsWith("@") &&
    address.host.slice(1).replace(/@+$/, "") === name
  );
}

// ---- The tables ----

const listenState = "0A";
/** TIME_WAIT, in which a busy machine has tens of thousands, and nobody one. */
const closedAlready = /^ *\d+: \w+:\w+ \w+:\w+ 06 /;
/** `__SO_ACCEPTCON` */
const acceptsConnections = 0x10000;

/** `sl local_address rem_address st queues timer retransmit uid timeout inode` */
function tcpEntries(table: string): SocketEntry[] {
  return rows(table).flatMap((line) => {
    if (closedAlready.test(line)) return [];
    const columns = line.trim().split(/\s+/);
    const [, local = "", , state] = columns;
    const inode = columns[9];
    const [host, port] = local.split(":");
    if (inode === undefined || host === undefined || port === undefined) {
      return [];
    }
    return {
      inode,
      listening: state === listenState,
      address: tcpAddress(readIp(host), parseInt(port, 16)),
    };
  });
}

/** `Num RefCount Protocol Flags Type St Inode Path` */
function unixEntries(): SocketEntry[] {
  const row = /^\S+ \S+ \S+ (\S+) \S+ \S+ +(\d+)(?: (.*))?$/;
  return rows("/proc/net/unix").flatMap((line) => {
    const [, flags, inode, path] = row.exec(line) ?? [];
    if (flags === undefined || inode === undefined) return [];
    return {
      inode,
      listening: (parseInt(flags, 16) & acceptsConnections) !== 0,
      address: unixAddress(path),
    };
  });
}

/** The lines of a table without its title. */
function rows(table: string): string[] {
  try {
    return readFileSync(table, "utf8").split("\n").slice(1);
  } catch {
    return [];
  }
}

/** An address as the kernel prints it: 32-bit words in the machine's order. */
function readIp(hex: string): string {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) => {
    const pairs = (word.match(/../g) ?? []).map((pair) => parseInt(pair, 16));
    return endianness() === "LE" ? pairs.reverse() : pairs;
  });
  if (bytes.length === 4) return bytes.join(".");
  const mapped = bytes.slice(0, 10).every((byte) => byte === 0) &&
    bytes[10] === 0xff && bytes[11] === 0xff;
  if (mapped) return `::ffff:${bytes.slice(12).join(".")}`;
  const groups = Array.from(
    { length: 8 },
    (_, at) => ((bytes[2 * at]! << 8) | bytes[2 * at + 1]!).toString(16),
  );
  return canonicalIp(groups.join(":"));
}

/** Enough for some four hundred listeners, which come first in the table. */
const listenersBytes = 65_536;

/** How many connections wait to be accepted on the TCP socket of this
 * descriptor; undefined where nobody tells. */
export function queueLength(fd: number): number | undefined {
  const inode = socketInode(fd);
  if (inode === undefined) return undefined;
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of beginningOf(table).split("\n")) {
      const columns = line.trim().split(/\s+/);
      // Of a listener, "tx:rx" tells in its second half how many wait.
      if (columns[9] === inode) return parseInt(columns[4]?.slice(9) ?? "", 16);
    }
  }
  return undefined;
}

function beginningOf(path: string): string {
  try {
    const file = openSync(path, "r");
    try {
      const bytes = new Uint8Array(listenersBytes);
      return new TextDecoder().decode(
        bytes.subarray(0, readSync(file, bytes)),
      );
    } finally {
      closeSync(file);
    }
  } catch {
    return "";
  }
}
