/** From the bytes of a request to the environ that the application gets. */
import {
  type ByteStream,
  type Environ,
  HttpError,
  type Logger,
  type Wire,
} from "../../../mod.ts";
import { ContentInput } from "./input.ts";

/** Reads the head, and leaves the content on the wire for `wsgi.input`.
 * Undefined when the peer leaves before the head is whole. */
export async function readRequest(
  stream: ByteStream,
  wire: Wire,
  log: Logger,
): Promise<Environ | undefined> {
  const lines = await readHead(wire, log);
  if (lines === undefined) return undefined;
  const environ = createEnviron(lines, stream, wire, log);
  const { PATH_INFO, QUERY_STRING } = environ;
  log.debug(`PATH_INFO=${PATH_INFO} QUERY_STRING=${QUERY_STRING}`);
  return environ;
}

/** The lines of the head without their ends, one character for each octet. */
async function readHead(
  wire: Wire,
  log: Logger,
): Promise<string[] | undefined> {
  const lines: string[] = [];
  while (true) {
    const line = await wire.readLine(8192);
    if (line === null) return undefined;
    if (line.at(-1) !== 0x0a) {
      if (wire.ended) return undefined;
      throw new HttpError(431, "Line Too Long");
    }
    const text = String.fromCharCode(...line).replace(/\r?\n$/, "");
    if (text === "") return lines;
    if (lines.length > 100) throw new HttpError(431, "Too Many Fields");
    log.debug(`< ${text}`);
    lines.push(text);
  }
}

/** What PEP 3333 has the application know of a request. */
function createEnviron(
  [requestLine = "", ...fieldLines]: string[],
  stream: ByteStream,
  wire: Wire,
  log: Logger,
): Environ {
  const { method, path, query, protocol } = parseRequestLine(requestLine);
  const fields = fieldVariables(fieldLines);
  const writeError = (text: string) => log.error(text.trimEnd());
  return {
    ...fields,
    REQUEST_METHOD: method,
    SCRIPT_NAME: "",
    PATH_INFO: percentDecoded(path),
    QUERY_STRING: query,
    SERVER_NAME: stream.local.host,
    SERVER_PORT: String(stream.local.port),
    SERVER_PROTOCOL: protocol,
    REMOTE_ADDR: stream.remote.host,
    "wsgi.version": [1, 0],
    "wsgi.url_scheme": "http",
    "wsgi.input": new ContentInput(wire, contentLength(fields)),
    "wsgi.input_terminated": true,
    "wsgi.errors": {
      write: writeError,
      writelines: (lines) => [...lines].forEach(writeError),
      flush: () => {},
    },
    "wsgi.multithread": false,
    "wsgi.multiprocess": false,
    "wsgi.run_once": false,
  };
}

/** GET /hello?name=Ann HTTP/1.1: what follows "?" is not part of the path. */
function parseRequestLine(line: string): Record<
  "method" | "path" | "query" | "protocol",
  string
> {
  const parts = /^([A-Z]+) (\/[!-~]*) (HTTP\/1\.[01])$/.exec(line);
  if (parts === null) throw new HttpError(400, "Bad Request Line");
  const [, method = "", target = "", protocol = ""] = parts;
  const [path = "", ...queries] = target.split("?");
  return { method, path, query: queries.join("?"), protocol };
}

/** The path's %20 is a space, and each octet one character. */
function percentDecoded(path: string): string {
  return path.replace(
    /%([0-9A-Fa-f]{2})/g,
    (_, hex) => String.fromCharCode(parseInt(hex, 16)),
  );
}

/** These two are variables of their own; every other field gets a prefix. */
const contentVariables = ["CONTENT_TYPE", "CONTENT_LENGTH"];

/** Every field in one stroke: `Accept-Language` is HTTP_ACCEPT_LANGUAGE. */
function fieldVariables(lines: string[]): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const line of lines) {
    const field = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\0\r]*?)[ \t]*$/
      .exec(line);
    if (field === null) throw new HttpError(400, "Bad Field Line");
    const [, name = "", value = ""] = field;
    // X_Y would pass for X-Y; programs take HTTP_PROXY for a proxy to use.
    if (name.includes("_") || name.toLowerCase() === "proxy") continue;
    const upper = name.toUpperCase().replaceAll("-", "_");
    const key = contentVariables.includes(upper) ? upper : `HTTP_${upper}`;
    const earlier = variables[key];
    const separator = key === "HTTP_COOKIE" ? "; " : ",";
    variables[key] = earlier === undefined
      ? value
      : earlier + separator + value;
  }
  return variables;
}

/** How much content follows the head. Chunked content would have to be
 * unframed, which this server leaves to the finished gateway. */
function contentLength(fields: Record<string, string>): number {
  if (fields["HTTP_TRANSFER_ENCODING"] !== undefined) {
    throw new HttpError(501, "Transfer Coding Not Implemented");
  }
  const length = fields["CONTENT_LENGTH"] ?? "0";
  if (!/^\d{1,15}$/.test(length)) throw new HttpError(400, "Bad Length");
  return Number(length);
}
