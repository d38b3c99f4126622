/**
 * One request and its response over the wire: what a handler is given, and what
 * the connection needs to know of it afterwards.
 */
import { type Content, openContent } from "./body.ts";
import { StreamError } from "./errors.ts";
import type { Exchange, HttpVersion, RequestHead } from "./exchange.ts";
import type { Gate } from "./gate.ts";
import type { ParsedHead } from "./http/head.ts";
import { type Terms, WireResponse } from "./response.ts";
import type { Address, ByteStream } from "./stream.ts";
import type { Wire } from "./wire.ts";

/** One request and its response, over the wire. */
export class WireExchange implements Exchange, Terms {
  readonly head: RequestHead;
  readonly content: Content;
  response: WireResponse;
  /** True once the response is the gateway's own. */
  replaced = false;
  /** True once the peer is known to have left, or ended its direction. */
  gone = false;
  /** Milliseconds since the epoch, and on the steady clock; 0 where the access
   * log does not ask for them. */
  readonly startedAt: number;
  readonly startedMs: number;
  readonly #gate: Gate;
  readonly #stream: ByteStream;
  readonly #wire: Wire;
  #abort: AbortController | undefined;

  constructor(gate: Gate, stream: ByteStream, wire: Wire, head: ParsedHead) {
    this.#gate = gate;
    this.#stream = stream;
    this.#wire = wire;
    this.head = head;
    this.content = openContent(wire, head, gate.limits);
    this.response = new WireResponse(wire, this, this.content);
    const { access } = gate;
    this.startedAt = access === undefined ? 0 : Date.now();
    this.startedMs = access === undefined || access.untimed === true
      ? 0
      : performance.now();
  }

  get body(): Content {
    return this.content;
  }

  get remote(): Address {
    return this.#stream.remote;
  }

  get local(): Address {
    return this.#stream.local;
  }

  get scheme(): "http" | "https" {
    return this.#stream.encrypted ? "https" : "http";
  }

  get version(): HttpVersion {
    return this.head.version;
  }

  get toHead(): boolean {
    return this.head.method === "HEAD";
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.gone) this.#abort.abort(new StreamError("The peer has left"));
    return this.#abort.signal;
  }

  /** The peer has left, or ended its direction, before the response was whole. */
  peerGone(): void {
    if (!this.response.ended || !this.#wire.sent) this.giveUp();
  }

  /** Nobody waits for this response any longer. */
  giveUp(): void {
    this.gone = true;
    this.#abort?.abort(new StreamError("The peer has left"));
  }

  mayPersist(): boolean {
    return this.head.keepAlive && !this.#gate.draining &&
      !this.content.withheld &&
      this.content.outstanding <= this.#gate.limits.drain;
  }

  /** A response in place of one that has not been sent. */
  replaceResponse(): WireResponse {
    this.response.abandon();
    this.replaced = true;
    return this.response = new WireResponse(this.#wire, this, this.content);
  }
}
