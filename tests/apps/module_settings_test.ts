/** What a module says of how it is to be served. */
import { test } from "node:test";
import {
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import type { FetchHandler } from "../../src/apps/fetch.ts";
import {
  type ModuleSettings,
  readModuleSettings,
  recovering,
} from "../../src/apps/module_settings.ts";
import { CommandError } from "../../src/command_error.ts";
import { HttpError, StreamError } from "../../src/errors.ts";

const fetch = () => new Response();

function read(holder: object): ModuleSettings | undefined {
  return readModuleSettings(holder, "the default export of app.ts");
}

test("readModuleSettings() reads what Bun and Deno read", () => {
  const holder = {
    fetch,
    port: 3000,
    hostname: "::",
    maxRequestBodySize: 1e6,
    idleTimeout: 20,
    told: [] as unknown[],
    onListen(address: unknown) {
      this.told.push(address);
      return "told";
    },
    error(error: unknown) {
      return [this, error];
    },
  };
  const { onListen, error, ...rest } = read(holder)!;
  assertEquals(rest, {
    port: 3000,
    hostname: "::",
    contentBytes: 1e6,
    idleSeconds: 20,
    unread: [],
  });
  const address = { transport: "tcp", hostname: "::1", port: 1 } as const;
  assertEquals(onListen!(address), "told");
  assertEquals(holder.told, [address]);
  assertEquals(error!("e"), [holder, "e"]);
});

test("readModuleSettings() leaves what is not said to others", () => {
  const nothing = {
    port: undefined,
    hostname: undefined,
    contentBytes: undefined,
    idleSeconds: undefined,
    onListen: undefined,
    error: undefined,
    unread: [],
  };
  assertEquals(read({ fetch }), nothing);
  assertEquals(read({ fetch, port: undefined, error: undefined }), nothing);
  assertEquals(read(Object.assign(Object.create(null), { fetch })), nothing);
  // What is inherited is not said, by nobody.
  const polluted = Object.prototype as { port?: number };
  polluted.port = 9;
  try {
    assertEquals(read({ fetch }), nothing);
  } finally {
    delete polluted.port;
  }
});

test("readModuleSettings() takes numbers as they come, and accessors", () => {
  assertEquals(read({ fetch, port: "8080" })?.port, 8080);
  assertEquals(read({ fetch, port: 0 })?.port, 0);
  assertEquals(read({ fetch, idleTimeout: 0 })?.idleSeconds, Infinity);
  assertEquals(
    read({ fetch, maxRequestBodySize: Infinity })?.contentBytes,
    Infinity,
  );
  const computed = {
    fetch,
    base: 3000,
    get port() {
      return this.base + 1;
    },
  };
  assertEquals(read(computed)?.port, 3001);
});

test("readModuleSettings() asks object literals alone", () => {
  class Router {
    port = "mine";
    fetch = fetch;
  }
  assertEquals(read(new Router()), undefined);
  const wary = new Proxy(new Router(), {
    get(_target, name) {
      throw new Error(`read ${String(name)}`);
    },
    has(_target, name) {
      throw new Error(`probed ${String(name)}`);
    },
    getOwnPropertyDescriptor(_target, name) {
      throw new Error(`described ${String(name)}`);
    },
  });
  assertEquals(read(wary), undefined);
  // A router that makes a route of every name it is asked for.
  const asked: (string | symbol)[] = [];
  const eager = new Proxy({ fetch }, {
    get(_target, name) {
      asked.push(name);
      return () => {};
    },
  });
  assertEquals(read(eager)?.port, undefined);
  assertEquals(asked, []);
});

test("readModuleSettings() names what other platforms would read", () => {
  const helper = () => {};
  assertEquals(
    read({ fetch, helper, websocket: {}, tls: undefined })?.unread,
    ["tls", "websocket"],
  );
});

test("readModuleSettings() refuses what makes no sense", () => {
  const wrong: [object, string][] = [
    [{ port: -1 }, "port of the default export of app.ts is -1"],
    [{ port: 65_536 }, "65536, not a number from 0 to 65535"],
    [{ port: 1.5 }, "1.5"],
    [{ port: NaN }, "NaN"],
    [{ port: "http" }, '"http"'],
    [{ port: "" }, '""'],
    [{ port: null }, "object"],
    [{ hostname: "" }, '""'],
    [{ hostname: "a b" }, "not a host name or an IP address"],
    [{ hostname: "a:80" }, '"a:80"'],
    [{ hostname: 7 }, "7"],
    [{ maxRequestBodySize: -1 }, "not a number of bytes"],
    [{ maxRequestBodySize: "1M" }, '"1M"'],
    [{ idleTimeout: NaN }, "not a number of seconds"],
    [{ onListen: true }, "true, not a function"],
    [{ error: {} }, "object, not a function"],
    [{ port: Symbol("s") }, "Symbol(s)"],
  ];
  for (const [said, message] of wrong) {
    const error = assertThrows(() => read({ fetch, ...said }), CommandError);
    assertStringIncludes(error.message, message);
    assertEquals(error.exitCode, 1);
  }
});

const info = undefined as never;

test("recovering() has error() make the response", async () => {
  const failing: FetchHandler[] = [
    () => {
      throw new RangeError("mine");
    },
    () => Promise.reject(new RangeError("mine")),
  ];
  for (const handle of failing) {
    const recovered = recovering(
      handle,
      (error) => new Response(`told ${(error as Error).message}`),
    );
    const response = await recovered(new Request("http://a/"), info, info);
    assertEquals(await response.text(), "told mine");
    const again = recovering(handle, () => Promise.reject(new Error("worse")));
    await assertRejects(
      async () => await again(new Request("http://a/"), info, info),
      Error,
      "worse",
    );
  }
  const whole = new Response("whole");
  const untouched = recovering(() => whole, () => new Response("told"));
  assertStrictEquals(
    untouched(new Request("http://a/"), info, info) as unknown,
    whole,
  );
});

test("recovering() leaves to the gateway what comes of the peer", async () => {
  const gone = AbortSignal.abort(new Error("gone"));
  const cases: [unknown, RequestInit][] = [
    [new HttpError(413, "Content too large"), {}],
    [new StreamError("The peer has left"), {}],
    [new Error("any"), { signal: gone }],
  ];
  for (const [thrown, init] of cases) {
    const handle = recovering(
      () => Promise.reject(thrown),
      () => new Response("told"),
    );
    const error = await assertRejects(
      async () => await handle(new Request("http://a/", init), info, info),
    );
    assertStrictEquals(error, thrown);
  }
});
