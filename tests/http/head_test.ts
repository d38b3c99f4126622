/** The head of a request: RFC 9112 §3 and §5, RFC 9110. */
import { test } from "node:test";
import { assertEquals, assertThrows } from "@std/assert";
import { HttpError } from "../../src/errors.ts";
import {
  firstLine,
  type ParsedHead,
  parseRequestHead,
} from "../../src/http/head.ts";
import { defaultLimits, type Limits } from "../../src/limits.ts";
import { octets } from "../support/octets.ts";

/** Reads `text` from the middle of foreign octets. */
function parse(
  text: string,
  limits: Limits = defaultLimits,
): ParsedHead | undefined {
  const wire = octets(`??${text}\0\n\r\n\r\n`);
  const head = parseRequestHead(wire, 2, 2 + text.length, limits);
  wire.fill(0x21); // the buffer may be reused
  return head;
}

/** Reads `text` octet by octet; its head, or the status of its refusal. */
function drip(text: string, limits: Limits): ParsedHead | number | undefined {
  for (let end = 0; end <= text.length; end++) {
    try {
      const head = parse(text.slice(0, end), limits);
      if (head !== undefined) return head;
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      return error.status;
    }
  }
  return undefined;
}

function assertRefused(
  text: string,
  status: number,
  limits: Limits = defaultLimits,
): void {
  const why = JSON.stringify(text.slice(0, 80));
  const error = assertThrows(() => parse(text, limits), HttpError, "", why);
  assertEquals(error.status, status, why);
  assertEquals(drip(text, limits), status, `octet by octet: ${why}`);
}

/** A whole request with these field lines beside Host. */
function request(lines: string, start = "GET / HTTP/1.1"): string {
  return `${start}\r\nHost: a\r\n${lines}\r\n`;
}

test("parseRequestHead() reads the request line and what follows from it", () => {
  const text = "GET /a%20b?c=d?e HTTP/1.1\r\nHost: example.org:8000\r\n\r\n";
  const head = parse(`${text}GET /stranger HTTP/1.1\r\n`)!;
  assertEquals(
    [head.method, head.target, head.targetForm, head.path, head.query],
    ["GET", "/a%20b?c=d?e", "origin", "/a%20b", "c=d?e"],
  );
  assertEquals([head.authority, head.version], ["example.org:8000", 11]);
  assertEquals([head.framing, head.contentLength], ["none", 0]);
  assertEquals([head.keepAlive, head.expectContinue], [true, false]);
  assertEquals(head.fields.get("host"), "example.org:8000");
  assertEquals(head.size, text.length);
});

test("parseRequestHead() wants more until the very end", () => {
  const text = "POST /?a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
  for (let end = 0; end < text.length; end++) {
    assertEquals(parse(text.slice(0, end)), undefined, `at ${end}`);
  }
  assertEquals(parse(text)!.contentLength, 3);
});

test("parseRequestHead() takes any token as the method, as it is (RFC 9110 §9.1)", () => {
  const methods = [
    "GET",
    "PUT",
    "POST",
    "HEAD",
    "get",
    "Get",
    "GETX",
    "GE",
    "PUTT",
    "PATCH",
    "POSTS",
    "HEAP",
    "!#$%&'*+-.^_`|~09az",
    "CONNECTX",
  ];
  for (const method of methods) {
    assertEquals(parse(request("", `${method} / HTTP/1.1`))!.method, method);
  }
});

test("parseRequestHead() refuses a malformed request line", () => {
  const lines = [
    "",
    " ",
    " GET / HTTP/1.1",
    "GET",
    "GET /",
    "GET  / HTTP/1.1",
    "GET / ",
    "GET /  HTTP/1.1",
    "GET / HTTP/1.1 ",
    "GET / HTTP/1.1x",
    "GET\t/ HTTP/1.1",
    "GET /\tHTTP/1.1",
    "G@T / HTTP/1.1",
    "G\0T / HTTP/1.1",
    "GET / http/1.1",
    "GET / HTTP/1",
    "GET / HTTP/1.",
    "GET / HTTP/.1",
    "GET / HTTP/1.10",
    "GET / HTTP/11.1",
    "GET / HTTP/1,1",
    "GET / HTTP/a.1",
    "GET / HTTP/1.a",
    "GET / HTP/1.1",
    "GET / HTTPS/1.1",
    "GET / / HTTP/1.1",
    "GET HTTP/1.1",
    "\xefGET / HTTP/1.1",
    "GET /\xef HTTP/1.1",
    "\x16\x03\x01\x02\0\x01",
    "GET / HTTP/1.1\r",
    "GET /\rHTTP/1.1",
    "GET a HTTP/1.1",
  ];
  for (const line of lines) assertRefused(request("", line), 400);
});

test("parseRequestHead() refuses lines that do not end in CRLF (RFC 9112 §2.2)", () => {
  assertRefused("GET / HTTP/1.1\nHost: a\n\n", 400);
  assertRefused("GET / HTTP/1.1\nHost: a\r\n\r\n", 400);
  assertRefused("GET / HTTP/1.1\rHost: a\r\n\r\n", 400);
  assertRefused("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400);
  assertRefused("GET / HTTP/1.1\r\nHost: a\n\r\n", 400);
});

test("parseRequestHead() refuses HTTP/0.9 and says so", () => {
  assertThrows(() => parse("GET /\r\n"), HttpError, "HTTP/0.9");
  assertThrows(() => parse("GET /\n"), HttpError, "HTTP/0.9");
});

test("parseRequestHead() answers as a version that it speaks (RFC 9110 §2.5)", () => {
  const versions: [string, number][] = [["1.0", 10], ["1.1", 11], ["1.2", 11], [
    "1.9",
    11,
  ]];
  for (const [version, spoken] of versions) {
    assertEquals(parse(request("", `GET / HTTP/${version}`))!.version, spoken);
  }
});

test("parseRequestHead() answers 505 to other major versions (RFC 9110 §15.6.6)", () => {
  for (const version of ["0.9", "2.0", "3.0", "9.9"]) {
    assertRefused(request("", `GET / HTTP/${version}`), 505);
  }
  assertRefused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
});

test("parseRequestHead() bounds the request line, without its CRLF (414)", () => {
  const limits = { ...defaultLimits, requestLine: 24 };
  const at24 = `GET /${"a".repeat(10)} HTTP/1.1`;
  assertEquals(at24.length, 24);
  assertEquals(parse(request("", at24), limits)!.path.length, 11);
  assertRefused(request("", `GET /${"a".repeat(11)} HTTP/1.1`), 414, limits);
  assertRefused(request("", `GET /?${"a".repeat(100)} HTTP/1.1`), 414, limits);
  assertRefused(
    request("", `GET http://${"a".repeat(100)}/ HTTP/1.1`),
    414,
    limits,
  );
  assertRefused(request("", `${"G".repeat(100)} / HTTP/1.1`), 414, limits);
  assertRefused("G".repeat(100), 414, limits);
  assertRefused(`GET /${"a".repeat(100)}`, 414, limits);
});

test("parseRequestHead() answers alike what breaks two rules, however it arrives", () => {
  const limits = { ...defaultLimits, requestLine: 24 };
  const faults = [
    "\0",
    "\x80",
    "\n",
    "%zz",
    " HTTP/9.9\r\n",
    " x",
    " HTTP/1.1 ",
  ];
  for (const fault of faults) {
    for (let length = 1; length < 40; length++) {
      for (const start of ["GET /", "GET /?", "GET http://", "X"]) {
        const text = `${start}${"a".repeat(length)}${fault}${
          "\r\n".repeat(20)
        }`;
        const whole = assertThrows(() => parse(text, limits), HttpError).status;
        assertEquals(drip(text, limits), whole, JSON.stringify(text));
      }
    }
  }
});

test("parseRequestHead() takes the authority from the absolute form (RFC 9112 §3.2.2)", () => {
  const cases: [string, string, string, string][] = [
    ["GET http://b:1/c?d HTTP/1.1", "b:1", "/c", "d"],
    ["GET https://B HTTP/1.1", "B", "/", ""],
    ["GET http://b?d HTTP/1.1", "b", "/", "d"],
    ["OPTIONS http://b HTTP/1.1", "b", "*", ""],
    ["OPTIONS http://b/ HTTP/1.1", "b", "/", ""],
    ["OPTIONS http://b?d HTTP/1.1", "b", "/", "d"],
  ];
  for (const [line, authority, path, query] of cases) {
    const head = parse(request("", line))!;
    assertEquals(
      [head.targetForm, head.authority, head.path, head.query],
      ["absolute", authority, path, query],
    );
    assertEquals(head.target, line.split(" ")[1]);
  }
});

test("parseRequestHead() refuses an absolute target with a malformed authority", () => {
  for (
    const target of [
      "http:///a",
      "http://",
      "http://u@b/",
      "http://b:x/",
      "http://?a",
    ]
  ) {
    assertRefused(request("", `GET ${target} HTTP/1.1`), 400);
    assertRefused(`GET ${target} HTTP/1.0\r\n\r\n`, 400);
  }
});

test("parseRequestHead() leaves '*' to OPTIONS (RFC 9112 §3.2.4)", () => {
  const head = parse(request("", "OPTIONS * HTTP/1.1"))!;
  assertEquals([head.targetForm, head.path, head.target], [
    "asterisk",
    "*",
    "*",
  ]);
  assertRefused(request("", "GET * HTTP/1.1"), 400);
});

test("parseRequestHead() refuses CONNECT", () => {
  assertRefused(request("", "CONNECT /a HTTP/1.1"), 501);
  assertRefused(request("", "CONNECT a:80 HTTP/1.1"), 501);
});

test("parseRequestHead() wants exactly one Host in HTTP/1.1 (RFC 9112 §3.2)", () => {
  assertRefused("GET / HTTP/1.1\r\n\r\n", 400);
  assertRefused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
  assertRefused("GET / HTTP/1.1\r\nHost:\r\nHost:\r\n\r\n", 400);
  assertRefused("GET / HTTP/1.0\r\nHost: a\r\nhOST: b\r\n\r\n", 400);
  assertRefused("GET http://a/ HTTP/1.1\r\n\r\n", 400);
  for (
    const host of ["a b", "a,b", "u@a", "a/b", "a:70000", "http://a", "\xe9"]
  ) {
    assertRefused(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`, 400);
  }
  assertEquals(parse("GET / HTTP/1.1\r\nHost:\r\n\r\n")!.authority, "");
  assertEquals(parse("GET / HTTP/1.0\r\n\r\n")!.authority, "");
  assertEquals(parse("GET / HTTP/1.0\r\nHost: a\r\n\r\n")!.authority, "a");
});

test("parseRequestHead() tells the framing of the content (RFC 9112 §6.3)", () => {
  const cases: [string, string, number][] = [
    ["", "none", 0],
    ["Content-Length: 0\r\n", "length", 0],
    ["Content-Length: 12\r\n", "length", 12],
    ["Transfer-Encoding: chunked\r\n", "chunked", 0],
    ["transfer-encoding: CHUNKED\r\n", "chunked", 0],
  ];
  for (const [lines, framing, length] of cases) {
    const head = parse(request(lines))!;
    assertEquals([head.framing, head.contentLength], [framing, length]);
  }
});

test("parseRequestHead() refuses every shape of smuggling", () => {
  const cases: [string, number][] = [
    ["Content-Length: 5\r\nContent-Length: 5\r\n", 400],
    ["Content-Length: 5\r\nContent-Length: 6\r\n", 400],
    ["Content-Length: 5, 5\r\n", 400],
    ["Content-Length: +5\r\n", 400],
    ["Content-Length:\r\n", 400],
    ["Content-Length : 5\r\n", 400],
    ["Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400],
    ["Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400],
    ["Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", 400],
    ["Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400],
    ["Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 400],
    ["Transfer-Encoding: identity\r\n", 400],
    ["Transfer-Encoding:\r\n", 400],
    ["Transfer-Encoding: xchunked\r\n", 400],
    ["Transfer-Encoding: \x0bchunked\r\n", 400],
    ["Transfer-Encoding:\r\n chunked\r\n", 400],
    ["Transfer-Encoding: gzip, chunked\r\n", 501],
    ["Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501],
    ["Content-Length: 99999999999999999999\r\n", 413],
  ];
  for (const [lines, status] of cases) {
    assertRefused(request(lines, "POST / HTTP/1.1"), status);
  }
  assertRefused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
});

test("parseRequestHead() judges persistence (RFC 9112 §9.3)", () => {
  const cases: [string, string, boolean][] = [
    ["1.1", "", true],
    ["1.1", "Connection: keep-alive\r\n", true],
    ["1.1", "Connection: close\r\n", false],
    ["1.1", "connection: CLOSE\r\n", false],
    ["1.1", "Connection: foo ,\tClose\t, bar\r\n", false],
    ["1.1", "Connection: keep-alive, close\r\n", false],
    ["1.1", "Connection: keep-alive\r\nConnection: close\r\n", false],
    ["1.1", "Connection: closed\r\n", true],
    ["1.1", "Connection: close-notify\r\n", true],
    ["1.1", "Connection:\r\n", true],
    ["1.0", "", false],
    ["1.0", "Connection: Keep-Alive\r\n", true],
    ["1.0", "Connection: foo, keep-alive\r\n", true],
    ["1.0", "Connection: keep-alive, close\r\n", false],
    ["1.0", "Connection: close\r\n", false],
    ["1.0", "Keep-Alive: timeout=5\r\n", false],
  ];
  for (const [version, lines, keepAlive] of cases) {
    const head = parse(request(lines, `GET / HTTP/${version}`))!;
    assertEquals(head.keepAlive, keepAlive, `${version} ${lines}`);
  }
});

test("parseRequestHead() reads Expect (RFC 9110 §10.1.1)", () => {
  const cases: [string, string, boolean][] = [
    ["1.1", "Expect: 100-continue\r\nContent-Length: 1\r\n", true],
    ["1.1", "expect: 100-CONTINUE\r\nTransfer-Encoding: chunked\r\n", true],
    ["1.1", "Expect: 100-continue\r\nContent-Length: 0\r\n", false],
    ["1.1", "Expect: 100-continue\r\n", false],
    ["1.0", "Expect: 100-continue\r\nContent-Length: 1\r\n", false],
    ["1.0", "Expect: something\r\nContent-Length: 1\r\n", false],
  ];
  for (const [version, lines, expected] of cases) {
    const head = parse(request(lines, `POST / HTTP/${version}`))!;
    assertEquals(head.expectContinue, expected, `${version} ${lines}`);
  }
  for (const value of ["something", "100-continue, x", "100-continued", ""]) {
    assertRefused(request(`Expect: ${value}\r\n`, "POST / HTTP/1.1"), 417);
  }
});

test("parseRequestHead() bounds the field section (431)", () => {
  const limits = {
    ...defaultLimits,
    fieldLine: 12,
    fieldSection: 40,
    fieldCount: 3,
  };
  assertEquals(parse(request("a: b\r\nc: d\r\n"), limits)!.fields.length, 3);
  assertRefused(request("a: b\r\nc: d\r\ne: f\r\n"), 431, limits);
  assertRefused(request("a: 345678901\r\nb: 3\r\nc\r\n"), 431, {
    ...limits,
    fieldSection: 24,
  });
  assertRefused(request("a: 3456789012\r\n"), 431, limits);
});

test("firstLine() shows a request line as far as it has come", () => {
  const cases: [string, string][] = [
    ["", ""],
    ["GET /", "GET /"],
    ["GET / HTTP/1.1\r\nHost: a", "GET / HTTP/1.1"],
    ["GET /\nx", "GET /"],
    ["\x16\x03\xff", "\x16\x03\xff"],
    ["x".repeat(1000), "x".repeat(256)],
  ];
  for (const [text, line] of cases) {
    const wire = octets(`?${text}?`);
    assertEquals(firstLine(wire, 1, wire.length - 1), line);
  }
});
