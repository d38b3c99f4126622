/**
 * An exchange over a `Request` and the `Response` to it: whatever answers
 * exchanges can thereby be called where a fetch handler is.
 *
 * The `Response` is there as soon as something must be sent. What has ended by
 * then is given as a whole, so that the host knows its length; the rest is a
 * stream, which is filled no further than the host has drained it. Bytes are
 * copied, because a stream keeps what it was given, and they were only lent.
 */
import { ApplicationError, StreamError } from "../errors.ts";
import type {
  Exchange,
  RequestBody,
  RequestHead,
  ResponseFields,
  ResponseWriter,
} from "../exchange.ts";
import { composeHead } from "../http/response_head.ts";
import { forbidsContent } from "../http/status.ts";
import type { Address, MaybePromise } from "../stream.ts";
import { describe } from "./contract.ts";
import { FieldList } from "./field_list.ts";

type Octets = Uint8Array<ArrayBuffer>;

/** What is held before the host has drained it. */
const HELD_BYTES = 65_536;

/** One request and its response, where somebody else has the connection. */
export class RequestExchange implements Exchange {
  readonly head: RequestHead;
  readonly body: StreamedContent;
  readonly response: FetchedResponse;
  readonly scheme: "http" | "https";
  readonly #request: Request;
  readonly #info: unknown;
  #abort: AbortController | undefined;
  #gone = false;

  /** `info` is what the host tells beside the request. */
  constructor(request: Request, info: unknown) {
    this.#request = request;
    this.#info = info;
    this.head = headOf(request);
    this.scheme = request.url.startsWith("https:") ? "https" : "http";
    this.body = new StreamedContent(request);
    this.response = new FetchedResponse(
      request.method === "HEAD",
      () => this.#leave(),
    );
  }

  get remote(): Address {
    return remoteOf(this.#info, this.#request);
  }

  /** What the URL says, where the host says nothing. */
  get local(): Address {
    const told = addressOf(property(this.#info, "localAddr"));
    if (told !== undefined) return told;
    const { authority } = this.head;
    const port = /:([0-9]+)$/.exec(authority)?.[1];
    return {
      host: authority.replace(/:[0-9]*$/, "").replace(/^\[|\]$/g, ""),
      port: Number(port ?? (this.scheme === "https" ? 443 : 80)),
    };
  }

  get signal(): AbortSignal {
    if (this.#abort !== undefined) return this.#abort.signal;
    this.#abort = new AbortController();
    const { signal } = this.#request;
    // Some hosts abort it after every response.
    const leave = () => {
      if (!this.response.ended) this.#leave();
    };
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
    if (this.#gone) this.#leave();
    return this.#abort.signal;
  }

  #leave(): void {
    this.#gone = true;
    this.#abort?.abort(peerGone());
  }
}

function peerGone(cause?: unknown): StreamError {
  return new StreamError("The peer has left", { cause });
}

function headOf(request: Request): RequestHead {
  const { headers } = request;
  const [, scheme, place = "", target = "/", path = "/", query = ""] =
    /^([^:]*):\/\/([^/?#]*)(([^?#]*)(?:\?([^#]*))?)/.exec(request.url) ?? [];
  // A Unix-domain socket has no authority that could be asked for.
  const authority = scheme === "http" || scheme === "https"
    ? place.slice(place.lastIndexOf("@") + 1)
    : headers.get("host") ?? "";
  const lines = [...headers].filter(([name]) => name !== "host");
  // RFC 9112 §3.2.2: that of the target replaces Host.
  if (authority !== "") lines.unshift(["host", authority]);
  const declared = declaredLength(request);
  return {
    method: request.method,
    target: path === "" ? `/${target}` : target,
    targetForm: "origin",
    path: path || "/",
    query,
    authority,
    version: 11,
    fields: new FieldList(lines),
    framing: declared !== undefined
      ? "length"
      : request.body === null
      ? "none"
      : "chunked",
    contentLength: declared ?? 0,
    keepAlive: true,
    expectContinue: false,
  };
}

function declaredLength({ body, headers }: Request): number | undefined {
  const declared = headers.get("content-length");
  if (declared === null || !/^[0-9]{1,15}$/.test(declared)) return undefined;
  const length = Number(declared);
  return body === null && length > 0 ? undefined : length;
}

/** Deno tells `remoteAddr`, and so does `FetchInfo`; Bun is asked. */
function remoteOf(info: unknown, request: Request): Address {
  const told = addressOf(property(info, "remoteAddr"));
  if (told !== undefined) return told;
  if (typeof property(info, "requestIP") !== "function") return nobody;
  const host = info as { requestIP(request: Request): unknown };
  return addressOf(host.requestIP(request)) ?? nobody;
}

const nobody: Address = { host: "", port: 0 };

function addressOf(told: unknown): Address | undefined {
  const port = property(told, "port");
  const host = property(told, "hostname") ?? property(told, "address") ??
    property(told, "path");
  if (typeof host !== "string") return undefined;
  return { host, port: typeof port === "number" ? port : 0 };
}

function property(holder: unknown, name: string): unknown {
  return typeof holder === "object" && holder !== null
    ? (holder as Record<string, unknown>)[name]
    : undefined;
}

/** Request content that comes as a stream. */
export class StreamedContent implements RequestBody {
  readonly trailers: undefined = undefined;
  readonly #request: Request;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;

  constructor(request: Request) {
    this.#request = request;
  }

  read(): MaybePromise<Uint8Array | null> {
    const { body } = this.#request;
    if (body === null) return null;
    const reading = this.#read(body);
    // A read that nobody waits for must not end the process.
    reading.catch(() => {});
    return reading;
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<Uint8Array | null> {
    if (this.#reader === undefined && this.#request.bodyUsed) {
      throw new ApplicationError("The body of the request was read already");
    }
    this.#reader ??= body.getReader();
    for (;;) {
      const { done, value } = await this.#reader.read().catch((error) => {
        throw peerGone(error);
      });
      if (done) return null;
      if (!(value instanceof Uint8Array)) {
        throw new ApplicationError(
          `The body of a request must give Uint8Array, not ${describe(value)}`,
        );
      }
      if (value.length > 0) return value;
    }
  }

  /** Nobody wants what is left. Content that was never asked for stays the
   * host's. */
  release(): void {
    this.#reader?.cancel().catch(() => {});
  }
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

/** A response that becomes a `Response`. */
export class FetchedResponse implements ResponseWriter {
  started = false;
  committed = false;
  ended = false;
  /** The response, as soon as its head is settled. */
  readonly arrival: Promise<Response>;
  readonly #toHead: boolean;
  readonly #onGone: () => void;
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

  /** `onGone` is called when the host does not want the rest. */
  constructor(toHead: boolean, onGone: () => void) {
    this.#toHead = toHead;
    this.#onGone = onGone;
    this.arrival = new Promise((resolve, reject) => {
      this.#arrive = resolve;
      this.#refuse = reject;
    });
  }

  start(
    status: number,
    reason: string,
    fields: ResponseFields,
    size?: number,
  ): void {
    if (this.committed) {
      throw new ApplicationError("The head of this response has been sent");
    }
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
