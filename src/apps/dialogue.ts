/** One request to somebody who answers as a CGI program does (RFC 3875 §6), be
 * it a program or a server: the content of the request goes in while the
 * response comes out, each no faster than the other end takes it. */
import { ApplicationError, BackendError, StreamError } from "../errors.ts";
import type { Exchange, ResponseWriter } from "../exchange.ts";
import {
  type CgiResponseHead,
  CgiResponseParser,
} from "../http/cgi_response.ts";
import type { MaybePromise } from "../stream.ts";
import type { HeldContent } from "./held_content.ts";
import { Patience } from "./patience.ts";

/** Who answers, on behalf of one request. */
export interface Responder {
  /** What it is, as a sentence begins: "A CGI program". */
  readonly kind: string;
  /** Which one it is, for the log. */
  readonly name: string;
  /** Takes a piece of the content, which is lent until the call settles. Rejects
   * when it takes no more, which is no failure. */
  write(piece: Uint8Array): MaybePromise<void>;
  /** That was all of the content, or all of it that there will be. */
  closeInput(): void;
  /** The next piece of what it says, null at the end. Lent until the next call.
   * Rejects with `BackendError`. */
  read(): MaybePromise<Uint8Array | null>;
  /** Nobody will read any more. */
  closeOutput(): void;
  /** Asked once it has said all, where no length tells that this is so. Rejects
   * with `BackendError` where it is not. */
  checkWhole(): MaybePromise<void>;
  /** Makes it end, and both its streams: called once, if at all; `late` when it
   * has been served already. */
  end(late: boolean): void;
}

/** A request and its response on their ways. */
export class Dialogue {
  readonly #responder: Responder;
  readonly #patience: Patience;
  /** Why it was made to end. */
  #reason: Error | undefined;
  #served = false;
  #sending: Promise<void> = Promise.resolve();

  /** The responder may keep its client waiting for so many seconds. */
  constructor(responder: Responder, seconds: number) {
    this.#responder = responder;
    this.#patience = new Patience(
      seconds,
      () => this.#end(this.#failure("is too slow", 504)),
    );
  }

  /** Hands over the request and its response, once. Resolves with the target of
   * a local redirect, which is to be answered then, or with nothing once the
   * response has ended. Rejects where it cannot be whole. */
  async serve(
    exchange: Exchange,
    content: HeldContent,
  ): Promise<string | undefined> {
    const { signal } = exchange;
    const leave = () => this.#end(new StreamError("The client has left"));
    signal.addEventListener("abort", leave);
    if (signal.aborted) leave();
    this.#sending = this.#send(content);
    try {
      return await this.#receive(exchange.response);
    } catch (error) {
      this.#end(this.#reasonOf(error));
      throw this.#reason; // what came first
    } finally {
      this.#served = true;
      signal.removeEventListener("abort", leave);
      this.#responder.closeOutput();
    }
  }

  /** Resolves when nothing reads the content of the request any more, nor uses
   * what was read: not before then is the exchange over. */
  get sent(): Promise<void> {
    return this.#sending;
  }

  /** The responder may do from now on as it likes. */
  stop(): void {
    this.#patience.stop();
  }

  // ---- The request ----

  /** Never rejects: what the client did wrong ends the responder. */
  async #send(content: HeldContent): Promise<void> {
    const responder = this.#responder;
    while (!this.#served) {
      let piece: Uint8Array | null;
      try {
        const pending = content.read();
        piece = pending instanceof Promise && !content.whole
          ? await this.#patience.excuse(pending)
          : await pending;
      } catch (error) {
        // Content that is missed after the response is missed by nobody.
        if (!this.#served) this.#end(error as Error);
        break;
      }
      if (piece === null) break;
      try {
        const pending = responder.write(piece);
        if (pending !== undefined) await pending;
      } catch {
        break; // it has read as much as it wanted
      }
      this.#patience.progress();
    }
    responder.closeInput();
  }

  // ---- The response ----

  async #receive(response: ResponseWriter): Promise<string | undefined> {
    const { head, rest } = await this.#readHead();
    if (head.localRedirect !== undefined) return head.localRedirect;
    response.start(head.status, head.reason, head.fields);
    // Once all that was promised is here, its client need not wait for the end
    // of whoever gave it.
    let missing = (head.contentLength ?? Infinity) - rest.length;
    await this.#pass(response, rest);
    while (missing > 0) {
      const piece = await this.#read();
      if (piece === null) break;
      missing -= piece.length;
      await this.#pass(response, piece);
    }
    if (head.contentLength === undefined) {
      await this.#responder.checkWhole();
      // Whoever is made to end does not end as meant.
      if (this.#reason !== undefined) throw this.#reason;
    }
    await response.end();
    await response.flush();
  }

  async #readHead(): Promise<{ head: CgiResponseHead; rest: Uint8Array }> {
    const parser = new CgiResponseParser();
    for (let begun = false;; begun = true) {
      const piece = await this.#read();
      if (piece === null) {
        throw this.#reason ?? this.#failure(
          begun
            ? "ended within the head of its response"
            : "ended without a response",
        );
      }
      const head = parser.push(piece);
      if (head !== undefined) {
        return { head, rest: piece.subarray(parser.contentStart) };
      }
    }
  }

  async #read(): Promise<Uint8Array | null> {
    const pending = this.#responder.read();
    const piece = pending instanceof Promise ? await pending : pending;
    this.#patience.progress();
    return piece;
  }

  /** Sends a piece on before the next one is waited for. */
  async #pass(response: ResponseWriter, piece: Uint8Array): Promise<void> {
    const pending = response.write(piece);
    if (pending !== undefined) await this.#patience.excuse(pending);
    const flushed = response.flush();
    if (flushed !== undefined) await this.#patience.excuse(flushed);
  }

  // ---- The end ----

  #end(reason: Error): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#responder.end(this.#served);
  }

  #failure(what: string, status: 502 | 504 = 502, cause?: Error): BackendError {
    const { kind, name } = this.#responder;
    return new BackendError(status, `${kind} ${what}`, name, { cause });
  }

  /** What HTTP does not allow is the responder's fault, as the response is its. */
  #reasonOf(error: unknown): Error {
    if (error instanceof ApplicationError) {
      return this.#failure("gave a response that is none", 502, error);
    }
    return error instanceof Error ? error : new Error(String(error));
  }
}
