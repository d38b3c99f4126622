/** What the command line serves, by its kind, asked over real sockets. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { startProgram } from "./support/program.ts";

/** Writes a module, and has it used. */
async function withModule(
  text: string,
  use: (file: string) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "headgate-application-"));
  try {
    const file = join(directory, "server.mjs");
    await writeFile(file, text);
    await use(file);
  } finally {
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

test("--type handler serves a function of an exchange", async () => {
  const text = `export function site({ head, response }) {
    response.start(200, "OK", [["Content-Type", "text/plain"]]);
    response.write(new TextEncoder().encode(head.method + " " + head.target));
    return response.end();
  }`;
  await withModule(text, async (file) => {
    await using program = await startProgram([
      `${file}:site`,
      "--type",
      "handler",
    ]);
    const response = await fetch(`${program.address}/a?b`);
    assertEquals(await response.text(), "GET /a?b");
    assertStringIncludes(program.output(), "site (handler)");
  });
});
