/**
 * The other way out: fetch handlers as WSGI applications, to stand where those
 * do: behind middleware of PEP 3333, or in another server of it.
 *
 * @module
 */
import { ApplicationError } from "../errors.ts";
import type { Handler } from "../exchange.ts";
import type { Application, ResponseBody } from "../wsgi.ts";
import { describe } from "./contract.ts";
import { EnvironExchange } from "./environ_exchange.ts";
import { type FetchHandler, fetchHandler, type FetchOptions } from "./fetch.ts";

/** Makes a WSGI application of a fetch handler.
 *
 * The URL is the one that the client asked for, SCRIPT_NAME included; its path is
 * as middleware has left it. `info.environ` is the environ itself, so that what
 * middleware has put there can be found.
 *
 * A response without Content-Type is given `application/octet-stream`, because a
 * WSGI application must say one; fields that speak of the connection are left
 * out. Content arrives in pieces of 64 KiB, the last apart, because
 * `wsgi.input.read()` waits for as much; and the head of a response is not sent
 * before its first block. */
export function toWsgi(
  handle: FetchHandler,
  options: FetchOptions = {},
): Application {
  if (typeof handle !== "function") {
    throw new TypeError(
      `A fetch handler is a function of a Request, not ${describe(handle)}`,
    );
  }
  return async (environ, startResponse): Promise<ResponseBody> => {
    const exchange = new EnvironExchange(environ, startResponse);
    const { response } = exchange;
    const answer = fetchHandler((request, info) => {
      Object.defineProperty(info, "environ", { value: environ });
      return handle(request, info, info);
    }, options);
    const answered = carry(answer, exchange);
    await response.opened;
    return {
      [Symbol.asyncIterator]: () => response,
      close() {
        response.leave();
        return answered;
      },
    };
  };
}

/** Settles once all is over; the body tells how. */
async function carry(
  handler: Handler,
  exchange: EnvironExchange,
): Promise<void> {
  const { response } = exchange;
  try {
    await handler(exchange);
    if (response.ended) return;
    response.fail(
      new ApplicationError("The handler settled without a whole response"),
    );
  } catch (error) {
    response.fail(error);
  }
}
