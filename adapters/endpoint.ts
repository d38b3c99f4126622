/** What the three adapters say alike about where they listen and connect: how an
 * address is shown, and why it failed. */
import type { Address, ConnectOptions, ListenOptions } from "../src/stream.ts";

/** The accept queue's length where none is asked for. */
export const defaultBacklog = 2048;

/** How long connecting may take. */
export const connectPatienceMs = 10_000;

/** Where to listen, and where to connect to, on TCP when no host is named. */
export const defaultHostname = "127.0.0.1";

/** An error of listening or connecting: `code` is "EADDRINUSE" and the like. */
export interface ListenError extends Error {
  /** The system's name for what went wrong. */
  readonly code: string;
}

/** An end of a TCP connection. An IPv4 peer of a dual-stack socket is shown as
 * IPv4 (`::ffff:192.0.2.1` as `192.0.2.1`), so that logs, allow lists and
 * REMOTE_ADDR know one spelling. */
export function tcpAddress(
  host: string | undefined,
  port: number | undefined,
): Address {
  if (host === undefined) return { host: "", port: 0 };
  const mapped = host.startsWith("::ffff:") && host.includes(".");
  return { host: mapped ? host.slice(7) : host, port: port ?? 0 };
}

/** One spelling for each address, as in "::1". */
export function canonicalIp(address: string): string {
  if (!address.includes(":")) return address;
  try {
    return new URL(`http://[${address}]/`).hostname.slice(1, -1);
  } catch {
    return address; // it names a zone, as in "fe80::1%eth0"
  }
}

/** An end of a Unix-domain connection; a client's end has no name. */
export function unixAddress(path: string | null | undefined): Address {
  return { host: path ?? "", port: 0 };
}

/** Says in plain words where and why listening failed. `cause` is the
 * runtime's own error; its code is kept. */
export function listenError(
  options: ListenOptions,
  cause: unknown,
  code: string = codeOf(cause),
): ListenError {
  const reason = reasons[code] ??
    (cause instanceof Error ? cause.message : String(cause));
  const message = `Cannot listen on ${describe(options)}: ${reason}`;
  return Object.assign(new Error(message, { cause }), { code });
}

/** Says in plain words where to and why connecting failed, as `listenError()`. */
export function connectError(
  options: ConnectOptions,
  cause: unknown,
  code: string = codeOf(cause),
): ListenError {
  const reason = connectReasons[code] ??
    (cause instanceof Error ? cause.message : String(cause));
  const message = `Cannot connect to ${describe(options)}: ${reason}`;
  return Object.assign(new Error(message, { cause }), { code });
}

/** Nobody has answered in time. */
export function connectTimeout(options: ConnectOptions): ListenError {
  return connectError(options, undefined, "ETIMEDOUT");
}

const connectReasons: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EAGAIN: "too many connections wait there",
  ECONNREFUSED: "nobody listens there",
  ENOENT: "there is no such socket",
  ENOTFOUND: "the name cannot be resolved",
  ETIMEDOUT: "no answer",
};

/** Refuses SO_REUSEPORT where the runtime would ignore it: two listeners that
 * believe they share a port must not find out by losing connections. */
export function reusePortUnsupported(
  options: ListenOptions,
  runtime: string,
): ListenError {
  return Object.assign(
    new Error(
      `Cannot listen on ${describe(options)} with SO_REUSEPORT: ` +
        `${runtime} does not support it`,
    ),
    { code: "ENOTSUP" },
  );
}

const reasons: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EADDRINUSE: "the address is in use",
  EADDRNOTAVAIL: "this machine has no such address",
  EBADF: "the descriptor is not open",
  ENOENT: "the directory does not exist",
  ENOTFOUND: "the name cannot be resolved",
};

/** Neither Deno nor Bun gives a code to a name that does not resolve, and
 * both give one to everything that comes from the system. */
function codeOf(cause: unknown): string {
  const code = (cause as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "ENOTFOUND";
}

function describe(options: ListenOptions): string {
  if (options.fd !== undefined) return `descriptor ${options.fd}`;
  if (options.path !== undefined) return options.path;
  const host = options.hostname ?? defaultHostname;
  const shown = host.includes(":") ? `[${host}]` : host;
  return `${shown}:${options.port ?? 0}`;
}

/** Somebody has taken the adapter of another runtime. */
export function wrongRuntime(adapter: string, runtime: string): Error {
  return new Error(
    `${adapter} works on ${runtime} alone; use detectTransport(), or the adapter of this runtime`,
  );
}
