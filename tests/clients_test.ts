/** The program itself, asked by the clients that people use. */
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { startProgram } from "./support/program.ts";
import { runCommand } from "./support/run_command.ts";
import { findTool } from "./support/tool.ts";

const app = "tests/clients/app.mjs:app";

async function inTemporaryDirectory(
  use: (directory: string) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "headgate-clients-"));
  try {
    await use(directory);
  } finally {
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

test("curl: GET, HEAD, HTTP/1.0 and a kept connection", async () => {
  const curl = await findTool("curl");
  if (curl === undefined) return;
  await using program = await startProgram([app]);
  const { address } = program;

  const got = await runCommand(curl, [
    "-sS",
    "-i",
    `${address}/a%20b?x=1&y=%20`,
  ]);
  assertEquals(got.code, 0, got.stderr);
  assertStringIncludes(got.stdout, "HTTP/1.1 200 OK\r\n");
  assertStringIncludes(got.stdout, '"path":"/a b","query":"x=1&y=%20"');

  const head = await runCommand(curl, ["-sS", "-I", `${address}/bytes?1000`]);
  assertStringIncludes(head.stdout, "Content-Length: 1000\r\n");

  const old = await runCommand(curl, ["-sS", "-0", "-i", `${address}/old`]);
  assertStringIncludes(old.stdout, '"protocol":"HTTP/1.0"');

  const kept = await runCommand(curl, [
    "-sS",
    "-v",
    `${address}/1`,
    `${address}/2`,
  ]);
  assertStringIncludes(kept.stderr, "Re-using existing connection");
});

test("curl: content with a length, in chunks, and after 100 (Continue)", async () => {
  const curl = await findTool("curl");
  if (curl === undefined) return;
  await using program = await startProgram([app]);
  const { address } = program;
  await inTemporaryDirectory(async (directory) => {
    const file = join(directory, "content");
    await writeFile(file, new Uint8Array(3_000_000).fill(0x62));
    const upload = ["-sS", "-v", "--data-binary", `@${file}`];

    const sized = await runCommand(curl, [...upload, `${address}/sized`]);
    assertStringIncludes(sized.stdout, '"received":3000000');
    const chunked = await runCommand(curl, [
      ...upload,
      "-H",
      "Transfer-Encoding: chunked",
      `${address}/chunked`,
    ]);
    assertStringIncludes(chunked.stdout, '"received":3000000');
    const expecting = await runCommand(curl, [
      ...upload,
      "-H",
      "Expect: 100-continue",
      "--expect100-timeout",
      "20",
      `${address}/expecting`,
    ]);
    assertStringIncludes(expecting.stderr, "HTTP/1.1 100 Continue");
    assertStringIncludes(expecting.stdout, '"received":3000000');

    const target = join(directory, "answer");
    const large = await runCommand(curl, [
      "-sS",
      "-o",
      target,
      `${address}/bytes?50000001`,
    ]);
    assertEquals(large.code, 0, large.stderr);
    assertEquals((await stat(target)).size, 50_000_001);
    assertEquals((await readFile(target)).subarray(-3).toString(), "aaa");
  });
});

test("curl reads a refusal although its upload is cut short", async () => {
  const curl = await findTool("curl");
  if (curl === undefined) return;
  await using program = await startProgram([app, "--limit-request-body", "1K"]);
  await inTemporaryDirectory(async (directory) => {
    const file = join(directory, "content");
    await writeFile(file, new Uint8Array(5_000_000));
    const refused = await runCommand(curl, [
      "-sS",
      "-i",
      "--data-binary",
      `@${file}`,
      `${program.address}/`,
    ]);
    assertStringIncludes(refused.stdout, "HTTP/1.1 413 ");
  });
});

test("telnet on Windows: a request that comes one byte at a time", async () => {
  await using program = await startProgram([app]);
  const port = Number(new URL(program.address).port);
  const answer = await new Promise<string>((resolve, reject) => {
    let text = "";
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    socket.on("data", (piece) => text += piece.toString());
    socket.on("end", () => resolve(text));
    socket.on("error", reject);
    socket.on("connect", async () => {
      const request =
        "POST /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" +
        "Content-Length: 5\r\n\r\nhello";
      for (const key of request) {
        socket.write(key);
        await new Promise((next) => setTimeout(next, 1));
      }
    });
  });
  assertStringIncludes(answer, "HTTP/1.1 200 OK\r\n");
  assertStringIncludes(answer, '"received":5');
});

const chromiumFlags = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--virtual-time-budget=8000",
];

test("Chromium: the welcome page, and a page that asks many things", async () => {
  const chromium = await findTool("chromium");
  if (chromium === undefined) return;
  await inTemporaryDirectory(async (directory) => {
    const flags = [
      ...chromiumFlags,
      `--user-data-dir=${directory}`,
      "--dump-dom",
    ];
    {
      await using program = await startProgram([]);
      const page = await runCommand(chromium, [
        ...flags,
        `${program.address}/?a=%3Cb%3E`,
      ]);
      assertStringIncludes(page.stdout, "REQUEST_METHOD");
      assertStringIncludes(page.stdout, "HeadlessChrome");
      assertStringIncludes(page.stdout, "a=%3Cb%3E");
    }
    {
      await using program = await startProgram([app]);
      const page = await runCommand(chromium, [
        ...flags,
        `${program.address}/browser`,
      ]);
      assertStringIncludes(
        page.stdout,
        "POST multipart/form-data and 21 answers",
      );
      assert(!program.output().includes("[ERROR]"), program.output());
    }
  });
});

test("wrk: every answer is right and no socket fails", async () => {
  const wrk = await findTool("wrk");
  if (wrk === undefined) return;
  await using program = await startProgram([app, "--access-log", "off"]);
  const load = await runCommand(wrk, [
    "-t1",
    "-c32",
    "-d1s",
    `${program.address}/load`,
  ]);
  assertEquals(load.code, 0, load.stderr);
  assert(!load.stdout.includes("Socket errors"), load.stdout);
  assert(!load.stdout.includes("Non-2xx"), load.stdout);
  const [, requests] = /(\d+) requests in/.exec(load.stdout) ?? [];
  // More than one on each connection; how many is the machine's affair.
  assert(Number(requests) > 32, load.stdout);
  program.kill("SIGTERM");
  assertEquals((await program.exited).code, 0, program.output());
  assertMatch(program.output(), /Stopped/);
});
