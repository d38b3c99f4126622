/** The exercise, step by step: each part over arrays and over real sockets. */
import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  converse as converseHello,
  serveHello,
} from "../../examples/exercise/part1/server.ts";
import { app as routes } from "../../examples/exercise/part2/routes.ts";
import {
  converse,
  serveApplication,
} from "../../examples/exercise/part2/server.ts";
import { app as wsgiapp } from "../../examples/exercise/part2/wsgiapp.ts";
import { crowd } from "../../examples/exercise/part3/crowd.ts";
import { app as slow } from "../../examples/exercise/part3/slow.ts";
import type { Address, Application, Listener } from "../../mod.ts";
import { lint } from "../../src/apps/lint.ts";
import { everySplit } from "../support/every_split.ts";
import { MemoryStream } from "../support/memory_stream.ts";
import { octets } from "../support/octets.ts";
import { RawClient } from "../support/raw_client.ts";
import { exchange, exchangeSlowly, only, serving, text } from "./fixture.ts";
import { LineLog } from "../support/line_log.ts";

const get = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
const post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab\ncd";

/** Runs `use` against a listener and closes it. */
async function listening(
  listener: Listener,
  use: (address: Address) => Promise<void>,
): Promise<void> {
  try {
    await use(listener.address);
  } finally {
    await listener.close();
  }
}

/** What a conversation over arrays answers. */
async function overMemory(
  pieces: readonly Uint8Array[],
  converse: (stream: MemoryStream) => Promise<void>,
): Promise<MemoryStream> {
  const stream = new MemoryStream(pieces, { arrival: "later" });
  const finished = converse(stream);
  await stream.untilQuiet();
  stream.end();
  await finished;
  assertEquals(stream.misuse, []);
  assert(stream.closed);
  return stream;
}

// ---- Part 1 ----

test("part 1 greets, wherever the request is cut", async () => {
  for (const request of [get, post, "HEAD / HTTP/1.0\n\n"]) {
    await everySplit(octets(request), async (pieces) => {
      const { output } = await overMemory(pieces, converseHello);
      const response = only(output, request);
      assertEquals(response.status, 200);
      const expected = request.startsWith("HEAD") ? "" : "Hello, World!\n";
      assertEquals(text(response), expected);
    });
  }
});

test("part 1 answers nothing before the request is whole", async () => {
  for (let length = 0; length < post.length; length++) {
    const stream = new MemoryStream([post.slice(0, length)]);
    const finished = converseHello(stream);
    await stream.untilQuiet();
    assertEquals(stream.outputText, "", `${length} bytes`);
    stream.end();
    await finished;
    assertEquals(stream.outputText, "", `${length} bytes, then the end`);
    assert(stream.closed);
  }
});

test("part 1 greets a client that sends one byte at a time", async () => {
  await listening(await serveHello(0), async (address) => {
    assertEquals(text(await exchangeSlowly(address, post)), "Hello, World!\n");
  });
});

test("part 1 greets while others are silent, and once they left", async () => {
  await listening(await serveHello(0), async (address) => {
    const silent = await RawClient.connect(address);
    const unfinished = await RawClient.connect(address);
    await unfinished.send("GET / HT");
    assertEquals(text(await exchange(address, get)), "Hello, World!\n");
    await silent.close();
    await unfinished.close();
    await (await RawClient.connect(address)).close();
    assertEquals(text(await exchange(address, get)), "Hello, World!\n");
  });
});

test("part 1 greets fetch, and takes a large content", async () => {
  await listening(await serveHello(0), async ({ port }) => {
    const url = `http://127.0.0.1:${port}/`;
    const response = await fetch(url);
    assertEquals(response.headers.get("content-type"), "text/plain");
    assertEquals(await response.text(), "Hello, World!\n");
    const body = new Uint8Array(3_000_000);
    const posted = await fetch(url, { method: "POST", body });
    assertEquals(await posted.text(), "Hello, World!\n");
  });
});

// ---- Part 2 ----

const greeting = "Hello world from a simple WSGI application!\n";

/** Runs `use` against part 2 with `app` under lint. */
async function part2(
  app: Application,
  use: (address: Address, log: LineLog) => Promise<void>,
): Promise<void> {
  const log = new LineLog();
  const listener = await serveApplication(lint(app), 0, log);
  await listening(listener, (address) => use(address, log));
}

function request(target: string, ...fields: string[]): string {
  return [`GET ${target} HTTP/1.1`, "Host: a", ...fields, "", ""].join("\r\n");
}

test("part 2 runs an application, wherever the request is cut", async () => {
  const count = post.replace("/", "/count");
  const answers = new Map([
    [get, "Hello world from a small framework!\n"],
    [count, "2 lines, 5 bytes\n"],
    [get.replace("GET", "HEAD"), ""],
  ]);
  for (const [sent, expected] of answers) {
    await everySplit(octets(sent), async (pieces) => {
      const log = new LineLog();
      const { output } = await overMemory(
        pieces,
        (stream) => converse(lint(routes), stream, log),
      );
      assertEquals(text(only(output, sent)), expected);
    });
  }
});

test("part 2 answers /hello to raw sockets and to fetch", async () => {
  await part2(wsgiapp, async (address) => {
    assertEquals(text(await exchange(address, get)), greeting);
    assertEquals(text(await exchangeSlowly(address, get)), greeting);
    const head = await exchange(address, get.replace("GET", "HEAD"));
    assertEquals(head.get("content-type"), "text/plain");
    const response = await fetch(`http://127.0.0.1:${address.port}/hello?a=1`);
    assertEquals(await response.text(), greeting);
  });
});

test("part 2 parts the path from the query, and decodes it", async () => {
  await part2(routes, async (address) => {
    const ask = async (target: string) => {
      const { status, content } = await exchange(address, request(target));
      return [status, new TextDecoder().decode(content)];
    };
    const hello = [200, "Hello world from a small framework!\n"];
    assertEquals(await ask("/hello?a=1?b=2"), hello);
    assertEquals(await ask("/h%65llo"), hello);
    assertEquals(await ask("/greet?name=%C3%85se%20B"), [
      200,
      "Hello, Åse B!\n",
    ]);
    assertEquals(await ask("/elsewhere"), [404, "Not found\n"]);
  });
});

test("part 2 gives every field a variable, two without a prefix", async () => {
  await part2(routes, async (address) => {
    const sent = request(
      "/headers",
      "Accept-Language: de",
      "accept-language:  en ",
      "Cookie: a=1",
      "Cookie: b=2",
      "Content-Type: text/x-test",
      "Content-Length: 0",
      "Spoofed_Name: x",
      "Proxy: x",
    );
    assertEquals(text(await exchange(address, sent)).split("\n").sort(), [
      "",
      "CONTENT_LENGTH: 0",
      "CONTENT_TYPE: text/x-test",
      "HTTP_ACCEPT_LANGUAGE: de,en",
      "HTTP_COOKIE: a=1; b=2",
      "HTTP_HOST: a",
    ]);
  });
});

test("part 2 ends wsgi.input where the content ends", async () => {
  const app: Application = async (environ, startResponse) => {
    const input = environ["wsgi.input"];
    const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    const parts = [
      decode(await input.read(2)),
      decode(await input.readline()),
      decode(await input.readline(2)),
      ...(await input.readlines(1)).map(decode),
      decode(await input.read()),
      decode(await input.read()),
      decode(await input.readline()),
    ];
    startResponse("200 OK", [["Content-Type", "application/json"]]);
    return [new TextEncoder().encode(JSON.stringify(parts))];
  };
  await part2(app, async (address) => {
    const content = "abc\ndefg\nhi\njk";
    const head = `POST / HTTP/1.1\r\nContent-Length: ${content.length}\r\n\r\n`;
    const response = await exchange(address, `${head}${content}surplus`);
    assertEquals(JSON.parse(text(response)), [
      "ab",
      "c\n",
      "de",
      "fg\n",
      "hi\njk",
      "",
      "",
    ]);
  });
});

test("part 2 refuses what it does not understand", async () => {
  await part2(wsgiapp, async (address, log) => {
    const status = async (sent: string) =>
      (await exchange(address, sent)).status;
    assertEquals(await status("nonsense\r\n\r\n"), 400);
    assertEquals(await status(request("/", "No colon")), 400);
    assertEquals(await status(request("/", "Space : x")), 400);
    assertEquals(await status(request("/", "Content-Length: -1")), 400);
    assertEquals(await status(request("/", "Transfer-Encoding: chunked")), 501);
    assertEquals(await status(request("/", `Long: ${"x".repeat(9000)}`)), 431);
    assertEquals(
      await status(request("/", ...Array<string>(200).fill("Many: x"))),
      431,
    );
    assertEquals(log.lines.filter((line) => line.startsWith("error")), []);
  });
});

test("part 2 survives applications that fail", async () => {
  const app: Application = async function* ({ PATH_INFO }, startResponse) {
    if (PATH_INFO === "/early") throw new Error("failed early");
    startResponse("200 OK", [["Content-Type", "text/plain"]]);
    yield octets("half");
    if (PATH_INFO === "/late") throw new Error("failed late");
  };
  await part2(app, async (address, log) => {
    assertEquals((await exchange(address, request("/early"))).status, 500);
    await log.until(/^error Error: failed early/);
    const client = await RawClient.connect(address);
    await client.send(request("/late"));
    await client.untilEnded();
    await client.close();
    await log.until(/^error Error: failed late/);
    assertEquals(text(await exchange(address, request("/"))), "half");
  });
});

test("part 2 closes the body, though the client has left", async () => {
  let closed = 0;
  const app: Application = (_environ, startResponse) => {
    startResponse("200 OK", [["Content-Type", "text/plain"]]);
    const block = new Uint8Array(65_536);
    return {
      async *[Symbol.asyncIterator]() {
        while (true) yield block;
      },
      close: () => void closed++,
    };
  };
  await part2(app, async (address, log) => {
    const client = await RawClient.connect(address);
    await client.send(get);
    await client.until(() => client.received.length > 0, "content");
    await client.close();
    await log.until(/^debug Lost/);
    assertEquals(closed, 1);
  });
});

test("part 2 answers beside silent connections, and when they left", async () => {
  await part2(wsgiapp, async (address, log) => {
    const silent = await RawClient.connect(address);
    assertEquals(text(await exchange(address, get)), greeting);
    await silent.close();
    await (await RawClient.connect(address)).close();
    assertEquals(text(await exchange(address, get)), greeting);
    assertEquals(log.lines.filter((line) => line.startsWith("error")), []);
  });
});

test("part 2 answers a content that the application left unread", async () => {
  await part2(wsgiapp, async (address) => {
    const content = "x".repeat(500_000);
    const sent = `POST / HTTP/1.1\r\nContent-Length: 500000\r\n\r\n${content}`;
    const client = await RawClient.connect(address);
    const sending = client.send(sent);
    await client.untilEnded();
    assertStringIncludes(client.receivedText, greeting);
    client.end();
    await sending;
    await client.close();
    assertEquals(client.error, undefined);
  });
});

test("part 2 logs the request, the path, the query and the response", async () => {
  await part2(wsgiapp, async (address, log) => {
    await exchange(address, request("/hello?a=1", "X-Test: y"));
    for (
      const line of [
        "debug < GET /hello?a=1 HTTP/1.1",
        "debug < X-Test: y",
        "debug PATH_INFO=/hello QUERY_STRING=a=1",
        "debug > HTTP/1.1 200 OK",
        "debug > Content-Type: text/plain",
      ]
    ) assert(log.lines.includes(line), `${line} in ${log.lines}`);
  });
});

// ---- Part 3 ----

test("part 3: a crowd is answered, the silent hold nobody up", async () => {
  await serving(wsgiapp, async ({ address }) => {
    const counts = await crowd({ port: address.port, silent: 50, talking: 50 });
    assertEquals([...counts], [["200", 50]]);
  });
  await listening(await serveHello(0), async ({ port }) => {
    const counts = await crowd({ port, silent: 50, talking: 50 });
    assertEquals([...counts], [["200", 50]]);
  });
});

test("part 3: a slow answer holds nobody up, and ends with its client", async () => {
  const fate = new LineLog();
  const observed: Application = async (environ, startResponse) => {
    const body = await slow(environ, startResponse);
    fate.info(`answered ${environ.QUERY_STRING}`);
    return body;
  };
  await serving(observed, async ({ address, url }) => {
    const patient = await RawClient.connect(address);
    await patient.send(request("/?seconds=60"));
    const quick = await fetch(`${url}/?seconds=0`);
    assertEquals(await quick.text(), "Slept for 0 s\n");
    assertEquals(patient.receivedText, "");
    await patient.close();
    await fate.until(/answered seconds=60/);
  });
});
