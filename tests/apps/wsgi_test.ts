import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { lint } from "../../src/apps/lint.ts";
import { wsgi, type WsgiOptions } from "../../src/apps/wsgi.ts";
import { ApplicationError, StreamError } from "../../src/errors.ts";
import type { Logger } from "../../src/logger.ts";
import { version } from "../../src/version.ts";
import type {
  Application,
  FileLike,
  ResponseBody,
  ResponseHeaders,
  StartResponse,
  Write,
} from "../../src/wsgi.ts";
import {
  bytes,
  FakeExchange,
  type FakeRequest,
  type FakeResponse,
  text,
} from "../support/fake_exchange.ts";

const plain: ResponseHeaders = [["Content-Type", "text/plain"]];

function declaring(length: number): ResponseHeaders {
  return [...plain, ["Content-Length", String(length)]];
}

/** A log that keeps its lines. */
function recording(): Logger & { lines: string[] } {
  const lines: string[] = [];
  const record = (message: string) => {
    lines.push(message);
  };
  return { lines, debug: record, info: record, warn: record, error: record };
}

const noLog = recording();

/** Serves one request under lint. */
async function run(
  app: Application,
  request: FakeRequest = {},
  options: WsgiOptions = {},
): Promise<FakeResponse> {
  const exchange = new FakeExchange(request);
  await wsgi(lint(app), { log: noLog, ...options })(exchange);
  assert(exchange.response.ended);
  return exchange.response;
}

/** Serves one request that fails, under nothing, so that the gateway's own
 * checks are seen; returns the error and the response as far as it came. */
async function fail(
  app: unknown,
  request: FakeRequest = {},
  options: WsgiOptions = {},
): Promise<{ error: Error; response: FakeResponse }> {
  const exchange = new FakeExchange(request);
  const handler = wsgi(app as Application, { log: noLog, ...options });
  const error = await assertRejects(async () => await handler(exchange));
  return { error, response: exchange.response };
}

/** What `startResponse` says to such arguments. */
async function refusal(status: unknown, headers: unknown): Promise<string> {
  let message = "";
  await run((_environ, startResponse) => {
    message = assertThrows(
      () => startResponse(status as string, headers as ResponseHeaders),
      ApplicationError,
    ).message;
    startResponse("200 OK", plain);
    return [];
  });
  return message;
}

/** A body that counts what is done to it. */
class Watched {
  asked = 0;
  closed = 0;
  readonly #blocks: (string | Error)[];

  constructor(...blocks: (string | Error)[]) {
    this.#blocks = blocks;
  }

  [Symbol.iterator](): Iterator<Uint8Array> {
    return {
      next: () => {
        this.asked++;
        const block = this.#blocks.shift();
        if (block instanceof Error) throw block;
        return block === undefined
          ? { done: true, value: undefined }
          : { done: false, value: bytes(block) };
      },
    };
  }

  close(): void {
    this.closed++;
  }
}

class WatchedLater {
  readonly inner: Watched;

  constructor(...blocks: (string | Error)[]) {
    this.inner = new Watched(...blocks);
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    const iterator = this.inner[Symbol.iterator]();
    return {
      next: async () => {
        await Promise.resolve();
        return iterator.next();
      },
    };
  }

  async close(): Promise<void> {
    await Promise.resolve();
    this.inner.close();
  }
}

/** The same body, iterated synchronously and asynchronously. */
function bothWays(
  ...blocks: (string | Error)[]
): [body: ResponseBody, watched: Watched][] {
  const now = new Watched(...blocks);
  const later = new WatchedLater(...blocks);
  return [[now, now], [later, later.inner]];
}

/** An application that answers 200 with `body`. */
function answering(body: ResponseBody, headers = plain): Application {
  return (_environ, startResponse) => {
    startResponse("200 OK", headers);
    return body;
  };
}

// The body

test("wsgi() answers an array without making a promise", () => {
  const exchange = new FakeExchange();
  const pending = wsgi(answering([bytes("hello")]))(exchange);
  assertStrictEquals(pending, undefined);
  const { response } = exchange;
  assertEquals(response.calls, ["start", "write hello", "end"]);
  assertEquals(response.status, 200);
  assertEquals(response.reason, "OK");
  assertEquals(response.fields, plain);
  assertEquals(response.size, 5);
});

test("the blocks of an array leave together, their length is known", async () => {
  const blocks = [bytes("ab"), bytes(""), bytes("cd")];
  const response = await run(answering(blocks));
  assertEquals(response.calls, ["start", "write ab", "write cd", "end"]);
  assertEquals(response.size, 4);
});

test("an empty array is a response of no bytes", async () => {
  const response = await run(answering([]));
  assertEquals(response.size, 0);
  assertEquals(response.calls, ["start", "end"]);
});

test("a declared Content-Length is left to speak for itself", async () => {
  const response = await run(answering([bytes("abc")], declaring(3)));
  assertEquals(response.size, undefined);
  assertEquals(response.content, "abc");
});

test("an array goes on where the peer drains late", async () => {
  const blocks = [bytes("ab"), bytes("cd"), bytes("ef")];
  const response = await run(answering(blocks), { slowPeer: true });
  assertEquals(response.content, "abcdef");
});

test("each block of an iterable is flushed before the next is asked for", async () => {
  const steps = function* (seen: string[], response: FakeResponse) {
    for (const block of ["a", "b", "c"]) {
      yield bytes(block);
      seen.push(response.content.slice(0, response.flushed));
    }
  };
  const laterSteps = async function* (seen: string[], response: FakeResponse) {
    yield* steps(seen, response);
  };
  for (const slowPeer of [false, true]) {
    for (const make of [steps, laterSteps]) {
      const exchange = new FakeExchange({ slowPeer });
      const { response } = exchange;
      const seen: string[] = [];
      await wsgi(answering(make(seen, response)))(exchange);
      assertEquals(seen, ["a", "ab", "abc"]);
      assertEquals(response.calls[0], "start");
      assertEquals(response.calls.at(-1), "end");
      assertEquals(response.size, undefined);
    }
  }
});

test("an application may be a generator, and start its response late", async () => {
  const response = await run(function* (_environ, startResponse) {
    startResponse("201 Created", plain);
    yield bytes("a");
    yield bytes("b");
  });
  assertEquals([response.status, response.content], [201, "ab"]);
});

test("an application may be an asynchronous generator", async () => {
  const response = await run(async function* (environ, startResponse) {
    const content = await environ["wsgi.input"].read();
    startResponse("200 OK", plain);
    yield content;
    yield content;
  }, { content: ["x", "y"], slowContent: true });
  assertEquals(response.content, "xyxy");
});

test("an application may be asynchronous", async () => {
  const response = await run(async (environ, startResponse) => {
    const content = await environ["wsgi.input"].read();
    startResponse("200 OK", plain);
    return [content];
  }, { content: ["echo"], slowContent: true });
  assertEquals(response.content, "echo");
  assertEquals(response.size, 4);
});

test("a body that ends without a block sends its head then", async () => {
  for (const [body, watched] of bothWays("", "")) {
    const response = await run(answering(body));
    assertEquals(response.calls, ["start", "end", "flush"]);
    assertEquals(watched.closed, 1);
  }
});

test("a web stream is a body", async () => {
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(bytes("a"));
      controller.enqueue(bytes("b"));
      controller.close();
    },
  });
  const body = stream as unknown as AsyncIterable<Uint8Array>;
  assertEquals((await run(answering(body))).content, "ab");
});

test("what is no body is named", async () => {
  const cases: [unknown, string][] = [
    ["text", "not a string"],
    [bytes("bytes"), "not a bare Uint8Array"],
    [new ArrayBuffer(1), "not an object of ArrayBuffer"],
    [undefined, "not undefined"],
    [null, "not null"],
    [{ status: 200 }, "not an object of Object"],
    [7, "not a number"],
  ];
  for (const [body, complaint] of cases) {
    for (const later of [false, true]) {
      const { error, response } = await fail(
        (_environ: unknown, startResponse: StartResponse) => {
          startResponse("200 OK", []);
          return later ? Promise.resolve(body) : body;
        },
      );
      assert(error instanceof ApplicationError);
      assertStringIncludes(error.message, complaint);
      assert(!response.started);
    }
  }
});

test("a block that is no Uint8Array is named, and the body closed", async () => {
  const cases: [unknown, string][] = [
    ["text", "not a string"],
    [new Uint16Array(1), "not an object of Uint16Array"],
    [undefined, "not undefined"],
    [[bytes("x")], "not an object of Array"],
  ];
  for (const [block, complaint] of cases) {
    let closed = 0;
    const close = () => {
      closed++;
    };
    const steps = function* () {
      yield block;
    };
    const laterSteps = async function* () {
      yield block;
    };
    for (const body of [[block], steps(), laterSteps()]) {
      const { error, response } = await fail(
        (_environ: unknown, startResponse: StartResponse) => {
          startResponse("200 OK", []);
          return Object.assign(body, { close });
        },
      );
      assert(error instanceof ApplicationError);
      assertStringIncludes(error.message, complaint);
      assert(!response.started);
    }
    assertEquals(closed, 3);
  }
});

test("a body without startResponse is an error", async () => {
  const bodies = [
    () => [],
    () => [bytes("x")],
    function* () {
      yield bytes("x");
    },
    async function* () {},
  ];
  for (const app of bodies) {
    const { error } = await fail(app);
    assert(error instanceof ApplicationError);
    assertStringIncludes(error.message, "without calling startResponse");
  }
});

// Content-Length

test("a body longer than its Content-Length is cut there and told", async () => {
  const bodies: [body: ResponseBody, watched?: Watched][] = [
    [[bytes("abcdef")]],
    [[bytes("ab"), bytes("cd"), bytes("ef")]],
    ...bothWays("ab", "cd", "ef", "gh"),
  ];
  for (const [body, watched] of bodies) {
    const { error, response } = await fail(answering(body, declaring(3)));
    assert(error instanceof ApplicationError);
    assertStringIncludes(error.message, "longer than its Content-Length, 3");
    assertEquals(response.content, "abc");
    assert(response.ended);
    if (watched === undefined) continue;
    assertEquals(watched.closed, 1);
    assertEquals(watched.asked, 2);
  }
});

test("a body shorter than its Content-Length fails, once it is closed", async () => {
  const bodies: [body: ResponseBody, watched?: Watched][] = [
    [[bytes("ab")]],
    ...bothWays("a", "b"),
  ];
  for (const [body, watched] of bodies) {
    const { error, response } = await fail(answering(body, declaring(3)));
    assert(error instanceof ApplicationError);
    assertEquals(response.content, "ab");
    if (watched !== undefined) assertEquals(watched.closed, 1);
  }
});

// HEAD, 204, 304

test("HEAD asks the body for nothing once the status is known", async () => {
  for (const [body, watched] of bothWays("a", "b")) {
    const response = await run(answering(body), { method: "HEAD" });
    assertEquals(response.calls, ["start", "end", "flush"]);
    assertEquals([watched.asked, watched.closed], [0, 1]);
  }
});

test("HEAD runs a generator only as far as its startResponse", async () => {
  const seen: string[] = [];
  const response = await run(function* (_environ, startResponse) {
    try {
      startResponse("200 OK", plain);
      yield bytes("a");
      seen.push("second step");
    } finally {
      seen.push("finally");
    }
  }, { method: "HEAD" });
  assertEquals(response.calls, ["start", "end", "flush"]);
  assertEquals(seen, ["finally"]);
});

test("HEAD asks for the first block where that is asked for", async () => {
  const options: WsgiOptions = { firstBlockForHead: true };
  const head = { method: "HEAD" };
  for (const [body, watched] of bothWays("", "a", "b")) {
    const response = await run(answering(body), head, options);
    assertEquals(response.calls, ["start", "end", "flush"]);
    assertEquals([watched.asked, watched.closed], [2, 1]);
  }
  for (const [body, watched] of bothWays("a")) {
    const response = await run(
      (_environ, startResponse) => {
        startResponse("204 No Content", []);
        return body;
      },
      {},
      options,
    );
    assertEquals([response.status, watched.asked], [204, 0]);
  }
  const exchange = new FakeExchange(head);
  const failing: Application = (_environ, startResponse) => {
    startResponse("200 OK", plain);
    return (function* (): Generator<Uint8Array> {
      yield bytes("");
      throw new RangeError("mine");
    })();
  };
  await assertRejects(
    async () => await wsgi(failing, { log: noLog, ...options })(exchange),
    RangeError,
    "mine",
  );
  assertEquals(exchange.response.started, false);
});

test("HEAD tells the length of an array, but not of an empty one", async () => {
  const method = "HEAD";
  assertEquals((await run(answering([bytes("abc")]), { method })).size, 3);
  assertEquals((await run(answering([]), { method })).size, undefined);
});

test("204 and 304 have no length and ask for no block", async () => {
  for (const status of ["204 No Content", "304 Not Modified"]) {
    for (const [body, watched] of bothWays("a")) {
      const response = await run((_environ, startResponse) => {
        startResponse(status, []);
        return body;
      });
      assertEquals(response.calls, ["start", "end", "flush"]);
      assertEquals([watched.asked, watched.closed], [0, 1]);
    }
    const response = await run((_environ, startResponse) => {
      startResponse(status, []);
      return [];
    });
    assertEquals(response.size, undefined);
  }
});

// startResponse

test("startResponse refuses a status that is not like 200 OK", async () => {
  const statuses = [
    "200",
    "OK",
    "20 OK",
    "2000 OK",
    " 200 OK",
    "100 Continue",
    "199 No",
    "600 No",
    "200 O\nK",
    "200 \u20ac",
    "200 \x7f",
    200,
    undefined,
    null,
  ];
  for (const status of statuses) {
    assertStringIncludes(
      await refusal(status, []),
      'The status must be like "200 OK"',
    );
  }
});

test("startResponse takes any reason of Latin-1, an empty one too", async () => {
  for (const reason of ["", "Tr\u00e8s bien", "a\tb"]) {
    const response = await run((_environ, startResponse) => {
      startResponse(`299 ${reason}`, plain);
      return [];
    });
    assertEquals([response.status, response.reason], [299, reason]);
  }
});

test("startResponse refuses headers that are not an array of pairs", async () => {
  const cases: [unknown, string][] = [
    [{ "Content-Type": "text/plain" }, "not an object of Object"],
    [new Headers(), "not an object of Headers"],
    [new Map(), "not an object of Map"],
    [undefined, "not undefined"],
    [["A: b"], "not a string"],
    [[["A"]], "pair"],
    [[["A", "b", "c"]], "pair"],
    [[["A", 1]], "The value of A must be a string, not a number"],
    [[["A", undefined]], "not undefined"],
    [[[1, "a"]], "A header name must be a token"],
  ];
  for (const [headers, complaint] of cases) {
    assertStringIncludes(await refusal("200 OK", headers), complaint);
  }
});

test("startResponse refuses names that are not tokens", async () => {
  for (const name of ["", "A B", "A:", "A\n", "\u00e9", "A(", "A\0"]) {
    assertStringIncludes(
      await refusal("200 OK", [[name, "x"]]),
      "must be a token",
    );
  }
});

test("startResponse refuses controls and what is beyond U+00FF in values", async () => {
  for (
    const value of [
      "a\rb",
      "a\nb",
      "a\0b",
      "\x1b[m",
      "\x7f",
      "\u0100",
      "\ud83d\ude00",
    ]
  ) {
    assertStringIncludes(
      await refusal("200 OK", [["X-A", value]]),
      "The value of X-A must have no control characters",
    );
  }
  const response = await run(
    answering([], [...plain, ["X-A", "a\tb \x80\u00ff"]]),
  );
  assertEquals(response.field("x-a"), "a\tb \x80\u00ff");
});

test("startResponse refuses hop-by-hop fields", async () => {
  const names = [
    "Connection",
    "keep-alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "TE",
    "Trailer",
    "Trailers",
    "Transfer-Encoding",
    "UPGRADE",
  ];
  for (const name of names) {
    assertStringIncludes(await refusal("200 OK", [[name, "x"]]), "hop-by-hop");
  }
});

test("startResponse refuses a Content-Length that is none, or two", async () => {
  for (
    const value of [
      "",
      "-1",
      "+1",
      "1.0",
      "0x1",
      "1, 1",
      "99999999999999999999",
    ]
  ) {
    assertStringIncludes(
      await refusal("200 OK", [["content-length", value]]),
      "Content-Length must be a number",
    );
  }
  const twice = [["Content-Length", "1"], ["content-length", "1"]];
  assertStringIncludes(await refusal("200 OK", twice), "given twice");
});

test("startResponse is called again only with excInfo", async () => {
  const response = await run((_environ, startResponse) => {
    startResponse("200 OK", declaring(99));
    for (const excInfo of [undefined, null]) {
      assertThrows(
        () => startResponse("500 Oops", plain, excInfo),
        ApplicationError,
        "without excInfo",
      );
    }
    startResponse("500 Oops", plain, new Error("caught"));
    return [bytes("sorry")];
  });
  assertEquals([response.status, response.content], [500, "sorry"]);
  assertEquals(response.size, 5);
});

test("excInfo is thrown again once the head is on its way", async () => {
  const caught = new Error("caught");
  const apps: Application[] = [
    function* (_environ, startResponse) {
      startResponse("200 OK", plain);
      yield bytes("a");
      startResponse("500 Oops", plain, caught);
    },
    async function* (_environ, startResponse) {
      startResponse("200 OK", plain);
      yield bytes("a");
      startResponse("500 Oops", plain, caught);
    },
    (_environ, startResponse) => {
      startResponse("200 OK", plain)(bytes("a"));
      startResponse("500 Oops", plain, caught);
      return [];
    },
  ];
  for (const app of apps) {
    const { error, response } = await fail(app);
    assert(error === caught);
    assertEquals([response.status, response.content], [200, "a"]);
    assert(!response.ended);
  }
});

test("a generator may replace its head before the first block", async () => {
  const response = await run(function* (_environ, startResponse) {
    startResponse("200 OK", plain);
    yield bytes("");
    startResponse("500 Oops", plain, new Error("caught"));
    yield bytes("sorry");
  });
  assertEquals([response.status, response.content], [500, "sorry"]);
});

test("startResponse and write() are dead once the response is over", async () => {
  const kept: { start?: StartResponse; write?: Write } = {};
  await fail((_environ: unknown, startResponse: StartResponse) => {
    kept.start = startResponse;
    kept.write = startResponse("200 OK", plain);
    throw new Error("oops");
  });
  assertThrows(() => kept.start!("200 OK", plain), ApplicationError, "after");
  assertThrows(() => kept.write!(bytes("a")), ApplicationError, "after");
});

// write()

test("write() sends at once, before the body, and infers no length", async () => {
  for (const slowPeer of [false, true]) {
    const response = await run(async (_environ, startResponse) => {
      const write = startResponse("200 OK", plain);
      await write(bytes("a"));
      await write(bytes("b"));
      return [bytes("c")];
    }, { slowPeer });
    assertEquals(response.calls, [
      "start",
      "write a",
      "flush",
      "write b",
      "flush",
      "write c",
      "end",
    ]);
    assertEquals(response.size, undefined);
  }
});

test("write() keeps its order although nobody waits for it", async () => {
  for (const [body] of bothWays("c", "d")) {
    const response = await run((_environ, startResponse) => {
      const write = startResponse("200 OK", plain);
      write(bytes("a"));
      write(bytes("b"));
      return body;
    }, { slowPeer: true });
    assertEquals(response.content, "abcd");
  }
});

test("write() sends the head although it is given no bytes", async () => {
  const response = await run(async (_environ, startResponse) => {
    await startResponse("200 OK", plain)(bytes(""));
    return [];
  });
  assertEquals(response.calls, ["start", "flush", "end"]);
});

test("write() inside a generator goes before its next block", async () => {
  const response = await run(function* (_environ, startResponse) {
    const write = startResponse("200 OK", plain);
    write(bytes("a"));
    yield bytes("b");
    write(bytes("c"));
    write(bytes("d"));
  }, { slowPeer: true });
  assertEquals(response.content, "abcd");
  assert(response.ended);
});

test("write() refuses what is not bytes", async () => {
  const { error } = await fail(
    (_environ: unknown, startResponse: StartResponse) => {
      startResponse("200 OK", plain)("text" as unknown as Uint8Array);
      return [];
    },
  );
  assertStringIncludes(error.message, "not a string");
});

test("write() beyond Content-Length is cut, the next one is refused", async () => {
  let refused: Error | undefined;
  const { error, response } = await fail(
    async (_environ: unknown, startResponse: StartResponse) => {
      const write = startResponse("200 OK", declaring(3));
      await write(bytes("abcd"));
      refused = assertThrows(() => write(bytes("e")), ApplicationError);
      return [bytes("f")];
    },
  );
  assertStringIncludes(refused!.message, "longer than its Content-Length");
  assertStringIncludes(error.message, "longer than its Content-Length");
  assertEquals(response.content, "abc");
  assert(response.ended);
});

test("a write() that fails unseen fails the response", async () => {
  const watched = new Watched("x");
  const { error } = await fail(
    (_environ: unknown, startResponse: StartResponse) => {
      const write = startResponse("200 OK", plain);
      write(bytes("a"));
      write(bytes("b"));
      write(bytes("c"));
      return watched;
    },
    { slowPeer: true, leavesAfter: 1 },
  );
  assert(error instanceof StreamError);
  assertEquals([watched.asked, watched.closed], [0, 1]);
});

// close()

test("close() is called once, after the end", async () => {
  for (const [body, watched] of bothWays("a", "b")) {
    const exchange = new FakeExchange();
    const { close } = body;
    body.close = () => {
      assert(exchange.response.ended);
      return close!.call(body);
    };
    await wsgi(answering(body))(exchange);
    assertEquals(watched.closed, 1);
  }
});

test("close() of an array is called, and not waited for with output held", async () => {
  const exchange = new FakeExchange();
  let flushed = false;
  let closed = 0;
  const body: ResponseBody = Object.assign([bytes("a")], {
    async close() {
      flushed = exchange.response.flushed === 1;
      await Promise.resolve();
      closed++;
    },
  });
  await wsgi(answering(body))(exchange);
  assert(flushed);
  assertEquals(closed, 1);
});

test("close() is called when the body throws, early or late", async () => {
  const oops = new Error("oops");
  for (const blocks of [[oops], ["a", oops]]) {
    for (const [body, watched] of bothWays(...blocks)) {
      const { error, response } = await fail(answering(body));
      assert(error === oops);
      assertEquals(watched.closed, 1);
      assertEquals(response.started, blocks.length === 2);
      assert(!response.ended);
    }
  }
});

test("close() is called when the peer has left", async () => {
  for (const slowPeer of [false, true]) {
    const bodies: [body: ResponseBody, watched: Watched][] = bothWays(
      "a",
      "b",
      "c",
    );
    for (const [body, watched] of bodies) {
      const { error } = await fail(answering(body), {
        leavesAfter: 1,
        slowPeer,
      });
      assert(error instanceof StreamError);
      assertEquals([watched.asked, watched.closed], [2, 1]);
    }
  }
});

test("a generator that is left runs its finally, one that ended only once", async () => {
  for (const leavesAfter of [0, 1, 9]) {
    const seen: string[] = [];
    const one = function* () {
      try {
        yield bytes("a");
        yield bytes("b");
      } finally {
        seen.push("one");
      }
    };
    const two = async function* () {
      try {
        yield bytes("a");
        yield bytes("b");
      } finally {
        await Promise.resolve();
        seen.push("two");
      }
    };
    for (const body of [one(), two()]) {
      const request = { leavesAfter };
      if (leavesAfter < 2) await fail(answering(body), request);
      else await run(answering(body), request);
    }
    assertEquals(seen, ["one", "two"]);
  }
});

test("an iterator that ended or failed is not told to return", async () => {
  for (const last of [undefined, new Error("oops")]) {
    let returned = 0;
    const iterator = {
      [Symbol.iterator]() {
        return this;
      },
      next() {
        if (last !== undefined) throw last;
        return { done: true as const, value: undefined };
      },
      return() {
        returned++;
        return { done: true as const, value: undefined };
      },
    };
    if (last === undefined) await run(answering(iterator));
    else await fail(answering(iterator));
    assertEquals(returned, 0);
  }
});

test("what close() and return() throw is logged and spoils nothing", async () => {
  for (const later of [false, true]) {
    const log = recording();
    const body: ResponseBody = Object.assign([bytes("a")], {
      close() {
        const error = new Error("no closing");
        if (later) return Promise.reject(error);
        throw error;
      },
    });
    const response = await run(answering(body), {}, { log });
    assertEquals(response.content, "a");
    assertStringIncludes(log.lines.join("\n"), "no closing");
  }
  const log = recording();
  function* steps() {
    try {
      yield bytes("a");
      yield bytes("b");
    } finally {
      // deno-lint-ignore no-unsafe-finally
      throw new Error("no returning");
    }
  }
  const { error } = await fail(answering(steps()), { leavesAfter: 0 }, { log });
  assert(error instanceof StreamError);
  assertStringIncludes(log.lines.join("\n"), "no returning");
});

// The application

test("what an application throws comes out of the handler", async () => {
  const oops = new Error("oops");
  const apps: Application[] = [
    () => {
      throw oops;
    },
    () => Promise.reject(oops),
    (_environ, startResponse) => {
      startResponse("200 OK", plain);
      throw oops;
    },
    // deno-lint-ignore require-yield
    function* () {
      throw oops;
    },
    // deno-lint-ignore require-yield
    async function* () {
      throw oops;
    },
  ];
  for (const app of apps) {
    const { error, response } = await fail(app);
    assert(error === oops);
    assert(!response.started);
  }
});

test("wsgi.input cannot be read into the next request", async () => {
  let left: Promise<Uint8Array> | undefined;
  let input: { read(): Promise<Uint8Array> } | undefined;
  const exchange = new FakeExchange({ content: ["a", "b"], slowContent: true });
  await wsgi((environ, startResponse) => {
    input = environ["wsgi.input"];
    left = input.read();
    startResponse("200 OK", plain);
    return [];
  })(exchange);
  // The body may be read again now: FakeBody refuses two reads at once.
  assertEquals(text((await exchange.body.read())!), "b");
  await assertRejects(() => left!, ApplicationError, "after the response");
  await assertRejects(
    () => input!.read(),
    ApplicationError,
    "after the response",
  );
});

test("wsgi() passes its options to the environ", async () => {
  const seen: unknown[] = [];
  const app: Application = (environ, startResponse) => {
    seen.push(
      environ.SCRIPT_NAME,
      environ.PATH_INFO,
      environ.SERVER_SOFTWARE,
      environ["wsgi.multithread"],
      environ["wsgi.multiprocess"],
    );
    startResponse("200 OK", plain);
    return [];
  };
  await run(app, { target: "/shop/cart" }, {
    scriptName: "/shop/",
    software: "mine/1",
    multithread: true,
    multiprocess: true,
  });
  assertEquals(seen.splice(0), ["/shop", "/cart", "mine/1", true, true]);
  await run(app, { target: "/shop/cart" });
  assertEquals(seen, ["", "/shop/cart", `headgate/${version}`, false, false]);
});

test("wsgi.errors logs whole lines, and the rest when the response is over", async () => {
  const log = recording();
  await run(
    (environ, startResponse) => {
      const errors = environ["wsgi.errors"];
      errors.write("one\ntw");
      assertEquals(log.lines, ["one"]);
      errors.writelines(["o\r\n", "th", "ree"]);
      assertEquals(log.lines, ["one", "two"]);
      errors.flush();
      assertEquals(log.lines, ["one", "two", "three"]);
      errors.write("\x1b[2J f\u00fcnf");
      startResponse("200 OK", plain);
      return [];
    },
    {},
    { log },
  );
  assertEquals(log.lines, ["one", "two", "three", "\\u{1b}[2J f\u00fcnf"]);
});

test("wsgi.errors gives a line without end in pieces", async () => {
  const log = recording();
  await run(
    (environ, startResponse) => {
      environ["wsgi.errors"].write("x".repeat(20_000));
      startResponse("200 OK", plain);
      return [];
    },
    {},
    { log },
  );
  assertEquals(log.lines.map((line) => line.length), [8192, 8192, 3616]);
});

test("wsgi.file_wrapper stops at Content-Length and closes the file", async () => {
  const sizes: number[] = [];
  let closed = 0;
  const file: FileLike = {
    read(size) {
      sizes.push(size);
      return Promise.resolve(bytes("x".repeat(size)));
    },
    close() {
      closed++;
    },
  };
  const response = await run((environ, startResponse) => {
    startResponse("200 OK", declaring(10));
    return new environ["wsgi.file_wrapper"]!(file, 4);
  });
  assertEquals(response.content, "x".repeat(10));
  assertEquals(sizes, [4, 4, 2]);
  assertEquals(closed, 1);
});

test("wsgi.input goes through wsgi.file_wrapper", async () => {
  const response = await run((environ, startResponse) => {
    startResponse("200 OK", plain);
    return new environ["wsgi.file_wrapper"]!(environ["wsgi.input"], 3);
  }, { content: ["abcd", "efgh"], slowContent: true, slowPeer: true });
  assertEquals(response.content, "abcdefgh");
});

test("wsgi() refuses what is no application", () => {
  for (const wrong of [undefined, null, "app", {}]) {
    assertThrows(
      () => wsgi(wrong as unknown as Application),
      TypeError,
      "function of (environ, startResponse)",
    );
  }
});

test("what fails at once is thrown at once, so that it can be taken back", async () => {
  const thrown = new Error("Broken");
  let closed = 0;
  const broken: Application = () => {
    throw thrown;
  };
  const short: Application = (_environ, startResponse) => {
    startResponse("200 OK", [["Content-Length", "5"]]);
    return [bytes("abc")];
  };
  const closing: Application = (_environ, startResponse) => {
    startResponse("200 OK", [["Content-Length", "5"]]);
    return Object.assign([bytes("abc")], { close: () => void closed++ });
  };
  assertThrows(() => wsgi(broken)(new FakeExchange()), Error, "Broken");
  assertThrows(() => wsgi(short)(new FakeExchange()), ApplicationError);
  await assertRejects(
    async () => await wsgi(closing)(new FakeExchange()),
    ApplicationError,
  );
  assertEquals(closed, 1);
});
