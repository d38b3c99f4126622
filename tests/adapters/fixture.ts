/** A transport with real sockets, for the conformance suite: a listener whose
 * accepted streams can be awaited, and peers over `node:net`, which works alike
 * on the three runtimes. */
import { connect as netConnect, type Socket } from "node:net";
import { test } from "node:test";
import { bunTransport } from "../../adapters/bun.ts";
import { denoTransport } from "../../adapters/deno.ts";
import { denoListenTransport } from "../../adapters/deno_listen.ts";
import { nodeTransport } from "../../adapters/node.ts";
import type {
  Address,
  ByteStream,
  Listener,
  ListenOptions,
  Transport,
} from "../../src/stream.ts";

/** "deno", "bun" or "node". */
export const runtime: string = "Deno" in globalThis
  ? "deno"
  : "Bun" in globalThis
  ? "bun"
  : "node";

/** The transports that have to conform on this runtime. */
export const transports: readonly Transport[] = {
  deno: [
    denoTransport,
    { ...denoListenTransport, name: "Deno.listen" },
    nodeTransport,
  ],
  bun: [bunTransport, nodeTransport],
  node: [nodeTransport],
}[runtime]!;

/** A test of each transport. What it opens through `Bench` is closed for it. */
export function conform(
  rule: string,
  body: (bench: Bench, transport: Transport) => Promise<void>,
): void {
  for (const transport of transports) {
    test(`${transport.name} transport: ${rule}`, async () => {
      const bench = new Bench(transport);
      try {
        await body(bench, transport);
      } finally {
        await bench.close();
      }
    });
  }
}

/** Settles as soon as `condition` holds; rejects after 25 seconds. */
export async function until(
  condition: () => boolean,
  what: string,
): Promise<void> {
  const deadline = Date.now() + 25_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`Waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Bytes in which a lost, doubled or moved piece shows. */
export function pattern(length: number, from = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = patternAt(from + i);
  return bytes;
}

/** Where `bytes` first differs from the pattern, or -1. */
export function mismatch(bytes: Uint8Array, from = 0): number {
  return bytes.findIndex((byte, i) => byte !== patternAt(from + i));
}

// 251 is prime, so that no buffer size is a multiple of the period; the second
// term tells one period from the next.
function patternAt(i: number): number {
  return (i % 251) ^ ((i / 65_521) & 0xff);
}

/** Reads `length` bytes, or fewer if the stream ends; copies them. */
export async function readBytes(
  stream: ByteStream,
  length: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  while (filled < length) {
    const view = await stream.read();
    if (view === null) return bytes.subarray(0, filled);
    bytes.set(view, filled);
    filled += view.length;
  }
  return bytes;
}

/** Sends back what arrives, then ends. */
export async function echo(stream: ByteStream): Promise<void> {
  for (;;) {
    const view = await stream.read();
    if (view === null) break;
    await stream.write(view);
  }
  stream.closeWrite();
}

/** Opens listeners and peers, and closes them all. */
export class Bench {
  readonly #transport: Transport;
  readonly #accepted: ByteStream[] = [];
  readonly #streams: ByteStream[] = [];
  readonly #listeners: Listener[] = [];
  readonly #peers: Peer[] = [];

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Listens; what is accepted goes to `accept`, or waits for `accepted()`. */
  async listen(
    options: ListenOptions = { port: 0 },
    accept?: (stream: ByteStream) => void,
  ): Promise<Listener> {
    const listener = await this.#transport.listen(options, (stream) => {
      this.#streams.push(stream);
      if (accept === undefined) this.#accepted.push(stream);
      else accept(stream);
    });
    this.#listeners.push(listener);
    return listener;
  }

  /** The next accepted connection. */
  async accepted(): Promise<ByteStream> {
    await until(() => this.#accepted.length > 0, "a connection");
    return this.#accepted.shift()!;
  }

  /** Connects to a listener. */
  async connect(address: Address): Promise<Peer> {
    const peer = await Peer.connect(address);
    this.#peers.push(peer);
    return peer;
  }

  /** A connection, seen from both ends. */
  async pair(
    options: ListenOptions = { port: 0 },
  ): Promise<[ByteStream, Peer]> {
    const listener = await this.listen(options);
    const peer = await this.connect(listener.address);
    return [await this.accepted(), peer];
  }

  /** Closes everything that was opened. */
  async close(): Promise<void> {
    for (const peer of this.#peers) peer.destroy();
    for (const stream of this.#streams) stream.close();
    for (const listener of this.#listeners) await listener.close();
    await until(() => this.#peers.every((peer) => peer.closed), "the peers");
  }
}

/** The other end of a connection. */
export class Peer {
  /** True once the server has ended its direction, or the connection is gone. */
  ended = false;
  /** True once both directions are gone. */
  closed = false;
  /** The code of what broke the connection, ECONNRESET for instance. */
  errorCode: string | undefined;
  /** How many bytes have arrived. */
  count = 0;
  /** How many bytes of `send()` the system has taken. */
  sent = 0;

  readonly #socket: Socket;
  readonly #chunks: Uint8Array[] = [];

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Uint8Array) => {
      this.count += chunk.length;
      this.#chunks.push(chunk);
    });
    socket.on("end", () => this.ended = true);
    socket.on("error", (error: Error & { code?: string }) => {
      this.errorCode = error.code;
    });
    socket.on("close", () => this.ended = this.closed = true);
  }

  /** Connects to a port, or to a path where the port is 0. */
  static connect(address: Address): Promise<Peer> {
    const target = address.port === 0
      ? { path: address.host }
      : { host: address.host, port: address.port };
    return new Promise((resolve, reject) => {
      const socket = netConnect({ ...target, allowHalfOpen: true });
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        resolve(new Peer(socket));
      });
    });
  }

  /** Sends, or queues. */
  send(bytes: Uint8Array | string): void {
    const data = typeof bytes === "string"
      ? new TextEncoder().encode(bytes)
      : bytes;
    this.#socket.write(data, (error) => {
      if (!error) this.sent += data.length;
    });
  }

  /** Ends its direction (FIN). */
  end(): void {
    this.#socket.end();
  }

  /** Goes with RST. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  /** Goes. */
  destroy(): void {
    this.#socket.destroy();
  }

  /** Stops reading, so that the server has to wait. */
  pause(): void {
    this.#socket.pause();
  }

  /** Reads again. */
  resume(): void {
    this.#socket.resume();
  }

  /** Waits until so many bytes have arrived in all, and takes them all out. */
  async receive(count: number): Promise<Uint8Array> {
    await until(
      () => this.count >= count || this.ended,
      `${count} bytes (${this.count} came)`,
    );
    const bytes = new Uint8Array(this.count);
    let at = 0;
    for (const chunk of this.#chunks.splice(0)) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    this.count = 0;
    return bytes.subarray(0, at);
  }

  /** The same, as text. */
  async receiveText(count: number): Promise<string> {
    return new TextDecoder().decode(await this.receive(count));
  }

  /** Waits until the server has ended its direction. */
  untilEnded(): Promise<void> {
    return until(() => this.ended, "the server's end");
  }
}
