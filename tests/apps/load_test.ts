import {
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import {
  loadApplication,
  type RequestedType,
  selectApplication,
} from "../../src/apps/load.ts";
import type { ModuleName } from "../../src/apps/application_name.ts";
import { CommandError } from "../../src/command_error.ts";
import type { Host, ImportOutcome, PathStatus } from "../../src/host.ts";
import type { Address } from "../../src/stream.ts";
import type { Application } from "../../src/wsgi.ts";

const app: Application = (_environ, startResponse) => {
  startResponse("200 OK", []);
  return [];
};

/** A module's name, as a person writes it. */
const named = (path: string, name?: string): ModuleName => ({ path, name });

function select(
  name: string | undefined,
  exports: Record<string, unknown>,
  type: RequestedType = "auto",
) {
  return selectApplication({ path: "app.ts", name }, type, exports);
}

test("a named function with two parameters is a WSGI application", () => {
  const loaded = select("app", { app });
  assertEquals(loaded.kind, "wsgi");
  assertStrictEquals(loaded.application, app);
});

test("the default export needs --type wsgi", () => {
  assertStrictEquals(
    select(undefined, { default: app }, "wsgi").application,
    app,
  );
  const error = assertThrows(
    () => select(undefined, { default: app, other: app }),
    CommandError,
    "Cannot tell",
  );
  assertEquals(error.exitCode, 1);
  assertStringIncludes(error.remedy, "--type wsgi");
  assertStringIncludes(error.remedy, "app.ts:other");
  assertStringIncludes(error.remedy, "--type fetch");
});

/** Answers with the name of what it was taken from, as a method would know. */
function fetcher(name: string): { name: string; fetch: () => Response } {
  return {
    name,
    fetch() {
      return new Response(this.name);
    },
  };
}

/** What a loaded fetch handler answers. */
async function answerOf(
  name: string | undefined,
  exports: Record<string, unknown>,
  type: "auto" | "fetch" = "auto",
): Promise<string> {
  const loaded = select(name, exports, type);
  if (loaded.kind !== "fetch") throw new Error(`It is ${loaded.kind}`);
  const info = undefined as never;
  const request = new Request("http://localhost/");
  return await (await loaded.application(request, info, info)).text();
}

test("what has a fetch is served by it, called as a method", async () => {
  const given = fetcher("default");
  assertEquals(await answerOf(undefined, { default: given }), "default");
  assertEquals(await answerOf("app", { app: fetcher("app") }), "app");
  const within = { default: { default: fetcher("CommonJS") } };
  assertEquals(await answerOf(undefined, within), "CommonJS");
  const both = { fetch: () => new Response("module"), default: given };
  assertEquals(await answerOf(undefined, both), "module");
  assertEquals(
    await answerOf(undefined, { default: given }, "fetch"),
    "default",
  );
});

test("--type fetch takes a function", async () => {
  const handler = () => new Response("function");
  assertEquals(
    await answerOf(undefined, { default: handler }, "fetch"),
    "function",
  );
  assertEquals(await answerOf("h", { h: handler }, "fetch"), "function");
  const error = assertThrows(() => select("h", { h: handler }), CommandError);
  assertStringIncludes(error.remedy, "--type fetch");
});

test("--type handler takes a function of an exchange", () => {
  const handler = () => {};
  const site = Object.assign(handler, { fetch: () => new Response() });
  for (
    const [name, exports] of [["a", { a: site }], [undefined, {
      default: site,
      fetch: () => {},
    }]] as const
  ) {
    const loaded = select(name, exports, "handler");
    assertEquals(loaded.kind, "handler");
    assertStrictEquals(loaded.application, site);
  }
  assertThrows(
    () => select("app", { app: fetcher("app") }, "handler"),
    CommandError,
    "app.ts:app is an object",
  );
  const undecided = [
    () => select("h", { h: (_exchange: unknown) => {} }),
    () => select(undefined, { default: handler }),
  ];
  for (const choose of undecided) {
    const error = assertThrows(choose, CommandError);
    assertStringIncludes(error.remedy, "--type handler");
  }
});

test("--type wsgi overlooks a fetch", () => {
  const callable = Object.assign(app, { fetch: () => new Response() });
  assertStrictEquals(select("app", { app: callable }, "wsgi").kind, "wsgi");
  assertThrows(
    () => select("app", { app: fetcher("app") }, "wsgi"),
    CommandError,
    "app.ts:app is an object",
  );
});

test("--type wsgi takes a function of any number of parameters", () => {
  const variadic = (...args: Parameters<Application>) => app(...args);
  const error = assertThrows(() => select("app", { app: variadic }));
  assertStringIncludes((error as CommandError).message, "takes 0 parameters");
  assertStrictEquals(
    select("app", { app: variadic }, "wsgi").application,
    variadic,
  );
});

test("an export that is missing is answered with those that exist", () => {
  const error = assertThrows(
    () => select("ap", { app, limit: 3 }),
    CommandError,
    'app.ts has no export "ap"; it exports app, limit',
  );
  assertEquals(error.remedy, "Try app.ts:app.");
  assertThrows(() => select("app", {}), CommandError, "it exports nothing");
  assertThrows(
    () => select(undefined, { app }),
    CommandError,
    "no default export",
  );
  assertThrows(() => select("toString", { app }), CommandError, "no export");
});

test("what is not a function is refused by its kind", () => {
  const cases: [unknown, string][] = [
    [{}, "an object"],
    [[], "an array"],
    [null, "null"],
    ["x", "a string"],
    [undefined, "undefined"],
  ];
  for (const [value, kind] of cases) {
    assertThrows(
      () => select("app", { app: value }),
      CommandError,
      `app.ts:app is ${kind}, not an application`,
    );
  }
});

test("a class is refused: nobody will call it with new", () => {
  class App {
    readonly #start: unknown;
    constructor(_environ: object, start: unknown) {
      this.#start = start;
    }
  }
  for (const type of ["auto", "wsgi"] as const) {
    const error = assertThrows(
      () => select("App", { App }, type),
      CommandError,
      "app.ts:App is a class",
    );
    assertStringIncludes(error.remedy, "=> new App(...)");
  }
});

test("no property of an application but fetch is read to guess its kind", () => {
  const trap = new Proxy({}, {
    get(_target, key) {
      if (key === "fetch") return undefined;
      throw new Error(`read ${String(key)}`);
    },
    has(_target, key) {
      throw new Error(`probed ${String(key)}`);
    },
  });
  assertThrows(() => select("app", { app: trap }), CommandError, "an object");
});

function fakeHost(
  outcome: ImportOutcome,
  kind?: PathStatus["kind"],
  listening: readonly Address[] = [],
): Host {
  return {
    cwd: () => "/site",
    status: () => kind && { kind, identity: "1" },
    importModule: () => Promise.resolve(outcome),
    watchListeners: () => () => Promise.resolve(listening),
  } as unknown as Host;
}

test("loadApplication() imports the file and selects the export", async () => {
  const host = fakeHost({ exports: { app } }, "file");
  const loaded = await loadApplication(named("app.ts", "app"), "auto", host);
  assertStrictEquals(loaded.application, app);
});

test("loadApplication() says where it looked for a missing file", async () => {
  const error = await assertRejects(
    () =>
      loadApplication(
        named("app.ts", "app"),
        "auto",
        fakeHost({ exports: {} }),
      ),
    CommandError,
    "No file app.ts in /site",
  );
  assertEquals(error.exitCode, 1);
  await assertRejects(
    () =>
      loadApplication(
        named("app.ts"),
        "auto",
        fakeHost({ exports: {} }, "directory"),
      ),
    CommandError,
    "app.ts is not a file",
  );
  await assertRejects(
    () =>
      loadApplication(
        named("app.ts"),
        "auto",
        fakeHost({ exports: {} }, "hidden"),
      ),
    CommandError,
    "No permission to look at app.ts",
  );
});

test("loadApplication() passes the runtime's account on", async () => {
  const reasons = {
    typescript: "Node 22.18 or later, Deno or Bun",
    syntax: "Correct the line",
    missing: "Install what is missing",
    threw: "Correct what threw",
  } as const;
  for (const [reason, remedy] of Object.entries(reasons)) {
    const failure = {
      reason: reason as keyof typeof reasons,
      account: "app.ts:3",
    };
    const error = await assertRejects(
      () =>
        loadApplication(named("app.ts"), "wsgi", fakeHost({ failure }, "file")),
      CommandError,
    );
    assertEquals(error.exitCode, 1);
    assertEquals(error.detail, "app.ts:3");
    assertStringIncludes(error.remedy, remedy);
  }
});

test("an object literal says more than its fetch", async () => {
  const given = {
    fetch() {
      throw new Error("mine");
    },
    error: () => new Response("told"),
    port: 3000,
    tls: {},
  };
  const loaded = select(undefined, { default: given });
  if (loaded.kind !== "fetch") throw new Error(loaded.kind);
  assertEquals(loaded.settings?.port, 3000);
  assertEquals(loaded.warnings, [
    "Nothing reads tls of the default export of app.ts",
  ]);
  const info = undefined as never;
  const request = new Request("http://localhost/");
  const response = await loaded.application(request, info, info);
  assertEquals(await response.text(), "told");
  const named = select("app", { app: given });
  assertEquals(named.warnings, ["Nothing reads tls of app.ts:app"]);
  const error = assertThrows(
    () => select(undefined, { default: { ...given, port: "x" } }),
    CommandError,
  );
  assertStringIncludes(error.message, "port of the default export of app.ts");
});

test("module.exports is one object, whatever of it is exported by name", () => {
  const given = { ...fetcher("CommonJS"), port: 3000 };
  for (const named of [{}, { fetch: given.fetch }, given]) {
    const loaded = select(undefined, { default: given, ...named });
    if (loaded.kind !== "fetch") throw new Error(loaded.kind);
    assertEquals(loaded.settings?.port, 3000);
  }
  const compiled = { ...given, __esModule: true };
  for (const other of [compiled, { ...fetcher("another"), port: 3000 }]) {
    const loaded = select(undefined, { ...given, default: other });
    if (loaded.kind !== "fetch") throw new Error(loaded.kind);
    assertEquals(loaded.settings, undefined);
  }
});

test("what else a module exports is not said of its fetch", () => {
  const { fetch } = fetcher("module");
  const loaded = select(undefined, { fetch, port: "no port", tls: {} });
  if (loaded.kind !== "fetch") throw new Error(loaded.kind);
  assertEquals([loaded.settings, loaded.warnings], [undefined, []]);
});

const address = { host: "0.0.0.0", port: 3000 };

test("loadApplication() explains a module that listens by itself", async () => {
  const exports = { default: () => {}, other: () => {} };
  for (const given of [{}, exports]) {
    const error = await assertRejects(
      () =>
        loadApplication(
          named("app.ts"),
          "auto",
          fakeHost({ exports: given }, "file", [address]),
        ),
      CommandError,
      "listens on http://0.0.0.0:3000 itself",
    );
    assertStringIncludes(error.remedy, "export default { fetch }");
  }
  const quiet = await assertRejects(
    () =>
      loadApplication(
        named("app.ts"),
        "auto",
        fakeHost({ exports: {} }, "file"),
      ),
    CommandError,
    "no default export",
  );
  assertEquals(quiet.exitCode, 1);
});

test("loadApplication() warns of listening beside an application", async () => {
  const host = fakeHost({ exports: { app } }, "file", [address]);
  const loaded = await loadApplication(named("app.ts", "app"), "auto", host);
  assertEquals(loaded.warnings.length, 1);
  assertStringIncludes(loaded.warnings[0]!, "http://0.0.0.0:3000 itself");
});

test("loadApplication() tells whose listening is, where a port is taken", async () => {
  const accounts = [
    "Error: listen EADDRINUSE: address already in use :::3000",
    "AddrInUse: Address already in use (os error 98)",
    "error: Failed to start server. Is port 3000 in use?",
  ];
  for (const account of accounts) {
    const failure = { reason: "threw", account } as const;
    const error = await assertRejects(
      () =>
        loadApplication(named("a.ts"), "auto", fakeHost({ failure }, "file")),
      CommandError,
    );
    assertStringIncludes(error.remedy, "Listening is done here");
    assertEquals(error.detail, account);
  }
});
