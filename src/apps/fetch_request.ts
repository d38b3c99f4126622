/**
 * The `Request` of an exchange. Where the runtime allows it, it costs next to
 * nothing until something is asked of it, and is one all the same.
 *
 * A runtime that keeps what a request is under symbols (Node up to 22, Deno)
 * can be answered by a {@linkcode LazyRequest}, which makes a real one when
 * `new Request(request)`, `fetch(request)` or `request.clone()` need it. Others
 * (Bun, later Nodes) take nothing but their own, so there each request is real
 * from the beginning. No global is changed.
 */
import type { Exchange, RequestHead } from "../exchange.ts";
import { ContentInput } from "../input.ts";

type Octets = Uint8Array<ArrayBuffer>;

/** A request while it is served. */
export interface OpenRequest {
  /** What the handler is given. */
  readonly request: Request;
  /** From now on nothing can be read: what follows on the connection belongs to
   * others. Returns what a read that was left behind is waiting for. */
  close(): Promise<unknown> | undefined;
}

/** Makes the request of an exchange. */
export function openRequest(exchange: Exchange): OpenRequest {
  const source = new Source(exchange);
  return {
    request: symbols === undefined ? source.real() : lazyRequest(source),
    close: () => source.close(),
  };
}

/** How much of the content is handed on at a time. */
const pieceBytes = 65_536;

/** What a request is made from, piece by piece as it is asked for. */
class Source {
  readonly exchange: Exchange;
  readonly #input: ContentInput | undefined;
  #headers: Headers | undefined;
  #url: string | undefined;
  #stream: ReadableStream<Octets> | null | undefined;
  /** Whether the content was read without a stream. */
  #taken = false;
  #real: Request | undefined;

  constructor(exchange: Exchange) {
    this.exchange = exchange;
    const { method, framing, contentLength } = exchange.head;
    // A Request of these methods has no content (Fetch, "Request constructor"),
    // and what a peer sends all the same means nothing: RFC 9110 §9.3.1.
    const bodiless = method === "GET" || method === "HEAD";
    this.#input = framing === "none" || bodiless ? undefined : new ContentInput(
      exchange.body,
      framing === "chunked" ? Infinity : contentLength,
    );
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
    const input = this.#input;
    this.#stream = input === undefined ? null : streamOf(input);
    if (this.#taken) void this.#stream?.cancel();
    return this.#stream;
  }

  get bodyUsed(): boolean {
    return this.#taken || (this.#real?.bodyUsed ?? false);
  }

  /** The whole content, without a stream where nobody has asked for one. */
  async bytes(): Promise<Octets> {
    if (this.bodyUsed) throw new TypeError("The body was read already");
    if (this.#stream || this.#real) {
      return new Uint8Array(await this.real().arrayBuffer());
    }
    if (this.#input === undefined) return new Uint8Array(0);
    this.#taken = true;
    return await this.#input.read() as Octets;
  }

  /** One of the runtime's own. */
  real(): Request {
    return this.#real ??= this.#makeReal();
  }

  #makeReal(): Request {
    if (this.#taken) throw new TypeError("The body was read already");
    const { head, signal } = this.exchange;
    const init: RequestInit & { duplex: "half" } = {
      method: head.method,
      headers: this.headers,
      body: this.body,
      signal,
      duplex: "half",
    };
    return new Request(this.url, init);
  }

  close(): Promise<unknown> | undefined {
    return this.#input?.detach();
  }
}

function urlOf({ head, local, scheme }: Exchange): string {
  if (head.targetForm === "absolute") return head.target;
  const authority = head.authority || authorityOf(local.host, local.port);
  return `${scheme}://${authority}${
    head.targetForm === "asterisk" ? "/*" : head.target
  }`;
}

function authorityOf(host: string, port: number): string {
  if (port === 0) return "localhost"; // a Unix-domain socket
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function headersOf({ fields }: RequestHead): Headers {
  const headers = new Headers();
  for (let i = 0; i < fields.length; i++) {
    headers.append(fields.name(i).lower, fields.value(i));
  }
  return headers;
}

function streamOf(input: ContentInput): ReadableStream<Octets> {
  return new ReadableStream<Octets>({
    async pull(controller) {
      const piece = await input.read(pieceBytes);
      if (piece.length === 0) controller.close();
      else controller.enqueue(piece as Octets);
    },
  }, { highWaterMark: 0 });
}

// ---- The lazy one ----

/** Under what symbols the runtime keeps what a request is; undefined where it
 * keeps it where nobody else can answer. */
const symbols: readonly symbol[] | undefined = findSymbols();

function findSymbols(): symbol[] | undefined {
  const found = Object.getOwnPropertySymbols(new Request("http://localhost/"));
  return found.length === 0 ? undefined : found;
}

function lazyRequest(source: Source): Request {
  return new LazyRequest(source) as unknown as Request;
}

/** Behaves as a `Request`, of which it makes one when it must. */
class LazyRequest {
  readonly #source: Source;

  constructor(source: Source) {
    this.#source = source;
  }

  /** For whoever takes a real one alone. */
  get [Symbol.for("headgate.real")](): Request {
    return this.#source.real();
  }

  get method(): string {
    return this.#source.exchange.head.method;
  }

  get url(): string {
    return this.#source.url;
  }

  get headers(): Headers {
    return this.#source.headers;
  }

  get signal(): AbortSignal {
    return this.#source.signal;
  }

  get body(): ReadableStream<Octets> | null {
    return this.#source.body;
  }

  get bodyUsed(): boolean {
    return this.#source.bodyUsed;
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    const { buffer, byteOffset, byteLength } = await this.#source.bytes();
    return byteLength === buffer.byteLength
      ? buffer
      : buffer.slice(byteOffset, byteOffset + byteLength);
  }

  bytes(): Promise<Octets> {
    return this.#source.bytes();
  }

  async text(): Promise<string> {
    return new TextDecoder().decode(await this.#source.bytes());
  }

  async json(): Promise<unknown> {
    return JSON.parse(await this.text());
  }

  async blob(): Promise<Blob> {
    const type = this.headers.get("content-type") ?? "";
    return new Blob([await this.#source.bytes()], { type });
  }

  async formData(): Promise<FormData> {
    const type = this.headers.get("content-type") ?? "";
    const bytes = await this.#source.bytes();
    return await new Response(bytes, { headers: { "content-type": type } })
      .formData();
  }

  clone(): Request {
    return this.#source.real().clone();
  }
}

Object.setPrototypeOf(LazyRequest.prototype, Request.prototype);
for (const symbol of symbols ?? []) forward(symbol);
// What is left (`cache`, `mode`, `redirect` and so on) is asked of a real one.
for (const name of Object.getOwnPropertyNames(Request.prototype)) {
  if (!Object.hasOwn(LazyRequest.prototype, name)) forward(name);
}

function forward(name: string | symbol): void {
  Object.defineProperty(LazyRequest.prototype, name, {
    configurable: true,
    get(this: LazyRequest) {
      const real = realOf(this);
      const value: unknown = Reflect.get(real, name, real);
      return typeof value === "function" ? value.bind(real) : value;
    },
  });
}

function realOf(request: LazyRequest): Request {
  return (request as unknown as Record<symbol, Request>)[
    Symbol.for("headgate.real")
  ]!;
}
