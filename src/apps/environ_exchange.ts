/**
 * An exchange over an environ and `startResponse`: whatever answers exchanges
 * can thereby be called by any server of PEP 3333.
 */
import { StreamError } from "../errors.ts";
import type {
  Exchange,
  Framing,
  RequestBody,
  RequestHead,
  TargetForm,
} from "../exchange.ts";
import { percentDecoded, percentEncoded } from "../http/path_octets.ts";
import type { Address, MaybePromise } from "../stream.ts";
import type { Environ, StartResponse } from "../wsgi.ts";
import { FieldList } from "./field_list.ts";
import { PendingBody } from "./pending_body.ts";

/** How much is asked of `wsgi.input` at a time. */
const PIECE_BYTES = 65_536;

/** One call of an application. */
export class EnvironExchange implements Exchange {
  readonly head: RequestHead;
  readonly body: RequestBody;
  readonly response: PendingBody;
  readonly scheme: "http" | "https";
  readonly #environ: Environ;
  #abort: AbortController | undefined;
  #gone = false;

  constructor(environ: Environ, startResponse: StartResponse) {
    this.#environ = environ;
    this.scheme = environ["wsgi.url_scheme"] === "https" ? "https" : "http";
    this.head = headOf(environ, this.scheme);
    this.body = new Input(environ, this.head);
    this.response = new PendingBody(
      this.head.method === "HEAD",
      startResponse,
      () => this.#leave(),
      (status, fields) =>
        environ["headgate.request"]?.informational(status, fields),
    );
  }

  get remote(): Address {
    return {
      host: this.#environ.REMOTE_ADDR ?? "",
      port: Number(this.#environ.REMOTE_PORT ?? 0),
    };
  }

  get local(): Address {
    return {
      host: this.#environ.SERVER_NAME.replace(/^\[|\]$/g, ""),
      port: Number(this.#environ.SERVER_PORT),
    };
  }

  get signal(): AbortSignal {
    if (this.#abort !== undefined) return this.#abort.signal;
    this.#abort = new AbortController();
    const outer = this.#environ["headgate.request"]?.signal;
    const leave = () => this.#leave();
    if (this.#gone || outer?.aborted) leave();
    else outer?.addEventListener("abort", leave, { once: true });
    return this.#abort.signal;
  }

  #leave(): void {
    this.#gone = true;
    this.#abort?.abort(new StreamError("The peer has left"));
  }
}

function headOf(environ: Environ, scheme: "http" | "https"): RequestHead {
  const { path, targetForm } = pathOf(environ);
  const query = environ.QUERY_STRING;
  const target = query === "" ? path : `${path}?${query}`;
  const { framing, contentLength } = framingOf(environ);
  return {
    method: environ.REQUEST_METHOD,
    target,
    targetForm,
    path,
    query,
    authority: environ.HTTP_HOST || authorityOf(environ, scheme),
    version: environ.SERVER_PROTOCOL === "HTTP/1.0" ? 10 : 11,
    fields: new FieldList(fieldLines(environ)),
    framing,
    contentLength,
    keepAlive: true,
    expectContinue: false,
  };
}

/** As middleware has left it: SCRIPT_NAME and PATH_INFO, in the spelling of
 * REQUEST_URI where that says the same. */
function pathOf(environ: Environ): { path: string; targetForm: TargetForm } {
  const decoded = environ.SCRIPT_NAME + environ.PATH_INFO;
  if (decoded === "" && environ.REQUEST_METHOD === "OPTIONS") {
    return { path: "*", targetForm: "asterisk" };
  }
  const [, received = ""] =
    /^(?:https?:\/\/[^/?]*)?([^?]*)/i.exec(environ.REQUEST_URI ?? "") ?? [];
  const path = received !== "" && percentDecoded(received) === decoded
    ? received
    : percentEncoded(decoded) || "/";
  return { path, targetForm: "origin" };
}

/** PEP 3333, "URL Reconstruction". */
function authorityOf(environ: Environ, scheme: "http" | "https"): string {
  const { SERVER_NAME: name, SERVER_PORT: port } = environ;
  const host = name.includes(":") && !name.startsWith("[") ? `[${name}]` : name;
  return port === (scheme === "https" ? "443" : "80")
    ? host
    : `${host}:${port}`;
}

/** Content without a length is read only where it is sure to end. */
function framingOf(
  environ: Environ,
): { framing: Framing; contentLength: number } {
  const declared = environ.CONTENT_LENGTH ?? "";
  if (/^[0-9]{1,15}$/.test(declared)) {
    return { framing: "length", contentLength: Number(declared) };
  }
  const framing = environ["wsgi.input_terminated"] === true &&
      environ.HTTP_TRANSFER_ENCODING !== undefined
    ? "chunked"
    : "none";
  return { framing, contentLength: 0 };
}

function fieldLines(environ: Environ): [string, string][] {
  const lines: [string, string][] = [];
  for (const [key, value] of Object.entries(environ)) {
    const spelled = /^HTTP_(.+)$/.exec(key)?.[1] ??
      (key === "CONTENT_TYPE" || key === "CONTENT_LENGTH" ? key : undefined);
    if (spelled === undefined || typeof value !== "string") continue;
    // Servers may leave these two empty where there are none.
    if (value === "" && !key.startsWith("HTTP_")) continue;
    lines.push([spelled.toLowerCase().replaceAll("_", "-"), value]);
  }
  return lines;
}

/** Request content from `wsgi.input`, of which never more is asked than was
 * declared: a server need not say where it ends. */
class Input implements RequestBody {
  readonly trailers: undefined = undefined;
  readonly #environ: Environ;
  #left: number;

  constructor(environ: Environ, { framing, contentLength }: RequestHead) {
    this.#environ = environ;
    this.#left = framing === "chunked" ? Infinity : contentLength;
  }

  read(): MaybePromise<Uint8Array | null> {
    if (this.#left === 0) return null;
    return this.#read(Math.min(PIECE_BYTES, this.#left));
  }

  async #read(size: number): Promise<Uint8Array | null> {
    const piece = await this.#environ["wsgi.input"].read(size);
    this.#left = piece.length === 0 ? 0 : this.#left - piece.length;
    return piece.length === 0 ? null : piece;
  }
}
