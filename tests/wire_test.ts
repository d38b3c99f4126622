/** A ByteStream with both its buffers: reading lines and counts, the rule for
 * waiting, and who owns which bytes. */
import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { StreamError } from "../src/errors.ts";
import { Wire } from "../src/wire.ts";
import { everySplit, singly } from "./support/every_split.ts";
import { MemoryStream } from "./support/memory_stream.ts";
import { concat, latin1, octets } from "./support/octets.ts";

const arrivals = ["at once", "later"] as const;
const slab = 65_536;
const piece = 262_144;

/** A wire over `pieces` and the peer's end behind them. */
function ended(
  pieces: readonly (Uint8Array | string)[],
  arrival: "at once" | "later" = "at once",
): { wire: Wire; stream: MemoryStream } {
  const stream = new MemoryStream(pieces, { arrival });
  stream.end();
  return { wire: new Wire(stream), stream };
}

/** Octets that tell their place, so that none can stand for another. */
function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8)) & 0xff);
}

async function text(
  taken: Uint8Array | null | Promise<Uint8Array | null>,
): Promise<string | null> {
  const bytes = await taken;
  return bytes === null ? null : latin1(bytes);
}

// Input

test("Wire.readLine() gives each line with its LF at every split", async () => {
  const wire = "GET / HTTP/1.1\r\nHost: a\r\n\r\n\nlast\n";
  for (const arrival of arrivals) {
    await everySplit(octets(wire), async (pieces) => {
      const { wire: reader, stream } = ended(pieces, arrival);
      const lines: string[] = [];
      for (let line; (line = await text(reader.readLine())) !== null;) {
        lines.push(line);
      }
      assertEquals(lines, [
        "GET / HTTP/1.1\r\n",
        "Host: a\r\n",
        "\r\n",
        "\n",
        "last\n",
      ]);
      assertEquals(await text(reader.readLine()), null);
      assertEquals(stream.misuse, []);
    });
  }
});

test("Wire.readLine() gives what there is at end of stream", async () => {
  for (const arrival of arrivals) {
    await everySplit(octets("a\nbcd"), async (pieces) => {
      const { wire } = ended(pieces, arrival);
      assertEquals(await text(wire.readLine()), "a\n");
      assertEquals(await text(wire.readLine()), "bcd");
      assertEquals(await text(wire.readLine()), null);
    });
  }
});

test("Wire.readLine() gives at most `limit` bytes, the LF among them", async () => {
  for (const arrival of arrivals) {
    await everySplit(octets("abcd\nef\n"), async (pieces) => {
      const { wire } = ended(pieces, arrival);
      assertEquals(await text(wire.readLine(4)), "abcd");
      assertEquals(await text(wire.readLine(4)), "\n");
      assertEquals(await text(wire.readLine(0)), "");
      assertEquals(await text(wire.readLine(1)), "e");
      assertEquals(await text(wire.readLine(2)), "f\n");
      assertEquals(await text(wire.readLine(2)), null);
    });
    await everySplit(octets("abcd\nef\n"), async (pieces) => {
      const { wire } = ended(pieces, arrival);
      assertEquals(await text(wire.readLine(5)), "abcd\n");
    });
  }
});

test("Wire.readLine() does not wait for a line that is too long already", () => {
  const wire = new Wire(new MemoryStream(["abcdef"]));
  assertEquals(latin1(wire.readLine(6) as Uint8Array), "abcdef");
});

test("Wire.read() gives exactly what is asked for at every split", async () => {
  for (const arrival of arrivals) {
    await everySplit(octets("abcdefghij"), async (pieces) => {
      const { wire, stream } = ended(pieces, arrival);
      assertEquals(await text(wire.read(3)), "abc");
      assertEquals(await text(wire.read(0)), "");
      assertEquals(await text(wire.read(1)), "d");
      assertEquals(await text(wire.read(100)), "efghij");
      assertEquals(await text(wire.read(1)), null);
      assertEquals(await text(wire.read(0)), "");
      assertEquals(stream.misuse, []);
    });
  }
});

test("Wire.read() answers at once when the bytes are at hand", () => {
  const wire = new Wire(new MemoryStream(["ab", "cd"]));
  assertEquals(latin1(wire.read(3) as Uint8Array), "abc");
  assertEquals(latin1(wire.read(1) as Uint8Array), "d");
});

test("Wire.read() and readLine() take turns, whatever the pieces", async () => {
  // Repeatable, and unlike any piece size.
  let seed = 1;
  const next = (below: number) => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % below;
  };
  const sent = pattern(20_000);
  for (const arrival of arrivals) {
    for (let round = 0; round < 10; round++) {
      const pieces: Uint8Array[] = [];
      for (let at = 0; at < sent.length;) {
        const size = 1 + next(round % 2 === 0 ? 30 : 3000);
        pieces.push(sent.subarray(at, at + size));
        at += size;
      }
      const { wire, stream } = ended(pieces, arrival);
      const received: Uint8Array[] = [];
      for (;;) {
        const taken = await (next(2) === 0
          ? wire.read(1 + next(900))
          : wire.readLine(1 + next(900)));
        if (taken === null) {
          break;
        }
        received.push(taken.slice());
      }
      assertEquals(concat(received), sent);
      assertEquals(stream.misuse, []);
    }
  }
});

test("Wire.read() gives a view that lasts until the next call", async () => {
  const stream = new MemoryStream(["abcdef", "ghi"]);
  const wire = new Wire(stream);
  const first = wire.read(2) as Uint8Array;
  assertEquals(latin1(first), "ab");
  const second = wire.read(4) as Uint8Array;
  assertEquals(latin1(second), "cdef");
  const third = wire.read(4);
  stream.push("j");
  assertEquals(await text(third), "ghij");
});

test("Wire.fill() uses bytes where the stream lent them", () => {
  const wire = new Wire(new MemoryStream(["abc"]));
  assertEquals(wire.fill(), true);
  const lent = wire.buffer;
  const taken = wire.read(3) as Uint8Array;
  assertEquals(taken.buffer === lent.buffer, true);
});

test("Wire.fill() keeps an unconsumed tail in front of what arrives", async () => {
  for (const arrival of arrivals) {
    const stream = new MemoryStream(["abc", "def", "g"], { arrival });
    const wire = new Wire(stream);
    await wire.fill();
    wire.consume(1);
    await wire.fill();
    wire.consume(1);
    await wire.fill();
    assertEquals(latin1(wire.buffer.subarray(wire.start, wire.end)), "cdefg");
    assertEquals(stream.misuse, []);
  }
});

test("Wire.fill() is false at end of stream, and stays so", async () => {
  const { wire, stream } = ended(["a"]);
  assertEquals([wire.fill(), wire.ended], [true, false]);
  assertEquals([wire.fill(), wire.ended], [false, true]);
  assertEquals(await wire.fill(), false);
  assertEquals(latin1(wire.buffer.subarray(wire.start, wire.end)), "a");
  assertEquals(stream.reads, 2);
});

test("Wire.fill() lets two wait for one arrival", async () => {
  const stream = new MemoryStream();
  const wire = new Wire(stream);
  const waiting = [wire.fill(), wire.fill()];
  stream.push("a");
  assertEquals(await Promise.all(waiting), [true, true]);
  assertEquals(wire.end - wire.start, 1);
  assertEquals(stream.misuse, []);
});

test("Wire.fill() rejects with the stream's error, then and later", async () => {
  const stream = new MemoryStream();
  const wire = new Wire(stream);
  const waiting = wire.read(1) as Promise<unknown>;
  stream.fail("Reset");
  await assertRejects(() => waiting, StreamError, "Reset");
  await assertRejects(async () => await wire.read(1), StreamError);
  await assertRejects(async () => await wire.readLine(), StreamError);
});

test("Wire.worthLooking() waits for the end of a line, or for much more", async () => {
  const long = "x".repeat(1023);
  const wire = new Wire(new MemoryStream(["ab", "c", "d\n", "e", long]));
  const looked: boolean[] = [];
  for (const examined of [0, 2, 3, 5]) {
    await wire.fill();
    looked.push(wire.worthLooking(examined));
  }
  assertEquals(looked, [true, false, true, false]);
  await wire.fill();
  assertEquals(wire.worthLooking(6), false);
  assertEquals(wire.worthLooking(5), true);
  wire.consume(6);
  assertEquals(wire.worthLooking(wire.end - wire.start), true);
});

test("Wire holds no memory for input once it is consumed", async () => {
  const { wire } = ended(singly(pattern(5000)));
  await wire.read(5000);
  await wire.fill();
  assertEquals(wire.buffer.length, 0);
});

test("Wire.read() takes many small pieces at a cost in proportion", async () => {
  const sent = pattern(20_000);
  const { wire } = ended(singly(sent));
  assertEquals(await wire.read(sent.length), sent);
});

// The waiting rule

test("Wire.fill() sends what is buffered before it waits", () => {
  const stream = new MemoryStream();
  const wire = new Wire(stream);
  wire.putText("answer");
  wire.fill();
  assertEquals(stream.outputText, "answer");
  assert(stream.waiting);
});

test("Wire.fill() sends what is buffered though a read is pending already", () => {
  const stream = new MemoryStream();
  const wire = new Wire(stream);
  wire.fill();
  wire.putText("answer");
  assertEquals(stream.outputText, "");
  wire.fill();
  assertEquals(stream.outputText, "answer");
  assertEquals(stream.misuse, []);
});

test("Wire.fill() does not wait for input while the peer does not drain", async () => {
  const stream = new MemoryStream(["in"], { window: 0 });
  const wire = new Wire(stream);
  wire.putText("first");
  wire.flush();
  wire.putText("second");
  const waiting = [wire.fill(), wire.fill()];
  wire.putText("third");
  await Promise.resolve();
  assertEquals(stream.reads, 0);
  stream.take();
  assertEquals(await Promise.all(waiting), [true, true]);
  assertEquals(stream.outputText, "firstsecondthird");
  assertEquals(latin1(wire.buffer.subarray(wire.start, wire.end)), "in");
  assertEquals(stream.misuse, []);
});

/** A stream that gives its memory away, and counts how often; what it lends is
 * all of that, or has bytes of others behind it. */
function giver(
  content: string,
  rest = 0,
): { stream: MemoryStream; given: () => number } {
  let given = 0;
  const stream = new MemoryStream([content]);
  const read = stream.read.bind(stream);
  const lend = (chunk: Uint8Array | null) => {
    if (chunk === null) return null;
    const memory = new Uint8Array(chunk.length + rest);
    memory.set(chunk);
    return memory.subarray(0, chunk.length);
  };
  return {
    stream: Object.assign(stream, {
      give: () => void given++,
      read: () => {
        const chunk = read();
        return chunk instanceof Promise ? chunk.then(lend) : lend(chunk);
      },
    }),
    given: () => given,
  };
}

test("Wire.give() gives nothing of memory that is others' as well", async () => {
  const { stream, given } = giver("content", 1);
  const wire = new Wire(stream);
  await wire.fill();
  wire.consume(7);
  assertEquals([wire.give(7), given()], [false, 0]);
});

test("Wire.give() gives what is most of a chunk, and ends it", async () => {
  const { stream: giving, given } = giver("head" + "c".repeat(96));
  const wire = new Wire(giving);
  await wire.fill();
  wire.consume(99);
  assertEquals(wire.give(95), false); // something lies behind it
  wire.consume(1);
  assertEquals(wire.give(74), false); // it would keep too much
  assertEquals(given(), 0);
  assertEquals(wire.give(75), true);
  assertEquals(given(), 1);
  // A tail that was kept lies in memory of the wire's own.
  giving.push("ab");
  await wire.fill();
  wire.consume(1);
  giving.push("c".repeat(1000));
  await wire.fill();
  wire.consume(1001);
  assertEquals(wire.give(1001), false);
  assertEquals(given(), 1);
});

test("Wire.give() gives nothing of a stream that does not", async () => {
  const wire = new Wire(new MemoryStream(["content"]));
  await wire.fill();
  wire.consume(7);
  assertEquals(wire.give(7), false);
});

// Output

test("Wire.putText() and putOctets() buffer until they are flushed", () => {
  const stream = new MemoryStream();
  const wire = new Wire(stream);
  const bytes = octets("two");
  wire.putText("one\xff");
  wire.putOctets(bytes);
  bytes.fill(0);
  assertEquals([stream.outputText, wire.buffered], ["", 7]);
  assertEquals(wire.flush(), undefined);
  assertEquals([stream.outputText, wire.buffered], ["one\xfftwo", 0]);
  wire.flush();
  assertEquals(stream.writes, 1);
});

test("Wire.putText() overruns the slab rather than lose or wait", () => {
  const stream = new MemoryStream();
  const wire = new Wire(stream);
  const line = "x".repeat(16_384);
  for (let i = 0; i < 10; i++) wire.putText(line);
  assertEquals(wire.buffered, 163_840);
  wire.flush();
  assertEquals(stream.outputText, line.repeat(10));
});

test("Wire.put() copies small content and sends it in order", async () => {
  const stream = new MemoryStream();
  const wire = new Wire(stream);
  const sent: Uint8Array[] = [];
  for (let i = 0; i < 200; i++) {
    const content = pattern(i * 37);
    sent.push(content.slice());
    await wire.put(content);
    content.fill(0);
  }
  wire.flush();
  assertEquals(stream.output, concat(sent));
  const total = stream.output.length;
  assert(
    stream.writes <= Math.ceil(total / (slab - 37 * 200)),
    `${stream.writes}`,
  );
});

test("Wire.put() copies to where memory is moved fast, whatever stands before", () => {
  const sent: Uint8Array[] = [];
  const stream = new MemoryStream();
  stream.write = (bytes) => {
    sent.push(bytes.slice());
    distance = bytes.byteOffset + head.length - content.byteOffset;
  };
  const wire = new Wire(stream);
  const memory = pattern(10_000 + 40);
  let head = "";
  let content = memory;
  let distance = NaN;
  for (let length = 0; length < 40; length++) {
    head = "h".repeat(length);
    content = memory.subarray(40 - length);
    wire.putText(head);
    assertEquals(wire.buffered, length);
    assertEquals(wire.put(content), undefined);
    assertEquals(wire.buffered, length + content.length);
    wire.putText("tail");
    wire.flush();
    assertEquals(sent.pop(), concat([octets(head), content, octets("tail")]));
    assertEquals(distance & 15, 0);
    assert(wire.sent);
  }
});

test("Wire.put() does not move much to copy fast", () => {
  const stream = new MemoryStream();
  const sent: Uint8Array[] = [];
  stream.write = (bytes) => {
    sent.push(bytes);
  };
  const wire = new Wire(stream);
  wire.putText("h".repeat(1025));
  wire.put(pattern(5000));
  wire.flush();
  assertEquals(sent.map((bytes) => bytes.byteOffset), [0]);
});

test("Wire.takeBack() finds its place although content was moved", () => {
  const stream = new MemoryStream();
  const wire = new Wire(stream);
  wire.putText("abc");
  wire.put(pattern(5000));
  wire.takeBack(2);
  assertEquals(wire.buffered, 2);
  wire.putText("d");
  wire.flush();
  assertEquals(stream.outputText, "abd");
  wire.put(pattern(5000).subarray(5));
  wire.discard();
  assertEquals(wire.buffered, 0);
  wire.putText("e");
  wire.flush();
  assertEquals(stream.outputText, "abde");
});

test("Wire.put() lends large content to the stream without a copy", () => {
  const lent: Uint8Array[] = [];
  const stream = new MemoryStream();
  stream.write = (bytes) => {
    lent.push(bytes);
  };
  const wire = new Wire(stream);
  const content = pattern(40_000);
  wire.putText("head");
  wire.put(content);
  assertEquals(lent.map((bytes) => bytes.length), [4, 40_000]);
  assert(lent[1]!.buffer === content.buffer);
});

test("Wire.put() hands very large content over in pieces", async () => {
  const stream = new MemoryStream([], { window: 0 });
  const wire = new Wire(stream);
  const content = pattern(3 * piece + 5);
  let settled = false;
  wire.putText("head");
  const pending = wire.put(content) as Promise<void>;
  pending.then(() => settled = true);
  for (let expected = 4; expected < content.length + 4;) {
    assert(stream.held <= piece + 4, `${stream.held} bytes held`);
    assert(!settled && wire.stalled);
    const before = wire.writes;
    const { held } = stream;
    stream.take(held);
    expected += held;
    if (expected < content.length + 4) {
      await stream.until(() => stream.held > 0, "the next piece");
      assert(wire.writes > before);
    }
  }
  await pending;
  assertEquals(stream.output, concat([octets("head"), content]));
  assertEquals(wire.stalled, false);
});

test("Wire.put() keeps memory flat for a peer that does not drain", async () => {
  for (const size of [100, 20_000, 40_000, 600_000]) {
    const stream = new MemoryStream([], { window: 0 });
    const wire = new Wire(stream);
    const content = pattern(size);
    const total = 2_000_000;
    let most = 0;
    const writing = (async () => {
      for (let sent = 0; sent < total; sent += size) {
        await wire.put(content);
        most = Math.max(most, stream.held + wire.buffered);
      }
      await wire.drained();
    })();
    let done = false;
    writing.then(() => done = true);
    while (!done) {
      most = Math.max(most, stream.held + wire.buffered);
      if (stream.held > 0) stream.take(stream.held);
      await new Promise((pass) => setTimeout(pass, 0));
    }
    await writing;
    assert(
      most <= 2 * slab + piece,
      `${most} bytes held for pieces of ${size}`,
    );
    assertEquals(stream.output.length, Math.ceil(total / size) * size);
  }
});

test("Wire.flush() keeps two slabs at most, and waits for the first", async () => {
  const stream = new MemoryStream([], { window: 0 });
  const wire = new Wire(stream);
  wire.putText("one");
  assertEquals(wire.flush(), undefined);
  assertEquals([stream.held, wire.stalled], [3, true]);
  wire.putText("two");
  const second = wire.flush();
  assert(second instanceof Promise);
  assertEquals([stream.held, wire.buffered], [3, 3]);
  stream.take(3);
  await second;
  assertEquals([stream.held, wire.buffered], [3, 0]);
  stream.take();
  await wire.drained();
  assertEquals([stream.outputText, wire.stalled], ["onetwo", false]);
});

test("Wire.flush() does not reuse a slab that is still lent", async () => {
  const stream = new MemoryStream([], { window: 0 });
  const wire = new Wire(stream);
  const other = new MemoryStream();
  const otherWire = new Wire(other);
  wire.putText("first");
  wire.flush();
  wire.putText("other");
  otherWire.putText("elsewhere");
  otherWire.flush();
  stream.take();
  await wire.drained();
  assertEquals([stream.outputText, other.outputText], [
    "firstother",
    "elsewhere",
  ]);
});

test("Wire.drained() waits until every write has settled", async () => {
  const stream = new MemoryStream([], { window: 0 });
  const wire = new Wire(stream);
  assertEquals(wire.drained(), undefined);
  wire.putText("one");
  wire.flush();
  wire.putText("two");
  let drained = false;
  const pending = Promise.resolve(wire.drained()).then(() => drained = true);
  stream.take(3);
  await stream.until(() => stream.held === 3, "the second write");
  assertEquals(drained, false);
  stream.take();
  await pending;
  assertEquals(stream.outputText, "onetwo");
});

test("Wire.sent tells that nothing is on its way any more", async () => {
  const stream = new MemoryStream([], { window: 0 });
  const wire = new Wire(stream);
  const seen = [wire.sent];
  wire.putText("a");
  seen.push(wire.sent);
  wire.flush();
  seen.push(wire.sent);
  stream.take();
  await wire.drained();
  seen.push(wire.sent);
  wire.putText("b");
  wire.flush();
  seen.push(wire.sent);
  assertEquals(seen, [true, false, false, true, true]);
  const broken = new MemoryStream([], { window: 0 });
  const lost = new Wire(broken);
  lost.putText("a");
  lost.flush();
  broken.fail();
  await assertRejects(async () => await lost.drained(), StreamError);
  assertEquals(lost.sent, false);
});

test("Wire shows the failure of a pending write later", async () => {
  const stream = new MemoryStream([], { window: 0 });
  const wire = new Wire(stream);
  wire.putText("lost");
  assertEquals(wire.flush(), undefined);
  stream.fail("Reset");
  await assertRejects(async () => await wire.drained(), StreamError, "Reset");
  wire.putText("more");
  await assertRejects(async () => await wire.flush(), StreamError, "Reset");
  await assertRejects(
    async () => await wire.put(pattern(40_000)),
    StreamError,
    "Reset",
  );
});

test("Wire.put() rejects when the peer leaves while it drains", async () => {
  const stream = new MemoryStream([], { window: 0 });
  const wire = new Wire(stream);
  const pending = wire.put(pattern(3 * piece)) as Promise<void>;
  stream.fail("Reset");
  await assertRejects(() => pending, StreamError, "Reset");
});

test("Wire.flush() throws what the stream throws", () => {
  const stream = new MemoryStream();
  const wire = new Wire(stream);
  stream.close();
  wire.putText("late");
  assertThrows(() => wire.flush(), StreamError);
});

test("Wire.discard() gives up what is buffered", () => {
  const stream = new MemoryStream();
  const wire = new Wire(stream);
  wire.putText("never");
  wire.discard();
  wire.discard();
  wire.flush();
  assertEquals([wire.buffered, stream.writes], [0, 0]);
  wire.putText("again");
  wire.flush();
  assertEquals(stream.outputText, "again");
});

test("Wire.put() copies what its stream would rather have copied", () => {
  const lent: number[] = [];
  const open = (directSize?: number) => {
    const stream = Object.assign(
      new MemoryStream(),
      directSize === undefined ? {} : { directSize },
    );
    const write = stream.write.bind(stream);
    stream.write = (bytes) => {
      lent.push(bytes.length);
      return write(bytes);
    };
    return { wire: new Wire(stream), stream };
  };
  const content = pattern(65_536);
  // Streams of both kinds share the pool of slabs, whose sizes differ.
  for (let round = 0; round < 3; round++) {
    for (const directSize of [undefined, 98_304]) {
      const { wire, stream } = open(directSize);
      lent.length = 0;
      wire.putText("head ");
      wire.put(content);
      wire.flush();
      assertEquals(lent, directSize === undefined ? [5, 65_536] : [65_541]);
      assertEquals(stream.output, concat([octets("head "), content]));
    }
  }
});
