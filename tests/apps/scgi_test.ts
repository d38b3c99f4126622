/** SCGI, with a server in Python behind a gateway. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertNotMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { backendHost } from "../../adapters/backend_host.ts";
import { detectTransport } from "../../adapters/detect.ts";
import { scgi, type ScgiOptions } from "../../src/apps/scgi.ts";
import type { Program } from "../../src/backend_host.ts";
import { HttpError } from "../../src/errors.ts";
import { serveHandler, type Server } from "../../src/serve.ts";
import { FakeExchange } from "../support/fake_exchange.ts";
import { latin1 } from "../support/octets.ts";
import { RawClient } from "../support/raw_client.ts";
import { type ParsedResponse, parseResponses } from "../support/responses.ts";
import { findTool } from "../support/tool.ts";
import { until } from "../adapters/fixture.ts";

/** A gateway before the server. */
class Bench implements AsyncDisposable {
  readonly lines: string[] = [];
  /** What the server has printed: first its port. */
  #printed = "";
  readonly #program: Program;
  #gateway: Server | undefined;

  private constructor(program: Program) {
    this.#program = program;
  }

  /** Undefined where there is no Python. */
  static async start(
    options: Partial<ScgiOptions> = {},
  ): Promise<Bench | undefined> {
    const python = await findTool("python3");
    if (python === undefined) return undefined;
    const bench = new Bench(
      await backendHost.start({
        file: python,
        args: ["tests/scgi/server.py"],
        env: process.env as Record<string, string>,
        errors: "inherit",
        sharesOutput: false,
      }),
    );
    void bench.#follow();
    await until(() => bench.#printed.includes("\n"), "the port");
    const port = Number.parseInt(bench.#printed);
    const add = (line: string) => void bench.lines.push(line);
    const log = { debug() {}, info: add, warn: add, error: add };
    const connect = () => backendHost.connect({ port });
    const whole = { host: backendHost, log, ...options };
    bench.#gateway = await serveHandler(
      await detectTransport(),
      scgi(connect, whole),
      { port: 0, log },
    );
    return bench;
  }

  async #follow(): Promise<void> {
    const decoder = new TextDecoder();
    for (;;) {
      const bytes = await this.#program.read();
      if (bytes === null) return;
      this.#printed += decoder.decode(bytes);
    }
  }

  /** Waits until the server has printed something. */
  saying(word: string): Promise<void> {
    return until(() => this.#printed.includes(`\n${word}\n`), word);
  }

  get log(): string {
    return this.lines.join("\n");
  }

  connect(): Promise<RawClient> {
    return RawClient.connect(this.#gateway!.addresses[0]!);
  }

  /** Asks once. */
  async ask(
    target: string,
    fields = "",
    content = "",
  ): Promise<ParsedResponse> {
    const client = await this.connect();
    try {
      const method = fields === "" ? "GET" : "POST";
      await client.send(
        `${method} ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n` +
          `${fields}\r\n${content}`,
      );
      await client.untilEnded();
      return parseResponses(client.received)[0]!;
    } finally {
      await client.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#gateway?.shutdown(0);
    this.#program.closeInput();
    await this.#program.ended;
  }
}

const text = ({ content }: ParsedResponse): string => latin1(content);

test("scgi(): the server has the request, and its response goes out", async () => {
  await using bench = await Bench.start({
    scriptName: "/app",
    params: [["EXTRA", "\xe9"]],
  });
  if (bench === undefined) return;
  const response = await bench.ask("/app/caf%C3%A9?q=1", "X-Name: \xe9\r\n");
  assertEquals([response.status, response.reason], [201, "Made"]);
  const told = text(response);
  assertMatch(told, /^CONTENT_LENGTH=0\nSCGI=1\n/);
  for (
    const line of [
      "REQUEST_METHOD=POST",
      "SCRIPT_NAME=/app",
      "PATH_INFO=/caf\xc3\xa9",
      "QUERY_STRING=q=1",
      "HTTP_X_NAME=\xe9",
      "EXTRA=\xe9",
    ]
  ) assertStringIncludes(told, `\n${line}\n`);
});

test("scgi(): content goes through, chunked content with its length", async () => {
  await using bench = await Bench.start();
  if (bench === undefined) return;
  const content = "0123456789".repeat(30_000);
  const sized = await bench.ask(
    "/echo",
    `Content-Length: ${content.length}\r\n`,
    content,
  );
  assert(text(sized) === content);
  const size = content.length.toString(16);
  const chunked = await bench.ask(
    "/echo",
    "Transfer-Encoding: chunked\r\n",
    `${size}\r\n${content}\r\n0\r\n\r\n`,
  );
  assert(text(chunked) === content);
});

test("scgi(): chunked content is refused where nothing is read ahead", async () => {
  await using bench = await Bench.start({ spool: "off" });
  if (bench === undefined) return;
  const { status } = await bench.ask(
    "/echo",
    "Transfer-Encoding: chunked\r\n",
    "0\r\n\r\n",
  );
  assertEquals(status, 411);
});

test("scgi(): a path cannot add a variable", async () => {
  const connect = () => Promise.reject(new Error("It is not to be asked"));
  const exchange = new FakeExchange({ target: "/a%00REMOTE_USER%00root" });
  await assertRejects(
    async () => await scgi(connect, { host: backendHost })(exchange),
    HttpError,
    "NUL in the path",
  );
});

test("scgi(): a path in Location is answered by the server", async () => {
  await using bench = await Bench.start();
  if (bench === undefined) return;
  const told = text(await bench.ask("/redirect"));
  assertStringIncludes(told, "PATH_INFO=/there\n");
  assertStringIncludes(told, "QUERY_STRING=from=here\n");
});

test("scgi(): no response is 502, and a broken one is cut", async () => {
  await using bench = await Bench.start({ name: "scgi://test" });
  if (bench === undefined) return;
  assertEquals((await bench.ask("/nothing")).status, 502);
  assertMatch(
    bench.log,
    /An SCGI server ended without a response: "scgi:\/\/test"/,
  );
  const client = await bench.connect();
  try {
    await client.send("GET /broken HTTP/1.1\r\nHost: a\r\n\r\n");
    await client.untilEnded();
    assertStringIncludes(client.receivedText, "unfinished");
    assertNotMatch(client.receivedText, /\r\n0\r\n\r\n$/);
  } finally {
    await client.close();
  }
});

test("scgi(): a server that is too slow is left, and 504", async () => {
  await using bench = await Bench.start({ timeoutSeconds: 0.2 });
  if (bench === undefined) return;
  assertEquals((await bench.ask("/stall")).status, 504);
  await bench.saying("left");
});

test("scgi(): a response that does not go on is cut", async () => {
  await using bench = await Bench.start({ timeoutSeconds: 1 });
  if (bench === undefined) return;
  const client = await bench.connect();
  try {
    await client.send("GET /begin HTTP/1.1\r\nHost: a\r\n\r\n");
    await client.untilEnded();
    assertStringIncludes(client.receivedText, "unfinished");
    assertNotMatch(client.receivedText, /\r\n0\r\n\r\n$/);
  } finally {
    await client.close();
  }
});

test("scgi(): a client that leaves takes its connection along", async () => {
  await using bench = await Bench.start();
  if (bench === undefined) return;
  const client = await bench.connect();
  await client.send("GET /stall HTTP/1.1\r\nHost: a\r\n\r\n");
  await bench.saying("stalling");
  await client.close();
  await bench.saying("left");
  assertEquals(bench.log, "");
});

test("scgi(): so many connections at a time", async () => {
  await using bench = await Bench.start({ connections: 1, queueSeconds: 0.1 });
  if (bench === undefined) return;
  const client = await bench.connect();
  try {
    await client.send("GET /stall HTTP/1.1\r\nHost: a\r\n\r\n");
    await bench.saying("stalling");
    assertEquals((await bench.ask("/")).status, 503);
  } finally {
    await client.close();
  }
  await bench.saying("left");
  assertEquals((await bench.ask("/")).status, 201);
});

test("scgi(): a server that is not there is 502", async () => {
  const refuse = () =>
    Promise.reject(
      Object.assign(new Error("Cannot connect"), { code: "ECONNREFUSED" }),
    );
  const lines: string[] = [];
  const add = (line: string) => void lines.push(line);
  const log = { debug() {}, info: add, warn: add, error: add };
  const handler = scgi(refuse, { host: backendHost, log });
  await using gateway = await serveHandler(await detectTransport(), handler, {
    port: 0,
  });
  const client = await RawClient.connect(gateway.addresses[0]!);
  try {
    for (let asked = 1; asked <= 40; asked++) { // more than connections
      await client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      await client.until(() => lines.length === asked);
    }
    assertMatch(client.receivedText, /^HTTP\/1.1 502 Bad Gateway\r\n/);
    assertMatch(lines[0]!, /502: An SCGI server cannot be reached/);
  } finally {
    await client.close();
  }
});
