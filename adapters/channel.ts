/** Messages between processes, over the IPC channel of `node:child_process`,
 * whose two ends look alike: the child's object here, `process` there. */
import type { Channel } from "../src/daemon/host.ts";

/** The part of `process` and of a child that makes an end of a channel. */
export interface IpcEnd {
  /** False once either end has closed it. */
  readonly connected?: boolean | undefined;
  /** Sends; `done` is called once it has left, or cannot. */
  send?(message: unknown, done: (error: Error | null) => void): boolean;
  /** Closes the channel. */
  disconnect?(): void;
  /** Something has come. */
  on(event: "message", listener: (message: unknown) => void): unknown;
  /** The channel is closed. */
  on(event: "disconnect", listener: () => void): unknown;
  /** Ends that. */
  off(event: "message", listener: (message: unknown) => void): unknown;
  /** Ends that. */
  off(event: "disconnect", listener: () => void): unknown;
}

/** One end of an IPC channel. It listens from the beginning, since Bun drops a
 * message that nobody listens for. */
export class IpcChannel implements Channel {
  readonly #end: IpcEnd;
  /** What came before `receive()`. */
  #early: unknown[] = [];
  #onMessage: ((message: unknown) => void) | undefined;
  #onClose: (() => void) | undefined;
  /** Neither end has closed it. */
  #open: boolean;
  /** We have closed it. */
  #closed = false;
  /** How many messages are on their way out. */
  #leaving = 0;
  #waiting: (() => void)[] = [];
  readonly #ended: Promise<void>;
  #markEnded!: () => void;

  constructor(end: IpcEnd) {
    this.#end = end;
    this.#open = end.connected === true;
    this.#ended = new Promise((resolve) => this.#markEnded = resolve);
    if (this.#open) {
      end.on("message", this.#take);
      end.on("disconnect", this.lost);
    } else {
      this.#markEnded();
    }
  }

  get open(): boolean {
    return this.#open && this.#end.connected === true;
  }

  /** Resolves once nothing comes any more. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  send(message: unknown): void {
    if (!this.open) return;
    this.#leaving++;
    let counted = true;
    const left = () => {
      if (counted) this.#left();
      counted = false;
    };
    try {
      this.#end.send?.(message, left);
    } catch {
      left(); // the channel has closed this very moment
    }
  }

  flushed(): Promise<void> {
    if (this.#leaving === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  receive(onMessage: (message: unknown) => void, onClose: () => void): void {
    this.#onMessage = onMessage;
    this.#onClose = onClose;
    for (const message of this.#early.splice(0)) {
      if (!this.#closed) onMessage(message);
    }
    if (!this.#open && !this.#closed) onClose();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const wasOpen = this.open;
    this.#open = false;
    if (!wasOpen) return this.#settle();
    // Deno would drop what is on its way.
    void this.flushed().then(() => {
      if (this.#end.connected === true) this.#end.disconnect?.();
      this.#settle();
    });
  }

  /** The other end has closed, or never was. */
  readonly lost = (): void => {
    const wasOpen = this.#open;
    this.#open = false;
    this.#settle();
    if (wasOpen) this.#onClose?.();
  };

  readonly #take = (message: unknown): void => {
    if (this.#closed) return;
    if (this.#onMessage === undefined) this.#early.push(message);
    else this.#onMessage(message);
  };

  #left(): void {
    this.#leaving--;
    if (this.#leaving === 0) this.#wake();
  }

  /** Nothing comes and nothing leaves any more. A listener would keep the
   * process alive. */
  #settle(): void {
    this.#end.off("message", this.#take);
    this.#end.off("disconnect", this.lost);
    this.#wake();
    this.#markEnded();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
