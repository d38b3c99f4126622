/** The public door, while it is the program as well. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { assertEquals } from "@std/assert";
import { defineConfig, type HeadgateConfig } from "../mod.ts";

const onNode = process.versions["deno"] === undefined &&
  process.versions["bun"] === undefined;
const door = pathToFileURL(resolve("mod.ts")).href;

test("defineConfig() gives the configuration back as it is", () => {
  const config: HeadgateConfig = { workers: "auto" };
  assertEquals(defineConfig(config), config);
});

// What waits for a module that waits for it waits for ever.
test("mod.ts as the program can be imported by what it loads", async () => {
  if (onNode) return; // there the program is another file
  const directory = await mkdtemp(join(tmpdir(), "headgate-mod-"));
  try {
    const write = (file: string, text: string) =>
      writeFile(
        join(directory, file),
        `import * as headgate from "${door}";
${text}
`,
      );
    await write(
      "headgate.config.mjs",
      'export default headgate.defineConfig({ app: "app.mjs", type: "wsgi" });',
    );
    await write("app.mjs", "export default headgate.lint(() => []);");
    const run = process.versions["deno"] === undefined ? [] : ["run", "-A"];
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [...run, resolve("mod.ts"), "--check-config"],
      { cwd: directory, timeout: 20_000 },
    );
    assertEquals(stdout, "Configuration is right\n");
  } finally {
    await rm(directory, { recursive: true });
  }
});
