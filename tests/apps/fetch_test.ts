import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  type FetchHandler,
  fetchHandler,
  type FetchInfo,
  type FetchOptions,
} from "../../src/apps/fetch.ts";
import { ApplicationError, HttpError, StreamError } from "../../src/errors.ts";
import type { AccessRecord } from "../../src/exchange.ts";
import { createGateway } from "../../src/gateway.ts";
import type { Logger } from "../../src/logger.ts";
import type { Environ } from "../../src/wsgi.ts";
import {
  FakeExchange,
  type FakeRequest,
  type FakeResponse,
  text,
} from "../support/fake_exchange.ts";
import {
  MemoryStream,
  type MemoryStreamOptions,
} from "../support/memory_stream.ts";
import { type ParsedResponse, parseResponses } from "../support/responses.ts";

/** A log that keeps its lines. */
function recording(): Logger & { lines: string[] } {
  const lines: string[] = [];
  const at = (level: string) => (message: string) => {
    lines.push(`${level} ${message}`);
  };
  return {
    lines,
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
  };
}

async function run(
  handle: FetchHandler,
  request: FakeRequest = {},
  options: FetchOptions = {},
): Promise<FakeResponse> {
  const exchange = new FakeExchange(request);
  await fetchHandler(handle, { log: recording(), ...options })(exchange);
  assert(exchange.response.ended);
  return exchange.response;
}

/** What a handler is told beside one request. */
async function infoOf(
  request: FakeRequest = {},
  options: FetchOptions = {},
): Promise<FetchInfo> {
  let told: FetchInfo | undefined;
  await run(
    (_request, info, context) => {
      assertStrictEquals(info, context);
      told = info;
      return new Response();
    },
    request,
    options,
  );
  return told!;
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 25_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`Waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** A handler behind a gateway, over memory. */
class Bench {
  readonly stream: MemoryStream;
  readonly log: Logger & { lines: string[] } = recording();
  readonly statuses: number[] = [];

  constructor(
    handle: FetchHandler,
    pieces: readonly (string | Uint8Array)[],
    options: MemoryStreamOptions = {},
  ) {
    const { log } = this;
    const gateway = createGateway(fetchHandler(handle, { log }), {
      log,
      access: ({ status }: AccessRecord) => this.statuses.push(status),
    });
    this.stream = new MemoryStream(pieces, options);
    gateway.accept(this.stream);
  }

  get errors(): string[] {
    return this.log.lines.filter((line) => line.startsWith("error"));
  }

  /** The connection's end, and what was answered to such requests. */
  async responses(...methods: string[]): Promise<ParsedResponse[]> {
    await this.stream.untilQuiet();
    this.stream.end();
    await this.stream.untilClosed();
    assertEquals(this.stream.misuse, []);
    return parseResponses(this.stream.output, {
      method: (index) => methods[index],
    });
  }
}

function get(target: string): string {
  return `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`;
}

function path(request: Request): string {
  return new URL(request.url).pathname;
}

test("a fetch handler is a function", () => {
  const error = assertThrows(() => fetchHandler({} as never), TypeError);
  assertStringIncludes(error.message, "not an object");
});

test("answers at once, later, and with a thenable", async () => {
  assertEquals((await run(() => new Response("a"))).content, "a");
  assertEquals((await run(async () => await new Response("b"))).content, "b");
  const thenable = {
    then: (resolve: (response: Response) => void) => resolve(new Response("c")),
  } as PromiseLike<Response>;
  assertEquals((await run(() => thenable)).content, "c");
});

test("what a handler throws comes out", async () => {
  const wrong = new Error("wrong");
  const thrower = () => {
    throw wrong;
  };
  assertStrictEquals(await assertRejects(() => run(thrower), Error), wrong);
  const rejecter = () => Promise.reject(wrong);
  assertStrictEquals(await assertRejects(() => run(rejecter), Error), wrong);
  const nothing = () => Promise.reject(undefined);
  await assertRejects(() => run(nothing), Error, "Thrown: undefined");
  await assertRejects(() => run(() => "a" as never), ApplicationError);
});

test("remoteAddr, localAddr and requestIP", async () => {
  const tcp = await infoOf({ remote: { host: "::1", port: 5 } });
  assertEquals(tcp.remoteAddr, { transport: "tcp", hostname: "::1", port: 5 });
  assertEquals(tcp.localAddr.hostname, "192.0.2.1");
  assertEquals(tcp.requestIP(), { address: "::1", family: "IPv6", port: 5 });
  assertEquals((await infoOf()).requestIP()?.family, "IPv4");
  const unix = await infoOf({
    remote: { host: "", port: 0 },
    local: { host: "/run/a.sock", port: 0 },
  });
  assertEquals(unix.requestIP(), null);
  assertEquals(unix.localAddr, {
    transport: "unix",
    hostname: "/run/a.sock",
    port: 0,
  });
});

test("env is what was given", async () => {
  const env = { A: "b" };
  assertStrictEquals((await infoOf({}, { env })).env, env);
  assertEquals((await infoOf()).env, {});
  (await infoOf()).passThroughOnException();
});

test("environ is the request as WSGI sees it, made once", async () => {
  const info = await infoOf({ target: "/a%20b?c" });
  const { environ } = info;
  assertStrictEquals(info.environ, environ);
  assertEquals(environ.PATH_INFO, "/a b");
  assertEquals(environ.QUERY_STRING, "c");
  assertEquals(environ.HTTP_HOST, "example.com");
});

test("environs of one handler have what is the handler's in common", async () => {
  const environs: Environ[] = [];
  const handler = fetchHandler((_request, { environ }) => {
    environs.push(environ);
    return new Response();
  });
  await handler(new FakeExchange());
  await handler(new FakeExchange());
  const [first, second] = environs;
  assert(first !== second);
  assertStrictEquals(first!["wsgi.errors"], second!["wsgi.errors"]);
});

test("whoever reads first, request or environ, has the content", async () => {
  const request = { method: "POST", content: ["abc"] };
  const sent = await run(async (asked, { environ }) => {
    const first = await environ["wsgi.input"].read(1);
    await assertRejects(() => asked.text(), TypeError);
    const rest = await environ["wsgi.input"].read();
    return new Response(`${first.length}${rest.length}`);
  }, request);
  assertEquals(sent.content, "12");
  await run(async (asked, { environ }) => {
    assertEquals(await asked.text(), "abc");
    await assertRejects(() => environ["wsgi.input"].read(), TypeError);
    return new Response();
  }, request);
});

test("waitUntil: what it throws is logged", async () => {
  const log = recording();
  const sent = await run(
    (_request, info) => {
      info.waitUntil(Promise.reject(new Error("afterwards")));
      info.waitUntil(Promise.resolve());
      return new Response("a");
    },
    {},
    { log },
  );
  assertEquals(sent.content, "a");
  await until(() => log.lines.length > 0, "a line");
  assertEquals(log.lines.length, 1);
  assertStringIncludes(log.lines[0]!, "error waitUntil: Error: afterwards");
});

test("completed resolves once the response is whole", async () => {
  let order = "";
  const exchange = new FakeExchange();
  await fetchHandler((_request, info) => {
    info.completed.then(() => order += exchange.response.ended);
    return new Response("a");
  })(exchange);
  await until(() => order !== "", "completed");
  assertEquals(order, "true");
});

test("completed rejects where the response was not whole", async () => {
  const wrong = new Error("wrong");
  let completed: Promise<void> | undefined;
  await assertRejects(() =>
    run((_request, info) => {
      completed = info.completed;
      throw wrong;
    })
  );
  assertStrictEquals(await assertRejects(() => completed!), wrong);
});

test("completed may be asked for when all is over", async () => {
  assertEquals(await (await infoOf()).completed, undefined);
});

test("nothing can be read once the handler has settled", async () => {
  let left: Request | undefined;
  const exchange = new FakeExchange({ method: "POST", content: ["a"] });
  await fetchHandler((request) => {
    left = request;
    return new Response();
  })(exchange);
  await assertRejects(() => left!.text(), TypeError);
  assertEquals(exchange.body.reads, 0);
});

test("a handler waits for a read that it has left behind", async () => {
  let reading: Promise<unknown> | undefined;
  const exchange = new FakeExchange({
    method: "POST",
    content: ["a", "b"],
    slowContent: true,
  });
  await fetchHandler(async (request) => {
    reading = request.text().catch((error) => error);
    // A stream of the runtime's may take a few turns to ask.
    while (exchange.body.reads === 0) await undefined;
    return new Response();
  })(exchange);
  // Refused where it is still waited for.
  const readBefore = exchange.body.reads;
  await exchange.body.read();
  assertInstanceOf(await reading, TypeError);
  assertEquals([readBefore, exchange.body.reads], [1, 2]);
});

test("what a handler throws when its peer has left comes of that", async () => {
  const exchange = new FakeExchange();
  const handler = fetchHandler((request) =>
    new Promise((_resolve, reject) => {
      request.signal.addEventListener(
        "abort",
        () => reject(request.signal.reason),
      );
    })
  );
  const running = Promise.resolve(handler(exchange));
  exchange.controller.abort(new Error("why"));
  const error = await assertRejects(() => running, StreamError);
  assertEquals((error.cause as Error).message, "why");
});

test("malformed content is the peer's fault, whoever reads it", async () => {
  const content = [new HttpError(400, "Malformed chunk")];
  const error = await assertRejects(
    () =>
      run(async (asked) => Response.json(await asked.json()), {
        method: "POST",
        content,
      }),
    HttpError,
  );
  assertEquals(error.status, 400);
});

// Behind the gateway

test("pipelined requests are answered in their order", async () => {
  const bench = new Bench(
    async (request) => {
      const asked = path(request);
      if (asked === "/later") await new Promise((next) => setTimeout(next, 5));
      return new Response(asked);
    },
    [get("/1") + get("/later") + get("/3")],
  );
  const responses = await bench.responses("GET", "GET", "GET");
  assertEquals(
    responses.map(({ content }) => text(content)),
    ["/1", "/later", "/3"],
  );
  assertEquals(bench.statuses, [200, 200, 200]);
});

test("content that nobody has read does not stand before the next request", async () => {
  const post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
  const bench = new Bench((request) => new Response(path(request)), [
    post + get("/b"),
  ]);
  const responses = await bench.responses("POST", "GET");
  assertEquals(
    responses.map(({ content }) => text(content)),
    ["/a", "/b"],
  );
});

test("a handler that throws is a 500, and the connection goes on", async () => {
  const bench = new Bench((request) => {
    if (path(request) === "/wrong") throw new Error("wrong");
    return new Response("right");
  }, [get("/wrong") + get("/")]);
  const responses = await bench.responses("GET", "GET");
  assertEquals(responses.map(({ status }) => status), [500, 200]);
  assertEquals(bench.errors.length, 1);
  assertStringIncludes(bench.errors[0]!, "GET /wrong: Error: wrong");
});

test("HEAD, 204, 304 and 205 have no content", async () => {
  const bench = new Bench((request) => {
    const status = Number(path(request).slice(1));
    return new Response(status === 200 ? "abc" : null, { status });
  }, [
    "HEAD /200 HTTP/1.1\r\nHost: a\r\n\r\n" + get("/204") + get("/304") +
    get("/205") + get("/200"),
  ]);
  const responses = await bench.responses("HEAD", "GET", "GET", "GET", "GET");
  assertEquals(
    responses.map(({ status, content }) => [status, content.length]),
    [[200, 0], [204, 0], [304, 0], [205, 0], [200, 3]],
  );
  assertStringIncludes(bench.stream.outputText, "Content-Length: 3");
});

test("malformed and cut chunks are refused", async () => {
  const bench = new Bench(
    async (request) => new Response(await request.text()),
    [
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
      "3\r\nabc\r\nzz\r\n",
    ],
  );
  const [response] = await bench.responses("POST");
  assertEquals(response?.status, 400);
  assertEquals(bench.errors, []);
});

test("chunked content is read and echoed as it comes, both ways at once", async () => {
  const bench = new Bench((request) => new Response(request.body), [
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
  ]);
  const { stream } = bench;
  for (const piece of ["one", "two2", "three"]) {
    stream.push(`${piece.length}\r\n${piece}\r\n`);
    await stream.until(() => stream.outputText.includes(piece), piece);
  }
  stream.push("0\r\n\r\n");
  const [response] = await bench.responses("POST");
  assertEquals(text(response!.content), "onetwo2three");
});

test("a stream that fails half-way cuts the connection", async () => {
  let push = (_text: string) => {};
  let fail = () => {};
  const bench = new Bench(() =>
    new Response(
      new ReadableStream({
        start(controller) {
          push = (text) => controller.enqueue(new TextEncoder().encode(text));
          fail = () => controller.error(new Error("half-way"));
        },
      }),
    ), [get("/")]);
  const { stream } = bench;
  push("half");
  await stream.until(() => stream.outputText.includes("half"), "a half");
  fail();
  await stream.until(() => stream.finished, "the cut");
  assert(!stream.outputText.includes("\r\n0\r\n"), stream.outputText);
  stream.end();
  await stream.untilClosed();
  assertEquals(bench.errors.length, 1);
  assertStringIncludes(bench.errors[0]!, "half-way");
});

test("a client that leaves a stream: cancelled, 499, no error", async () => {
  let cancelled = false;
  let signal: AbortSignal | undefined;
  let completed: Promise<void> | undefined;
  const bench = new Bench((request, info) => {
    signal = request.signal;
    completed = info.completed;
    return new Response(
      new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode("data: 1\n\n"));
        },
        cancel() {
          cancelled = true;
        },
      }),
    );
  }, [get("/")]);
  const { stream } = bench;
  await stream.until(() => stream.outputText.includes("data: 1"), "an event");
  assertEquals([signal?.aborted, cancelled], [false, false]);
  stream.end();
  await stream.untilClosed();
  assertEquals([signal?.aborted, cancelled], [true, true]);
  assertEquals(bench.statuses, [499]);
  assertEquals(bench.errors, []);
  await assertRejects(() => completed!, StreamError);
});

test("a client that leaves while the handler waits", async () => {
  const bench = new Bench((request) =>
    new Promise((_resolve, reject) => {
      const { signal } = request;
      signal.addEventListener("abort", () => reject(signal.reason));
    }), [get("/")]);
  await until(() => bench.stream.onGone !== null, "the handler");
  bench.stream.end();
  await bench.stream.untilClosed();
  assertEquals(bench.statuses, [499]);
  assertEquals(bench.errors, []);
});

test("the signal is not aborted after a whole response", async () => {
  const signals: AbortSignal[] = [];
  const bench = new Bench((request) => {
    signals.push(request.signal);
    return new Response("a");
  }, [get("/1") + get("/2")]);
  await bench.responses("GET", "GET");
  assertEquals(signals.map(({ aborted }) => aborted), [false, false]);
});

test("a stream is pulled no faster than its peer reads", async () => {
  let pulls = 0;
  const piece = new Uint8Array(16_384);
  const bench = new Bench(
    () =>
      new Response(
        new ReadableStream({
          pull(controller) {
            controller.enqueue(piece);
            if (++pulls === 200) controller.close();
          },
        }),
      ),
    [get("/")],
    { window: 0 },
  );
  const { stream } = bench;
  await stream.until(() => stream.held > 0, "a write that waits");
  for (let turn = 0; turn < 20; turn++) {
    await new Promise((resolve) => setTimeout(resolve));
  }
  assert(pulls < 40, String(pulls));
  while (pulls < 200 || stream.held > 0) {
    stream.take(1 << 20);
    await new Promise((resolve) => setTimeout(resolve));
  }
  const [response] = await bench.responses("GET");
  assertEquals(response?.content.length, 200 * piece.length);
});
