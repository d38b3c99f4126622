/**
 * Sends a body that is read from its stream: what comes without waiting for
 * anything is gathered, so that a static body has its length, and the rest goes
 * piece by piece.
 */
import { ApplicationError, StreamError } from "../errors.ts";
import type { Exchange, ResponseFields } from "../exchange.ts";
import { nextTurn } from "../next_turn.ts";
import type { MaybePromise } from "../stream.ts";
import { describe } from "./contract.ts";
import type { ResponseHead } from "./response_parts.ts";
import { RuntimeResponse } from "./runtime_response.ts";

/** What is known of a body before it is read. */
export interface BodyOutset {
  /** Its length, where something tells it. */
  readonly size: number | null | undefined;
  /** It comes of `fetch`, and is as its server has it. */
  readonly fetched: boolean;
}

const encoder = new TextEncoder();

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
export class StreamedBody {
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

  /** Sends the whole response. Rejects as `sendResponse` does. */
  async send(
    { status, statusText, fields }: ResponseHead,
    { size, fetched }: BodyOutset,
  ): Promise<void> {
    const { head, response } = this.#exchange;
    try {
      const { pieces, length, whole } = await this.#gather();
      const known = whole ? length : size ?? undefined;
      const typed = whole && !fetched ? withType(fields, pieces) : fields;
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
const textLacksType =
  new RuntimeResponse("a").headers.get("content-type") === null;

/** Adds a type where that is so: what is UTF-8 passes for text. Without a type, a
 * browser would take for HTML what was meant to be text, whoever wrote it. */
export function withType(
  fields: ResponseFields,
  pieces: readonly Uint8Array[],
): ResponseFields {
  const typed = fields.some(([name]) => name === "content-type");
  return !textLacksType || typed || pieces.length === 0 || !isUtf8(pieces)
    ? fields
    : [...fields, ["content-type", "text/plain;charset=UTF-8"]];
}

const strict = new TextDecoder("utf-8", { fatal: true });

function isUtf8(pieces: readonly Uint8Array[]): boolean {
  const decoder = pieces.length === 1
    ? strict
    : new TextDecoder("utf-8", { fatal: true });
  try {
    for (const piece of pieces.slice(0, -1)) {
      decoder.decode(piece, { stream: true });
    }
    decoder.decode(pieces.at(-1));
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
