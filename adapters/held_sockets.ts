/** Listening sockets that are held without accepting: bound here to be handed
 * on, or inherited from the process that bound them. */
import { closeSync, existsSync, lstatSync, unlinkSync } from "node:fs";
import { lookup } from "node:dns/promises";
import { createServer, isIP, type Server } from "node:net";
import { dirname } from "node:path";
import process from "node:process";
import type { BoundSockets, HeldSocket, Lock } from "../src/daemon/host.ts";
import type { Address, ListenOptions } from "../src/stream.ts";
import {
  descriptorNumbers,
  listenersOn,
  openSockets,
  type SocketEntry,
  socketInode,
  socketTable,
} from "./descriptors.ts";
import {
  canonicalIp,
  defaultBacklog,
  defaultHostname,
  listenError,
  tcpAddress,
  unixAddress,
} from "./endpoint.ts";
import { handleDescriptor, listenLocal, lock } from "./local_socket.ts";

/** Whether several sockets can share a port, and the kernel shares out the
 * connections: Linux, and Node since 22.12 and 23.1. */
export const reusePortSupported: boolean = process.platform === "linux" &&
  runtimeSharesPorts();

function runtimeSharesPorts(): boolean {
  const { deno, bun, node } = process.versions;
  if (deno !== undefined || bun !== undefined) return true;
  const [major = 0, minor = 0] = node.split(".").map(Number);
  return major > 23 || (major === 23 && minor >= 1) ||
    (major === 22 && minor >= 12);
}

// ---- Binding ----

/** As `DaemonHost.bind` promises. Names are resolved first; from there on all
 * happens within one turn of the event loop, so that nothing is accepted. */
export async function bindSockets(
  addresses: readonly ListenOptions[],
  slots: number,
): Promise<BoundSockets> {
  const resolved = await Promise.all(addresses.map(withAddress));
  const locks = slots > 1 ? await lockPorts(resolved) : [];
  const bound: OwnSocket[] = [];
  const close = () => {
    for (const socket of bound.splice(0)) socket.close();
  };
  try {
    for (const options of resolved) {
      await bindEach(options, slots, bound);
    }
  } catch (error) {
    for (const socket of bound) socket.discard();
    throw error;
  } finally {
    for (const { release } of locks) release();
  }
  return { sockets: bound.map(({ fd, address }) => ({ fd, address })), close };
}

/** A socket of ours. */
interface OwnSocket extends HeldSocket {
  /** Closes our copy. */
  close(): void;
  /** Closes it, and removes what it has left in the file system. */
  discard(): void;
}

/** The options with a host's first address for its name. */
async function withAddress(options: ListenOptions): Promise<ListenOptions> {
  if (options.path !== undefined || options.fd !== undefined) return options;
  const { hostname = defaultHostname } = options;
  if (isIP(hostname) !== 0) return { ...options, hostname };
  try {
    const { address } = await lookup(hostname);
    return { ...options, hostname: address };
  } catch (cause) {
    throw refusal(options, cause);
  }
}

/** Adds the sockets of one address. */
async function bindEach(
  options: ListenOptions,
  slots: number,
  bound: OwnSocket[],
): Promise<void> {
  if (options.fd !== undefined) {
    bound.push(given(options.fd));
  } else if (options.path !== undefined) {
    bound.push(await bindUnix({ ...options, path: options.path }));
  } else {
    const shared = slots > 1 && reusePortSupported &&
      (options.reusePort === true || !mayBeTaken(options));
    let { port = 0 } = options;
    for (let count = shared ? slots : 1; count > 0; count--) {
      const socket = await bindTcp({ ...options, port, reusePort: shared });
      bound.push(socket);
      port = socket.address.port; // the first chooses, the others follow
    }
  }
}

/** How long another server may take to bind what it has looked at. */
const lockPatienceMs = 2000;
const lockPauseMs = 20;

/** Of two servers that start at once each would find the port free, and then
 * share it: so they look one after the other. */
async function lockPorts(addresses: readonly ListenOptions[]): Promise<Lock[]> {
  if (!reusePortSupported) return [];
  const ports = new Set(addresses.flatMap(({ port = 0 }) => port || []));
  const deadline = performance.now() + lockPatienceMs;
  const locks: Lock[] = [];
  for (const port of [...ports].sort((a, b) => a - b)) {
    for (;;) {
      const held = await lock(`port ${port}`);
      if (held !== undefined) locks.push(held);
      if (held !== undefined || performance.now() > deadline) break;
      await new Promise((resolve) => setTimeout(resolve, lockPauseMs));
    }
  }
  return locks;
}

/** Whether somebody seems to listen there. With SO_REUSEPORT another server of
 * the same user would take half of our connections instead of being refused; so
 * then the port is asked for without, and the kernel decides. */
function mayBeTaken({ hostname = "", port = 0 }: ListenOptions): boolean {
  const wildcard = (host: string) => host === "0.0.0.0" || host === "::";
  const ours = canonicalIp(hostname);
  return port !== 0 &&
    listenersOn(port).some(({ address: { host } }) =>
      host === ours || wildcard(host) || wildcard(ours)
    );
}

async function bindTcp(options: ListenOptions): Promise<OwnSocket> {
  const before = openSockets();
  const server = await listenTcp(options);
  const close = () => void server.close();
  const { address, port } = server.address() as Exclude<
    ReturnType<Server["address"]>,
    string | null
  >;
  const fd = descriptorOf(before, handleDescriptor(server), options, close);
  return { fd, address: tcpAddress(address, port), close, discard: close };
}

function listenTcp(options: ListenOptions): Promise<Server> {
  return new Promise((resolve, reject) => {
    // A connection that comes here has come too late to be anybody else's.
    const server = createServer((socket) => socket.destroy());
    server.once("error", (cause) => reject(refusal(options, cause)));
    server.listen({
      host: options.hostname,
      port: options.port,
      backlog: options.backlog ?? defaultBacklog,
      reusePort: options.reusePort === true,
    }, () => {
      server.removeAllListeners("error").on("error", () => {});
      resolve(server);
    });
  });
}

async function bindUnix(
  options: ListenOptions & { readonly path: string },
): Promise<OwnSocket> {
  const { path, backlog } = options;
  const before = openSockets();
  let listener;
  try {
    listener = await listenLocal(path, { backlog });
  } catch (cause) {
    throw refusal(options, cause);
  }
  const file = lstatSync(path);
  const close = () => listener.close();
  const discard = () => {
    close();
    const now = lstatSync(path, { throwIfNoEntry: false });
    if (now?.ino === file.ino && now.dev === file.dev) unlinkSync(path);
  };
  const fd = descriptorOf(before, listener.fd, options, discard);
  return { fd, address: unixAddress(path), close, discard };
}

/** A socket that somebody else has bound, and whose number we were told. */
function given(fd: number): OwnSocket {
  const address = addressOf(fd, socketTable());
  return { fd, address, close() {}, discard() {} };
}

/** The descriptor of the socket that was opened just now. */
function descriptorOf(
  before: ReadonlyMap<string, number>,
  told: number | undefined,
  options: ListenOptions,
  giveUp: () => void,
): number {
  if (told !== undefined) return told;
  const opened = [...openSockets()].filter(([inode]) => !before.has(inode));
  const found = opened.length === 1
    ? opened
    : opened.filter(([inode]) => socketTable().get(inode)?.listening);
  const fd = found[0]?.[1];
  if (found.length === 1 && fd !== undefined) return fd;
  giveUp();
  throw Object.assign(
    new Error("The system does not tell which descriptor a socket has"),
    { code: "ENOTSUP", port: options.port },
  );
}

/** What listening failed with, under one name on each runtime. */
function refusal(options: ListenOptions, cause: unknown): Error {
  const code = codeOf(options, (cause as { code?: unknown }).code);
  const error = code === undefined
    ? listenError(options, cause)
    : listenError(options, cause, code);
  return options.port === undefined
    ? error
    : Object.assign(error, { port: options.port });
}

function codeOf(options: ListenOptions, code: unknown): string | undefined {
  if (typeof code !== "string") return undefined;
  const { path } = options;
  if (path !== undefined) {
    // libuv reports a missing directory as EACCES.
    return code === "EACCES" && !existsSync(dirname(path)) ? "ENOENT" : code;
  }
  // Deno has no name for EADDRNOTAVAIL here.
  return code === "EINVAL" ? "EADDRNOTAVAIL" : code;
}

// ---- Inheriting ----

/** As `DaemonHost.inherited` promises. */
export function inheritedSockets(fds: readonly number[]): HeldSocket[] {
  const table = socketTable();
  return fds.map((fd) => ({ fd, address: addressOf(fd, table) }));
}

/** Where a descriptor listens. Throws `RangeError` where it does not. */
function addressOf(
  fd: number,
  table: ReadonlyMap<string, SocketEntry>,
): Address {
  if (!existsSync("/proc/self/fd")) return unixAddress("");
  const inode = socketInode(fd);
  if (inode === undefined) {
    throw new RangeError(`Descriptor ${fd} is not an open socket`);
  }
  const entry = table.get(inode); // none in another network namespace
  if (entry?.listening === false) {
    throw new RangeError(`Descriptor ${fd} is a socket that does not listen`);
  }
  return entry?.address ?? unixAddress("");
}

/** As `DaemonHost.closeInherited` promises. */
export function closeInherited(fds: readonly number[], last: boolean): void {
  const { deno, bun } = process.versions;
  for (const fd of fds) {
    if (deno !== undefined) {
      for (const copy of copiesOf(fd)) closeByListening(copy, last);
    } else if (bun !== undefined || !last) closeSync(fd);
    else closeByListening(fd, last);
  }
}

/** Deno keeps a copy of each descriptor that it has handed to a child. */
function copiesOf(fd: number): number[] {
  const inode = socketInode(fd);
  const copies = descriptorNumbers().filter((other) =>
    other !== fd && inode !== undefined && socketInode(other) === inode
  );
  return [fd, ...copies];
}

/** A listener that is closed in the turn in which it began closes its
 * descriptor, and has accepted nothing. Deno's `closeSync` knows the files that
 * it has opened itself, and leaves other descriptors open without a word.
 *
 * To listen again sets how long the socket's queue may be, for everybody who has
 * the socket. The last makes it short: Node accepts one connection a turn, and
 * could not empty one that fills up meanwhile. Where others accept on, it has to
 * stay long: a Unix socket refuses at once whoever finds it full. */
function closeByListening(fd: number, last: boolean): void {
  const server = createServer();
  server.on("error", () => {});
  server.listen({ fd }, last ? 1 : defaultBacklog);
  server.close();
}

/** What Deno's `dlopen` gives here. */
interface SystemCalls {
  readonly symbols: { ioctl(fd: number, request: bigint): number };
  close(): void;
}

/** The part of `Deno` that this module uses. */
interface DenoForeign {
  readonly permissions: {
    querySync(permission: { name: "ffi" }): { readonly state: string };
  };
  dlopen(path: string, symbols: unknown): SystemCalls;
}

/** Close on exec. */
const FIOCLEX = 0x5451n;

/** As `DaemonHost.keepSockets` promises. Node and Bun see to it themselves; on
 * Deno only a system call does. */
export function keepSockets(): void {
  const { Deno } = globalThis as unknown as { Deno?: DenoForeign };
  if (Deno === undefined || process.platform !== "linux") return;
  // Without the permission it would ask a person.
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return;
  let system: SystemCalls;
  try {
    system = Deno.dlopen("libc.so.6", {
      ioctl: { parameters: ["i32", "u64"], result: "i32" },
    });
  } catch {
    return; // another C library
  }
  for (const fd of descriptorNumbers()) {
    if (fd > 2 && socketInode(fd) !== undefined) {
      system.symbols.ioctl(fd, FIOCLEX);
    }
  }
  system.close();
}
