/** Conformance of the transports: bytes arrive whole and in order, memory is
 * lent as `ByteStream` says, and whoever is slow makes the other end wait. */
import { assert, assertEquals, assertLess } from "@std/assert";
import type { ByteStream } from "../../src/stream.ts";
import {
  type Bench,
  conform,
  echo,
  mismatch,
  pattern,
  readBytes,
  runtime,
  until,
} from "./fixture.ts";
import { latin1 } from "../support/octets.ts";

const MiB = 1_048_576;

conform("bytes arrive in order, in pieces of 1 byte", async (bench) => {
  const [stream, peer] = await bench.pair();
  const bytes = pattern(500);
  for (const byte of bytes) peer.send(Uint8Array.of(byte));
  assertEquals(mismatch(await readBytes(stream, 500)), -1);
  for (const byte of bytes) await stream.write(Uint8Array.of(byte));
  assertEquals(mismatch(await peer.receive(500)), -1);
});

conform("bytes arrive in order, in pieces of 1 MiB", async (bench) => {
  const [stream, peer] = await bench.pair();
  const bytes = pattern(4 * MiB);
  for (let i = 0; i < 4; i++) peer.send(bytes.subarray(i * MiB, (i + 1) * MiB));
  assertEquals(mismatch(await readBytes(stream, 4 * MiB)), -1);
  for (let i = 0; i < 4; i++) {
    await stream.write(bytes.subarray(i * MiB, (i + 1) * MiB));
  }
  assertEquals(mismatch(await peer.receive(4 * MiB)), -1);
});

conform(
  "memory to read into is given back when little arrives",
  async (bench, { name }) => {
    const [stream, peer] = await bench.pair();
    const large = pattern(MiB);
    peer.send(large);
    assertEquals(mismatch(await readBytes(stream, MiB)), -1);
    let view: Uint8Array | null = null;
    for (let i = 0; i < 4; i++) {
      const next = stream.read();
      peer.send("small");
      view = await next;
    }
    assertEquals(view?.length, 5);
    // The others get a new buffer from the runtime for each arrival.
    if (name === "deno") assertEquals(view?.buffer.byteLength, 4096);
    peer.send(large);
    assertEquals(mismatch(await readBytes(stream, MiB)), -1);
  },
);

conform(
  "what little arrived stays as it is until the next read() of its stream",
  async (bench) => {
    const pairs = [await bench.pair(), await bench.pair(), await bench.pair()];
    const lent: (Uint8Array | null)[] = [];
    for (let round = 0; round < 4; round++) {
      for (const [index, [stream, peer]] of pairs.entries()) {
        const next = stream.read();
        peer.send(`${round}${index}`);
        lent[index] = await next;
        const seen = lent.map((view) => view && latin1(view));
        const told = pairs.map((_, i) =>
          i <= index ? `${round}${i}` : `${round - 1}${i}`
        );
        assertEquals(seen, told.slice(0, seen.length));
      }
    }
    const given = lent[0]!;
    pairs[0]![0].give?.();
    for (const [stream, peer] of pairs) {
      const next = stream.read();
      peer.send("later");
      await next;
    }
    if (pairs[0]![0].give !== undefined) assertEquals(latin1(given), "30");
  },
);

for (const watched of [false, true]) {
  conform(
    `what was given stays as it is, ${
      watched ? "" : "not "
    }while an end is awaited`,
    async (bench) => {
      const [stream, peer] = await bench.pair();
      const size = 4 * MiB;
      peer.send(pattern(size));
      const given: { view: Uint8Array; at: number }[] = [];
      let views = 0;
      for (let received = 0; received < size;) {
        if (watched) stream.onGone = () => {};
        const view = await stream.read();
        assert(view !== null && view.length > 0);
        // The others' memory may be used again.
        if (views++ % 3 > 0 && stream.give !== undefined) {
          stream.give();
          given.push({ view, at: received });
        }
        received += view.length;
      }
      for (const { view, at } of given) assertEquals(mismatch(view, at), -1);
      if (stream.give !== undefined) assert(given.length > 0);
    },
  );
}

conform(
  "the memory of a large view is freed, or read into again, by the next read()",
  async (bench, { name }) => {
    // Deno's is always the same.
    if (name === "deno") return;
    const canFree = "transfer" in ArrayBuffer.prototype;
    const [stream, peer] = await bench.pair();
    peer.send(pattern(8 * MiB));
    const kept = new Set<ArrayBufferLike>();
    let ended = 0;
    let view: Uint8Array | null = null;
    for (let received = 0; received < 8 * MiB;) {
      const before = view;
      // Node reads into full pieces again, and Node 20 can free no others.
      const large = before !== null &&
        before.length >= (canFree ? 16_384 : 65_536) &&
        before.length === before.buffer.byteLength;
      view = await stream.read();
      assert(view !== null && view.length > 0);
      assertEquals(mismatch(view, received), -1);
      if (large) {
        if (before!.length > 0) kept.add(before!.buffer);
        ended++;
      }
      received += view.length;
    }
    assert(ended > 0);
    assert(kept.size <= 4, `${kept.size} of ${ended} pieces were kept`);
    // Whether Node has its sockets read into memory of ours.
    if (runtime === "node") assert(kept.size > 0);
  },
);

conform("writes that nobody awaits keep their order", async (bench) => {
  const [stream, peer] = await bench.pair();
  const bytes = pattern(8 * MiB);
  let at = 0;
  let size = 1;
  while (at < bytes.length) {
    stream.write(bytes.subarray(at, at + size));
    at += size;
    size = size * 3 % 300_007;
  }
  assertEquals(mismatch(await peer.receive(bytes.length)), -1);
});

conform(
  "memory is the writer's again once write() has settled",
  async (bench) => {
    const [stream, peer] = await bench.pair();
    const size = 100_000;
    const rounds = 100;
    const slab = new Uint8Array(size);
    const sending = (async () => {
      for (let round = 0; round < rounds; round++) {
        slab.set(pattern(size, round * size));
        const pending = stream.write(slab);
        if (pending instanceof Promise) await pending;
        slab.fill(0xff);
      }
    })();
    const received = await peer.receive(rounds * size);
    await sending;
    assertEquals(received.length, rounds * size);
    assertEquals(mismatch(received), -1);
  },
);

conform("an empty write settles", async (bench) => {
  const [stream, peer] = await bench.pair();
  await stream.write(new Uint8Array(0));
  await stream.write(pattern(3));
  assertEquals(await peer.receive(3), pattern(3));
});

conform("a peer that does not read keeps write() pending", async (bench) => {
  const [stream, peer] = await bench.pair();
  peer.pause();
  const piece = pattern(65_536);
  let settled = 0;
  let written = 0;
  const writing = (async () => {
    for (; written < 64 * MiB; written += piece.length) {
      await stream.write(piece);
      settled += piece.length;
    }
  })();
  await stalled(bench, () => settled);
  assertLess(settled, 32 * MiB);
  assertEquals(written, settled); // the last one is pending

  stream.close();
  await writing.then(() => assert(false), () => {});
});

conform("a pending write() settles once the peer reads", async (bench) => {
  const [stream, peer] = await bench.pair();
  peer.pause();
  const bytes = pattern(24 * MiB);
  let settled = false;
  const writing = (async () => {
    await stream.write(bytes);
    settled = true;
  })();
  await stalled(bench, () => Number(settled));
  assert(!settled);
  peer.resume();
  const received = await peer.receive(bytes.length);
  await writing;
  assertEquals(received.length, bytes.length);
  assertEquals(mismatch(received), -1);
});

conform("a server that does not read makes the peer wait", async (bench) => {
  const [stream, peer] = await bench.pair();
  const piece = pattern(65_536);
  const total = 64 * MiB;
  for (let at = 0; at < total; at += piece.length) peer.send(piece);
  await stalled(bench, () => peer.sent);
  assertLess(peer.sent, 32 * MiB);

  for (let at = 0; at < total; at += piece.length) {
    assertPiece(await readBytesOf(stream, piece.length), piece);
  }
});

conform(
  "what waits in the queue is read without a promise or in order",
  async (bench) => {
    const [stream, peer] = await bench.pair();
    const other = await bench.listen({ port: 0 }, echo);
    const messenger = await bench.connect(other.address);
    for (let i = 0; i < 50; i++) {
      peer.send(pattern(7, i * 7));
      messenger.send("x");
      await messenger.receive(1);
    }
    assertEquals(mismatch(await readBytes(stream, 350)), -1);
  },
);

/** Bytes left over from the last view of a stream that is read in pieces. */
const rest = new WeakMap<ByteStream, Uint8Array>();

async function readBytesOf(
  stream: ByteStream,
  length: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  while (filled < length) {
    const view = rest.get(stream) ?? await stream.read();
    if (view === null) throw new Error(`The stream ended after ${filled}`);
    const part = view.subarray(0, length - filled);
    bytes.set(part, filled);
    filled += part.length;
    if (part.length < view.length) rest.set(stream, view.subarray(part.length));
    else rest.delete(stream);
  }
  return bytes;
}

// assertEquals() on 64 KiB is slow, and its message of no use.
function assertPiece(actual: Uint8Array, expected: Uint8Array): void {
  const at = actual.findIndex((byte, i) => byte !== expected[i]);
  assertEquals(at, -1);
}

/** Settles when `measure()` has stopped changing: while it stays the same,
 * another connection makes 100 round trips. */
async function stalled(bench: Bench, measure: () => number): Promise<void> {
  const listener = await bench.listen({ port: 0 }, echo);
  const messenger = await bench.connect(listener.address);
  let last = -1;
  let same = 0;
  await until(() => measure() >= 0, "a measure");
  while (same < 100) {
    messenger.send("x");
    await messenger.receive(1);
    const now = measure();
    same = now === last ? same + 1 : 0;
    last = now;
  }
}
