/** Sends a `Response` over an exchange: with its length where it is known, as
 * it comes where it streams. */
import { ApplicationError, StreamError } from "../errors.ts";
import type { Exchange, ResponseFields } from "../exchange.ts";
import { describe } from "./contract.ts";

/** Sends all of it. Rejects with `ApplicationError` where it is none, with
 * `StreamError` where the peer has left, and with what its stream throws. */
export async function sendResponse(
  exchange: Exchange,
  response: unknown,
): Promise<void> {
  if (!(response instanceof Response)) {
    throw new ApplicationError(
      `A fetch handler must return a Response, not ${describe(response)}`,
    );
  }
  if (response.type === "error") {
    throw new ApplicationError("The handler returned Response.error()");
  }
  if (response.bodyUsed) {
    throw new ApplicationError("The body of the response was read already");
  }
  const { status, statusText, body } = response;
  const fields = fieldsOf(response.headers);
  if (body === null) {
    // For HEAD it says nothing of what GET would bring.
    const size = exchange.head.method === "HEAD" ? undefined : 0;
    exchange.response.start(status, statusText, fields, size);
    return await exchange.response.end();
  }
  const reader = body.getReader();
  try {
    await sendBody(exchange, reader, { status, statusText, fields });
  } catch (error) {
    // The stream learns that nobody wants the rest.
    reader.cancel(error).catch(() => {});
    throw error;
  }
}

interface Start {
  readonly status: number;
  readonly statusText: string;
  readonly fields: ResponseFields;
}

type Reader = ReadableStreamDefaultReader<Uint8Array>;

async function sendBody(
  exchange: Exchange,
  reader: Reader,
  { status, statusText, fields }: Start,
): Promise<void> {
  const { response } = exchange;
  const first = await next(reader, exchange);
  if (first === undefined) {
    response.start(status, statusText, fields, 0);
    return await response.end();
  }
  const coming = next(reader, exchange);
  // What is wrong with it is told when it is awaited.
  coming.catch(() => {});
  const second = await soon(coming);
  const whole = second !== waiting && second === undefined;
  response.start(
    status,
    statusText,
    fields,
    whole ? first.length : undefined,
  );
  if (exchange.head.method === "HEAD") {
    await response.end();
    return await reader.cancel();
  }
  await response.write(first);
  if (whole) return await response.end();
  let pending: Promise<Uint8Array | undefined> = coming;
  for (;;) {
    await response.flush();
    const piece = await pending;
    if (piece === undefined) break;
    await response.write(piece);
    pending = next(reader, exchange);
  }
  await response.end();
}

const waiting: unique symbol = Symbol("waiting");

/** What a promise has settled with, if it settles without waiting for anything
 * outside: a body that is at hand ends in the turn in which it began. */
async function soon<T>(promise: Promise<T>): Promise<T | typeof waiting> {
  let outcome: T | typeof waiting = waiting;
  promise.then((value) => outcome = value, () => {});
  for (let turn = 0; turn < microturns && outcome === waiting; turn++) {
    await undefined;
  }
  return outcome;
}

/** The runtimes' streams take fewer. */
const microturns = 8;

/** The next piece; undefined at the end. Rejects where the peer leaves first. */
async function next(
  reader: Reader,
  exchange: Exchange,
): Promise<Uint8Array | undefined> {
  const { done, value } = await untilGone(reader.read(), exchange);
  if (done) return undefined;
  if (value instanceof Uint8Array) return value;
  throw new ApplicationError(
    `The body of a response must give Uint8Array, not ${describe(value)}`,
  );
}

function untilGone<T>(promise: Promise<T>, exchange: Exchange): Promise<T> {
  const { signal } = exchange;
  if (signal.aborted) {
    promise.catch(() => {});
    return Promise.reject(new StreamError("The peer has left"));
  }
  return new Promise((resolve, reject) => {
    const leave = () => reject(new StreamError("The peer has left"));
    signal.addEventListener("abort", leave, { once: true });
    promise.then(resolve, reject).finally(() =>
      signal.removeEventListener("abort", leave)
    );
  });
}

function fieldsOf(headers: Headers): ResponseFields {
  // Each Set-Cookie by itself, as RFC 6265 §3 wants it.
  return [...headers];
}
