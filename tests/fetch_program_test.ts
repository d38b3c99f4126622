/** The program serving a fetch handler, asked over real sockets. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { type Program, startProgram } from "./support/program.ts";
import { RawClient } from "./support/raw_client.ts";
import { findTool } from "./support/tool.ts";

const module = `
const encoder = new TextEncoder();
const state = { cancelled: 0, aborted: 0, pulls: 0 };
export default {
  async fetch(request, info) {
    const url = new URL(request.url);
    switch (url.pathname) {
      case "/what":
        return Response.json({
          real: request instanceof Request,
          method: request.method,
          url: request.url,
          peer: info.remoteAddr.hostname,
          text: await request.text(),
        });
      case "/form":
        return Response.json([...await request.formData()].map(([name, value]) =>
          [name, typeof value === "string" ? value : value.name + value.size]));
      case "/echo":
        return new Response(request.body);
      case "/large":
        return new Response("x".repeat(3_000_000));
      case "/cookies": {
        const headers = new Headers();
        headers.append("set-cookie", "a=1");
        headers.append("set-cookie", "b=2");
        return new Response(null, { status: 204, headers });
      }
      case "/events": {
        request.signal.addEventListener("abort", () => state.aborted++);
        return new Response(new ReadableStream({
          start(controller) {
            controller.enqueue(encoder.encode("data: 1\\n\\n"));
          },
          cancel() {
            state.cancelled++;
          },
        }), { headers: { "content-type": "text/event-stream" } });
      }
      case "/endless":
        return new Response(new ReadableStream({
          pull(controller) {
            state.pulls++;
            controller.enqueue(new Uint8Array(65536));
          },
          cancel() {
            state.cancelled++;
          },
        }));
      case "/waits":
        return new Promise((_resolve, reject) => {
          request.signal.addEventListener("abort", () => {
            state.aborted++;
            reject(request.signal.reason);
          });
        });
      case "/fails": {
        let first = true;
        return new Response(new ReadableStream({
          async pull(controller) {
            if (!first) throw new Error("half-way");
            first = false;
            controller.enqueue(encoder.encode("half"));
            await new Promise((resolve) => setTimeout(resolve, 20));
          },
        }));
      }
      case "/pass":
        return fetch(url.searchParams.get("to"));
      case "/on":
        return fetch(new Request(url.searchParams.get("to"), request));
      case "/state":
        return Response.json(state);
      default:
        return new Response("Hello");
    }
  },
};
`;

async function withProgram(
  use: (program: Program, directory: string) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "headgate-fetch-"));
  try {
    const file = join(directory, "server.mjs");
    await writeFile(file, module);
    await using program = await startProgram([file, "--access-log", "-"]);
    await use(program, directory);
  } finally {
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

function open({ address }: Program): Promise<RawClient> {
  const port = Number(new URL(address).port);
  return RawClient.connect({ host: "127.0.0.1", port });
}

function run(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      command,
      args,
      { timeout: 25_000, maxBuffer: 8 << 20, encoding: "utf8" },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`${error.message}: ${stderr}`));
      },
    );
  });
}

interface State {
  readonly cancelled: number;
  readonly aborted: number;
  readonly pulls: number;
}

async function until(
  condition: () => Promise<boolean>,
  what: string,
): Promise<void> {
  const deadline = Date.now() + 25_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function stateOf({ address }: Program): Promise<State> {
  return await (await fetch(`${address}/state`)).json() as State;
}

function assertNoError(program: Program): void {
  assert(!/\[ERROR\]|nhandled/.test(program.output()), program.output());
}

test("curl: content of all kinds reaches a fetch handler", async () => {
  const curl = await findTool("curl");
  if (curl === undefined) return;
  await withProgram(async (program, directory) => {
    const { address } = program;
    const told = JSON.parse(
      await run(curl, ["-sS", "-d", "h\u00e9llo", `${address}/what?a=b`]),
    );
    assertEquals(told, {
      real: true,
      method: "POST",
      url: `${address}/what?a=b`,
      peer: "127.0.0.1",
      text: "h\u00e9llo",
    });
    const fields = ["-F", "a=1", "-F", `f=@${join(directory, "server.mjs")}`];
    const parts = await run(curl, ["-sS", ...fields, `${address}/form`]);
    assertEquals(
      JSON.parse(parts),
      [["a", "1"], ["f", `server.mjs${module.length}`]],
    );
    const form = await run(curl, ["-sS", "-d", "a=b+c", `${address}/form`]);
    assertEquals(JSON.parse(form), [["a", "b c"]]);

    const content = join(directory, "content");
    await writeFile(content, new Uint8Array(2_000_000).fill(0x62));
    for (const coding of ["Content-Type: a/b", "Transfer-Encoding: chunked"]) {
      const echoed = await run(curl, [
        "-sS",
        "-H",
        coding,
        "--data-binary",
        `@${content}`,
        `${address}/echo`,
      ]);
      assertEquals(echoed.length, 2_000_000);
    }
    assertNoError(program);
  });
});

test("--response: what the global Response is, before the application", async () => {
  const directory = await mkdtemp(join(tmpdir(), "headgate-response-"));
  const file = join(directory, "server.mjs");
  await writeFile(
    file,
    `const { name } = Response;
     export default { fetch: () => Response.json({ name, now: Response.name }) };`,
  );
  try {
    for (
      const [given, expected] of [
        [[], "Response"],
        [["--response", "own"], "Response"],
        [["--response", "light"], "LightResponse"],
        [["--response", "light", "--workers", "2"], "LightResponse"],
      ] as const
    ) {
      await using program = await startProgram([file, ...given]);
      const response = await fetch(program.address);
      assertMatch(response.headers.get("content-type")!, /^application\/json/);
      assertEquals(await response.json(), { name: expected, now: expected });
      assertNoError(program);
    }
  } finally {
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  }
});

test("curl: what a handler gives is sent", async () => {
  const curl = await findTool("curl");
  if (curl === undefined) return;
  await withProgram(async (program) => {
    const { address } = program;
    const hello = await run(curl, ["-sS", "-i", `${address}/`]);
    assertStringIncludes(hello, "HTTP/1.1 200 OK\r\n");
    assertStringIncludes(hello, "Content-Length: 5\r\n");
    const cookies = await run(curl, ["-sS", "-i", `${address}/cookies`]);
    assertStringIncludes(cookies, "HTTP/1.1 204 No Content\r\n");
    assertStringIncludes(cookies, "set-cookie: a=1\r\nset-cookie: b=2\r\n");
    const head = await run(curl, ["-sS", "-I", `${address}/`]);
    assertStringIncludes(head, "Content-Length: 5\r\n");
    const large = await run(curl, ["-sS", `${address}/large`]);
    assertEquals(large.length, 3_000_000);
    // Text is at hand as a whole, which Bun alone does not tell.
    const told = await run(curl, ["-sS", "-i", `${address}/large`]);
    assertStringIncludes(told.slice(0, 1000), "Content-Length: 3000000\r\n");
    const old = await run(curl, ["-sS", "-0", "-i", `${address}/`]);
    assertStringIncludes(old, "\r\n\r\nHello");
    assertNoError(program);
  });
});

test("what fetch() gives is passed on, decoded or not", async () => {
  const server = createServer((asked, answer) => {
    let content = "";
    asked.on("data", (piece) => content += String(piece)).on("end", () => {
      if (asked.url === "/plain") {
        return answer.end(`${asked.method} ${asked.headers["x-a"]} ${content}`);
      }
      answer.setHeader("Content-Encoding", "gzip");
      answer.end(gzipSync("z".repeat(1000)));
    });
  });
  await new Promise<void>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve())
  );
  try {
    const { port } = server.address() as AddressInfo;
    const to = (path: string) =>
      encodeURIComponent(`http://127.0.0.1:${port}${path}`);
    await withProgram(async (program) => {
      const { address } = program;
      const coded = await fetch(`${address}/pass?to=${to("/coded")}`);
      assertEquals(await coded.text(), "z".repeat(1000));
      const sent = await fetch(`${address}/on?to=${to("/plain")}`, {
        method: "PUT",
        headers: { "x-a": "b" },
        body: "content",
      });
      assertEquals(await sent.text(), "PUT b content");
      assertNoError(program);
    });
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test("an echo goes both ways at once, and pipelined requests in order", async () => {
  await withProgram(async (program) => {
    const client = await open(program);
    await client.send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    for (const piece of ["first", "second"]) {
      await client.send(`${piece.length.toString(16)}\r\n${piece}\r\n`);
      await client.until(() => client.receivedText.includes(piece), piece);
    }
    await client.send(
      "0\r\n\r\nGET /large HTTP/1.1\r\nHost: a\r\n\r\n" +
        "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    await client.untilEnded();
    assert(client.receivedText.endsWith("\r\n\r\nHello"));
    assert(client.received.length > 3_000_000);
    await client.close();
    assertNoError(program);
  });
});

test("a client that leaves: aborted, cancelled, 499, nothing at error level", async () => {
  await withProgram(async (program) => {
    for (const target of ["/events", "/waits", "/endless"]) {
      const client = await open(program);
      await client.send(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`);
      if (target === "/events") {
        await client.until(
          () => client.receivedText.includes("data: 1\n\n"),
          "an event",
        );
      }
      if (target === "/endless") {
        await client.until(() => client.received.length > 1e6, "content");
      }
      await client.close();
    }
    await until(async () => {
      const { cancelled, aborted } = await stateOf(program);
      return cancelled === 2 && aborted === 2;
    }, "the end of all three");
    await until(
      () => Promise.resolve(program.output().split('" 499 ').length === 4),
      "three records of 499",
    );
    assertNoError(program);
  });
});

test("a stream is pulled no faster than its client reads", async () => {
  await withProgram(async (program) => {
    const client = await open(program);
    client.pause();
    await client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
    let before = -1;
    let pulls = 0;
    // What the system buffers is filled; then nothing moves any more.
    await until(async () => {
      before = pulls;
      await new Promise((resolve) => setTimeout(resolve, 200));
      pulls = (await stateOf(program)).pulls;
      return pulls > 0 && pulls === before;
    }, "a standstill");
    assert(pulls < 1000, String(pulls));
    await client.close();
  });
});

test("a stream that fails half-way cuts the connection", async () => {
  await withProgram(async (program) => {
    const client = await open(program);
    await client.send("GET /fails HTTP/1.1\r\nHost: a\r\n\r\n");
    await client.untilEnded();
    assertStringIncludes(client.receivedText, "half");
    assert(!client.receivedText.includes("\r\n0\r\n"), client.receivedText);
    await client.close();
    await until(
      () => Promise.resolve(program.output().includes("half-way")),
      "the log",
    );
    assertEquals((await fetch(program.address)).status, 200);
  });
});
