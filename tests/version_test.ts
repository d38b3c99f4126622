import { assertEquals } from "@std/assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { version } from "../src/version.ts";

test("the version is the same wherever it is written", () => {
  for (const file of ["deno.json", "package.json"]) {
    assertEquals(JSON.parse(readFileSync(file, "utf8")).version, version, file);
  }
});
