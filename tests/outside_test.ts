/** Applications outside of this process, through the public door. */
import { test } from "node:test";
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  cgi,
  CommandError,
  detectTransport,
  fastcgi,
  type Handler,
  mount,
  python,
  scgi,
  serveHandler,
  silentLogger,
} from "../mod.ts";
import { startPhpFpm } from "./support/php_fpm.ts";
import { findPython, pythonEnvironment } from "./support/python.ts";

/** Serves, asks for each path, and shuts down. */
async function textsOf(
  handler: Handler,
  ...paths: readonly string[]
): Promise<string[]> {
  const server = await serveHandler(await detectTransport(), handler, {
    port: 0,
    log: silentLogger,
  });
  const { port } = server.addresses[0]!;
  try {
    return await Promise.all(paths.map(async (path) => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`);
      return `${response.status} ${await response.text()}`;
    }));
  } finally {
    await server.shutdown(0);
  }
}

test("applications of several kinds side by side", async () => {
  const interpreter = findPython();
  if (interpreter === undefined) return;
  await using php = await startPhpFpm(1);
  if (php === undefined) return;
  const shop = await python("tests/pythonapps/wsgiapp.py:app", {
    python: interpreter,
    env: pythonEnvironment(),
    scriptName: "/shop",
    log: silentLogger,
  });
  const blog = await fastcgi(`fastcgi+unix:${php.socket}`, {
    prefix: "/blog",
    root: "examples/php/public",
    log: silentLogger,
  });
  try {
    const site = mount({
      "/shop": { handler: shop.handler },
      "/blog": { handler: blog.handler },
      "/tools": {
        handler: cgi("examples/cgi-bin", {
          prefix: "/tools",
          log: silentLogger,
        }),
      },
    });
    const [inShop, inBlog, inTools, none] = await textsOf(
      site,
      "/shop/told",
      "/blog/any?name=Ann",
      "/tools/hello.sh/b",
      "/other",
    );
    assertMatch(inShop ?? "", /"SCRIPT_NAME": "\/shop", "PATH_INFO"/);
    assertEquals(inBlog, "200 Hello Ann from PHP at /blog/any?name=Ann\n");
    assertEquals(
      inTools,
      "200 Hello from a shell script at /tools/hello.sh/b\n",
    );
    assertMatch(none ?? "", /^404 /);
    assertEquals(shop.residentBytes() > 1_000_000, true);
  } finally {
    await shop.close(5);
    await blog.close();
  }
  assertEquals(shop.residentBytes(), 0);
});

test("a name or an address of another kind is refused", async () => {
  const refusals: [() => Promise<unknown>, string][] = [
    [() => python("app.ts:app"), "app.ts:app is not a Python application"],
    [() => python("fastcgi://a:1"), "fastcgi://a:1 is not a Python"],
    [() => fastcgi("scgi://a:1"), "not the address of a server that speaks"],
    [() => fastcgi("a.sock"), "not the address of a server that speaks"],
    [() => scgi("scgi://a"), "scgi://a is not the address of a server"],
  ];
  for (const [refused, message] of refusals) {
    await assertRejects(refused, CommandError, message);
  }
});
