/**
 * A gateway on listeners: what the command line and a library user start.
 *
 * @module
 */
import { parseBind } from "./bind.ts";
import type { AccessSink, Handler } from "./exchange.ts";
import { Forwarded, type ForwardedOptions } from "./forwarded.ts";
import { createGateway } from "./gateway.ts";
import type { Limits } from "./limits.ts";
import type { Logger } from "./logger.ts";
import { Listening } from "./listening.ts";
import type { Address, ListenOptions, Transport } from "./stream.ts";

/** What a server may be told. */
export interface ServeOptions {
  /** IP address or name to listen on; default `127.0.0.1`. */
  readonly hostname?: string;
  /** TCP port; default 8000. With 0 the system chooses one. */
  readonly port?: number;
  /** Unix-domain socket to listen on, instead of hostname and port. */
  readonly path?: string;
  /** Addresses as the command line has them (`HOST:PORT`, `unix:PATH`),
   * instead of the three above. */
  readonly bind?: string | readonly string[];
  /** Length of the kernel's accept queue; default 2048. */
  readonly backlog?: number;
  /** Bounds that differ from the default. */
  readonly limits?: Partial<Limits>;
  /** Where log lines go; nowhere by default. */
  readonly log?: Logger;
  /** Called once per finished exchange, refused ones included. */
  readonly access?: AccessSink | undefined;
  /** Which proxies are believed in what they tell of their clients; by default
   * none is. */
  readonly forwarded?: ForwardedOptions | undefined;
  /** How long `shutdown` waits for running requests, in seconds; default 30. */
  readonly graceSeconds?: number;
}

/** A gateway that listens. */
export interface Server extends AsyncDisposable {
  /** Where it listens, ports as the system chose them. */
  readonly addresses: readonly Address[];
  /** Stops accepting, lets running requests end for `graceSeconds`, then cuts
   * what is left. May be called again, to hurry. */
  shutdown(graceSeconds?: number): Promise<void>;
  /** Resolves once it has shut down. */
  readonly finished: Promise<void>;
}

const DEFAULT_PORT = 8000;
const DEFAULT_GRACE_SECONDS = 30;

/** Listens by way of `transport`, and has `handler` answer. Rejects with the
 * runtime's own error when an address cannot be had; then none is kept; with
 * `TypeError` where the options make no sense. */
export async function serveHandler(
  transport: Transport,
  handler: Handler,
  options: ServeOptions = {},
): Promise<Server> {
  const forwarded = new Forwarded(options.forwarded ?? { allow: [] });
  const gateway = createGateway(forwarded.around(handler), {
    ...options,
    access: forwarded.access(options.access),
  });
  const listening = new Listening(transport, gateway);
  try {
    for (const where of listenOptions(options)) await listening.open(where);
  } catch (error) {
    await listening.close();
    throw error;
  }

  const grace = options.graceSeconds ?? DEFAULT_GRACE_SECONDS;
  let finish: (outcome: Promise<void>) => void;
  const finished = new Promise<void>((resolve) => finish = resolve);
  const shutdown = (graceSeconds = grace): Promise<void> => {
    // At once, so that answers say it; and again, for connections that were
    // accepted while the listeners closed.
    gateway.shutdown(graceSeconds);
    finish(listening.close().then(() => gateway.shutdown(graceSeconds)));
    return finished;
  };
  return {
    addresses: listening.addresses,
    shutdown,
    finished,
    [Symbol.asyncDispose]: () => shutdown(),
  };
}

function listenOptions(options: ServeOptions): ListenOptions[] {
  const { bind, hostname, port = DEFAULT_PORT, path, backlog } = options;
  const tail = backlog === undefined ? {} : { backlog };
  if (bind !== undefined) {
    const texts = typeof bind === "string" ? [bind] : bind;
    if (texts.length === 0) {
      throw new TypeError("Nothing to listen on: `bind` names no address");
    }
    return texts.map((text) => ({ ...parseBind(text), ...tail }));
  }
  if (path !== undefined) return [{ ...parseBind(`unix:${path}`), ...tail }];
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new RangeError(`Port ${port} is not a number from 0 to 65535`);
  }
  return [{ port, ...(hostname === undefined ? {} : { hostname }), ...tail }];
}
