/** What the Deno transport makes of a listener that fails to accept, on a
 * listener of our own, so that it fails as told and on every runtime. */
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { assert, assertEquals } from "@std/assert";
import {
  type DenoConn,
  type DenoHost,
  type DenoListener,
  denoListenTransport,
} from "../../adapters/deno_listen.ts";
import type { ByteStream, Listener } from "../../src/stream.ts";
import { until } from "./fixture.ts";

const address = { transport: "tcp", hostname: "127.0.0.1", port: 80 };

const conn: DenoConn = {
  localAddr: address,
  remoteAddr: { ...address, port: 50_000 },
  read: () => Promise.resolve(null),
  write: (bytes) => Promise.resolve(bytes.length),
  closeWrite: () => Promise.resolve(),
  close() {},
};

/** Fails with each code in turn, then accepts once, then waits to be closed. */
class FailingListener implements DenoListener {
  readonly addr = address;
  readonly #codes: string[];
  readonly #conn: DenoConn;
  #accepted = false;
  #reject: ((error: Error) => void) | undefined;

  constructor(codes: string[], accepted: DenoConn = conn) {
    this.#codes = [...codes];
    this.#conn = accepted;
  }

  accept(): Promise<DenoConn> {
    const code = this.#codes.shift();
    if (code !== undefined) {
      return Promise.reject(Object.assign(new Error(code), { code }));
    }
    if (!this.#accepted) {
      this.#accepted = true;
      return Promise.resolve(this.#conn);
    }
    return new Promise((_, reject) => this.#reject = reject);
  }

  close(): void {
    this.#reject?.(new Error("Closed"));
  }
}

/** How many timers are set until a listener that fails so has accepted. */
async function timersUntilAccepted(codes: string[]): Promise<number> {
  const host = {
    listen: () => new FailingListener(codes),
  } as unknown as DenoHost;
  const { setTimeout } = globalThis;
  let timers = 0;
  globalThis.setTimeout = ((...args: Parameters<typeof setTimeout>) => {
    timers++;
    return setTimeout(...args);
  }) as typeof setTimeout;
  let listener: Promise<Listener> | undefined;
  try {
    await new Promise<void>((accepted) => {
      listener = listenOn(host, () => accepted());
    });
  } finally {
    globalThis.setTimeout = setTimeout;
  }
  await (await listener)!.close();
  return timers;
}

/** The transport asks for the host before anything else happens. */
function listenOn(
  host: DenoHost,
  accept: (stream: ByteStream) => void,
): Promise<Listener> {
  const own = Object.getOwnPropertyDescriptor(globalThis, "Deno");
  Object.defineProperty(globalThis, "Deno", {
    value: host,
    configurable: true,
  });
  try {
    return denoListenTransport.listen({ port: 80 }, accept);
  } finally {
    if (own === undefined) Reflect.deleteProperty(globalThis, "Deno");
    else Object.defineProperty(globalThis, "Deno", own);
  }
}

test("denoListenTransport does not pause for peers that reset before they are accepted", async () => {
  const codes = ["ENOTCONN", "ECONNABORTED", "ECONNRESET"];
  assertEquals(await timersUntilAccepted([...codes, ...codes]), 0);
});

test("denoListenTransport pauses while there are no descriptors", async () => {
  assertEquals(await timersUntilAccepted(["EMFILE", "ENFILE"]), 2);
});

/** Has the runtime free what nobody refers to. */
function collector(): () => void {
  const { Bun } = globalThis as { Bun?: { gc(now: boolean): void } };
  if (Bun !== undefined) return () => Bun.gc(true);
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc");
}

/** Writes as much as a slab, and keeps none of it. */
async function writeLarge(stream: ByteStream): Promise<WeakRef<Uint8Array>> {
  const bytes = new Uint8Array(131_072);
  await stream.write(bytes);
  return new WeakRef(bytes);
}

test("a stream of denoListenTransport keeps nothing of what it has sent", async () => {
  const host = {
    listen: () => new FailingListener([]),
  } as unknown as DenoHost;
  const streams: ByteStream[] = [];
  let listener: Promise<Listener> | undefined;
  await new Promise<void>((accepted) => {
    listener = listenOn(host, (stream) => {
      streams.push(stream);
      accepted();
    });
  });
  const [stream] = streams;
  assert(stream !== undefined);
  const written = await writeLarge(stream);
  const collect = collector();
  await until(() => {
    collect();
    return written.deref() === undefined;
  }, "what was written to be collected");
  stream.close();
  await (await listener)!.close();
});

/** Reads what fills the buffer until it has its full size, then a little, and
 * waits for more: the memory of what was read last. */
async function readAndWait(stream: ByteStream): Promise<WeakRef<object>> {
  let memory: ArrayBufferLike | undefined;
  for (let reads = 0; reads < 4; reads++) {
    memory = (await stream.read())?.buffer;
  }
  assertEquals(memory?.byteLength, 65_536);
  Promise.resolve(stream.read()).catch(() => {});
  return new WeakRef(memory!);
}

test("a stream of denoListenTransport that waits keeps nothing of what it has read", async () => {
  let reads = 0;
  const busy: DenoConn = {
    ...conn,
    read: (buffer) =>
      ++reads > 4
        ? new Promise(() => {})
        : Promise.resolve(reads === 4 ? 100 : buffer.length),
  };
  const host = {
    listen: () => new FailingListener([], busy),
  } as unknown as DenoHost;
  let listener: Promise<Listener> | undefined;
  const stream = await new Promise<ByteStream>((accepted) => {
    listener = listenOn(host, accepted);
  });
  const read = await readAndWait(stream);
  const collect = collector();
  await until(() => {
    collect();
    return read.deref() === undefined;
  }, "what was read to be collected");
  stream.close();
  await (await listener)!.close();
});
