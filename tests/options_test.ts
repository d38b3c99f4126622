import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { keyName, optionTable, variableName } from "../src/options.ts";

test("no two options share a name or a letter", () => {
  for (const key of ["name", "short"] as const) {
    const names = optionTable.flatMap((option) => option[key] ?? []);
    assertEquals(names.length, new Set(names).size);
  }
});

test("keyName() spells an option as one word", () => {
  assertEquals(keyName("bind"), "bind");
  assertEquals(keyName("limit-request-field-size"), "limitRequestFieldSize");
});

test("variableName() spells an option as a variable", () => {
  assertEquals(variableName("bind"), "HEADGATE_BIND");
  assertEquals(variableName("log-level"), "HEADGATE_LOG_LEVEL");
});
