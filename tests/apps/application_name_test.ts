import { test } from "node:test";
import { assertEquals, assertRejects } from "@std/assert";
import {
  type ApplicationName,
  readApplicationName,
} from "../../src/apps/application_name.ts";
import { CommandError } from "../../src/command_error.ts";
import type { PathStatus } from "../../src/host.ts";

/** Reads a name where these files are. */
function read(
  text: string,
  ...files: readonly string[]
): Promise<ApplicationName> {
  const status = (path: string): PathStatus | undefined =>
    files.includes(path) ? { kind: "file", identity: path } : undefined;
  return readApplicationName(text, { status }, ["lib"]);
}

test("a module is told by its extension, and its file from the name", async () => {
  const cases: [string, string, string | undefined][] = [
    ["app.ts:app", "app.ts", "app"],
    ["app.ts", "app.ts", undefined],
    ["./a/b.mjs:make_app", "./a/b.mjs", "make_app"],
    ["a:b.ts:app", "a:b.ts", "app"],
    ["C:\\site\\app.ts", "C:\\site\\app.ts", undefined],
    ["C:\\site\\app.ts:app", "C:\\site\\app.ts", "app"],
    ["app.ts:default", "app.ts", "default"],
    ["fastcgi://app.ts", "fastcgi://app.ts", undefined],
  ];
  for (const [text, path, name] of cases) {
    assertEquals(await read(text, "app.py", "app.ts.py"), {
      kind: "module",
      module: { path, name },
    });
  }
});

test("what is Python's is told by its file, or by its shape", async () => {
  const cases: [string, string[], string, string?, string?][] = [
    ["shop:app", ["shop.py"], "shop", "app"],
    ["shop:app", [], "shop", "app"],
    ["shop", ["lib/shop.py"], "shop"],
    ["site/shop.py:app", ["site/shop.py"], "shop", "app", "site"],
    ["a.wsgi:make()", [], "a.wsgi", "make()"],
  ];
  for (const [text, files, module, callable, directory] of cases) {
    assertEquals(await read(text, ...files), {
      kind: "python",
      python: { module, callable, directory },
    });
  }
});

test("servers are told by their protocol", async () => {
  assertEquals(await read("fastcgi://127.0.0.1:9000", "fastcgi.py"), {
    kind: "server",
    server: {
      protocol: "fastcgi",
      connect: { hostname: "127.0.0.1", port: 9000 },
    },
  });
});

test("a name that stands for nothing is refused with a way out", async () => {
  const cases: [string, string, string[]][] = [
    ["", "name is empty", []],
    ["app.ts:", "No name after the colon", []],
    ["app", "neither a JavaScript or TypeScript file nor a Python module", []],
    ["app.rb:app()x", "neither a JavaScript", []],
    ["server:app", "lacks the file's extension", ["server.ts"]],
    ["fastcgi:9000", "is not the address of a server", []],
  ];
  for (const [text, reason, files] of cases) {
    const error = await assertRejects(
      () => read(text, ...files),
      CommandError,
      reason,
    );
    assertEquals(error.exitCode, 2, text);
  }
});
