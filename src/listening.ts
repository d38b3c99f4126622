/** The listeners of a gateway, and how they are closed so that nobody who has
 * connected goes without an answer. */
import type { Gateway } from "./gateway.ts";
import type {
  Address,
  ByteStream,
  Listener,
  ListenOptions,
  Transport,
} from "./stream.ts";

/** Accepts for a gateway. */
export class Listening {
  readonly #transport: Transport;
  readonly #gateway: Gateway;
  readonly #listeners: Listener[] = [];
  /** Accepted while the listeners close; undefined before that. */
  #held: ByteStream[] | undefined;

  constructor(transport: Transport, gateway: Gateway) {
    this.#transport = transport;
    this.#gateway = gateway;
  }

  /** Where it listens, in the order of `open()`. */
  get addresses(): readonly Address[] {
    return this.#listeners.map((listener) => listener.address);
  }

  /** Listens there too. Rejects as the transport does. */
  async open(options: ListenOptions): Promise<void> {
    this.#listeners.push(
      await this.#transport.listen(options, (stream) => this.#accept(stream)),
    );
  }

  /** Accepts what the kernel has queued, and closes. Meanwhile those who are
   * accepted wait: answered at once, they would come again and keep the queue
   * full. Idempotent. */
  async close(): Promise<void> {
    const held = this.#held ??= [];
    await Promise.all(this.#listeners.map((listener) => listener.close()));
    for (const stream of held.splice(0)) this.#gateway.accept(stream);
  }

  #accept(stream: ByteStream): void {
    if (this.#held === undefined) this.#gateway.accept(stream);
    else this.#held.push(stream);
  }
}
