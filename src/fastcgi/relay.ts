/**
 * The way of a response's content to a client that may be slower than the
 * responder. What the client does not take at once is copied and held, so that
 * the responder is free for others, up to a limit; beyond it the responder
 * waits.
 */
import type { ResponseWriter } from "../exchange.ts";
import type { MaybePromise } from "../stream.ts";

/** Content up to this size is handed on where it lies: the gateway copies it
 * behind the head. Larger content could be lent for as long as the client takes
 * to drain, while the responder's next bytes would have to wait. */
const IN_PLACE = 32_768;

/** Passes content on, in order. */
export class Relay {
  readonly #response: ResponseWriter;
  readonly #limit: number;
  readonly #failed: (error: unknown) => void;
  readonly #held: Uint8Array[] = [];
  #heldSize = 0;
  /** The client has not taken what it was given last. */
  #busy = false;
  #slow = false;
  #ended: (() => void) | undefined;
  #waiting: Promise<void> | undefined;
  #room: (() => void) | undefined;
  #closed = false;

  /** Holds at most `limit` bytes, and one chunk of the responder's. `failed` is
   * told, once, what a write to the client throws. */
  constructor(
    response: ResponseWriter,
    limit: number,
    failed: (error: unknown) => void,
  ) {
    this.#response = response;
    this.#limit = limit;
    this.#failed = failed;
  }

  /** Whether the responder waits for the client. */
  get full(): boolean {
    return this.#room !== undefined;
  }

  /** Passes `content` on, which is lent until the call settles. */
  pass(content: Uint8Array): MaybePromise<void> {
    if (this.#closed) return;
    if (this.#busy || this.#slow || content.length > IN_PLACE) {
      this.#held.push(content.slice());
      this.#heldSize += content.length;
      if (!this.#busy) this.#pump();
      return;
    }
    const pending = this.#attempt(() => this.#response.write(content));
    if (pending === undefined) return;
    this.#slow = true;
    this.#follow(pending);
    return this.#waitForRoom();
  }

  /** Sends what the gateway has buffered, before the responder is waited for.
   * Returns a promise when too much is held for its next bytes to be read. */
  flush(): MaybePromise<void> {
    if (!this.#busy && !this.#closed) {
      const pending = this.#attempt(() => this.#response.flush());
      if (pending !== undefined) this.#follow(pending);
    }
    if (this.#heldSize < this.#limit || this.#closed) return;
    return this.#waitForRoom();
  }

  /** Ends the response once all is passed on, and then calls `done`. */
  end(done: () => void): void {
    this.#ended = done;
    if (!this.#busy) this.#pump();
  }

  /** Passes nothing on any more. */
  close(): void {
    this.#closed = true;
    this.#held.length = this.#heldSize = 0;
    this.#makeRoom();
  }

  #pump(): void {
    while (this.#held.length > 0) {
      const block = this.#held.shift()!;
      const pending = this.#attempt(() => this.#response.write(block));
      if (this.#closed) return;
      if (pending !== undefined) {
        return this.#follow(
          pending.then(() => void (this.#heldSize -= block.length)),
        );
      }
      this.#heldSize -= block.length;
    }
    if (this.#ended === undefined || this.#closed) return;
    const pending = this.#attempt(() => this.#response.end());
    if (this.#closed) return;
    if (pending === undefined) this.#ended();
    else pending.then(this.#ended, (error) => this.#fail(error));
  }

  /** Goes on when the client has taken what it was given. */
  #follow(pending: Promise<void>): void {
    this.#busy = true;
    pending.then(() => this.#goOn(), (error) => this.#fail(error));
  }

  #goOn(): void {
    this.#busy = false;
    if (this.#closed) return;
    this.#pump();
    if (this.#closed) return;
    if (!this.#busy && this.#ended === undefined) {
      const pending = this.#attempt(() => this.#response.flush());
      if (pending !== undefined) this.#follow(pending);
    }
    if (this.#heldSize < this.#limit) this.#makeRoom();
  }

  #waitForRoom(): Promise<void> {
    return this.#waiting ??= new Promise((resolve) => this.#room = resolve);
  }

  #makeRoom(): void {
    const room = this.#room;
    this.#room = this.#waiting = undefined;
    room?.();
  }

  #attempt(call: () => MaybePromise<void>): Promise<void> | undefined {
    try {
      const pending = call();
      return pending instanceof Promise ? pending : undefined;
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  #fail(error: unknown): void {
    if (this.#closed) return;
    this.close();
    this.#failed(error);
  }
}
