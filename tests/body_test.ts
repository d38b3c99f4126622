/** The request content over the wire: RFC 9112 §6, RFC 9110 §10.1.1. */
import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Content, openContent } from "../src/body.ts";
import { HttpError, StreamError } from "../src/errors.ts";
import { parseRequestHead } from "../src/http/head.ts";
import { defaultLimits, type Limits } from "../src/limits.ts";
import { Wire } from "../src/wire.ts";
import { everySplit, singly } from "./support/every_split.ts";
import { MemoryStream } from "./support/memory_stream.ts";
import { latin1, octets } from "./support/octets.ts";

const continue100 = "HTTP/1.1 100 Continue\r\n\r\n";
const arrivals = ["at once", "later"] as const;

interface Opened {
  readonly content: Content;
  readonly stream: MemoryStream;
  readonly wire: Wire;
}

/** The content that field `lines` announce, to be sent in `pieces`. */
function open(
  lines: string,
  pieces: readonly (Uint8Array | string)[],
  options: {
    limits?: Partial<Limits>;
    arrival?: "at once" | "later";
    version?: string;
  } = {},
): Opened {
  const { arrival = "at once", version = "1.1" } = options;
  const limits = { ...defaultLimits, ...options.limits };
  const bytes = octets(`POST / HTTP/${version}\r\nHost: a\r\n${lines}\r\n`);
  const head = parseRequestHead(bytes, 0, bytes.length, limits)!;
  const stream = new MemoryStream(pieces, { arrival });
  const wire = new Wire(stream);
  return { content: openContent(wire, head, limits), stream, wire };
}

/** All that `read()` gives, copied, because it is lent. */
async function readAll(content: Content): Promise<string> {
  let text = "";
  for (;;) {
    const piece = await content.read();
    if (piece === null) return text;
    assert(piece.length > 0, "an empty piece");
    text += latin1(piece);
  }
}

function rest(wire: Wire): string {
  return latin1(wire.buffer.subarray(wire.start, wire.end));
}

/** Lets all that is ready happen. */
function turn(): Promise<void> {
  return new Promise((pass) => setTimeout(pass, 0));
}

const length = (size: number) => `Content-Length: ${size}\r\n`;
const chunked = "Transfer-Encoding: chunked\r\n";
const expecting = "Expect: 100-continue\r\n";

test("openContent() reads sized content at every split, and nothing behind it", async () => {
  for (const arrival of arrivals) {
    await everySplit(
      octets("hello\r\n\0\xff!GET /stranger"),
      async (pieces) => {
        const { content, stream, wire } = open(length(10), pieces, { arrival });
        assertEquals(await readAll(content), "hello\r\n\0\xff!");
        assertEquals(content.finished, true);
        assertEquals(await content.read(), null);
        while (wire.end - wire.start < 13) await wire.fill();
        assertEquals(rest(wire), "GET /stranger");
        assertEquals(stream.misuse, []);
      },
    );
  }
});

test("openContent() unframes chunked content at every split, and nothing behind it", async () => {
  const sent =
    "5;a=b\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\nX: 1\r\n\r\nGET /stranger";
  for (const arrival of arrivals) {
    await everySplit(octets(sent), async (pieces) => {
      const { content, stream, wire } = open(chunked, pieces, { arrival });
      assertEquals(await readAll(content), "hello 0123456789");
      assertEquals(content.finished, true);
      assertEquals(content.trailers!.get("x"), "1");
      assertEquals(await content.read(), null);
      while (wire.end - wire.start < 13) await wire.fill();
      assertEquals(rest(wire), "GET /stranger");
      assertEquals(stream.misuse, []);
    });
  }
});

test("openContent() gives null at once where there is no content", () => {
  for (const lines of ["", length(0), expecting]) {
    const { content, stream } = open(lines, ["GET /stranger"]);
    assertEquals([content.finished, content.read()], [true, null]);
    assertEquals([stream.reads, stream.writes], [0, 0]);
    assertEquals(content.trailers, undefined);
    content.fail(new HttpError(408, "Too late"));
    content.withoutContinue();
    assertEquals(content.read(), null);
  }
});

test("Content.read() gives what is at hand without a promise", () => {
  for (
    const [lines, sent] of [[length(6), "abcdef"], [
      chunked,
      "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
    ]]
  ) {
    const { content } = open(lines!, [sent!]);
    let text = "";
    for (let piece; (piece = content.read()) !== null;) {
      assert(!(piece instanceof Promise));
      text += latin1(piece);
    }
    assertEquals(text, "abcdef");
  }
});

test("Content.read() gives bytes where the stream lent them", () => {
  const { content, wire } = open(length(3), ["abc"]);
  const piece = content.read() as Uint8Array;
  assert(piece.buffer === wire.buffer.buffer);
});

test("Content.finished is true with the last byte of sized content", () => {
  const { content } = open(length(3), ["abc"]);
  assertEquals([content.finished, content.outstanding], [false, 3]);
  content.read();
  assertEquals([content.finished, content.outstanding], [true, 0]);
});

test("Content.trailers is undefined before the end, and where there are none", async () => {
  const { content } = open(chunked, ["1\r\na\r\n", "0\r\nX: 1\r\n\r\n"]);
  content.read();
  assertEquals(content.trailers, undefined);
  assertEquals(await content.read(), null);
  assertEquals(content.trailers?.length, 1);
  const without = open(chunked, ["0\r\n\r\n"]).content;
  assertEquals([without.read(), without.trailers], [null, undefined]);
});

test("Content.read() tells that content is missing at end of stream (400)", async () => {
  const cases: [string, string][] = [
    [length(3), ""],
    [length(3), "ab"],
    [chunked, ""],
    [chunked, "5"],
    [chunked, "5\r\nabc"],
    [chunked, "3\r\nabc\r\n"],
    [chunked, "0\r\n"],
    [chunked, "0\r\nX: 1\r\n"],
    [chunked, "0\r\n\r"],
  ];
  for (const [lines, sent] of cases) {
    for (const arrival of arrivals) {
      const { content, stream } = open(lines, [sent], { arrival });
      stream.end();
      const error = await assertRejects(() => readAll(content), HttpError);
      assertEquals(error.status, 400);
      // And it stays so.
      await assertRejects(async () => await content.read(), HttpError);
      assertEquals(content.finished, false);
    }
  }
});

test("Content.read() rejects malformed chunks, and goes on doing so", async () => {
  const { content } = open(chunked, ["1\r\na\r\nx\r\n", "1\r\nb\r\n0\r\n\r\n"]);
  assertEquals(latin1(content.read() as Uint8Array), "a");
  const first = await assertRejects(
    async () => await content.read(),
    HttpError,
  );
  const second = await assertRejects(
    async () => await content.read(),
    HttpError,
  );
  assertEquals(first.status, 400);
  assert(first === second);
});

test("Content.read() rejects with the line's error when the peer leaves", async () => {
  const { content, stream } = open(length(3), ["a"]);
  content.read();
  const waiting = content.read() as Promise<unknown>;
  assertEquals([content.awaiting, content.waits], [true, 1]);
  stream.fail("Reset");
  await assertRejects(() => waiting, StreamError, "Reset");
  assertEquals(content.awaiting, false);
  await assertRejects(async () => await content.read(), StreamError, "Reset");
});

test("Content.read() bounds unframed content at limits.content (413)", async () => {
  const limits = { content: 5 };
  for (const arrival of arrivals) {
    await everySplit(
      octets("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
      async (pieces) => {
        assertEquals(
          await readAll(open(chunked, pieces, { limits, arrival }).content),
          "abcde",
        );
      },
    );
    await everySplit(
      octets("3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"),
      async (pieces) => {
        const { content } = open(chunked, pieces, { limits, arrival });
        const error = await assertRejects(() => readAll(content), HttpError);
        assertEquals(error.status, 413);
      },
    );
  }
});

test("Content.read() bounds a trailer line that never ends (431)", async () => {
  const { content, stream } = open(chunked, ["0\r\n"]);
  let refused: unknown;
  (async () => await content.read())().catch((error) => refused = error);
  for (let sent = 0; refused === undefined && sent < 1000; sent++) {
    stream.push("a".repeat(100));
    await turn();
  }
  assert(refused instanceof HttpError);
  assertEquals(refused.status, 431);
});

test("Content counts its waits, so that a clock can tell slow from stalled", async () => {
  const { content, stream } = open(length(3), []);
  for (const [index, byte] of ["a", "b", "c"].entries()) {
    const waiting = content.read();
    assert(waiting instanceof Promise);
    assertEquals([content.awaiting, content.waits], [true, index + 1]);
    stream.push(byte);
    await waiting;
    assertEquals(content.awaiting, false);
  }
  assertEquals(content.read(), null);
});

test("Content.read() gives big content in constant memory", async () => {
  const piece = new Uint8Array(65_536).fill(0x61);
  const { content, stream, wire } = open(length(200 * piece.length), [], {
    arrival: "later",
  });
  let received = 0;
  const reading = (async () => {
    for (let part; (part = await content.read()) !== null;) {
      received += part.length;
    }
  })();
  for (let i = 0; i < 200; i++) {
    stream.push(piece);
    await turn();
    assert(wire.buffer.length <= piece.length, `${wire.buffer.length}`);
  }
  await reading;
  assertEquals(received, 200 * piece.length);
});

// 100 (Continue)

test("Content.read() asks for content that the peer withholds, once", async () => {
  for (const lines of [length(2) + expecting, chunked + expecting]) {
    const { content, stream } = open(lines, []);
    assertEquals([content.withheld, stream.writes], [true, 0]);
    const waiting = content.read();
    assertEquals([content.withheld, stream.outputText], [false, continue100]);
    stream.push(lines.startsWith("C") ? "a" : "1\r\na\r\n");
    await waiting;
    const more = content.read();
    stream.push(lines.startsWith("C") ? "b" : "0\r\n\r\n");
    await more;
    assertEquals(stream.outputText, continue100);
    assertEquals(stream.misuse, []);
  }
});

test("Content.read() does not ask for content that has come", () => {
  const { content, stream, wire } = open(length(4) + expecting, ["ab"]);
  wire.fill();
  assertEquals(latin1(content.read() as Uint8Array), "ab");
  content.read();
  assertEquals([stream.outputText, content.withheld], ["", false]);
});

test("Content.read() does not ask a peer that does not wait for it", () => {
  for (
    const [lines, version] of [[length(2), "1.1"], [
      length(2) + expecting,
      "1.0",
    ]]
  ) {
    const { content, stream } = open(lines!, [], { version: version! });
    content.read();
    assertEquals([stream.outputText, content.withheld], ["", false]);
  }
});

test("Content.read() does not ask after the response head, and waits for what comes unasked", async () => {
  const { content, stream } = open(length(2) + expecting, []);
  content.withoutContinue();
  const waiting = content.read();
  assert(waiting instanceof Promise);
  assertEquals(stream.outputText, "");
  stream.push("ab");
  assertEquals(latin1((await waiting)!), "ab");
  assertEquals(content.finished, true);
});

test("Content.withoutContinue() does not disturb content that is being read", async () => {
  const { content, stream } = open(length(2) + expecting, []);
  const waiting = content.read();
  content.withoutContinue();
  stream.push("ab");
  assertEquals(latin1((await waiting)!), "ab");
  const plain = open(length(2), ["ab"]);
  plain.content.withoutContinue();
  assertEquals(await readAll(plain.content), "ab");
});

// Two who read, and nobody who listens

test("Content.fail() makes the read that waits, and every later one, fail", async () => {
  const { content, stream } = open(length(2), []);
  const waiting = content.read() as Promise<unknown>;
  content.fail(new HttpError(408, "Content too slow"));
  content.fail(new HttpError(400, "Another"));
  stream.push("ab");
  await assertRejects(() => waiting, HttpError, "Content too slow");
  await assertRejects(
    async () => await content.read(),
    HttpError,
    "Content too slow",
  );
});

test("Content.read() may be joined by another reader", async () => {
  for (
    const [lines, sent] of [[length(4), "abcd"], [
      chunked,
      "4\r\nabcd\r\n0\r\n\r\n",
    ]]
  ) {
    for (const pieces of [[octets(sent!)], singly(octets(sent!))]) {
      const { content, stream } = open(lines!, []);
      const first = content.read() as Promise<Uint8Array | null>;
      // What the first is given dies with the other's next read.
      let taken = 0;
      first.then((piece) => taken += piece!.length);
      const others = (async () => {
        for (let piece; (piece = await content.read()) !== null;) {
          taken += piece.length;
        }
      })();
      for (const piece of pieces) {
        stream.push(piece);
        await turn();
      }
      await others;
      assertEquals(taken, 4);
      assertEquals(content.finished, true);
      assertEquals(stream.misuse, []);
    }
  }
});

test("Content.read() harms nobody when its promise is dropped", async () => {
  const gone = open(length(3), []);
  gone.content.read();
  gone.stream.fail("Reset");
  const cut = open(length(3), []);
  cut.content.read();
  cut.stream.end();
  const bad = open(chunked, ["x"]);
  bad.content.read();
  bad.content.read();
  // An unhandled rejection would end the process, or fail this test.
  await turn();
});
