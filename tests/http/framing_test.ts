/** How the end of request content is told: RFC 9112 §6. */
import { test } from "node:test";
import { assertEquals, assertThrows } from "@std/assert";
import { HttpError } from "../../src/errors.ts";
import type { HttpVersion } from "../../src/exchange.ts";
import {
  checkTransferEncoding,
  parseContentLength,
} from "../../src/http/framing.ts";

function refusal(refused: () => unknown, text: string): HttpError {
  return assertThrows(refused, HttpError, undefined, JSON.stringify(text));
}

test("parseContentLength() reads 1*DIGIT (RFC 9110 §8.6)", () => {
  const cases: [string, number][] = [
    ["0", 0],
    ["5", 5],
    ["0005", 5],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
    ["0".repeat(500) + "12", 12],
  ];
  for (const [text, length] of cases) {
    assertEquals(parseContentLength(text), length, text);
  }
});

test("parseContentLength() refuses everything else with 400", () => {
  const texts = [
    "",
    " ",
    "+5",
    "-0",
    "-5",
    "5 ",
    " 5",
    "5 5",
    "5,5",
    "5, 5",
    "0x5",
    "5e1",
    "1_000",
    "5.0",
    "\u0665",
    "five",
    "Infinity",
    "NaN",
    "5;a",
    "5\n",
  ];
  for (const text of texts) {
    assertEquals(refusal(() => parseContentLength(text), text).status, 400);
  }
});

test("parseContentLength() answers 413 to what cannot be counted", () => {
  for (const text of ["9007199254740992", "9".repeat(16), "9".repeat(4000)]) {
    assertEquals(refusal(() => parseContentLength(text), text).status, 413);
  }
});

test("checkTransferEncoding() accepts chunked alone, in any case", () => {
  for (const text of ["chunked", "Chunked", "CHUNKED"]) {
    checkTransferEncoding(text, 11, false);
  }
});

test("checkTransferEncoding() refuses what hides where the content ends", () => {
  const cases: [string, HttpVersion, boolean, number][] = [
    ["chunked", 10, false, 400],
    ["gzip", 10, false, 400],
    ["chunked", 11, true, 400],
    ["gzip", 11, true, 400],
    ["", 11, false, 400],
    ["identity", 11, false, 400],
    ["gzip", 11, false, 400],
    ["chunked, gzip", 11, false, 400],
    ["chunked,", 11, false, 400],
    ["chunked, ", 11, false, 400],
    [",chunked", 11, false, 400],
    ["chunked,chunked", 11, false, 400],
    ["chunked, chunked", 11, false, 400],
    ["chunked,gzip,chunked", 11, false, 400],
    ["xchunked", 11, false, 400],
    ["chunked x", 11, false, 400],
    ["chunked;a=b", 11, false, 400],
    ['"chunked"', 11, false, 400],
    ["chunked\x0b", 11, false, 400],
    ["\x0bchunked", 11, false, 400],
    ["\xa0chunked", 11, false, 400],
    ["chunked\xa0", 11, false, 400],
    ["gz ip, chunked", 11, false, 400],
    ["gzip chunked", 11, false, 400],
  ];
  for (const [text, version, both, status] of cases) {
    const error = refusal(
      () => checkTransferEncoding(text, version, both),
      text,
    );
    assertEquals(error.status, status, JSON.stringify(text));
  }
});

test("checkTransferEncoding() answers 501 to codings before chunked (RFC 9112 §6.1)", () => {
  for (
    const text of ["gzip, chunked", "gzip,deflate,\tchunked", "X-A ,chunked"]
  ) {
    const error = refusal(() => checkTransferEncoding(text, 11, false), text);
    assertEquals(error.status, 501, text);
  }
});
