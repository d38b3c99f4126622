/**
 * Applications behind SCGI, over an exchange: a connection for each request, on
 * which the request goes as a netstring of its variables with the content behind
 * it, and the response comes as a CGI program's (RFC 3875 §6).
 *
 * ```ts ignore
 * const host = await processHost.backends();
 * serveHandler(transport, scgi(() => host.connect({ port: 4000 }), { host }));
 * ```
 *
 * @module
 */
import type { BackendHost } from "../backend_host.ts";
import { mountPoint } from "../environ.ts";
import { BackendError, HttpError } from "../errors.ts";
import type { Exchange, Handler } from "../exchange.ts";
import { encodeOctets } from "../http/bytes.ts";
import type { Logger } from "../logger.ts";
import { eachMetaVariable } from "../meta_variables.ts";
import type { ByteStream, MaybePromise } from "../stream.ts";
import { version } from "../version.ts";
import { answer } from "./answers.ts";
import { answerFailure } from "./backend_failure.ts";
import { Dialogue, type Responder } from "./dialogue.ts";
import {
  type HeldContent,
  holdContent,
  type HoldMode,
} from "./held_content.ts";
import { redirectLocally } from "./local_redirect.ts";
import { Turns } from "./turns.ts";

/** How an application behind SCGI is served. */
export interface ScgiOptions {
  /** Where content goes that is too much for memory. */
  readonly host: Pick<BackendHost, "openSpool">;
  /** What the server is called in messages; default "the server". */
  readonly name?: string;
  /** The path at which the application is mounted; default "", the root. */
  readonly scriptName?: string;
  /** `SERVER_SOFTWARE`; default "headgate/" and the version. */
  readonly software?: string;
  /** Further variables of every request; each character is one octet. */
  readonly params?: readonly (readonly [name: string, value: string])[];
  /** How many connections there are at a time; default 32. */
  readonly connections?: number;
  /** How many requests may wait for one of them; default 1024. More are answered
   * with 503. */
  readonly waiting?: number;
  /** How long each may wait; then 503. Default 30. */
  readonly queueSeconds?: number;
  /** How long the server may neither send nor take anything that is waited for;
   * then 504. Default 30. */
  readonly timeoutSeconds?: number;
  /** Which content is read before the server is asked; default "chunked". With
   * "off", chunked content is refused with 411. */
  readonly spool?: HoldMode;
  /** Who answers where the server sends its client on to a path of this site;
   * default the same server. */
  readonly site?: Handler;
  /** Where it is told what fails; default `console`. */
  readonly log?: Logger;
}

/** Makes a handler of a server, to which `connect` opens connections. */
export function scgi(
  connect: () => Promise<ByteStream>,
  options: ScgiOptions,
): Handler {
  const server = new Server(connect, options);
  const handler: Handler = (exchange) =>
    server.handle(exchange, options.site ?? handler);
  return handler;
}

class Server {
  readonly #connect: () => Promise<ByteStream>;
  readonly #options: ScgiOptions;
  readonly #name: string;
  readonly #scriptName: string;
  readonly #log: Logger;
  readonly #turns: Turns;

  constructor(connect: () => Promise<ByteStream>, options: ScgiOptions) {
    const { connections = 32, waiting = 1024, queueSeconds = 30 } = options;
    this.#connect = connect;
    this.#options = options;
    this.#name = options.name ?? "the server";
    this.#scriptName = mountPoint(options.scriptName ?? "");
    this.#log = options.log ?? console;
    this.#turns = new Turns({
      atOnce: connections,
      waiting,
      seconds: queueSeconds,
    });
  }

  /** `site` answers local redirects. */
  async handle(exchange: Exchange, site: Handler): Promise<void> {
    try {
      const location = await this.#serve(exchange);
      if (location !== undefined) {
        await redirectLocally(exchange, location, site);
      }
    } catch (error) {
      await answerFailure(exchange, error, this.#log);
    }
  }

  async #serve(exchange: Exchange): Promise<string | undefined> {
    const { host, spool = "chunked" } = this.#options;
    const pending = holdContent(exchange, { host, spool });
    const content = pending instanceof Promise ? await pending : pending;
    try {
      if (content.length !== undefined) {
        return await this.#ask(exchange, content, content.length);
      }
      await answer(exchange.response, 411);
    } finally {
      content.close();
    }
  }

  /** Resolves with the target of a local redirect. */
  async #ask(
    exchange: Exchange,
    content: HeldContent,
    length: number,
  ): Promise<string | undefined> {
    const turn = this.#turns.take(exchange.signal);
    if (turn !== undefined) await turn;
    try {
      const head = this.#requestHead(exchange, length);
      const peer = new ScgiPeer(this.#name, await this.#open());
      peer.send(head);
      const { timeoutSeconds = 30 } = this.#options;
      const dialogue = new Dialogue(peer, timeoutSeconds);
      try {
        return await dialogue.serve(exchange, content);
      } catch (error) {
        await answerFailure(exchange, error, this.#log);
        await exchange.response.flush();
      } finally {
        await dialogue.sent;
        dialogue.stop();
      }
    } finally {
      this.#turns.give();
    }
  }

  async #open(): Promise<ByteStream> {
    try {
      return await this.#connect();
    } catch (cause) {
      const { code = "" } = cause as { code?: string };
      const status = busy.includes(code) ? 503 : 502;
      throw new BackendError(
        status,
        "An SCGI server cannot be reached",
        this.#name,
        { cause },
      );
    }
  }

  /** The variables as a netstring, CONTENT_LENGTH first. */
  #requestHead(exchange: Exchange, length: number): Uint8Array {
    let pairs = `CONTENT_LENGTH\0${length}\0SCGI\x001\0`;
    const put = (name: string, value: string) => {
      // It would end the value, and begin another variable.
      if (value.includes("\0")) throw new HttpError(400, "NUL in the path");
      pairs += `${name}\0${value}\0`;
    };
    eachMetaVariable(exchange, {
      scriptName: this.#scriptName,
      software: this.#options.software ?? `headgate/${version}`,
      contentLength: length,
    }, (name, value) => {
      if (name !== "CONTENT_LENGTH") put(name, value);
    });
    for (const [name, value] of this.#options.params ?? []) put(name, value);
    const text = `${pairs.length}:${pairs},`;
    const head = new Uint8Array(text.length);
    encodeOctets(text, head, 0);
    return head;
  }
}

/** The server's queue is full, or this machine has no descriptor left. */
const busy = ["EAGAIN", "EMFILE", "ENFILE"];

/** A connection to the server. */
class ScgiPeer implements Responder {
  readonly kind: string = "An SCGI server";
  readonly name: string;
  readonly #stream: ByteStream;
  #closed = false;

  constructor(name: string, stream: ByteStream) {
    this.name = name;
    this.#stream = stream;
  }

  /** Sends the head, which the content may follow at once. */
  send(head: Uint8Array): void {
    try {
      // Whoever reads the answer learns that the server has gone.
      this.#stream.write(head)?.catch(() => {});
    } catch {
      return;
    }
  }

  write(piece: Uint8Array): MaybePromise<void> {
    return this.#stream.write(piece);
  }

  /** The length has told it; an end of our direction might pass for a client
   * that leaves. */
  closeInput(): void {}

  async read(): Promise<Uint8Array | null> {
    try {
      return await this.#stream.read();
    } catch (cause) {
      throw new BackendError(
        502,
        "An SCGI server broke the connection",
        this.name,
        { cause },
      );
    }
  }

  closeOutput(): void {
    if (!this.#closed) this.#stream.close();
    this.#closed = true;
  }

  /** A server that fails breaks the connection, as far as anybody can tell. */
  checkWhole(): void {}

  end(): void {
    this.closeOutput();
  }
}
