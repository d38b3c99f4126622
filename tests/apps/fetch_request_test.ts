import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
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
import { openRequest } from "../../src/apps/fetch_request.ts";
import { HttpError } from "../../src/errors.ts";
import { FakeExchange, type FakeRequest } from "../support/fake_exchange.ts";

/** Bun's own requests forget the type of a streamed body, and can be cloned when
 * they were read. */
const onBun = "Bun" in globalThis;

function request(of: FakeRequest = {}): Request {
  return openRequest(new FakeExchange(of)).request;
}

function post(...content: (string | Uint8Array | Error)[]): Request {
  return request({ method: "POST", content, slowContent: true });
}

function typed(type: string, ...content: string[]): Request {
  return request({
    method: "POST",
    fields: [["Host", "a"], ["Content-Type", type]],
    content,
  });
}

function url(of: FakeRequest): string {
  return request(of).url;
}

test("a request is one of the runtime's", () => {
  const asked = request({ target: "/a?b=c" });
  assertInstanceOf(asked, Request);
  assertStrictEquals(asked.constructor, Request);
  assertEquals(Object.prototype.toString.call(asked), "[object Request]");
  assertEquals(asked.method, "GET");
  assertEquals(asked.url, "http://example.com/a?b=c");
  assertEquals(asked.redirect, "follow");
  assertEquals(typeof asked.cache, "string");
});

test("methods are spelled as the Fetch standard spells them", () => {
  assertEquals(request({ method: "HEAD" }).method, "HEAD");
  assertEquals(request({ method: "get" }).method, "GET");
  assertEquals(request({ method: "PROPFIND" }).method, "PROPFIND");
  assertEquals(request({ method: "BREW" }).method, "BREW");
  assertEquals(request({ method: "patch" }).method, "patch");
});

test("a method of one's own brings its content", async () => {
  const brewed = request({ method: "BREW", content: ["coffee"] });
  assertEquals(await brewed.text(), "coffee");
});

test("a method that no Request can have is not implemented", () => {
  for (const method of ["TRACE", "TRACK", "trace"]) {
    const error = assertThrows(() => request({ method }), HttpError);
    assertEquals(error.status, 501);
  }
});

test("the URL is made of scheme, authority and target", () => {
  assertEquals(url({ target: "/" }), "http://example.com/");
  assertEquals(url({ scheme: "https" }), "https://example.com/");
  assertEquals(url({ fields: [["Host", "a:81"]] }), "http://a:81/");
  assertEquals(url({ fields: [["Host", "a:80"]] }), "http://a/");
  assertEquals(url({ fields: [["Host", "A.Example"]] }), "http://a.example/");
  assertEquals(
    url({ fields: [["Host", "[::1]:81"]], target: "/x" }),
    "http://[::1]:81/x",
  );
  assertEquals(
    url({ target: "http://b.example/c?d", fields: [["Host", "a"]] }),
    "http://b.example/c?d",
  );
  assertEquals(url({ target: "//other/x" }), "http://example.com//other/x");
  assertEquals(
    url({ method: "OPTIONS", target: "*" }),
    "http://example.com/*",
  );
});

test("without an authority the URL has the address that was connected to", () => {
  const fields: [string, string][] = [];
  assertEquals(url({ fields }), "http://192.0.2.1:8000/");
  assertEquals(
    url({ fields, local: { host: "::1", port: 8000 } }),
    "http://[::1]:8000/",
  );
  assertEquals(
    url({ fields, local: { host: "/run/a.sock", port: 0 } }),
    "http://localhost/",
  );
});

test("the URL is spelled as the URL standard spells it", () => {
  for (
    const target of [
      "/a/../b",
      "/a/%2E%2e/b",
      "/a/./b",
      "/.well-known/x",
      "/a?b='c'",
      "/a|b",
      "/a%20b?c=%7Bd",
      "/~a/$&+,;=:@!()*-_.",
      "/a?b=../c",
      "/a?x=/../y",
      "/a..b/c.",
      "/?",
    ]
  ) {
    const expected = new URL(`http://example.com${target}`).href;
    assertEquals(url({ target }), expected);
  }
});

test("an authority that no URL can have is the peer's fault", () => {
  const fields: [string, string][] = [["Host", "999.999.999.999"]];
  const error = assertThrows(() => request({ fields }).url, HttpError);
  assertEquals(error.status, 400);
});

test("headers: every line, values as octets", () => {
  const { headers } = request({
    fields: [
      ["Host", "a"],
      ["X-Twice", "1"],
      ["x-twice", "2"],
      ["X-Octets", "caf\u00e9"],
    ],
  });
  assertEquals(headers.get("HOST"), "a");
  assertEquals(headers.get("x-twice"), "1, 2");
  assertEquals(headers.get("x-octets"), "caf\u00e9");
  assertEquals(headers.get("absent"), null);
});

test("a request without content", async () => {
  const asked = request();
  assertEquals(asked.body, null);
  assertEquals(await asked.text(), "");
  assertEquals(asked.bodyUsed, false);
  assertEquals((await asked.arrayBuffer()).byteLength, 0);
});

test("the content of GET and HEAD is nothing", async () => {
  for (const method of ["GET", "HEAD", "get"]) {
    const exchange = new FakeExchange({ method, content: ["a"] });
    const asked = openRequest(exchange).request;
    assertEquals(asked.body, null);
    assertEquals(await asked.text(), "");
    assertEquals(exchange.body.reads, 0);
  }
});

test("nothing is read before the content is asked for", async () => {
  const exchange = new FakeExchange({ method: "POST", content: ["a", "b"] });
  const asked = openRequest(exchange).request;
  assertEquals(asked.method + asked.url, "POSThttp://example.com/");
  assert(asked.body !== null);
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(exchange.body.reads, 0);
  assertEquals(asked.bodyUsed, false);
});

test("text, json, arrayBuffer, bytes and blob", async () => {
  const read = post("h\u00e9", "llo");
  assertEquals(await read.text(), "h\u00e9llo");
  assertEquals(read.bodyUsed, true);
  assertEquals(await post('{"a":', "1}").json(), { a: 1 });
  assertEquals(await post("\ufeffa").text(), "a");
  await assertRejects(() => post("{").json(), SyntaxError);
  const octets = Uint8Array.of(0, 255, 128);
  assertEquals(new Uint8Array(await post(octets).arrayBuffer()), octets);
  assertEquals((await post(octets, octets).arrayBuffer()).byteLength, 6);
  const withBytes = post(octets) as Request & { bytes(): Promise<Uint8Array> };
  assertEquals(await withBytes.bytes(), octets);
  const blob = await typed("text/x-y", "abc").blob();
  if (!onBun) assertEquals(blob.type, "text/x-y");
  assertEquals(await blob.text(), "abc");
});

test("formData of a form", async () => {
  const form = await typed(
    "application/x-www-form-urlencoded",
    "a=1&b=",
    "%C3%A9+2&a=3",
  ).formData();
  assertEquals(form.getAll("a"), ["1", "3"]);
  assertEquals(form.get("b"), "\u00e9 2");
});

test("formData of parts", async () => {
  const form = await typed(
    "multipart/form-data; boundary=xx",
    '--xx\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--xx\r\n',
    'Content-Disposition: form-data; name="f"; filename="f.txt"\r\n',
    "Content-Type: text/plain\r\n\r\nhello\r\n--xx--\r\n",
  ).formData();
  assertEquals(form.get("a"), "1");
  const file = form.get("f");
  assertInstanceOf(file, File);
  assertEquals([file.name, await file.text()], ["f.txt", "hello"]);
});

test("formData of something else is refused", async () => {
  await assertRejects(() => typed("text/plain", "a=1").formData(), TypeError);
});

test("the body as a stream", async () => {
  const asked = post("one", "two");
  assertStrictEquals(asked.body, asked.body);
  let text = "";
  for await (const piece of asked.body!) {
    assertInstanceOf(piece, Uint8Array);
    text += new TextDecoder().decode(piece);
  }
  assertEquals(text, "onetwo");
  assertEquals(asked.bodyUsed, true);
  await assertRejects(() => asked.text(), TypeError);
});

test("a body is used once a piece of it was read", async () => {
  const asked = post("one", "two");
  const reader = asked.body!.getReader();
  assertEquals(asked.bodyUsed, false);
  await reader.read();
  assertEquals(asked.bodyUsed, true);
  await assertRejects(() => asked.text(), TypeError);
});

test("a body is used once it was cancelled", async () => {
  const asked = post("one");
  await asked.body!.cancel();
  assertEquals(asked.bodyUsed, true);
});

test("content is read once", async () => {
  const asked = post("a");
  await asked.text();
  await assertRejects(() => asked.json(), TypeError);
  await assertRejects(() => asked.arrayBuffer(), TypeError);
  await assertRejects(() => asked.blob(), TypeError);
  if (!onBun) {
    assertThrows(() => asked.clone(), TypeError);
    assertThrows(() => new Request(asked), TypeError);
  }
  const twice = post("a");
  const [first, second] = await Promise.allSettled([
    twice.text(),
    twice.text(),
  ]);
  assertEquals([first.status, second.status], ["fulfilled", "rejected"]);
});

test("clone() before reading", async () => {
  const asked = post("on", "ce");
  const clone = asked.clone();
  assertInstanceOf(clone, Request);
  assertEquals([clone.method, clone.url], [asked.method, asked.url]);
  assertEquals([await clone.text(), await asked.text()], ["once", "once"]);
  assertEquals([clone.bodyUsed, asked.bodyUsed], [true, true]);
});

test("clone() of a clone, after a look at the body", async () => {
  const asked = post("once");
  asked.headers.get("host");
  assert(asked.body !== null);
  const clone = asked.clone().clone();
  assertEquals(await asked.text(), "once");
  assertEquals(await clone.text(), "once");
});

test("new Request(request) takes the content over", async () => {
  const asked = post("once");
  const other = new Request(asked);
  assertEquals([other.method, other.url], ["POST", "http://example.com/"]);
  assertEquals(other.headers.get("host"), asked.headers.get("host"));
  assertEquals(await other.text(), "once");
  if (!onBun) await assertRejects(() => asked.text(), TypeError);
});

test("new Request(request, init) changes what it says", async () => {
  const asked = post("once");
  const other = new Request(asked, { headers: { "x-a": "b" } });
  assertEquals(other.headers.get("x-a"), "b");
  assertEquals(await other.text(), "once");
  const elsewhere = new Request("http://b/c", request({ method: "PUT" }));
  assertEquals([elsewhere.method, elsewhere.url], ["PUT", "http://b/c"]);
});

/** Runs `use` beside a server that answers with what it was asked, or never. */
async function withServer(
  use: (host: string) => Promise<void>,
): Promise<void> {
  const server = createServer(async (asked, answer) => {
    if (asked.url === "/never") return;
    let content = "";
    for await (const piece of asked) content += String(piece);
    answer.end(
      `${asked.method} ${asked.url} ${asked.headers["x-a"]} ${content}`,
    );
  });
  await new Promise<void>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve())
  );
  try {
    const { port } = server.address() as AddressInfo;
    await use(`127.0.0.1:${port}`);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

test("new Request(request, init) keeps the method that init does not name", () => {
  for (const method of ["GET", "HEAD", "DELETE", "OPTIONS", "PUT"]) {
    const copy = new Request(request({ method }), { headers: { a: "b" } });
    assertEquals(copy.method, method);
    assertEquals(copy.url, "http://example.com/");
    assertEquals(copy.headers.get("a"), "b");
  }
});

test("what only the runtime knows is as in a request of nothing", () => {
  const names = ["cache", "credentials", "integrity", "mode", "redirect"];
  const blank = new Request("http://example.com/");
  for (const method of ["GET", "HEAD"]) {
    const asked = request({ method });
    for (const name of names) {
      assertEquals(Reflect.get(asked, name), Reflect.get(blank, name));
    }
  }
});

test("fetch(request) sends it on", () =>
  withServer(async (host) => {
    const asked = request({
      method: "POST",
      target: "/on?b",
      fields: [["Host", host], ["X-A", "c"]],
      content: ["con", "tent"],
    });
    assertEquals(await (await fetch(asked)).text(), "POST /on?b c content");
  }));

test("what has no content is sent on, in whatever way", () =>
  withServer(async (host) => {
    for (const method of ["GET", "DELETE", "OPTIONS"]) {
      const make = (target: string) =>
        request({ method, target, fields: [["Host", host], ["X-A", "c"]] });
      const elsewhere = `http://${host}/b`;
      const ways: [Promise<Response>, string][] = [
        [fetch(make("/a?b")), "/a?b c"],
        [fetch(make("/a"), { headers: { "x-a": "d" } }), "/a d"],
        [fetch(elsewhere, make("/a")), "/b c"],
        [fetch(new Request(make("/a"))), "/a c"],
        [fetch(new Request(elsewhere, make("/a"))), "/b c"],
        [fetch(make("/a").clone()), "/a c"],
      ];
      for (const [sent, expected] of ways) {
        assertEquals(await (await sent).text(), `${method} ${expected} `);
      }
    }
  }));

test("what is sent on is aborted when the peer leaves", () =>
  withServer(async (host) => {
    const fields: [string, string][] = [["Host", host]];
    const ways: ((asked: Request) => Promise<Response>)[] = [
      (asked) => fetch(asked),
      (asked) => fetch(new Request(asked)),
      (asked) => fetch(asked.clone()),
    ];
    for (const send of ways) {
      const exchange = new FakeExchange({ target: "/never", fields });
      const sent = send(openRequest(exchange).request);
      exchange.controller.abort();
      await assertRejects(() => sent);
    }
  }));

test("methods of the runtime's own find the content", async () => {
  assertEquals(
    await Request.prototype.text.call(typed("text/plain", "abc")),
    "abc",
  );
  assertEquals(await Request.prototype.text.call(request()), "");
});

test("headers that were changed go along", async () => {
  const asked = request({ fields: [["Host", "a"], ["X-A", "b"]] });
  asked.headers.set("x-a", "c");
  asked.headers.append("x-d", "e");
  for (const other of [new Request(asked), asked.clone()]) {
    assertEquals([other.headers.get("x-a"), other.headers.get("x-d")], [
      "c",
      "e",
    ]);
  }
  assertEquals(asked.headers.get("x-a"), "c");
  assertEquals(await asked.text(), "");
});

test("the signal is aborted when the peer leaves", () => {
  const exchange = new FakeExchange();
  const { signal } = openRequest(exchange).request;
  assert(signal instanceof AbortSignal);
  assertEquals(signal.aborted, false);
  exchange.controller.abort();
  assertEquals(signal.aborted, true);
});

test("the signal of a clone is aborted, too", () => {
  const exchange = new FakeExchange();
  const { signal } = openRequest(exchange).request.clone();
  exchange.controller.abort();
  assertEquals(signal.aborted, true);
});

test("malformed content is told as it is", async () => {
  const malformed = new HttpError(400, "Malformed chunk");
  const asked = post("a", malformed);
  const thrown = await assertRejects(() => asked.text(), HttpError);
  assertStrictEquals(thrown, malformed);
  const reader = post(malformed).body!.getReader();
  assertStrictEquals(
    await assertRejects(() => reader.read(), HttpError),
    malformed,
  );
});

test("nothing can be read once it is closed", async () => {
  const exchange = new FakeExchange({ method: "POST", content: ["a", "b"] });
  const open = openRequest(exchange);
  const reader = open.request.body!.getReader();
  open.close();
  await assertRejects(() => reader.read(), TypeError, "response had ended");
  assertEquals(exchange.body.reads, 0);

  const unread = new FakeExchange({ method: "POST", content: ["a"] });
  const other = openRequest(unread);
  other.close();
  await assertRejects(() => other.request.text(), TypeError);
  assertEquals(unread.body.reads, 0);
});

test("closing waits for a read that was left behind", async () => {
  const exchange = new FakeExchange({
    method: "POST",
    content: ["a", "b"],
    slowContent: true,
  });
  const open = openRequest(exchange);
  const reading = open.request.text();
  // A stream of the runtime's may take a few turns to ask.
  while (exchange.body.reads === 0) await undefined;
  const arrival = open.close();
  assertInstanceOf(arrival, Promise);
  await assertRejects(() => reading, TypeError, "response had ended");
  await arrival;
  assertEquals(exchange.body.reads, 1);
});

test("a piece that arrives after closing is not handed on", async () => {
  const exchange = new FakeExchange({
    method: "POST",
    content: ["a"],
    slowContent: true,
  });
  const open = openRequest(exchange);
  const reading = open.request.body!.getReader().read();
  while (exchange.body.reads === 0) await undefined;
  open.close();
  await assertRejects(() => reading, TypeError, "response had ended");
});

test("wsgi.input and the request share one content", async () => {
  const exchange = new FakeExchange({ method: "POST", content: ["a", "b"] });
  const first = openRequest(exchange);
  assertEquals(await first.wsgiInput().read(), new Uint8Array([97, 98]));
  await assertRejects(() => first.request.text(), TypeError, "share it");

  const second = openRequest(
    new FakeExchange({ method: "POST", content: ["a"] }),
  );
  assertEquals(await second.request.text(), "a");
  await assertRejects(() => second.wsgiInput().read(), TypeError, "share it");
  assertStrictEquals(second.wsgiInput(), second.wsgiInput());
});

test("wsgi.input has the content of GET that no request has", async () => {
  const exchange = new FakeExchange({ method: "GET", content: ["a"] });
  const open = openRequest(exchange);
  assertEquals(open.request.body, null);
  const input = open.wsgiInput();
  assertEquals(await input.read(), new Uint8Array([97]));
  open.close();
  await assertRejects(() => input.read());
});

test("what the runtime shows of a request tells its URL", async () => {
  const asked = request({ target: "/shown" });
  if ("Deno" in globalThis || onBun) return;
  const { inspect } = await import("node:util");
  assertStringIncludes(inspect(asked), "http://example.com/shown");
});
