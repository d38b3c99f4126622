import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { test } from "node:test";
import { keepText, type Line, LineOctets, TextLine } from "../src/line.ts";
import { LineBuffer } from "../src/line_buffer.ts";

const decoder = new TextDecoder();

/** What a line has been given, both ways. */
function both(give: (line: Line) => void): [octets: string, text: string] {
  const octets = new LineOctets(64);
  octets.begin();
  give(octets);
  octets.end();
  const text = new TextLine();
  give(text);
  return [decoder.decode(octets.take()), `${text.text}\n`];
}

const texts = [
  "",
  "a",
  "GET /",
  "x".repeat(16),
  "x".repeat(17),
  "x".repeat(48),
  "x".repeat(49),
  "x".repeat(1000),
  "\u00e9",
  "\u20ac and \ud83d\ude00",
  "long enough for a call: \u00e9 \u20ac \ud83d\ude00",
  "\ud83d",
  "\x7f",
];

test("a line has the texts that it was given, as UTF-8", () => {
  for (const text of texts) {
    const expected = decoder.decode(new TextEncoder().encode(`<${text}>\n`));
    const [octets, asText] = both((line) => {
      line.put("<");
      line.put(text);
      line.putKept(keepText(">"));
    });
    assertEquals(octets, expected);
    assertEquals(asText, `<${text}>\n`);
    assertEquals(
      both((line) => line.putKept(keepText(`<${text}>`)))[0],
      expected,
    );
  }
});

test("putNumber() writes decimal digits", () => {
  const numbers = [0, 1, 9, 10, 99, 100, 101, 499, 1234, 65_536, 999_999_999];
  numbers.push(
    2 ** 31 - 1,
    2 ** 31,
    2 ** 32,
    50_000_000_000,
    Number.MAX_SAFE_INTEGER,
  );
  for (const number of numbers) {
    const lines = both((line) => line.putNumber(number));
    assertEquals(lines, [`${number}\n`, `${number}\n`]);
  }
});

test("putIfPlain() adds nothing that would have to be escaped", () => {
  for (let code = 0; code <= 0x100; code++) {
    const text = `a${String.fromCharCode(code)}b`;
    const plain = code >= 0x20 && code <= 0x7e && text !== 'a"b' &&
      text !== "a\\b";
    const taken: boolean[] = [];
    const lines = both((line) => {
      line.put("<");
      taken.push(line.putIfPlain(text));
      line.put(">");
    });
    assertEquals(taken, [plain, plain]);
    const expected = plain ? `<${text}>\n` : "<>\n";
    assertEquals(lines, [expected, expected]);
  }
});

test("putIfPlain() leaves long texts alone, or adds them whole", () => {
  for (const text of texts) {
    const [octets] = both((line) => {
      if (!line.putIfPlain(text)) line.put("-");
    });
    const given = decoder.decode(new TextEncoder().encode(`${text}\n`));
    assert(octets === given || octets === "-\n", octets);
  }
});

test("LineOctets grows by what a line needs, and forgets that", () => {
  const lines = new LineOctets(32);
  const usual = () => {
    lines.begin();
    lines.put("usual");
    lines.end();
    return lines.take().buffer;
  };
  const memory = usual();
  assertStrictEquals(usual(), memory);
  for (let size = 0; size < 200; size++) {
    lines.begin();
    lines.put("first");
    lines.end();
    lines.begin();
    for (let i = 0; i < size; i++) lines.put("x");
    lines.end();
    assertEquals(decoder.decode(lines.take()), `first\n${"x".repeat(size)}\n`);
    assertEquals(usual().byteLength, 32);
  }
});

test("LineOctets drops a line that does not end", () => {
  const lines = new LineOctets(64);
  lines.begin();
  lines.put("one");
  lines.end();
  lines.begin();
  lines.put("half");
  lines.begin();
  lines.put("two");
  lines.end();
  lines.begin();
  lines.put("half");
  assertEquals(lines.size, 8);
  assertEquals(decoder.decode(lines.take()), "one\ntwo\n");
  lines.begin();
  lines.end();
  assertEquals(decoder.decode(lines.take()), "\n");
});

test("LineBuffer writes at the end of the turn after a pause", async () => {
  const written: string[] = [];
  await new Promise<void>((resolve) => {
    const buffer = new LineBuffer((lines) => {
      written.push(decoder.decode(lines));
      resolve();
    });
    buffer.append("one");
    const line = buffer.begin();
    line.put("t");
    line.put("wo");
    buffer.end();
    assertEquals(written, []);
  });
  assertEquals(written, ["one\ntwo\n"]);
});

test("LineBuffer writes at once at 64 KiB, and what is left at flush()", () => {
  const sizes: number[] = [];
  const buffer = new LineBuffer((lines) => sizes.push(lines.length));
  const line = "x".repeat(1023);
  for (let count = 0; count < 65; count++) buffer.append(line);
  assertEquals(sizes, [65_536]);
  buffer.flush();
  buffer.flush();
  assertEquals(sizes, [65_536, 1024]);
});

test("LineBuffer loses nothing, however long the lines are", () => {
  let written = "";
  const buffer = new LineBuffer((lines) => written += decoder.decode(lines));
  let expected = "";
  for (let count = 0; count < 40; count++) {
    const line = `${count} `.repeat(1 + count ** 3 / 4);
    buffer.append(line);
    expected += `${line}\n`;
  }
  buffer.flush();
  assertStrictEquals(written === expected, true);
});

test("LineBuffer takes no line for written that a failing write has taken", () => {
  const written: string[] = [];
  let failing = true;
  const buffer = new LineBuffer((lines) => {
    if (failing) throw new Error("Disk full");
    written.push(decoder.decode(lines));
  });
  buffer.append("lost");
  let thrown: unknown;
  try {
    buffer.flush();
  } catch (error) {
    thrown = error;
  }
  assert(thrown instanceof Error);
  failing = false;
  buffer.append("next");
  buffer.flush();
  assertEquals(written, ["next\n"]);
});
