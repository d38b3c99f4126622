/**
 * A FastCGI server that runs somewhere, as PHP-FPM does, as a handler: its
 * connections, and either the scripts of a directory or one application for all
 * paths.
 *
 * @module
 */
import type { BackendHost } from "../backend_host.ts";
import type { Handler } from "../exchange.ts";
import { BackendPool } from "../fastcgi/pool.ts";
import type { Logger } from "../logger.ts";
import type { ByteStream } from "../stream.ts";
import { type ExtraParams, fastcgi, type FastCgiOptions } from "./fastcgi.ts";
import { fastcgiScripts } from "./fastcgi_scripts.ts";
import type { HoldMode } from "./held_content.ts";

/** How a FastCGI server is used. */
export interface FastCgiServerOptions {
  /** What it is called in messages: its address, as it was written. */
  readonly name: string;
  /** Opens a connection to it. */
  connect(): Promise<ByteStream>;
  /** Its files, and where content goes that is too much for memory. */
  readonly host: Pick<BackendHost, "files" | "openSpool">;
  /** What its paths begin with in a URL: "/blog"; default "/". */
  readonly prefix?: string;
  /** The directory of its scripts; undefined where it has none, but answers for
   * every path. */
  readonly root?: string | undefined;
  /** The script that answers for its directory, and in the root for all that
   * names no file; default "index.php". */
  readonly index?: string;
  /** The most connections at a time; default 32. */
  readonly connections?: number;
  /** Whether connections are kept between requests; default false. PHP-FPM has a
   * child for each, which waits on it and serves nobody else: all who keep
   * connections must not have more together than there are children. */
  readonly keepAlive?: boolean;
  /** How long a request may wait for a connection; default 30. */
  readonly queueSeconds?: number;
  /** How long it may keep silent over a request; default 60, 0 for ever. */
  readonly timeoutSeconds?: number;
  /** Which content is read before it is asked; default "chunked". */
  readonly spool?: HoldMode;
  /** The absolute paths of directories from which it may have files sent. */
  readonly sendFileRoots?: readonly string[];
  /** Who answers where it sends its client on to a path of this site; default
   * the same server. */
  readonly site?: Handler;
  /** Further parameters of every request; each character is one octet. */
  readonly params?: ExtraParams;
  /** Where it is told what fails; default `console`. */
  readonly log?: Logger;
}

/** A FastCGI server in use. */
export interface FastCgiServer {
  /** The server as a handler. */
  readonly handler: Handler;
  /** Closes its connections, once they have ended what they carry. */
  close(): Promise<void>;
}

/** Makes a handler of a FastCGI server, to which nothing is connected until
 * there is a request for it. */
export function fastcgiServer(options: FastCgiServerOptions): FastCgiServer {
  const { name, host, root, log = console, keepAlive = false } = options;
  const { queueSeconds, timeoutSeconds, spool = "chunked" } = options;
  const { sendFileRoots = [], prefix = "/" } = options;
  const pool = new BackendPool({
    log,
    ...(queueSeconds === undefined ? {} : { queueSeconds }),
    ...(timeoutSeconds === undefined ? {} : { timeoutSeconds }),
  });
  pool.add({
    name,
    connections: options.connections ?? 32,
    connect: () => options.connect(),
    keepAlive,
  });
  const common: FastCgiOptions = {
    log,
    params: options.params ?? [],
    hold: { spool, host },
    needsLength: true,
    ...(options.site === undefined ? {} : { site: options.site }),
    ...(sendFileRoots.length === 0
      ? {}
      : { sendFile: { roots: sendFileRoots, files: host.files } }),
  };
  const handler = root === undefined
    ? fastcgi(pool, { ...common, scriptName: prefix })
    : fastcgiScripts(pool, {
      ...common,
      prefix,
      root,
      files: host.files,
      ...(options.index === undefined ? {} : { index: options.index }),
    });
  return { handler, close: () => pool.close() };
}
