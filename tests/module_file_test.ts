import { assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { CommandError } from "../src/command_error.ts";
import { checkModuleFile, type ModuleFileTerms } from "../src/module_file.ts";

const terms: ModuleFileTerms = {
  absent: ["No file a.ts", "Check the spelling."],
  inside: "module",
};

test("checkModuleFile() is content with a file", () => {
  checkModuleFile("a.ts", "file", terms);
});

const refusals: [kind: string | undefined, what: string, how: string][] = [
  [undefined, "No file a.ts", "Check the spelling."],
  [
    "hidden",
    "No permission to look at a.ts",
    "Have its directories made readable, or start as another user.",
  ],
  ["directory", "a.ts is not a file", "Name the module inside it."],
  ["socket", "a.ts is not a file", "Name the module inside it."],
];

for (const [kind, what, how] of refusals) {
  test(`checkModuleFile() refuses what is ${kind}`, () => {
    const error = assertThrows(
      () => checkModuleFile("a.ts", kind, terms),
      CommandError,
    );
    assertEquals([error.exitCode, error.message, error.remedy], [1, what, how]);
  });
}
