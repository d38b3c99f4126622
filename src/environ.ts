/**
 * From a request head to the environ: PEP 3333 and RFC 3875 §4.1.
 *
 * `SERVER_NAME` and `SERVER_PORT` are the parts of the authority that the
 * request is for, so that the URL which an application puts together (RFC 3875
 * §3.3) is the one the peer asked for; where there is no authority they are the
 * address that the peer connected to. The path of `OPTIONS *` has no spelling in
 * RFC 3875, where PATH_INFO is empty or starts with "/": it is "", and
 * `REQUEST_URI` tells it from others.
 */
import type {
  Exchange,
  Fields,
  RequestHead,
  ResponseFields,
} from "./exchange.ts";
import { percentDecoded, utf8Octets } from "./http/path_octets.ts";
import type { Address, MaybePromise } from "./stream.ts";
import { ContentInput } from "./input.ts";
import type {
  Environ,
  ErrorStream,
  FileWrapperConstructor,
  RequestContext,
} from "./wsgi.ts";

/** What every environ of one application has in common. */
export interface EnvironOptions {
  /** `wsgi.errors`. */
  readonly errors: ErrorStream;
  /** Where the application is mounted, as {@linkcode mountPoint} makes it. */
  readonly scriptName: string;
  /** `wsgi.multithread`. */
  readonly multithread: boolean;
  /** `wsgi.multiprocess`. */
  readonly multiprocess: boolean;
  /** `SERVER_SOFTWARE`. */
  readonly software: string;
  /** `wsgi.file_wrapper`. */
  readonly fileWrapper: FileWrapperConstructor;
}

const wsgiVersion: readonly [1, 0] = Object.freeze([1, 0] as const);

/** Makes the environ of one request. It is a plain object of its own; its
 * `wsgi.input` is a {@linkcode ContentInput} over the content of the request. */
export function createEnviron(
  exchange: Exchange,
  options: EnvironOptions,
): Environ {
  const { fields, targetForm } = exchange.head;
  // The authority of an absolute target takes the place of a field.
  if (fields.recurs !== true || targetForm === "absolute") {
    return assembled(exchange, options);
  }
  const former = formers.get(fields);
  if (former?.options === options) return renewed(former.environ, exchange);
  const environ = assembled(exchange, options);
  formers.set(fields, {
    options,
    environ: {
      ...environ,
      "wsgi.input": none,
      "headgate.request": none,
    },
  });
  return environ;
}

/** An environ from which others can be made that have the same fields. */
interface Former {
  readonly options: EnvironOptions;
  /** Without what would keep the request alive. */
  readonly environ: Environ;
}

const none = undefined as never;
const formers = new WeakMap<Fields, Former>();

function assembled(exchange: Exchange, options: EnvironOptions): Environ {
  const { head, remote } = exchange;
  const https = exchange.scheme === "https";
  const server = serverAddress(head.authority, exchange.local, https);
  // One literal: spreading a base object, and adding what it lacks, costs a
  // hundred times as much.
  const environ: Environ = {
    REQUEST_METHOD: head.method,
    SCRIPT_NAME: options.scriptName,
    PATH_INFO: pathInfo(head, options.scriptName),
    QUERY_STRING: head.query,
    REQUEST_URI: head.target,
    RAW_URI: head.target,
    SERVER_NAME: server.name,
    SERVER_PORT: server.port,
    SERVER_PROTOCOL: protocol(head),
    SERVER_SOFTWARE: options.software,
    GATEWAY_INTERFACE: "CGI/1.1",
    REMOTE_ADDR: remote.host,
    REMOTE_PORT: String(remote.port),
    "wsgi.version": wsgiVersion,
    "wsgi.url_scheme": https ? "https" : "http",
    "wsgi.input": input(exchange),
    "wsgi.errors": options.errors,
    "wsgi.multithread": options.multithread,
    "wsgi.multiprocess": options.multiprocess,
    "wsgi.run_once": false,
    "wsgi.input_terminated": true,
    "wsgi.file_wrapper": options.fileWrapper,
    "headgate.request": new ExchangeContext(exchange),
  };
  assignFields(environ, head);
  return environ;
}

/** A copy of `former`, which has every key, in which all that is not of the
 * fields and of the options is this request's: a third of what it costs to
 * assign the fields one by one. */
function renewed(former: Environ, exchange: Exchange): Environ {
  const { head, remote } = exchange;
  const https = exchange.scheme === "https";
  const server = serverAddress(head.authority, exchange.local, https);
  const environ = { ...former };
  environ.REQUEST_METHOD = head.method;
  environ.PATH_INFO = pathInfo(head, environ.SCRIPT_NAME as string);
  environ.QUERY_STRING = head.query;
  environ.REQUEST_URI = head.target;
  environ.RAW_URI = head.target;
  environ.SERVER_NAME = server.name;
  environ.SERVER_PORT = server.port;
  environ.SERVER_PROTOCOL = protocol(head);
  environ.REMOTE_ADDR = remote.host;
  environ.REMOTE_PORT = String(remote.port);
  environ["wsgi.url_scheme"] = https ? "https" : "http";
  environ["wsgi.input"] = input(exchange);
  environ["headgate.request"] = new ExchangeContext(exchange);
  return environ;
}

function protocol(head: RequestHead): string {
  return head.version === 11 ? "HTTP/1.1" : "HTTP/1.0";
}

function input({ head, body }: Exchange): ContentInput {
  return new ContentInput(
    body,
    head.framing === "chunked" ? Infinity : head.contentLength,
  );
}

/** RFC 3875 §4.1.18, and CONTENT_TYPE and CONTENT_LENGTH beside it. */
export function assignFields(
  environ: Record<string, unknown>,
  head: RequestHead,
): void {
  const { fields } = head;
  for (let i = 0; i < fields.length; i++) {
    const { meta } = fields.name(i);
    if (meta === undefined) continue;
    if (meta === "CONTENT_LENGTH") {
      // Chunked content has none; else the head has settled what the lines say.
      if (head.framing === "length") {
        environ.CONTENT_LENGTH = String(head.contentLength);
      }
      continue;
    }
    const earlier = fields.mayRepeat ? environ[meta] : undefined;
    environ[meta] = earlier === undefined
      ? fields.value(i)
      : `${earlier}${meta === "HTTP_COOKIE" ? "; " : ","}${fields.value(i)}`;
  }
  // RFC 9112 §3.2.2: the target's authority replaces Host.
  if (head.targetForm === "absolute") environ.HTTP_HOST = head.authority;
}

/** The path as the application sees it. A proxy may or may not have taken
 * `scriptName` off the path: it is taken off where it is there. */
export function pathInfo(head: RequestHead, scriptName: string): string {
  if (head.path === "*") return "";
  const path = percentDecoded(head.path);
  if (scriptName === "" || !path.startsWith(scriptName)) return path;
  const rest = path.slice(scriptName.length);
  return rest === "" || rest.startsWith("/") ? rest : path;
}

/** Makes `SCRIPT_NAME` of what a user writes: "/shop", "/shop/" and "shop" are
 * one mount point, "/" and "" are the root. Text beyond ASCII stands for its
 * UTF-8 octets, as it does in a request. */
export function mountPoint(path: string): string {
  const trimmed = path.replace(/^\/+|\/+$/g, "");
  if (trimmed === "") return "";
  return utf8Octets(`/${trimmed}`);
}

/** SERVER_NAME and SERVER_PORT. */
export interface ServerAddress {
  /** The host; an IPv6 address in brackets. */
  readonly name: string;
  /** Decimal digits. */
  readonly port: string;
}

// Requests mostly repeat the host of the one before.
let lastAuthority = "";
let lastHttps = false;
let lastAddress: ServerAddress = { name: "", port: "" };

/** RFC 3875 §4.1.14 and §4.1.15. */
export function serverAddress(
  authority: string,
  local: Address,
  https: boolean,
): ServerAddress {
  if (authority === "") return localAddress(local, https);
  if (authority !== lastAuthority || https !== lastHttps) {
    lastAddress = namedAddress(authority, https);
    lastAuthority = authority;
    lastHttps = https;
  }
  return lastAddress;
}

/** Takes `host [ ":" port ]` apart, which the head has checked. The colons of an
 * IPv6 address stand in brackets, which RFC 3875 keeps. */
function namedAddress(authority: string, https: boolean): ServerAddress {
  const colon = authority.lastIndexOf(":");
  if (colon <= authority.lastIndexOf("]")) {
    return { name: authority, port: schemePort(https) };
  }
  return {
    name: authority.slice(0, colon),
    port: authority.slice(colon + 1) || schemePort(https),
  };
}

/** A Unix-domain socket has a path for a host, and no port. */
function localAddress(local: Address, https: boolean): ServerAddress {
  if (local.port === 0 || local.host === "") {
    return { name: "localhost", port: schemePort(https) };
  }
  const name = local.host.includes(":") ? `[${local.host}]` : local.host;
  return { name, port: String(local.port) };
}

function schemePort(https: boolean): string {
  return https ? "443" : "80";
}

/** `headgate.request` over the exchange, which stays out of reach. */
class ExchangeContext implements RequestContext {
  readonly #exchange: Exchange;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  get signal(): AbortSignal {
    return this.#exchange.signal;
  }

  informational(status: number, headers: ResponseFields): MaybePromise<void> {
    return this.#exchange.response.informational(status, headers);
  }

  get trailers(): readonly (readonly [string, string])[] {
    const { trailers } = this.#exchange.body;
    return trailers === undefined ? [] : pairs(trailers);
  }
}

function pairs(fields: Fields): [string, string][] {
  return Array.from(
    { length: fields.length },
    (_, i) => [fields.name(i).lower, fields.value(i)],
  );
}
