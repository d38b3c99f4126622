/**
 * Headgate: an HTTP gateway and WSGI server for Deno, Bun and Node.
 *
 * ```ts ignore
 * import { serve } from "@headgate/headgate";
 *
 * const server = await serve((environ, startResponse) => {
 *   startResponse("200 OK", [["Content-Type", "text/plain"]]);
 *   return [new TextEncoder().encode(`Hello from ${environ.PATH_INFO}\n`)];
 * }, { port: 8000 });
 * await server.finished;
 * ```
 *
 * Run as a program, this module is the command line: `deno run -A mod.ts`.
 * The core needs no runtime at all: {@linkcode createGateway} serves whatever
 * hands it a {@linkcode ByteStream}.
 *
 * @module
 */
import { detectProcessHost, detectTransport } from "./adapters/detect.ts";
import { findMemoryCount, peek } from "./adapters/memory_count.ts";
import type { CgiOptions } from "./src/apps/cgi.ts";
import type { FastCgiServer } from "./src/apps/fastcgi_server.ts";
import type { PythonApplication } from "./src/apps/python.ts";
import type { FilesOptions } from "./src/apps/files.ts";
import { countMemoryBy } from "./src/apps/memory_count.ts";
import { wsgi, type WsgiOptions } from "./src/apps/wsgi.ts";
import { serveHandler, type ServeOptions, type Server } from "./src/serve.ts";
import type { Handler } from "./src/exchange.ts";
import type { FastCgiUse, PythonUse, ScgiUse } from "./src/outside.ts";
import type { Application } from "./src/wsgi.ts";

export * from "./src/stream.ts";
export * from "./src/exchange.ts";
export * from "./src/wsgi.ts";
export * from "./src/errors.ts";
export { defaultLimits, type Limits } from "./src/limits.ts";
export { type Logger, silentLogger } from "./src/logger.ts";
export { Wire } from "./src/wire.ts";
export {
  createGateway,
  type Gateway,
  type GatewayOptions,
} from "./src/gateway.ts";
export { serveHandler, type ServeOptions, type Server } from "./src/serve.ts";
export {
  defaultForwardedFields,
  Forwarded,
  type ForwardedField,
  forwardedFields,
  type ForwardedOptions,
} from "./src/forwarded.ts";
export { defineConfig, type HeadgateConfig } from "./src/config_file.ts";
export type { Hooks, ServerInfo, WorkerInfo } from "./src/hooks.ts";
export type { RequestWatch } from "./src/gate.ts";
export { type AccessFormatter, compileAccessFormat } from "./src/access_log.ts";
export { createEnviron, type EnvironOptions } from "./src/environ.ts";
export { wsgi, type WsgiOptions } from "./src/apps/wsgi.ts";
export {
  type FetchHandler,
  fetchHandler,
  type FetchInfo,
  type FetchOptions,
  type NetAddress,
} from "./src/apps/fetch.ts";
export {
  LightResponse,
  type LightResponseConstructor,
} from "./src/apps/light_response.ts";
export {
  type FetchFunction,
  toFetch,
  toFetchHandler,
  type ToFetchOptions,
} from "./src/apps/to_fetch.ts";
export { toWsgi } from "./src/apps/to_wsgi.ts";
export {
  type Mount,
  mount,
  type Mountable,
  type MountOptions,
} from "./src/apps/mount.ts";
export { lint } from "./src/apps/lint.ts";
export { detectTransport } from "./adapters/detect.ts";
export { CommandError } from "./src/command_error.ts";
export { version } from "./src/version.ts";

export type { CgiOptions } from "./src/apps/cgi.ts";
export type {
  FastCgiServer,
  FastCgiServerOptions,
} from "./src/apps/fastcgi_server.ts";
export type { ExtraParams } from "./src/apps/fastcgi.ts";
export type { LeveledLogger } from "./src/log.ts";
export type * from "./src/backend_host.ts";
export type { PythonName } from "./src/python/name.ts";
export type { HoldMode } from "./src/apps/held_content.ts";
export type { ScgiOptions } from "./src/apps/scgi.ts";
export type { PythonApplication, PythonOptions } from "./src/apps/python.ts";
export type { FastCgiUse, PythonUse, ScgiUse } from "./src/outside.ts";
export type { FilesOptions } from "./src/apps/files.ts";
export type { FileSource, OpenFile } from "./src/file_source.ts";

/** Serves the files of a directory, with conditional and range requests and
 * precompressed variants. What touches files is loaded at the first request,
 * and is the runtime's own unless `options.source` says otherwise. */
export function files(
  directory: string,
  options: Partial<FilesOptions> = {},
): Handler {
  let handler: Handler | Promise<Handler> | undefined;
  const load = async (): Promise<Handler> => {
    const { files } = await import("./src/apps/files.ts");
    const { fileSource } = await import("./adapters/file_source.ts");
    return handler = files(directory, { source: fileSource, ...options });
  };
  return async (exchange) => {
    handler ??= load();
    await (await handler)(exchange);
  };
}

/** Runs the executables of a directory, one for each request that names it
 * (RFC 3875). What starts programs is loaded at the first request. */
export function cgi(
  directory: string,
  options: Omit<CgiOptions, "host"> = {},
): Handler {
  let handler: Handler | Promise<Handler> | undefined;
  const load = async (): Promise<Handler> => {
    const { cgi } = await import("./src/apps/cgi.ts");
    const host = await (await detectProcessHost()).backends();
    return handler = cgi(directory, { ...options, host });
  };
  return async (exchange) => {
    handler ??= load();
    await (await handler)(exchange);
  };
}

/** Uses a FastCGI server, as PHP-FPM is one: `fastcgi://127.0.0.1:9000` or
 * `fastcgi+unix:/run/php.sock`. Nothing is connected until there is a request.
 * Rejects with `CommandError` on another address. */
export async function fastcgi(
  address: string,
  options: FastCgiUse = {},
): Promise<FastCgiServer> {
  const { useFastCgi } = await import("./src/outside.ts");
  return await useFastCgi(address, options, await detectProcessHost());
}

/** Uses an SCGI server: `scgi://127.0.0.1:4000` or `scgi+unix:/run/app.sock`.
 * Rejects with `CommandError` on another address. */
export async function scgi(
  address: string,
  options: ScgiUse = {},
): Promise<Handler> {
  const { useScgi } = await import("./src/outside.ts");
  return await useScgi(address, options, await detectProcessHost());
}

/** Starts a Python application: `module:callable`, `module:create()` or
 * `file.py:callable`. Resolves when its processes can serve; whoever started it
 * closes it. Rejects with `CommandError`, whose `detail` is the traceback. */
export async function python(
  application: string,
  options: PythonUse = {},
): Promise<PythonApplication> {
  const { usePython } = await import("./src/outside.ts");
  return await usePython(application, options, await detectProcessHost());
}

/** Serves a WSGI application on the runtime that this runs on. */
export async function serve(
  app: Application,
  options: ServeOptions & WsgiOptions = {},
): Promise<Server> {
  return serveHandler(await detectTransport(), wsgi(app, options), options);
}

countMemoryBy(findMemoryCount, peek);

// Nobody waits for it here: an application or a configuration file may import
// this module, which must be whole by then.
if (import.meta.main) void import("./src/bin.ts");
