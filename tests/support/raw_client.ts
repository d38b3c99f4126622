/** A client that sends bytes and sees bytes, over `node:net`, which works alike
 * on the three runtimes. */
import { connect, type Socket } from "node:net";
import type { Address } from "../../src/stream.ts";
import { concat, latin1, octets } from "./octets.ts";
import { Watch } from "./watch.ts";

/** One connection as its peer sees it. */
export class RawClient {
  /** True once the server has ended its direction. */
  ended = false;
  /** True once both directions are gone. */
  closed = false;
  /** What broke the connection, a reset for instance. */
  error: Error | undefined;

  readonly #socket: Socket;
  readonly #received: Uint8Array[] = [];
  readonly #watch = new Watch();

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (data: Uint8Array) => {
      this.#received.push(new Uint8Array(data));
      this.#watch.changed();
    });
    socket.on("end", () => {
      this.ended = true;
      this.#watch.changed();
    });
    socket.on("error", (error: Error) => {
      this.error = error;
      this.#watch.changed();
    });
    socket.on("close", () => {
      this.ended = true;
      this.closed = true;
      this.#watch.changed();
    });
  }

  /** Connects to a listener's address: a port, or a path where it is 0. */
  static connect(address: Address): Promise<RawClient> {
    const target = address.port === 0
      ? { path: address.host }
      : { host: address.host, port: address.port };
    return new Promise((resolve, reject) => {
      const socket = connect({ ...target, allowHalfOpen: true });
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        resolve(new RawClient(socket));
      });
    });
  }

  /** Sends; resolves when the bytes have left this process, or never will. */
  send(bytes: Uint8Array | string): Promise<void> {
    const data = typeof bytes === "string" ? octets(bytes) : bytes;
    return new Promise((resolve) => {
      if (this.closed || this.#socket.destroyed) return resolve();
      // A server that has refused the request may be gone already; that shows
      // in what was received.
      this.#socket.once("close", resolve);
      this.#socket.write(data, () => {
        this.#socket.off("close", resolve);
        resolve();
      });
    });
  }

  /** Ends our direction (FIN); receiving goes on. */
  end(): void {
    this.#socket.end();
  }

  /** Stops and resumes receiving, so that the server meets backpressure. */
  pause(): void {
    this.#socket.pause();
  }

  /** Receives again after `pause()`. */
  resume(): void {
    this.#socket.resume();
  }

  /** Drops the connection and waits until it is gone. */
  async close(): Promise<void> {
    this.#socket.destroy();
    await this.until(() => this.closed, "our own end");
  }

  /** All that has arrived. */
  get received(): Uint8Array {
    return concat(this.#received);
  }

  /** The same, one character per octet. */
  get receivedText(): string {
    return latin1(this.received);
  }

  /** Settles as soon as `condition` holds; looks whenever something arrives or
   * ends. Rejects after 25 seconds. */
  until(condition: () => boolean, what = "the condition"): Promise<void> {
    return this.#watch.until(condition, what, () => this.#summary());
  }

  /** Settles when the server has ended its direction. */
  untilEnded(): Promise<void> {
    return this.until(() => this.ended, "the server's end");
  }

  #summary(): string {
    return `ended=${this.ended} closed=${this.closed} ` +
      `received=${JSON.stringify(this.receivedText.slice(-200))}`;
  }
}
