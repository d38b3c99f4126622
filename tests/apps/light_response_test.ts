/** Responses of our own beside those of the runtime: whatever is true of these
 * is to be true of those. */
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { fetchHandler } from "../../src/apps/fetch.ts";
import { sendResponse } from "../../src/apps/fetch_response.ts";
import { LightResponse, takeParts } from "../../src/apps/light_response.ts";
import { mount } from "../../src/apps/mount.ts";
import { toFetch } from "../../src/apps/to_fetch.ts";
import { ApplicationError } from "../../src/errors.ts";
import {
  bytes,
  FakeExchange,
  type FakeRequest,
  type FakeResponse,
  text,
} from "../support/fake_exchange.ts";

/** Bun gives a text its type when it sends it. */
const onBun = "Bun" in globalThis;

async function send(
  response: Response,
  request: FakeRequest = {},
): Promise<FakeResponse> {
  const exchange = new FakeExchange(request);
  await sendResponse(exchange, response);
  assert(exchange.response.ended);
  return exchange.response;
}

const type = "content-type";
const textType = "text/plain;charset=UTF-8";

/** How responses are made, and whether they stay light. */
const ways: Readonly<
  Record<string, [light: boolean, ...ConstructorParameters<typeof Response>]>
> = {
  "nothing": [true],
  "null": [true, null, { status: 204 }],
  "text": [true, "h\u00e9llo"],
  "no text": [true, ""],
  "octets": [true, Uint8Array.of(1, 255)],
  "a status": [true, "a", { status: 404, statusText: "Gone \u00e9" }],
  "fields": [true, "a", { headers: { "X-A": "b", "Content-Type": "c/d" } }],
  "fields and no type": [true, "a", { headers: { "x-a": "b" } }],
  "octets and fields": [true, Uint8Array.of(1), { headers: { "x-a": "b" } }],
  "Headers": [true, "a", { headers: new Headers({ "X-A": "b" }) }],
  "pairs": [true, "a", { headers: [["x-a", "b"], ["X-A", "c"]] }],
  "cookies": [true, null, {
    headers: [["set-cookie", "a=1"], ["set-cookie", "b=2"]],
  }],
  "fields that differ in case": [true, "a", {
    headers: { "X-A": "b", "x-a": "c" },
  }],
  "space around a value": [true, "a", { headers: { "x-a": " b\t" } }],
  "a value that is no string": [true, "a", { headers: { "x-a": 1 as never } }],
  "a status that is no number": [true, "a", { status: "201" as never }],
  "a form": [false, new URLSearchParams({ a: "b c" })],
  "a blob": [false, new Blob(["a"], { type: "a/b" })],
  "a buffer": [false, new Uint8Array(3).buffer],
};

for (const [what, [light, ...given]] of Object.entries(ways)) {
  test(`LightResponse of ${what} is as a Response of it`, async () => {
    const make = () => new LightResponse(...given);
    const ours = make();
    const theirs = new Response(...given);
    // Bun adds a type as it sends text.
    if (onBun && light && !theirs.headers.has(type)) {
      if (typeof given[0] === "string") theirs.headers.set(type, textType);
    }
    assertInstanceOf(ours, Response);
    assertInstanceOf(ours, LightResponse);
    assertEquals(Object.prototype.toString.call(ours), "[object Response]");
    for (
      const name of ["status", "statusText", "ok", "url", "redirected"] as const
    ) {
      assertEquals(ours[name], theirs[name], name);
    }
    assertEquals(make().type, theirs.type);
    assertEquals([...make().headers], [...theirs.headers]);
    assertEquals(make().body === null, theirs.body === null);

    const copy = ours.clone();
    assertEquals([...copy.headers], [...theirs.headers]);
    assertEquals([copy.status, copy.bodyUsed], [theirs.status, false]);
    assertEquals(await copy.text(), await theirs.clone().text());
    assertEquals(ours.bodyUsed, false);
    assertEquals(
      new Uint8Array(await ours.arrayBuffer()),
      new Uint8Array(await theirs.clone().arrayBuffer()),
    );
    assertEquals(ours.bodyUsed, theirs.body !== null);
    assertEquals(
      await (await make().blob()).text(),
      await (await theirs.clone().blob()).text(),
    );

    const exchange = new FakeExchange();
    const pending = sendResponse(exchange, make());
    assertEquals(pending === undefined || !light, true);
    await pending;
    const sent = exchange.response;
    const fields = new Headers(sent.fields as [string, string][]);
    assertEquals(sent.status, theirs.status);
    if (light) {
      assertEquals([...fields], [...theirs.headers]);
      assertEquals(sent.fields.length, [...theirs.headers].length);
    }
    assertEquals(sent.content, (await send(theirs)).content);
  });
}

const faults: Readonly<Record<string, ConstructorParameters<typeof Response>>> =
  {
    "a status too low": ["a", { status: 199 }],
    "a status too high": ["a", { status: 600 }],
    "no status": ["a", { status: Number.NaN }],
    "a body that there cannot be": ["a", { status: 204 }],
    "a body beside 304": ["", { status: 304 }],
    "a line break in the reason": ["a", { statusText: "a\nb" }],
    "a name that is no token": ["a", { headers: { "a b": "c" } }],
    "a line break in a value": ["a", { headers: { "a": "b\r\nc" } }],
    "a value beyond Latin-1": ["a", { headers: { "a": "\u0100" } }],
    "a status in the place of all": ["a", 404 as never],
    "fields that are null": ["a", { headers: null as never }],
  };

for (const [what, given] of Object.entries(faults)) {
  test(`LightResponse refuses ${what}, as Response does`, () => {
    const refused = (make: () => unknown) => {
      try {
        make();
        return false;
      } catch {
        return true;
      }
    };
    // Bun lets some of them pass, and what it passes is refused when it is sent.
    if (!refused(() => new Response(...given))) return;
    assert(refused(() => new LightResponse(...given)));
  });
}

test("LightResponse.json()", async () => {
  const ours = LightResponse.json({ a: "\u00e9" });
  assertEquals([ours.status, ours.headers.get(type)], [
    200,
    "application/json",
  ]);
  assertEquals(await ours.json(), { a: "\u00e9" });
  const created = LightResponse.json(null, {
    status: 201,
    headers: { "x-a": "b" },
  });
  const sent = await send(created);
  assertEquals([sent.status, sent.content], [201, "null"]);
  assertEquals(sent.field("x-a"), "b");
  assertEquals(sent.field(type), "application/json");
  const typed = { headers: { "Content-Type": "a/b" } };
  assertEquals((await send(LightResponse.json(1, typed))).field(type), "a/b");
  assertThrows(() => LightResponse.json(undefined), TypeError);
  assertThrows(() => LightResponse.json(1n), TypeError);
});

test("LightResponse.json() takes what Response.json() takes", async () => {
  // Some of it is Bun's alone.
  for (const init of [404, "", { status: 101 }, { status: 204 }, null]) {
    let theirs: Response;
    try {
      theirs = Response.json({ a: 1 }, init as never);
    } catch {
      if (init !== null) {
        assertThrows(() => LightResponse.json({ a: 1 }, init as never));
      }
      continue;
    }
    const ours = LightResponse.json({ a: 1 }, init as never);
    assertEquals([ours.status, ours.ok], [theirs.status, theirs.ok]);
    assertEquals(ours.headers.get(type)?.split(";")[0], "application/json");
    assertEquals(await ours.text(), await theirs.text());
  }
});

test("LightResponse looks as Response does", () => {
  const names = (response: Response): string[] => {
    const all: string[] = [];
    for (const name in response) all.push(name);
    return all.sort();
  };
  assertEquals(names(new LightResponse("a")), names(new Response("a")));
  assertEquals((LightResponse as typeof Response).length, Response.length);
  const ours = LightResponse.prototype;
  for (const name of Object.getOwnPropertyNames(Response.prototype)) {
    assert(Object.hasOwn(ours, name), name);
  }
  const none = { status: 101 };
  try {
    assertEquals(new Response(null, none).ok, false);
  } catch {
    return; // but on Deno, where a response may be an upgrade
  }
  assertEquals(new LightResponse(null, none).ok, false);
});

test("what LightResponse.prototype has answers for every response", async () => {
  const theirs = new Response("a", { status: 201, headers: { "x-a": "b" } });
  const asked = (name: keyof Response) =>
    Object.getOwnPropertyDescriptor(LightResponse.prototype, name)!.get!
      .call(theirs) as unknown;
  assertEquals(
    [asked("status"), asked("ok"), asked("statusText"), asked("bodyUsed")],
    [201, true, "", false],
  );
  assertEquals((asked("headers") as Headers).get("x-a"), "b");
  assertStrictEquals(asked("body"), theirs.body);
  const { clone, text } = LightResponse.prototype;
  assertEquals(await text.call(clone.call(theirs)), "a");
  assertEquals(await text.call(theirs), "a");
  assertEquals(asked("bodyUsed"), true);
  assertEquals(await text.call(new LightResponse("b")), "b");
});

test("LightResponse takes two arguments", async () => {
  const given: unknown[] = ["a", { status: 201 }, [["x-a", "b"]]];
  const response = Reflect.construct(LightResponse, given) as Response;
  assertEquals([response.status, await response.text()], [201, "a"]);
});

test("LightResponse.error() and redirect() are those of Response", async () => {
  assertEquals(LightResponse.error().type, "error");
  const sent = await send(LightResponse.redirect("http://a.example/b", 307));
  assertEquals([sent.status, sent.field("location")], [
    307,
    "http://a.example/b",
  ]);
});

test("fields of a light response can be changed until it is sent", async () => {
  const response = new LightResponse("a", { headers: { "x-a": "b" } });
  const { headers } = response;
  headers.set("x-a", "c");
  headers.append("set-cookie", "a=1");
  headers.append("set-cookie", "b=2");
  assertStrictEquals(response.headers, headers);
  const copy = response.clone();
  headers.delete(type);
  assertEquals(copy.headers.get(type), textType);
  assertEquals(copy.headers.getSetCookie(), ["a=1", "b=2"]);
  const sent = await send(response);
  assertEquals(sent.fields.map(String).sort(), [
    "set-cookie,a=1",
    "set-cookie,b=2",
    "x-a,c",
  ]);
});

test("fields that were changed go along when the rest is real", async () => {
  const response = new LightResponse("a", { headers: { "x-a": "b" } });
  const { headers } = response;
  const { body } = response;
  assert(body !== null);
  headers.set("x-a", "c");
  assertEquals(response.headers.get("x-a"), "c");
  const copy = response.clone();
  assertEquals([copy.headers.get("x-a"), await copy.text()], ["c", "a"]);
  const sent = await send(response);
  assertEquals([sent.field("x-a"), sent.content], ["c", "a"]);
});

test("what is given as init keeps its own", async () => {
  const headers = { "x-a": "b" };
  const octets = bytes("abc") as Uint8Array<ArrayBuffer>;
  const response = new LightResponse(octets, { headers });
  headers["x-a"] = "c";
  octets[0] = 0;
  const sent = await send(response);
  assertEquals([sent.field("x-a"), sent.content], ["b", "abc"]);
  const one = LightResponse.json(1);
  one.headers.set("x-a", "b");
  assertEquals(LightResponse.json(1).headers.get("x-a"), null);
});

test("a light response becomes another by new Response()", async () => {
  const light = new LightResponse("abc", {
    status: 201,
    headers: { "x-a": "b" },
  });
  const real = new Response(light.body, light);
  assertEquals([real.status, real.headers.get("x-a")], [201, "b"]);
  assertEquals(real.headers.get(type), textType);
  assertEquals(await real.text(), "abc");
  const again = new LightResponse("d", light);
  assertEquals([again.status, await again.text()], [201, "d"]);
});

test("the body of a light response as a stream", async () => {
  const response = new LightResponse("abc");
  const reader = response.body!.getReader();
  assertEquals((await reader.read()).value?.length, 3);
  assertEquals((await reader.read()).done, true);
  reader.releaseLock();
  assert(response.bodyUsed);
  await assertRejects(() => response.text(), TypeError);
  assertThrows(() => response.clone(), TypeError);
});

test("a light response of a stream streams", async () => {
  const stream = new Response("abc").body;
  const sent = await send(new LightResponse(stream, { status: 202 }));
  assertEquals([sent.status, sent.content], [202, "abc"]);
});

test("a light response is sent once, unless it has no body", async () => {
  const response = LightResponse.json(1);
  await send(response);
  assert(response.bodyUsed);
  const again = new FakeExchange();
  await assertRejects(
    async () => await sendResponse(again, response),
    ApplicationError,
  );
  const empty = new LightResponse(null, { status: 204 });
  await send(empty);
  assertEquals((await send(empty)).status, 204);
});

test("what was read is not sent", async () => {
  const read = new LightResponse("a");
  await read.text();
  await assertRejects(
    async () => await sendResponse(new FakeExchange(), read),
    ApplicationError,
  );
});

test("on Bun, what is read elsewhere is not sent", async () => {
  if (!onBun) return; // others keep a static body beside its stream
  const response = new LightResponse("a");
  const reader = response.body!.getReader();
  await assertRejects(
    async () => await sendResponse(new FakeExchange(), response),
    ApplicationError,
  );
  await reader.cancel();
});

test("text of every length and kind is sent as UTF-8", async () => {
  for (const size of [1, 47, 48, 49, 16_383, 16_384, 16_385, 70_000]) {
    for (const end of ["a", "\u00e9", "\u20ac", "\u{1f600}", "\ud800"]) {
      const written = "x".repeat(size) + end;
      const sent = await send(new LightResponse(written));
      const expected = bytes(written);
      assertEquals(sent.size, expected.length);
      assertEquals(sent.content, text(expected));
    }
  }
});

test("text that its peer takes late stays as it is meanwhile", async () => {
  const exchange = new FakeExchange();
  const lent: Uint8Array[] = [];
  exchange.response.write = (content) => {
    lent.push(content);
    return new Promise((resolve) => setTimeout(resolve));
  };
  exchange.response.end = () => undefined;
  const pending = sendResponse(exchange, new LightResponse("abc"));
  await send(new LightResponse("xyz"));
  assertEquals(lent.map(text), ["abc"]);
  await pending;
});

test("HEAD has the length of what is light", async () => {
  const sent = await send(new LightResponse("abc"), { method: "HEAD" });
  assertEquals([sent.size, sent.content], [3, ""]);
});

test("a subclass of LightResponse", async () => {
  class Page extends LightResponse {
    constructor(text: string) {
      super(`<p>${text}`, { headers: { [type]: "text/html" } });
    }
  }
  const sent = await send(new Page("a"));
  assertEquals([sent.field(type), sent.content], ["text/html", "<p>a"]);
});

test("what says something else in the place of a light response is sent", async () => {
  class Teapot extends LightResponse {
    override get status(): number {
      return 418;
    }
  }
  const teapot = await send(new Teapot("a"));
  assertEquals([teapot.status, teapot.content], [418, "a"]);
  const own = new LightResponse("a");
  Object.defineProperty(own, "statusText", { value: "Fine" });
  const sent = await send(own);
  assertEquals([sent.reason, sent.content], ["Fine", "a"]);
  // Whatever else it has does not make it dear.
  const decorated = Object.assign(new LightResponse("a"), { note: 1 });
  assert(takeParts(decorated) !== undefined);
});

test("takeParts() of what is no light response", () => {
  for (const value of [undefined, null, "a", 1, {}, new Response("a")]) {
    assertEquals(takeParts(value), undefined);
  }
});

test("LightResponse under mount() and toFetch()", async () => {
  const app = () => LightResponse.json({ a: 1 }, { headers: { "x-a": "b" } });
  const mounted = mount({ "/in": { fetch: app } });
  const exchange = new FakeExchange({ target: "/in/b" });
  await mounted(exchange);
  assertEquals(exchange.response.content, '{"a":1}');

  const carried = toFetch(fetchHandler(app));
  const response = await carried(new Request("http://localhost/"));
  assertEquals([response.status, response.headers.get("x-a")], [200, "b"]);
  assertEquals(await response.json(), { a: 1 });
});

test("LightResponse in the place of the global Response", async () => {
  const runtimes = Response;
  globalThis.Response = LightResponse as typeof Response;
  try {
    const light = new Response("abc", { status: 201 });
    assertInstanceOf(light, Response);
    assertInstanceOf(light, runtimes);
    assertEquals((await send(light)).content, "abc");

    const fetched = await fetch("data:text/plain,def");
    assertInstanceOf(fetched, Response);
    const copy = new Response(fetched.body, fetched);
    assertEquals((await send(copy)).content, "def");

    const cloned = new Response("ghi").clone();
    assertInstanceOf(cloned, Response);
    assertEquals(await cloned.text(), "ghi");

    assertInstanceOf(Response.error(), Response);
    assertInstanceOf(Response.redirect("http://localhost/"), Response);
    assertEquals(typeof Response.prototype.json, "function");
    assertEquals({} instanceof Response, false);
  } finally {
    globalThis.Response = runtimes;
  }
});

test("a response of another class is no instance of a subclass", () => {
  class Page extends LightResponse {}
  class Sheet extends Page {}
  assertInstanceOf(new Sheet(), Page);
  assertEquals(new Page() instanceof Sheet, false);
  assertEquals(new Response() instanceof Page, false);
  assertEquals(new LightResponse() instanceof Page, false);
});
