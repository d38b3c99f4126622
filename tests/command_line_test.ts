import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { test } from "node:test";
import { CommandError } from "../src/command_error.ts";
import { readCommandLine } from "../src/command_line.ts";

/** Whatever was given, by the options' names. */
function flagsOf(...args: string[]): Record<string, unknown> {
  const { flags } = readCommandLine(args);
  return Object.fromEntries(
    Object.entries(flags).filter(([, values]) => values.length > 0),
  );
}

test("readCommandLine() takes values behind a space or an equals sign", () => {
  assertEquals(flagsOf("--bind", ":1", "-b", ":2", "--bind=:3"), {
    bind: [":1", ":2", ":3"],
  });
  assertEquals(flagsOf("-w", "2", "--log-level=debug"), {
    workers: ["2"],
    "log-level": ["debug"],
  });
});

test("readCommandLine() takes values that begin with a dash", () => {
  assertEquals(flagsOf("--log-file", "-"), { "log-file": ["-"] });
  assertEquals(flagsOf("--workers", "-1"), { workers: ["-1"] });
  assertEquals(flagsOf("--bind", "--workers", "2"), {
    bind: [""],
    workers: ["2"],
  });
});

test("readCommandLine() finds words among options, and behind --", () => {
  assertEquals(readCommandLine(["-w", "2", "app.ts"]).app, "app.ts");
  assertEquals(readCommandLine(["--", "--app.ts"]).app, "--app.ts");
  const { task, more } = readCommandLine(["scale", "-1"]);
  assertEquals([task, more], ["scale", -1]);
});

test("readCommandLine() tells which options without a value were written", () => {
  assertEquals(readCommandLine(["status", "--json"]).switches, ["json"]);
  const { help, version } = readCommandLine(["-v"]);
  assertEquals([help, version], [false, true]);
  // What stands beside it need not go together.
  assertEquals(readCommandLine(["stop", "app.ts", "-h"]).help, true);
});

test("readCommandLine() says which option was probably meant", () => {
  const remedyOf = (arg: string) =>
    assertThrows(() => readCommandLine([arg]), CommandError).remedy;
  assertStringIncludes(remedyOf("--wrokers=2"), "Did you mean --workers?");
  assertStringIncludes(remedyOf("--qqqqqqqq"), "headgate --help");
  assertStringIncludes(remedyOf("-z"), "headgate --help");
});
