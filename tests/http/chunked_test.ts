/** The chunked transfer coding: RFC 9112 §7.1. */
import { test } from "node:test";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { HttpError } from "../../src/errors.ts";
import { ChunkedDecoder } from "../../src/http/chunked.ts";
import { defaultLimits, type Limits } from "../../src/limits.ts";
import { everySplit } from "../support/every_split.ts";
import { concat, latin1, octets } from "../support/octets.ts";

interface Decoded {
  readonly content: string;
  readonly done: boolean;
  /** How many octets of the input were taken. */
  readonly taken: number;
  readonly trailers: [string, string][] | undefined;
}

/** Decodes `pieces` as a connection would: an untaken tail stays in front. */
function decode(
  pieces: readonly Uint8Array[],
  limits: Limits = defaultLimits,
): Decoded {
  const decoder = new ChunkedDecoder(limits);
  let tail: Uint8Array = new Uint8Array(0);
  let content = "";
  let taken = 0;
  for (const piece of pieces) {
    // Foreign octets on both sides show a decoder that leaves its bounds.
    const buffer = concat([octets("f\r\n"), tail, piece, octets("0\r\n\r\n")]);
    let start = 3;
    const end = start + tail.length + piece.length;
    while (!decoder.done) {
      decoder.advance(buffer, start, end);
      assert(decoder.at >= start && decoder.at <= end);
      content += latin1(
        buffer.subarray(decoder.contentStart, decoder.contentEnd),
      );
      const found = decoder.contentEnd > decoder.contentStart;
      taken += decoder.at - start;
      start = decoder.at;
      if (!found) break;
    }
    tail = buffer.slice(start, end);
    buffer.fill(0x21);
  }
  const { trailers } = decoder;
  return {
    content,
    done: decoder.done,
    taken,
    trailers: trailers === undefined ? undefined : Array.from(
      { length: trailers.length },
      (_, i) => [trailers.name(i).lower, trailers.value(i)],
    ),
  };
}

async function assertDecodes(
  text: string,
  content: string,
  trailers?: [string, string][],
  limits?: Limits,
): Promise<void> {
  const stranger = octets("GET / HTTP/1.1\r\n");
  await everySplit(octets(text), (pieces) => {
    assertEquals(decode(pieces, limits), {
      content,
      done: true,
      taken: text.length,
      trailers,
    });
    const last = concat([pieces.at(-1)!, stranger]);
    assertEquals(
      decode([...pieces.slice(0, -1), last], limits).taken,
      text.length,
    );
  });
}

async function assertRefused(
  text: string,
  status: number,
  limits?: Limits,
): Promise<void> {
  await everySplit(octets(text), (pieces) => {
    const error = assertThrows(
      () => decode(pieces, limits),
      HttpError,
      "",
      JSON.stringify(text),
    );
    assertEquals(error.status, status, JSON.stringify(text));
  });
}

test("ChunkedDecoder decodes chunks of any spelling", async () => {
  await assertDecodes("0\r\n\r\n", "");
  await assertDecodes("5\r\nhello\r\n0\r\n\r\n", "hello");
  await assertDecodes("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc");
  await assertDecodes("A\r\n0123456789\r\n0\r\n\r\n", "0123456789");
  await assertDecodes("a\r\n0123456789\r\n0\r\n\r\n", "0123456789");
  await assertDecodes("0000000000000005\r\nhello\r\n0000\r\n\r\n", "hello");
  await assertDecodes("5\r\n\r\n0\r\n\r\n0\r\n\r\n", "\r\n0\r\n");
  await assertDecodes("3\r\n\0\xff\n\r\n0\r\n\r\n", "\0\xff\n");
});

test("ChunkedDecoder overlooks chunk extensions (RFC 9112 §7.1.1)", async () => {
  const extensions = [
    ";a",
    ";a=b",
    ";a;b=c;d",
    ' ; a = "b"',
    ';a="b;c\r"'.replace("\r", " "),
    ';a="\\"\\\\\xe9"',
    '\t;\ta\t=\t"";b',
    ';a="b" ;c',
    ";a ;b",
    ";a=b ;c",
    ";a=b\t; c",
  ];
  for (const extension of extensions) {
    await assertDecodes(`2${extension}\r\nhi\r\n0${extension}\r\n\r\n`, "hi");
  }
});

test("ChunkedDecoder gives the trailer section (RFC 9112 §7.1.2)", async () => {
  await assertDecodes("1\r\na\r\n0\r\nX: 1\r\nY:\r\n\r\n", "a", [
    ["x", "1"],
    ["y", ""],
  ]);
});

test("ChunkedDecoder waits for the end of the trailer section", () => {
  const text = "1\r\na\r\n0\r\nX: 1\r\n\r\n";
  for (let end = 0; end < text.length; end++) {
    assertEquals(decode([octets(text.slice(0, end))]).done, false, `at ${end}`);
  }
});

test("ChunkedDecoder.inTrailer tells that the trailer section is awaited", () => {
  const decoder = new ChunkedDecoder(defaultLimits);
  const text = octets("0\r\nX: 1\r\n\r\n");
  decoder.advance(text, 0, 2);
  assertEquals(decoder.inTrailer, false);
  decoder.advance(text, 2, 5);
  assertEquals([decoder.inTrailer, decoder.at], [true, 3]);
  decoder.advance(text, 3, text.length);
  assertEquals([decoder.inTrailer, decoder.done], [false, true]);
  decoder.advance(text, 0, text.length);
  assertEquals([decoder.done, decoder.at], [true, 0]);
});

test("ChunkedDecoder refuses a malformed size (RFC 9112 §7.1)", async () => {
  const sizes = [
    "",
    " 1",
    "\t1",
    "+1",
    "-1",
    "0x1",
    "1_0",
    "g",
    "1 ",
    "1\t",
    "1.0",
    "1,",
    "\x001",
    "\xb9",
    "00000000000000001",
  ];
  for (const size of sizes) {
    await assertRefused(`${size}\r\na\r\n0\r\n\r\n`, 400);
  }
});

test("ChunkedDecoder answers 413 to a size that cannot be counted", async () => {
  for (const size of ["20000000000000", "ffffffffffffffff"]) {
    await assertRefused(`${size}\r\na\r\n0\r\n\r\n`, 413);
  }
});

test("ChunkedDecoder refuses CR and LF that do not stand together", async () => {
  const texts = [
    "1\na\r\n0\r\n\r\n",
    "1\r\ra\r\n0\r\n\r\n",
    "1\rxa\r\n0\r\n\r\n",
    "1\r\r\na\r\n0\r\n\r\n",
    "1\r\na\n0\r\n\r\n",
    "1\r\na\r0\r\n\r\n",
    "1\r\na\r\r\n0\r\n\r\n",
    "1\r\na\r\n0\n\r\n",
    "1\r\na\r\n0\r\n\n",
    "1\r\na\r\n0\r\n\rX",
    "1;a\n\r\na\r\n0\r\n\r\n",
    '1;a="\r\n"\r\na\r\n0\r\n\r\n',
    '1;a="\n"\r\na\r\n0\r\n\r\n',
    '1;a="\\\n"\r\na\r\n0\r\n\r\n',
    "1;a\rb\r\na\r\n0\r\n\r\n",
  ];
  for (const text of texts) await assertRefused(text, 400);
});

test("ChunkedDecoder refuses a chunk whose data is not as long as its size", async () => {
  await assertRefused("1\r\nab\r\n0\r\n\r\n", 400);
  await assertRefused("3\r\na\r\n0\r\n\r\n", 400);
});

test("ChunkedDecoder refuses malformed extensions", async () => {
  const extensions = [
    ";",
    "; ",
    ";a ",
    ";a\t",
    ";=b",
    ";a=",
    ";a= ",
    ";a=;b",
    ";;a",
    ";a;",
    ";a=b ",
    ';a="b',
    ';a="b"c',
    ';a="b" ',
    ';a"b"',
    ";a=b c",
    ";a b",
    ";a=b=c",
    ";\0",
    ";a\x7f",
    ";\xe9",
    ";a=\xe9",
    ';a="\0"',
    ';a="\\',
    ';a="\\\0"',
    "a=b",
    " a",
    " ",
  ];
  for (const extension of extensions) {
    // The last three would otherwise be a longer size, or white space alone.
    const size = extension === "a=b" ? "1;=" : "1";
    await assertRefused(`${size}${extension}\r\na\r\n0\r\n\r\n`, 400);
  }
});

test("ChunkedDecoder bounds the extensions of all chunks together", async () => {
  const limits = { ...defaultLimits, chunkExtensions: 6 };
  await assertDecodes(
    "1;a\r\na\r\n1;b\r\nb\r\n0;c\r\n\r\n",
    "ab",
    undefined,
    limits,
  );
  await assertRefused("1;a\r\na\r\n1;b\r\nb\r\n0;cd\r\n\r\n", 400, limits);
  await assertRefused(`1;${"a".repeat(50)}`, 400, limits);
  await assertRefused(`1${" ".repeat(50)}`, 400, limits);
  await assertRefused(`1;a="${"a".repeat(50)}`, 400, limits);
});

test("ChunkedDecoder bounds the trailer section (431)", async () => {
  const limits = {
    ...defaultLimits,
    fieldLine: 10,
    fieldSection: 30,
    fieldCount: 3,
  };
  await assertDecodes(`0\r\n${"a: b\r\n".repeat(3)}\r\n`, "", [
    ["a", "b"],
    ["a", "b"],
    ["a", "b"],
  ], limits);
  await assertRefused(`0\r\n${"a: b\r\n".repeat(4)}\r\n`, 431, limits);
  await assertRefused("0\r\na: 456789ab\r\n\r\n", 431, limits);
  await assertRefused(`0\r\n${"a".repeat(50)}`, 431, limits);
  await assertRefused(`0\r\n${"abc: 5678\r\n".repeat(3)}\r\n`, 431, limits);
});

test("ChunkedDecoder refuses a malformed trailer section", async () => {
  for (const line of ["X : 1", " X: 1", "X", ": 1", "X: \0", "X: 1\r\n 2"]) {
    await assertRefused(`0\r\n${line}\r\n\r\n`, 400);
  }
});

test("ChunkedDecoder refuses framing and routing in trailers (RFC 9110 §6.5.1)", async () => {
  for (const name of ["Content-Length", "TRANSFER-encoding", "Host"]) {
    await assertRefused(`0\r\nX: 1\r\n${name}: 1\r\n\r\n`, 400);
  }
});

test("ChunkedDecoder gives content where it lies, as far as it has come", () => {
  const decoder = new ChunkedDecoder(defaultLimits);
  const text = octets("5\r\nhello\r\n");
  decoder.advance(text, 0, 5);
  assertEquals([decoder.contentStart, decoder.contentEnd, decoder.at], [
    3,
    5,
    5,
  ]);
  decoder.advance(text, 5, text.length);
  assertEquals([decoder.contentStart, decoder.contentEnd, decoder.at], [
    5,
    8,
    8,
  ]);
  decoder.advance(text, 8, text.length);
  assertEquals(decoder.contentStart, decoder.contentEnd);
  assertEquals([decoder.at, decoder.done], [10, false]);
});
