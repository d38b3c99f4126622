/** The examples in other languages, through the program itself. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { startPhpFpm } from "../support/php_fpm.ts";
import { type Program, startProgram } from "../support/program.ts";
import { findPython } from "../support/python.ts";
import { findTool } from "../support/tool.ts";

const env = { PYTHONDONTWRITEBYTECODE: "1" };

/** Starts an example, asks it for a path, and ends it. */
async function answerOf(
  args: readonly string[],
  path: string,
): Promise<{ status: number; type: string | null; text: string }> {
  await using program = await startProgram(args, env);
  const response = await fetch(program.address + path);
  const text = await response.text();
  program.kill("SIGTERM");
  assertEquals((await program.exited).code, 0, program.output());
  const { status, headers } = response;
  return { status, type: headers.get("content-type"), text };
}

const applications: readonly [module: string, kind: string, needs: string[]][] =
  [
    ["wsgiapp", "a simple WSGI application", []],
    ["flaskapp", "Flask", ["flask"]],
    ["pyramidapp", "Pyramid", ["pyramid"]],
    ["djangoapp", "Django", ["django"]],
  ];

for (const [module, kind, needs] of applications) {
  test(`examples/python: ${module}`, async () => {
    const python = findPython(...needs);
    if (python === undefined) return;
    const directory = ["--chdir", "examples/python", "--python", python];
    const { status, type, text } = await answerOf(
      [`${module}:app`, ...directory],
      "/hello?a=1&b=%20",
    );
    assertEquals([status, text], [200, `Hello world from ${kind}!\n`]);
    assertMatch(type ?? "", /^text\/plain/);
  });
}

test("examples/python: a file is named by its path, without --chdir", async () => {
  const python = findPython();
  if (python === undefined) return;
  const { text } = await answerOf(
    ["examples/python/wsgiapp.py:app", "--python", python],
    "/",
  );
  assertEquals(text, "Hello world from a simple WSGI application!\n");
});

test("examples/php: scripts, the front controller, and files", async () => {
  await using fpm = await startPhpFpm(2);
  if (fpm === undefined) return;
  await using gateway = await startProgram([
    `fastcgi+unix:${fpm.socket}`,
    "--root",
    "examples/php/public",
  ]);
  const ask = (path: string, init?: RequestInit) =>
    fetch(gateway.address + path, init);
  const front = await ask("/any/where?name=Ann");
  assertEquals(
    await front.text(),
    "Hello Ann from PHP at /any/where?name=Ann\n",
  );
  const form = await ask("/", {
    method: "POST",
    body: new URLSearchParams({ name: "Bob" }),
  });
  assertEquals(await form.text(), "Hello Bob from PHP at /\n");
  const file = await ask("/style.css");
  assertMatch(file.headers.get("content-type") ?? "", /^text\/css/);
  assertStringIncludes(await file.text(), "sans-serif");
  const source = await ask("/index.php");
  assertEquals(await source.text(), "Hello world from PHP at /index.php\n");
});

test("examples/cgi-bin: programs beside an application", async () => {
  if (await findTool("python3") === undefined) return;
  await using program: Program = await startProgram([
    "--cgi-dir",
    "examples/cgi-bin",
  ]);
  const ask = (path: string, init?: RequestInit) =>
    fetch(program.address + path, init);
  const hello = await ask("/cgi-bin/hello.sh/a%20b?c");
  assertEquals(
    await hello.text(),
    "Hello from a shell script at /cgi-bin/hello.sh/a b\n",
  );
  const echo = await ask("/cgi-bin/echo.py", {
    method: "POST",
    body: "x".repeat(100_000),
  });
  assertEquals((await echo.text()).length, 100_000);
  const missing = await ask("/cgi-bin/none");
  assertEquals(missing.status, 404);
  await missing.body?.cancel();
  const welcome = await ask("/");
  assertStringIncludes(await welcome.text(), "Headgate");
});

test("a program sends its client on to a file that stands before it", async () => {
  const directory = mkdtempSync(join(tmpdir(), "headgate-redirect-"));
  try {
    const file = join(directory, "go");
    writeFileSync(file, "#!/bin/sh\nprintf 'Location: /style.css\\n\\n'\n");
    chmodSync(file, 0o755);
    const { status, text } = await answerOf([
      "--cgi-dir",
      `/c=${directory}`,
      "--static",
      "/=examples/php/public",
    ], "/c/go");
    assertEquals(status, 200);
    assertStringIncludes(text, "sans-serif");
  } finally {
    rmSync(directory, { recursive: true });
  }
});
