/**
 * WSGI applications in TypeScript: PEP 3333 over an exchange.
 *
 * The head goes out with the first block that is not empty, at `write()`, or
 * when the body is exhausted, so that `startResponse` may be called as late as
 * in the first step of a generator. The blocks of an array are at hand and
 * leave together; any other iterable is asked for a block only after the one
 * before has been flushed, because nobody knows how long it will take.
 *
 * For HEAD, 204 and 304 the body is asked for no more than it takes to learn
 * the status, and is closed.
 */
import { createEnviron, type EnvironOptions, mountPoint } from "../environ.ts";
import { ApplicationError } from "../errors.ts";
import { LogErrorStream } from "../error_stream.ts";
import type { Exchange, Handler } from "../exchange.ts";
import type { ContentInput } from "../input.ts";
import { type Logger, traceOf } from "../logger.ts";
import { version } from "../version.ts";
import type {
  Application,
  ResponseBody,
  ResponseHeaders,
  StartResponse,
  Write,
} from "../wsgi.ts";
import {
  checkBlock,
  checkBody,
  checkHeaders,
  describe,
  parseStatus,
  type Status,
} from "./contract.ts";
import { FileWrapper } from "./file_wrapper.ts";

/** How an application is served. */
export interface WsgiOptions {
  /** Where `wsgi.errors` goes, and what `close()` throws; default `console`. */
  readonly log?: Logger;
  /** The path at which the application is mounted; default "", the root. Where
   * a request's path begins with it, it is taken off PATH_INFO. */
  readonly scriptName?: string;
  /** `wsgi.multithread`; default false. */
  readonly multithread?: boolean;
  /** `wsgi.multiprocess`; default false. */
  readonly multiprocess?: boolean;
  /** Whether HEAD asks a body for its first block, as GET does, so that what
   * fails there is seen; default false, as nobody wants the block. */
  readonly firstBlockForHead?: boolean;
  /** `SERVER_SOFTWARE`; default "headgate/" and the version. */
  readonly software?: string;
}

/** Makes a handler of a WSGI application. What the application throws, and
 * `ApplicationError` where it breaks PEP 3333, comes out of the handler once
 * the body is closed; so it does when the body is longer than Content-Length
 * says, although the response is then whole without the surplus. */
export function wsgi(app: Application, options: WsgiOptions = {}): Handler {
  if (typeof app !== "function") {
    throw new TypeError(
      `A WSGI application is a function of (environ, startResponse), not ${
        describe(app)
      }`,
    );
  }
  const environOptions: EnvironOptions = {
    errors: new LogErrorStream(options.log ?? console),
    scriptName: mountPoint(options.scriptName ?? ""),
    multithread: options.multithread ?? false,
    multiprocess: options.multiprocess ?? false,
    software: options.software ?? `headgate/${version}`,
    fileWrapper: FileWrapper,
  };
  const { firstBlockForHead = false } = options;
  return (exchange) =>
    new Invocation(exchange, environOptions, firstBlockForHead).run(app);
}

/** What `response` returns: a promise only where there is something to wait for. */
type Pending = void | Promise<void>;

const noHeaders: ResponseHeaders = [];
const settled: Promise<void> = Promise.resolve();

/** One call of an application, from the environ to `close()`. */
class Invocation {
  readonly #exchange: Exchange;
  readonly #options: EnvironOptions;
  readonly #firstBlockForHead: boolean;
  #status: Status | undefined = undefined;
  #headers: ResponseHeaders = noHeaders;
  /** Content-Length as the application gave it; -1 when it did not. */
  #declared = -1;
  /** Content bytes handed on. */
  #sent = 0;
  /** Whether content was dropped because it exceeds `#declared`. */
  #surplus = false;
  /** Whether the head is on its way, so that it cannot be replaced. */
  #committed = false;
  #ended = false;
  /** The last `write()`, while it waits for the peer. */
  #writing: Promise<void> | undefined = undefined;
  #body: ResponseBody | undefined = undefined;
  /** Where the body is suspended: what must be told when it is left there. */
  #iterator: Iterator<unknown> | AsyncIterator<unknown> | undefined = undefined;

  constructor(
    exchange: Exchange,
    options: EnvironOptions,
    firstBlockForHead: boolean,
  ) {
    this.#exchange = exchange;
    this.#options = options;
    this.#firstBlockForHead = firstBlockForHead;
  }

  run(app: Application): Pending {
    const environ = createEnviron(this.#exchange, this.#options);
    // Middleware may put another stream into the environ.
    const input = environ["wsgi.input"] as ContentInput;
    const startResponse: StartResponse = (status, headers, excInfo) =>
      this.#startResponse(status, headers, excInfo);
    let pending: Pending;
    try {
      const result = app(environ, startResponse);
      pending = isThenable(result)
        ? this.#respondLater(result)
        : this.#respond(result);
    } catch (error) {
      // At once, if nothing must be waited for: what was not sent yet can then
      // be taken back, and the peer sees a 500.
      const closing = this.#close(input);
      if (closing === undefined) throw error;
      return closing.then(() => {
        throw error;
      });
    }
    return pending === undefined
      ? this.#close(input)
      : this.#settle(pending, input);
  }

  async #settle(pending: Promise<void>, input: ContentInput): Promise<void> {
    try {
      await pending;
    } finally {
      await this.#close(input);
    }
  }

  #startResponse(
    status: string,
    headers: ResponseHeaders,
    excInfo: unknown,
  ): Write {
    if (this.#ended) {
      throw new ApplicationError("startResponse was called after the response");
    }
    if (this.#status !== undefined) {
      if (excInfo === undefined || excInfo === null) {
        throw new ApplicationError(
          "startResponse was called again without excInfo",
        );
      }
      if (this.#committed) throw excInfo;
    }
    const parsed = parseStatus(status);
    this.#declared = checkHeaders(headers);
    this.#headers = headers;
    this.#status = parsed;
    return (content) => this.#write(content);
  }

  async #respondLater(result: PromiseLike<ResponseBody>): Promise<void> {
    await this.#respond(await result);
  }

  #respond(result: unknown): Pending {
    const body = checkBody(result);
    this.#body = body;
    // What was written goes first.
    if (this.#writing !== undefined) {
      return this.#writing.then(() => this.#sendBody(body));
    }
    return this.#sendBody(body);
  }

  #sendBody(body: ResponseBody): Pending {
    if (Array.isArray(body)) return this.#sendArray(body);
    if (body instanceof FileWrapper && this.#declared >= 0) {
      body.stopAfter(this.#declared - this.#sent);
    }
    return this.#sendBlocks(body);
  }

  #sendArray(blocks: readonly Uint8Array[]): Pending {
    let size = 0;
    for (let i = 0; i < blocks.length; i++) {
      size += checkBlock(blocks[i]).length;
    }
    if (!this.#committed) this.#commit(size);
    if (!this.#headIsAll()) {
      for (let i = 0; i < blocks.length; i++) {
        const pending = this.#put(blocks[i]!);
        if (pending instanceof Promise) {
          return this.#sendRest(pending, blocks, i);
        }
      }
    }
    return this.#end();
  }

  /** Goes on behind block `last`, once the peer has drained what came before. */
  async #sendRest(
    pending: Promise<void>,
    blocks: readonly Uint8Array[],
    last: number,
  ): Promise<void> {
    await pending;
    for (let i = last + 1; i < blocks.length; i++) {
      await this.#put(checkBlock(blocks[i]));
    }
    await this.#end();
  }

  async #sendBlocks(body: ResponseBody): Promise<void> {
    const { response } = this.#exchange;
    const asynchronous = Symbol.asyncIterator in body;
    const iterator = asynchronous
      ? body[Symbol.asyncIterator]()
      : body[Symbol.iterator]();
    this.#iterator = iterator;
    const asks = this.#firstBlockForHead &&
      this.#exchange.head.method === "HEAD";
    while ((asks || !this.#headIsAll()) && !this.#surplus) {
      // What has failed or ended is not told to return.
      this.#iterator = undefined;
      const step = asynchronous
        ? await iterator.next()
        : iterator.next() as IteratorResult<Uint8Array>;
      if (step.done) break;
      this.#iterator = iterator;
      const block = checkBlock(step.value);
      if (this.#writing !== undefined) await this.#writing;
      if (block.length === 0) continue;
      if (!this.#committed) this.#commit();
      if (this.#headIsAll()) break;
      const pending = this.#put(block);
      if (pending instanceof Promise) await pending;
      // Never wait for an application while holding output.
      const flushing = response.flush();
      if (flushing instanceof Promise) await flushing;
    }
    if (this.#writing !== undefined) await this.#writing;
    if (!this.#committed) this.#commit();
    await this.#end();
  }

  /** Whether the status is known and the response has no content. */
  #headIsAll(): boolean {
    if (this.#status === undefined) return false;
    const { code } = this.#status;
    return code === 204 || code === 304 ||
      this.#exchange.head.method === "HEAD";
  }

  /** Hands on the head. `size` is what the body holds, where that is known. */
  #commit(size?: number): void {
    const status = this.#status;
    if (status === undefined) {
      throw new ApplicationError(
        "The application gave its body without calling startResponse",
      );
    }
    const { response } = this.#exchange;
    const { code, reason } = status;
    if (
      size === undefined || this.#declared >= 0 ||
      (this.#headIsAll() && size === 0)
    ) {
      response.start(code, reason, this.#headers);
    } else {
      response.start(code, reason, this.#headers, size);
    }
    this.#committed = true;
  }

  /** Hands on a block, or what Content-Length leaves of it. */
  #put(block: Uint8Array): Pending {
    if (this.#declared >= 0 && block.length > this.#declared - this.#sent) {
      this.#surplus = true;
      block = block.subarray(0, this.#declared - this.#sent);
    }
    if (block.length === 0) return;
    this.#sent += block.length;
    return this.#exchange.response.write(block);
  }

  #end(): Pending {
    this.#ended = true;
    const pending = this.#exchange.response.end();
    if (!this.#surplus) return pending;
    return Promise.resolve(pending).then(() => {
      throw this.#tooLong();
    });
  }

  #tooLong(): ApplicationError {
    return new ApplicationError(
      `The body is longer than its Content-Length, ${this.#declared}`,
    );
  }

  /** The `write()` of PEP 3333. */
  #write(content: Uint8Array): Promise<void> {
    checkBlock(content);
    if (this.#ended) {
      throw new ApplicationError("write() was called after the response");
    }
    if (this.#surplus) throw this.#tooLong();
    const writing = this.#writing === undefined
      ? this.#writeNow(content)
      : this.#writing.then(() => this.#writeNow(content));
    if (!(writing instanceof Promise)) return settled;
    this.#writing = writing;
    // A failure stays, so that it fails the response although nobody waits here.
    writing.then(() => {
      if (this.#writing === writing) this.#writing = undefined;
    }, () => {});
    return writing;
  }

  #writeNow(content: Uint8Array): Pending {
    if (!this.#committed) this.#commit();
    const { response } = this.#exchange;
    const pending = this.#put(content);
    return pending instanceof Promise
      ? pending.then(() => response.flush())
      : response.flush();
  }

  /** Lets go of what the exchange lent and of what the application holds. */
  #close(input: ContentInput): Pending {
    this.#ended = true;
    this.#options.errors.flush();
    const arrival = input.detach();
    if (
      arrival === undefined && this.#iterator === undefined &&
      this.#body?.close === undefined
    ) return;
    return this.#closeBody(arrival);
  }

  async #closeBody(arrival: Promise<unknown> | undefined): Promise<void> {
    await this.#flushBeforeClosing();
    const iterator = this.#iterator;
    const body = this.#body;
    if (iterator?.return) await this.#attempt(() => iterator.return?.());
    if (body?.close) await this.#attempt(() => body.close?.());
    // Nobody else may read the request content before this has settled.
    await arrival?.catch(() => {});
  }

  /** The peer need not wait for what `close()` may wait for. */
  async #flushBeforeClosing(): Promise<void> {
    if (!this.#committed) return;
    try {
      await this.#exchange.response.flush();
    } catch {
      // The connection has failed; whoever uses it next learns that.
    }
  }

  /** What fails here comes too late to change a good response: it is logged. */
  async #attempt(close: () => unknown): Promise<void> {
    try {
      await close();
    } catch (error) {
      this.#options.errors.write(
        `Closing the body failed: ${traceOf(error)}\n`,
      );
    }
  }
}

function isThenable(value: unknown): value is PromiseLike<ResponseBody> {
  return value instanceof Promise ||
    (typeof value === "object" && value !== null && "then" in value &&
      typeof value.then === "function");
}
