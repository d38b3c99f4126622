/** Applications of every kind side by side. */
import { test } from "node:test";
import { assert, assertEquals, assertThrows } from "@std/assert";
import type { FetchHandler } from "../../src/apps/fetch.ts";
import { lint } from "../../src/apps/lint.ts";
import { type Mount, mount } from "../../src/apps/mount.ts";
import { toFetch } from "../../src/apps/to_fetch.ts";
import type { Exchange, Handler } from "../../src/exchange.ts";
import type { Application } from "../../src/wsgi.ts";
import {
  bytes,
  FakeExchange,
  type FakeRequest,
  type FakeResponse,
} from "../support/fake_exchange.ts";
import { octets } from "../support/octets.ts";

/** Says its name, and where it believes to be. */
function wsgiApp(name: string): { wsgi: Application } {
  const app: Application = (environ, startResponse) => {
    startResponse("200 OK", [["Content-Type", "text/plain"]]);
    return [octets(`${name} [${environ.SCRIPT_NAME}] [${environ.PATH_INFO}]`)];
  };
  return { wsgi: lint(app) };
}

function fetchApp(name: string): { fetch: FetchHandler } {
  return { fetch: (request) => new Response(`${name} ${request.url}`) };
}

function handlerApp(name: string): { handler: Handler } {
  return {
    handler({ head, response }) {
      response.start(200, "OK", []);
      response.write(bytes(`${name} ${head.path}`));
      response.end();
    },
  };
}

async function ask(
  site: Mount,
  target: string,
  request: FakeRequest = {},
): Promise<FakeResponse> {
  const exchange = new FakeExchange({ target, ...request });
  await site(exchange);
  assert(exchange.response.ended);
  return exchange.response;
}

/** What is answered to each target. */
async function assertAnswers(
  site: Mount,
  answers: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [target, answer] of Object.entries(answers)) {
    assertEquals((await ask(site, target)).content, answer, target);
  }
}

test("mount() gives the longest path that ends with a segment", async () => {
  const site = mount({
    "/": wsgiApp("root"),
    "/api": wsgiApp("api"),
    "/api/v1": wsgiApp("v1"),
    "/static/": wsgiApp("static"),
  });
  await assertAnswers(site, {
    "/": "root [] [/]",
    "/x": "root [] [/x]",
    "/api": "api [/api] []",
    "/api/": "api [/api] [/]",
    "/api/x?/api/v1": "api [/api] [/x]",
    "/apis": "root [] [/apis]",
    "/API": "root [] [/API]",
    "/api/v1": "v1 [/api/v1] []",
    "/api/v1/x/": "v1 [/api/v1] [/x/]",
    "/api/v10": "api [/api] [/v10]",
    "//api": "root [] [//api]",
    "/static": "static [/static] []",
    "/static/a.css": "static [/static] [/a.css]",
    "http://other/api/x": "api [/api] [/x]",
  });
  assertEquals([...site.paths].sort(), ["", "/api", "/api/v1", "/static"]);
});

test("mount() takes every kind, and each sees what it should", async () => {
  const site = mount({
    "/wsgi": wsgiApp("wsgi"),
    "/fetch": fetchApp("fetch"),
    "/handler": handlerApp("handler"),
  });
  await assertAnswers(site, {
    "/wsgi/a": "wsgi [/wsgi] [/a]",
    "/fetch/a?b": "fetch http://example.com/fetch/a?b",
    "/handler/a": "handler /handler/a",
  });
});

test("mount() tells a fetch handler's environ where it stands", async () => {
  const told = {
    fetch: ((_request, { environ }) =>
      new Response(
        octets(`[${environ.SCRIPT_NAME}] [${environ.PATH_INFO}]`) as Uint8Array<
          ArrayBuffer
        >,
      )) as FetchHandler,
  };
  const site = mount({ "/": told, "/in": mount({ "/ca f\u00e9": told }) });
  await assertAnswers(site, {
    "/x": "[] [/x]",
    "/in/ca%20f%C3%A9/a%20b": "[/in/ca f\xc3\xa9] [/a b]",
    "/in/%63a%20f%C3%A9": "[/in/ca f\xc3\xa9] []",
  });
});

test("mount() calls fetch as a method, and looks at nothing else", async () => {
  const asked: (string | symbol)[] = [];
  const router = {
    name: "router",
    fetch() {
      return new Response(this.name);
    },
  };
  const wary = new Proxy(router, {
    has(target, name) {
      asked.push(name);
      return name in target;
    },
  });
  await assertAnswers(mount({ "/": wary }), { "/": "router" });
  assertEquals(asked, ["fetch"]);
});

test("mount() compares paths decoded", async () => {
  const site = mount({
    "/caf\u00e9": wsgiApp("raw"),
    "/t%C3%A9": wsgiApp("encoded"),
    "/a b": wsgiApp("space"),
    "/admin": wsgiApp("admin"),
    "/": wsgiApp("root"),
  });
  await assertAnswers(site, {
    "/caf%C3%A9/x": "raw [/caf\xc3\xa9] [/x]",
    "/caf%c3%a9": "raw [/caf\xc3\xa9] []",
    "/t%c3%a9": "encoded [/t\xc3\xa9] []",
    "/a%20b/%20": "space [/a b] [/ ]",
    "/%61dmin/x": "admin [/admin] [/x]",
    "/admin%2Fx": "admin [/admin] [/x]",
    "/caf%E9": "root [] [/caf\xe9]",
    "/%zz": "root [] [/%zz]",
  });
});

test("mount() within mount() adds up", async () => {
  const inner = mount({
    "/": wsgiApp("inner"),
    "/deep": mount({ "/er": wsgiApp("deeper") }),
  });
  const site = mount({ "/in": inner, "/also": { handler: inner } });
  await assertAnswers(site, {
    "/in": "inner [/in] []",
    "/in/x": "inner [/in] [/x]",
    "/in/deep/er/y": "deeper [/in/deep/er] [/y]",
    "/also/x": "inner [/also] [/x]",
    "/also/deep/er": "deeper [/also/deep/er] []",
    "/in/deep": "404 Not Found\n",
    "/deep/er": "404 Not Found\n",
  });
  await assertAnswers(inner, { "/deep/er/y": "deeper [/deep/er] [/y]" });
});

test("mount() answers 404 where nothing stands", async () => {
  const site = mount({ "/api": wsgiApp("api") });
  for (const target of ["/", "/x", "/apis"]) {
    const response = await ask(site, target);
    assertEquals(response.status, 404);
    assertEquals(response.content, "404 Not Found\n");
    assertEquals(response.size, 14);
  }
  const slow = await ask(site, "/", { slowPeer: true });
  assertEquals(slow.content, "404 Not Found\n");
  const head = await ask(site, "/", { method: "HEAD" });
  assertEquals([head.status, head.content], [404, ""]);
  assertEquals((await ask(mount({}), "/")).status, 404);
});

test("mount() leaves OPTIONS * to the root", async () => {
  const site = mount({ "/": wsgiApp("root"), "/api": wsgiApp("api") });
  const response = await ask(site, "*", { method: "OPTIONS" });
  assertEquals(response.content, "root [] []");
  const none = mount({ "/api": wsgiApp("api") });
  assertEquals((await ask(none, "*", { method: "OPTIONS" })).status, 404);
});

test("mount() passes its options on", async () => {
  const site = mount({
    "/wsgi": {
      wsgi: (environ, startResponse) => {
        startResponse("200 OK", [["Content-Type", "text/plain"]]);
        return [bytes(`${environ["wsgi.multiprocess"]}`)];
      },
    },
    "/fetch": { fetch: (_request, { env }) => new Response(env["A"]) },
  }, { multiprocess: true, env: { A: "1" } });
  await assertAnswers(site, { "/wsgi": "true", "/fetch": "1" });
});

test("mount() passes on what its applications throw", () => {
  const site = mount({
    "/": {
      handler() {
        throw new RangeError("mine");
      },
    },
  });
  const exchange: Exchange = new FakeExchange();
  assertThrows(() => void site(exchange), RangeError, "mine");
});

test("mount() refuses what does not say what it is", () => {
  const refuse = (places: unknown, message: string) =>
    assertThrows(() => mount(places as never), TypeError, message);
  refuse({ "/": () => {} }, "may be anything");
  refuse({ "/": {} }, "must have a fetch, wsgi or handler");
  refuse({ "/": null }, "it is null");
  refuse({ "/": { wsgi: "app.ts" } }, "must be a function, not a string");
  refuse({ "/": { fetch: undefined } }, "must be a function");
  refuse({ api: wsgiApp("api") }, 'must start with "/"');
  refuse({ "/%zz": wsgiApp("api") }, "Malformed percent-encoding");
  refuse({ "/a": wsgiApp("a"), "/a/": wsgiApp("b") }, "given twice");
  refuse({ "/a": wsgiApp("a"), "/%61": wsgiApp("b") }, "given twice");
});

test("mount() can be carried as a fetch handler", async () => {
  const handle = toFetch(mount({
    "/wsgi": wsgiApp("wsgi"),
    "/fetch": fetchApp("fetch"),
  }));
  const answer = async (path: string) =>
    await (await handle(new Request(`http://a${path}`))).text();
  assertEquals(await answer("/wsgi/b%20c"), "wsgi [/wsgi] [/b c]");
  assertEquals(await answer("/fetch/x"), "fetch http://a/fetch/x");
  assertEquals(await answer("/"), "404 Not Found\n");
});
