/** Applications of ours where fetch handlers are called: by hand, and by the
 * server of the runtime that this runs on. */
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertLess,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { fetchHandler } from "../../src/apps/fetch.ts";
import { lint } from "../../src/apps/lint.ts";
import { toFetch, toFetchHandler } from "../../src/apps/to_fetch.ts";
import type { WsgiOptions } from "../../src/apps/wsgi.ts";
import { ApplicationError, HttpError, StreamError } from "../../src/errors.ts";
import type { Logger } from "../../src/logger.ts";
import type { Application, Environ, ResponseHeaders } from "../../src/wsgi.ts";
import { bytes, FakeExchange, text } from "../support/fake_exchange.ts";
import { Watch } from "../support/watch.ts";

const plain: ResponseHeaders = [["Content-Type", "text/plain"]];

function recording(): Logger & { lines: string[] } {
  const lines: string[] = [];
  const record = (message: string) => {
    lines.push(message);
  };
  return { lines, debug: record, info: record, warn: record, error: record };
}

const silent = recording();

function linted(app: Application, options: WsgiOptions = {}) {
  return toFetchHandler(lint(app), { log: silent, ...options });
}

/** Answers with `content` once the input has been read. */
function answering(...content: string[]): Application {
  return (_environ, startResponse) => {
    startResponse("200 OK", [...plain]);
    return content.map(bytes);
  };
}

/** The environ that a request becomes. */
async function environOf(
  request: Request,
  info?: unknown,
  options: WsgiOptions = {},
): Promise<Environ> {
  let seen: Environ | undefined;
  const app: Application = (environ, startResponse) => {
    seen = { ...environ };
    return answering()(environ, startResponse);
  };
  await linted(app, options)(request, info);
  return seen!;
}

test("toFetchHandler() answers with status, fields and content", async () => {
  const handle = linted((_environ, startResponse) => {
    startResponse("201 Made Here", [
      ...plain,
      ["Set-Cookie", "a=1; Path=/"],
      ["Set-Cookie", "b=2"],
      ["X-Octet", "caf\xe9"],
    ]);
    return [bytes("one "), bytes("two")];
  });
  const response = await handle(new Request("http://a/"));
  assertEquals(response.status, 201);
  assertEquals(response.statusText, "Made Here");
  assertEquals(response.headers.getSetCookie(), ["a=1; Path=/", "b=2"]);
  assertEquals(response.headers.get("x-octet"), "caf\xe9");
  assertEquals(response.headers.get("content-length"), "7");
  assertEquals(await response.text(), "one two");
});

test("toFetchHandler() makes the environ of the URL and the fields", async () => {
  const environ = await environOf(
    new Request("https://example.com:8443/a%20b%2Fc/%C3%A9?x=%41&y#part", {
      headers: {
        "Accept": "text/html",
        "X-Two": "1",
        "x_two": "2",
        "Proxy": "http://evil/",
        "Host": "other",
      },
    }),
  );
  assertEquals(environ.REQUEST_METHOD, "GET");
  assertEquals(environ.SCRIPT_NAME, "");
  assertEquals(environ.PATH_INFO, "/a b/c/\xc3\xa9");
  assertEquals(environ.QUERY_STRING, "x=%41&y");
  assertEquals(environ.REQUEST_URI, "/a%20b%2Fc/%C3%A9?x=%41&y");
  assertEquals(environ.HTTP_HOST, "example.com:8443");
  assertEquals(environ.SERVER_NAME, "example.com");
  assertEquals(environ.SERVER_PORT, "8443");
  assertEquals(environ["wsgi.url_scheme"], "https");
  assertEquals(environ.HTTP_ACCEPT, "text/html");
  assertEquals(environ.HTTP_X_TWO, "1");
  assertEquals("HTTP_PROXY" in environ, false);
  assertEquals("CONTENT_LENGTH" in environ, false);
});

test("toFetchHandler() knows a mount point", async () => {
  const environ = await environOf(new Request("http://a/shop/x"), undefined, {
    scriptName: "/shop",
  });
  assertEquals(environ.SCRIPT_NAME, "/shop");
  assertEquals(environ.PATH_INFO, "/x");
});

test("toFetchHandler() takes the peer from what Deno or Bun tells", async () => {
  const peer = async (info: unknown) => {
    const environ = await environOf(new Request("http://a/"), info);
    return `${environ.REMOTE_ADDR} ${environ.REMOTE_PORT}`;
  };
  const remoteAddr = { transport: "tcp", hostname: "192.0.2.7", port: 4000 };
  assertEquals(await peer({ remoteAddr }), "192.0.2.7 4000");
  assertEquals(
    await peer({ remoteAddr: { transport: "unix", path: "/run/a" } }),
    "/run/a 0",
  );
  const requestIP = () => ({ address: "::1", family: "IPv6", port: 4001 });
  assertEquals(await peer({ requestIP }), "::1 4001");
  assertEquals(await peer({ requestIP: () => null }), " 0");
  for (const info of [undefined, null, "a", { DATABASE: {} }]) {
    assertEquals(await peer(info), " 0");
  }
});

test("toFetchHandler() gives the content of the request", async () => {
  const handle = linted(async (environ, startResponse) => {
    const first = await environ["wsgi.input"].readline();
    const rest = await environ["wsgi.input"].read();
    startResponse("200 OK", [...plain, [
      "X-Length",
      environ.CONTENT_LENGTH ?? "none",
    ]]);
    return [rest, first];
  });
  const declared = await handle(
    new Request("http://a/", {
      method: "POST",
      headers: { "Content-Length": "7" },
      body: "one\ntwo",
    }),
  );
  assertEquals(declared.headers.get("x-length"), "7");
  assertEquals(await declared.text(), "twoone\n");
  const undeclared = await handle(
    new Request("http://a/", { method: "POST", body: "one\ntwo" }),
  );
  assertEquals(undeclared.headers.get("x-length"), "none");
  assertEquals(await undeclared.text(), "twoone\n");
});

test("toFetchHandler() refuses content that was read before", async () => {
  const handle = linted(async (environ, startResponse) => {
    startResponse("200 OK", [...plain]);
    return [await environ["wsgi.input"].read()];
  });
  const request = new Request("http://a/", { method: "POST", body: "x" });
  await request.text();
  const error = await assertRejects(() => handle(request), ApplicationError);
  assertStringIncludes(error.message, "read already");
});

test("toFetchHandler() lets go of content that was begun and left", async () => {
  const cancelled = new Watch();
  let told = false;
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(bytes("line\n")),
    cancel() {
      told = true;
      cancelled.changed();
    },
  });
  const init: RequestInit & { duplex: "half" } = {
    method: "POST",
    body,
    duplex: "half",
  };
  const handle = linted(async (environ, startResponse) => {
    startResponse("413 Content Too Large", [...plain]);
    return [await environ["wsgi.input"].readline()];
  });
  const response = await handle(new Request("http://a/", init));
  assertEquals(await response.text(), "line\n");
  await cancelled.until(() => told, "the cancel", () => "");
});

test("toFetchHandler() answers HEAD, 204, 205 and 304 without content", async () => {
  const app: Application = (environ, startResponse) => {
    const status = environ.PATH_INFO.slice(1);
    const bare = status === "204" || status === "304";
    startResponse(`${status} x`, bare ? [["ETag", '"1"']] : [...plain]);
    return status === "200" || status === "205" ? [bytes("hello")] : [];
  };
  const handle = linted(app);
  const head = await handle(new Request("http://a/200", { method: "HEAD" }));
  assertEquals(head.body, null);
  assertEquals(head.headers.get("content-length"), "5");
  for (const status of [204, 205, 304]) {
    const response = await handle(new Request(`http://a/${status}`));
    assertEquals(response.status, status);
    assertEquals(response.body, null);
    assertEquals(response.headers.get("content-length"), null);
  }
});

test("toFetchHandler() responds before the content is there", async () => {
  const steps: string[] = [];
  let proceed = () => {};
  const handle = linted(async function* (_environ, startResponse) {
    startResponse("200 OK", [...plain]);
    yield bytes("first");
    await new Promise<void>((resolve) => proceed = resolve);
    steps.push("second");
    yield bytes("second");
  });
  const response = await handle(new Request("http://a/"));
  const reader = response.body!.getReader();
  assertEquals(text((await reader.read()).value!), "first");
  assertEquals(steps, []);
  proceed();
  assertEquals(text((await reader.read()).value!), "second");
  assertEquals((await reader.read()).done, true);
  assertEquals(response.headers.get("content-length"), null);
});

test("toFetchHandler() asks for no more blocks than the host drains", async () => {
  let given = 0;
  let closed = 0;
  const closing = new Watch();
  const block = new Uint8Array(16_384);
  const endless = toFetchHandler((_environ, startResponse) => {
    startResponse("200 OK", [...plain]);
    return {
      *[Symbol.iterator]() {
        for (;;) {
          given++;
          yield block;
        }
      },
      close() {
        closed++;
        closing.changed();
      },
    };
  }, { log: silent });
  const response = await endless(new Request("http://a/"));
  const reader = response.body!.getReader();
  for (let i = 0; i < 20; i++) await reader.read();
  assertLess(given, 40);
  await reader.cancel();
  await closing.until(() => closed > 0, "close()", () => "");
  assertEquals(closed, 1);
});

test("toFetchHandler() copies blocks, which are only lent", async () => {
  const block = bytes("aaaa");
  const handle = linted(function* (_environ, startResponse) {
    startResponse("200 OK", [...plain]);
    yield block;
    block.fill(0x62);
    yield block;
  });
  const response = await handle(new Request("http://a/"));
  assertEquals(await response.text(), "aaaabbbb");
});

test("toFetchHandler() tells the application when the host cancels", async () => {
  let signal: AbortSignal | undefined;
  const handle = linted(async function* (environ, startResponse) {
    signal = environ["headgate.request"]!.signal;
    startResponse("200 OK", [...plain]);
    yield bytes("first");
    await new Promise((resolve) => signal!.addEventListener("abort", resolve));
  });
  const response = await handle(new Request("http://a/"));
  await response.body!.cancel();
  assertEquals(signal!.aborted, true);
  assert(signal!.reason instanceof StreamError);
});

test("toFetchHandler() passes on that the request was aborted, until the end", async () => {
  const signals: AbortSignal[] = [];
  const handle = linted((environ, startResponse) => {
    const { signal } = environ["headgate.request"]!;
    signals.push(signal);
    startResponse("200 OK", [...plain]);
    if (environ.PATH_INFO === "/whole") return [bytes("x")];
    return new Promise((resolve) =>
      signal.addEventListener("abort", () => resolve([]))
    );
  });
  const abort = new AbortController();
  const { signal } = abort;
  await handle(new Request("http://a/whole", { signal }));
  const waiting = handle(new Request("http://a/waiting", { signal }));
  abort.abort();
  await waiting;
  assertEquals(signals.map(({ aborted }) => aborted), [false, true]);
});

test("toFetchHandler() rejects with what is thrown before the head", async () => {
  const log = recording();
  for (
    const app of [
      () => {
        throw new RangeError("mine");
      },
      () => Promise.reject(new RangeError("mine")),
      // deno-lint-ignore require-yield -- it fails before that
      function* (): Generator<Uint8Array> {
        throw new RangeError("mine");
      },
    ] as Application[]
  ) {
    const handle = toFetchHandler(app, { log });
    await assertRejects(() => handle(new Request("http://a/")), RangeError);
  }
  const silence = toFetch(() => {}, { log });
  await assertRejects(
    () => silence(new Request("http://a/")),
    ApplicationError,
  );
  assertEquals(log.lines, []);
});

test("toFetchHandler() takes back what was not sent yet", async () => {
  const handle = toFetch(({ response }) => {
    response.start(200, "OK", []);
    response.write(bytes("half"));
    throw new RangeError("mine");
  });
  await assertRejects(() => handle(new Request("http://a/")), RangeError);
});

test("toFetchHandler() answers what the peer did wrong", async () => {
  const handle = toFetch(() => {
    throw new HttpError(413, "Content too large");
  });
  const response = await handle(new Request("http://a/"));
  assertEquals(response.status, 413);
  assertStringIncludes(await response.text(), "Content too large");
});

test("toFetchHandler() fails the stream, and logs, after the head", async () => {
  const log = recording();
  const handle = toFetchHandler(function* (_environ, startResponse) {
    startResponse("200 OK", [...plain]);
    yield bytes("first");
    throw new RangeError("mine");
  }, { log });
  const response = await handle(new Request("http://a/x"));
  await assertRejects(() => response.text(), RangeError);
  assertEquals(log.lines.length, 1);
  assertStringIncludes(log.lines[0]!, "GET /x: RangeError: mine");
});

test("toFetchHandler() never gives more or less than was declared", async () => {
  const declaring = (content: string): Application =>
    function* (_environ, startResponse) {
      startResponse("200 OK", [...plain, ["Content-Length", "4"]]);
      yield bytes("ab");
      yield bytes(content);
    };
  const log = recording();
  const work: Promise<unknown>[] = [];
  const ask = (content: string) =>
    toFetchHandler(declaring(content), { log })(
      new Request("http://a/"),
      undefined,
      { waitUntil: (given: Promise<unknown>) => work.push(given) },
    );
  const short = await ask("c");
  await assertRejects(() => short.text(), ApplicationError);
  const long = await ask("cdefg");
  assertEquals(await long.text(), "abcd");
  await Promise.all(work);
  assertEquals(log.lines.length, 2);
  assertStringIncludes(log.lines[0]!, "ended after 3 of the 4 bytes declared");
  assertStringIncludes(log.lines[1]!, "longer than its Content-Length");
});

test("toFetch() refuses what HTTP forbids and leaves out what is the host's", async () => {
  const answer = (fields: [string, string][], status = 200) =>
    toFetch(({ response }) => {
      response.start(status, "OK", fields);
      response.end();
    })(new Request("http://a/"));
  const refused = () => answer([["X", "a\r\nSet-Cookie: b"]]);
  await assertRejects(refused, ApplicationError);
  await assertRejects(() => answer([], 600), ApplicationError);
  const { headers } = await answer([
    ["Connection", "close"],
    ["Transfer-Encoding", "chunked"],
  ]);
  assertEquals([...headers], []);
  assertThrows(() => toFetch(undefined as never), TypeError);
});

test("toFetch() gives a platform what goes on beside the response", async () => {
  const given: Promise<unknown>[] = [];
  const context = {
    waitUntil(work: Promise<unknown>) {
      assert(this === context);
      given.push(work);
    },
  };
  let closed = false;
  const handle = toFetchHandler((_environ, startResponse) => {
    startResponse("200 OK", [...plain]);
    const close = () => {
      closed = true;
    };
    return { *[Symbol.iterator]() {}, close };
  });
  await handle(new Request("http://a/"), {}, context);
  assertEquals(await Promise.all(given), [undefined]);
  assertEquals(closed, true);
});

test("toFetchHandler() can be served as any fetch handler", async () => {
  const handle = linted(async (environ, startResponse) => {
    startResponse("200 OK", [...plain]);
    const { PATH_INFO, REMOTE_ADDR, SERVER_NAME } = environ;
    const content = text(await environ["wsgi.input"].read());
    return [bytes(`${PATH_INFO} ${REMOTE_ADDR} ${SERVER_NAME} ${content}`)];
  });
  const post = new FakeExchange({
    method: "POST",
    target: "/a%20b?c",
    content: ["abc"],
  });
  await fetchHandler(handle)(post);
  assertEquals(post.response.content, "/a b 192.0.2.7 example.com abc");
});

test("toFetch() gives content without empty pieces", async () => {
  const pieces = [bytes(""), bytes("one"), bytes(""), bytes("two")];
  const init: RequestInit & { duplex: "half" } = {
    method: "POST",
    duplex: "half",
    body: new ReadableStream<Uint8Array>({
      pull(controller) {
        const piece = pieces.shift();
        if (piece === undefined) controller.close();
        else controller.enqueue(piece);
      },
    }),
  };
  const read: string[] = [];
  const handle = toFetch(async ({ body, response }) => {
    for (;;) {
      const piece = await body.read();
      if (piece === null) break;
      read.push(text(piece));
    }
    response.start(204, "", []);
    await response.end();
  });
  await handle(new Request("http://a/", init));
  assertEquals(read, ["one", "two"]);
});

test("toFetch() believes no length where there is no content", async () => {
  const framings: string[] = [];
  const handle = toFetch(({ head, response }) => {
    framings.push(`${head.framing} ${head.contentLength}`);
    response.start(304, "", [], 0);
    response.end();
  });
  const ask = (length: string) =>
    handle(
      new Request("http://a/", { headers: { "Content-Length": length } }),
    );
  await ask("5");
  await ask("x");
  const response = await ask("0");
  assertEquals(framings, ["none 0", "none 0", "length 0"]);
  assertEquals(response.headers.get("content-length"), null);
});

test("toFetch() holds no more than it must before it responds", async () => {
  const block = new Uint8Array(20_000);
  let waited = -1;
  const handle = toFetch(async ({ response }) => {
    response.start(200, "OK", []);
    for (let i = 0; i < 10; i++) {
      const pending = response.write(block);
      if (pending !== undefined && waited < 0) waited = i;
      await pending;
    }
    await response.end();
  });
  const response = await handle(new Request("http://a/"));
  assertEquals((await response.arrayBuffer()).byteLength, 200_000);
  // 64 KiB are held.
  assertEquals(waited, 3);
});

test("toFetch() refuses to write beyond the length, and after the host has left", async () => {
  const log = recording();
  const long = toFetch(({ response }) => {
    response.start(200, "OK", [], 2);
    response.write(bytes("abc"));
  }, { log });
  await assertRejects(
    () => long(new Request("http://a/")),
    ApplicationError,
    "longer than its Content-Length of 2",
  );

  let signal: AbortSignal | undefined;
  let thrown: unknown;
  const late = toFetch(async (exchange) => {
    const { response } = exchange;
    response.start(200, "OK", []);
    await response.flush();
    await new Promise((resolve) => setTimeout(resolve));
    try {
      await response.write(bytes("late"));
    } catch (error) {
      thrown = error;
      signal = exchange.signal;
      throw error;
    }
  }, { log });
  let work: Promise<unknown> | undefined;
  const response = await late(new Request("http://a/"), undefined, {
    waitUntil: (given: Promise<unknown>) => work = given,
  });
  await response.body!.cancel();
  await work;
  assert(thrown instanceof StreamError);
  assertEquals(signal!.aborted, true);
  assertEquals(log.lines, []);
});

// ---- On the server of this runtime ----

interface Host {
  readonly url: string;
  stop(): Promise<void>;
}

type Serve = (handle: ReturnType<typeof toFetch>) => Host;

/** Deno's or Bun's own server; undefined on Node, which has none. */
const serveHere: Serve | undefined = findServer();

function findServer(): Serve | undefined {
  const { Deno, Bun } = globalThis as {
    // deno-lint-ignore no-explicit-any -- a runtime that may not be there
    Deno?: any;
    // deno-lint-ignore no-explicit-any -- likewise
    Bun?: any;
  };
  const hostname = "127.0.0.1";
  if (Deno !== undefined) {
    return (handle) => {
      const server = Deno.serve(
        { port: 0, hostname, onListen() {}, onError },
        handle,
      );
      const url = `http://${hostname}:${server.addr.port}`;
      return { url, stop: () => server.shutdown() };
    };
  }
  if (Bun !== undefined) {
    return (handle) => {
      const server = Bun.serve({
        port: 0,
        hostname,
        fetch: handle,
        error: onError,
      });
      return {
        url: `http://${hostname}:${server.port}`,
        stop: () => server.stop(true),
      };
    };
  }
  return undefined;
}

function onError(): Response {
  return new Response("failed", { status: 500 });
}

async function hosting(
  app: Application,
  use: (url: string) => Promise<void>,
): Promise<void> {
  if (serveHere === undefined) return;
  const host = serveHere(linted(app));
  try {
    await use(host.url);
  } finally {
    await host.stop();
  }
}

test("the runtime's server: whole answers, streams, HEAD and failures", async () => {
  await hosting((environ, startResponse) => {
    switch (environ.PATH_INFO) {
      case "/fail":
        throw new Error("mine");
      case "/stream": {
        startResponse("200 OK", [...plain]);
        return (async function* () {
          for (let i = 0; i < 50; i++) yield new Uint8Array(10_000).fill(i);
        })();
      }
      default:
        startResponse("200 OK", [...plain, ["X-Peer", environ.REMOTE_ADDR!]]);
        return [bytes(`${environ.SERVER_PORT} ${environ.QUERY_STRING}`)];
    }
  }, async (url) => {
    const { port } = new URL(url);
    const whole = await fetch(`${url}/?a=b`);
    assertEquals(await whole.text(), `${port} a=b`);
    assertEquals(whole.headers.get("x-peer"), "127.0.0.1");
    assertEquals(
      whole.headers.get("content-length"),
      `${port} a=b`.length + "",
    );
    const head = await fetch(`${url}/?a=b`, { method: "HEAD" });
    assertEquals(head.headers.get("content-length"), `${port} a=b`.length + "");
    assertEquals(await head.text(), "");
    const stream = await (await fetch(`${url}/stream`)).arrayBuffer();
    assertEquals(stream.byteLength, 500_000);
    const failed = await fetch(`${url}/fail`);
    assertEquals([failed.status, await failed.text()], [500, "failed"]);
  });
});

test("the runtime's server: an upload, read whole, in part and not at all", async () => {
  const upload = new Uint8Array(1_000_000).map((_, at) => at % 251);
  await hosting(async (environ, startResponse) => {
    const input = environ["wsgi.input"];
    startResponse("200 OK", [...plain]);
    if (environ.PATH_INFO === "/none") return [bytes("none")];
    if (environ.PATH_INFO === "/part") return [await input.read(10)];
    return [await input.read()];
  }, async (url) => {
    const post = async (path: string) => {
      const response = await fetch(url + path, {
        method: "POST",
        body: upload,
      });
      return new Uint8Array(await response.arrayBuffer());
    };
    assertEquals(await post("/all"), upload);
    assertEquals(await post("/part"), upload.slice(0, 10));
    assertEquals(text(await post("/none")), "none");
    assertEquals(await post("/all"), upload);
  });
});

test("the runtime's server: a client that leaves ends the body", async () => {
  const left = new Watch();
  let closed = false;
  await hosting((environ, startResponse) => {
    const { signal } = environ["headgate.request"]!;
    startResponse("200 OK", [...plain]);
    return {
      async *[Symbol.asyncIterator]() {
        yield bytes("first");
        await new Promise((resolve) =>
          signal.addEventListener("abort", resolve)
        );
      },
      close() {
        closed = true;
        left.changed();
      },
    };
  }, async (url) => {
    const abort = new AbortController();
    const response = await fetch(url, { signal: abort.signal });
    const reader = response.body!.getReader();
    assertEquals(text((await reader.read()).value!), "first");
    abort.abort();
    await reader.read().catch(() => {});
    await left.until(() => closed, "close()", () => "");
  });
});
