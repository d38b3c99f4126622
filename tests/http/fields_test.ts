/** The field section: RFC 9112 §5. */
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { HttpError } from "../../src/errors.ts";
import { type FieldSection, parseFieldSection } from "../../src/http/fields.ts";
import { defaultLimits, type Limits } from "../../src/limits.ts";
import { octets } from "../support/octets.ts";

const small: Limits = {
  ...defaultLimits,
  fieldLine: 20,
  fieldSection: 60,
  fieldCount: 5,
};

/** Reads `text` from the middle of foreign octets. */
function parse(
  text: string,
  limits: Limits = defaultLimits,
): FieldSection | undefined {
  const wire = octets(`??${text}`);
  // What lies behind the end has not arrived: it must not be looked at.
  const buffer = octets(`??${text}\n\0\r\n\r\n`);
  const section = parseFieldSection(buffer, 2, wire.length, limits, 2);
  buffer.fill(0x21); // the buffer may be reused
  return section;
}

function lines(section: FieldSection): [string, string][] {
  return Array.from(
    { length: section.length },
    (_, i) => [section.name(i).lower, section.value(i)],
  );
}

/** The first refusal while `text` arrives octet by octet, if there is one. */
function refusedWhen(
  text: string,
  limits: Limits,
): { status: number; at: number } | undefined {
  for (let end = 0; end <= text.length; end++) {
    try {
      parse(text.slice(0, end), limits);
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      return { status: error.status, at: end };
    }
  }
  return undefined;
}

function assertRefused(text: string, status: number, limits = defaultLimits) {
  const why = JSON.stringify(text.slice(0, 80));
  const error = assertThrows(() => parse(text, limits), HttpError, "", why);
  assertEquals(error.status, status, why);
  // Octet by octet, it must come to the same.
  assertEquals(refusedWhen(text, limits)?.status, status, why);
}

test("parseFieldSection() reads lines in order, and stops behind the empty one", () => {
  const text = "Host: a\r\nX-A:1\r\nx-a:\t 2 \t\r\n\r\n";
  const section = parse(`${text}Stranger: bytes\r\n\r\n`)!;
  assertEquals(lines(section), [["host", "a"], ["x-a", "1"], ["x-a", "2"]]);
  assertEquals(section.size, text.length);
  assertEquals(section.length, 3);
});

test("parseFieldSection() reads an empty section", () => {
  const section = parse("\r\nmore")!;
  assertEquals([section.length, section.size], [0, 2]);
  assertEquals(section.get("host"), undefined);
});

test("parseFieldSection() wants more until the very end", () => {
  const text = "Host: a\r\nX: \xe9\r\nEmpty:\r\n\r\n";
  for (let end = 0; end < text.length; end++) {
    assertEquals(parse(text.slice(0, end)), undefined, `at ${end}`);
  }
  assertEquals(lines(parse(text)!), [["host", "a"], ["x", "\xe9"], [
    "empty",
    "",
  ]]);
});

test("parseFieldSection() takes white space off both ends of a value alone", () => {
  const cases: [string, string][] = [
    ["", ""],
    [" ", ""],
    [" \t \t ", ""],
    ["a", "a"],
    ["  a b\tc  ", "a b\tc"],
    ["\ta\t", "a"],
    [":a:", ":a:"],
    ['"a ; \\" "', '"a ; \\" "'],
    ["\xa0a\xa0", "\xa0a\xa0"],
  ];
  for (const [written, value] of cases) {
    assertEquals(lines(parse(`A:${written}\r\n\r\n`)!), [["a", value]]);
  }
});

test("parseFieldSection() keeps obs-text as one character per octet", () => {
  let text = "";
  for (let octet = 0x80; octet <= 0xff; octet++) {
    text += String.fromCharCode(octet);
  }
  // The lines around it must not shift.
  const section = parse(`A: 1\r\nB: ${text}\r\nC: \xef\xbb\xbf3\r\n\r\n`)!;
  assertEquals(lines(section), [["a", "1"], ["b", text], [
    "c",
    "\xef\xbb\xbf3",
  ]]);
});

test("parseFieldSection() decodes what stands before the section with it", () => {
  const wire = octets("LINE\r\nA: b\r\n\r\n");
  const section = parseFieldSection(
    wire,
    6,
    wire.length,
    defaultLimits,
    0,
  )!;
  assertEquals(section.text.slice(0, 4), "LINE");
  assertEquals(section.value(0), "b");
  const high = octets("L\xefNE\r\nA: b\r\n\r\n");
  assertEquals(
    parseFieldSection(high, 6, high.length, defaultLimits, 0)!.text
      .slice(0, 4),
    "L\xefNE",
  );
});

test("parseFieldSection() refuses every octet that a name must not have", () => {
  for (let octet = 0; octet < 256; octet++) {
    const character = String.fromCharCode(octet);
    if (/[!#$%&'*+\-.^_`|~0-9A-Za-z:]/.test(character)) continue;
    assertRefused(`a${character}b: c\r\n\r\n`, 400);
  }
});

test("parseFieldSection() refuses every octet that a value must not have (RFC 9110 §5.5)", () => {
  for (let octet = 0; octet < 256; octet++) {
    const character = String.fromCharCode(octet);
    if (/[\t\x20-\x7e\x80-\xff]/.test(character)) continue;
    assertRefused(`a: b${character}c\r\n\r\n`, 400);
    assertRefused(`a: ${character}\r\n\r\n`, 400);
  }
});

test("parseFieldSection() refuses malformed lines", () => {
  const texts = [
    " a: b\r\n\r\n",
    "\ta: b\r\n\r\n",
    "a: b\r\n c\r\n\r\n", // obs-fold (RFC 9112 §5.2)
    "a: b\r\n\tc\r\n\r\n",
    "a: b\r\n \r\n\r\n",
    "a : b\r\n\r\n", // RFC 9112 §5.1
    "a\t: b\r\n\r\n",
    ": b\r\n\r\n",
    "ab\r\n\r\n",
    "a\n\r\n",
    "a: b\n\r\n",
    "a: b\n\n",
    "\n",
    "\r\r\n",
    "\rA: b\r\n\r\n",
    "a: b\r\r\n\r\n",
    "a: b\r\n\n",
    "a: b\r\n\rc: d\r\n\r\n",
    "a: b\rc: d\r\n\r\n",
  ];
  for (const text of texts) assertRefused(text, 400);
});

test("parseFieldSection() bounds a line, without its CRLF, at fieldLine (431)", () => {
  const value = (length: number) => "v".repeat(length - "a: ".length);
  assertEquals(parse(`a: ${value(20)}\r\n\r\n`, small)!.length, 1);
  assertRefused(`a: ${value(21)}\r\n\r\n`, 431, small);
  assertRefused(`${"n".repeat(30)}: b\r\n\r\n`, 431, small);
  assertRefused(`a:${" ".repeat(30)}b\r\n\r\n`, 431, small);
  assertRefused(`a: b${" ".repeat(30)}\r\n\r\n`, 431, small);
});

test("parseFieldSection() answers alike what breaks two rules, however it arrives", () => {
  assertRefused(`${"n".repeat(21)}@: b\r\n\r\n`, 431, small);
  assertRefused(`${"n".repeat(20)}@: b\r\n\r\n`, 400, small);
  assertRefused(`a: ${"v".repeat(18)}\0\r\n\r\n`, 431, small);
  assertRefused(`a: ${"v".repeat(17)}\0\r\n\r\n`, 400, small);
  const filler = "aaa: 45678901234567\r\n"; // 21 octets
  assertRefused(`${filler}${filler}${"n".repeat(19)}@\r\n\r\n`, 431, small);
  assertRefused(`${filler}${filler}${"n".repeat(18)}@\r\n\r\n`, 400, small);
  assertRefused(`${filler}${filler}a: ${"v".repeat(16)}\0\r\n\r\n`, 431, small);
  assertRefused(`${filler}${filler}a: ${"v".repeat(15)}\0\r\n\r\n`, 400, small);
  assertRefused(`${filler}${filler}a: ${"v".repeat(15)}\rx\r\n`, 431, small);
  assertRefused(`${filler}${filler}a: ${"v".repeat(14)}\rx\r\n`, 400, small);
});

test("parseFieldSection() does not count what lies behind the end", () => {
  const limits = { ...defaultLimits, fieldLine: 30 };
  for (let length = 26; length < 31; length++) {
    const line = octets("X: ".padEnd(60, "v"));
    assertEquals(parseFieldSection(line, 0, length, limits, 0), undefined);
  }
});

test("parseFieldSection() refuses an endless line as soon as it is too long", () => {
  for (const text of ["a".repeat(400), `a: ${"b".repeat(400)}`]) {
    const refused = refusedWhen(text, small)!;
    assertEquals(refused.status, 431);
    // With the octet behind the limit, or with the one in its place of LF.
    assert(refused.at === 21 || refused.at === 22, String(refused.at));
  }
});

test("parseFieldSection() bounds the section, without its last line, at fieldSection (431)", () => {
  const line = "a: 3456789012\r\n"; // 15 octets
  assertEquals(parse(`${line.repeat(4)}\r\n`, small)!.length, 4);
  assertRefused(`${line.repeat(4)}b:\r\n\r\n`, 431, small);
});

test("parseFieldSection() bounds the number of lines at fieldCount (431)", () => {
  assertEquals(parse(`${"a:\r\n".repeat(5)}\r\n`, small)!.length, 5);
  assertRefused(`${"a:\r\n".repeat(6)}\r\n`, 431, small);
});

test("parseFieldSection() shows the offending octets to the log alone", () => {
  const error = assertThrows(() => parse("secret\0: b\r\n\r\n"), HttpError);
  assertEquals(error.message.includes("secret"), false);
  assertEquals(error.detail?.startsWith("secret\0"), true);
});

test("FieldSection.get() joins values, Cookie with '; ' (RFC 9110 §5.3, RFC 6265 §5.4)", () => {
  const section = parse(
    "Accept: a\r\nCookie: b=1\r\naccept:\r\nCOOKIE: c=2\r\nACCEPT: d, e\r\n\r\n",
  )!;
  assertEquals(section.get("accept"), "a, , d, e");
  assertEquals(section.get("cookie"), "b=1; c=2");
  assertEquals(section.get("Accept"), undefined);
  assertEquals(section.get("constructor"), undefined);
});

test("FieldName.meta is the CGI variable, and undefined where it would forge one (RFC 3875 §4.1.18)", () => {
  const cases: [string, string | undefined][] = [
    ["Accept", "HTTP_ACCEPT"],
    ["x-FORWARDED-for", "HTTP_X_FORWARDED_FOR"],
    ["Content-Type", "CONTENT_TYPE"],
    ["CONTENT-LENGTH", "CONTENT_LENGTH"],
    ["Content-Type2", "HTTP_CONTENT_TYPE2"],
    ["Proxy", undefined],
    ["PROXY", undefined],
    ["Proxy-Connection", "HTTP_PROXY_CONNECTION"],
    ["X_Forwarded-For", undefined],
    ["Content_Length", undefined],
    ["_", undefined],
    ["X.Forwarded.For", undefined],
    ["X-A!", undefined],
    ["X-1", "HTTP_X_1"],
    ["constructor", "HTTP_CONSTRUCTOR"],
    ["__proto__", undefined],
    ["toString", "HTTP_TOSTRING"],
  ];
  for (const [name, meta] of cases) {
    const section = parse(`${name}: v\r\n\r\n`)!;
    assertEquals(section.name(0).lower, name.toLowerCase());
    assertEquals(section.name(0).meta, meta, name);
    assertEquals(
      section.role(0) === 0,
      name.toLowerCase() !== "content-length",
    );
  }
});

test("parseFieldSection() interns a name in whatever case", () => {
  const first = parse("X-Interned: 1\r\n\r\n")!.name(0);
  assertStrictEquals(parse("x-iNTERNED: 2\r\n\r\n")!.name(0), first);
});

test("parseFieldSection() does not take a name for another of the same hash", () => {
  // 31 * code + code is the same for both halves of a pair, so that any mixture
  // of them has one hash.
  const names = ["b~b~", "b~c_", "c_b~", "c_c_"];
  for (const first of names) {
    for (const second of names) {
      const section = parse(`${first}: 1\r\n${second}: 2\r\n\r\n`)!;
      assertEquals(lines(section), [[first, "1"], [second, "2"]]);
    }
  }
});

test("parseFieldSection() stays right with more names than it can intern", () => {
  for (let round = 0; round < 2; round++) {
    for (let at = 0; at < 5000; at += 50) {
      const names = Array.from({ length: 50 }, (_, i) => `n${at + i}`);
      const text = names.map((name) => `${name}: ${name}\r\n`).join("");
      assertEquals(
        lines(parse(`${text}\r\n`)!),
        names.map((name) => [name, name]),
      );
    }
  }
});

test("parseFieldSection() reads names of any length, interned or not", () => {
  for (const length of [1, 63, 64, 65, 1000]) {
    const name = "N".repeat(length);
    const section = parse(`${name}: 1\r\n${name}x: 2\r\n\r\n`)!;
    assertEquals(lines(section), [
      [name.toLowerCase(), "1"],
      [`${name.toLowerCase()}x`, "2"],
    ]);
  }
});

test("FieldSection.mayRepeat is false only where no name occurs twice", () => {
  const once = "X-Once-A: 1\r\nX-Once-B: 2\r\n\r\n";
  parse(once); // a name met for the first time may be one that was forgotten
  for (let i = 0; i < 3; i++) assertEquals(parse(once)?.mayRepeat, false);
  assertEquals(parse("\r\n")?.mayRepeat, false);
  const twice = "X-Once-A: 1\r\nX-Once-B: 2\r\nx-once-a: 3\r\n\r\n";
  for (let i = 0; i < 3; i++) assertEquals(parse(twice)?.mayRepeat, true);
  const long = `X-${"a".repeat(200)}: 1\r\n`;
  for (let i = 0; i < 3; i++) {
    assertEquals(parse(`${long}${long}\r\n`)?.mayRepeat, true);
  }
});

test("FieldSection.mayRepeat is true although a name was forgotten between", () => {
  // All of one hash, so that the third puts the first out.
  const text = "b~b~: 1\r\nb~c_: 2\r\nc_b~: 3\r\nb~b~: 4\r\n\r\n";
  for (let i = 0; i < 4; i++) assertEquals(parse(text)?.mayRepeat, true);
});

test("parseFieldSection() is not misled by the names of the section before", () => {
  const names = ["Accept", "Accept-Encoding", "Accep", "A", "accept", "bccept"];
  for (const before of names) {
    for (const name of names) {
      for (const text of [`${before}: 1\r\n`, `${name}:v\r\nX: 2\r\n`]) {
        assertEquals(parse(text), undefined);
      }
      assertEquals(lines(parse(`${before}: 1\r\n\r\n`)!), [
        [before.toLowerCase(), "1"],
      ]);
      assertEquals(parse(name), undefined);
      assertRefused(`${name} : v\r\n\r\n`, 400);
      assertRefused(`${name}\r\n\r\n`, 400);
      assertEquals(lines(parse(`${name}: v\r\n\r\n`)!), [
        [name.toLowerCase(), "v"],
      ]);
    }
  }
});

test("parseFieldSection() notices octets beyond ASCII wherever they stand", () => {
  const filler = `X-Filler: ${"f".repeat(150)}\r\n`;
  for (let before = 0; before < 9; before++) {
    for (const odd of ["\xe9", "\t", "\xff"]) {
      const value = `${"v".repeat(before)}${odd}${"w".repeat(9)}`;
      const section = parse(`${filler}X: ${value}\r\n${filler}\r\n`);
      assertEquals(section?.value(1), value.replace(/^\t/, ""));
    }
    for (const bad of ["\x00", "\x1f", "\x7f", "\n", "\r"]) {
      const value = `${"v".repeat(before)}${bad}${"w".repeat(9)}`;
      assertRefused(`${filler}X: ${value}\r\n${filler}\r\n`, 400);
    }
  }
});
