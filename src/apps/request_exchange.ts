/**
 * An exchange over a `Request` and the `Response` to it: whatever answers
 * exchanges can thereby be called where a fetch handler is.
 */
import { ApplicationError } from "../errors.ts";
import type {
  Exchange,
  RequestBody,
  RequestHead,
  ResponseFields,
} from "../exchange.ts";
import type { Address, MaybePromise } from "../stream.ts";
import { describe } from "./contract.ts";
import { FieldList } from "./field_list.ts";
import { peerGone, PendingResponse } from "./pending_response.ts";

/** One request and its response, where somebody else has the connection. */
export class RequestExchange implements Exchange {
  readonly head: RequestHead;
  readonly body: StreamedContent;
  readonly response: PendingResponse;
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
    this.response = new PendingResponse(
      request.method === "HEAD",
      () => this.#leave(),
      (status, fields) => sendInterim(info, status, fields),
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
    const port = Number(/:([0-9]+)$/.exec(authority)?.[1] ?? 0);
    return {
      host: authority.replace(/:[0-9]*$/, "").replace(/^\[|\]$/g, ""),
      // 0 is that of a Unix-domain socket, whose peers are believed: a client
      // must not choose it.
      port: port || (this.scheme === "https" ? 443 : 80),
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
    target,
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

/** Hosts that can take the call from `FetchInfo`. */
function sendInterim(
  info: unknown,
  status: number,
  fields: ResponseFields,
): MaybePromise<void> {
  if (typeof property(info, "informational") !== "function") return;
  const host = info as {
    informational(status: number, fields: ResponseFields): MaybePromise<void>;
  };
  return host.informational(status, fields);
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
