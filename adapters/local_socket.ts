/** Unix-domain sockets of the daemon itself: held for a worker, as a lock, or
 * to answer questions. Deno's `node:net` leaves them open in every process that
 * is started, which would keep a lock beyond its holder's death; so there they
 * are `Deno.listen`'s. */
import { createHash } from "node:crypto";
import { renameSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import process from "node:process";
import type { Lock } from "../src/daemon/host.ts";
import { holdsAbstractName } from "./descriptors.ts";
import { defaultBacklog } from "./endpoint.ts";
import { systemCode } from "./whole_write.ts";

/** The part of `Deno` that this module uses. */
export interface DenoLocalSockets {
  /** Listens on a Unix-domain socket. */
  listen(options: { transport: "unix"; path: string }): DenoLocalListener;
}

/** The part of `Deno.UnixListener` that this module uses. */
export interface DenoLocalListener {
  /** The next connection. */
  accept(): Promise<DenoLocalConnection>;
  /** Stops listening; a pending `accept()` rejects. */
  close(): void;
}

/** The part of `Deno.UnixConn` that this module uses. */
export interface DenoLocalConnection {
  /** How many bytes came; null at the end of the stream. */
  read(into: Uint8Array): Promise<number | null>;
  /** How many bytes were taken. */
  write(bytes: Uint8Array): Promise<number>;
  /** Drops both directions. */
  close(): void;
}

/** One accepted connection. */
export interface LocalConnection {
  /** What comes next; null at the end, and when it failed. */
  read(): Promise<Uint8Array | null>;
  /** Sends, and closes. Never rejects. */
  end(text: string): void;
  /** Closes. Idempotent. */
  drop(): void;
}

/** A listening Unix-domain socket. */
export interface LocalListener {
  /** Its descriptor where the runtime tells. */
  readonly fd: number | undefined;
  /** Stops listening, and leaves the file where it is. */
  close(): void;
}

/** Listens on a path, or with a NUL in front on an abstract name. It is bound
 * before this returns, and rejects with the runtime's error. Without `accept`
 * it only stands there, and does not keep the process alive. */
export function listenLocal(
  path: string,
  options: {
    readonly backlog?: number | undefined;
    readonly accept?: (connection: LocalConnection) => void;
  },
): Promise<LocalListener> {
  const { Deno } = globalThis as unknown as { Deno?: DenoLocalSockets };
  return Deno === undefined
    ? listenByNet(path, options.backlog ?? defaultBacklog, options.accept)
    : listenByDeno(Deno, path, options.accept);
}

function listenByNet(
  path: string,
  backlog: number,
  accept: ((connection: LocalConnection) => void) | undefined,
): Promise<LocalListener> {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      if (accept === undefined) socket.destroy();
      else accept(netConnection(socket));
    });
    server.once("error", reject);
    server.listen({ path, backlog }, () => {
      server.off("error", reject);
      // A failed accept (too many open files) concerns one connection.
      server.on("error", () => {});
      resolve({
        fd: handleDescriptor(server),
        close: () => keepFile(path, () => server.close()),
      });
    });
    if (accept === undefined) server.unref();
  });
}

/** Where `node:net` has the descriptor, which it does not document. */
export function handleDescriptor(server: object): number | undefined {
  const { _handle } = server as { _handle?: { fd?: unknown } | null };
  const fd = _handle?.fd;
  return typeof fd === "number" && fd >= 0 ? fd : undefined;
}

function netConnection(socket: Socket): LocalConnection {
  const chunks = socket[Symbol.asyncIterator]();
  socket.on("error", () => {}); // a read tells it
  return {
    async read() {
      try {
        const { done, value } = await chunks.next();
        return done === true ? null : value as Uint8Array;
      } catch {
        return null;
      }
    },
    end: (text) => void socket.end(text, () => socket.destroy()),
    drop: () => void socket.destroy(),
  };
}

// deno-lint-ignore require-await -- what Deno throws has to be a rejection
async function listenByDeno(
  Deno: DenoLocalSockets,
  path: string,
  accept: ((connection: LocalConnection) => void) | undefined,
): Promise<LocalListener> {
  const listener = Deno.listen({ transport: "unix", path });
  if (accept !== undefined) void acceptAll(listener, accept);
  return {
    fd: undefined,
    close: () => keepFile(path, () => listener.close()),
  };
}

async function acceptAll(
  listener: DenoLocalListener,
  accept: (connection: LocalConnection) => void,
): Promise<void> {
  for (;;) {
    try {
      accept(denoConnection(await listener.accept()));
    } catch (error) {
      if (isClosed(error)) return;
      // Too many open files: some will be closed.
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

function isClosed(error: unknown): boolean {
  return error instanceof Error &&
    ["BadResource", "Interrupted"].includes(error.name);
}

function denoConnection(connection: DenoLocalConnection): LocalConnection {
  let open = true;
  const drop = () => {
    if (open) connection.close();
    open = false;
  };
  return {
    async read() {
      const into = new Uint8Array(4096);
      const count = await connection.read(into).catch(() => null);
      return count === null ? null : into.subarray(0, count);
    },
    end(text) {
      void writeAll(connection, new TextEncoder().encode(text)).then(
        drop,
        drop,
      );
    },
    drop,
  };
}

async function writeAll(
  connection: DenoLocalConnection,
  bytes: Uint8Array,
): Promise<void> {
  for (let sent = 0; sent < bytes.length;) {
    sent += await connection.write(bytes.subarray(sent));
  }
}

/** Every runtime removes the file of a socket that it closes, though others may
 * listen on that socket still, or have put another in its place. So the file
 * steps aside meanwhile, for a few microseconds. */
function keepFile(path: string, close: () => void): void {
  if (path.startsWith("\0")) return close();
  const aside = `${path}.${process.pid}~`;
  const moved = move(path, aside);
  try {
    close();
  } finally {
    if (moved) move(aside, path);
  }
}

/** False where there is no such file, or it cannot be moved, and so cannot be
 * removed either. */
function move(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch {
    return false;
  }
}

// ---- Locks ----

/** An abstract Unix address has room for this many bytes. Its length is counted
 * differently by each runtime, so a little is left. */
const lockNameBytes = 100;

/** As `DaemonHost.lock` promises. */
export async function lock(name: string): Promise<Lock | undefined> {
  if (process.platform !== "linux") return { release() {} };
  const address = lockAddress(name);
  if (holdsAbstractName(address)) return undefined;
  try {
    const listener = await listenLocal(`\0${address}`, {});
    return { release: () => listener.close() };
  } catch (error) {
    if (systemCode(error) === "EADDRINUSE") return undefined;
    throw error;
  }
}

function lockAddress(name: string): string {
  const address = `headgate:${name}`;
  if (new TextEncoder().encode(address).length <= lockNameBytes) return address;
  return `headgate:${createHash("sha256").update(name).digest("hex")}`;
}
