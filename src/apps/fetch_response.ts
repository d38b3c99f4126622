/**
 * Sends a `Response` over an exchange: at once and with its length where all of
 * it is at hand, piece by piece where it streams.
 *
 * The Fetch standard keeps to itself whether a body streams. A light response
 * tells, and so do runtimes that keep what a response is under symbols; a static
 * body is spared its stream then. Otherwise the stream is read.
 */
import { ApplicationError } from "../errors.ts";
import type { Exchange, ResponseFields } from "../exchange.ts";
import type { MaybePromise } from "../stream.ts";
import { describe } from "./contract.ts";
import { isHeld } from "./held_body.ts";
import {
  keptBody,
  keptFields,
  markSent,
  takeText,
  used,
} from "./kept_response.ts";
import { takeParts } from "./light_response.ts";
import { peekInto } from "./memory_count.ts";
import {
  listOf,
  type ResponseHead,
  type ResponseParts,
} from "./response_parts.ts";
import { RuntimeResponse } from "./runtime_response.ts";
import { StreamedBody, withType } from "./streamed_body.ts";

/** Sends all of it. Throws or rejects with `ApplicationError` where it is none,
 * with `StreamError` where the peer has left, and with what its stream throws. */
export function sendResponse(
  exchange: Exchange,
  response: unknown,
): MaybePromise<void> {
  const parts = takeParts(response) ?? takeText(response);
  if (parts !== undefined) return sendParts(exchange, parts);
  checkResponse(response);
  const { status, statusText } = response;
  // Before anything is read off the body: Deno makes the two together.
  const head = { status, statusText, fields: fieldsOf(response) };
  const known = keptBody(response);
  const content = known?.source;
  if (
    typeof content === "string" ||
    // Once a clone has been read on Node, the octets are in other hands.
    (content instanceof Uint8Array && content.length === known!.length)
  ) {
    markSent(response);
    return sendWhole(exchange, head, content);
  }
  if (known === undefined && isHeld(response)) {
    return sendHeld(exchange, head, response);
  }
  const { body } = response;
  if (body === null) return sendNothing(exchange, head);
  if (body.locked) {
    throw new ApplicationError("The body of the response is read elsewhere");
  }
  return new StreamedBody(exchange, body.getReader()).send(head, {
    size: known?.length,
    fetched: response.url !== "",
  });
}

function checkResponse(value: unknown): asserts value is Response {
  if (!isResponse(value)) {
    throw new ApplicationError(
      `A fetch handler must return a Response, not ${describe(value)}`,
    );
  }
  if (value.type === "error") {
    throw new ApplicationError("The handler returned Response.error()");
  }
  if (value.bodyUsed) throw used();
}

/** One of the runtime's, of another realm, or of a package. */
function isResponse(value: unknown): value is Response {
  return value instanceof RuntimeResponse ||
    Object.prototype.toString.call(value) === "[object Response]";
}

/** Each Set-Cookie by itself, as RFC 6265 §3 wants it. */
function fieldsOf(response: Response): ResponseFields {
  const { headers } = response; // makes the list, too
  const fields = keptFields(response)?.map(lowered) ?? listOf(headers);
  // What `fetch` gives is decoded already, whatever its fields say.
  return fields.some(isCoding) && response.url !== "" && response.body !== null
    ? fields.filter((field) =>
      !isCoding(field) && field[0] !== "content-length"
    )
    : fields;
}

function lowered(
  field: readonly [string, string],
): readonly [string, string] {
  const name = field[0].toLowerCase();
  return name === field[0] ? field : [name, field[1]];
}

function isCoding([name]: readonly [string, string]): boolean {
  return name === "content-encoding";
}

// ---- All at hand ----

function sendParts(
  exchange: Exchange,
  parts: ResponseParts,
): MaybePromise<void> {
  return parts.content === null
    ? sendNothing(exchange, parts)
    : sendWhole(exchange, parts, parts.content);
}

function sendWhole(
  { response }: Exchange,
  { status, statusText, fields }: ResponseHead,
  content: string | Uint8Array,
): MaybePromise<void> {
  const octets = typeof content === "string" ? encode(content) : content;
  response.start(status, statusText, fields, octets.length);
  const pending = response.write(octets);
  if (pending === undefined) return response.end();
  // It is lent until then.
  if (octets.buffer === scratch.buffer) scratch = new Uint8Array(scratchSize);
  return pending.then(() => response.end());
}

const encoder = new TextEncoder();

/** Where texts are encoded that have room there whatever they consist of. */
const scratchSize = 49_152;
let scratch = new Uint8Array(scratchSize);

/** Up to here a loop beats a native call. */
const shortText = 48;

/** As UTF-8; good until the next call. */
function encode(text: string): Uint8Array {
  const { length } = text;
  if (3 * length > scratchSize) return encoder.encode(text);
  const size = length <= shortText && encodeAscii(text)
    ? length
    : encoder.encodeInto(text, scratch).written;
  return scratch.subarray(0, size);
}

/** False where it is not ASCII alone. */
function encodeAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code > 0x7f) return false;
    scratch[at] = code;
  }
  return true;
}

/** Reading gives all of it at once, and where the promise can be looked into,
 * nobody has to wait for it. */
function sendHeld(
  exchange: Exchange,
  { status, statusText, fields }: ResponseHead,
  response: Response,
): MaybePromise<void> {
  const send = (content: Uint8Array) => {
    const typed = withType(fields, [content]);
    return sendWhole(exchange, { status, statusText, fields: typed }, content);
  };
  const reading = octetsOf(response);
  const read = peekInto(reading);
  return read instanceof Uint8Array ? send(read) : reading.then(send);
}

/** `bytes()` is the faster, and Node 20 has none. */
function octetsOf(response: Response): Promise<Uint8Array> {
  const { bytes } = response as { bytes?: () => Promise<Uint8Array> };
  return bytes === undefined
    ? response.arrayBuffer().then((content) => new Uint8Array(content))
    : bytes.call(response);
}

function sendNothing(
  { head, response }: Exchange,
  { status, statusText, fields }: ResponseHead,
): MaybePromise<void> {
  // For HEAD it says nothing of what GET would bring.
  const size = head.method === "HEAD" ? undefined : 0;
  response.start(status, statusText, fields, size);
  return response.end();
}
