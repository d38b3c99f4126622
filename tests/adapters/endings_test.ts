/** Conformance of the transports: every way in which a connection ends, by us
 * or by the peer, in one direction or in both. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import { StreamError } from "../../src/errors.ts";
import type { ByteStream } from "../../src/stream.ts";
import {
  conform,
  mismatch,
  pattern,
  readBytes,
  runtime,
  until,
} from "./fixture.ts";

const text = (bytes: Uint8Array | null) =>
  bytes === null ? null : new TextDecoder().decode(bytes);

conform("a peer that has ended its direction still receives", async (bench) => {
  const [stream, peer] = await bench.pair();
  peer.send("hello");
  peer.end();
  assertEquals(text(await readBytes(stream, 99)), "hello");
  assertEquals(await stream.read(), null);
  const bytes = pattern(3_000_000);
  await stream.write(bytes);
  stream.closeWrite();
  const received = await peer.receive(bytes.length);
  assertEquals(received.length, bytes.length);
  assertEquals(mismatch(received), -1);
  await peer.untilEnded();
});

conform("closeWrite() leaves our reading alive", async (bench) => {
  const [stream, peer] = await bench.pair();
  await stream.write(pattern(3));
  stream.closeWrite();
  stream.closeWrite();
  await peer.untilEnded();
  assertEquals(await peer.receive(3), pattern(3));
  peer.send("later");
  assertEquals(text(await readBytes(stream, 5)), "later");
  peer.end();
  assertEquals(await stream.read(), null);
  assertEquals(await stream.read(), null);
});

conform("closeWrite() comes after what is pending", async (bench) => {
  const [stream, peer] = await bench.pair();
  peer.pause();
  const bytes = pattern(16_000_000);
  const pending = stream.write(bytes);
  stream.closeWrite();
  peer.resume();
  const received = await peer.receive(bytes.length);
  await pending;
  await peer.untilEnded();
  assertEquals(received.length, bytes.length);
  assertEquals(mismatch(received), -1);
  assertEquals(peer.errorCode, undefined);
});

conform("a write after closeWrite() or close() fails", async (bench) => {
  const [stream] = await bench.pair();
  stream.closeWrite();
  await assertRejects(async () => await stream.write(pattern(1)), StreamError);
  stream.close();
  await assertRejects(async () => await stream.write(pattern(1)), StreamError);
});

conform("close() lets a pending read() go with null", async (bench) => {
  const [stream, peer] = await bench.pair();
  const reading = stream.read();
  assertInstanceOf(reading, Promise);
  stream.close();
  stream.close();
  assertEquals(await reading, null);
  assertEquals(await stream.read(), null);
  await peer.untilEnded();
});

conform(
  "close() rejects pending writes, though nobody looks",
  async (bench) => {
    const [stream, peer] = await bench.pair();
    peer.pause();
    const pending = stream.write(pattern(32_000_000));
    const next = stream.write(pattern(10));
    stream.write(pattern(10)); // its rejection must not be an uncaught one
    assertInstanceOf(pending, Promise);
    stream.close();
    await assertRejects(async () => await pending, StreamError);
    await assertRejects(async () => await next, StreamError);
  },
);

conform(
  "reset() shows the peer a failure where the runtime can",
  async (bench, transport) => {
    const [stream, peer] = await bench.pair();
    const reading = stream.read();
    stream.reset();
    stream.reset();
    assertEquals(await reading, null);
    await peer.untilEnded();
    // Deno itself has no RST.
    if (runtime === "deno" && transport.name !== "deno") return;
    await until(() => peer.closed, "the peer's close");
    assertEquals(peer.errorCode, "ECONNRESET", transport.name);
  },
);

conform("reset() after closeWrite() ends the connection", async (bench) => {
  const [stream, peer] = await bench.pair();
  peer.pause();
  stream.write(pattern(16_000_000));
  stream.closeWrite();
  stream.reset();
  peer.resume();
  await peer.untilEnded();
  assertEquals(await stream.read(), null);
});

conform("a reset by the peer ends a pending read()", async (bench) => {
  const [stream, peer] = await bench.pair();
  const reading = stream.read();
  peer.reset();
  await assertEnded(async () => await reading);
  await assertEnded(async () => await stream.read());
  await until(() => failed(stream), "a write to fail");
});

conform("a reset by the peer rejects a pending write()", async (bench) => {
  const [stream, peer] = await bench.pair();
  peer.pause();
  const reading = stream.read();
  const pending = stream.write(pattern(32_000_000));
  peer.reset();
  await assertRejects(async () => await pending, StreamError);
  await assertEnded(async () => await reading);
  stream.closeWrite();
  stream.reset();
});

conform("connect-then-close is the end of stream", async (bench) => {
  const listener = await bench.listen();
  for (let i = 0; i < 20; i++) {
    (await bench.connect(listener.address)).destroy();
    const stream = await bench.accepted();
    assertEquals(await stream.read(), null);
    stream.close();
  }
});

conform("onGone tells of FIN while nobody reads", async (bench) => {
  const [stream, peer] = await bench.pair();
  peer.send("request");
  assertEquals(text(await readBytes(stream, 7)), "request");
  const gone = watchGone(stream);
  peer.end();
  await until(() => gone.count === 1, "onGone");
  assertEquals(await stream.read(), null);
  assertEquals(gone.count, 1);
});

conform("onGone tells of RST while nobody reads", async (bench) => {
  const [stream, peer] = await bench.pair();
  peer.send("request");
  assertEquals(text(await readBytes(stream, 7)), "request");
  const gone = watchGone(stream);
  peer.reset();
  await until(() => gone.count === 1, "onGone");
  await assertEnded(async () => await stream.read());
  assertEquals(gone.count, 1);
});

conform("onGone tells of an end that came before it was set", async (bench) => {
  const [stream, peer] = await bench.pair();
  peer.end();
  assertEquals(await stream.read(), null);
  const gone = watchGone(stream);
  assertEquals(gone.count, 0); // not within the assignment
  await until(() => gone.count === 1, "onGone");
});

conform(
  "onGone tells of FIN behind what a read was waiting for",
  async (bench) => {
    const [stream, peer] = await bench.pair();
    const waiting = stream.read();
    const gone = watchGone(stream);
    peer.send("content");
    assertEquals(text(await waiting), "content");
    peer.end();
    await until(() => gone.count === 1, "onGone");
    assertEquals(await stream.read(), null);
    assertEquals(gone.count, 1);
  },
);

conform("onGone stays set from read to read", async (bench) => {
  const [stream, peer] = await bench.pair();
  const gone = watchGone(stream);
  let length = 4;
  for (let from = 0; from < 500_000; from += length, length *= 3) {
    const content = pattern(length, from);
    const first = stream.read();
    peer.send(content);
    const read = await first ?? new Uint8Array(0);
    assertEquals(mismatch(read, from), -1);
    const behind = from + read.length;
    const rest = await readBytes(stream, length - read.length);
    assertEquals(mismatch(rest, behind), -1);
    assertEquals(gone.count, 0);
  }
  peer.end();
  await until(() => gone.count === 1, "onGone");
});

conform(
  "what arrives while onGone is set goes to the next read()",
  async (bench) => {
    const [stream, peer] = await bench.pair();
    peer.send("one");
    const lent = await stream.read();
    for (const word of ["two", "three", "four"]) {
      const gone = watchGone(stream);
      peer.send(word);
      if (word === "two") await until(() => peer.sent === 6, "two");
      assertEquals(text(lent)?.length, 3);
      stream.onGone = null;
      assertEquals(text(await stream.read()), word);
      assertEquals(gone.count, 0);
    }
    peer.end();
    assertEquals(await stream.read(), null);
  },
);

conform(
  "onGone tells of an end behind what is read meanwhile",
  async (bench) => {
    const [stream, peer] = await bench.pair();
    const gone = watchGone(stream);
    peer.send("last");
    peer.end();
    await until(() => peer.sent === 4, "the last bytes");
    assertEquals(text(await stream.read()), "last");
    await until(() => gone.count === 1, "onGone");
  },
);

conform("a view stays valid while onGone is set", async (bench) => {
  const [stream, peer] = await bench.pair();
  peer.send("first");
  const lent = await stream.read();
  watchGone(stream);
  peer.send("other");
  peer.end();
  await until(() => peer.sent === 10, "both");
  assertEquals(text(lent), "first");
  assertEquals(text(await readBytes(stream, 99)), "other");
});

conform(
  "onGone is silent once it was cleared or the stream closed",
  async (bench) => {
    const [stream, peer] = await bench.pair();
    const cleared = watchGone(stream);
    stream.onGone = null;
    peer.end();
    assertEquals(await stream.read(), null);
    assertEquals(cleared.count, 0);
    const closed = watchGone(stream);
    stream.close();
    await peer.untilEnded();
    assertEquals(closed.count, 0);
  },
);

function watchGone(stream: ByteStream): { count: number } {
  const gone = { count: 0 };
  stream.onGone = () => gone.count++;
  return gone;
}

/** A connection that was cut ends with null or with a `StreamError`. */
async function assertEnded(
  read: () => Promise<Uint8Array | null>,
): Promise<void> {
  try {
    assertEquals(await read(), null);
  } catch (error) {
    assertInstanceOf(error, StreamError);
  }
}

/** Writes, and tells whether writing has failed by now. */
const failures = new WeakSet<ByteStream>();
function failed(stream: ByteStream): boolean {
  try {
    stream.write(pattern(1))?.catch((error) => {
      assert(error instanceof StreamError);
      failures.add(stream);
    });
  } catch (error) {
    assertInstanceOf(error, StreamError);
    return true;
  }
  return failures.has(stream);
}
