/**
 * Fetch handlers over an exchange: `(request, info) => Response`, as Deno, Bun
 * and worker platforms call them, and as Hono, H3 and others offer them.
 *
 * @module
 */
import { createEnviron, type EnvironOptions, mountPoint } from "../environ.ts";
import { HttpError, StreamError } from "../errors.ts";
import { LogErrorStream } from "../error_stream.ts";
import type { Exchange, Handler } from "../exchange.ts";
import { parseIpAddress } from "../http/ip_address.ts";
import { type Logger, traceOf } from "../logger.ts";
import type { Address, MaybePromise } from "../stream.ts";
import { version } from "../version.ts";
import type { Environ } from "../wsgi.ts";
import { describe } from "./contract.ts";
import { type OpenRequest, openRequest } from "./fetch_request.ts";
import { sendResponse } from "./fetch_response.ts";
import { FileWrapper } from "./file_wrapper.ts";

/** One end of a connection, as Deno tells it. */
export interface NetAddress {
  /** "unix" for a Unix-domain socket. */
  readonly transport: "tcp" | "unix";
  /** IP address, or the path of the socket. */
  readonly hostname: string;
  /** TCP port; 0 for a Unix-domain socket, and where a proxy does not tell. */
  readonly port: number;
}

/** What a handler is told beside the request: its second argument, and its
 * third, so that handlers written for Deno, Bun and worker platforms find what
 * they expect. */
export interface FetchInfo {
  /** The peer. */
  readonly remoteAddr: NetAddress;
  /** The address that the peer connected to. */
  readonly localAddr: NetAddress;
  /** The request as WSGI sees it; made when it is asked for. Its `wsgi.input`
   * and the request have one content: once either has been read, the other
   * cannot be. */
  readonly environ: Environ;
  /** What `FetchOptions.env` says. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Resolves when the response is whole; rejects when it was not. */
  readonly completed: Promise<void>;
  /** Sends an interim response at once, before the response: 103 (Early Hints,
   * RFC 8297) lets a client fetch what it will need. Resolves when the peer has
   * drained it; nobody has to wait. Clients of HTTP/1.0 are not told. Throws
   * `ApplicationError` on a status other than 102 to 199, and once the head is
   * on its way. */
  informational(
    status: number,
    headers?: ResponseInit["headers"],
  ): void | Promise<void>;
  /** Work that goes on beside the response. What it throws is logged. */
  waitUntil(work: PromiseLike<unknown>): void;
  /** For worker platforms; here nothing else could answer. */
  passThroughOnException(): void;
  /** The peer, as Bun tells it; null for a Unix-domain socket. */
  requestIP(
    request?: Request,
  ): { address: string; family: "IPv4" | "IPv6"; port: number } | null;
}

/** A fetch handler. */
export type FetchHandler = (
  request: Request,
  info: FetchInfo,
  context: FetchInfo,
) => Response | PromiseLike<Response>;

/** How a handler is served. */
export interface FetchOptions {
  /** Where failures of `waitUntil` are told; default `console`. */
  readonly log?: Logger;
  /** What `info.env` gives; default nothing. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Where the handler is mounted, for `info.environ`; default the root. */
  readonly scriptName?: string;
}

/** Makes a handler of a fetch handler. What that throws comes out of the
 * handler; so does `ApplicationError` where it returns no response. */
export function fetchHandler(
  handle: FetchHandler,
  options: FetchOptions = {},
): Handler {
  if (typeof handle !== "function") {
    throw new TypeError(
      `A fetch handler is a function of a Request, not ${describe(handle)}`,
    );
  }
  const { log = console, env = {} } = options;
  const terms: Terms = {
    log,
    env,
    environ: {
      errors: new LogErrorStream(log),
      scriptName: mountPoint(options.scriptName ?? ""),
      multithread: false,
      multiprocess: false,
      software: `headgate/${version}`,
      fileWrapper: FileWrapper,
    },
  };
  return (exchange) => serve(handle, exchange, terms);
}

/** What all requests of a handler have in common. */
interface Terms {
  readonly log: Logger;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** One object, by which environs of the same fields are made of each other. */
  readonly environ: EnvironOptions;
}

/** A handler that answers at once with what is at hand is served at once. */
function serve(
  handle: FetchHandler,
  exchange: Exchange,
  terms: Terms,
): MaybePromise<void> {
  const open = openRequest(exchange);
  const info = new Info(exchange, open, terms);
  const finish = (failure?: unknown): MaybePromise<void> => {
    const arrival = open.close();
    // Nobody else may read the content before this has settled.
    if (arrival === undefined) return info.finish(failure);
    const arrived = () => info.finish(failure);
    return arrival.then(arrived, arrived);
  };
  const fail = (error: unknown) => finish(failureOf(error, exchange));
  try {
    const answer = handle(open.request, info, info);
    const pending = isThenable(answer)
      ? Promise.resolve(answer).then((response) =>
        sendResponse(exchange, response)
      )
      : sendResponse(exchange, answer);
    if (pending !== undefined) return pending.then(() => finish(), fail);
  } catch (error) {
    return fail(error);
  }
  return finish();
}

function isThenable(value: unknown): value is PromiseLike<Response> {
  return value instanceof Promise ||
    (typeof value === "object" && value !== null && "then" in value &&
      typeof value.then === "function");
}

/** Whatever an application throws once its peer has left comes of that. */
function failureOf(error: unknown, { signal }: Exchange): unknown {
  const failure = error ?? new Error(`Thrown: ${String(error)}`);
  const known = failure instanceof StreamError || failure instanceof HttpError;
  return known || !signal.aborted
    ? failure
    : new StreamError("The peer has left", { cause: failure });
}

class Info implements FetchInfo {
  readonly #exchange: Exchange;
  readonly #open: OpenRequest;
  readonly #terms: Terms;
  #environ: Environ | undefined;
  #completed: Promise<void> | undefined;
  #settle: (() => void) | undefined;
  #finished = false;
  #failure: unknown;

  constructor(
    exchange: Exchange,
    open: OpenRequest,
    terms: Terms,
  ) {
    this.#exchange = exchange;
    this.#open = open;
    this.#terms = terms;
  }

  get env(): Readonly<Record<string, string | undefined>> {
    return this.#terms.env;
  }

  get remoteAddr(): NetAddress {
    return netAddress(this.#exchange.remote);
  }

  get localAddr(): NetAddress {
    return netAddress(this.#exchange.local);
  }

  get environ(): Environ {
    return this.#environ ??= this.#makeEnviron();
  }

  #makeEnviron(): Environ {
    const environ = createEnviron(this.#exchange, this.#terms.environ);
    environ["wsgi.input"] = this.#open.wsgiInput();
    return environ;
  }

  get completed(): Promise<void> {
    if (this.#completed === undefined) {
      this.#completed = new Promise((resolve, reject) => {
        this.#settle = () =>
          this.#failure === undefined ? resolve() : reject(this.#failure);
      });
      // Nobody has to wait for it.
      this.#completed.catch(() => {});
      if (this.#finished) this.#settle?.();
    }
    return this.#completed;
  }

  /** The exchange is over; throws `failure` on. */
  finish(failure: unknown): void {
    this.#finished = true;
    this.#failure = failure;
    this.#settle?.();
    if (failure !== undefined) throw failure;
  }

  informational(
    status: number,
    headers?: ResponseInit["headers"],
  ): MaybePromise<void> {
    const fields = [...new Headers(headers)];
    return this.#exchange.response.informational(status, fields);
  }

  waitUntil(work: PromiseLike<unknown>): void {
    Promise.resolve(work).catch((error: unknown) => {
      this.#terms.log.error(`waitUntil: ${traceOf(error)}`);
    });
  }

  passThroughOnException(): void {}

  requestIP():
    | { address: string; family: "IPv4" | "IPv6"; port: number }
    | null {
    const { remote } = this.#exchange;
    if (isUnix(remote)) return null;
    const { host: address, port } = remote;
    return { address, family: address.includes(":") ? "IPv6" : "IPv4", port };
  }
}

function netAddress(address: Address): NetAddress {
  const { host, port } = address;
  return { transport: isUnix(address) ? "unix" : "tcp", hostname: host, port };
}

/** An address that a proxy tells may have no port, either. */
function isUnix({ host, port }: Address): boolean {
  return port === 0 && parseIpAddress(host) === undefined;
}
