/** Status line and field lines of a response: RFC 9112 §4 and §5. */
import { test } from "node:test";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ApplicationError } from "../../src/errors.ts";
import type { ResponseFields } from "../../src/exchange.ts";
import { composeHead, wholeHead } from "../../src/http/response_head.ts";
import { latin1, octets } from "../support/octets.ts";

function text(
  fields: ResponseFields,
  status = 200,
  reason = "OK",
): string {
  return latin1(composeHead(status, reason, fields).octets);
}

/** Lines of the head without the status line and Server. */
function lines(fields: ResponseFields, status = 200): string[] {
  return text(fields, status).split("\r\n").slice(1, -1)
    .filter((line) => !line.startsWith("Server: headgate"));
}

test("composeHead() spells status line and fields in order", () => {
  assertEquals(
    text([["Content-Type", "text/plain"], ["X-a", "1"], ["x-A", "2"]]),
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-a: 1\r\nx-A: 2\r\n" +
      "Server: headgate\r\n",
  );
  assertEquals(text([], 299, ""), "HTTP/1.1 299 \r\nServer: headgate\r\n");
});

test("composeHead() takes final status codes of three digits alone", () => {
  for (const status of [200, 204, 299, 404, 599, 999]) {
    composeHead(status, "", []);
  }
  const wrong = [0, -200, 99, 100, 101, 199, 1000, 200.5, NaN, Infinity];
  for (const status of wrong) {
    assertThrows(() => composeHead(status, "", []), ApplicationError);
  }
  const notNumbers = ["200", null, undefined, {}] as unknown as number[];
  for (const status of notNumbers) {
    assertThrows(() => composeHead(status, "", []), ApplicationError);
  }
});

test("composeHead() lets no value end its line (response splitting)", () => {
  const values = [
    "a\r\nSet-Cookie: b",
    "a\nb",
    "a\rb",
    "\r\n",
    "a\0",
    "\x7f",
    "\x1b[0m",
    "\x0b",
  ];
  for (const value of values) {
    assertThrows(
      () => composeHead(200, "OK", [["X", value]]),
      ApplicationError,
    );
    assertThrows(() => composeHead(200, value, []), ApplicationError);
    // Not even in a field that is left out.
    assertThrows(
      () => composeHead(200, "OK", [["Connection", value]]),
      ApplicationError,
    );
  }
});

test("composeHead() sends values as Latin-1, and refuses what is beyond", () => {
  assertEquals(lines([["X", "\t\x80\x9f\xe9\xff"]]), ["X: \t\x80\x9f\xe9\xff"]);
  assertEquals(
    text([["X", "é".repeat(300)]]).length,
    "HTTP/1.1 200 OK\r\nX: \r\nServer: headgate\r\n".length + 300,
  );
  for (const value of ["\u0100", "\u2028", "😀", "\ud800", "ÿĀ"]) {
    assertThrows(
      () => composeHead(200, "OK", [["X", value]]),
      ApplicationError,
    );
    assertThrows(() => composeHead(200, value, []), ApplicationError);
  }
});

test("composeHead() takes tokens for names alone", () => {
  assertEquals(lines([["!#$%&'*+-.^_`|~09Az", ""]]), ["!#$%&'*+-.^_`|~09Az: "]);
  const names = [
    "",
    " ",
    "a b",
    "a:",
    ":",
    "a\r\nb",
    "a\n",
    "\0",
    "é",
    "(a)",
    "a ",
    "a\t",
    "\u212a",
  ];
  for (const name of names) {
    assertThrows(() => composeHead(200, "OK", [[name, "a"]]), ApplicationError);
  }
});

test("composeHead() refuses names and values that are not strings", () => {
  const wrong = [1, {}, [], true, null, undefined];
  for (const value of wrong as unknown as string[]) {
    assertThrows(
      () => composeHead(200, "OK", [["X", value]]),
      ApplicationError,
    );
    assertThrows(
      () => composeHead(200, "OK", [[value, "a"]]),
      ApplicationError,
    );
    assertThrows(() => composeHead(200, value, []), ApplicationError);
  }
});

test("composeHead() reads Content-Length, once and well formed (RFC 9110 §8.6)", () => {
  assertEquals(
    composeHead(200, "OK", [["content-LENGTH", "0"]]).contentLength,
    0,
  );
  assertEquals(
    composeHead(200, "OK", [["Content-Length", "12"]]).contentLength,
    12,
  );
  assertEquals(composeHead(200, "OK", []).contentLength, undefined);
  const values = [
    "",
    " 1",
    "1 ",
    "+1",
    "-1",
    "1,1",
    "0x1",
    "1e3",
    "a",
    "9".repeat(16),
  ];
  for (const value of values) {
    assertThrows(
      () => composeHead(200, "OK", [["Content-Length", value]]),
      ApplicationError,
      "Content-Length",
    );
  }
  assertThrows(
    () =>
      composeHead(200, "OK", [["Content-Length", "1"], [
        "content-length",
        "1",
      ]]),
    ApplicationError,
    "twice",
  );
});

test("composeHead() leaves Content-Length out of 204 and 205 (RFC 9110 §8.6, §15.3.6)", () => {
  assertEquals(lines([["Content-Length", "5"]], 204), []);
  assertEquals(lines([["Content-Length", "5"]], 205), []);
  assertEquals(lines([["Content-Length", "5"]], 304), ["Content-Length: 5"]);
});

test("composeHead() leaves out fields of the connection (RFC 9110 §7.6.1)", () => {
  const names = [
    "Connection",
    "KEEP-ALIVE",
    "Proxy-Connection",
    "transfer-encoding",
    "Upgrade",
    "TE",
    "Trailer",
  ];
  for (const name of names) {
    assertEquals(lines([["A", "1"], [name, "x"], ["B", "2"]]), [
      "A: 1",
      "B: 2",
    ]);
  }
});

test("composeHead() hears 'Connection: close' and nothing like it", () => {
  const cases: [string, boolean][] = [
    ["close", true],
    ["CLOSE", true],
    ["keep-alive, close", true],
    ["close ,x", true],
    [" close\t", true],
    ["closed", false],
    ["x-close", false],
    ["close-x", false],
    ["keep-alive", false],
    ["", false],
    ["clo se", false],
  ];
  for (const [value, close] of cases) {
    assertEquals(
      composeHead(200, "OK", [["connection", value]]).close,
      close,
      value,
    );
  }
});

test("composeHead() keeps Date and Server when they are given", () => {
  const head = composeHead(200, "OK", [["DATE", "x"], ["server", "mine"]]);
  assertEquals(head.hasDate, true);
  assertEquals(
    latin1(head.octets),
    "HTTP/1.1 200 OK\r\nDATE: x\r\nserver: mine\r\n",
  );
  assertEquals(composeHead(200, "OK", []).hasDate, false);
});

test("composeHead() does not confuse heads that look alike", () => {
  // All of the same status, number of fields and lengths.
  const heads: [number, string, [string, string][]][] = [
    [200, "OK", [["A", "bc"], ["D", "e"]]],
    [200, "Ok", [["A", "bc"], ["D", "e"]]],
    [200, "OK", [["a", "bc"], ["D", "e"]]],
    [200, "OK", [["A", "cb"], ["D", "e"]]],
    [200, "OK", [["A", "bc"], ["D", "f"]]],
    [200, "OK", [["D", "bc"], ["A", "e"]]],
    [299, "", [["A", "bc"], ["D", "e"]]],
    [264, "OK", [["A", "bc"], ["D", "e"]]], // the same slot
  ];
  for (
    const [status, reason, fields] of [...heads, ...heads, ...heads.reverse()]
  ) {
    const expected = `HTTP/1.1 ${status} ${reason}\r\n` +
      fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
    const head = composeHead(status, reason, fields);
    assertEquals(latin1(head.octets), `${expected}Server: headgate\r\n`);
    assertEquals([head.status, head.reason], [status, reason]);
  }
});

test("composeHead() knows the reason where none is given", () => {
  const line = (status: number) =>
    latin1(composeHead(status, "", []).octets).split("\r\n")[0];
  assertEquals(line(404), "HTTP/1.1 404 Not Found");
  assertEquals(line(299), "HTTP/1.1 299 ");
});

test("composeHead() does not take names and values for one another", () => {
  const odd = [["Xy", "1"], ["X", "y1"], ["X-y", "1"]] as const;
  for (const [name, value] of odd) {
    assertEquals(lines([[name, value]]), [`${name}: ${value}`]);
  }
});

test("composeHead() keeps nothing that the caller may change", () => {
  const field: [string, string] = ["X", "1"];
  const fields: [string, string][] = [field];
  assertEquals(lines(fields), ["X: 1"]);
  const kept = composeHead(200, "OK", fields);
  field[1] = "2";
  assertEquals(lines(fields), ["X: 2"]);
  fields[0] = ["X", "a\r\nb"];
  assertThrows(() => composeHead(200, "OK", fields), ApplicationError);
  assertEquals(kept.fields, [["X", "1"]]);
});

test("composeHead() spells heads of any size", () => {
  const fields: [string, string][] = Array.from(
    { length: 2000 },
    (_, i) => [`X-${i}`, "v".repeat(100)],
  );
  for (let round = 0; round < 2; round++) {
    assertEquals(lines(fields).length, 2000);
  }
  assert(text(fields).endsWith("Server: headgate\r\n"));
});

test("wholeHead() keeps a head for the same date and own fields alone", () => {
  const head = composeHead(200, "OK", [["X-Whole", "1"]]);
  const spelled = latin1(head.octets);
  const [now, later, none] = [
    octets("Date: now\r\n"),
    octets("Date: later\r\n"),
    octets(""),
  ];
  // A date of none is one that the application gave.
  const steps = [
    [none, ""],
    [none, "Content-Length: 1\r\n"],
    [none, "Content-Length: 2\r\n"],
    [none, "Content-Length: 2\r\n"],
    [now, "Content-Length: 2\r\n"],
    [later, "Content-Length: 2\r\n"],
    [later, "Content-Length: 1\r\n"],
    [now, "Content-Length: 1\r\n"],
    [none, ""],
    [none, ""],
  ] as const;
  const kept: boolean[] = [];
  for (const [date, own] of steps) {
    const whole = wholeHead(head, date, own);
    kept.push(whole !== undefined);
    if (whole === undefined) continue;
    assertEquals(latin1(whole), `${spelled}${latin1(date)}${own}\r\n`);
  }
  assertEquals(
    kept,
    [true, false, false, true, true, true, false, true, false, true],
  );
});
