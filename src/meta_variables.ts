/**
 * A request as the meta-variables of RFC 3875 §4.1, for programs outside of
 * this process: CGI, FastCGI, SCGI. Every value is one character per octet.
 *
 * Beside those of the RFC stand the ones that web servers agree on:
 * `REQUEST_URI`, `REQUEST_SCHEME`, `HTTPS`, `REMOTE_PORT` and `SERVER_ADDR`.
 * What is the same for an application at large, as `DOCUMENT_ROOT` is, its own
 * module adds. `HTTP_AUTHORIZATION` is among them: who hands the variables to
 * where others can read them, takes it out.
 */
import { assignFields, pathInfo, serverAddress } from "./environ.ts";
import type { Exchange, Fields, RequestHead } from "./exchange.ts";
import type { Address } from "./stream.ts";

/** What a request does not say itself. */
export interface MetaVariableOptions {
  /** `SCRIPT_NAME`: where the program stands, decoded; "" at the root. */
  readonly scriptName: string;
  /** `PATH_INFO`, decoded; default: the path of the request, from which
   * `scriptName` is taken off where it is there. */
  readonly pathInfo?: string | undefined;
  /** `SERVER_SOFTWARE`. */
  readonly software: string;
  /** `CONTENT_LENGTH` of content that was read ahead, which then has no
   * Transfer-Encoding any longer; default: as the head tells it. */
  readonly contentLength?: number | undefined;
}

/** Calls `put` once for each meta-variable of a request, each name once. */
export function eachMetaVariable(
  exchange: Exchange,
  options: MetaVariableOptions,
  put: (name: string, value: string) => void,
): void {
  const { head } = exchange;
  put("REQUEST_METHOD", head.method);
  put("REQUEST_URI", requestUri(head));
  put("PATH_INFO", options.pathInfo ?? pathInfo(head, options.scriptName));
  put("QUERY_STRING", head.query);
  put("SERVER_PROTOCOL", protocol(head));
  eachCommonVariable(exchange, options, put);
}

/** Those that requests with the same fields have in common, as long as they come
 * on one connection. */
function eachCommonVariable(
  exchange: Exchange,
  options: MetaVariableOptions,
  put: (name: string, value: string) => void,
): void {
  const { head, remote, local } = exchange;
  const https = exchange.scheme === "https";
  const server = serverAddress(head.authority, local, https);
  put("GATEWAY_INTERFACE", "CGI/1.1");
  put("SERVER_SOFTWARE", options.software);
  put("SERVER_NAME", server.name);
  put("SERVER_PORT", server.port);
  // A Unix-domain socket has a path for an address, and that is ours to know.
  if (local.port !== 0) put("SERVER_ADDR", local.host);
  put("REMOTE_ADDR", remote.host);
  put("REMOTE_PORT", String(remote.port));
  put("REQUEST_SCHEME", exchange.scheme);
  if (https) put("HTTPS", "on");
  put("SCRIPT_NAME", options.scriptName);
  putFields(head, options.contentLength, put);
}

function protocol(head: RequestHead): string {
  return head.version === 11 ? "HTTP/1.1" : "HTTP/1.0";
}

/** The meta-variables of a request as one text: names and values, each ended by
 * NUL, which the gateway lets into none of them. */
export function packedMetaVariables(
  exchange: Exchange,
  options: MetaVariableOptions,
): string {
  const { head } = exchange;
  const path = options.pathInfo ?? pathInfo(head, options.scriptName);
  return `REQUEST_METHOD\0${head.method}\0REQUEST_URI\0${requestUri(head)}\0` +
    `PATH_INFO\0${path}\0QUERY_STRING\0${head.query}\0` +
    `SERVER_PROTOCOL\0${protocol(head)}\0${packedCommon(exchange, options)}`;
}

/** What was packed of fields that came again. */
interface Packed {
  readonly options: MetaVariableOptions;
  readonly remote: Address;
  readonly local: Address;
  readonly scheme: string;
  readonly text: string;
}

const packedBefore = new WeakMap<Fields, Packed>();

function packedCommon(
  exchange: Exchange,
  options: MetaVariableOptions,
): string {
  const { head, remote, local, scheme } = exchange;
  // The authority of an absolute target takes the place of a field.
  if (head.fields.recurs !== true || head.targetForm === "absolute") {
    return pack(exchange, options);
  }
  const before = packedBefore.get(head.fields);
  if (
    before !== undefined && before.options === options &&
    before.remote === remote && before.local === local &&
    before.scheme === scheme
  ) return before.text;
  const text = pack(exchange, options);
  packedBefore.set(head.fields, { options, remote, local, scheme, text });
  return text;
}

function pack(exchange: Exchange, options: MetaVariableOptions): string {
  let text = "";
  eachCommonVariable(exchange, options, (name, value) => {
    text += `${name}\0${value}\0`;
  });
  return text;
}

/** The target without the scheme and authority that the absolute form begins
 * with: programs look for a path here. */
function requestUri(head: RequestHead): string {
  if (head.targetForm !== "absolute") return head.target;
  return head.target.includes("?") ? `${head.path}?${head.query}` : head.path;
}

function putFields(
  head: RequestHead,
  heldLength: number | undefined,
  put: (name: string, value: string) => void,
): void {
  const { fields } = head;
  const held = heldLength !== undefined;
  if (fields.mayRepeat || held || head.targetForm === "absolute") {
    const assigned: Record<string, string> = {};
    assignFields(assigned, head);
    if (held) {
      assigned.CONTENT_LENGTH = String(heldLength);
      delete assigned.HTTP_TRANSFER_ENCODING;
    }
    for (const meta in assigned) put(meta, assigned[meta]!);
    return;
  }
  // As `assignFields` would, without an object between.
  for (let i = 0; i < fields.length; i++) {
    const { meta } = fields.name(i);
    if (meta === undefined) continue;
    if (meta !== "CONTENT_LENGTH") put(meta, fields.value(i));
    else if (head.framing === "length") put(meta, String(head.contentLength));
  }
}
