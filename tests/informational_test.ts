/** Interim responses (RFC 9110 §15.2) from every kind of application. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type FetchHandler, fetchHandler } from "../src/apps/fetch.ts";
import { toFetch } from "../src/apps/to_fetch.ts";
import { toWsgi } from "../src/apps/to_wsgi.ts";
import { wsgi } from "../src/apps/wsgi.ts";
import type { Handler } from "../src/exchange.ts";
import { createGateway } from "../src/gateway.ts";
import type { Application } from "../src/wsgi.ts";
import { FakeExchange } from "./support/fake_exchange.ts";
import { MemoryStream } from "./support/memory_stream.ts";
import { startProgram } from "./support/program.ts";
import { RawClient } from "./support/raw_client.ts";
import { parseResponses } from "./support/responses.ts";
import { findTool } from "./support/tool.ts";

const link = "</a.css>; rel=preload";

const hinting: FetchHandler = (_request, info) => {
  void info.informational(103, { Link: link });
  return new Response("done");
};

const hintingWsgi: Application = (environ, startResponse) => {
  void environ["headgate.request"]?.informational(103, [["Link", link]]);
  startResponse("200 OK", [["Content-Type", "text/plain"]]);
  return [new TextEncoder().encode("done")];
};

/** What a gateway sends for such a request, all of it. */
async function exchange(
  handler: Handler,
  request: string,
): Promise<MemoryStream> {
  const stream = new MemoryStream([request]);
  createGateway(handler).accept(stream);
  await stream.untilQuiet();
  stream.end();
  await stream.untilClosed();
  assertEquals(stream.misuse, []);
  return stream;
}

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

test("informational() goes before the response, from every kind of application", async () => {
  const handlers = {
    fetch: fetchHandler(hinting),
    wsgi: wsgi(hintingWsgi),
    "fetch carried as WSGI": wsgi(toWsgi(hinting)),
    "WSGI carried as fetch": fetchHandler(toFetch(wsgi(hintingWsgi))),
    "carried twice": fetchHandler(toFetch(wsgi(toWsgi(hinting)))),
  };
  for (const [name, handler] of Object.entries(handlers)) {
    const { output } = await exchange(handler, get + get);
    const responses = parseResponses(output);
    assertEquals(
      responses.map(({ status }) => status),
      [103, 200, 103, 200],
      name,
    );
    assertEquals(responses[0]!.get("link"), link, name);
    assertEquals(responses[0]!.fields.length, 1, name);
    const old = await exchange(handler, "GET / HTTP/1.0\r\n\r\n");
    assertEquals(
      parseResponses(old.output).map(({ status }) => status),
      [200],
      name,
    );
  }
});

test("informational() and 100 (Continue) do not get in each other's way", async () => {
  const stream = new MemoryStream([
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n" +
    "Expect: 100-continue\r\n\r\n",
  ]);
  const handler = fetchHandler(async (request, info) => {
    void info.informational(103);
    const text = await request.text();
    void info.informational(103);
    return new Response(text);
  });
  createGateway(handler).accept(stream);
  await stream.untilQuiet();
  const before = parseResponses(stream.output);
  assertEquals(before.map(({ status }) => status), [103, 100]);
  stream.push("ab");
  await stream.untilQuiet();
  stream.end();
  await stream.untilClosed();
  assertEquals(
    parseResponses(stream.output).map(({ status }) => status),
    [103, 100, 103, 200],
  );
  assertEquals(stream.misuse, []);
});

test("informational() is dropped by hosts that know nothing of it", async () => {
  const handle = toFetch(fetchHandler(hinting));
  const response = await handle(new Request("http://a/"), {});
  assertEquals([response.status, await response.text()], [200, "done"]);
});

test("informational() is checked alike where nobody takes it", async () => {
  const faults: string[] = [];
  const fails = (call: () => void) => {
    try {
      call();
    } catch (error) {
      faults.push((error as Error).message);
    }
  };
  const response = await toFetch(async ({ response }) => {
    fails(() => void response.informational(100, []));
    fails(() => void response.informational(103, [["a", "b\r\nc: d"]]));
    fails(() => void response.informational(103, [["Link", link]]));
    response.start(200, "OK", []);
    await response.flush();
    fails(() => void response.informational(103, [["Link", link]]));
    await response.end();
  })(new Request("http://a/"), {});
  await response.text();
  assertEquals(faults.length, 3);
  assertStringIncludes(faults[0]!, "not one of an interim response");
  assertStringIncludes(faults[1]!, "what a field value must not");
  assertEquals(faults[2], "The head of this response has been sent");
});

test("informational() takes whatever Headers take", async () => {
  const other = new FakeExchange();
  await fetchHandler((_request, info) => {
    void info.informational(102);
    void info.informational(103, [["link", "<a>"], ["Link", "<b>"]]);
    void info.informational(103, new Headers({ "X-A": "1" }));
    return new Response();
  })(other);
  assertEquals(other.response.interim, [
    [102, []],
    [103, [["link", "<a>, <b>"]]],
    [103, [["x-a", "1"]]],
  ]);
});

test("informational() after the head is the application's mistake", async () => {
  const errors: string[] = [];
  const stream = new MemoryStream([get]);
  const handler = fetchHandler((_request, info) =>
    new Response(
      new ReadableStream({
        async pull(controller) {
          controller.enqueue(new Uint8Array(1));
          await new Promise((resolve) => setTimeout(resolve, 1));
          try {
            void info.informational(103);
          } catch (error) {
            errors.push((error as Error).message);
            controller.close();
          }
        },
      }),
    )
  );
  createGateway(handler).accept(stream);
  await stream.untilQuiet();
  stream.end();
  await stream.untilClosed();
  assert(errors.includes("The head of this response has been sent"));
});

const module = `
const pause = () => new Promise((resolve) => globalThis.release = resolve);
export default {
  async fetch(request, info) {
    if (new URL(request.url).pathname === "/release") {
      globalThis.release?.();
      return new Response("released");
    }
    await info.informational(103, { Link: "${link}" });
    await pause();
    return new Response("done");
  },
};
`;

test("the program sends 103 while the application is at work", async () => {
  const directory = await mkdtemp(join(tmpdir(), "headgate-interim-"));
  try {
    const file = join(directory, "server.mjs");
    await writeFile(file, module);
    await using program = await startProgram([file]);
    const port = Number(new URL(program.address).port);
    const client = await RawClient.connect({ host: "127.0.0.1", port });
    await client.send(get);
    const hint = `HTTP/1.1 103 Early Hints\r\nlink: ${link}\r\n\r\n`;
    await client.until(() => client.receivedText === hint, "the hint");
    await (await fetch(`${program.address}/release`)).text();
    await client.until(
      () => client.receivedText.endsWith("done"),
      "the response",
    );
    assert(client.receivedText.startsWith(`${hint}HTTP/1.1 200 OK\r\n`));
    await client.close();

    const curl = await findTool("curl");
    if (curl === undefined) return;
    const said = new Promise<string>((resolve, reject) => {
      const args = ["-sS", "-i", "-m", "20", program.address];
      execFile(curl, args, { encoding: "utf8" }, (error, stdout) => {
        if (error === null) resolve(stdout);
        else reject(error);
      });
    });
    // Whoever releases before the hint is out has released nobody.
    const again = setInterval(
      () => void fetch(`${program.address}/release`).then((r) => r.text()),
      50,
    );
    try {
      assertStringIncludes(await said, hint);
      assertStringIncludes(await said, "200 OK");
    } finally {
      clearInterval(again);
    }
  } finally {
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  }
});
