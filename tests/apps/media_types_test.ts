/** The media type of a file, by its name. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { mediaTypeOf } from "../../src/apps/media_types.ts";

const cases: [string, string, boolean][] = [
  ["index.html", "text/html; charset=utf-8", true],
  ["a/b.min.JS", "text/javascript; charset=utf-8", true],
  ["a.mjs", "text/javascript; charset=utf-8", true],
  ["a.css", "text/css; charset=utf-8", true],
  ["a.json", "application/json", true],
  ["a.svg", "image/svg+xml", true],
  ["a.wasm", "application/wasm", true],
  ["a.png", "image/png", false],
  ["a.woff2", "font/woff2", false],
  ["a.tar.gz", "application/gzip", false],
  ["README", "application/octet-stream", false],
  ["a.unheardof", "application/octet-stream", false],
  ["a.constructor", "application/octet-stream", false],
  ["a.", "application/octet-stream", false],
];

for (const [name, contentType, compressible] of cases) {
  test(`mediaTypeOf(): ${name}`, () => {
    assertEquals(mediaTypeOf(name), { contentType, compressible });
  });
}
