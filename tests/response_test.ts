/** The response writer: how content is delimited, and what an application may
 * not do. */
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { ApplicationError, StreamError } from "../src/errors.ts";
import type { ResponseFields } from "../src/exchange.ts";
import { type Terms, WireResponse } from "../src/response.ts";
import { Wire } from "../src/wire.ts";
import {
  MemoryStream,
  type MemoryStreamOptions,
} from "./support/memory_stream.ts";
import { latin1, octets } from "./support/octets.ts";
import { type ParsedResponse, parseResponses } from "./support/responses.ts";

interface Begun {
  readonly response: WireResponse;
  readonly stream: MemoryStream;
  readonly wire: Wire;
  /** How often the content was told that 100 (Continue) would come too late. */
  readonly told: () => number;
  /** All that was sent; `head` as it was answered. */
  sent(): ParsedResponse;
}

function begin(
  terms: Partial<Terms> & { persist?: boolean } = {},
  options: MemoryStreamOptions = {},
): Begun {
  const stream = new MemoryStream([], options);
  const wire = new Wire(stream);
  let told = 0;
  const response = new WireResponse(wire, {
    version: terms.version ?? 11,
    toHead: terms.toHead ?? false,
    mayPersist: () => terms.persist ?? true,
  }, { withoutContinue: () => told++ });
  return {
    response,
    stream,
    wire,
    told: () => told,
    sent() {
      wire.flush();
      const all = parseResponses(stream.output, {
        method: () => terms.toHead ? "HEAD" : "GET",
      });
      assertEquals(all.length, 1);
      return all[0]!;
    },
  };
}

function answer(
  terms: Parameters<typeof begin>[0],
  status: number,
  fields: ResponseFields,
  size: number | undefined,
  writes: readonly string[],
): ParsedResponse & { persists: boolean } {
  const { response, sent } = begin(terms);
  response.start(status, "Why", fields, size);
  for (const text of writes) response.write(octets(text));
  response.end();
  return { ...sent(), persists: response.persists };
}

test("WireResponse delimits content as RFC 9112 §6.3 has it", () => {
  const length = (value: string): ResponseFields => [["Content-Length", value]];
  type Row = [
    what: string,
    terms: Parameters<typeof begin>[0],
    status: number,
    fields: ResponseFields,
    size: number | undefined,
    writes: string[],
    framing: ParsedResponse["framing"],
    contentLength: string | undefined,
    content: string,
    persists: boolean,
  ];
  const head = { toHead: true };
  const old = { version: 10 } as const;
  const rows: Row[] = [
    [
      "declared",
      {},
      200,
      length("3"),
      undefined,
      ["a", "bc"],
      "length",
      "3",
      "abc",
      true,
    ],
    ["known size", {}, 200, [], 3, ["abc"], "length", "3", "abc", true],
    ["both", {}, 200, length("3"), 9, ["abc"], "length", "3", "abc", true],
    ["nothing", {}, 200, [], undefined, [], "length", "0", "", true],
    ["size 0", {}, 200, [], 0, [], "length", "0", "", true],
    [
      "unknown",
      {},
      200,
      [],
      undefined,
      ["a", "bc"],
      "chunked",
      undefined,
      "abc",
      true,
    ],
    [
      "1.0 declared",
      old,
      200,
      length("3"),
      undefined,
      ["abc"],
      "length",
      "3",
      "abc",
      true,
    ],
    ["1.0 nothing", old, 200, [], undefined, [], "length", "0", "", true],
    [
      "1.0 unknown",
      old,
      200,
      [],
      undefined,
      ["abc"],
      "close",
      undefined,
      "abc",
      false,
    ],
    [
      "HEAD declared",
      head,
      200,
      length("3"),
      undefined,
      [],
      "none",
      "3",
      "",
      true,
    ],
    [
      "HEAD written",
      head,
      200,
      length("3"),
      undefined,
      ["abc"],
      "none",
      "3",
      "",
      true,
    ],
    ["HEAD size", head, 200, [], 3, ["abc"], "none", "3", "", true],
    [
      "HEAD unknown",
      head,
      200,
      [],
      undefined,
      ["abc"],
      "none",
      undefined,
      "",
      true,
    ],
    ["HEAD nothing", head, 200, [], undefined, [], "none", undefined, "", true],
    [
      "HEAD 1.0",
      { ...head, ...old },
      200,
      [],
      undefined,
      ["abc"],
      "none",
      undefined,
      "",
      true,
    ],
    ["204", {}, 204, [], undefined, [], "none", undefined, "", true],
    [
      "204 declared",
      {},
      204,
      length("3"),
      undefined,
      ["abc"],
      "none",
      undefined,
      "",
      true,
    ],
    ["204 size", {}, 204, [], 3, ["abc"], "none", undefined, "", true],
    ["204 1.0", old, 204, [], undefined, ["abc"], "none", undefined, "", true],
    ["205", {}, 205, [], undefined, ["abc"], "length", "0", "", true],
    [
      "205 declared",
      {},
      205,
      length("3"),
      undefined,
      ["abc"],
      "length",
      "0",
      "",
      true,
    ],
    ["304", {}, 304, [], undefined, [], "none", undefined, "", true],
    [
      "304 declared",
      {},
      304,
      length("3"),
      undefined,
      ["abc"],
      "none",
      "3",
      "",
      true,
    ],
    ["304 size", {}, 304, [], 3, [], "none", undefined, "", true],
    ["404", {}, 404, [], undefined, ["abc"], "chunked", undefined, "abc", true],
  ];
  for (const [what, terms, status, fields, size, writes, ...expected] of rows) {
    const got = answer(terms, status, fields, size, writes);
    assertEquals(
      [
        got.framing,
        got.get("content-length"),
        latin1(got.content),
        got.persists,
      ] as unknown[],
      expected,
      what,
    );
    assertEquals(
      got.get("transfer-encoding"),
      got.framing === "chunked" ? "chunked" : undefined,
      what,
    );
    assertEquals([got.status, got.reason], [status, "Why"]);
  }
});

test("WireResponse says what becomes of the connection (RFC 9112 §9.3)", () => {
  const cases: [
    Parameters<typeof begin>[0],
    ResponseFields,
    string | undefined,
    boolean,
  ][] = [
    [{}, [], undefined, true],
    [{ persist: false }, [], "close", false],
    [{}, [["Connection", "close"]], "close", false],
    [{}, [["Connection", "x, Close"]], "close", false],
    [
      {},
      [["Connection", "keep-alive"], ["Keep-Alive", "timeout=5"]],
      undefined,
      true,
    ],
    [{ version: 10 }, [], "keep-alive", true],
    [{ version: 10, persist: false }, [], "close", false],
    [{ version: 10 }, [["Connection", "close"]], "close", false],
  ];
  for (const [terms, fields, connection, persists] of cases) {
    const got = answer(terms, 200, fields, 0, []);
    assertEquals(got.get("connection"), connection);
    assertEquals(got.get("keep-alive"), undefined);
    assertEquals(got.persists, persists);
  }
});

test("WireResponse does not ask whether the connection persists when it cannot", () => {
  const { response } = begin({ version: 10, persist: true });
  response.start(200, "OK", []);
  response.write(octets("a"));
  assertEquals([response.persists, response.endsWithConnection], [false, true]);
});

test("WireResponse adds Date and Server where they are missing", () => {
  const own = answer({}, 200, [], 0, []);
  assertMatch(own.get("date") ?? "", / GMT$/);
  assertEquals(own.get("server"), "headgate");
  const date = "Sun, 06 Nov 1994 08:49:37 GMT";
  const given = answer({}, 200, [["date", date], ["SERVER", "mine"]], 0, []);
  assertEquals([given.get("date"), given.get("server")], [date, "mine"]);
});

test("WireResponse sends nothing before it is told to", () => {
  const { response, stream, wire } = begin();
  response.start(200, "OK", []);
  assertEquals([response.started, response.committed, wire.buffered], [
    true,
    false,
    0,
  ]);
  response.write(octets("abc"));
  assertEquals([response.committed, stream.writes], [true, 0]);
  response.flush();
  assertEquals(stream.writes, 1);
});

test("WireResponse.start() may replace what was given, until it is sent", () => {
  const { response, sent } = begin();
  response.start(200, "OK", [["X", "1"], ["Content-Length", "7"]]);
  response.start(500, "Oops", [["Y", "2"]]);
  response.write(octets("abc"));
  assertThrows(() => response.start(200, "OK", []), ApplicationError);
  response.end();
  const got = sent();
  assertEquals([got.status, got.get("x"), got.get("y")], [500, undefined, "2"]);
  assertEquals(latin1(got.content), "abc");
  assertEquals([response.status, response.fields], [
    500,
    [["Y", "2"]] as ResponseFields,
  ]);
});

const hint: ResponseFields = [["Link", "</a.css>; rel=preload"]];

test("WireResponse.informational() sends at once what is no final response", () => {
  const { response, stream, wire } = begin();
  response.start(200, "OK", []);
  response.informational(103, [
    ...hint,
    ["Connection", "close"],
    ["Content-Length", "2"],
    ["Transfer-Encoding", "chunked"],
  ]);
  assertEquals(
    latin1(stream.output),
    "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n",
  );
  response.informational(199, []);
  response.write(octets("ab"));
  response.end();
  wire.flush();
  assertEquals(
    parseResponses(stream.output).map(({ status }) => status),
    [103, 199, 200],
  );
});

test("WireResponse.informational() tells nobody who speaks HTTP/1.0", () => {
  const { response, sent } = begin({ version: 10 });
  response.informational(103, hint);
  response.start(200, "OK", []);
  response.end();
  assertEquals(sent().status, 200);
});

test("WireResponse.informational() refuses what HTTP forbids, and sends none of it", () => {
  const { response, stream } = begin();
  for (const status of [100, 101, 200, 99, 103.5, NaN, "103" as never]) {
    assertThrows(
      () => response.informational(status, hint),
      ApplicationError,
      "not one of an interim response",
    );
  }
  const bad: ResponseFields[] = [[["a b", "c"]], [["a", "b\r\nc: d"]]];
  for (const fields of bad) {
    assertThrows(() => response.informational(103, fields), ApplicationError);
  }
  response.start(200, "OK", []);
  assertEquals(stream.output.length, 0);
  response.flush();
  const message = "The head of this response has been sent";
  assertThrows(
    () => response.informational(103, hint),
    ApplicationError,
    message,
  );
  response.end();
  assertThrows(
    () => response.informational(103, hint),
    ApplicationError,
    message,
  );
});

test("WireResponse.informational() harms nobody when the peer leaves", async () => {
  const { response, stream } = begin({}, { window: 0 });
  response.informational(103, hint);
  const pending = response.informational(103, hint);
  assert(pending instanceof Promise);
  stream.fail("Reset");
  await assertRejects(async () => await pending, StreamError, "Reset");

  const other = begin({}, { window: 0 });
  void other.response.informational(103, hint);
  void other.response.informational(103, hint);
  other.stream.fail("Reset");
  // Where it is not handled, that is the failure of this test.
  await new Promise((resolve) => setTimeout(resolve));
});

test("WireResponse.start() keeps the first head when the second is refused", () => {
  const { response, sent } = begin();
  response.start(200, "OK", [], 3);
  assertThrows(
    () => response.start(200, "OK", [["X", "a\nb"]], 9),
    ApplicationError,
  );
  response.write(octets("abc"));
  response.end();
  assertEquals(sent().get("content-length"), "3");
});

test("WireResponse.start() refuses a size that is no length", () => {
  for (
    const size of [-1, 1.5, NaN, Infinity, 2 ** 53, "3" as unknown as number]
  ) {
    const { response, wire } = begin();
    assertThrows(() => response.start(200, "OK", [], size), ApplicationError);
    assertEquals([response.started, wire.buffered], [false, 0]);
  }
});

test("WireResponse refuses calls out of order", () => {
  const { response } = begin();
  assertEquals([response.started, response.status], [false, 0]);
  assertThrows(() => response.write(octets("a")), ApplicationError, "started");
  assertThrows(() => response.write(octets("")), ApplicationError, "started");
  assertThrows(() => response.flush(), ApplicationError, "started");
  assertThrows(() => response.end(), ApplicationError, "started");
  response.start(200, "OK", []);
  response.end();
  assertThrows(() => response.start(200, "OK", []), ApplicationError);
  assertThrows(() => response.write(octets("a")), ApplicationError, "ended");
  assertThrows(() => response.write(octets("")), ApplicationError, "ended");
  assertThrows(() => response.end(), ApplicationError, "ended");
});

test("WireResponse.write() refuses more than was declared, and sends none of it", () => {
  for (
    const [fields, size] of [[[["Content-Length", "3"]], undefined], [
      [],
      3,
    ]] as const
  ) {
    const { response, stream, wire } = begin();
    response.start(200, "OK", fields as ResponseFields, size);
    response.write(octets("ab"));
    assertThrows(
      () => response.write(octets("cd")),
      ApplicationError,
      "longer",
    );
    response.write(octets("c"));
    response.end();
    wire.flush();
    assert(stream.outputText.endsWith("\r\n\r\nabc"));
    assertEquals(response.contentSent, 3);
  }
});

test("WireResponse.end() refuses less than was declared", () => {
  for (const text of ["", "ab"]) {
    const { response } = begin();
    response.start(200, "OK", [["Content-Length", "3"]]);
    response.write(octets(text));
    assertThrows(() => response.end(), ApplicationError, "3");
    assertEquals(response.ended, false);
  }
});

test("WireResponse never sends an empty chunk, which would end the content", () => {
  const { response, sent } = begin();
  response.start(200, "OK", []);
  for (const text of ["", "a", "", "bc", ""]) response.write(octets(text));
  response.end();
  const got = sent();
  assertEquals([got.framing, latin1(got.content)], ["chunked", "abc"]);
});

test("WireResponse.write() chunks content of every size", async () => {
  for (
    const size of [1, 9, 10, 15, 16, 255, 256, 4096, 32_767, 32_768, 300_000]
  ) {
    const { response, sent } = begin();
    response.start(200, "OK", []);
    const content = "x".repeat(size);
    await response.write(octets(content));
    await response.write(octets("tail"));
    await response.end();
    const got = sent();
    assertEquals(latin1(got.content), `${content}tail`);
    assertEquals(response.contentSent, size + 4);
  }
});

test("WireResponse.flush() sends the head before any content", () => {
  const { response, stream } = begin();
  response.start(200, "OK", []);
  response.flush();
  assert(stream.outputText.endsWith("Transfer-Encoding: chunked\r\n\r\n"));
  assertEquals([response.committed, response.ended], [true, false]);
});

test("WireResponse tells the content before its head goes out", () => {
  const { response, told } = begin();
  response.start(200, "OK", []);
  assertEquals(told(), 0);
  response.write(octets("a"));
  response.end();
  assertEquals(told(), 1);
});

test("WireResponse.write() lends what the peer does not take, and keeps the framing", async () => {
  const { response, stream, wire, sent } = begin({}, { window: 0 });
  response.start(200, "OK", []);
  const content = octets("y".repeat(300_000));
  const pending = response.write(content);
  assert(pending instanceof Promise);
  assertEquals(wire.stalled, true);
  stream.take();
  await pending;
  content.fill(0);
  response.write(octets("z"));
  response.end();
  await wire.drained();
  assertEquals(latin1(sent().content), `${"y".repeat(300_000)}z`);
});

test("WireResponse refuses to go on while a write waits for the peer", async () => {
  const { response, stream, wire, sent } = begin({}, { window: 0 });
  response.start(200, "OK", []);
  const pending = response.write(octets("y".repeat(300_000)));
  // What is written now would stand inside the chunk that is under way.
  assertThrows(() => response.write(octets("z")), ApplicationError, "await");
  assertThrows(() => response.end(), ApplicationError, "await");
  stream.take();
  await pending;
  response.write(octets("z"));
  response.end();
  await wire.drained();
  assertEquals(latin1(sent().content), `${"y".repeat(300_000)}z`);
});

test("WireResponse.write() rejects when the peer leaves", async () => {
  const { response, stream } = begin({}, { window: 0 });
  response.start(200, "OK", [], 300_001);
  const pending = response.write(octets("y".repeat(300_000)));
  stream.fail("Reset");
  await assertRejects(async () => await pending, StreamError, "Reset");
  // It is the line's fault still, not the application's.
  response.write(octets("z"));
  await assertRejects(async () => await response.flush(), StreamError, "Reset");
});

test("WireResponse.write() harms nobody when its promise is dropped", async () => {
  const { response, stream } = begin({}, { window: 0 });
  response.start(200, "OK", []);
  response.write(octets("y".repeat(300_000)));
  response.flush();
  stream.fail("Reset");
  // An unhandled rejection would end the process, or fail this test.
  await new Promise((pass) => setTimeout(pass, 0));
});

test("WireResponse.abandon() makes every further call fail", () => {
  const { response, stream, wire } = begin();
  response.start(200, "OK", []);
  response.abandon();
  assertThrows(() => response.start(200, "OK", []), ApplicationError);
  assertThrows(() => response.write(octets("a")), ApplicationError);
  assertThrows(() => response.end(), ApplicationError);
  wire.flush();
  assertEquals(stream.writes, 0);
});

test("WireResponse sends a large chunk in two writes, and its CRLF with what comes next", async () => {
  const large = new Uint8Array(65_536).fill(0x61);
  for (const [directSize, perChunk] of [[32_768, 2], [98_304, 1]] as const) {
    const stream = Object.assign(new MemoryStream(), { directSize });
    const wire = new Wire(stream);
    const terms: Terms = { version: 11, toHead: false, mayPersist: () => true };
    const response = new WireResponse(wire, terms, { withoutContinue() {} });
    response.start(200, "OK", []);
    await response.flush();
    const pieces = [large, large, octets("small"), large];
    const writes: number[] = [];
    for (const content of pieces) {
      const before = stream.writes;
      await response.write(content);
      await response.flush();
      writes.push(stream.writes - before);
    }
    assertEquals(writes, [perChunk, perChunk, 1, perChunk]);
    response.end();
    wire.flush();
    const [parsed] = parseResponses(stream.output);
    assertEquals(parsed!.content.length, 3 * 65_536 + 5);
    assertEquals(stream.misuse, []);
  }
});
