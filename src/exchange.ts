/**
 * The upper door: one request and its response, as every application
 * interface (WSGI, fetch, FastCGI) meets them.
 *
 * @module
 */
import type { Address, MaybePromise } from "./stream.ts";

/** RFC 9112 §2.3. Ten times the version, so `>=` means what it says. */
export type HttpVersion = 10 | 11;

/** A field name met once and kept, so that no request spells it again. */
export interface FieldName {
  /** "content-type": for comparing, and for `Headers`. */
  readonly lower: string;
  /** "CONTENT_TYPE" or "HTTP_ACCEPT" (RFC 3875 §4.1.18); undefined when the
   * field must not reach an environ: a name that holds "_" would pass for
   * another field, and `Proxy` for the variable HTTP_PROXY. */
  readonly meta: string | undefined;
}

/** Field lines in the order received. Immutable. */
export interface Fields {
  /** How many field lines. */
  readonly length: number;
  /** False only where no name occurs twice, which saves looking for it. */
  readonly mayRepeat: boolean;
  /** True once a later request had the same fields, octet by octet, and was given
   * this very object: what is made of them is worth keeping for it. */
  readonly recurs?: boolean;
  /** The name of line `index`. */
  name(index: number): FieldName;
  /** The value of line `index`: one character per octet (U+0000 to U+00FF),
   * without the white space around it. */
  value(index: number): string;
  /** All values of a field joined with ", " (RFC 9110 §5.3), Cookie with
   * "; " (RFC 6265 §5.4); undefined when it is absent. */
  get(lower: string): string | undefined;
}

/** How the end of the request content is told: RFC 9112 §6.3. */
export type Framing = "none" | "length" | "chunked";

/** The forms of a request-target that an origin server answers: RFC 9112
 * §3.2. (`authority` belongs to CONNECT, which is refused.) */
export type TargetForm = "origin" | "absolute" | "asterisk";

/** A request line and header section, parsed and judged. Immutable. Requests of
 * one connection that are alike, octet by octet, may have one head: it tells
 * what was asked, not which request asked it. */
export interface RequestHead {
  /** Case-sensitive, as received: any token (RFC 9110 §9.1) but CONNECT. */
  readonly method: string;
  /** The request-target exactly as received: RFC 9112 §3.2. */
  readonly target: string;
  /** Which form the target has. */
  readonly targetForm: TargetForm;
  /** The path of the target, still percent-encoded; starts with "/", or is
   * "*" for the asterisk form. */
  readonly path: string;
  /** What follows the first "?" of the target; "" when there is none. */
  readonly query: string;
  /** The authority that the request is for, as received: the target's own in
   * the absolute form (RFC 9112 §3.2.2), else Host; "" when there is none. */
  readonly authority: string;
  /** The version to answer as. */
  readonly version: HttpVersion;
  /** The header section. */
  readonly fields: Fields;
  /** How the end of the content is told. */
  readonly framing: Framing;
  /** Content-Length when framing is "length", else 0. */
  readonly contentLength: number;
  /** RFC 9112 §9.3, from the version and Connection. */
  readonly keepAlive: boolean;
  /** RFC 9110 §10.1.1; never true for HTTP/1.0. */
  readonly expectContinue: boolean;
}

/** The request content, unframed. */
export interface RequestBody {
  /** Some bytes, or `null` at the end. Lent until the next `read()`. The first
   * read sends `100 (Continue)` where the peer waits for it. Rejects with
   * `HttpError` when the content is malformed, too large or too slow, with
   * `StreamError` when the peer left. */
  read(): MaybePromise<Uint8Array | null>;
  /** Makes the last `size` bytes of what the last `read()` lent the caller's for
   * good. They may be a part of a larger buffer, whose rest is nobody's. False
   * where they stay lent, and had better be copied. */
  give?(size: number): boolean;
  /** The trailer section of chunked content, once `read()` has returned null;
   * undefined when there is none. */
  readonly trailers: Fields | undefined;
}

/** Response field lines in order; each value one character per octet. */
export type ResponseFields =
  readonly (readonly [name: string, value: string])[];

/** The way back. Every call is legal in one order only:
 * `start`, then `write` any number of times, then `end`; `informational` as
 * long as nothing of that is sent. */
export interface ResponseWriter {
  /** Sends an interim response (RFC 9110 §15.2) at once, as 103 (Early Hints,
   * RFC 8297) is one; returns a promise when the peer must drain first. Where
   * nobody could take it, which is HTTP/1.0 and hosts that have no room for it,
   * it is dropped. Fields that speak of the connection or of a content are left
   * out. Throws `ApplicationError` on a status other than 102 to 199, on fields
   * that HTTP forbids, and once the head is on its way. */
  informational(status: number, fields: ResponseFields): MaybePromise<void>;
  /** Checks and keeps the status and fields; nothing is sent yet. May be
   * called again, to replace them, until something is sent.
   * `size` is the content length in bytes when the caller knows it and the
   * fields do not say it. Connection-specific fields are the gateway's own and
   * are left out; `Connection: close` among them is honoured. Throws
   * `ApplicationError` on what HTTP forbids. */
  start(
    status: number,
    reason: string,
    fields: ResponseFields,
    size?: number,
  ): void;
  /** Frames and buffers; returns a promise when the peer must drain first. The
   * bytes are lent until the call settles. Where the response has no content
   * (HEAD, 204, 304), they are dropped. Throws `ApplicationError`
   * when they exceed the declared length. */
  write(content: Uint8Array): MaybePromise<void>;
  /** Sends everything buffered, the head included; call it before waiting on
   * anything. */
  flush(): MaybePromise<void>;
  /** Ends the content. Throws `ApplicationError` when it is shorter than the
   * declared length. */
  end(): MaybePromise<void>;
  /** True once `start` was called. */
  readonly started: boolean;
  /** True once the head is on its way, so that `start` cannot replace it. */
  readonly committed: boolean;
}

/** One request and its response. Valid until the handler has settled. */
export interface Exchange {
  /** What was asked. */
  readonly head: RequestHead;
  /** The request content. */
  readonly body: RequestBody;
  /** The way back. */
  readonly response: ResponseWriter;
  /** The peer; the client where a proxy that is believed tells of it, with port 0
   * where it tells none. */
  readonly remote: Address;
  /** The address that the peer connected to. */
  readonly local: Address;
  /** "https" when TLS ends in this process, or in a proxy that is believed. */
  readonly scheme: "http" | "https";
  /** Aborted when the peer leaves, or ends its direction, before the response
   * is whole. Made on first use; never aborted after a response that was sent
   * whole. */
  readonly signal: AbortSignal;
}

/** What the connection loop calls, once per request. A response must have been
 * started and ended when it settles. What it throws becomes a 500, that of a
 * `BackendError` its status; or it cuts the connection when the head is on its
 * way. */
export type Handler = (exchange: Exchange) => MaybePromise<void>;

/** One finished exchange, for the access log. Lent: format it, do not keep it. */
export interface AccessRecord {
  /** Undefined when the head was refused. */
  readonly head: RequestHead | undefined;
  /** The peer; the client where a proxy that is believed has told of it. */
  readonly remote: Address;
  /** The status sent; 499 when the peer left before the response was whole. */
  readonly status: number;
  /** The fields that the application gave; empty for an answer of ours. */
  readonly responseFields: ResponseFields;
  /** Content bytes of the response. */
  readonly contentSent: number;
  /** When the head was complete, in milliseconds since the epoch. */
  readonly startedAt: number;
  /** From a complete head to a complete response, in milliseconds; 0 for a
   * sink that is untimed. */
  readonly elapsedMs: number;
}

/** Is told of each finished exchange. */
export interface AccessSink {
  (record: AccessRecord): void;
  /** True for one that never looks at `elapsedMs`: reading a steady clock twice
   * costs as much as a line. */
  readonly untimed?: boolean | undefined;
}
