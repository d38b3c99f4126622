/** The classes of octets, and the one way between octets and strings. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import {
  decodeOctets,
  decodeSlowly,
  encodeOctets,
  HEX,
  hexValue,
  lowerCase,
  octetClass,
  PATH,
  QUERY,
  sameOctets,
  TOKEN,
  VALUE,
} from "../../src/http/bytes.ts";
import { octets } from "../support/octets.ts";

const every = Array.from({ length: 256 }, (_, octet) => octet);
const everyOctet = String.fromCharCode(...every);

function members(bit: number): string {
  return String.fromCharCode(
    ...every.filter((octet) => (octetClass[octet]! & bit) !== 0),
  );
}

function matching(pattern: RegExp): string {
  return [...everyOctet].filter((character) => pattern.test(character))
    .join("");
}

test("octetClass TOKEN is tchar (RFC 9110 §5.6.2)", () => {
  assertEquals(members(TOKEN), matching(/[!#$%&'*+\-.^_`|~0-9A-Za-z]/));
});

test("octetClass VALUE is HTAB, SP, VCHAR and obs-text (RFC 9110 §5.5)", () => {
  assertEquals(members(VALUE), matching(/[\t\x20-\x7e\x80-\xff]/));
});

test("octetClass HEX is HEXDIG in either case", () => {
  assertEquals(members(HEX), matching(/[0-9A-Fa-f]/));
});

test("octetClass PATH holds pchar and '/', and no delimiter (RFC 3986 §3.3)", () => {
  const path = members(PATH);
  for (const octet of matching(/[A-Za-z0-9\-._~!$&'()*+,;=:@/]/)) {
    assertEquals(path.includes(octet), true, octet);
  }
  for (const octet of '\0\t\n\r "#%<>?\\\x7f\x80\xff') {
    assertEquals(path.includes(octet), false, JSON.stringify(octet));
  }
});

test("octetClass QUERY holds pchar, '/' and '?' and no space, '#' or control (RFC 3986 §3.4)", () => {
  const query = members(QUERY);
  for (const octet of matching(/[A-Za-z0-9\-._~!$&'()*+,;=:@/?%]/)) {
    assertEquals(query.includes(octet), true, octet);
  }
  for (const octet of '\0\t\n\r "#<>\x7f\x80\xff') {
    assertEquals(query.includes(octet), false, JSON.stringify(octet));
  }
});

test("lowerCase touches A-Z alone", () => {
  for (const octet of every) {
    const expected = /[A-Z]/.test(String.fromCharCode(octet))
      ? octet + 32
      : octet;
    assertEquals(lowerCase[octet], expected);
  }
});

test("hexValue() reads every hexadecimal digit", () => {
  for (const digit of "0123456789abcdefABCDEF") {
    assertEquals(hexValue(digit.charCodeAt(0)), parseInt(digit, 16));
  }
});

test("decodeOctets() makes each octet one character, 0x80 to 0x9f included", () => {
  const bytes = Uint8Array.from(every);
  assertEquals(decodeOctets(bytes, 0, 256), everyOctet);
  assertEquals(
    decodeOctets(bytes, 0x80, 0xa0),
    everyOctet.slice(128, 160),
  );
});

test("decodeOctets() takes the part it is told, of any length", () => {
  const text = everyOctet.repeat(70);
  const bytes = octets(text);
  for (const length of [0, 1, 4095, 4096, 4097, 12_289]) {
    assertEquals(
      decodeOctets(bytes, 3, 3 + length),
      text.slice(3, 3 + length),
    );
  }
  const ascii = octets("--abc--");
  assertEquals(decodeOctets(ascii, 2, 5), "abc");
  assertEquals(decodeOctets(ascii, 2, 2), "");
});

test("decodeOctets() does not take a UTF-8 signature for one", () => {
  assertEquals(
    decodeOctets(octets("\xef\xbb\xbfa"), 0, 4),
    "\xef\xbb\xbfa",
  );
});

test("decodeSlowly() comes to the same where there is no native decoder", () => {
  const text = everyOctet.repeat(70);
  for (const length of [0, 1, 4095, 4096, 4097, 12_289]) {
    assertEquals(
      decodeSlowly(octets(text), 3, 3 + length),
      text.slice(3, 3 + length),
    );
  }
});

test("encodeOctets() writes one octet a character, and nothing beside", () => {
  // Above and below the length from which a native encoder takes over, with
  // what that encoder would make two octets of at every place.
  for (const length of [0, 1, 24, 25, 26, 60]) {
    for (let at = 0; at <= length; at++) {
      const text = "x".repeat(at) + "\xe9".repeat(at < length ? 1 : 0) +
        "y".repeat(Math.max(0, length - at - 1));
      const target = new Uint8Array(length + 4).fill(0xaa);
      assertEquals(encodeOctets(text, target, 2), 2 + length);
      assertEquals(
        target,
        octets(`\xaa\xaa${text}\xaa\xaa`),
        `${length} octets, é at ${at}`,
      );
    }
  }
});

test("encodeOctets() and decodeOctets() undo each other", () => {
  const target = new Uint8Array(512);
  encodeOctets(everyOctet + everyOctet, target, 0);
  assertEquals(decodeOctets(target, 0, 512), everyOctet + everyOctet);
});

test("decodeOctets() and sameOctets() say the same before and after they go native", () => {
  const buffer = octets(`??${everyOctet}??`);
  for (let time = 0; time < 40; time++) {
    assertEquals(decodeOctets(buffer, 2, 258), everyOctet, `time ${time}`);
    assertEquals(sameOctets(buffer, 2, octets(everyOctet)), true);
    assertEquals(sameOctets(buffer, 1, octets(everyOctet)), false);
  }
});

test("sameOctets() finds a difference in any place, at any length", () => {
  for (let length = 0; length < 80; length++) {
    const wanted = octets(everyOctet.slice(100, 100 + length));
    const buffer = octets(`x${everyOctet.slice(100, 100 + length)}x`);
    assertEquals(sameOctets(buffer, 1, wanted), true);
    for (let at = 1; at <= length; at++) {
      buffer[at]! ^= 0x80;
      assertEquals(sameOctets(buffer, 1, wanted), false, `${at} of ${length}`);
      buffer[at]! ^= 0x80;
    }
  }
});
