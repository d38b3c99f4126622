/**
 * The `Request` of an exchange. Where the runtime allows it, it costs next to
 * nothing until something is asked of it, and is one all the same.
 *
 * A runtime that keeps what a request is under symbols (Node up to 22, Deno)
 * can be answered by a {@linkcode LazyRequest}, which makes a real one when
 * `new Request(request)`, `fetch(request)` or `request.clone()` need it. Bun
 * takes nothing but its own, but asks the getters of a subclass, so there it is a
 * real one of nothing, as long as there is no content to read from it. Later
 * Nodes do neither: there each request is real from the beginning. No global is
 * changed.
 *
 * Length: what a request is made from, and the two ways to make it, are one.
 */
import { ApplicationError, HttpError } from "../errors.ts";
import type { Exchange, RequestBody, RequestHead } from "../exchange.ts";
import { ContentInput } from "../input.ts";
import type { MaybePromise } from "../stream.ts";

type Octets = Uint8Array<ArrayBuffer>;

/** A request while it is served. */
export interface OpenRequest {
  /** What the handler is given. */
  readonly request: Request;
  /** The same content as `wsgi.input`, for an environ beside the request. */
  wsgiInput(): ContentInput;
  /** From now on nothing can be read: what follows on the connection belongs to
   * others. Returns what a read that was left behind is waiting for. */
  close(): Promise<unknown> | undefined;
}

/** Makes the request of an exchange. Throws `HttpError` on what a `Request`
 * cannot be. */
export function openRequest(exchange: Exchange): OpenRequest {
  return new Source(exchange);
}

/** What a request is made from, piece by piece as it is asked for. */
class Source implements OpenRequest {
  readonly exchange: Exchange;
  readonly method: string;
  readonly request: Request;
  #content: SharedContent | undefined;
  /** The request's share of the content; undefined where it has none. */
  readonly #body: RequestBody | undefined;
  #input: ContentInput | undefined;
  #wsgiInput: ContentInput | undefined;
  #headers: Headers | undefined;
  #url: string | undefined;
  #stream: ReadableStream<Octets> | null | undefined;
  /** Whether the content was read, or has begun to be. */
  #used = false;
  #closed = false;
  #real: Request | undefined;

  constructor(exchange: Exchange) {
    this.exchange = exchange;
    const method = this.method = methodOf(exchange.head);
    // A Request of these methods has no content (Fetch, "Request constructor"),
    // and what a peer sends all the same means nothing: RFC 9110 §9.3.1.
    const none = exchange.head.framing === "none" || method === "GET" ||
      method === "HEAD";
    this.#body = none ? undefined : this.#share();
    const lazy = symbols !== undefined || (asksGetters && none);
    this.request = lazy ? new LazyRequest(this) : this.real();
  }

  wsgiInput(): ContentInput {
    return this.#wsgiInput ??= this.#inputOver(this.#share());
  }

  #share(): RequestBody {
    return (this.#content ??= new SharedContent(this.exchange.body)).share();
  }

  #inputOver(body: RequestBody): ContentInput {
    const { framing, contentLength } = this.exchange.head;
    return new ContentInput(
      body,
      framing === "chunked" ? Infinity : contentLength,
    );
  }

  close(): Promise<unknown> | undefined {
    this.#closed = true;
    this.#input?.detach();
    this.#wsgiInput?.detach();
    return this.#content?.close();
  }

  get url(): string {
    return this.#url ??= urlOf(this.exchange);
  }

  get headers(): Headers {
    if (this.#real !== undefined) return this.#real.headers;
    return this.#headers ??= headersOf(this.exchange.head);
  }

  get signal(): AbortSignal {
    return this.#real?.signal ?? this.exchange.signal;
  }

  get body(): ReadableStream<Octets> | null {
    if (this.#real !== undefined) return this.#real.body;
    if (this.#stream !== undefined) return this.#stream;
    if (this.#body === undefined) return this.#stream = null;
    const stream = this.#stream = this.#makeStream(this.#body);
    if (this.#used) void stream.cancel();
    return stream;
  }

  get bodyUsed(): boolean {
    // A clone may have read the stream that both come from.
    return this.#real?.bodyUsed ?? this.#used;
  }

  /** The whole content, without a stream where nobody has asked for one. */
  async bytes(): Promise<Octets> {
    if (this.bodyUsed) throw new TypeError("The body was read already");
    if (this.#stream || this.#real) {
      return new Uint8Array(await this.real().arrayBuffer());
    }
    if (this.#body === undefined) return new Uint8Array(0);
    this.#used = true;
    const input = this.#input = this.#inputOver(this.#body);
    try {
      return await input.read() as Octets;
    } catch (error) {
      // The input would speak of wsgi.input.
      throw this.#closed && error instanceof ApplicationError
        ? tooLate()
        : error;
    }
  }

  /** One of the runtime's own. */
  real(): Request {
    return this.#real ??= this.#makeReal();
  }

  #makeReal(): Request {
    if (this.#used) throw new TypeError("The body was read already");
    const { method, url, body } = this;
    const init: RequestInit & { duplex?: "half" } = {
      signal: this.exchange.signal,
    };
    // What goes without saying costs all the same.
    if (method !== "GET") init.method = knows(method) ? method : "POST";
    if (body !== null) Object.assign(init, { body, duplex: "half" });
    if (this.#headers !== undefined) init.headers = this.#headers;
    const request = new Request(url, init);
    if (this.#headers === undefined) {
      appendFields(request.headers, this.exchange.head);
    }
    // Bun would take it for GET.
    return request.method === method
      ? request
      : Object.defineProperty(request, "method", { value: method });
  }

  /** Pieces as they arrive, when they are asked for. */
  #makeStream(body: RequestBody): ReadableStream<Octets> {
    return new ReadableStream<Octets>({
      pull: async (controller) => {
        this.#used = true;
        const arrival = body.read();
        const view = arrival instanceof Promise ? await arrival : arrival;
        if (view === null) controller.close();
        else controller.enqueue(new Uint8Array(view));
      },
      cancel: () => {
        this.#used = true;
      },
    }, { highWaterMark: 0 });
  }
}

function tooLate(): TypeError {
  return new TypeError("The request was read after its response had ended");
}

/** The content of a request, for whoever reads it first. */
class SharedContent {
  readonly #body: RequestBody;
  #reader: RequestBody | undefined;
  #closed = false;
  /** What the body owes, while it is waited for. */
  #arrival: Promise<Uint8Array | null> | undefined;

  constructor(body: RequestBody) {
    this.#body = body;
  }

  /** One of those who may read it. */
  share(): RequestBody {
    const reader: RequestBody = {
      read: () => this.#read(reader),
      trailers: undefined,
    };
    return reader;
  }

  /** Refuses every read from now on; returns what the last one waits for. */
  close(): Promise<unknown> | undefined {
    this.#closed = true;
    return this.#arrival;
  }

  #read(reader: RequestBody): MaybePromise<Uint8Array | null> {
    if (this.#closed) throw tooLate();
    this.#reader ??= reader;
    if (this.#reader !== reader) {
      throw new TypeError(
        "The content was read already: the request and wsgi.input share it",
      );
    }
    const view = this.#body.read();
    return view instanceof Promise ? this.#arriving(view) : view;
  }

  async #arriving(
    arrival: Promise<Uint8Array | null>,
  ): Promise<Uint8Array | null> {
    this.#arrival = arrival;
    try {
      const view = await arrival;
      if (this.#closed) throw tooLate();
      return view;
    } finally {
      this.#arrival = undefined;
    }
  }
}

/** As the Fetch standard spells it. */
function methodOf({ method }: RequestHead): string {
  if (standard.has(method)) return method;
  const upper = method.toUpperCase();
  if (standard.has(upper)) return upper;
  if (upper === "TRACE" || upper === "TRACK") {
    throw new HttpError(501, "Method not supported", method);
  }
  return method;
}

const standard: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "DELETE",
  "OPTIONS",
]);

/** Whether the runtime's requests keep a method as it is. */
function knows(method: string): boolean {
  return standard.has(method) ||
    new Request("http://localhost/", { method }).method === method;
}

// Requests mostly repeat the authority of the one before.
let lastBase = "";
let lastOrigin = "";

/** Octets that every serialised URL leaves as they are; a segment that begins
 * with a dot is looked at. */
const plainTarget = /^(?!.*\/(?:\.|%2e))\/[\w\-~!$&()*+,;=:@/.%?]*$/i;

/** Throws `HttpError` where there is no such URL. */
function urlOf({ head, local, scheme }: Exchange): string {
  if (head.targetForm === "absolute") return serialised(head.target);
  const authority = head.authority || authorityOf(local.host, local.port);
  const base = `${scheme}://${authority}`;
  if (base !== lastBase) {
    lastOrigin = new URL(serialised(base)).origin;
    lastBase = base;
  }
  if (head.targetForm === "asterisk") return `${lastOrigin}/*`;
  const { target } = head;
  const url = lastOrigin + target;
  return plainTarget.test(target) ? url : serialised(url);
}

function serialised(url: string): string {
  try {
    return new URL(url).href;
  } catch {
    throw new HttpError(400, "Malformed URL", url);
  }
}

function authorityOf(host: string, port: number): string {
  if (port === 0) return "localhost"; // a Unix-domain socket
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function headersOf(head: RequestHead): Headers {
  const headers = new Headers();
  appendFields(headers, head);
  return headers;
}

function appendFields(headers: Headers, { fields }: RequestHead): void {
  for (let i = 0; i < fields.length; i++) {
    headers.append(fields.name(i).lower, fields.value(i));
  }
}

// ---- The lazy one ----

/** Under what symbols the runtime keeps what a request is; undefined where it
 * keeps it where nobody else can answer. */
const symbols: readonly symbol[] | undefined = findSymbols();

function findSymbols(): symbol[] | undefined {
  const found = Object.getOwnPropertySymbols(new Request("http://localhost/"));
  return found.length === 0 ? undefined : found;
}

/** Whether the runtime, given a request, asks the getters of its class. */
const asksGetters: boolean = symbols === undefined && findGetters();

function findGetters(): boolean {
  class Sample extends Request {
    override get url(): string {
      return "http://example.com/";
    }
    override get method(): string {
      return "PUT";
    }
    override get headers(): Headers {
      return new Headers({ a: "b" });
    }
    override get signal(): AbortSignal {
      return AbortSignal.abort();
    }
  }
  const copy = new Request(new Sample("http://localhost/"));
  return copy.url === "http://example.com/" && copy.method === "PUT" &&
    copy.headers.get("a") === "b" && copy.signal.aborted;
}

/** What a lazy request is before anything is asked of it: where it need not be
 * one of the runtime's, nothing at all. */
const Base: typeof Request = symbols === undefined ? Request : nothing();

function nothing(): typeof Request {
  const constructor = function () {};
  constructor.prototype = Request.prototype;
  return constructor as unknown as typeof Request;
}

/** Behaves as a `Request`, of which it makes one when it must. */
class LazyRequest extends Base {
  readonly #source: Source;

  constructor(source: Source) {
    super("http://localhost/");
    this.#source = source;
  }

  /** For whoever takes a real one alone. */
  get [Symbol.for("headgate.real")](): Request {
    return this.#source.real();
  }

  override get method(): string {
    return this.#source.method;
  }

  override get url(): string {
    return this.#source.url;
  }

  override get headers(): Headers {
    return this.#source.headers;
  }

  override get signal(): AbortSignal {
    return this.#source.signal;
  }

  override get body(): ReadableStream<Octets> | null {
    return this.#source.body;
  }

  override get bodyUsed(): boolean {
    return this.#source.bodyUsed;
  }

  override async arrayBuffer(): Promise<ArrayBuffer> {
    const { buffer, byteOffset, byteLength } = await this.#source.bytes();
    return byteLength === buffer.byteLength
      ? buffer
      : buffer.slice(byteOffset, byteOffset + byteLength);
  }

  override bytes(): Promise<Octets> {
    return this.#source.bytes();
  }

  override async text(): Promise<string> {
    return new TextDecoder().decode(await this.#source.bytes());
  }

  override async json(): Promise<unknown> {
    return JSON.parse(await this.text());
  }

  override async blob(): Promise<Blob> {
    return await (await this.#asResponse()).blob();
  }

  override async formData(): Promise<FormData> {
    return await (await this.#asResponse()).formData();
  }

  /** Responses and requests read their types alike. */
  async #asResponse(): Promise<Response> {
    const type = this.headers.get("content-type");
    const headers: HeadersInit = type === null ? {} : { "content-type": type };
    return new Response(await this.#source.bytes(), { headers });
  }

  override clone(): Request {
    return this.#source.real().clone();
  }
}

// What is left (`cache`, `mode`, `redirect` and so on) is asked of a real one; it
// is the same of one of nothing.
if (symbols !== undefined) {
  const names = Object.getOwnPropertyNames(Request.prototype);
  for (const name of [...symbols, ...names]) {
    if (!Object.hasOwn(LazyRequest.prototype, name)) forward(name);
  }
}

Object.defineProperty(LazyRequest.prototype, "constructor", { value: Request });

function forward(name: string | symbol): void {
  Object.defineProperty(LazyRequest.prototype, name, {
    configurable: true,
    get(this: LazyRequest) {
      const real = realOf(this);
      const value: unknown = Reflect.get(real, name, real);
      return typeof value === "function" ? value.bind(real) : value;
    },
    set(this: LazyRequest, value: unknown) {
      const real = realOf(this);
      Reflect.set(real, name, value, real);
    },
  });
}

function realOf(request: LazyRequest): Request {
  return (request as unknown as Record<symbol, Request>)[
    Symbol.for("headgate.real")
  ]!;
}
