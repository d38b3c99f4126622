/**
 * The response writer over the wire: decides how the content is delimited
 * (RFC 9112 §6.3), adds the fields that are the gateway's own, and never sends
 * more or less than was declared.
 */
import type { Content } from "./body.ts";
import { ApplicationError } from "./errors.ts";
import type {
  HttpVersion,
  ResponseFields,
  ResponseWriter,
} from "./exchange.ts";
import { dateLine } from "./http/date.ts";
import {
  type ComposedHead,
  composeHead,
  composeInterim,
  wholeHead,
} from "./http/response_head.ts";
import { forbidsContent } from "./http/status.ts";
import type { MaybePromise } from "./stream.ts";
import type { Wire } from "./wire.ts";

/** How the end of the response content is told. */
const LENGTH = 0;
const CHUNKED = 1;
const CLOSE = 2;
/** The response has no content, whatever is written. */
const NONE = 3;

/** What the connection and the request say of the response. */
export interface Terms {
  /** Of the request. */
  readonly version: HttpVersion;
  /** The request was HEAD. */
  readonly toHead: boolean;
  /** Asked when the head goes out: may the connection serve another request? */
  mayPersist(): boolean;
}

const noFields: ResponseFields = [];
const noOctets = new Uint8Array(0);

/** Writes one response. */
export class WireResponse implements ResponseWriter {
  committed = false;
  ended = false;
  /** Content bytes that were framed and handed to the wire. */
  contentSent = 0;
  /** True once the head said that the connection goes on. */
  persists = false;

  readonly #wire: Wire;
  readonly #terms: Terms;
  readonly #content: Pick<Content, "withoutContinue">;
  #head: ComposedHead | undefined;
  #framing = NONE;
  /** The last chunk still wants its CRLF. */
  #owesLineEnd = false;
  /** Where the head begins in the wire's output, as long as nothing is sent. */
  #bufferedBefore = 0;
  #writesBefore = 0;
  /** A write waits for the peer to drain. */
  #writing = false;
  /** Content length as declared; undefined when nobody said. */
  #size: number | undefined;

  constructor(
    wire: Wire,
    terms: Terms,
    content: Pick<Content, "withoutContinue">,
  ) {
    this.#wire = wire;
    this.#terms = terms;
    this.#content = content;
  }

  get started(): boolean {
    return this.#head !== undefined;
  }

  /** Only a reset can show that this response is not whole. */
  get endsWithConnection(): boolean {
    return this.#framing === CLOSE;
  }

  /** Takes back what was written, if none of it has left; false if some may
   * have. */
  retract(): boolean {
    if (!this.committed) return true;
    if (this.#wire.writes !== this.#writesBefore || this.#writing) return false;
    this.#wire.takeBack(this.#bufferedBefore);
    this.committed = false;
    return true;
  }

  /** Makes every further call fail: the connection answers in its place. */
  abandon(): void {
    this.committed = true;
    this.ended = true;
  }

  /** 0 until `start` was called. */
  get status(): number {
    return this.#head?.status ?? 0;
  }

  /** What was given to `start`. */
  get fields(): ResponseFields {
    return this.#head?.fields ?? noFields;
  }

  informational(status: number, fields: ResponseFields): MaybePromise<void> {
    this.#checkReplaceable();
    const text = composeInterim(status, fields);
    // RFC 9110 §15.2: never to whom HTTP/1.1 is unknown.
    if (this.#terms.version < 11) return;
    this.#wire.putText(text);
    const pending = this.#wire.flush();
    return pending === undefined ? undefined : neverUnhandled(pending);
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
    if (size !== undefined && !(Number.isSafeInteger(size) && size >= 0)) {
      throw new ApplicationError(`Size ${size} is not a content length`);
    }
    const head = composeHead(status, reason, fields);
    this.#head = head;
    this.#size = head.contentLength ?? size;
  }

  write(content: Uint8Array): MaybePromise<void> {
    if (!this.committed) this.#commit(undefined);
    this.#checkOpen();
    const { length } = content;
    if (length === 0 || this.#framing === NONE) return;
    const sent = this.contentSent + length;
    if (this.#framing === LENGTH && sent > this.#size!) {
      throw new ApplicationError(
        `Content is longer than its Content-Length of ${this.#size}`,
      );
    }
    this.contentSent = sent;
    const wire = this.#wire;
    const chunked = this.#framing === CHUNKED;
    if (chunked) {
      const size = length.toString(16);
      wire.putText(this.#owesLineEnd ? `\r\n${size}\r\n` : `${size}\r\n`);
      // All of a large chunk's content is sent at once. The CRLF behind it tells
      // nobody anything: it goes with what comes next, and saves a write.
      this.#owesLineEnd = length >= wire.directSize;
    }
    const pending = wire.put(content);
    if (pending !== undefined) return this.#whilePending(pending);
    if (chunked && !this.#owesLineEnd) wire.putText("\r\n");
  }

  /** Nothing may come between the pieces of a content that is under way. */
  #whilePending(pending: Promise<void>): Promise<void> {
    this.#writing = true;
    return neverUnhandled(
      pending.finally(() => this.#writing = false).then(() => {
        if (this.#framing === CHUNKED && !this.#owesLineEnd) {
          this.#wire.putText("\r\n");
        }
      }),
    );
  }

  #checkOpen(): void {
    if (this.ended) throw new ApplicationError("This response has ended");
    if (this.#writing) {
      throw new ApplicationError("A write is pending; await it first");
    }
  }

  flush(): MaybePromise<void> {
    if (!this.committed) this.#commit(undefined);
    const pending = this.#wire.flush();
    return pending === undefined ? undefined : neverUnhandled(pending);
  }

  end(): MaybePromise<void> {
    this.#checkOpen();
    if (!this.committed) this.#commit(0);
    if (this.#framing === LENGTH && this.contentSent < this.#size!) {
      throw new ApplicationError(
        `Content ended after ${this.contentSent} of the ${this.#size} bytes declared`,
      );
    }
    this.ended = true;
    if (this.#framing === CHUNKED) {
      this.#wire.putText(this.#owesLineEnd ? "\r\n0\r\n\r\n" : "0\r\n\r\n");
    }
  }

  /** Puts the head on the wire. `whole` is the length of the content when all
   * of it is known to be written now. */
  #commit(whole: number | undefined): void {
    const head = this.#head;
    if (head === undefined) {
      throw new ApplicationError("No response was started");
    }
    const { version, toHead } = this.#terms;
    const { status } = head;
    // RFC 9112 §6.3: the choice, in the order of the clause.
    let size = this.#size;
    if (status === 205) {
      this.#framing = NONE;
      size = 0;
    } else if (forbidsContent(status)) {
      this.#framing = NONE;
      size = undefined;
    } else if (toHead) {
      this.#framing = NONE;
    } else {
      size = this.#size ??= whole;
      this.#framing = size !== undefined
        ? LENGTH
        : version >= 11
        ? CHUNKED
        : CLOSE;
    }

    this.persists = this.#framing !== CLOSE && !head.close &&
      this.#terms.mayPersist();
    this.#content.withoutContinue();
    this.committed = true;
    this.#bufferedBefore = this.#wire.buffered;
    this.#writesBefore = this.#wire.writes;

    const date = head.hasDate ? noOctets : dateLine();
    const own = this.#ownFields(head, size);
    const octets = wholeHead(head, date, own);
    if (octets !== undefined) return this.#wire.putOctets(octets);
    this.#wire.putOctets(head.octets);
    this.#wire.putOctets(date);
    this.#wire.putText(`${own}\r\n`);
  }

  /** The field lines that say how the content and the connection end. */
  #ownFields(head: ComposedHead, size: number | undefined): string {
    const { version } = this.#terms;
    let own = "";
    if (
      size !== undefined &&
      (head.contentLength === undefined || head.status === 205)
    ) {
      own = size === lastSize ? lastSizeLine : sizeLine(size);
    } else if (this.#framing === CHUNKED) {
      own = "Transfer-Encoding: chunked\r\n";
    }
    if (!this.persists) own += "Connection: close\r\n";
    else if (version < 11) own += "Connection: keep-alive\r\n";
    return own;
  }
}

// Small answers are often of one size.
let lastSize = 0;
let lastSizeLine = "Content-Length: 0\r\n";

function sizeLine(size: number): string {
  lastSize = size;
  return lastSizeLine = `Content-Length: ${size}\r\n`;
}

/** An application that does not wait for `pending` must not bring the process
 * down when the peer leaves. */
function neverUnhandled(pending: Promise<void>): Promise<void> {
  pending.catch(() => {});
  return pending;
}
