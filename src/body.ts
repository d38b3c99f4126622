/**
 * The request content over the wire: RFC 9112 §6. Unframes it where it lies,
 * asks for it with `100 (Continue)` (RFC 9110 §10.1.1), bounds it, and drains
 * what an application left unread.
 */
import { HttpError } from "./errors.ts";
import type { Fields, RequestBody } from "./exchange.ts";
import { ChunkedDecoder } from "./http/chunked.ts";
import type { ParsedHead } from "./http/head.ts";
import type { Limits } from "./limits.ts";
import type { MaybePromise } from "./stream.ts";
import type { Wire } from "./wire.ts";

const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";

/** A request body that the connection loop can finish. */
export interface Content extends RequestBody {
  /** True once the end has been read. */
  readonly finished: boolean;
  /** True while somebody waits for content to arrive. */
  readonly awaiting: boolean;
  /** Counts those waits, so that a clock can tell slow from stalled. */
  readonly waits: number;
  /** True while the peer still waits for `100 (Continue)`, and so may never
   * send the content. */
  readonly withheld: boolean;
  /** Content bytes that are known to be missing; 0 when that is not known. */
  readonly outstanding: number;
  /** Called when the response head goes out, after which `100 (Continue)` would
   * come too late. A later read waits for what the peer sends unasked. */
  withoutContinue(): void;
  /** Makes the read that waits, and every later one, fail with `error`. */
  fail(error: HttpError): void;
}

/** The body of a request that has none. */
const noContent: Content = {
  finished: true,
  awaiting: false,
  waits: 0,
  withheld: false,
  outstanding: 0,
  trailers: undefined,
  read: () => null,
  withoutContinue() {},
  fail() {},
};

/** The content that `head` announces, to be read off `wire`. */
export function openContent(
  wire: Wire,
  head: ParsedHead,
  limits: Limits,
): Content {
  if (head.framing === "chunked") return new ChunkedContent(wire, head, limits);
  return head.contentLength === 0
    ? noContent
    : new SizedContent(wire, head, limits);
}

abstract class WireContent implements Content {
  finished = false;
  awaiting = false;
  waits = 0;
  withheld: boolean;
  protected readonly wire: Wire;
  protected readonly limits: Limits;
  #failure: unknown;
  #mayInvite = true;

  constructor(wire: Wire, head: ParsedHead, limits: Limits) {
    this.wire = wire;
    this.limits = limits;
    this.withheld = head.expectContinue;
  }

  abstract get trailers(): Fields | undefined;
  abstract get outstanding(): number;
  /** What lies in the buffer, `null` at the end, `undefined` to wait for more. */
  protected abstract take(): Uint8Array | null | undefined;

  read(): MaybePromise<Uint8Array | null> {
    if (this.#failure !== undefined) return rejected(this.#failure);
    try {
      for (;;) {
        const content = this.take();
        if (content !== undefined) {
          // The peer has not waited for it (RFC 9110 §10.1.1), so neither does
          // anybody owe it the interim response any more.
          this.withheld = false;
          return content;
        }
        this.#invite();
        const more = this.wire.fill();
        if (more instanceof Promise) {
          this.awaiting = true;
          this.waits++;
          return neverUnhandled(
            more.then(
              (arrived) => this.#resume(arrived),
              (error) => this.#abandon(error),
            ),
          );
        }
        if (!more) throw this.#truncated();
      }
    } catch (error) {
      this.#failure = error;
      return rejected(error);
    }
  }

  give(size: number): boolean {
    return this.wire.give(size);
  }

  #resume(more: boolean): MaybePromise<Uint8Array | null> {
    this.awaiting = false;
    if (this.#failure === undefined && !more) this.#failure = this.#truncated();
    return this.read();
  }

  #abandon(error: unknown): never {
    this.awaiting = false;
    this.#failure ??= error;
    throw this.#failure;
  }

  #invite(): void {
    if (!this.withheld || !this.#mayInvite) return;
    this.withheld = false;
    this.wire.putText(CONTINUE);
  }

  #truncated(): HttpError {
    return new HttpError(400, "Content ended before its time");
  }

  withoutContinue(): void {
    this.#mayInvite = false;
  }

  fail(error: HttpError): void {
    this.#failure ??= error;
  }
}

/** An application that does not wait for its read must not bring the process
 * down when the peer leaves. */
function neverUnhandled<T>(pending: Promise<T>): Promise<T> {
  pending.catch(() => {});
  return pending;
}

function rejected(error: unknown): Promise<never> {
  return neverUnhandled(Promise.reject(error));
}

/** Content of a known length: RFC 9112 §6.2. */
class SizedContent extends WireContent {
  readonly trailers = undefined;
  outstanding: number;

  constructor(wire: Wire, head: ParsedHead, limits: Limits) {
    super(wire, head, limits);
    this.outstanding = head.contentLength;
  }

  protected take(): Uint8Array | null | undefined {
    const { wire } = this;
    if (this.outstanding === 0) {
      this.finished = true;
      return null;
    }
    const size = Math.min(this.outstanding, wire.end - wire.start);
    if (size === 0) return undefined;
    const content = wire.buffer.subarray(wire.start, wire.start + size);
    wire.consume(size);
    this.outstanding -= size;
    if (this.outstanding === 0) this.finished = true;
    return content;
  }
}

/** Content in chunks: RFC 9112 §7.1. */
class ChunkedContent extends WireContent {
  readonly #decoder: ChunkedDecoder;
  #received = 0;
  /** How much of an unfinished trailer section has been looked at. */
  #examined = 0;

  constructor(wire: Wire, head: ParsedHead, limits: Limits) {
    super(wire, head, limits);
    this.#decoder = new ChunkedDecoder(limits);
  }

  get trailers(): Fields | undefined {
    return this.#decoder.trailers;
  }

  get outstanding(): number {
    return 0;
  }

  protected take(): Uint8Array | null | undefined {
    const { wire } = this;
    const decoder = this.#decoder;
    // A trailer section is taken all at once, so it may be looked at in vain.
    if (!decoder.inTrailer || wire.worthLooking(this.#examined)) {
      decoder.advance(wire.buffer, wire.start, wire.end);
      wire.consume(decoder.at - wire.start);
      this.#examined = wire.end - wire.start;
    }
    if (decoder.contentEnd > decoder.contentStart) {
      const content = wire.buffer.subarray(
        decoder.contentStart,
        decoder.contentEnd,
      );
      decoder.contentStart = decoder.contentEnd;
      this.#received += content.length;
      if (this.#received > this.limits.content) {
        throw new HttpError(413, "Content too large");
      }
      return content;
    }
    if (!decoder.done) return undefined;
    this.finished = true;
    return null;
  }
}
