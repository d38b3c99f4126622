/** Completion scripts: made from the tables, taken by the shells themselves. */
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { CommandError } from "../src/command_error.ts";
import { completionScript, shells } from "../src/completions.ts";
import { commandNames } from "../src/commands.ts";
import { optionTable } from "../src/options.ts";
import { findTool } from "./support/tool.ts";

for (const shell of shells) {
  test(`completionScript() for ${shell} has every option and command`, () => {
    const script = completionScript(shell);
    for (const { name } of optionTable) {
      const flag = shell === "fish" ? `-l ${name}` : `--${name}`;
      assertStringIncludes(script, flag);
    }
    for (const name of commandNames) assertStringIncludes(script, name);
  });

  test(`completionScript() for ${shell} is read without complaint`, async () => {
    const path = await findTool(shell);
    if (path === undefined) return;
    const directory = mkdtempSync(join(tmpdir(), "headgate-"));
    try {
      const file = join(directory, "script");
      writeFileSync(file, completionScript(shell));
      const { status, stderr } = spawnSync(path, ["-n", file], {
        encoding: "utf8",
        timeout: 20_000,
      });
      assertEquals([status, stderr], [0, ""]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
}

/** What bash offers for the words of a command line, the last one unfinished. */
function offered(bash: string, words: readonly string[]): string[] {
  const script = `${completionScript("bash")}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _headgate
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = spawnSync(bash, ["-c", script, "-", ...words], {
    encoding: "utf8",
    timeout: 20_000,
  });
  return stdout.split("\n").filter(Boolean);
}

test("bash offers options, commands, files and directories", async () => {
  const bash = await findTool("bash");
  if (bash === undefined) return;
  const offers: [string[], string[]][] = [
    [["app.ts", "--work"], ["--workers"]],
    [["relo"], ["reload"]],
    [["--log-file", "package.j"], ["package.json"]],
    [["--chdir", "tests/supp"], ["tests/support"]],
    [["--workers", "pack"], []],
  ];
  for (const [words, expected] of offers) {
    assertEquals(offered(bash, ["headgate", ...words]), expected);
  }
});

test("fish offers options and commands with what they do", async () => {
  const fish = await findTool("fish");
  if (fish === undefined) return;
  const script = `${completionScript("fish")}
complete -C "headgate relo"
complete -C "headgate --worker"`;
  const { stdout } = spawnSync(fish, ["-c", script], {
    encoding: "utf8",
    timeout: 20_000,
  });
  assertStringIncludes(stdout, "reload\tRead configuration");
  assertStringIncludes(stdout, "--workers\tProcesses that serve");
});

test("completionScript() tells which shells there are", () => {
  const error = assertThrows(
    () => completionScript("bahs"),
    CommandError,
    'no completions for "bahs"',
  );
  assertStringIncludes(error.remedy, "completions bash");
  assertThrows(() => completionScript(undefined), CommandError, "needs");
});
