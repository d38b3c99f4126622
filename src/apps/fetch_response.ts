/**
 * Sends a `Response` over an exchange: at once and with its length where all of
 * it is at hand, piece by piece where it streams.
 *
 * The Fetch standard keeps to itself whether a body streams. Runtimes that keep
 * what a response is under symbols (Node up to 22, Deno) tell, and spare a
 * static body its stream; nothing is ever written there, and what they tell is
 * tried once on samples. On the others the stream is read: pieces that come
 * without waiting for anything are gathered, so that a static body has its
 * length there, too.
 *
 * Length: what is at hand and what streams are told apart here alone.
 */
import { ApplicationError, StreamError } from "../errors.ts";
import type { Exchange, ResponseFields } from "../exchange.ts";
import type { MaybePromise } from "../stream.ts";
import { describe } from "./contract.ts";
import {
  type ResponseHead,
  type ResponseParts,
  takeParts,
} from "./light_response.ts";

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
  const fields = fieldsOf(response);
  const head: Head = {
    status,
    statusText,
    fields,
    // What `fetch` gives is as its server has it.
    lacksType: textLacksType && response.url === "",
  };
  const known = kept === undefined
    ? undefined
    : under<InnerResponse>(kept, response)?.body;
  const content = known?.source;
  if (
    typeof content === "string" ||
    // Once a clone has been read on Node, the octets are in other hands.
    (content instanceof Uint8Array && content.length === known!.length)
  ) {
    once(response);
    return sendWhole(exchange, head, content);
  }
  const { body } = response;
  if (body === null) return sendNothing(exchange, head);
  if (body.locked) {
    throw new ApplicationError("The body of the response is read elsewhere");
  }
  return new Streaming(exchange, body.getReader()).send(head, known?.length);
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
  return value instanceof Response ||
    Object.prototype.toString.call(value) === "[object Response]";
}

/** Marks a response whose static body was sent without the runtime's knowing. */
const sent: unique symbol = Symbol("sent");

/** Throws where it was sent before. (A `WeakSet` costs the collector, too.) */
function once(response: object): void {
  if (sent in response) throw used();
  // One that is frozen can be sent twice, as it is its own every time.
  Reflect.set(response, sent, true);
}

function used(): ApplicationError {
  return new ApplicationError("The body of the response was read already");
}

/** Each Set-Cookie by itself, as RFC 6265 §3 wants it. */
function fieldsOf(response: Response): ResponseFields {
  const { headers } = response; // makes the list, too
  const list = listed
    ? under<InnerResponse>(kept!, response)?.headerList
    : undefined;
  const fields = list?.map(lowered) ?? listOf(headers);
  // What `fetch` gives is decoded already, whatever its fields say.
  return fields.some(isCoding) && response.url !== "" && response.body !== null
    ? fields.filter((field) =>
      !isCoding(field) && field[0] !== "content-length"
    )
    : fields;
}

function listOf(headers: Headers): ResponseFields {
  const fields: [string, string][] = [];
  headers.forEach((value, name) => fields.push([name, value]));
  return fields;
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

interface Head extends ResponseHead {
  /** Text of it may have come without the type of text. */
  readonly lacksType: boolean;
}

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

function sendNothing(
  { head, response }: Exchange,
  { status, statusText, fields }: ResponseHead,
): MaybePromise<void> {
  // For HEAD it says nothing of what GET would bring.
  const size = head.method === "HEAD" ? undefined : 0;
  response.start(status, statusText, fields, size);
  return response.end();
}

// ---- As the runtime keeps it ----

/** Text that nobody has touched, as a light response gives it. */
function takeText(response: unknown): ResponseParts | undefined {
  if (untouched === undefined || !(response instanceof Response)) {
    return undefined;
  }
  const content = under<unknown>(untouched.text, response);
  if (typeof content !== "string") return undefined;
  once(response);
  const type = under<string | null>(untouched.type, response);
  return {
    status: response.status,
    statusText: "",
    fields: typeof type === "string" ? fieldsOfType(type) : textFields,
    content,
  };
}

const textFields: ResponseFields = [
  ["content-type", "text/plain;charset=UTF-8"],
];
let lastType = "";
let lastFields: ResponseFields = [];

function fieldsOfType(type: string): ResponseFields {
  if (type === lastType) return lastFields;
  lastType = type;
  return lastFields = [["content-type", type]];
}

/** What is of use to us in it. */
interface InnerResponse {
  readonly body?: {
    /** Text or octets where it is static; else no matter. */
    readonly source?: unknown;
    /** In octets, where it is known. */
    readonly length?: number | null;
  } | null;
  readonly headerList?: ResponseFields;
}

/** Under what symbol the runtime keeps what a response is, once it has been
 * asked for its fields; undefined where it keeps it elsewhere, or in another way
 * than this was written for. */
const kept: symbol | undefined = findKept();

function findKept(): symbol | undefined {
  const text = new Response("\u00e9");
  const octets = new Response(new Uint8Array(3));
  const stream = new Response(new ReadableStream());
  const all = [text, octets, stream, new Response(null)];
  for (const { headers } of all) headers.has("content-type");
  return Object.getOwnPropertySymbols(text).find((symbol) => {
    const [ofText, ofOctets, ofStream, ofNothing] = all.map((response) =>
      under<InnerResponse>(symbol, response)?.body ?? undefined
    );
    return ofText?.source === "\u00e9" &&
      ofOctets?.source instanceof Uint8Array && ofOctets.source.length === 3 &&
      ofStream?.source === null && ofStream.length === null &&
      ofNothing === undefined;
  });
}

function under<T>(symbol: symbol, response: unknown): T | undefined {
  return (response as Record<symbol, T | undefined>)[symbol];
}

/** Whether it keeps the fields as a list of pairs (Deno). */
const listed: boolean = kept !== undefined && listsFields(kept);

function listsFields(symbol: symbol): boolean {
  const sample = new Response("", { headers: { A: "1", "b": "2" } });
  sample.headers.append("b", "3");
  sample.headers.set("content-type", "c/d");
  sample.headers.delete("a");
  const { headerList } = under<InnerResponse>(symbol, sample) ?? {};
  return Array.isArray(headerList) &&
    headerList.map(String).sort().join() === "Content-Type,c/d,b,2,b,3";
}

/** Under what symbols the runtime keeps the text and the type of a response that
 * has nothing else and was not asked for anything yet (Deno). */
const untouched: { text: symbol; type: symbol } | undefined = findUntouched();

function findUntouched(): { text: symbol; type: symbol } | undefined {
  const json = Response.json(1);
  const plain = new Response("1");
  const symbols = Object.getOwnPropertySymbols(json);
  const text = symbols.find((symbol) =>
    under(symbol, json) === "1" && under(symbol, plain) === "1" &&
    tellsTouched(symbol)
  );
  const type = symbols.find((symbol) =>
    under(symbol, json) === "application/json" && under(symbol, plain) === null
  );
  return text && type && { text, type };
}

/** Whether the text is gone once there is more to a response than its type. */
function tellsTouched(symbol: symbol): boolean {
  const touches: ((response: Response) => unknown)[] = [
    (response) => response.headers,
    (response) => response.body,
    (response) => response.text(),
    (response) => response.clone(),
  ];
  const touched = touches.map((touch) => {
    const response = Response.json(1);
    touch(response);
    return response;
  });
  const others = [
    Response.json(1, { headers: { a: "b" } }),
    Response.json(1, { statusText: "a" }),
  ];
  return [...touched, ...others].every((response) =>
    typeof under(symbol, response) !== "string"
  );
}

// ---- As it comes ----

/** How much is gathered before the head goes out, to learn the length. */
const gatheredBytes = 65_536;
/** So many pieces without a wait, and others have their turn. */
const fairPieces = 128;

type Piece = Uint8Array | string;
/** What a read brings: a piece, or on Bun all that there are. */
type Result =
  | { readonly done: true }
  | { readonly done: false; readonly value: Piece | readonly Piece[] };

/** A reader of Bun gives pieces that are at hand without a promise. */
type Reader = ReadableStreamDefaultReader<Piece> & {
  readMany?(): MaybePromise<Result>;
};

/** A body that is read from its stream. */
class Streaming {
  readonly #exchange: Exchange;
  readonly #reader: Reader;
  /** Reads that are under way, or done already: in the beginning one more than
   * the next. */
  readonly #reads: MaybePromise<Result>[] = [];
  /** Pieces since the last wait. */
  #atOnce = 0;
  /** Fails the wait for a piece. */
  #giveUp: ((error: StreamError) => void) | undefined;
  #watching: AbortSignal | undefined;

  constructor(exchange: Exchange, reader: Reader) {
    this.#exchange = exchange;
    this.#reader = reader;
    this.#read();
    if (reader.readMany === undefined) this.#read();
  }

  /** `size` is the length, where something tells it. */
  async send(
    { status, statusText, fields, lacksType }: Head,
    size?: number | null,
  ): Promise<void> {
    const { head, response } = this.#exchange;
    try {
      const { pieces, length, whole } = await this.#gather();
      const known = whole ? length : size ?? undefined;
      const typed = lacksType && whole ? withType(fields, pieces) : fields;
      response.start(status, statusText, typed, known);
      if (head.method === "HEAD") {
        void this.#reader.cancel().catch(() => {});
      } else {
        await this.#write(pieces);
        if (!whole) await this.#sendRest();
      }
      const pending = response.end();
      if (pending !== undefined) await pending;
    } catch (error) {
      // The stream learns that nobody wants the rest.
      this.#reader.cancel(error).catch(() => {});
      throw error;
    } finally {
      this.#watching?.removeEventListener("abort", this.#leave);
    }
  }

  /** What is there without waiting; nothing where the first must be awaited. */
  async #gather(): Promise<
    { pieces: Uint8Array[]; length: number; whole: boolean }
  > {
    const all: Uint8Array[] = [];
    let length = 0;
    while (length < gatheredBytes && all.length < fairPieces) {
      // Where the last is there, the first is: one wait for a static body.
      if (
        await soon(this.#reads.at(-1)!) === waiting &&
        await soon(this.#reads[0]!) === waiting
      ) break;
      const pieces = octets(await this.#reads.shift()!);
      if (pieces === undefined) return { pieces: all, length, whole: true };
      for (const piece of pieces) {
        all.push(piece);
        length += piece.length;
      }
      this.#read();
    }
    return { pieces: all, length, whole: await this.#endsHere() };
  }

  /** Whether the end is at hand: a large static body may have come as one piece,
   * or a few. */
  async #endsHere(): Promise<boolean> {
    const next = await soon(this.#reads[0]!);
    return next !== waiting && next.done;
  }

  async #write(pieces: readonly Uint8Array[]): Promise<void> {
    for (const piece of pieces) {
      const pending = this.#exchange.response.write(piece);
      if (pending !== undefined) await pending;
    }
  }

  async #sendRest(): Promise<void> {
    for (;;) {
      const pieces = octets(await this.#next(this.#reads.shift()!));
      if (pieces === undefined) return;
      await this.#write(pieces);
      if (this.#reads.length === 0) this.#read();
    }
  }

  /** What a read brings; what was sent is on its way while it is awaited. */
  async #next(coming: MaybePromise<Result>): Promise<Result> {
    const result = await soon(coming);
    if (result !== waiting) {
      if (++this.#atOnce >= fairPieces) await this.#letOthers();
      // A stream that was cancelled ends as one that is whole.
      if (this.#watching?.aborted) throw gone();
      return result;
    }
    this.#atOnce = 0;
    await this.#exchange.response.flush();
    return await new Promise((resolve, reject) => {
      this.#giveUp = reject;
      Promise.resolve(coming).then(resolve, reject);
      this.#watch();
    });
  }

  async #letOthers(): Promise<void> {
    this.#atOnce = 0;
    await this.#exchange.response.flush();
    await nextTurn();
    this.#watch();
  }

  /** From the first wait on the peer may leave meanwhile. */
  #watch(): void {
    if (this.#watching === undefined) {
      this.#watching = this.#exchange.signal;
      this.#watching.addEventListener("abort", this.#leave);
    }
    if (this.#watching.aborted) this.#leave();
  }

  readonly #leave = (): void => {
    const error = gone();
    this.#reader.cancel(error).catch(() => {});
    this.#giveUp?.(error);
  };

  #read(): void {
    const coming = this.#reader.readMany?.() ?? this.#reader.read();
    // What is wrong with it is told when it is awaited.
    if (coming instanceof Promise) coming.catch(() => {});
    this.#reads.push(coming as MaybePromise<Result>);
  }
}

/** Whether the runtime gives text no type (Fetch, "extract a body"), as Bun, which
 * does so when it sends it, and tells nobody before what is text. */
const textLacksType = new Response("a").headers.get("content-type") === null;

/** What is UTF-8 passes for text there. Without a type, a browser would take for
 * HTML what was meant to be text, whoever wrote it. */
function withType(
  fields: ResponseFields,
  pieces: readonly Uint8Array[],
): ResponseFields {
  const typed = fields.some(([name]) => name === "content-type");
  return typed || pieces.length === 0 || !isUtf8(pieces)
    ? fields
    : [...fields, ["content-type", "text/plain;charset=UTF-8"]];
}

function isUtf8(pieces: readonly Uint8Array[]): boolean {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  try {
    for (const piece of pieces) decoder.decode(piece, { stream: true });
    decoder.decode();
    return true;
  } catch {
    return false;
  }
}

/** The pieces that were read; undefined at the end. Text goes as UTF-8: Elysia
 * streams it, as Bun lets it. */
function octets(result: Result): readonly Uint8Array[] | undefined {
  if (result.done) return undefined;
  const { value } = result;
  return Array.isArray(value) ? value.map(octetsOf) : [octetsOf(value)];
}

function octetsOf(piece: unknown): Uint8Array {
  if (piece instanceof Uint8Array) return piece;
  if (typeof piece === "string") return encoder.encode(piece);
  throw new ApplicationError(
    `The body of a response must give Uint8Array, not ${describe(piece)}`,
  );
}

function gone(): StreamError {
  return new StreamError("The peer has left");
}

const waiting: unique symbol = Symbol("waiting");

/** How many microtasks the runtimes take for a piece that is at hand, and some
 * to spare. */
const microtasks = 10;

/** What a promise settles with, if it does so without waiting for anything
 * outside. */
function soon<T>(coming: MaybePromise<T>): MaybePromise<T | typeof waiting> {
  return coming instanceof Promise ? settled(coming) : coming;
}

async function settled<T>(promise: Promise<T>): Promise<T | typeof waiting> {
  let outcome: T | typeof waiting = waiting;
  let failed = false;
  promise.then((value) => {
    outcome = value;
  }, () => {
    failed = true;
  });
  for (let count = 0; count < microtasks; count++) {
    await undefined;
    if (failed) return promise;
    if (outcome !== waiting) break;
  }
  return outcome;
}

/** Lets everything else that is ready have its turn. */
function nextTurn(): Promise<void> {
  const { setImmediate } = globalThis as {
    setImmediate?: (run: () => void) => void;
  };
  return new Promise((resolve) => {
    if (setImmediate === undefined) setTimeout(resolve, 0);
    else setImmediate(resolve);
  });
}
