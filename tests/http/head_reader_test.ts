/** Heads that come again on one connection. */
import { test } from "node:test";
import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { HttpError } from "../../src/errors.ts";
import { HeadReader } from "../../src/http/head_reader.ts";
import { type ParsedHead, parseRequestHead } from "../../src/http/head.ts";
import { defaultLimits, type Limits } from "../../src/limits.ts";
import { octets } from "../support/octets.ts";

/** As a browser has it, with an octet beyond ASCII. */
const common = "Host: example.org\r\nConnection: keep-alive\r\n" +
  "User-Agent: Agent/1.0 (caf\xe9)\r\nAccept: text/html,*/*;q=0.8\r\n" +
  "Cookie: session=0123456789abcdef; theme=dark\r\n\r\n";

const page = `GET /page?a=b HTTP/1.1\r\n${common}`;

type Reading = (
  buffer: Uint8Array,
  start: number,
  end: number,
  limits: Limits,
) => ParsedHead | undefined;

/** Reads `text` from the middle of foreign octets. */
function read(reading: Reading, text: string): ParsedHead | undefined {
  const buffer = octets(`??${text}GET / HTTP/1.1\r\n\r\n`);
  const head = reading(buffer, 2, 2 + text.length, defaultLimits);
  buffer.fill(0x21); // the buffer may be reused
  return head;
}

/** All that reading `text` tells: of the head, or of the refusal. */
function told(reading: Reading, text: string): unknown {
  try {
    const head = read(reading, text);
    if (head === undefined) return "unfinished";
    const { fields } = head;
    return {
      ...head,
      fields: Array.from(
        { length: fields.length },
        (_, i) => [fields.name(i).lower, fields.value(i)],
      ),
      size: head.size,
    };
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    return [error.status, error.message, error.detail];
  }
}

function readerOf(
  ...texts: string[]
): { reader: HeadReader; reading: Reading } {
  const reader = new HeadReader();
  const reading: Reading = (...range) => reader.read(...range);
  for (const text of texts) assert(read(reading, text) !== undefined);
  return { reader, reading };
}

test("HeadReader gives the same head again for the same octets", () => {
  const { reading } = readerOf();
  const first = read(reading, page)!;
  assertEquals(first.fields.recurs, false);
  for (let i = 0; i < 3; i++) assertStrictEquals(read(reading, page), first);
  assertEquals(first.fields.recurs, true);
  assertEquals(first.fields.get("user-agent"), "Agent/1.0 (caf\xe9)");
});

test("HeadReader gives the same fields again behind another request line", () => {
  const { reading } = readerOf();
  const first = read(reading, page)!;
  const lines: [string, string, string, number][] = [
    ["GET /other HTTP/1.1", "GET", "/other", 11],
    ["POST /page?a=b HTTP/1.1", "POST", "/page", 11],
    ["GET /page?a=c HTTP/1.1", "GET", "/page", 11],
    ["GET /page?a=c HTTP/1.0", "GET", "/page", 10],
    ["GET /page?a=b HTTP/1.1", "GET", "/page", 11],
  ];
  for (const [line, method, path, version] of lines) {
    const head = read(reading, `${line}\r\n${common}`)!;
    assert(head !== first);
    assertStrictEquals(head.fields, first.fields);
    assertEquals([head.method, head.path, head.version], [
      method,
      path,
      version,
    ]);
    assertEquals(head.size, line.length + 2 + common.length);
  }
});

test("HeadReader reads whatever differs in one octet like any other head", () => {
  for (const last of [page, `GET /a HTTP/1.1\r\nHost: a\r\n\r\n`]) {
    for (let at = 0; at < last.length; at++) {
      for (const octet of ["\0", "\n", "\r", " ", ":", "A", "a", "\x7f", "é"]) {
        const text = last.slice(0, at) + octet + last.slice(at + 1);
        const { reading } = readerOf(last);
        assertEquals(
          told(reading, text),
          told(parseRequestHead, text),
          JSON.stringify(text),
        );
      }
    }
  }
});

test("HeadReader reads whatever is shorter or longer like any other head", () => {
  for (let at = 0; at <= page.length; at++) {
    for (
      const text of [
        page.slice(0, at),
        page.slice(0, at) + page.slice(at + 1),
        page.slice(0, at) + "x" + page.slice(at),
        page.slice(0, at) + "\r\n" + page.slice(at),
      ]
    ) {
      const { reading } = readerOf(page);
      assertEquals(
        told(reading, text),
        told(parseRequestHead, text),
        JSON.stringify(text),
      );
    }
  }
});

test("HeadReader judges known fields anew for each request line", () => {
  const fields = "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  const { reading } = readerOf(`POST / HTTP/1.1\r\n${fields}`);
  // RFC 9112 §6.1: not in HTTP/1.0.
  const older = `POST / HTTP/1.0\r\n${fields}`;
  assertEquals(told(reading, older), told(parseRequestHead, older));
  assertEquals((told(reading, older) as unknown[])[0], 400);
  const absolute = `POST http://b/ HTTP/1.1\r\n${fields}`;
  assertEquals(read(reading, absolute)!.authority, "b");
  const again = read(reading, `POST / HTTP/1.1\r\n${fields}`)!;
  assertEquals([again.authority, again.framing], ["a", "chunked"]);
});

test("HeadReader waits for what is known until it is whole", () => {
  const { reader, reading } = readerOf(page);
  // What lies behind the end has not arrived, whatever it looks like.
  const buffer = octets(page);
  for (let end = 0; end < page.length; end++) {
    assertEquals(reader.read(buffer, 0, end, defaultLimits), undefined);
  }
  assert(read(reading, page)!.fields.recurs);
});

test("HeadReader remembers no head that was refused", () => {
  const { reading } = readerOf();
  const refused = page.replace("Accept", "Host");
  const expected = told(parseRequestHead, refused);
  for (let i = 0; i < 3; i++) assertEquals(told(reading, refused), expected);
});

test("HeadReader goes on although fields of one length always differ", () => {
  const { reading } = readerOf();
  // The long field sees to it that a glance does not find the difference.
  const numbered = (number: number) =>
    `GET / HTTP/1.1\r\nHost: a\r\nX-Number: ${number}\r\nX: ${
      "x".repeat(2000)
    }\r\n\r\n`;
  for (let number = 1000; number < 2000; number++) {
    const { fields } = read(reading, numbered(number))!;
    assertEquals(fields.get("x-number"), String(number));
  }
  // And knows them again some time after they have come to rest.
  const heads = new Set<ParsedHead>();
  for (let i = 0; i < 1000; i++) heads.add(read(reading, numbered(1))!);
  assert(heads.size < 500, `${heads.size} of 1000 were read`);
  // Then it is not put off for long by one that differs.
  read(reading, numbered(2));
  heads.clear();
  for (let i = 0; i < 20; i++) heads.add(read(reading, numbered(1))!);
  assert(heads.size < 10, `${heads.size} of 20 were read`);
});
