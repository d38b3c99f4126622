/** The head of a CGI response: RFC 3875 §6. */
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { BackendError } from "../../src/errors.ts";
import {
  type CgiResponseHead,
  CgiResponseParser,
} from "../../src/http/cgi_response.ts";
import { everySplit } from "../support/every_split.ts";
import { concat, octets } from "../support/octets.ts";

/** Reads a head as it comes in pieces, each amid foreign octets; undefined when
 * it is not whole. `size` is how many octets it took. */
function read(
  pieces: readonly Uint8Array[],
): { head: CgiResponseHead; size: number } | undefined {
  const parser = new CgiResponseParser();
  let before = 0;
  for (const piece of pieces) {
    const buffer = concat([octets("\n\n"), piece, octets("\n\n")]);
    const head = parser.push(buffer, 2, 2 + piece.length);
    if (head !== undefined) {
      return { head, size: before + parser.contentStart - 2 };
    }
    before += piece.length;
    buffer.fill(0x21);
  }
  return undefined;
}

const whole = (text: string) => read([octets(text)])?.head;

function assertRefused(text: string, message: string): void {
  const error = assertThrows(() => whole(text), BackendError, message);
  assertEquals(error.status, 502);
}

test("CgiResponseParser reads a document response, however it is cut", async () => {
  for (const end of ["\n", "\r\n"]) {
    const text = [
      "Status: 404 Not Found",
      "Content-type: text/html; charset=UTF-8",
      "X-Powered-By:\t PHP/8.2 \t",
      "Set-Cookie: a=1",
      "Set-Cookie: b=\xe9",
      "X-Empty:",
      "",
      "",
    ].join(end);
    // Another one each time, so that none is read from what was kept.
    let run = 0;
    await everySplit(octets(text), (pieces) => {
      const own = octets(`X-Run: ${run++}${end}`);
      const found = read([own, ...pieces]);
      assert(found !== undefined);
      assertEquals(found.head, {
        status: 404,
        reason: "Not Found",
        fields: [
          ["X-Run", String(run - 1)],
          ["Content-type", "text/html; charset=UTF-8"],
          ["X-Powered-By", "PHP/8.2"],
          ["Set-Cookie", "a=1"],
          ["Set-Cookie", "b=\xe9"],
          ["X-Empty", ""],
        ],
        contentLength: undefined,
        localRedirect: undefined,
      });
      assertEquals(found.size, own.length + text.length);
    });
  }
});

test("CgiResponseParser takes mixed line ends", () => {
  const found = read([octets("Status: 201\r\nX: 1\nY: 2\r\n\nbody")]);
  assertEquals(found?.head.fields, [["X", "1"], ["Y", "2"]]);
  assertEquals(found?.size, 25);
});

test("CgiResponseParser waits for the empty line", () => {
  for (const text of ["", "Status: 200", "Status: 200\n", "Status: 200\n\r"]) {
    assertEquals(whole(text), undefined);
  }
  // The CR of an empty line is no more than one.
  assertEquals(
    read([octets("Status: 200\n"), octets("\r"), octets("\n")])?.size,
    14,
  );
});

test("CgiResponseParser keeps what it has read", () => {
  const text = "Content-Type: text/plain\nX-Kept: yes\n\n";
  assertStrictEquals(whole(text), whole(text));
  assertStrictEquals(
    read([octets(text.slice(0, 9)), octets(text.slice(9))])?.head,
    whole(text),
  );
  const other = whole(text.replace("yes", "not"));
  assertEquals(other?.fields[1], ["X-Kept", "not"]);
});

test("CgiResponseParser reads what is equal in hash as what it is", () => {
  // "Aa" and "BB" have one hash.
  assertEquals(whole("Status: 200 Aa\n\n")?.reason, "Aa");
  assertEquals(whole("Status: 200 BB\n\n")?.reason, "BB");
});

const statuses: readonly [text: string, status: number, reason: string][] = [
  ["Content-Type: a/b", 200, ""],
  ["Status: 204", 204, ""],
  ["Status: 299 ", 299, ""],
  ["status: 599 My own\tway", 599, "My own\tway"],
  ["Location: http://a/", 302, ""],
  ["Location: /a\nContent-Type: a/b", 302, ""],
  ["Location: /a\nSet-Cookie: c=1", 302, ""],
  ["Location: //host/a", 302, ""],
  ["Location: a", 302, ""],
  ["Location: /a\nStatus: 201 Created", 201, "Created"],
];

for (const [text, status, reason] of statuses) {
  test(`CgiResponseParser makes ${status} of ${JSON.stringify(text)}`, () => {
    const head = whole(`${text}\n\n`);
    assertEquals([head?.status, head?.reason], [status, reason]);
    assertEquals(head?.localRedirect, undefined);
    const location = /^Location: (.*)/.exec(text)?.[1];
    const sent = head?.fields.find(([name]) => name === "Location")?.[1];
    assertEquals(sent, location);
  });
}

test("CgiResponseParser knows a local redirect", () => {
  for (const path of ["/", "/a/b%20c", "/a?b=%c?/d", "/~a;b"]) {
    assertEquals(whole(`Location: ${path}\r\n\r\n`), {
      status: 200,
      reason: "",
      fields: [],
      contentLength: undefined,
      localRedirect: path,
    });
  }
  for (const path of ["/a b", "/a#b", "/a%2", "/\xe9", '/"', "/a?b#c"]) {
    assertRefused(`Location: ${path}\n\n`, "The Location is no path");
  }
});

test("CgiResponseParser tells the length", () => {
  const head = whole("Status: 200\nContent-Length: 012\n\n");
  assertEquals(head?.contentLength, 12);
  assertEquals(head?.fields, [["Content-Length", "012"]]);
});

test("CgiResponseParser leaves out what belongs to a connection", () => {
  const head = whole(
    "Content-Type: a/b\nConnection: close\nKeep-Alive: 1\nUpgrade: x\n" +
      "TRANSFER-ENCODING: chunked\nTE: x\nTrailer: y\nProxy-Connection: z\n\n",
  );
  assertEquals(head?.fields, [["Content-Type", "a/b"]]);
});

const refused: readonly [text: string, message: string][] = [
  ["\n", "has none of"],
  ["\r\n", "has none of"],
  ["X: 1\nContent-Length: 0\n\n", "has none of"],
  ["Status: 200\nStatus: 200\n\n", "doubled"],
  ["Location: /a\nlocation: /a\n\n", "doubled"],
  ["Content-Type: a/b\nContent-type: a/b\n\n", "doubled"],
  ["Status: 200\nContent-Length: 1\nContent-Length: 1\n\n", "doubled"],
  ["HTTP/1.1 200 OK\nContent-Type: a/b\n\n", "malformed"],
  ["Status: 200\nNo colon\n\n", "malformed"],
  ["Status: 200\n: x\n\n", "malformed"],
  ["Status: 200\nA B: x\n\n", "malformed"],
  ["Status: 200\nA : x\n\n", "malformed"],
  ["Status: 200\n A: x\n\n", "malformed"],
  ["Status: 200\nA: x\n folded\n\n", "malformed"],
  ["Status: 200\nA: x\ry\n\n", "malformed"],
  ["Status: 200\nA: x\r\r\n\n", "malformed"],
  ["Status: 200\n\r\r\n\n", "malformed"],
  ["Status: 200\nA: x\0y\n\n", "malformed"],
  ["Status: 200\nA: x\x7fy\n\n", "malformed"],
  ["Status: 200\n\xc4: x\n\n", "malformed"],
  ["Status:\n\n", "no final status code"],
  ["Status: 100 Continue\n\n", "no final status code"],
  ["Status: 199\n\n", "no final status code"],
  ["Status: 1000\n\n", "no final status code"],
  ["Status: 20\n\n", "no final status code"],
  ["Status: 200OK\n\n", "no final status code"],
  ["Status: OK\n\n", "no final status code"],
  ["Status: 200\nContent-Length: -1\n\n", "Content-Length is malformed"],
  ["Status: 200\nContent-Length: 1, 1\n\n", "Content-Length is malformed"],
  ["Status: 200\nContent-Length:\n\n", "Content-Length is malformed"],
];

for (const [text, message] of refused) {
  test(`CgiResponseParser refuses ${JSON.stringify(text)}`, () => {
    assertRefused(text, message);
  });
}

test("CgiResponseParser bounds a head, however it comes", () => {
  const start = "Status: 200\nX: ";
  const fitting = start + "x".repeat(65_536 - start.length - 2) + "\n\n";
  const half = fitting.length >> 1;
  assertEquals(fitting.length, 65_536);
  for (const text of [fitting, `${fitting}and content`]) {
    assertEquals(read([octets(text)])?.size, 65_536);
    const pieces = [octets(text.slice(0, half)), octets(text.slice(half))];
    assertEquals(read(pieces)?.size, 65_536);
  }
  const long = fitting.replace("X: ", "X: x");
  assertRefused(long, "too large");
  assertThrows(
    () => read([octets(long.slice(0, half)), octets(long.slice(half))]),
    BackendError,
    "too large",
  );
  assertRefused("x".repeat(65_537), "too large");
  assertEquals(whole("x".repeat(65_536)), undefined);
});
