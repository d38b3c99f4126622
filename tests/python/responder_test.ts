/** Asserts that the text in src/python/responder.ts is the Python file. */
import { readFileSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { responder } from "../../src/python/responder.ts";

test("responder is what node scripts/responder.mjs makes of the Python file", () => {
  const path = `${process.cwd()}/python/headgate_wsgi.py`;
  assertEquals(responder, readFileSync(path, "utf8"));
});
