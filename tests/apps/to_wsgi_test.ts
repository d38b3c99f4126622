/** Fetch handlers where WSGI applications stand, each under lint. */
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertLess,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import type { FetchHandler, FetchOptions } from "../../src/apps/fetch.ts";
import { lint } from "../../src/apps/lint.ts";
import { toFetchHandler } from "../../src/apps/to_fetch.ts";
import { toWsgi } from "../../src/apps/to_wsgi.ts";
import { wsgi, type WsgiOptions } from "../../src/apps/wsgi.ts";
import { ApplicationError, StreamError } from "../../src/errors.ts";
import type { Application, Environ, ResponseBody } from "../../src/wsgi.ts";
import {
  bytes,
  FakeExchange,
  type FakeRequest,
  type FakeResponse,
  text,
} from "../support/fake_exchange.ts";

/** What is logged is a failure: lint has nothing to say. */
const noLog = {
  debug() {},
  info() {},
  warn() {},
  error(message: string) {
    throw new Error(`Logged: ${message}`);
  },
};

/** Serves one request; `around` is middleware. */
async function run(
  handle: FetchHandler,
  request: FakeRequest = {},
  options: WsgiOptions = {},
  around = (app: Application) => app,
): Promise<FakeResponse> {
  const exchange = new FakeExchange(request);
  const app = around(lint(toWsgi(handle)));
  await wsgi(lint(app), { log: noLog, ...options })(exchange);
  assert(exchange.response.ended);
  return exchange.response;
}

/** The request that an environ becomes. */
async function requestOf(
  request: FakeRequest,
  options: WsgiOptions = {},
  change: (environ: Environ) => void = () => {},
): Promise<{ method: string; url: string; headers: Headers }> {
  let seen: { method: string; url: string; headers: Headers } | undefined;
  await run(
    ({ method, url, headers }) => {
      seen = { method, url, headers };
      return new Response(null);
    },
    request,
    options,
    (app) => (environ, startResponse) => {
      change(environ);
      return app(environ, startResponse);
    },
  );
  return seen!;
}

test("toWsgi() answers with status, fields and content", async () => {
  const response = await run(() => {
    const headers = new Headers({ "Content-Type": "text/html", "X-A": "\xe9" });
    headers.append("Set-Cookie", "a=1");
    headers.append("Set-Cookie", "b=2");
    return new Response("hello", { status: 201, headers });
  });
  assertEquals([response.status, response.reason], [201, "Created"]);
  // Runtimes differ in where they put Set-Cookie.
  assertEquals(response.fields.map((field) => field.join(": ")).sort(), [
    "Content-Length: 5",
    "content-type: text/html",
    "set-cookie: a=1",
    "set-cookie: b=2",
    "x-a: \xe9",
  ]);
  assertEquals(response.content, "hello");
  const named = await run(() => new Response(null, { statusText: "Fine" }));
  assertEquals(named.reason, "Fine");
});

test("toWsgi() leaves out what a WSGI application must not send", async () => {
  const response = await run(() =>
    new Response("x", {
      headers: {
        "Connection": "close",
        "Transfer-Encoding": "chunked",
        "Status": "500",
        "X-": "a",
        "Content-Type": "text/plain",
      },
    })
  );
  assertEquals(response.fields, [
    ["content-type", "text/plain"],
    ["Content-Length", "1"],
  ]);
});

test("toWsgi() says a Content-Type where there must be one, and only there", async () => {
  const typeOf = async (status: number, type?: string) => {
    const headers = type === undefined ? [] : [["Content-Type", type]];
    const response = await run(() =>
      new Response(null, { status, headers: headers as [string, string][] })
    );
    return response.field("content-type");
  };
  assertEquals(await typeOf(200), "application/octet-stream");
  assertEquals(await typeOf(200, "text/css"), "text/css");
  assertEquals(await typeOf(204), undefined);
  assertEquals(await typeOf(304, "text/css"), undefined);
});

test("toWsgi() answers HEAD, 204, 205 and 304 without content", async () => {
  const head = await run(
    () => new Response("hello", { headers: { "Content-Length": "5" } }),
    { method: "HEAD" },
  );
  assertEquals(head.content, "");
  assertEquals(head.field("content-length"), "5");
  for (const status of [204, 205, 304]) {
    const response = await run(() => new Response(null, { status }));
    assertEquals([response.status, response.content], [status, ""]);
  }
});

test("toWsgi() makes the URL of the environ", async () => {
  const url = async (
    request: FakeRequest,
    options?: WsgiOptions,
    change?: (environ: Environ) => void,
  ) => (await requestOf(request, options, change)).url;

  const target = "/a%2Fb%20c/%c3%a9?x=%41&y";
  assertEquals(await url({ target }), `http://example.com${target}`);
  assertEquals(
    await url({ target, scheme: "https" }, { scriptName: "/a/b c" }),
    `https://example.com${target}`,
  );
  assertEquals(
    await url({ target: "http://other:81/x?y" }),
    "http://other:81/x?y",
  );
  assertEquals(
    await url({ fields: [], version: 10 }),
    "http://192.0.2.1:8000/",
  );
  // A proxy has taken the mount point off the path.
  assertEquals(
    await url({ target: "/x%2Fy" }, { scriptName: "/shop" }),
    "http://example.com/shop/x/y",
  );
});

test("toWsgi() follows middleware that changes the environ", async () => {
  const changed = await requestOf(
    { target: "/old?a", fields: [["Host", "a"], ["Accept", "text/html"]] },
    {},
    (environ) => {
      environ.PATH_INFO = "/new/\xc3\xa9?#%";
      environ.QUERY_STRING = "b";
      environ.HTTP_ACCEPT = "text/css";
      environ.HTTP_X_USER = "me";
      delete environ.HTTP_HOST;
      environ.SERVER_NAME = "::1";
    },
  );
  assertEquals(changed.url, "http://[::1]/new/%C3%A9%3F%23%25?b");
  assertEquals(changed.headers.get("accept"), "text/css");
  assertEquals(changed.headers.get("x-user"), "me");
});

test("toWsgi() gives method, fields and content of the request", async () => {
  let headers: Headers | undefined;
  const response = await run(async (request) => {
    headers = request.headers;
    return new Response(`${request.method} ${await request.text()}`);
  }, {
    method: "PUT",
    fields: [
      ["Host", "a"],
      ["Content-Type", "text/plain"],
      ["Content-Length", "6"],
      ["X-Two-Words", "1"],
      ["X-Two-Words", "2"],
      ["Cookie", "a=1"],
      ["Cookie", "b=2"],
    ],
    content: ["abc", "def"],
    slowContent: true,
  });
  assertEquals(response.content, "PUT abcdef");
  assertEquals([...headers!], [
    ["content-length", "6"],
    ["content-type", "text/plain"],
    ["cookie", "a=1; b=2"],
    ["host", "a"],
    ["x-two-words", "1,2"],
  ]);
});

test("toWsgi() reads chunked content, and none where there is none", async () => {
  const echo: FetchHandler = async (request) =>
    new Response(`${request.body === null} ${await request.text()}`);
  const fields: [string, string][] = [["Host", "a"]];
  const chunked = await run(echo, {
    method: "POST",
    fields: [...fields, ["Transfer-Encoding", "chunked"]],
    content: ["abc", "def"],
  });
  assertStringIncludes(chunked.content, " abcdef");
  const none = await run(echo, { method: "POST", fields });
  assertStringIncludes(none.content, " ");
});

test("toWsgi() never reads beyond Content-Length", async () => {
  const asked: (number | undefined)[] = [];
  let seen = "";
  const app = toWsgi(async (request) => {
    seen = `${request.url} ${request.headers.has("content-type")}`;
    return new Response(await request.text());
  });
  const environ = {
    REQUEST_METHOD: "POST",
    SCRIPT_NAME: "",
    PATH_INFO: "/",
    QUERY_STRING: "",
    CONTENT_TYPE: "",
    CONTENT_LENGTH: "5",
    HTTP_HOST: "",
    SERVER_NAME: "a",
    SERVER_PORT: "80",
    SERVER_PROTOCOL: "HTTP/1.1",
    "wsgi.url_scheme": "http",
    "wsgi.input": {
      read(size?: number) {
        asked.push(size);
        return Promise.resolve(bytes("abc".slice(0, size)));
      },
    },
  } as unknown as Environ;
  const body = await app(environ, () => () => Promise.resolve());
  let content = "";
  for await (const block of body) content += text(block);
  await body.close?.();
  assertEquals(content, "abcab");
  assertEquals(asked, [5, 2]);
  // What a server leaves empty is not there.
  assertEquals(seen, "http://a/ false");
});

test("toWsgi() tells the peer, the environ and what it carries", async () => {
  let same: Environ | undefined;
  const response = await run(
    (_request, info) => {
      same = info.environ;
      const { hostname, port } = info.remoteAddr;
      const { user } = info.environ["myapp.context"] as { user: string };
      return new Response(`${hostname}:${port} ${user} ${info.env["A"]}`);
    },
    {},
    {},
    (app) => (environ, startResponse) => {
      environ["myapp.context"] = { user: "me" };
      return app(environ, startResponse);
    },
  );
  assertEquals(response.content, "192.0.2.7:49152 me undefined");
  assertEquals(same!.REMOTE_ADDR, "192.0.2.7");
  const options: FetchOptions = { env: { A: "1" } };
  const exchange = new FakeExchange();
  const handle: FetchHandler = (_request, { env }) => new Response(env["A"]);
  await wsgi(toWsgi(handle, options))(exchange);
  assertEquals(exchange.response.content, "1");
});

test("toWsgi() sends each piece before it asks for the next", async () => {
  const exchange = new FakeExchange();
  const pieces = ["one", "two", "three"];
  const sent: string[] = [];
  const handle: FetchHandler = () =>
    new Response(
      new ReadableStream<Uint8Array>({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve));
          sent.push(exchange.response.content);
          const piece = pieces.shift();
          if (piece === undefined) controller.close();
          else controller.enqueue(bytes(piece));
        },
      }, { highWaterMark: 0 }),
    );
  await wsgi(lint(toWsgi(handle)), { log: noLog })(exchange);
  assertEquals(exchange.response.content, "onetwothree");
  assertEquals(exchange.response.field("content-length"), undefined);
  assertEquals(sent, ["", "one", "onetwo", "onetwothree"]);
});

test("toWsgi() cancels what is left when the peer leaves", async () => {
  let cancelled: unknown;
  let signal: AbortSignal | undefined;
  let given = 0;
  const handle: FetchHandler = (request) => {
    signal = request.signal;
    return new Response(
      new ReadableStream<Uint8Array>({
        pull(controller) {
          given++;
          controller.enqueue(bytes("0123456789"));
        },
        cancel(reason) {
          cancelled = reason;
        },
      }),
    );
  };
  const exchange = new FakeExchange({ leavesAfter: 35 });
  await assertRejects(
    async () => await wsgi(lint(toWsgi(handle)), { log: noLog })(exchange),
    StreamError,
  );
  assert(cancelled instanceof StreamError);
  assert(signal!.aborted);
  // It is without end; how much is gathered is for the sender to say.
  assertLess(given, 1000);
});

test("toWsgi() passes on that the peer has left", async () => {
  const exchange = new FakeExchange();
  let told: unknown;
  const handle: FetchHandler = (request) =>
    new Promise((resolve) => {
      request.signal.addEventListener("abort", () => {
        told = request.signal.reason;
        resolve(new Response("late"));
      });
      exchange.controller.abort();
    });
  // Whether it can still be answered is for the connection to say.
  await Promise.resolve(wsgi(lint(toWsgi(handle)), { log: noLog })(exchange))
    .catch((error) => assert(error instanceof StreamError));
  assert(told instanceof StreamError);
});

test("toWsgi() fails as the handler fails, before and behind the head", async () => {
  const fail = async (handle: FetchHandler) => {
    const exchange = new FakeExchange();
    const error = await assertRejects(
      async () => await wsgi(lint(toWsgi(handle)), { log: noLog })(exchange),
    );
    return { error, response: exchange.response };
  };
  const mine = new RangeError("mine");
  const before = await fail(() => {
    throw mine;
  });
  assertStrictEquals(before.error, mine);
  assertEquals(before.response.started, false);
  const later = await fail(() => Promise.reject(mine));
  assertStrictEquals(later.error, mine);
  for (const wrong of [undefined, "text", Response.error()]) {
    const { error } = await fail(() => wrong as Response);
    assert(error instanceof ApplicationError);
  }
  let pulls = 0;
  const behind = await fail(() =>
    new Response(
      new ReadableStream<Uint8Array>({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve));
          if (pulls++ === 0) controller.enqueue(bytes("first"));
          else controller.error(mine);
        },
      }, { highWaterMark: 0 }),
    )
  );
  assertStrictEquals(behind.error, mine);
  assertEquals(behind.response.content, "first");
  assertEquals(behind.response.ended, false);
});

test("toWsgi() gives a body whose close() is enough", async () => {
  const exchange = new FakeExchange();
  let cancelled = false;
  let over = false;
  const app = toWsgi((_request, { completed }) => {
    completed.catch(() => {
      over = true;
    });
    return new Response(
      new ReadableStream<Uint8Array>({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve));
          controller.enqueue(bytes("more"));
        },
        cancel() {
          cancelled = true;
        },
      }),
    );
  });
  let environ: Environ | undefined;
  await wsgi((given, startResponse) => {
    environ = given;
    startResponse("204 No Content", []);
    return [];
  })(exchange);
  const body: ResponseBody = await app(environ!, () => () => Promise.resolve());
  assert(Symbol.asyncIterator in body);
  const iterator = body[Symbol.asyncIterator]();
  assertEquals(text((await iterator.next()).value!), "more");
  await body.close?.();
  assertEquals([cancelled, over], [true, true]);
});

test("toWsgi() and toFetchHandler() undo each other", async () => {
  const handle = toFetchHandler(
    lint(toWsgi(async (request) =>
      new Response(await request.text(), {
        status: 202,
        headers: { "X-Url": request.url, "Content-Type": "text/plain" },
      })
    )),
  );
  const response = await handle(
    new Request("https://a:81/b%20c?d", {
      method: "POST",
      headers: { "Content-Length": "5" },
      body: "hello",
    }),
  );
  assertEquals(response.status, 202);
  assertEquals(response.headers.get("x-url"), "https://a:81/b%20c?d");
  assertEquals(response.headers.get("content-length"), "5");
  assertEquals(await response.text(), "hello");
});

test("toWsgi() refuses what is no function", () => {
  assertThrows(() => toWsgi({ fetch() {} } as never), TypeError);
});
