/** The request-target and the authority: RFC 9112 §3.2, RFC 3986. */
import { test } from "node:test";
import { assertEquals, assertThrows } from "@std/assert";
import { HttpError } from "../../src/errors.ts";
import { checkAuthority, scanTarget } from "../../src/http/target.ts";
import { octets } from "../support/octets.ts";

/** Scans `target` between foreign octets, with a stranger's behind its SP. */
function scan(target: string) {
  const wire = octets(`/zz${target} HTTP/1.1\r\n`);
  const span = scanTarget(wire, 3, wire.length);
  if (span === undefined) return undefined;
  const text = (from: number, to: number) =>
    String.fromCharCode(...wire.subarray(from, to));
  return {
    form: span.form,
    authority: text(span.authorityStart, span.authorityEnd),
    path: text(span.pathStart, span.pathEnd),
    rest: text(span.pathEnd, span.end),
    length: span.end - 3,
  };
}

// Stands first, because nothing has been accepted before it.
test("checkAuthority() refuses an empty authority from the start (RFC 9110 §4.2.1)", () => {
  assertThrows(() => checkAuthority(""), HttpError, "Malformed host");
});

test("scanTarget() finds the parts of each form", () => {
  const cases: [string, string, string, string, string][] = [
    ["/", "origin", "", "/", ""],
    ["/a/b;c=d?e=f?g/h", "origin", "", "/a/b;c=d", "?e=f?g/h"],
    ["/?", "origin", "", "/", "?"],
    ["//a", "origin", "", "//a", ""],
    ["/%41%2F%ff", "origin", "", "/%41%2F%ff", ""],
    ["/a?%zz%", "origin", "", "/a", "?%zz%"],
    ["*", "asterisk", "", "*", ""],
    ["http://a/b?c", "absolute", "a", "/b", "?c"],
    ["http://a", "absolute", "a", "", ""],
    ["http://a?b", "absolute", "a", "", "?b"],
    ["HTTPS://a:1/", "absolute", "a:1", "/", ""],
    ["hTtP://[::1]:80/x", "absolute", "[::1]:80", "/x", ""],
  ];
  for (const [target, form, authority, path, rest] of cases) {
    assertEquals(
      scan(target),
      { form, authority, path, rest, length: target.length } as ReturnType<
        typeof scan
      >,
      target,
    );
  }
});

test("scanTarget() forgets the authority of the target before", () => {
  scan("http://elsewhere/");
  assertEquals(scan("/a")!.authority, "");
});

test("scanTarget() waits for the end of the target, and only for that", () => {
  for (const target of ["/a%20b?c", "*", "https://a:8/b?c", "http://a"]) {
    const wire = octets(`${target} `);
    for (let end = 0; end < wire.length; end++) {
      assertEquals(scanTarget(wire, 0, end), undefined, `${target} at ${end}`);
    }
    assertEquals(scanTarget(wire, 0, wire.length)!.end, target.length);
  }
});

test("scanTarget() refuses what is no target of ours with 400", () => {
  const targets = [
    "",
    "a",
    "a:80",
    "**",
    "*/",
    "?a",
    "#",
    "http:/a",
    "http:a",
    "httpx://a",
    "ftp://a/",
    "httpss://a",
    "https:/a",
    "/a#b",
    "/\x00",
    "/\t",
    "/\x7f",
    "/\x80",
    "/\xff",
    "/%",
    "/%4",
    "/%4g",
    "/%g4",
    "/%%41",
    "/%00",
    "/a%00b",
    '/"',
    "/<",
    "/a?\x00",
    "/a?\x80",
    "/a?#",
    "/\\",
    "http://a\x80/",
    "http://a\t/",
    "http://a/\x80",
  ];
  for (const target of targets) {
    const error = assertThrows(
      () => scan(target) ?? scan(`${target} x x`),
      HttpError,
      undefined,
      JSON.stringify(target),
    );
    assertEquals(error.status, 400);
  }
});

test("scanTarget() names HTTP/0.9 (RFC 9112 §2.3)", () => {
  for (const line of ["/\r\n", "/a?b\n"]) {
    const wire = octets(line);
    assertThrows(() => scanTarget(wire, 0, wire.length), HttpError, "HTTP/0.9");
  }
});

test("checkAuthority() accepts host and host:port (RFC 3986 §3.2.2)", () => {
  const authorities = [
    "a",
    "example.org",
    "EXAMPLE.org:",
    "a:0",
    "a:80",
    "a:65535",
    "127.0.0.1:8000",
    "[::1]",
    "[::1]:8000",
    "[2001:db8::192.0.2.1]",
    "xn--bcher-kva.example",
    "a_b",
    "%41",
    "a.",
    "~a",
  ];
  for (const authority of authorities) {
    checkAuthority(authority);
    checkAuthority(authority);
  }
});

test("checkAuthority() refuses everything else, whatever was accepted before", () => {
  const authorities = [
    "",
    ":80",
    "a:b",
    "a:-1",
    "a:65536",
    "a:999999",
    "a:080000",
    "a:80:80",
    "a b",
    "u@a",
    "u:p@a",
    "a/b",
    "a?b",
    "a#b",
    "a,b",
    "a, a",
    "[::1",
    "::1",
    "[]",
    "[1]",
    "[::1]a",
    "[::g]",
    "[::1]:x",
    "a%",
    "a%4",
    "a%zz",
    "a\\b",
    '"a"',
    "a\x80",
    "\xe9",
    "a\t",
    " a",
    "a ",
    "a\n",
    "<a>",
  ];
  for (const authority of authorities) {
    for (const before of ["a", "a", "example.org:80"]) {
      const error = assertThrows(
        () => checkAuthority(authority),
        HttpError,
        undefined,
        JSON.stringify(authority),
      );
      assertEquals(error.status, 400);
      checkAuthority(before);
    }
  }
});
