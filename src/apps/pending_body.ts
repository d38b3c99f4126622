/**
 * A response that becomes the body of a WSGI application, which is asked for its
 * blocks. A write waits until the block behind it is asked for: so long PEP
 * 3333 has the bytes lent, and nothing is copied and nothing piles up.
 */
import { ApplicationError, StreamError } from "../errors.ts";
import type { ResponseFields, ResponseWriter } from "../exchange.ts";
import { composeInterim } from "../http/response_head.ts";
import { forbidsContent, reasonPhrase } from "../http/status.ts";
import type { MaybePromise } from "../stream.ts";
import type { ResponseHeaders, StartResponse } from "../wsgi.ts";

/** Of the connection, and so not an application's to send: PEP 3333, "Other
 * HTTP Features". `Status` would be obeyed by a CGI server. */
const withheld: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "status",
  "te",
  "trailer",
  "trailers",
  "transfer-encoding",
  "upgrade",
]);

type Step = IteratorResult<Uint8Array, undefined>;

/** Somebody who waits, and how that ends. */
interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

const done: Step = { done: true, value: undefined };

/** The way back of one exchange, and the body that comes of it. */
export class PendingBody
  implements ResponseWriter, AsyncIterableIterator<Uint8Array> {
  started = false;
  committed = false;
  ended = false;
  /** Settles once `startResponse` has been called; rejects where the handler
   * fails before. */
  readonly opened: Promise<void>;
  readonly #toHead: boolean;
  readonly #startResponse: StartResponse;
  readonly #onGone: () => void;
  readonly #interim: ResponseWriter["informational"] | undefined;
  #open: Waiting<void> | undefined;
  #status = 0;
  #reason = "";
  #headers: ResponseHeaders = [];
  /** The block that is written, until it is asked for. */
  #block: Uint8Array | undefined;
  /** Whoever has written, until the block behind is asked for. */
  #writer: Waiting<void> | undefined;
  /** Whoever asks for a block, until there is one. */
  #reader: Waiting<Step> | undefined;
  #failure: { readonly error: unknown } | undefined;
  #gone = false;

  /** `onGone` is called when nobody wants the rest; `interim` sends interim
   * responses, where the server can. */
  constructor(
    toHead: boolean,
    startResponse: StartResponse,
    onGone: () => void,
    interim?: ResponseWriter["informational"],
  ) {
    this.#toHead = toHead;
    this.#startResponse = startResponse;
    this.#onGone = onGone;
    this.#interim = interim;
    this.opened = new Promise((resolve, reject) => {
      this.#open = { resolve, reject };
    });
  }

  informational(status: number, fields: ResponseFields): MaybePromise<void> {
    this.#checkReplaceable();
    composeInterim(status, fields); // whoever is asked need not check
    return this.#interim?.(status, fields);
  }

  #checkReplaceable(): void {
    if (this.committed) {
      throw new ApplicationError("The head of this response has been sent");
    }
  }

  start(
    status: number,
    reason: string,
    fields: ResponseFields,
    size?: number,
  ): void {
    this.#checkReplaceable();
    this.#status = status;
    this.#reason = reason;
    this.#headers = headersOf(status, fields, size);
    this.started = true;
  }

  write(content: Uint8Array): MaybePromise<void> {
    this.#checkOpen();
    this.#commit();
    if (content.length === 0 || this.#hasNone) return;
    if (this.#writer !== undefined) {
      throw new ApplicationError("A write is pending; await it first");
    }
    const writing = new Promise<void>((resolve, reject) => {
      this.#writer = { resolve, reject };
    });
    // Whoever does not wait for it must not end the process.
    writing.catch(() => {});
    if (this.#reader === undefined) this.#block = content;
    else this.#give({ done: false, value: content });
    return writing;
  }

  /** A head without a block stays where it is: PEP 3333 has the server wait for
   * the first. */
  flush(): void {
    if (this.ended) return;
    this.#checkOpen();
    this.#commit();
  }

  end(): void {
    this.#checkOpen();
    this.#commit();
    this.ended = true;
    this.#give(done);
  }

  /** Has the server see that the response failed. */
  fail(error: unknown): void {
    if (this.ended) return;
    this.ended = true;
    this.#failure = { error };
    this.#open?.reject(error);
    this.#reader?.reject(error);
  }

  // ---- The body ----

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<Step> {
    const block = this.#block;
    if (block !== undefined) {
      this.#block = undefined;
      return { done: false, value: block };
    }
    const asked = new Promise<Step>((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
    this.#writer?.resolve();
    this.#writer = undefined;
    if (this.#failure !== undefined) this.#reader!.reject(this.#failure.error);
    else if (this.ended || this.#gone) this.#give(done);
    return await asked;
  }

  async return(): Promise<Step> {
    this.leave();
    return await Promise.resolve(done);
  }

  /** Nobody wants the rest. */
  leave(): void {
    if (this.ended || this.#gone) return;
    this.#gone = true;
    this.#writer?.reject(peerGone());
    this.#writer = undefined;
    this.#onGone();
  }

  get #hasNone(): boolean {
    return this.#toHead || this.#status === 205 || forbidsContent(this.#status);
  }

  #checkOpen(): void {
    if (!this.started) throw new ApplicationError("No response was started");
    if (this.#gone) throw peerGone();
    if (this.ended) throw new ApplicationError("This response has ended");
  }

  #commit(): void {
    if (this.committed) return;
    const reason = this.#reason || reasonPhrase(this.#status);
    this.#startResponse(`${this.#status} ${reason}`, this.#headers);
    this.committed = true;
    this.#open?.resolve();
  }

  #give(step: Step): void {
    this.#reader?.resolve(step);
    this.#reader = undefined;
  }
}

function peerGone(): StreamError {
  return new StreamError("The peer has left");
}

function headersOf(
  status: number,
  fields: ResponseFields,
  size: number | undefined,
): ResponseHeaders {
  const bare = status === 204 || status === 304;
  const headers: ResponseHeaders = [];
  let typed = bare;
  let sized = bare || size === undefined;
  for (const [name, value] of fields) {
    const lower = name.toLowerCase();
    if (withheld.has(lower) || /[-_]$/.test(name)) continue;
    if (lower === "content-type") {
      if (bare) continue;
      typed = true;
    }
    if (lower === "content-length") {
      if (status === 204 || status === 205) continue;
      sized = true;
    }
    headers.push([name, value]);
  }
  // What a recipient may take for granted without it: RFC 9110 §8.3.
  if (!typed) headers.push(["Content-Type", "application/octet-stream"]);
  if (!sized) headers.push(["Content-Length", String(size)]);
  return headers;
}
