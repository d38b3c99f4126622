import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import { commandNames, commandTable } from "../src/commands.ts";
import { helpPage } from "../src/help_page.ts";
import { optionGroups, optionTable } from "../src/options.ts";

test("the help page fits 80 columns, examples first", () => {
  const page = helpPage();
  for (const line of page.split("\n")) {
    assert(line.length <= 80, `${line.length}: ${line}`);
    assertEquals(line, line.trimEnd());
  }
  assert(page.indexOf("Examples:") < page.indexOf("Application:"));
});

test("the help page shows every option and its default", () => {
  const page = helpPage();
  for (const { name, fallback } of optionTable) {
    assertStringIncludes(page, `--${name}`);
    if (fallback !== undefined) assertStringIncludes(page, `[${fallback}]`);
  }
});

test("the help page shows every command and every group", () => {
  const page = helpPage();
  assertEquals(commandTable.map(({ name }) => name), [...commandNames]);
  for (const name of commandNames) assertStringIncludes(page, `\n  ${name} `);
  for (const group of optionGroups) assertStringIncludes(page, `\n${group}:\n`);
});
