/**
 * Applications behind FastCGI 1.0, over an exchange: one that has all paths
 * below its own, as a WSGI server or a program with its own loop does. For
 * scripts of a directory, as PHP's are, see `fastcgi_scripts.ts`.
 *
 * ```ts ignore
 * const pool = new BackendPool({ log: console });
 * pool.add({ name: "app", connections: 8, connect });
 * serveHandler(transport, mount({ "/app": { handler: fastcgi(pool, {
 *   scriptName: "/app",
 * }) } }));
 * ```
 *
 * @module
 */
import { mountPoint } from "../environ.ts";
import { HttpError } from "../errors.ts";
import type { Exchange, Handler, RequestBody } from "../exchange.ts";
import type { BackendPool, ResponderRequest } from "../fastcgi/pool.ts";
import type { CgiResponseHead } from "../http/cgi_response.ts";
import type { Logger } from "../logger.ts";
import {
  eachMetaVariable,
  type MetaVariableOptions,
  packedMetaVariables,
} from "../meta_variables.ts";
import { version } from "../version.ts";
import { answer } from "./answers.ts";
import { answerFailure } from "./backend_failure.ts";
import { holdContent, type HoldOptions } from "./held_content.ts";
import { redirectLocally } from "./local_redirect.ts";
import { FileSender, type SendFileOptions } from "./send_file.ts";

/** Parameters beside those of the request; each character is one octet. */
export type ExtraParams = readonly (readonly [name: string, value: string])[];

/** How applications behind FastCGI are served. */
export interface FastCgiOptions {
  /** Where it is told what fails; default `console`. */
  readonly log?: Logger;
  /** The path at which the application is mounted; default "", the root. */
  readonly scriptName?: string;
  /** `SERVER_SOFTWARE`; default "headgate/" and the version. */
  readonly software?: string;
  /** Further parameters of every request. */
  readonly params?: ExtraParams;
  /** Which content is read before a responder is asked; default none. */
  readonly hold?: HoldOptions;
  /** Whether the responders are lost without `CONTENT_LENGTH`, as PHP is, which
   * takes such content for none; default false. What is chunked and not read
   * ahead is then refused with 411. */
  readonly needsLength?: boolean;
  /** Which files it may have sent; default none, and its fields that ask for
   * that go to the client. */
  readonly sendFile?: SendFileOptions;
  /** Who answers where it sends its client on to a path of this site (RFC 3875
   * §6.2.2); default the same application. */
  readonly site?: Handler;
  /** Whether all parameters go as one, which our own responder in Python takes
   * apart sooner; default false. */
  readonly packed?: boolean;
}

/** Makes a handler of the responders in a pool, which stays the caller's. */
export function fastcgi(
  pool: BackendPool,
  options: FastCgiOptions = {},
): Handler {
  const responders = new Responders(pool, options);
  const variables: MetaVariableOptions = {
    scriptName: mountPoint(options.scriptName ?? ""),
    software: responders.software,
  };
  const params = options.params ?? [];
  const handler: Handler = (exchange) =>
    responders.answer(exchange, variables, params, options.site ?? handler);
  return handler;
}

/** The responders of a pool, and all that becomes of their responses. */
export class Responders {
  /** `SERVER_SOFTWARE`. */
  readonly software: string;
  readonly #pool: BackendPool;
  readonly #log: Logger;
  readonly #hold: HoldOptions | undefined;
  readonly #sender: FileSender | undefined;
  readonly #packed: boolean;
  readonly #needsLength: boolean;

  constructor(pool: BackendPool, options: FastCgiOptions) {
    const { log = console, hold, sendFile, packed = false } = options;
    this.#needsLength = options.needsLength ?? false;
    this.software = options.software ?? `headgate/${version}`;
    this.#pool = pool;
    this.#log = log;
    this.#hold = hold;
    this.#sender = sendFile && new FileSender(sendFile, log);
    this.#packed = packed;
  }

  /** Has an exchange answered. `site` answers local redirects. */
  async answer(
    exchange: Exchange,
    variables: MetaVariableOptions,
    params: ExtraParams,
    site: Handler,
  ): Promise<void> {
    const hold = this.#hold;
    const lacksLength = exchange.head.framing === "chunked" &&
      (hold === undefined || hold.spool === "off");
    if (lacksLength && this.#needsLength) {
      return await answer(exchange.response, 411);
    }
    const pending = hold && holdContent(exchange, hold);
    const held = pending instanceof Promise ? await pending : pending;
    let asked: CgiResponseHead | undefined;
    // One function waits for all of this: each more would be a promise and a
    // turn for every request.
    try {
      const told = held !== undefined && exchange.head.framing === "chunked"
        ? { ...variables, contentLength: held.length }
        : variables;
      const content = held ?? exchange.body;
      const request = this.#request(exchange, content, told, params);
      try {
        asked = await this.#pool.request(request);
      } catch (error) {
        await answerFailure(exchange, error, this.#log);
      } finally {
        if (request.reading !== undefined) await readingSettled(request);
      }
    } finally {
      held?.close();
    }
    // It asks for something else than to be sent.
    if (asked !== undefined) await this.#answerAs(exchange, asked, site);
  }

  async #answerAs(
    exchange: Exchange,
    asked: CgiResponseHead,
    site: Handler,
  ): Promise<void> {
    try {
      if (asked.localRedirect === undefined) {
        return await this.#sender?.send(exchange, asked);
      }
      await redirectLocally(exchange, asked.localRedirect, site);
    } catch (error) {
      await answerFailure(exchange, error, this.#log);
    }
  }

  #request(
    exchange: Exchange,
    content: RequestBody,
    variables: MetaVariableOptions,
    params: ExtraParams,
  ): Request {
    if (!this.#packed) {
      return new Request(exchange, content, variables, params, this.#sender);
    }
    // Decoded it would end one variable and begin another. The gateway refuses
    // it; an exchange may have come another way.
    if (exchange.head.path.includes("%00")) {
      throw new HttpError(400, "NUL in the path");
    }
    return new PackedRequest(
      exchange,
      content,
      variables,
      params,
      this.#sender,
    );
  }
}

/** Nobody else may read the content before what the responder has left pending
 * has settled. The client need not wait for that. */
async function readingSettled(request: Request): Promise<void> {
  const { response } = request.exchange;
  try {
    if (response.started) await response.flush();
    await request.reading;
  } catch {
    // Whoever uses the connection next learns it.
  }
}

class Request implements ResponderRequest {
  readonly exchange: Exchange;
  readonly content: RequestBody;
  reading: Promise<unknown> | undefined = undefined;
  protected readonly variables: MetaVariableOptions;
  protected readonly extra: ExtraParams;
  readonly #sender: FileSender | undefined;

  constructor(
    exchange: Exchange,
    content: RequestBody,
    variables: MetaVariableOptions,
    params: ExtraParams,
    sender: FileSender | undefined,
  ) {
    this.exchange = exchange;
    this.content = content;
    this.variables = variables;
    this.extra = params;
    this.#sender = sender;
  }

  params(put: (name: string, value: string) => void): void {
    eachMetaVariable(this.exchange, this.variables, put);
    for (const [name, value] of this.extra) put(name, value);
  }

  accepts(head: CgiResponseHead): boolean {
    return head.localRedirect === undefined &&
      this.#sender?.isAskedBy(head) !== true;
  }
}

class PackedRequest extends Request {
  /** Names and values, each ended by NUL, which none of them can have. */
  override params(put: (name: string, value: string) => void): void {
    let packed = packedMetaVariables(this.exchange, this.variables);
    for (const [name, value] of this.extra) packed += `${name}\0${value}\0`;
    put("HEADGATE_ENVIRON", packed);
  }
}
