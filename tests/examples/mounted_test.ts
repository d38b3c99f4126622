/** The example with both kinds of application, on this runtime. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import mounted, { site } from "../../examples/mounted.ts";
import { detectTransport, fetchHandler, serveHandler } from "../../mod.ts";
import type { Handler } from "../../mod.ts";
import { LineLog } from "../support/line_log.ts";

/** Asks for each of what the example has. */
async function assertServes(
  ask: (path: string, init?: RequestInit) => Promise<Response>,
): Promise<void> {
  const greeting = await ask("/hello/there");
  assertEquals(await greeting.text(), "Hello from /hello, to /there\n");
  assertEquals(greeting.headers.get("content-length"), "29");
  const count = await ask("/api/count", { method: "POST", body: "some text" });
  assertEquals(await count.json(), { characters: 9 });
  const unknown = await ask("/api/other");
  assertEquals(unknown.status, 404);
  assertEquals(await unknown.json(), { error: "not found" });
  const nothing = await ask("/");
  assertEquals([nothing.status, await nothing.text()], [
    404,
    "404 Not Found\n",
  ]);
  const head = await ask("/hello", { method: "HEAD" });
  assertEquals(head.headers.get("content-length"), "23");
  await head.body?.cancel();
}

async function assertServed(handler: Handler): Promise<void> {
  const log = new LineLog();
  const server = await serveHandler(await detectTransport(), handler, {
    port: 0,
    log,
  });
  const { port } = server.addresses[0]!;
  try {
    await assertServes((path, init) =>
      fetch(`http://127.0.0.1:${port}${path}`, init)
    );
  } finally {
    await server.shutdown(0);
  }
  assertEquals(log.lines.filter((line) => line.startsWith("error")), []);
}

test("mounted serves both kinds, as a handler", async () => {
  await assertServed(site);
});

test("mounted serves both kinds, as a fetch handler within the gateway", async () => {
  await assertServed(fetchHandler(mounted.fetch));
});

test("mounted serves both kinds, called by itself", async () => {
  await assertServes((path, init) =>
    mounted.fetch(new Request(`http://a${path}`, init))
  );
});
