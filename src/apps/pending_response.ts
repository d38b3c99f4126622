/**
 * A response that becomes a `Response`, as soon as something must be sent. What
 * has ended by then is given as a whole, so that the host knows its length; the
 * rest is a stream, which is filled no further than the host has drained it.
 * Bytes are copied, because a stream keeps what it was given, and they were only
 * lent.
 */
import { ApplicationError, StreamError } from "../errors.ts";
import type { ResponseFields, ResponseWriter } from "../exchange.ts";
import { composeHead, composeInterim } from "../http/response_head.ts";
import { forbidsContent } from "../http/status.ts";
import type { MaybePromise } from "../stream.ts";

type Octets = Uint8Array<ArrayBuffer>;

/** What is held before the host has drained it. */
const HELD_BYTES = 65_536;

/** Whoever goes on is told that nobody is there any more. */
export function peerGone(cause?: unknown): StreamError {
  return new StreamError("The peer has left", { cause });
}

/** Of the connection, and so the host's: RFC 9110 §7.6.1. */
const ofTheConnection: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** The way back of one exchange, and the `Response` that comes of it. */
export class PendingResponse implements ResponseWriter {
  started = false;
  committed = false;
  ended = false;
  /** The response, as soon as its head is settled. */
  readonly arrival: Promise<Response>;
  readonly #toHead: boolean;
  readonly #onGone: () => void;
  readonly #interim: ResponseWriter["informational"] | undefined;
  #arrive: (response: Response) => void = () => {};
  #refuse: (error: unknown) => void = () => {};
  #status = 0;
  #reason = "";
  #headers = new Headers();
  /** Content length as declared; undefined when nobody said. */
  #declared: number | undefined;
  #sent = 0;
  /** Content that is not handed on yet. */
  #held: Octets[] = [];
  #heldBytes = 0;
  #stream: ReadableStreamDefaultController<Octets> | undefined;
  /** Whoever waits for the host to drain the stream. */
  #draining: Draining | undefined;
  #gone = false;

  /** `onGone` is called when the host does not want the rest; `interim` sends
   * interim responses, where the host can. */
  constructor(
    toHead: boolean,
    onGone: () => void,
    interim?: ResponseWriter["informational"],
  ) {
    this.#toHead = toHead;
    this.#onGone = onGone;
    this.#interim = interim;
    this.arrival = new Promise((resolve, reject) => {
      this.#arrive = resolve;
      this.#refuse = reject;
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
    const { contentLength } = composeHead(status, reason, fields);
    if (status > 599) {
      throw new ApplicationError(`A Response cannot have the status ${status}`);
    }
    const headers = new Headers();
    for (const [name, value] of fields) {
      if (!ofTheConnection.has(name.toLowerCase())) headers.append(name, value);
    }
    this.#declared = contentLength ?? size;
    // RFC 9110 §8.6: never in a 204. A 205 ends after its head.
    if (status === 204 || status === 205) headers.delete("content-length");
    else if (this.#declared !== undefined && status !== 304) {
      headers.set("content-length", String(this.#declared));
    }
    this.#status = status;
    this.#reason = reason;
    this.#headers = headers;
    this.started = true;
  }

  write(content: Uint8Array): MaybePromise<void> {
    this.#checkOpen();
    if (this.#hasNone || content.length === 0) return;
    this.#sent += content.length;
    if (this.#sent > (this.#declared ?? Infinity)) {
      throw new ApplicationError(
        `Content is longer than its Content-Length of ${this.#declared}`,
      );
    }
    const octets = new Uint8Array(content);
    if (this.#stream !== undefined) {
      this.#stream.enqueue(octets);
      return this.#drained(this.#stream);
    }
    this.#held.push(octets);
    this.#heldBytes += octets.length;
    if (this.#heldBytes >= HELD_BYTES) return this.flush();
  }

  flush(): MaybePromise<void> {
    if (this.ended) return;
    this.#checkOpen();
    if (this.#hasNone) return this.#commit(null);
    if (this.#stream === undefined) {
      this.#commit(this.#openStream());
      for (const octets of this.#held) this.#stream!.enqueue(octets);
      this.#held = [];
    }
    return this.#drained(this.#stream!);
  }

  end(): MaybePromise<void> {
    this.#checkOpen();
    if (!this.#hasNone && this.#sent < (this.#declared ?? 0)) {
      throw new ApplicationError(
        `Content ended after ${this.#sent} of the ${this.#declared} bytes declared`,
      );
    }
    this.ended = true;
    if (this.#stream !== undefined) this.#stream.close();
    else this.#commit(this.#hasNone ? null : joined(this.#held));
  }

  /** Has the host see that the response failed: by no response, or by one that
   * is not whole. */
  fail(error: unknown): void {
    if (this.ended) return;
    this.ended = true;
    if (this.#stream === undefined) this.#refuse(error);
    else if (!this.#gone) this.#stream.error(error);
  }

  get #hasNone(): boolean {
    return this.#toHead || this.#status === 205 || forbidsContent(this.#status);
  }

  #checkOpen(): void {
    if (!this.started) throw new ApplicationError("No response was started");
    if (this.#gone) throw peerGone();
    if (this.ended) throw new ApplicationError("This response has ended");
  }

  #commit(body: Octets | ReadableStream<Octets> | null): void {
    if (this.committed) return;
    this.committed = true;
    this.#arrive(
      new Response(body, {
        status: this.#status,
        statusText: this.#reason,
        headers: this.#headers,
      }),
    );
  }

  #openStream(): ReadableStream<Octets> {
    return new ReadableStream<Octets>({
      start: (controller) => {
        this.#stream = controller;
      },
      pull: () => {
        this.#draining?.resolve();
        this.#draining = undefined;
      },
      cancel: (reason) => {
        this.#gone = true;
        this.#draining?.reject(peerGone(reason));
        this.#onGone();
      },
    }, {
      highWaterMark: HELD_BYTES,
      size: (octets) => octets.length,
    });
  }

  #drained(
    stream: ReadableStreamDefaultController<Octets>,
  ): MaybePromise<void> {
    if ((stream.desiredSize ?? 1) > 0) return;
    return (this.#draining ??= newDraining()).promise;
  }
}

interface Draining {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

function newDraining(): Draining {
  let resolve: () => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<void>((fulfil, refuse) => {
    resolve = fulfil;
    reject = refuse;
  });
  // Whoever does not wait for it must not end the process.
  promise.catch(() => {});
  return { promise, resolve, reject };
}

function joined(pieces: readonly Octets[]): Octets {
  if (pieces.length === 1) return pieces[0]!;
  const size = pieces.reduce((sum, { length }) => sum + length, 0);
  const whole = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
