/**
 * Addresses of servers that run applications for us, as a person writes them:
 * `fastcgi://HOST:PORT`, `fastcgi+unix:PATH`, and the same with `scgi`.
 *
 * @module
 */
import { CommandError } from "../command_error.ts";
import type { ConnectOptions } from "../stream.ts";

/** How such a server is spoken to. */
export type ServerProtocol = "fastcgi" | "scgi";

/** Where it is, and how it is spoken to. */
export interface ServerAddress {
  /** How it is spoken to. */
  readonly protocol: ServerProtocol;
  /** Where it is. */
  readonly connect: ConnectOptions;
}

const shape = /^(fastcgi|scgi)(\+unix)?:(.*)$/is;
const hostAndPort =
  /^\/\/(?:([\w.-]+)|\[([0-9a-f:.]*:[0-9a-f:.]*)\]):(\d{1,5})\/?$/i;

/** Reads such an address; undefined when `text` is something else. Throws
 * `CommandError` when it is one that is written wrong. */
export function parseServerAddress(text: string): ServerAddress | undefined {
  const match = shape.exec(text);
  if (match === null) return undefined;
  const protocol = match[1]?.toLowerCase() as ServerProtocol;
  const rest = match[3] ?? "";
  const connect = match[2] === undefined ? readHost(rest) : readPath(rest);
  if (connect !== undefined) return { protocol, connect };
  throw new CommandError(
    2,
    `${text} is not the address of a server`,
    `Write ${protocol}://127.0.0.1:9000 or ${protocol}+unix:/run/app.sock.`,
  );
}

function readHost(text: string): ConnectOptions | undefined {
  const [, name, bracketed, digits] = hostAndPort.exec(text) ?? [];
  const hostname = name ?? bracketed;
  const port = Number(digits);
  if (hostname === undefined || port < 1 || port > 65_535) return undefined;
  return { hostname, port };
}

/** A path by itself, or after an empty authority as URLs have it. */
function readPath(text: string): ConnectOptions | undefined {
  const path = text.replace(/^\/\/(?=\/)/, "");
  return path === "" || path.includes("\0") ? undefined : { path };
}
