/** A forgiving parser would hide what it is there to show. */
import { test } from "node:test";
import { assertEquals, assertThrows } from "@std/assert";
import { latin1, octets } from "./octets.ts";
import { parseResponses, readResponses } from "./responses.ts";

const date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

function assertMalformed(text: string, rule: string): void {
  assertThrows(() => parseResponses(octets(text)), SyntaxError, rule);
}

test("parseResponses() splits by length, chunks and close", () => {
  const responses = parseResponses(octets(
    "HTTP/1.1 100 Continue\r\n\r\n" +
      `HTTP/1.1 200 OK\r\n${date}Content-Length: 2\r\n\r\nab` +
      `HTTP/1.1 200 OK\r\n${date}Transfer-Encoding: chunked\r\n\r\n` +
      "1\r\nc\r\n1\r\nd\r\n0\r\nX: 1\r\n\r\n" +
      `HTTP/1.1 204 No Content\r\n${date}\r\n` +
      `HTTP/1.1 200 OK\r\n${date}Connection: close\r\n\r\nrest`,
  ));
  assertEquals(
    responses.map((r) => [r.status, r.framing, latin1(r.content)]),
    [
      [100, "none", ""],
      [200, "length", "ab"],
      [200, "chunked", "cd"],
      [204, "none", ""],
      [200, "close", "rest"],
    ],
  );
  assertEquals(responses[2]!.trailers, [["X", "1"]]);
});

test("parseResponses() expects no content after HEAD", () => {
  const responses = parseResponses(
    octets(
      `HTTP/1.1 200 OK\r\n${date}Content-Length: 9\r\n\r\n` +
        `HTTP/1.1 200 OK\r\n${date}Content-Length: 0\r\n\r\n`,
    ),
    { method: (index) => index === 0 ? "HEAD" : "GET" },
  );
  assertEquals(responses.map((r) => r.framing), ["none", "length"]);
});

test("readResponses() leaves what is unfinished", () => {
  const whole = `HTTP/1.1 200 OK\r\n${date}Content-Length: 2\r\n\r\nab`;
  for (let cut = 0; cut < whole.length; cut++) {
    const { responses, rest } = readResponses(octets(whole.slice(0, cut)));
    assertEquals(responses.length, 0, `cut at ${cut}`);
    assertEquals(rest.length, cut);
  }
});

test("parseResponses() refuses what RFC 9112 does not allow", () => {
  const length = "Content-Length: 0\r\n";
  assertMalformed(`HTTP/1.0 200 OK\r\n${date}${length}\r\n`, "status line");
  assertMalformed(`HTTP/1.1 200\r\n${date}${length}\r\n`, "status line");
  assertMalformed(`HTTP/1.1 200 OK\n${date}${length}\r\n`, "Bare CR or LF");
  assertMalformed(`HTTP/1.1 200 OK\r\n${date}X : 1\r\n\r\n`, "field line");
  assertMalformed(`HTTP/1.1 200 OK\r\n${date}X:  1\r\n\r\n`, "field line");
  assertMalformed(`HTTP/1.1 200 OK\r\n${length}\r\n`, "Date");
  assertMalformed(
    `HTTP/1.1 200 OK\r\n${date}${length}${length}\r\n`,
    "content-length 2 times",
  );
  assertMalformed(
    `HTTP/1.1 200 OK\r\n${date}${length}Transfer-Encoding: chunked\r\n\r\n`,
    "beside",
  );
  assertMalformed(`HTTP/1.1 204 \r\n${date}${length}\r\n`, "without content");
  assertMalformed(`HTTP/1.1 200 OK\r\n${date}\r\n`, "without saying so");
  assertMalformed(
    `HTTP/1.1 200 OK\r\n${date}Content-Length: 1\r\n\r\nabc`,
    "Unfinished",
  );
  assertMalformed(
    `HTTP/1.1 200 OK\r\n${date}Content-Length: 1\r\n\r\na\r\n`,
    "status line",
  );
  assertMalformed(
    `HTTP/1.1 200 OK\r\n${date}Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n`,
    "not followed by CRLF",
  );
});
