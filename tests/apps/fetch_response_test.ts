import { runInNewContext } from "node:vm";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { findMemoryCount, peek } from "../../adapters/memory_count.ts";
import { sendResponse } from "../../src/apps/fetch_response.ts";
import { countMemoryBy } from "../../src/apps/memory_count.ts";
import { ApplicationError, StreamError } from "../../src/errors.ts";
import {
  bytes,
  FakeExchange,
  type FakeRequest,
  type FakeResponse,
} from "../support/fake_exchange.ts";

countMemoryBy(findMemoryCount, peek);

/** Bun does not tell text from octets. */
const onBun = "Bun" in globalThis;

async function send(
  response: unknown,
  request: FakeRequest = {},
): Promise<FakeResponse> {
  const exchange = new FakeExchange(request);
  await sendResponse(exchange, response);
  assert(exchange.response.ended);
  return exchange.response;
}

async function refuse(
  response: unknown,
  request: FakeRequest = {},
): Promise<{ error: Error; sent: FakeResponse }> {
  const exchange = new FakeExchange(request);
  const error = await assertRejects(
    async () => await sendResponse(exchange, response),
    ApplicationError,
  );
  return { error, sent: exchange.response };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 25_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`Waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** A stream that a test feeds, and what is done to it. */
class Fed {
  cancelled: unknown[] = [];
  pulls = 0;
  controller!: ReadableStreamDefaultController<Uint8Array>;
  readonly stream: ReadableStream<Uint8Array> = new ReadableStream({
    start: (controller) => {
      this.controller = controller;
    },
    pull: () => {
      this.pulls++;
    },
    cancel: (reason) => {
      this.cancelled.push(reason);
    },
  }, { highWaterMark: 0 });

  push(text: string): void {
    this.controller.enqueue(bytes(text));
  }
}

/** Pieces at hand, one for each pull. */
function streamOf(...pieces: (string | Error)[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    pull(controller) {
      const piece = pieces.shift();
      if (piece === undefined) controller.close();
      else if (piece instanceof Error) controller.error(piece);
      else controller.enqueue(bytes(piece));
    },
  });
}

const form = new FormData();
form.append("a", "1");

const whole: [string, () => BodyInit, string][] = [
  ["text", () => "h\u00e9llo", "h\u00c3\u00a9llo"],
  ["no text", () => "", ""],
  ["octets", () => Uint8Array.of(0, 255, 128), "\x00\xff\x80"],
  ["a part of a buffer", () => bytes("abcd").subarray(1, 3) as never, "bc"],
  ["no octets", () => new Uint8Array(0), ""],
  ["a buffer", () => bytes("abc").buffer as ArrayBuffer, "abc"],
  ["a view", () => new DataView(new ArrayBuffer(2)), "\0\0"],
  ["a form", () => new URLSearchParams({ a: "b c" }), "a=b+c"],
  ["a stream that is at hand", () => streamOf("ab", "c"), "abc"],
  ["a long text", () => "x".repeat(40_000), "x".repeat(40_000)],
  ["a longer text", () => "x".repeat(200_000), "x".repeat(200_000)],
  ["many octets", () => new Uint8Array(200_000), "\0".repeat(200_000)],
];

for (const [what, make, content] of whole) {
  test(`a body of ${what} is sent whole, with its length`, async () => {
    const sent = await send(new Response(make()));
    assertEquals([sent.status, sent.size], [200, content.length]);
    assertEquals(sent.content, content);
    assertEquals(sent.calls.includes("flush"), false);

    const asked = await send(new Response(make()), { method: "HEAD" });
    assertEquals([asked.size, asked.content], [content.length, ""]);
  });
}

test("what is at hand is sent at once where the runtime tells", async () => {
  const exchange = new FakeExchange();
  const pending = sendResponse(exchange, Response.json({ a: 1 }));
  if (pending !== undefined) return await pending;
  assertEquals(exchange.response.calls, ["start", 'write {"a":1}', "end"]);
});

test("a body in memory is sent at once where promises can be looked into", () => {
  if (!onBun) return;
  const text = "long enough to count";
  const octets = bytes(text) as Uint8Array<ArrayBuffer>;
  for (const response of [new Response(text), new Response(octets)]) {
    const exchange = new FakeExchange();
    assertStrictEquals(sendResponse(exchange, response), undefined);
    assertEquals(exchange.response.calls, ["start", `write ${text}`, "end"]);
  }
});

test("a promise that shows no octets is waited for", async () => {
  const text = "long enough to count";
  for (const look of [undefined, () => new Error("a reason")]) {
    countMemoryBy(findMemoryCount, look);
    try {
      const { content } = await send(new Response(text));
      assertEquals(content, text);
    } finally {
      countMemoryBy(findMemoryCount, peek);
    }
  }
});

test("the peer drains late", async () => {
  const exchange = new FakeExchange({ slowPeer: true });
  await sendResponse(exchange, new Response("abc"));
  assertEquals(exchange.response.calls, ["start", "write abc", "end"]);
});

test("a response whose clone was read", async () => {
  for (const body of ["abc", bytes("abc") as Uint8Array<ArrayBuffer>]) {
    const response = new Response(body);
    assertEquals(await response.clone().text(), "abc");
    const sent = await send(response);
    assertEquals([sent.size, sent.content], [3, "abc"]);
  }
});

test("fields however they were given", async () => {
  const given: HeadersInit[] = [
    { "Content-Type": "a/b" },
    { "Content-Type": "a/b", "X-C": "d" },
    [["Content-Type", "a/b"], ["x-c", "d"]],
    new Headers({ "Content-Type": "a/b" }),
  ];
  for (const headers of given) {
    for (const body of ["e", bytes("e") as Uint8Array<ArrayBuffer>]) {
      const sent = await send(new Response(body, { headers }));
      assertEquals(sent.field("content-type"), "a/b");
      assertEquals(
        sent.field("x-c"),
        new Headers(headers).get("x-c") ?? undefined,
      );
      assertEquals(sent.content, "e");
    }
  }
});

test("Blob and FormData", async () => {
  const blob = await send(new Response(new Blob(["ab", "c"], { type: "x/y" })));
  assertEquals([blob.content, blob.field("content-type")], ["abc", "x/y"]);
  const parts = await send(new Response(form));
  const type = parts.field("content-type") ?? "";
  const read = await new Response(parts.content, {
    headers: { "content-type": type },
  }).formData();
  assertEquals(read.get("a"), "1");
});

test("types that the runtime gives", async () => {
  const json = await send(Response.json({}));
  assert(json.field("content-type")?.startsWith("application/json"));
  const query = await send(new Response(new URLSearchParams("a=b")));
  assert(query.field("content-type")?.startsWith("application/x-www-form"));
  for (const content of ["a", "h\u00e9".repeat(40_000)]) {
    const text = await send(new Response(content));
    assertEquals(text.field("content-type"), "text/plain;charset=UTF-8");
    const own = await send(
      new Response(content, { headers: { "content-type": "a/b" } }),
    );
    assertEquals(own.field("content-type"), "a/b");
  }
  for (const octets of [[0xff], [0x61, 0xc3], []]) {
    const sent = await send(new Response(Uint8Array.from(octets)));
    assertEquals(sent.field("content-type"), undefined);
  }
  // There what is text is not known by anything else.
  const octets = await send(new Response(bytes("a") as never));
  assertEquals(
    octets.field("content-type"),
    onBun ? "text/plain;charset=UTF-8" : undefined,
  );
});

test("status, reason and fields", async () => {
  const sent = await send(
    new Response("a", {
      status: 201,
      statusText: "Made",
      headers: { "X-A": "caf\u00e9" },
    }),
  );
  assertEquals([sent.status, sent.reason], [201, "Made"]);
  assertEquals(sent.field("x-a"), "caf\u00e9");
});

test("each Set-Cookie by itself, other fields together", async () => {
  const headers = new Headers();
  for (const cookie of ["a=1; Path=/", "b=2", "a=1; Path=/"]) {
    headers.append("Set-Cookie", cookie);
  }
  headers.append("Vary", "a");
  headers.append("Vary", "b");
  const sent = await send(new Response(null, { headers }));
  assertEquals(sent.size, 0);
  assertEquals(
    sent.fields.filter(([name]) => name === "set-cookie").map(([, value]) =>
      value
    ),
    ["a=1; Path=/", "b=2", "a=1; Path=/"],
  );
  assertEquals(sent.field("vary"), "a, b");
});

test("no body", async () => {
  for (const status of [200, 204, 304, 404]) {
    const sent = await send(new Response(null, { status }));
    assertEquals([sent.status, sent.size, sent.content], [status, 0, ""]);
    assertEquals(sent.calls, ["start", "end"]);
  }
  const asked = await send(
    new Response(null, { headers: { "content-length": "5" } }),
    { method: "HEAD" },
  );
  assertEquals([asked.size, asked.field("content-length")], [undefined, "5"]);
});

test("a redirect", async () => {
  const sent = await send(Response.redirect("http://example.com/b", 303));
  assertEquals(sent.status, 303);
  assertEquals(sent.field("location"), "http://example.com/b");
});

test("a subclass, and a response of another make", async () => {
  class Mine extends Response {}
  assertEquals((await send(new Mine("abc"))).content, "abc");
  const foreign = {
    [Symbol.toStringTag]: "Response",
    status: 202,
    statusText: "",
    headers: new Headers({ "x-a": "b" }),
    body: streamOf("abc"),
    bodyUsed: false,
    type: "default",
    url: "",
  };
  const sent = await send(foreign);
  assertEquals([sent.status, sent.content], [202, "abc"]);
});

test("what fetch() has decoded is not said to be encoded", async () => {
  const fetched = {
    [Symbol.toStringTag]: "Response",
    status: 200,
    statusText: "",
    headers: new Headers({ "content-encoding": "gzip", "content-length": "9" }),
    bodyUsed: false,
    type: "basic",
  };
  const url = "http://example.com/";
  const passed = await send({ ...fetched, body: streamOf("abc"), url });
  assertEquals([passed.fields, passed.size], [[], 3]);
  const asked = await send({ ...fetched, body: null, url }, { method: "HEAD" });
  assertEquals(asked.field("content-length"), "9");
  const own = await send({ ...fetched, body: streamOf("123456789"), url: "" });
  assertEquals(own.field("content-encoding"), "gzip");
});

test("what is no Response is refused", async () => {
  for (
    const value of [
      undefined,
      null,
      "text",
      {},
      new Request("http://a/"),
      runInNewContext("({ status: 200 })"),
    ]
  ) {
    const { error, sent } = await refuse(value);
    assert(error.message.includes("must return a Response"), error.message);
    assertEquals(sent.started, false);
  }
  const { error } = await refuse(Response.error());
  assert(error.message.includes("Response.error()"));
});

test("a body that was read, or is being read, is refused", async () => {
  const read = new Response("abc");
  await read.text();
  assert((await refuse(read)).error.message.includes("read already"));
  const locked = new Response(streamOf("abc"));
  locked.body!.getReader();
  assertEquals((await refuse(locked)).sent.started, false);
});

test("a response is sent once", async () => {
  for (const body of ["abc", bytes("abc"), streamOf("abc")]) {
    const response = new Response(body as BodyInit);
    await send(response);
    const { error } = await refuse(response);
    assert(error.message.includes("read"), error.message);
  }
  const empty = new Response(null);
  await send(empty);
  await send(empty);
});

test("a clone is sent beside its original", async () => {
  for (const body of ["abc", streamOf("abc")]) {
    const response = new Response(body);
    const clone = response.clone();
    assertEquals((await send(response)).content, "abc");
    assertEquals((await send(clone)).content, "abc");
  }
});

test("a Content-Length of its own that is not true is refused", async () => {
  for (const length of ["2", "4"]) {
    for (const body of ["abc", streamOf("abc")]) {
      await refuse(
        new Response(body, { headers: { "Content-Length": length } }),
      );
    }
  }
  const sent = await send(
    new Response("abc", { headers: { "Content-Length": "3" } }),
  );
  assertEquals(sent.content, "abc");
});

test("a stream is sent as it comes", async () => {
  const fed = new Fed();
  const exchange = new FakeExchange();
  const { response } = exchange;
  const sending = sendResponse(exchange, new Response(fed.stream));
  await until(() => response.committed, "the head");
  assertEquals([response.size, response.content], [undefined, ""]);
  for (const event of ["one", "two", "three"]) {
    const before = response.content.length;
    fed.push(event);
    const after = before + event.length;
    await until(() => response.flushed === after, event);
  }
  fed.controller.close();
  await sending;
  assertEquals(response.content, "onetwothree");
  assertEquals(fed.cancelled, []);
});

test("what came without a wait goes together", async () => {
  const fed = new Fed();
  const exchange = new FakeExchange();
  const { response } = exchange;
  fed.push("a");
  fed.push("b");
  const sending = sendResponse(exchange, new Response(fed.stream));
  await until(() => response.flushed === 2, "both");
  assertEquals(response.calls, ["start", "write a", "write b", "flush"]);
  fed.controller.close();
  await sending;
});

test("a stream that is longer than what is gathered goes on", async () => {
  const pieces = Array.from({ length: 300 }, (_, i) => `${i},`);
  const sent = await send(new Response(streamOf(...pieces)));
  assertEquals(sent.content, pieces.join(""));
  const large = Array.from({ length: 5 }, () => "x".repeat(30_000));
  const long = await send(new Response(streamOf(...large)));
  assertEquals([long.size, long.content.length], [undefined, 150_000]);
});

test("HEAD waits for no stream", async () => {
  const fed = new Fed();
  const sent = await send(new Response(fed.stream), { method: "HEAD" });
  assertEquals([sent.size, sent.content], [undefined, ""]);
  await until(() => fed.cancelled.length === 1, "the end of the stream");
});

test("a stream that fails half-way fails the response", async () => {
  const wrong = new Error("half-way");
  const exchange = new FakeExchange();
  const fed = new Fed();
  const sending = Promise.resolve(
    sendResponse(exchange, new Response(fed.stream)),
  );
  fed.push("half");
  await until(() => exchange.response.flushed === 4, "the first half");
  fed.controller.error(wrong);
  const error = await assertRejects(() => sending, Error, "half-way");
  assertStrictEquals(error, wrong);
  assertEquals(exchange.response.ended, false);
});

test("a stream that fails at once has sent nothing", async () => {
  const exchange = new FakeExchange();
  const response = new Response(streamOf(new Error("at once")));
  await assertRejects(
    async () => await sendResponse(exchange, response),
    Error,
    "at once",
  );
  assertEquals(exchange.response.committed, false);
});

test("pieces of text are sent as UTF-8", async () => {
  const stream = new ReadableStream({
    start(controller) {
      for (const piece of ["gr\u00fc", "", "\u00dfe"]) {
        controller.enqueue(piece);
      }
      controller.close();
    },
  });
  const sent = await send(new Response(stream as never));
  assertEquals(sent.content, "gr\xc3\xbc\xc3\x9fe");
});

test("a piece that is no octets is refused, and the stream cancelled", async () => {
  let cancelled = false;
  const stream = new ReadableStream({
    pull: (controller) => controller.enqueue({ no: "octets" }),
    cancel: () => {
      cancelled = true;
    },
  });
  const { error } = await refuse(new Response(stream as never));
  assert(error.message.includes("must give Uint8Array"), error.message);
  await until(() => cancelled, "cancel()");
});

test("the peer leaves while the stream waits", async () => {
  const fed = new Fed();
  const exchange = new FakeExchange();
  const sending = Promise.resolve(
    sendResponse(exchange, new Response(fed.stream)),
  );
  fed.push("a");
  await until(() => exchange.response.flushed === 1, "the first piece");
  exchange.controller.abort();
  await assertRejects(() => sending, StreamError);
  await until(() => fed.cancelled.length > 0, "cancel()");
  assertEquals(fed.cancelled.length, 1);
  assertInstanceOf(fed.cancelled[0], StreamError);
});

test("the peer has left before the stream begins", async () => {
  const fed = new Fed();
  const exchange = new FakeExchange();
  exchange.controller.abort();
  await assertRejects(
    async () => await sendResponse(exchange, new Response(fed.stream)),
    StreamError,
  );
  assertEquals(fed.cancelled.length, 1);
});

test("the peer leaves while content is written", async () => {
  const fed = new Fed();
  const exchange = new FakeExchange({ leavesAfter: 1 });
  const sending = Promise.resolve(
    sendResponse(exchange, new Response(fed.stream)),
  );
  fed.push("ab");
  await assertRejects(() => sending, StreamError);
  assertEquals(fed.cancelled.length, 1);
});

test("a stream without an end that never waits lets others in", async () => {
  const exchange = new FakeExchange();
  const endless = new ReadableStream({
    pull: (controller) => controller.enqueue(bytes(".")),
  });
  const sending = Promise.resolve(
    sendResponse(exchange, new Response(endless)),
  );
  setTimeout(() => exchange.controller.abort());
  await assertRejects(() => sending, StreamError);
});

test("a stream is asked for no more than its peer takes", async () => {
  const fed = new Fed();
  const exchange = new FakeExchange();
  let drain = () => {};
  exchange.response.write = () =>
    new Promise<void>((resolve) => {
      drain = resolve;
    });
  fed.push("a");
  const sending = sendResponse(exchange, new Response(fed.stream));
  await until(() => exchange.response.started, "the head");
  fed.push("b");
  fed.push("c");
  await until(() => fed.pulls > 0, "a pull");
  await new Promise((resolve) => setTimeout(resolve));
  const { pulls } = fed;
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(fed.pulls, pulls);
  assert(pulls < 4, String(pulls));
  exchange.response.write = () => {};
  fed.controller.close();
  drain();
  await sending;
});

test("the signal is not asked for where nothing is waited for", async () => {
  for (const body of ["abc", streamOf("a", "b")]) {
    const exchange = new FakeExchange();
    await sendResponse(exchange, new Response(body));
    assertEquals(exchange.signalsAsked, 0);
  }
});

test("no listener stays on the signal", async () => {
  const fed = new Fed();
  const exchange = new FakeExchange();
  const { signal } = exchange.controller;
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: never) => {
    listeners++;
    Reflect.apply(addEventListener, signal, args);
  };
  signal.removeEventListener = (...args: never) => {
    listeners--;
    Reflect.apply(removeEventListener, signal, args);
  };
  const sending = sendResponse(exchange, new Response(fed.stream));
  for (let sent = 1; sent < 5; sent++) {
    fed.push(".");
    await until(() => exchange.response.flushed === sent, "a piece");
    assertEquals(listeners, 1);
  }
  fed.controller.close();
  await sending;
  assertEquals(listeners, 0);
});
