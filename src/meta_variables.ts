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
import type { Exchange, RequestHead } from "./exchange.ts";

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
  const { head, remote, local } = exchange;
  const { scriptName } = options;
  const https = exchange.scheme === "https";
  const server = serverAddress(head.authority, local, https);
  put("GATEWAY_INTERFACE", "CGI/1.1");
  put("SERVER_SOFTWARE", options.software);
  put("SERVER_PROTOCOL", head.version === 11 ? "HTTP/1.1" : "HTTP/1.0");
  put("SERVER_NAME", server.name);
  put("SERVER_PORT", server.port);
  // A Unix-domain socket has a path for an address, and that is ours to know.
  if (local.port !== 0) put("SERVER_ADDR", local.host);
  put("REMOTE_ADDR", remote.host);
  put("REMOTE_PORT", String(remote.port));
  put("REQUEST_METHOD", head.method);
  put("REQUEST_SCHEME", exchange.scheme);
  if (https) put("HTTPS", "on");
  put("REQUEST_URI", requestUri(head));
  put("SCRIPT_NAME", scriptName);
  put("PATH_INFO", options.pathInfo ?? pathInfo(head, scriptName));
  put("QUERY_STRING", head.query);
  putFields(head, options.contentLength, put);
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
