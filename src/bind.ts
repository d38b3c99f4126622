/**
 * Where to listen, as the command line writes it, and where a listener
 * listens, as a person reads it.
 *
 * @module
 */
import { CommandError } from "./command_error.ts";
import type { Address, ListenOptions } from "./stream.ts";

const defaultHostname = "127.0.0.1";

// What Linux has room for. Not every runtime asks: libuv once cut what was
// longer, and listened elsewhere.
const pathBytes = 107;

/** Reads `HOST:PORT`, `[::1]:8000`, `:8000` (every interface), `8000`
 * (loopback), `unix:PATH` or `fd://N` (an inherited socket). Throws
 * `CommandError` on anything else. */
export function parseBind(text: string): ListenOptions {
  if (text.startsWith("unix:")) return parseUnix(text);
  if (text.startsWith("fd://")) return parseDescriptor(text);
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text);
  if (scheme !== null) {
    const rest = text.slice(scheme[0].length).replace(/\/.*$/, "");
    throw wrongBind(text, "an address has no scheme", `Write ${rest}.`);
  }
  if (text.includes(",")) {
    throw wrongBind(
      text,
      "that is more than one address",
      "Write --bind once for each; HEADGATE_BIND takes spaces between them.",
    );
  }
  if (/^\d+$/.test(text)) {
    return { hostname: defaultHostname, port: parsePort(text, text) };
  }
  const { hostname, port } = splitHostAndPort(text);
  return { hostname, port: parsePort(port, text) };
}

function parseUnix(text: string): ListenOptions {
  const path = text.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
  if (path === "") {
    throw wrongBind(text, "the path is missing", "Write unix:PATH.");
  }
  if (path.includes("\0")) {
    throw wrongBind(text, "a path holds no NUL", "Write unix:PATH.");
  }
  const { length } = new TextEncoder().encode(path);
  if (length > pathBytes) {
    throw wrongBind(
      text,
      `the path has ${length} bytes`,
      `A socket's path has at most ${pathBytes}. A relative one is shorter.`,
    );
  }
  return { path };
}

// 0, 1 and 2 are the standard streams.
const firstInherited = 3;

function parseDescriptor(text: string): ListenOptions {
  const number = text.slice("fd://".length);
  const fd = /^\d{1,6}$/.test(number) ? Number(number) : NaN;
  if (fd >= firstInherited) return { fd };
  throw wrongBind(
    text,
    number === ""
      ? "the descriptor is missing"
      : `${number} is not an inherited descriptor`,
    `Descriptors are numbers from ${firstInherited} on, as in fd://3.`,
  );
}

function splitHostAndPort(text: string): { hostname: string; port: string } {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(text);
  if (bracketed !== null) return splitBracketed(text, bracketed);
  const colon = text.lastIndexOf(":");
  if (colon < 0) {
    throw wrongBind(
      text,
      "the port is missing",
      `Write ${text || "HOST"}:8000.`,
    );
  }
  const hostname = text.slice(0, colon);
  if (hostname.includes(":")) {
    throw wrongBind(
      text,
      "an IPv6 address stands in brackets",
      "Write it like [::1]:8000.",
    );
  }
  checkName(hostname, text);
  // As gunicorn has it: a port alone with its colon means every interface.
  return { hostname: hostname || "0.0.0.0", port: text.slice(colon + 1) };
}

function splitBracketed(
  text: string,
  [, hostname = "", port]: RegExpExecArray,
): { hostname: string; port: string } {
  if (!/^[0-9a-f:.]*:[0-9a-f:.]*(%[\w.-]+)?$/i.test(hostname)) {
    throw wrongBind(
      text,
      "brackets hold an IPv6 address",
      "Write it like [::1]:8000.",
    );
  }
  if (port === undefined) {
    throw wrongBind(text, "the port is missing", `Write ${text}:8000.`);
  }
  return { hostname, port };
}

function checkName(hostname: string, text: string): void {
  if (/^[\w.-]*$/.test(hostname)) return;
  throw wrongBind(
    text,
    "the host is neither a name nor an IP address",
    "Write it like 127.0.0.1:8000.",
  );
}

function parsePort(port: string, text: string): number {
  const value = /^\d{1,5}$/.test(port) ? Number(port) : NaN;
  if (value <= 65_535) return value;
  throw wrongBind(
    text,
    port === "" ? "the port is missing" : `${port} is not a port`,
    "A port is a number from 0 to 65535; 0 lets the system choose one.",
  );
}

function wrongBind(
  text: string,
  reason: string,
  remedy: string,
): CommandError {
  return new CommandError(2, `Cannot listen on "${text}": ${reason}`, remedy);
}

/** The address of a listener for a person: "http://127.0.0.1:8000",
 * "unix:/run/headgate.sock", or "an inherited socket" where the system does not
 * tell. */
export function formatAddress(address: Address): string {
  const { host, port } = address;
  if (host === "" && port === 0) return "an inherited socket";
  if (isPath(host, port)) return `unix:${host}`;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

// Port 0 of a listening TCP socket does not exist, so port 0 tells a path; a
// relative path has no slash, and an unnamed socket has no name at all.
function isPath(host: string, port: number): boolean {
  return port === 0 || host.includes("/");
}

/** What to listen on, spelled so that `parseBind()` reads it again. */
export function formatBind(options: ListenOptions): string {
  if (options.path !== undefined) return `unix:${options.path}`;
  if (options.fd !== undefined) return `fd://${options.fd}`;
  const { hostname = defaultHostname, port = 8000 } = options;
  return `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}
