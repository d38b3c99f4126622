/** A gateway on listeners, over the sockets of the runtime that this runs on. */
import { randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { detectTransport } from "../adapters/detect.ts";
import type { Handler } from "../src/exchange.ts";
import { serveHandler, type ServeOptions, type Server } from "../src/serve.ts";
import type { Address, Listener, Transport } from "../src/stream.ts";
import { MemoryStream } from "./support/memory_stream.ts";
import { latin1, octets } from "./support/octets.ts";
import { RawClient } from "./support/raw_client.ts";
import { parseResponses } from "./support/responses.ts";

const request = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const last = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

const hello: Handler = ({ response }) => {
  response.start(200, "OK", [], 5);
  response.write(octets("hello"));
  response.end();
};

async function start(
  options: ServeOptions = {},
  handler: Handler = hello,
): Promise<Server> {
  return await serveHandler(await detectTransport(), handler, {
    port: 0,
    ...options,
  });
}

/** What a client gets that asks once and is closed. */
async function ask(address: Address): Promise<string> {
  const client = await RawClient.connect(address);
  try {
    await client.send(last);
    await client.untilEnded();
    return parseResponses(client.received)
      .map(({ content }) => latin1(content)).join();
  } finally {
    await client.close();
  }
}

function socketPath(): string {
  return join(tmpdir(), `headgate-${randomUUID().slice(0, 8)}.sock`);
}

test("serveHandler() listens where the system chooses, and answers", async () => {
  const server = await start();
  try {
    assertEquals(server.addresses.length, 1);
    const [address] = server.addresses;
    assertEquals(address!.host, "127.0.0.1");
    assert(address!.port > 0);
    assertEquals(await ask(address!), "hello");
  } finally {
    await server.shutdown();
  }
});

test("serveHandler() listens at several addresses at once", async () => {
  const path = socketPath();
  const server = await start({
    bind: ["127.0.0.1:0", `unix:${path}`, "127.0.0.1:0"],
  });
  try {
    assertEquals(server.addresses.map(({ host }) => host), [
      "127.0.0.1",
      path,
      "127.0.0.1",
    ]);
    for (const address of server.addresses) {
      assertEquals(await ask(address), "hello");
    }
  } finally {
    await server.shutdown();
  }
});

test("serveHandler() takes a path instead of hostname and port", async () => {
  const path = socketPath();
  const server = await start({ path });
  try {
    assertEquals(server.addresses, [{ host: path, port: 0 }]);
    assertEquals(await ask(server.addresses[0]!), "hello");
  } finally {
    await server.shutdown();
  }
});

test("serveHandler() releases what it has when an address cannot be had", async () => {
  const held = await start();
  try {
    const { port } = held.addresses[0]!;
    const freed = await start();
    const free = freed.addresses[0]!;
    await freed.shutdown();
    const error = await assertRejects(() =>
      start({ bind: [`127.0.0.1:${free.port}`, `127.0.0.1:${port}`] })
    );
    assertEquals((error as Error & { code?: string }).code, "EADDRINUSE");
    await assertRejects(() => RawClient.connect(free));
    const again = await start({ port: free.port });
    await again.shutdown();
  } finally {
    await held.shutdown();
  }
});

test("serveHandler() rejects an address that it cannot read", async () => {
  await assertRejects(
    () => start({ bind: "127.0.0.1:http" }),
    Error,
    "127.0.0.1:http",
  );
});

test("Server.shutdown() stops accepting, and settles `finished`", async () => {
  const server = await start();
  let finished = false;
  server.finished.then(() => finished = true);
  const idle = await RawClient.connect(server.addresses[0]!);
  await idle.send(request);
  await idle.until(() => idle.receivedText.endsWith("hello"), "the answer");
  assertEquals(finished, false);
  await server.shutdown();
  await server.finished;
  assertEquals(finished, true);
  await idle.untilEnded();
  assertEquals(idle.error, undefined);
  await idle.close();
  await assertRejects(() => RawClient.connect(server.addresses[0]!));
});

test("Server.shutdown() lets a running request end", async () => {
  let open!: () => void;
  let entered!: () => void;
  const opened = new Promise<void>((resolve) => open = resolve);
  const running = new Promise<void>((resolve) => entered = resolve);
  const server = await start({}, async (exchange) => {
    entered();
    await opened;
    await hello(exchange);
  });
  const client = await RawClient.connect(server.addresses[0]!);
  await client.send(request);
  await running;
  const shutdown = server.shutdown();
  open();
  await client.untilEnded();
  await client.close();
  await shutdown;
  const [response] = parseResponses(client.received);
  assertEquals([latin1(response!.content), response!.get("connection")], [
    "hello",
    "close",
  ]);
});

test("Server.shutdown() waits for `graceSeconds`, then cuts, and may be hurried", async () => {
  const hang: Handler = () => new Promise(() => {});
  for (const hurry of [false, true]) {
    const server = await start({ graceSeconds: hurry ? 1000 : 0.05 }, hang);
    const client = await RawClient.connect(server.addresses[0]!);
    await client.send(request);
    const shutdown = server.shutdown();
    if (hurry) await server.shutdown(0);
    await shutdown;
    await client.until(() => client.closed || client.ended, "the cut");
    assertEquals(client.received.length, 0);
    await client.close();
  }
});

test("Server is disposed of by shutting down", async () => {
  const server = await start();
  const [address] = server.addresses;
  await server[Symbol.asyncDispose]();
  await server.finished;
  await assertRejects(() => RawClient.connect(address!));
});

test("Server.shutdown() closes every listener, once for all calls", async () => {
  const closed: string[] = [];
  const transport: Transport = {
    name: "test",
    listen: ({ hostname, port }): Promise<Listener> =>
      Promise.resolve({
        address: { host: hostname!, port: port! },
        close: () => {
          closed.push(`${hostname}:${port}`);
          return Promise.resolve();
        },
      }),
  };
  const server = await serveHandler(transport, hello, { bind: ["a:1", "b:2"] });
  await Promise.all([server.shutdown(), server.shutdown(0), server.finished]);
  assertEquals([...new Set(closed)], ["a:1", "b:2"]);
});

test("Server.shutdown() waits for a connection that came while it closed", async () => {
  const late = new MemoryStream([request]);
  let accept!: (stream: MemoryStream) => void;
  const transport: Transport = {
    name: "test",
    listen: (_options, accepted): Promise<Listener> => {
      accept = accepted;
      return Promise.resolve({
        address: { host: "a", port: 1 },
        close: async () => {
          await Promise.resolve();
          accept(late);
        },
      });
    },
  };
  let open!: () => void;
  const opened = new Promise<void>((resolve) => open = resolve);
  let finished = false;
  const server = await serveHandler(transport, async (exchange) => {
    await opened;
    await hello(exchange);
  });
  const shutdown = server.shutdown().then(() => finished = true);
  await new Promise((pass) => setTimeout(pass, 0));
  assertEquals(finished, false);
  open();
  late.end();
  await shutdown;
  const [response] = parseResponses(late.output);
  assertEquals(response!.get("connection"), "close");
});

test("serveHandler() serves clients that come at once, one byte at a time or not at all", async () => {
  const server = await start();
  const [address] = server.addresses;
  const silent = await Promise.all(
    Array.from({ length: 50 }, () => RawClient.connect(address!)),
  );
  try {
    const slow = await RawClient.connect(address!);
    for (const byte of last) await slow.send(byte);
    await slow.untilEnded();
    assertEquals(parseResponses(slow.received).length, 1);
    await slow.close();
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => ask(address!)),
    );
    assertEquals(answers, Array(50).fill("hello"));
  } finally {
    await Promise.all(silent.map((client) => client.close()));
    await server.shutdown();
  }
});

test("serveHandler() refuses an address that cannot be meant", async () => {
  const transport = await detectTransport();
  const wrong: [ServeOptions, string][] = [
    [{ port: 70_000 }, "Port 70000"],
    [{ port: 80.5 }, "Port 80.5"],
    [{ bind: [] }, "names no address"],
    [{ path: "" }, "path is missing"],
    [{ path: `/tmp/${"x".repeat(200)}` }, "/tmp/x"],
  ];
  for (const [options, complaint] of wrong) {
    await assertRejects(
      () => serveHandler(transport, hello, options),
      Error,
      complaint,
    );
  }
});
