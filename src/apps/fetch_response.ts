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
 */
import { ApplicationError, StreamError } from "../errors.ts";
import type { Exchange, ResponseFields } from "../exchange.ts";
import type { MaybePromise } from "../stream.ts";
import { describe } from "./contract.ts";

/** Sends all of it. Throws or rejects with `ApplicationError` where it is none,
 * with `StreamError` where the peer has left, and with what its stream throws. */
export function sendResponse(
  exchange: Exchange,
  response: unknown,
): MaybePromise<void> {
  checkResponse(response);
  const { status, statusText } = response;
  // Before anything is read off the body: Deno makes the two together.
  const head: Head = {
    status,
    statusText,
    fields: fieldsOf(response),
    // What `fetch` gives is as its server has it.
    lacksType: textLacksType && response.url === "",
  };
  const known = staticBody(response);
  const content = known?.source;
  if (typeof content === "string" || content instanceof Uint8Array) {
    once(response);
    return sendWhole(exchange, head, octetsOf(content));
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

/** Static bodies that were sent without the runtime's knowing. */
const spent = new WeakSet<Response>();

function once(response: Response): void {
  if (spent.has(response)) throw used();
  spent.add(response);
}

function used(): ApplicationError {
  return new ApplicationError("The body of the response was read already");
}

/** Each Set-Cookie by itself, as RFC 6265 §3 wants it. */
function fieldsOf(response: Response): ResponseFields {
  const fields: [string, string][] = [];
  let coded = false;
  response.headers.forEach((value, name) => {
    if (name === "content-encoding") coded = true;
    fields.push([name, value]);
  });
  // What `fetch` gives is decoded already, whatever its fields say.
  return coded && response.url !== "" && response.body !== null
    ? fields.filter(([name]) =>
      name !== "content-encoding" && name !== "content-length"
    )
    : fields;
}

// ---- All at hand ----

interface Head {
  readonly status: number;
  readonly statusText: string;
  readonly fields: ResponseFields;
  /** Text of it may have come without the type of text. */
  readonly lacksType: boolean;
}

const encoder = new TextEncoder();

function octetsOf(content: string | Uint8Array): Uint8Array {
  return typeof content === "string" ? encoder.encode(content) : content;
}

function sendWhole(
  { response }: Exchange,
  { status, statusText, fields }: Head,
  content: Uint8Array,
): MaybePromise<void> {
  response.start(status, statusText, fields, content.length);
  const pending = response.write(content);
  return pending === undefined
    ? response.end()
    : pending.then(() => response.end());
}

function sendNothing(
  { head, response }: Exchange,
  { status, statusText, fields }: Head,
): MaybePromise<void> {
  // For HEAD it says nothing of what GET would bring.
  const size = head.method === "HEAD" ? undefined : 0;
  response.start(status, statusText, fields, size);
  return response.end();
}

/** What a body was made of, as the runtime keeps it. */
interface KeptBody {
  /** Text or octets where it is static; else no matter. */
  readonly source?: unknown;
  /** In octets, where it is known. */
  readonly length?: number | null;
}

/** Under what symbol the runtime keeps what a response is; undefined where it
 * keeps it elsewhere, or in another way than this was written for. */
const kept: symbol | undefined = findKept();

function findKept(): symbol | undefined {
  const text = new Response("\u00e9");
  const octets = new Response(new Uint8Array(3));
  const stream = new Response(new ReadableStream());
  const all = [text, octets, stream, new Response(null)];
  for (const { headers } of all) headers.has("content-type");
  return Object.getOwnPropertySymbols(text).find((symbol) => {
    const [ofText, ofOctets, ofStream, ofNothing] = all.map((response) =>
      bodyUnder(symbol, response)
    );
    return ofText?.source === "\u00e9" &&
      ofOctets?.source instanceof Uint8Array && ofOctets.source.length === 3 &&
      ofStream?.source === null && ofStream.length === null &&
      ofNothing === undefined;
  });
}

function bodyUnder(symbol: symbol, response: Response): KeptBody | undefined {
  const inner = (response as unknown as Record<
    symbol,
    { readonly body?: KeptBody | null } | undefined
  >)[symbol];
  return inner?.body ?? undefined;
}

function staticBody(response: Response): KeptBody | undefined {
  return kept === undefined ? undefined : bodyUnder(kept, response);
}

// ---- As it comes ----

/** How much is gathered before the head goes out, to learn the length. */
const gatheredBytes = 65_536;
/** So many pieces without a wait, and others have their turn. */
const fairPieces = 128;

type Result = ReadableStreamReadResult<Uint8Array | string>;

/** A body that is read from its stream. */
class Streaming {
  readonly #exchange: Exchange;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array | string>;
  /** Reads that are under way: two in the beginning, then one at a time. */
  readonly #reads: Promise<Result>[] = [];
  /** Pieces since the last wait. */
  #atOnce = 0;
  /** Fails the wait for a piece. */
  #giveUp: ((error: StreamError) => void) | undefined;
  #watching: AbortSignal | undefined;

  constructor(
    exchange: Exchange,
    reader: ReadableStreamDefaultReader<Uint8Array | string>,
  ) {
    this.#exchange = exchange;
    this.#reader = reader;
    this.#read();
    this.#read();
  }

  /** `size` is the length, where something tells it. */
  async send(head: Head, size?: number | null): Promise<void> {
    try {
      await this.#send(head, size ?? undefined);
    } catch (error) {
      // The stream learns that nobody wants the rest.
      this.#reader.cancel(error).catch(() => {});
      throw error;
    } finally {
      this.#watching?.removeEventListener("abort", this.#leave);
    }
  }

  async #send(
    { status, statusText, fields, lacksType }: Head,
    size: number | undefined,
  ): Promise<void> {
    const { head, response } = this.#exchange;
    const { pieces, length, whole } = await this.#gather();
    const typed = lacksType && whole ? withType(fields, pieces) : fields;
    response.start(status, statusText, typed, whole ? length : size);
    if (head.method === "HEAD") {
      void this.#reader.cancel().catch(() => {});
      return await response.end();
    }
    for (const piece of pieces) await response.write(piece);
    if (!whole) await this.#sendRest();
    await response.end();
  }

  /** What is there without waiting; nothing where the first must be awaited. */
  async #gather(): Promise<
    { pieces: Uint8Array[]; length: number; whole: boolean }
  > {
    const pieces: Uint8Array[] = [];
    let length = 0;
    while (length < gatheredBytes && pieces.length < fairPieces) {
      // Where the second is there, the first is: one wait for a static body.
      if (
        await soon(this.#reads[1]!) === waiting &&
        await soon(this.#reads[0]!) === waiting
      ) break;
      const piece = octets(await this.#reads.shift()!);
      if (piece === undefined) return { pieces, length, whole: true };
      pieces.push(piece);
      length += piece.length;
      this.#read();
    }
    return { pieces, length, whole: await this.#endsHere() };
  }

  /** Whether the end is at hand: a large static body may have come as one piece,
   * or a few. */
  async #endsHere(): Promise<boolean> {
    const next = await soon(this.#reads[0]!);
    return next !== waiting && next.done;
  }

  async #sendRest(): Promise<void> {
    const { response } = this.#exchange;
    for (;;) {
      const piece = octets(await this.#next(this.#reads.shift()!));
      if (piece === undefined) return;
      await response.write(piece);
      if (this.#reads.length === 0) this.#read();
    }
  }

  /** What a read brings; what was sent is on its way while it is awaited. */
  async #next(coming: Promise<Result>): Promise<Result> {
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
      coming.then(resolve, reject);
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
    const coming = this.#reader.read();
    // What is wrong with it is told when it is awaited.
    coming.catch(() => {});
    this.#reads.push(coming);
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

/** The piece that was read; undefined at the end. Text goes as UTF-8: Elysia
 * streams it, as Bun lets it. */
function octets({ done, value }: Result): Uint8Array | undefined {
  if (done) return undefined;
  if (value instanceof Uint8Array) return value;
  if (typeof value === "string") return encoder.encode(value);
  throw new ApplicationError(
    `The body of a response must give Uint8Array, not ${describe(value)}`,
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
async function soon<T>(promise: Promise<T>): Promise<T | typeof waiting> {
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
