/**
 * One connection from its first byte to its last: head, content, handler,
 * response, and again (RFC 9112 §9). The only room that holds both doors, the
 * ByteStream below and the Handler above.
 *
 * The loop awaits only when something is not at hand, so requests that came in
 * one piece leave in one piece. Its clock is the gateway's: `tick` finds out
 * what has taken too long.
 *
 * Length: the phases of a connection are one story, and share its fields.
 */
import type { Content } from "./body.ts";
import {
  ApplicationError,
  BackendError,
  HttpError,
  StreamError,
} from "./errors.ts";
import type { Gate } from "./gate.ts";
import { CR, LF } from "./http/bytes.ts";
import { firstLine, type ParsedHead, parseRequestHead } from "./http/head.ts";
import { HeadReader } from "./http/head_reader.ts";
import type { Limits } from "./limits.ts";
import { describeFault, escapeForLog, traceOf } from "./logger.ts";
import { nextTurn } from "./next_turn.ts";
import { termsOfNone, writeRefusal, writeStatus } from "./own_answer.ts";
import type { WireResponse } from "./response.ts";
import type { Member } from "./roster.ts";
import { StallWatch } from "./stall.ts";
import type { ByteStream } from "./stream.ts";
import { Wire } from "./wire.ts";
import { WireExchange } from "./wire_exchange.ts";

/** Waiting for the first byte of a request. */
const IDLE = 0;
/** A head has begun. */
const HEAD = 1;
/** An application has the request. */
const BUSY = 2;
/** It has answered; what it left of the content is dropped. */
const DRAIN = 3;
/** We have said our last, and wait for the peer to have read it. */
const LINGER = 4;

/** Whoever has just connected is about to ask, more likely than one who has
 * been answered. */
const FRESH_SECONDS = 1;

/** Whoever is silent for so long is not expected to repeat himself. */
const FORGET_SECONDS = 1;

/** Pipelined answers are sent and others are let in after so much output. */
const FAIR_OUTPUT = 49_152;

/** One accepted connection. */
export class Connection implements Member<Connection> {
  roster: object | undefined = undefined;
  earlier: Connection | undefined = undefined;
  later: Connection | undefined = undefined;
  readonly #gate: Gate;
  readonly #stream: ByteStream;
  readonly #wire: Wire;
  /** Knows the last head again; made for whoever asks a second time. */
  #heads: HeadReader | undefined;
  #phase = IDLE;
  /** On the gate's clock; when the phase has lasted too long. */
  #deadline: number;
  #idleSince: number;
  #exchange: WireExchange | undefined;
  #requests = 0;
  /** Where the gate's watch keeps the request that the handler has. */
  #row: number | undefined;
  #emptyLineSkipped = false;
  /** How much of an unfinished head has been looked at. */
  #examined = 0;
  /** Made once there is something to be watched. */
  #stalls: StallWatch | undefined;
  readonly #peerGone = (): void => this.#exchange?.peerGone();

  constructor(gate: Gate, stream: ByteStream) {
    this.#gate = gate;
    this.#stream = stream;
    this.#wire = new Wire(stream);
    this.#idleSince = gate.now;
    this.#deadline = this.#after(gate.limits.idleSeconds);
  }

  /** How many requests it has handed to the handler. */
  get requests(): number {
    return this.#requests;
  }

  /** Whether the handler is at work. */
  get busy(): boolean {
    return this.#phase === BUSY;
  }

  /** Serves until either side has had enough. Never rejects. */
  async run(): Promise<void> {
    this.#gate.log.debug(`${this.#peer()}: connected`);
    try {
      await this.#serve();
      await this.#linger();
    } catch (error) {
      if (error instanceof StreamError) {
        this.#gate.log.debug(`${this.#peer()}: ${error.message}`);
      } else {
        this.#gate.log.error(`${this.#peer()}: ${traceOf(error)}`);
      }
    } finally {
      this.#wire.discard();
      this.#stream.close();
      this.#gate.log.debug(
        `${this.#peer()}: closed after ${this.#requests} request(s)`,
      );
    }
  }

  /** Request after request, until the connection cannot serve another. */
  async #serve(): Promise<void> {
    const wire = this.#wire;
    for (;;) {
      let head: ParsedHead | undefined;
      try {
        while ((head = this.#nextHead()) === undefined) {
          const more = wire.fill();
          const arrived = more instanceof Promise ? await more : more;
          if (this.#phase === LINGER) return;
          if (!arrived) {
            if (this.#phase === HEAD) this.#refuseUnfinishedHead();
            return;
          }
        }
      } catch (error) {
        if (!(error instanceof HttpError)) throw error;
        return this.#refuse(error, undefined);
      }
      const persists = this.#answer(head);
      if (!(persists instanceof Promise ? await persists : persists)) return;
      this.#exchange = undefined;
      if (wire.buffered >= FAIR_OUTPUT) {
        const drained = wire.drained();
        if (drained !== undefined) await drained;
        await nextTurn();
      }
    }
  }

  /** No more will come. What there is may be at fault by itself, and has not
   * been looked at since it began to drip in. */
  #refuseUnfinishedHead(): never {
    const { buffer, start, end } = this.#wire;
    parseRequestHead(buffer, start, end, this.#gate.limits);
    throw new HttpError(400, "Head ended too early");
  }

  /** The next head off the buffer; undefined while it is not whole. */
  #nextHead(): ParsedHead | undefined {
    const wire = this.#wire;
    const { limits } = this.#gate;
    if (this.#phase !== HEAD && !this.#begin()) return undefined;
    const size = wire.end - wire.start;
    if (this.#examined > 0 && !wire.worthLooking(this.#examined)) {
      return undefined;
    }
    this.#examined = size;
    const head = this.#readHead(wire, limits);
    if (head === undefined) return undefined;
    // The handler is next, and it may never give the loop back.
    const headEnd = wire.start + head.size;
    this.#row = this.#gate.watch?.begin(wire.buffer, wire.start, headEnd);
    wire.start = headEnd;
    return head;
  }

  #readHead(
    { buffer, start, end }: Wire,
    limits: Limits,
  ): ParsedHead | undefined {
    if (this.#requests === 0) {
      return parseRequestHead(buffer, start, end, limits);
    }
    this.#heads ??= new HeadReader();
    return this.#heads.read(buffer, start, end, limits);
  }

  /** Looks for the first byte of a request; false while it has not come. */
  #begin(): boolean {
    const wire = this.#wire;
    if (
      wire.buffer[wire.start] === CR && wire.start < wire.end &&
      !this.#emptyLineSkipped
    ) {
      // RFC 9112 §2.2: one empty line before a request is overlooked. What does
      // not look like that is left for the parser to refuse.
      if (wire.end - wire.start === 1) return this.#noRequest();
      if (wire.buffer[wire.start + 1] === LF) {
        wire.consume(2);
        this.#emptyLineSkipped = true;
      }
    }
    if (wire.start === wire.end) return this.#noRequest();
    this.#enterHead();
    return true;
  }

  #noRequest(): false {
    if (this.#phase !== IDLE) this.#enterIdle();
    return false;
  }

  #enterHead(): void {
    this.#phase = HEAD;
    this.#deadline = this.#after(this.#gate.limits.headSeconds);
    this.#examined = 0;
    this.#emptyLineSkipped = false;
  }

  #enterIdle(): void {
    this.#phase = IDLE;
    this.#idleSince = this.#gate.now;
    this.#deadline = this.#after(this.#gate.limits.idleSeconds);
  }

  #after(seconds: number): number {
    return this.#gate.now + this.#gate.lag + seconds;
  }

  /** Has the handler answer; true when the connection can serve another. */
  #answer(head: ParsedHead): boolean | Promise<boolean> {
    this.#phase = BUSY;
    this.#deadline = Infinity;
    const exchange = new WireExchange(
      this.#gate,
      this.#stream,
      this.#wire,
      head,
    );
    this.#exchange = exchange;
    if (head.contentLength > this.#gate.limits.content) {
      const length = String(head.contentLength);
      return this.#fail(
        exchange,
        new HttpError(413, "Content too large", length),
      );
    }
    this.#requests++;
    let pending: void | Promise<void>;
    try {
      pending = this.#gate.handler(exchange);
    } catch (error) {
      return this.#fail(exchange, error);
    }
    if (pending instanceof Promise) return this.#settle(exchange, pending);
    return this.#finish(exchange);
  }

  /** Waits for a handler, without holding output and with an eye on the peer. */
  async #settle(
    exchange: WireExchange,
    pending: Promise<void>,
  ): Promise<boolean> {
    this.#stream.onGone = this.#peerGone;
    try {
      const flushed = this.#wire.flush();
      // Its failure will show at the next write.
      if (flushed !== undefined) flushed.catch(this.#peerGone);
    } catch {
      exchange.peerGone();
    }
    try {
      await pending;
    } catch (error) {
      return this.#fail(exchange, error);
    } finally {
      this.#stream.onGone = null;
    }
    return this.#finish(exchange);
  }

  /** The handler has settled; what is left of its request must go, too. */
  #finish(exchange: WireExchange): boolean | Promise<boolean> {
    if (this.#row !== undefined) this.#unwatch(this.#row);
    if (this.#phase === LINGER) return false;
    const { response, content } = exchange;
    if (!response.ended) {
      return this.#fail(
        exchange,
        new ApplicationError("The handler settled without a whole response"),
      );
    }
    this.#record(exchange, exchange.gone ? 499 : response.status);
    if (!response.persists) return false;
    if (content.finished) return true;
    this.#phase = DRAIN;
    // All of it together may take no longer than a piece that is waited for.
    this.#deadline = this.#after(this.#gate.limits.bodySeconds);
    return this.#drain(content);
  }

  #unwatch(row: number): void {
    this.#row = undefined;
    this.#gate.watch?.end(row);
  }

  /** Reads content that nobody wanted, as long as that is cheaper than a new
   * connection. */
  async #drain(content: Content): Promise<boolean> {
    let budget = this.#gate.limits.drain;
    try {
      for (;;) {
        const pending = content.read();
        const piece = pending instanceof Promise ? await pending : pending;
        if (piece === null) return true;
        budget -= piece.length;
        if (budget < 0) return false;
      }
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      this.#gate.log.debug(`${this.#peer()}: ${describeFault(error)}`);
      return false;
    }
  }

  /** A handler threw, or broke its contract; or whoever is behind it failed. */
  #fail(exchange: WireExchange, error: unknown): boolean | Promise<boolean> {
    if (this.#row !== undefined) this.#unwatch(this.#row);
    if (this.#phase === LINGER) return false;
    const { head, response } = exchange;
    if (error instanceof StreamError) {
      exchange.peerGone();
      this.#record(exchange, 499);
      throw error;
    }
    const refusal = error instanceof HttpError ? error : undefined;
    const backend = error instanceof BackendError ? error : undefined;
    if (refusal === undefined) {
      const told = backend === undefined
        ? traceOf(error)
        : describeFault(backend);
      this.#gate.log.error(
        `${head.method} ${escapeForLog(head.target)}: ${told}`,
      );
    }
    if (!response.ended && response.retract()) {
      if (refusal !== undefined) {
        response.abandon();
        this.#refuse(refusal, exchange);
        return false;
      }
      const replacement = exchange.replaceResponse();
      writeStatus(replacement, backend?.status ?? 500);
      return this.#finish(exchange);
    }
    if (refusal !== undefined) {
      this.#gate.log.debug(`${this.#peer()}: ${describeFault(refusal)}`);
    }
    // The peer must see that the response is not whole. Where its length or its
    // last chunk would have told the end, ending early is enough.
    this.#record(exchange, response.status);
    if (response.endsWithConnection && !response.ended) this.#stream.reset();
    response.abandon();
    return false;
  }

  /** Answers what the peer did wrong; the connection ends after it. */
  #refuse(error: HttpError, exchange: WireExchange | undefined): void {
    const { log } = this.#gate;
    const line = exchange === undefined
      ? firstLine(this.#wire.buffer, this.#wire.start, this.#wire.end)
      : `${exchange.head.method} ${exchange.head.target}`;
    log.debug(
      `${this.#peer()}: refused "${escapeForLog(line)}": ${error.status} ${
        describeFault(error)
      }`,
    );
    const terms = exchange ?? termsOfNone(line.startsWith("HEAD "));
    const response = writeRefusal(this.#wire, terms, error);
    this.#recordResponse(exchange, response, error.status);
  }

  /** Ends our direction, and gives the peer time to read what we said: closing
   * with unread input makes the system throw our last words away. */
  async #linger(): Promise<void> {
    const wire = this.#wire;
    this.#phase = LINGER;
    this.#deadline = Infinity;
    const drained = wire.drained();
    if (drained !== undefined) await drained;
    this.#stream.closeWrite();
    this.#deadline = this.#after(this.#gate.limits.lingerSeconds);
    for (;;) {
      wire.consume(wire.end - wire.start);
      const more = wire.fill();
      if (!(more instanceof Promise ? await more : more)) return;
    }
  }

  /** Called about once a second: ends what has lasted too long. */
  tick(): void {
    const { now, limits } = this.#gate;
    const wire = this.#wire;
    if (wire.stalled) {
      this.#stalls ??= new StallWatch();
      if (this.#stalls.inSending(wire, limits.sendSeconds, now)) {
        this.#gate.log.debug(`${this.#peer()}: does not take its response`);
        return this.#stream.reset();
      }
      if (this.#phase === IDLE) this.#enterIdle(); // not yet, that is
    }
    const content = this.#exchange?.content;
    if (
      content !== undefined && content.awaiting && this.#phase !== LINGER
    ) {
      this.#stalls ??= new StallWatch();
      if (this.#stalls.inReceiving(content, limits.bodySeconds, now)) {
        return this.#contentTooSlow(this.#exchange!);
      }
    }
    // Who is silent for a while owns no memory of ours.
    if (this.#phase === IDLE && now - this.#idleSince >= FORGET_SECONDS) {
      this.#heads = undefined;
    }
    if (now >= this.#deadline) this.#expire();
  }

  #expire(): void {
    if (this.#phase === HEAD) {
      // The loop waits for input, so nobody else is writing.
      this.#refuse(new HttpError(408, "Head too slow"), undefined);
      this.#lastWords();
    } else if (this.#phase === DRAIN) {
      this.#lastWords();
    } else {
      this.#stream.close();
    }
  }

  #contentTooSlow(exchange: WireExchange): void {
    const { response, content } = exchange;
    const error = new HttpError(408, "Content too slow");
    content.fail(error);
    if (this.#phase === DRAIN) return this.#lastWords();
    if (response.ended) {
      // The peer misses nothing: a handler has left its read behind.
      this.#record(exchange, response.status);
      return this.#lastWords();
    }
    if (response.committed) return this.#stream.reset();
    response.abandon();
    this.#refuse(error, exchange);
    this.#lastWords();
    exchange.giveUp();
  }

  /** Ends our direction on behalf of a loop that is waiting. It wakes up when
   * the peer has closed, or when `tick` closes for it. */
  #lastWords(): void {
    this.#phase = LINGER;
    this.#deadline = this.#after(this.#gate.limits.lingerSeconds);
    try {
      const flushed = this.#wire.drained();
      if (flushed === undefined) return this.#stream.closeWrite();
      flushed.then(
        () => this.#stream.closeWrite(),
        () => this.#stream.close(),
      );
    } catch {
      this.#stream.close();
    }
  }

  /** Closes when no request has begun for `seconds`, and tells whether that was
   * so. A request that is on its way to us is then unlikely. */
  closeIfIdleFor(seconds: number): boolean {
    if (this.#phase !== IDLE || this.#wire.stalled) return false;
    const least = this.#requests === 0
      ? Math.max(seconds, FRESH_SECONDS)
      : seconds;
    if (this.#gate.now - this.#idleSince < least) return false;
    this.#stream.closeWrite();
    this.#stream.close();
    return true;
  }

  /** Ends it now, whole or not. */
  abort(): void {
    const exchange = this.#exchange;
    if (this.#phase === BUSY && exchange !== undefined) {
      this.#gate.log.warn(
        `${this.#peer()}: cut off while serving ${exchange.head.method} ${
          escapeForLog(exchange.head.target)
        }`,
      );
    }
    exchange?.peerGone();
    this.#stream.reset();
  }

  #peer(): string {
    const { host, port } = this.#stream.remote;
    return port === 0 ? host || "unix" : `${host}:${port}`;
  }

  #record(exchange: WireExchange, status: number): void {
    if (this.#gate.access !== undefined) {
      this.#recordResponse(exchange, exchange.response, status);
    }
  }

  #recordResponse(
    exchange: WireExchange | undefined,
    response: WireResponse,
    status: number,
  ): void {
    const { access } = this.#gate;
    if (access === undefined) return;
    const startedAt = exchange?.startedAt ?? Date.now();
    const elapsedMs = exchange === undefined || access.untimed === true
      ? 0
      : performance.now() - exchange.startedMs;
    const own = response !== exchange?.response || exchange.replaced;
    try {
      access({
        head: exchange?.head,
        remote: this.#stream.remote,
        status,
        responseFields: own ? [] : response.fields,
        contentSent: response.contentSent,
        startedAt,
        elapsedMs,
      });
    } catch (error) {
      // What goes wrong with the log must not go wrong with the response.
      this.#gate.log.error(`Access log: ${traceOf(error)}`);
    }
  }
}
