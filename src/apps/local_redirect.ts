/** Local redirects: a program answers with the path of another resource of this
 * site, and the client gets that one without knowing (RFC 3875 §6.2.2). */
import { BackendError } from "../errors.ts";
import type {
  Exchange,
  Handler,
  RequestHead,
  ResponseWriter,
} from "../exchange.ts";
import type { Address, MaybePromise } from "../stream.ts";
import { FieldList } from "./field_list.ts";

/** How often a request may be sent on. */
const most = 10;

/** How often the response has been passed on to another. The writer stays the
 * same, whatever exchanges are wrapped around it. */
const redirects = new WeakMap<ResponseWriter, number>();

/** Has the site answer as to a GET for `location`, a path with its query as
 * `CgiResponseHead.localRedirect` is one. Throws `BackendError` where that has
 * happened too often. */
export function redirectLocally(
  exchange: Exchange,
  location: string,
  site: Handler,
): MaybePromise<void> {
  const { response } = exchange;
  const before = redirects.get(response) ?? 0;
  if (before === most) {
    throw new BackendError(502, "A local redirect leads in a circle", location);
  }
  redirects.set(response, before + 1);
  return site(new LocalExchange(exchange, location));
}

/** The request that would have asked for the location. */
class LocalExchange implements Exchange {
  readonly head: RequestHead;
  readonly body: Exchange["body"] = { read: () => null, trailers: undefined };
  readonly response: ResponseWriter;
  readonly remote: Address;
  readonly local: Address;
  readonly scheme: "http" | "https";
  readonly #exchange: Exchange;

  constructor(exchange: Exchange, location: string) {
    this.#exchange = exchange;
    this.head = headFor(exchange.head, location);
    this.response = exchange.response;
    this.remote = exchange.remote;
    this.local = exchange.local;
    this.scheme = exchange.scheme;
  }

  get signal(): AbortSignal {
    return this.#exchange.signal;
  }
}

/** Fields that speak of a content, which the new request has not. */
const ofContent = /^(content-.*|transfer-encoding|trailer|expect)$/;

function headFor(head: RequestHead, location: string): RequestHead {
  const question = location.indexOf("?");
  return {
    method: head.method === "HEAD" ? "HEAD" : "GET",
    target: location,
    targetForm: "origin",
    path: question < 0 ? location : location.slice(0, question),
    query: question < 0 ? "" : location.slice(question + 1),
    authority: head.authority,
    version: head.version,
    fields: new FieldList(fieldsFor(head)),
    framing: "none",
    contentLength: 0,
    keepAlive: head.keepAlive,
    expectContinue: false,
  };
}

function fieldsFor({ fields, authority }: RequestHead): [string, string][] {
  const lines: [string, string][] = [];
  for (let i = 0; i < fields.length; i++) {
    const { lower } = fields.name(i);
    if (ofContent.test(lower)) continue;
    // An absolute target may have named another host than the field.
    lines.push([lower, lower === "host" ? authority : fields.value(i)]);
  }
  return lines;
}
