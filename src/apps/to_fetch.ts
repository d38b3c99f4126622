/**
 * The way out: applications of this gateway as fetch handlers, for whatever
 * calls those: `Deno.serve`, `Bun.serve`, a worker platform, a route of Hono.
 *
 * @module
 */
import { ApplicationError, HttpError, StreamError } from "../errors.ts";
import type { Handler } from "../exchange.ts";
import { reasonPhrase } from "../http/status.ts";
import { escapeForLog, type Logger, traceOf } from "../logger.ts";
import type { Application } from "../wsgi.ts";
import { describe } from "./contract.ts";
import { RequestExchange } from "./request_exchange.ts";
import { wsgi, type WsgiOptions } from "./wsgi.ts";

/** How a handler is carried. */
export interface ToFetchOptions {
  /** Where failures are told that no response can show any more; default
   * `console`. */
  readonly log?: Logger;
}

/** A handler in the shape that hosts call. `info` is what a host tells beside
 * the request: the peer's address is taken from the `remoteAddr` of Deno or the
 * `requestIP()` of Bun where it has one, anything else is left alone. Where
 * `context` has a `waitUntil()`, as on worker platforms, it is given what goes
 * on beside the response.
 *
 * Rejects with what the handler throws before it has sent anything, so that the
 * host answers as it always does; `HttpError` alone is a response of its status.
 * Thereafter the stream of the content fails. */
export type FetchFunction = (
  request: Request,
  info?: unknown,
  context?: unknown,
) => Promise<Response>;

/** Makes a fetch handler of a WSGI application.
 *
 * ```ts ignore
 * Deno.serve(toFetchHandler(app));
 * Bun.serve({ fetch: toFetchHandler(app) });
 * hono.all("/shop/*", (c) => shop(c.req.raw)); // scriptName: "/shop"
 * ```
 *
 * `environ` is made of the request alone: its Host, and with it SERVER_NAME and
 * SERVER_PORT, are what the URL says. */
export function toFetchHandler(
  app: Application,
  options: WsgiOptions = {},
): FetchFunction {
  return toFetch(wsgi(app, options), options);
}

/** Makes a fetch handler of any handler, as `mount()` is one. */
export function toFetch(
  handler: Handler,
  options: ToFetchOptions = {},
): FetchFunction {
  if (typeof handler !== "function") {
    throw new TypeError(
      `A handler is a function of an exchange, not ${describe(handler)}`,
    );
  }
  const { log = console } = options;
  return (request, info, context) => {
    const exchange = new RequestExchange(request, info);
    const done = answer(handler, exchange, log);
    waitUntil(context, done);
    return exchange.response.arrival.catch(refusal);
  };
}

async function answer(
  handler: Handler,
  exchange: RequestExchange,
  log: Logger,
): Promise<void> {
  const { response, head } = exchange;
  try {
    // Without a wait for those who did not ask for one.
    const pending = handler(exchange);
    if (pending instanceof Promise) await pending;
    if (!response.ended) {
      throw new ApplicationError(
        "The handler settled without a whole response",
      );
    }
  } catch (error) {
    if (response.committed && !(error instanceof StreamError)) {
      log.error(
        `${head.method} ${escapeForLog(head.target)}: ${traceOf(error)}`,
      );
    }
    response.fail(error);
  } finally {
    exchange.body.release();
  }
}

/** What the peer did wrong is told to the peer. */
function refusal(error: unknown): Response {
  if (!(error instanceof HttpError)) throw error;
  const { status, message } = error;
  return new Response(`${status} ${reasonPhrase(status)}\n${message}\n`, {
    status,
    statusText: reasonPhrase(status),
    headers: { "content-type": "text/plain; charset=utf-8" },
  });
}

function waitUntil(context: unknown, work: Promise<void>): void {
  const platform = context as
    | { waitUntil?: (work: Promise<void>) => void }
    | undefined;
  if (typeof platform?.waitUntil === "function") platform.waitUntil(work);
}
