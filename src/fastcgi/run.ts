/**
 * One request that a responder is to answer, as the client sees it: from the
 * pool's queue to the last byte of its response. What a connection reads ends
 * up here.
 */
import { ApplicationError, BackendError, StreamError } from "../errors.ts";
import { LogErrorStream } from "../error_stream.ts";
import type { Exchange, RequestBody } from "../exchange.ts";
import {
  type CgiResponseHead,
  CgiResponseParser,
} from "../http/cgi_response.ts";
import { forbidsContent } from "../http/status.ts";
import { escapeForLog, type Logger, silentLogger } from "../logger.ts";
import type { MaybePromise } from "../stream.ts";
import {
  OVERLOADED,
  type RecordReader,
  type RecordWriter,
  REQUEST_COMPLETE,
} from "./records.ts";
import { Relay } from "./relay.ts";

/** What an application asks of a responder. */
export interface ResponderRequest {
  /** The request and its response. */
  readonly exchange: Exchange;
  /** The content to send: that of the exchange, or as it was read ahead. */
  readonly content: RequestBody;
  /** Calls `put` once for each parameter. Each character of both its arguments
   * is one octet. May be called again. */
  params(put: (name: string, value: string) => void): void;
  /** Whether the response goes to the client. Otherwise nothing is started,
   * and its content is dropped. */
  accepts(head: CgiResponseHead): boolean;
  /** A read of the content that has not settled. A handler that settles before
   * it would have two who read. */
  reading: Promise<unknown> | undefined;
}

/** A request that a responder has in hand. */
export interface RunningRequest {
  /** Its method. */
  readonly method: string;
  /** Its target, as received: escape it in a log. */
  readonly target: string;
  /** When the responder was given it, in milliseconds of `performance.now()`. */
  readonly startedAt: number;
  /** When a byte of it moved last, or it was last the client that was waited
   * for; in milliseconds of `performance.now()`. */
  readonly progressAt: number;
  /** Ends it, which is answered as the error says where nothing was sent. The
   * responder is told to abort it, unless it has gone. */
  fail(error: BackendError): void;
}

/** What a run is lent by its pool. */
export interface RunTerms {
  readonly log: Logger;
  /** Octets that are held for a slow client. */
  readonly bufferSize: number;
  /** The run has failed, while it may be in the queue or its responder at
   * work. */
  abandoned(run: Run): void;
}

/** Content that lies at hand is gathered up to this size for one write. */
const GATHERED = 65_536;

/** One request on its way through a pool. */
export class Run implements RunningRequest {
  readonly request: ResponderRequest;
  readonly method: string;
  readonly target: string;
  startedAt = 0;
  progressAt = 0;
  /** Since when it waits in the queue; 0 when it never did. */
  queuedAt = 0;
  /** Resolves when the response is whole, or with its head when that was not
   * accepted. */
  readonly result: Promise<CgiResponseHead | undefined>;
  /** True once `result` has settled: nobody wants what comes. */
  settled = false;
  /** The connection that it was sent on. */
  connection: { abandon(): void } | undefined;
  /** The records that a connection did not take, to be sent on another. */
  composed: Uint8Array | undefined;
  /** Whether all the content is composed. */
  contentComposed = false;
  /** How many connections were lost over it. */
  losses = 0;

  readonly #terms: RunTerms;
  readonly #parser = new CgiResponseParser();
  #head: CgiResponseHead | undefined;
  #relay: Relay | undefined;
  /** Content that may still come, by the response's Content-Length. */
  #left = Infinity;
  #surplus = false;
  #errors: LogErrorStream | undefined;
  #decoder: TextDecoder | undefined;
  #answered = false;
  /** The read of the content that has not settled. */
  #arrival: Promise<Uint8Array | null> | undefined;
  /** Whether some of the content was read, so that it cannot be sent again. */
  #contentTaken = false;
  #watched = false;
  #resolve!: (head: CgiResponseHead | undefined) => void;
  #reject!: (error: unknown) => void;

  constructor(request: ResponderRequest, terms: RunTerms) {
    const { head } = request.exchange;
    this.request = request;
    this.method = head.method;
    this.target = head.target;
    this.#terms = terms;
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Whether a byte of the response has come. */
  get answered(): boolean {
    return this.#answered;
  }

  /** Whether it may be sent again after a connection was lost that may have
   * taken it (RFC 9110 §9.2.2). */
  get repeatable(): boolean {
    return !this.#answered && !this.#contentTaken && this.losses < 2 &&
      /^(GET|HEAD|OPTIONS|TRACE|PUT|DELETE)$/.test(this.method);
  }

  /** Whether it is the client that is waited for. */
  get waitsForClient(): boolean {
    return this.request.reading !== undefined || this.#relay?.full === true;
  }

  /** Learns when the client leaves. Not done at once, for most requests are
   * answered before it would matter. */
  watchClient(): void {
    if (this.#watched || this.settled) return;
    this.#watched = true;
    const { signal } = this.request.exchange;
    const left = () => this.fail(new StreamError("The peer has left"));
    if (signal.aborted) left();
    else signal.addEventListener("abort", left, { once: true });
  }

  // ---- The request ----

  /** Composes the request with what lies at hand of its content. */
  compose(writer: RecordWriter): void {
    writer.begin();
    this.request.params(writer.put);
    writer.endParams();
    this.#gather(writer, undefined);
  }

  /** Waits for more of the content; null at its end, undefined when the request
   * has come to nothing meanwhile. */
  async nextContent(): Promise<Uint8Array | null | undefined> {
    const { request } = this;
    const arrival = this.#arrival ?? this.#read();
    this.#arrival = undefined;
    let piece: Uint8Array | null;
    try {
      piece = await arrival;
    } catch (error) {
      request.reading = undefined;
      this.fail(error);
      return undefined;
    }
    request.reading = undefined;
    this.progressAt = performance.now();
    return this.settled ? undefined : piece;
  }

  /** Composes more of the content, with what lies at hand behind it. */
  composeMore(writer: RecordWriter, piece: Uint8Array | null): void {
    writer.clear();
    this.#gather(writer, piece);
  }

  #gather(writer: RecordWriter, first: Uint8Array | null | undefined): void {
    for (let piece = first;;) {
      if (piece === null) {
        writer.endContent();
        this.contentComposed = true;
        return;
      }
      if (piece !== undefined) {
        this.#contentTaken = true;
        writer.putContent(piece);
        if (writer.size >= GATHERED) return;
      }
      const arrival = this.#read();
      if (arrival instanceof Promise) {
        this.request.reading = this.#arrival = arrival;
        return;
      }
      piece = arrival;
    }
  }

  #read(): MaybePromise<Uint8Array | null> {
    try {
      return this.request.content.read();
    } catch (error) {
      const failure = Promise.reject(error);
      failure.catch(() => {}); // whoever awaits it learns it
      return failure;
    }
  }

  // ---- The response ----

  /** Takes output, the piece that `reader` has found. Returns a promise when
   * its chunk is still lent. */
  output(reader: RecordReader): MaybePromise<void> {
    this.#answered = true;
    if (this.settled) return;
    let from = reader.start;
    if (this.#head === undefined) {
      const head = this.#parser.push(reader.chunk, from, reader.end);
      if (head === undefined) return;
      from = this.#parser.contentStart;
      this.#begin(head, reader, from);
    }
    if (this.#relay === undefined || from === reader.end) return;
    let content = reader.chunk.subarray(from, reader.end);
    if (content.length > this.#left) {
      this.#surplus = true;
      content = content.subarray(0, this.#left);
    }
    this.#left -= content.length;
    return this.#relay.pass(content);
  }

  #begin(head: CgiResponseHead, reader: RecordReader, from: number): void {
    this.#head = head;
    const { exchange } = this.request;
    if (!this.request.accepts(head)) return;
    const bare = exchange.head.method === "HEAD" ||
      forbidsContent(head.status);
    if (!bare) this.#left = head.contentLength ?? Infinity;
    const ahead = head.contentLength === undefined ? reader.outputAhead() : -1;
    // All of it is here, so that its length need not be left to the chunks.
    const size = ahead < 0 || bare ? undefined : ahead + reader.end - from;
    exchange.response.start(head.status, head.reason, head.fields, size);
    this.#relay = new Relay(
      exchange.response,
      this.#terms.bufferSize,
      (error) => this.fail(blameOf(error)),
    );
  }

  /** Sends on what has come, before more is waited for. Returns a promise when
   * the client must take some first. */
  flush(): MaybePromise<void> {
    return this.settled ? undefined : this.#relay?.flush();
  }

  /** Takes what goes to the log, the piece that `reader` has found. */
  errors(reader: RecordReader): void {
    const { log } = this.#terms;
    this.#errors ??= new LogErrorStream({
      ...silentLogger,
      error: (line) => log.error(`${this.method} ${this.#place()}: ${line}`),
    });
    this.#decoder ??= new TextDecoder();
    const octets = reader.chunk.subarray(reader.start, reader.end);
    this.#errors.write(this.#decoder.decode(octets, { stream: true }));
  }

  #place(): string {
    return escapeForLog(this.target);
  }

  /** The responder has ended the request. */
  end(protocolStatus: number, appStatus: number): void {
    this.#errors?.flush();
    const { log } = this.#terms;
    // Whoever was told to abort it ends it in its own way.
    if (appStatus !== 0 && !this.settled) {
      log.warn(
        `${this.method} ${this.#place()}: ended with status ${appStatus}`,
      );
    }
    if (this.settled) return;
    if (protocolStatus !== REQUEST_COMPLETE) {
      return this.fail(refusal(protocolStatus));
    }
    const head = this.#head;
    if (head === undefined) {
      return this.fail(
        new BackendError(502, "The response ended before its head was whole"),
      );
    }
    if (this.#surplus) {
      log.warn(
        `${this.method} ${this.#place()}: the response is longer than its ` +
          `Content-Length, ${head.contentLength}`,
      );
    }
    if (this.#relay === undefined) return this.#settle(head);
    this.#relay.end(() => this.#settle(undefined));
  }

  #settle(head: CgiResponseHead | undefined): void {
    if (this.settled) return;
    this.settled = true;
    this.#resolve(head);
  }

  /** Ends it with an error, unless it has ended. */
  fail(error: unknown): void {
    if (this.settled) return;
    this.settled = true;
    this.#errors?.flush();
    this.#relay?.close();
    this.#reject(error);
    this.#terms.abandoned(this);
  }
}

function refusal(protocolStatus: number): BackendError {
  return protocolStatus === OVERLOADED
    ? new BackendError(503, "The FastCGI responder is overloaded")
    : new BackendError(
      502,
      "The FastCGI responder refused the request",
      `protocol status ${protocolStatus}`,
    );
}

/** What HTTP does not allow is the responder's fault, as the response is its. */
function blameOf(error: unknown): unknown {
  if (!(error instanceof ApplicationError)) return error;
  const message = "The FastCGI responder gave a response that is none";
  return new BackendError(502, message, undefined, { cause: error });
}
