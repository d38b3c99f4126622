/**
 * The transport for Deno: over the kernel's own sockets on Linux where the
 * program may call the C library and use all of the network (`--allow-ffi
 * --allow-net`, which `-A` includes), else, and in workers, over `Deno.listen`,
 * which is slower and cannot send RST.
 *
 * ```ts
 * import { denoTransport } from "@headgate/headgate/deno";
 *
 * const listener = await denoTransport.listen({ port: 0 }, (stream) => {
 *   stream.closeWrite();
 * });
 * await listener.close();
 * ```
 *
 * @module
 */
import type {
  ByteStream,
  ConnectOptions,
  Listener,
  ListenOptions,
  Transport,
} from "../src/stream.ts";
import { connectWithDeno, denoListenTransport } from "./deno_listen.ts";
import { defaultHostname } from "./endpoint.ts";
import { Epoll } from "./epoll.ts";
import { connectWithEpoll } from "./epoll_connect.ts";
import { listenWithEpoll } from "./epoll_listener.ts";
import {
  ipSocketAddress,
  type LinuxSockets,
  linuxSockets,
  mayUsePaths,
  unixSocketAddress,
} from "./linux_sockets.ts";

export type {
  Address,
  ByteStream,
  ConnectOptions,
  Listener,
  ListenOptions,
  MaybePromise,
  Transport,
} from "../src/stream.ts";

/** Listens with the kernel's own sockets, or else with `Deno.listen`. */
export const denoTransport: Transport = { name: "deno", listen };

function listen(
  options: ListenOptions,
  accept: (stream: ByteStream) => void,
): Promise<Listener> {
  const sockets = socketsFor(options);
  if (sockets === null) return denoListenTransport.listen(options, accept);
  return listenWithEpoll(sockets, epollOf(sockets), options, accept);
}

function socketsFor(
  { path }: { readonly path?: string },
): LinuxSockets | null {
  return path === undefined || mayUsePaths() ? linuxSockets() : null;
}

let epoll: Epoll | undefined;

/** All connections of the program share one. */
function epollOf(sockets: LinuxSockets): Epoll {
  return epoll ??= new Epoll(sockets);
}

/** Connects. Rejects with an error whose `code` is "ECONNREFUSED" and the like;
 * with "ETIMEDOUT" after ten seconds. */
export async function denoConnect(
  options: ConnectOptions,
): Promise<ByteStream> {
  const sockets = socketsFor(options);
  const address = sockets === null ? undefined : socketAddress(options);
  if (sockets === null || address === undefined) {
    return await connectWithDeno(options);
  }
  return await connectWithEpoll(sockets, epollOf(sockets), options, address);
}

/** Undefined where there is a name, which is resolved better by Deno: it tries
 * all the addresses that there are. */
function socketAddress(
  { hostname = defaultHostname, port = 0, path }: ConnectOptions,
): Uint8Array | undefined {
  return path === undefined
    ? ipSocketAddress(hostname, port)
    : unixSocketAddress(path);
}
