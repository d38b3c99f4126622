/** The pool of responders, over streams in the hands of the test. */
import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { BackendError, HttpError, StreamError } from "../../src/errors.ts";
import {
  type Backend,
  type BackendOptions,
  BackendPool,
  type PoolOptions,
  type ResponderRequest,
} from "../../src/fastcgi/pool.ts";
import type { CgiResponseHead } from "../../src/http/cgi_response.ts";
import { everySplit } from "../support/every_split.ts";
import { FakeExchange, type FakeRequest } from "../support/fake_exchange.ts";
import { arrived, FakeResponder } from "../support/fake_responder.ts";
import {
  endRequest,
  record,
  stderr,
  stdout,
} from "../support/fastcgi_records.ts";
import type { MemoryStreamOptions } from "../support/memory_stream.ts";
import { concat, latin1 } from "../support/octets.ts";

const head = "Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n";

/** A request, what it was answered, and how it went. */
interface Asked {
  readonly exchange: FakeExchange;
  readonly request: ResponderRequest;
  readonly result: Promise<CgiResponseHead | undefined>;
}

/** A pool with one responder, and a log. */
class Bench {
  readonly log: string[] = [];
  readonly pool: BackendPool;
  readonly responder: FakeResponder;
  readonly backend: Backend;

  constructor(
    options: Partial<PoolOptions & BackendOptions> = {},
    streamOptions: MemoryStreamOptions = {},
  ) {
    const say = (message: string) => void this.log.push(message);
    this.pool = new BackendPool({
      log: { debug() {}, info: say, warn: say, error: say },
      ...options,
    });
    this.responder = new FakeResponder(streamOptions);
    this.backend = this.add(this.responder, options);
  }

  add(
    responder: FakeResponder,
    options: Partial<BackendOptions> = {},
  ): Backend {
    return this.pool.add({
      name: "fake",
      connections: 1,
      ...options,
      connect: responder.connect,
    });
  }

  ask(request: FakeRequest = {}, accepts = () => true): Asked {
    const exchange = new FakeExchange(request);
    const asked: ResponderRequest = {
      exchange,
      content: exchange.body,
      params: (put) => put("URI", exchange.head.target),
      accepts,
      reading: undefined,
    };
    const result = this.pool.request(asked);
    result.catch(() => {}); // whoever awaits it learns it
    return { exchange, request: asked, result };
  }

  async close(): Promise<void> {
    for (const stream of this.responder.streams) {
      assertEquals(stream.misuse, []);
      stream.end();
    }
    await this.pool.close();
  }
}

async function assertFails(
  { result }: Asked,
  status: number,
  message: string,
): Promise<void> {
  const error = await assertRejects(() => result, BackendError, message);
  assertEquals(error.status, status);
}

// ---- One request ----

test("BackendPool has a request answered", async () => {
  const bench = new Bench();
  const { exchange, result } = bench.ask({ target: "/a?b" });
  const request = await bench.responder.request();
  assertEquals(request, {
    keep: true,
    params: { URI: "/a?b" },
    content: "",
    whole: true,
    aborted: false,
  });
  const [stream] = bench.responder.streams;
  assertEquals(stream!.writes, 1);
  stream!.push(concat([stdout(`${head}hello`), endRequest()]));
  assertEquals(await result, undefined);
  const { response } = exchange;
  assertEquals([response.status, response.reason], [200, "OK"]);
  assertEquals(response.fields, [["Content-Type", "text/plain"]]);
  assertEquals([response.content, response.size], ["hello", 5]);
  assertEquals(response.calls, ["start", "write hello", "end"]);
  await bench.close();
});

test("BackendPool reads a response, however it is cut", async () => {
  const bytes = concat([
    stdout("Status: 201 Made\r\n", 7),
    stdout("X: y\r\n\r\nab"),
    stderr("warned\n"),
    stdout("cd", 3),
    stdout(""),
    record(3, "\0\0\0\0\0\0\0\0", { padding: 8 }),
  ]);
  const bench = new Bench();
  let number = 0;
  await everySplit(bytes, async (chunks) => {
    const { exchange, result } = bench.ask();
    await bench.responder.request(0, number++);
    for (const chunk of chunks) {
      await bench.responder.streams[0]!.until(
        () => bench.responder.streams[0]!.waiting,
      );
      bench.responder.streams[0]!.push(chunk);
    }
    await result;
    assertEquals(exchange.response.status, 201);
    assertEquals(exchange.response.fields, [["X", "y"]]);
    assertEquals(exchange.response.content, "abcd");
    assertEquals(bench.log.splice(0), ["GET /: warned"]);
  });
  assertEquals(bench.responder.streams.length, 1);
  await bench.close();
});

test("BackendPool sends each piece of a response on before it waits", async () => {
  const bench = new Bench();
  const { exchange, result } = bench.ask();
  await bench.responder.request();
  const stream = bench.responder.streams[0]!;
  stream.push(stdout(head));
  await stream.untilQuiet();
  assertEquals(exchange.response.calls, ["start", "flush"]);
  stream.push(stdout("one"));
  await stream.untilQuiet();
  assertEquals(exchange.response.flushed, 3);
  assertEquals(exchange.response.size, undefined);
  stream.push(concat([stdout("two"), endRequest()]));
  await result;
  assertEquals(exchange.response.content, "onetwo");
  await bench.close();
});

test("BackendPool sends content that is at hand in one write", async () => {
  const bench = new Bench();
  const { result } = bench.ask({ method: "POST", content: ["a=1", "&b=2"] });
  const request = await bench.responder.request();
  assertEquals(request.content, "a=1&b=2");
  const stream = bench.responder.streams[0]!;
  assertEquals(stream.writes, 1);
  stream.push(concat([stdout(head), endRequest()]));
  await result;
  await bench.close();
});

test("BackendPool sends content as it comes", async () => {
  const bench = new Bench({}, { window: 50_000 });
  const pieces = ["x".repeat(70_000), "y".repeat(30_000), "z"];
  const { result, request } = bench.ask({
    method: "POST",
    content: pieces,
    slowContent: true,
  });
  const stream = await bench.responder.stream(0);
  await stream.until(() => stream.held > 0, "a write that waits");
  stream.take();
  assertEquals((await bench.responder.request()).content, pieces.join(""));
  stream.push(concat([stdout(head), endRequest()]));
  await result;
  assertEquals(request.reading, undefined);
  // The content was sent as a whole, so the connection goes on.
  const next = bench.ask();
  await bench.responder.request(0, 1);
  stream.push(concat([stdout(head), endRequest()]));
  await next.result;
  await bench.close();
});

test("BackendPool gathers no more content than it sends at once", async () => {
  const bench = new Bench();
  const content = Array.from({ length: 20 }, () => "x".repeat(30_000));
  const { result } = bench.ask({ method: "POST", content });
  const request = await bench.responder.request();
  assertEquals(request.content.length, 600_000);
  const stream = bench.responder.streams[0]!;
  assert(stream.writes >= 6, `${stream.writes} writes`);
  stream.push(concat([stdout(head), endRequest()]));
  await result;
  await bench.close();
});

test("BackendPool uses no memory again that a write has still", async () => {
  const bench = new Bench({ connections: 3 }, { window: 10 });
  const content = ["a", "b", "c"].map((one) => one.repeat(30_000));
  const asked = content.map((one) =>
    bench.ask({
      method: "POST",
      target: `/${one[0]}`,
      content: [one, one, one, one],
      slowContent: true,
    })
  );
  for (let index = 0; index < 3; index++) {
    const stream = await bench.responder.stream(index);
    await stream.until(() => stream.held > 0, "a write that waits");
  }
  // Each takes a little at a time, so that all have writes under way.
  const whole = () =>
    bench.responder.streams.every((stream) => arrived(stream)[0]?.whole);
  while (!whole()) {
    for (const stream of bench.responder.streams) stream.take(20_000);
    await nextTurn();
  }
  for (const stream of bench.responder.streams) {
    const [request] = arrived(stream);
    const letter = request!.params.URI!.slice(1);
    assert(request!.content === letter.repeat(120_000), "another's content");
    stream.take();
    stream.push(concat([stdout(head), endRequest()]));
  }
  await Promise.all(asked.map(({ result }) => result));
  await bench.close();
});

test("BackendPool keeps connections, the last one used first", async () => {
  const bench = new Bench({ connections: 2 });
  const asked = [bench.ask(), bench.ask()];
  await bench.responder.request(0);
  await bench.responder.request(1);
  for (const stream of bench.responder.streams) {
    stream.push(concat([stdout(head), endRequest()]));
    await stream.until(() => stream.waiting);
  }
  await Promise.all(asked.map(({ result }) => result));
  for (let number = 1; number < 4; number++) {
    const { result } = bench.ask();
    await bench.responder.request(1, number);
    bench.responder.streams[1]!.push(concat([stdout(head), endRequest()]));
    await result;
  }
  assertEquals(arrived(bench.responder.streams[0]!).length, 1);
  assertEquals(bench.responder.streams.length, 2);
  await bench.close();
});

test("BackendPool asks for a connection to be closed where none are kept", async () => {
  const bench = new Bench({ keepAlive: false });
  for (let index = 0; index < 3; index++) {
    const { result } = bench.ask();
    const request = await bench.responder.request(index);
    assertEquals(request.keep, false);
    const stream = bench.responder.streams[index]!;
    stream.push(concat([stdout(head), endRequest()]));
    await result;
    await stream.untilClosed();
  }
  await bench.close();
});

test("BackendPool leaves HEAD and 304 without a length of its own", async () => {
  const bench = new Bench();
  const cases: [FakeRequest, string][] = [
    [{ method: "HEAD" }, head],
    [{ method: "HEAD" }, "Status: 200\nContent-Length: 1\n\n"],
    [{}, "Status: 304\n\n"],
  ];
  let number = 0;
  for (const [request, text] of cases) {
    const { exchange, result } = bench.ask(request);
    await bench.responder.request(0, number++);
    bench.responder.streams[0]!.push(
      concat([stdout(`${text}ignored`), endRequest()]),
    );
    await result;
    assertEquals(exchange.response.size, undefined);
    assertEquals(exchange.response.content, "");
    assertEquals(bench.log, []);
  }
  await bench.close();
});

test("BackendPool cuts what exceeds Content-Length, and says so", async () => {
  const bench = new Bench();
  const { exchange, result } = bench.ask();
  await bench.responder.request();
  bench.responder.streams[0]!.push(concat([
    stdout("Status: 200\nContent-Length: 3\n\nabcd"),
    stdout("ef"),
    endRequest(),
  ]));
  await result;
  assertEquals(exchange.response.content, "abc");
  assertEquals(bench.log, [
    "GET /: the response is longer than its Content-Length, 3",
  ]);
  await bench.close();
});

test("BackendPool blames the responder for what falls short of Content-Length", async () => {
  const bench = new Bench();
  const { result } = bench.ask();
  await bench.responder.request();
  bench.responder.streams[0]!.push(concat([
    stdout("Status: 200\nContent-Length: 3\n\nab"),
    endRequest(),
  ]));
  const error = await assertRejects(() => result, BackendError, "is none");
  assertEquals(error.status, 502);
  await bench.close();
});

test("BackendPool logs an application status and STDERR without an end", async () => {
  const bench = new Bench();
  const { result } = bench.ask({ target: "/a\xe9" });
  await bench.responder.request();
  bench.responder.streams[0]!.push(
    concat([stderr("half a line \xc3"), stdout(head), endRequest(7)]),
  );
  await result;
  assertEquals(bench.log, [
    "GET /a\\xe9: half a line ",
    "GET /a\\xe9: ended with status 7",
  ]);
  await bench.close();
});

test("BackendPool logs a letter of STDERR that comes in two records", async () => {
  const bench = new Bench();
  const { result } = bench.ask();
  await bench.responder.request();
  bench.responder.streams[0]!.push(
    concat([stderr("caf\xc3"), stderr("\xa9\n"), stdout(head), endRequest()]),
  );
  await result;
  assertEquals(bench.log, ["GET /: caf\xe9"]);
  await bench.close();
});

test("BackendPool logs what a lost connection had begun to say", async () => {
  const bench = new Bench();
  const asked = bench.ask();
  await bench.responder.request();
  bench.responder.streams[0]!.push(stderr("last words"));
  bench.responder.streams[0]!.end();
  await assertFails(asked, 502, "closed the connection");
  assertEquals(bench.log, ["GET /: last words"]);
  await bench.close();
});

test("BackendPool hands back a head that is not accepted, without its content", async () => {
  const bench = new Bench();
  const { exchange, result } = bench.ask({}, () => false);
  await bench.responder.request();
  const stream = bench.responder.streams[0]!;
  stream.push(stdout("Status: 200\nX-Sendfile: /a\n\nabc"));
  stream.push(concat([stdout("def"), endRequest()]));
  assertEquals((await result)?.fields, [["X-Sendfile", "/a"]]);
  assertEquals(exchange.response.calls, []);
  await bench.close();
});

// ---- The queue ----

test("BackendPool queues in order what there is no connection for", async () => {
  const bench = new Bench({ connections: 1 });
  const asked = ["/1", "/2", "/3"].map((target) => bench.ask({ target }));
  for (const [number, { result }] of asked.entries()) {
    const request = await bench.responder.request(0, number);
    assertEquals(request.params.URI, `/${number + 1}`);
    assertEquals(bench.pool.waiting, 2 - number);
    bench.responder.streams[0]!.push(concat([stdout(head), endRequest()]));
    await result;
  }
  assertEquals(bench.responder.streams.length, 1);
  await bench.close();
});

test("BackendPool lets those leave the queue whose clients have left", async () => {
  const bench = new Bench({ connections: 1 });
  const first = bench.ask({ target: "/1" });
  await bench.responder.request();
  const second = bench.ask({ target: "/2" });
  const third = bench.ask({ target: "/3" });
  second.exchange.controller.abort();
  await assertRejects(() => second.result, StreamError);
  assertEquals(bench.pool.waiting, 1);
  bench.responder.streams[0]!.push(concat([stdout(head), endRequest()]));
  await first.result;
  assertEquals((await bench.responder.request(0, 1)).params.URI, "/3");
  bench.responder.streams[0]!.push(concat([stdout(head), endRequest()]));
  await third.result;
  await bench.close();
});

test("BackendPool refuses what the queue has no place for", async () => {
  const bench = new Bench({ connections: 1, queueLength: 1 });
  const first = bench.ask();
  await bench.responder.request();
  const second = bench.ask();
  await assertFails(bench.ask(), 503, "Too many requests wait");
  for (const [number, { result }] of [first, second].entries()) {
    await bench.responder.request(0, number);
    bench.responder.streams[0]!.push(concat([stdout(head), endRequest()]));
    await result;
  }
  await bench.close();
});

test("BackendPool refuses what has waited too long", async () => {
  const bench = new Bench({ connections: 1, queueSeconds: 0.001 });
  const first = bench.ask();
  await bench.responder.request();
  await assertFails(bench.ask(), 503, "became free");
  bench.responder.streams[0]!.push(concat([stdout(head), endRequest()]));
  await first.result;
  await bench.close();
});

test("BackendPool gives a request to the responder with the fewest in hand", async () => {
  const bench = new Bench({ connections: 4 });
  const other = new FakeResponder();
  bench.add(other, { connections: 4 });
  for (let count = 0; count < 4; count++) {
    bench.ask();
    const open = () => bench.responder.streams.length + other.streams.length;
    while (open() <= count) await Promise.resolve();
  }
  assertEquals([bench.responder.streams.length, other.streams.length], [2, 2]);
  await bench.responder.request(1);
  await other.request(1);
  other.streams.forEach((stream) => stream.end());
  await bench.close();
});

test("BackendPool keeps requests while it has no responder", async () => {
  const bench = new Bench();
  await bench.pool.retire(bench.backend);
  const { result } = bench.ask();
  assertEquals(bench.pool.waiting, 1);
  const other = new FakeResponder();
  bench.add(other);
  await other.request();
  other.streams[0]!.push(concat([stdout(head), endRequest()]));
  await result;
  await bench.close();
});

// ---- Responders that come and go ----

test("BackendPool.retire() waits for what runs, and gives no more", async () => {
  const bench = new Bench({ connections: 2 });
  const asked = [bench.ask(), bench.ask()];
  await bench.responder.request(0);
  await bench.responder.request(1);
  const [idle, busy] = bench.responder.streams;
  idle!.push(concat([stdout(head), endRequest()]));
  await idle!.until(() => idle!.waiting);
  let retired = false;
  const retiring = bench.pool.retire(bench.backend).then(() => retired = true);
  await idle!.untilClosed();
  const waits = bench.ask();
  assertEquals(bench.backend.running().length, 1);
  assertEquals(retired, false);
  busy!.push(concat([stdout(head), endRequest()]));
  await Promise.all(asked.map(({ result }) => result));
  await retiring;
  assert(busy!.closed);
  assertEquals(bench.pool.waiting, 1);
  await bench.close();
  await assertFails(waits, 503, "closed");
});

test("BackendPool has no more patience with what retires", async () => {
  const bench = new Bench({ timeoutSeconds: 0.001 });
  const asked = bench.ask();
  await bench.responder.request();
  const retiring = bench.pool.retire(bench.backend);
  await assertFails(asked, 504, "too slow");
  await retiring;
  await bench.close();
});

test("Backend.running() tells what is in hand", async () => {
  const bench = new Bench({ connections: 2 });
  const before = performance.now();
  const { result } = bench.ask({ method: "PUT", target: "/a" });
  await bench.responder.request();
  const [run] = bench.backend.running();
  assertEquals([run?.method, run?.target], ["PUT", "/a"]);
  assert(run!.startedAt >= before && run!.progressAt >= run!.startedAt);
  bench.responder.streams[0]!.push(concat([stdout(head), endRequest()]));
  await result;
  assertEquals(bench.backend.running(), []);
  await bench.close();
});

test("Backend.fail() cuts what runs, and nothing that waits", async () => {
  const bench = new Bench({ connections: 1 });
  const unsent = bench.ask();
  await bench.responder.request();
  const waits = bench.ask({ target: "/next" });
  bench.backend.fail("The process has hung");
  await assertFails(unsent, 502, "The process has hung");
  assert(bench.responder.streams[0]!.closed);
  assertEquals((await bench.responder.request(1)).params.URI, "/next");
  bench.responder.streams[1]!.push(concat([stdout(head), endRequest()]));
  await waits.result;
  await bench.close();
});

test("BackendPool loses no more than what a responder had in hand", async () => {
  const bench = new Bench({ connections: 2 });
  const lost = [bench.ask({ method: "POST" }), bench.ask({ method: "POST" })];
  const waiting = [bench.ask(), bench.ask(), bench.ask()];
  await bench.responder.request(1);
  for (const stream of bench.responder.streams.slice(0, 2)) stream.end();
  for (const one of lost) await assertFails(one, 502, "closed the connection");
  for (let index = 0; index < 2; index++) {
    await bench.responder.request(2 + index);
    const stream = bench.responder.streams[2 + index]!;
    stream.push(concat([stdout(head), endRequest()]));
  }
  await Promise.all(waiting.slice(0, 2).map(({ result }) => result));
  const last = bench.responder.streams.slice(2)
    .find((stream) => arrived(stream).length === 2);
  last!.push(concat([stdout(head), endRequest()]));
  await waiting[2]!.result;
  await bench.close();
});

test("BackendPool says when a responder cannot be reached", async () => {
  const bench = new Bench();
  bench.responder.refusal = new Error("connect ECONNREFUSED");
  const asked = Array.from({ length: 5 }, () => bench.ask());
  for (const one of asked) {
    await assertFails(one, 502, "cannot be reached");
    const error = await one.result.catch((error: BackendError) => error);
    assertEquals(
      (error as BackendError).detail,
      "fake: Error: connect ECONNREFUSED",
    );
  }
  bench.responder.refusal = undefined;
  const { result } = bench.ask();
  await bench.responder.request();
  bench.responder.streams[0]!.push(concat([stdout(head), endRequest()]));
  await result;
  await bench.close();
});

test("BackendPool has come again who meets a responder with a full queue", async () => {
  const bench = new Bench();
  const refusal = new Error("connect EAGAIN");
  bench.responder.refusal = Object.assign(refusal, { code: "EAGAIN" });
  await assertFails(bench.ask(), 503, "cannot be reached");
  await bench.close();
});

test("BackendPool goes to another responder where one cannot be reached", async () => {
  const bench = new Bench();
  const other = new FakeResponder();
  bench.add(other);
  bench.responder.refusal = new Error("connect ENOENT");
  for (let number = 0; number < 4; number++) {
    const { result } = bench.ask();
    await other.request(0, number);
    other.streams[0]!.push(concat([stdout(head), endRequest()]));
    await result;
  }
  other.streams[0]!.end();
  await bench.close();
});

// ---- Lost connections ----

/** A request on a connection that has served one before. */
async function onKept(bench: Bench, request: FakeRequest): Promise<Asked> {
  const before = bench.ask();
  await bench.responder.request();
  bench.responder.streams[0]!.push(concat([stdout(head), endRequest()]));
  await before.result;
  const asked = bench.ask(request);
  await bench.responder.request(0, 1);
  return asked;
}

test("BackendPool sends an idempotent request again that a kept connection lost", async () => {
  for (const end of ["end", "fail"] as const) {
    const bench = new Bench();
    const { exchange, result } = await onKept(bench, { target: "/again" });
    bench.responder.streams[0]![end]();
    assertEquals((await bench.responder.request(1)).params.URI, "/again");
    const stream = bench.responder.streams[1]!;
    stream.push(concat([stdout(`${head}x`), endRequest()]));
    await result;
    assertEquals(exchange.response.content, "x");
    await bench.close();
  }
});

test("BackendPool does not send again what may have been done", async () => {
  const lost: [FakeRequest, string][] = [
    [{ method: "POST" }, ""],
    [{ method: "PATCH" }, ""],
    [{ method: "PUT", content: ["a"] }, ""],
    [{}, "Status: 2"],
  ];
  for (const [request, answer] of lost) {
    const bench = new Bench();
    const asked = await onKept(bench, request);
    const stream = bench.responder.streams[0]!;
    if (answer !== "") stream.push(stdout(answer));
    stream.end();
    await assertFails(asked, 502, "closed the connection");
    await bench.close();
  }
});

test("BackendPool sends again no more than once", async () => {
  const bench = new Bench();
  const asked = await onKept(bench, {});
  bench.responder.streams[0]!.end();
  await bench.responder.request(1);
  bench.responder.streams[1]!.end();
  await assertFails(asked, 502, "closed the connection");
  await bench.close();
});

test("BackendPool sends nothing again that a supervised responder lost", async () => {
  const bench = new Bench({ supervised: true });
  const asked = await onKept(bench, {});
  bench.responder.streams[0]!.end();
  await assertFails(asked, 502, "closed the connection");
  await bench.close();
});

test("BackendPool waits for a supervised responder, or whoever takes its place", async () => {
  const bench = new Bench({ supervised: true });
  bench.responder.refusal = new Error("connect ECONNREFUSED");
  const asked = [bench.ask(), bench.ask()];
  const other = new FakeResponder();
  other.answer = () => head;
  // It is tried, and then left alone.
  await new Promise((resolve) => setTimeout(resolve));
  bench.add(other, { supervised: true });
  await Promise.all(asked.map(({ result }) => result));
  assertEquals(bench.responder.streams.length, 0);
  await bench.close();
});

test("BackendPool takes the end of one connection for the end of a supervised responder", async () => {
  const bench = new Bench({ supervised: true, connections: 3 });
  const lost = [bench.ask(), bench.ask({ method: "POST" })];
  await bench.responder.request(0);
  await bench.responder.request(1);
  bench.responder.streams[0]!.end();
  await assertRejects(
    () => Promise.all(lost.map(({ result }) => result)),
    BackendError,
    "closed the connection",
  );
  const { exchange, result } = bench.ask({ target: "/next" });
  const other = new FakeResponder();
  other.answer = () => `${head}next`;
  bench.add(other, { supervised: true });
  await result;
  assertEquals(exchange.response.content, "next");
  assertEquals(bench.responder.streams.length, 2);
  bench.responder.streams[1]!.end();
  for (const one of lost) await assertFails(one, 502, "closed the connection");
  await bench.close();
});

test("BackendPool does not take a response that is cut for that", async () => {
  const bench = new Bench({ supervised: true });
  const cut = bench.ask();
  await bench.responder.request();
  bench.responder.streams[0]!.push(stdout(`${head}begun`));
  bench.responder.streams[0]!.end();
  await assertFails(cut, 502, "closed the connection");
  const next = bench.ask();
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(bench.responder.streams.length, 2);
  await bench.responder.request(1);
  bench.responder.streams[1]!.push(concat([stdout(head), endRequest()]));
  await next.result;
  await bench.close();
});

test("BackendPool sends again no more than once, on kept connections either", async () => {
  const bench = new Bench({ connections: 2 });
  const before = [bench.ask(), bench.ask()];
  await bench.responder.request(0);
  await bench.responder.request(1);
  const [first, second] = bench.responder.streams;
  for (const stream of [first!, second!]) {
    stream.push(concat([stdout(head), endRequest()]));
    await stream.until(() => stream.waiting);
  }
  await Promise.all(before.map(({ result }) => result));
  const asked = bench.ask();
  await bench.responder.request(1, 1);
  second!.end();
  await bench.responder.request(0, 1);
  first!.end();
  await assertFails(asked, 502, "closed the connection");
  await bench.close();
});

test("BackendPool sends on another connection what a dead one did not take", async () => {
  for (const queued of [false, true]) {
    const bench = new Bench();
    const before = bench.ask();
    await bench.responder.request();
    const stream = bench.responder.streams[0]!;
    // The peer leaves with its answer: a write fails before a read could tell.
    Object.defineProperty(stream, "write", {
      value: () => {
        throw new StreamError("Broken pipe");
      },
    });
    const request = { method: "POST", content: ["only once"] };
    let asked = queued ? bench.ask(request) : undefined;
    stream.push(concat([stdout(head), endRequest()]));
    await before.result;
    asked ??= bench.ask(request);
    const { content, keep } = await bench.responder.request(1);
    assertEquals([content, keep], ["only once", true]);
    bench.responder.streams[1]!.push(concat([stdout(head), endRequest()]));
    await asked.result;
    await bench.close();
  }
});

test("BackendPool does not use a connection that was closed meanwhile", async () => {
  const bench = new Bench();
  const before = bench.ask();
  await bench.responder.request();
  const stream = bench.responder.streams[0]!;
  stream.push(concat([stdout(head), endRequest()]));
  await before.result;
  stream.end();
  await stream.untilClosed();
  const { result } = bench.ask({ method: "POST" });
  await bench.responder.request(1);
  bench.responder.streams[1]!.push(concat([stdout(head), endRequest()]));
  await result;
  await bench.close();
});

// ---- Responders that break the protocol ----

const broken: readonly [what: string, status: number, bytes: Uint8Array][] = [
  ["another version", 502, Uint8Array.of(9, 6, 0, 1, 0, 0, 0, 0)],
  ["another id", 502, record(6, "a", { id: 2 })],
  ["no head", 502, endRequest()],
  ["half a head", 502, concat([stdout("Status: 200\n"), endRequest()])],
  ["a head that is malformed", 502, stdout("HTTP/1.1 200 OK\r\n\r\n")],
  ["a head that is endless", 502, stdout("x".repeat(65_535))],
  ["a refusal to share the connection", 502, endRequest(0, 1)],
  ["an overload", 503, endRequest(0, 2)],
  ["an unknown role", 502, endRequest(0, 3)],
];

for (const [what, status, bytes] of broken) {
  test(`BackendPool makes ${status} of ${what}`, async () => {
    const bench = new Bench();
    const asked = bench.ask();
    await bench.responder.request();
    const stream = bench.responder.streams[0]!;
    stream.push(bytes);
    if (what === "a head that is endless") stream.push(bytes);
    await assertFails(asked, status, "");
    assertEquals(asked.exchange.response.calls, []);
    await bench.close();
  });
}

test("BackendPool cuts a response that becomes no FastCGI", async () => {
  const bench = new Bench();
  const asked = bench.ask();
  await bench.responder.request();
  const stream = bench.responder.streams[0]!;
  stream.push(stdout(`${head}abc`));
  await stream.untilQuiet();
  stream.push("nonsense");
  await assertFails(asked, 502, "malformed");
  assertEquals(asked.exchange.response.ended, false);
  assert(stream.closed);
  await bench.close();
});

test("BackendPool closes a connection on which it is spoken to unasked", async () => {
  for (const idle of [true, false]) {
    const bench = new Bench();
    const { exchange, result } = bench.ask();
    await bench.responder.request();
    const stream = bench.responder.streams[0]!;
    const answer = concat([stdout(`${head}abc`), endRequest()]);
    if (idle) stream.push(answer);
    else stream.push(concat([answer, stdout("more")]));
    await result;
    assertEquals(exchange.response.content, "abc");
    if (idle) stream.push(stdout("more"));
    await stream.untilClosed();
    await bench.close();
  }
});

test("BackendPool goes on when the responder lacks a record type", async () => {
  const bench = new Bench();
  const { result } = bench.ask();
  await bench.responder.request();
  bench.responder.streams[0]!.push(concat([
    record(11, "\x02\0\0\0\0\0\0\0", { id: 0 }),
    stdout(head),
    endRequest(),
  ]));
  await result;
  await bench.close();
});

test("BackendPool closes a connection whose request ended before its content", async () => {
  const bench = new Bench({}, { window: 1000 });
  const content = ["x".repeat(5000)];
  const { exchange, result } = bench.ask({ method: "POST", content });
  const stream = await bench.responder.stream(0);
  await stream.until(() => stream.held > 0, "a write that waits");
  stream.push(concat([stdout("Status: 413\n\n"), endRequest()]));
  await result;
  assertEquals(exchange.response.status, 413);
  await stream.untilClosed();
  await bench.close();
});

test("BackendPool answers while the client still sends", async () => {
  const bench = new Bench();
  const { exchange, request, result } = bench.ask({ method: "POST" });
  const arriving = new Promise<Uint8Array>(() => {});
  Object.defineProperty(exchange.body, "read", { value: () => arriving });
  const stream = await bench.responder.stream(0);
  await bench.responder.request(0, 0, () => true);
  stream.push(concat([stdout("Status: 413\n\n"), endRequest()]));
  await result;
  assertEquals(request.reading, arriving);
  await stream.untilClosed();
  await bench.close();
});

test("BackendPool fails with what reading the content failed with", async () => {
  for (const slowContent of [true, false]) {
    const bench = new Bench();
    const error = new HttpError(413, "Content too large");
    const { result } = bench.ask({
      method: "POST",
      content: ["abc", error],
      slowContent,
    });
    assertEquals(await assertRejects(() => result, HttpError), error);
    const stream = await bench.responder.stream(0);
    await stream.untilClosed();
    assertEquals(arrived(stream)[0]?.aborted, true);
    await bench.close();
  }
});

// ---- Clients that leave, and slow ones ----

test("BackendPool closes the connection of a client that has left", async () => {
  const bench = new Bench();
  const { exchange, result } = bench.ask();
  const stream = await bench.responder.stream(0);
  await bench.responder.request();
  exchange.controller.abort();
  await assertRejects(() => result, StreamError);
  await stream.untilClosed();
  assertEquals(arrived(stream)[0]?.aborted, true);
  await bench.close();
});

test("BackendPool keeps the connection where an abort is honoured", async () => {
  const bench = new Bench({ honoursAbort: true });
  const left = bench.ask({ leavesAfter: 4 });
  const stream = await bench.responder.stream(0);
  await bench.responder.request();
  stream.push(stdout(`${head}12345`));
  await assertRejects(() => left.result, StreamError);
  const aborted = await bench.responder.request(0, 0, (one) => one.aborted);
  assert(aborted.aborted);
  assertEquals(bench.backend.running().length, 1);
  const next = bench.ask({ target: "/next" });
  stream.push(concat([stdout("dropped"), stderr("told\n"), endRequest()]));
  assertEquals((await bench.responder.request(0, 1)).params.URI, "/next");
  stream.push(concat([stdout(head), endRequest()]));
  await next.result;
  assertEquals(next.exchange.response.content, "");
  assertEquals(bench.log, ["GET /: told"]);
  await bench.close();
});

test("BackendPool closes a connection whose abort takes too long, or too much", async () => {
  const late = new Bench({ honoursAbort: true, abortSeconds: 0.001 });
  const first = late.ask();
  await late.responder.request();
  first.exchange.controller.abort();
  await late.responder.streams[0]!.untilClosed();
  await late.close();

  const much = new Bench({ honoursAbort: true, abortSeconds: 3600 });
  const second = much.ask({ leavesAfter: 0 });
  await much.responder.request();
  const stream = much.responder.streams[0]!;
  stream.push(stdout(`${head}1`));
  await assertRejects(() => second.result, StreamError);
  for (let count = 0; count < 17; count++) {
    stream.push(stdout("x".repeat(65_000)));
  }
  await stream.untilClosed();
  await much.close();
});

test("BackendPool gives up a responder that is too slow", async () => {
  const bench = new Bench({ timeoutSeconds: 0.001 });
  const asked = bench.ask();
  await bench.responder.request();
  await assertFails(asked, 504, "too slow");
  await bench.responder.streams[0]!.untilClosed();
  await bench.close();
});

test("BackendPool does not blame the responder for its client", async () => {
  const bench = new Bench({ timeoutSeconds: 0.3 });
  const asked = bench.ask({ method: "POST" });
  let arrive = (_: null) => {};
  const arriving = new Promise<null>((resolve) => arrive = resolve);
  Object.defineProperty(asked.exchange.body, "read", { value: () => arriving });
  await bench.responder.request(0, 0, () => true);
  const started = performance.now();
  const run = bench.backend.running()[0]!;
  // Twice the timeout has passed, and it counts as progress all the same.
  while (run.progressAt - started < 600) await nextTurn();
  arrive(null);
  await bench.responder.request();
  bench.responder.streams[0]!.push(concat([stdout(head), endRequest()]));
  await asked.result;
  await bench.close();
});

test("BackendPool holds a response for a slow client, so that the responder is free", async () => {
  const bench = new Bench();
  const client = new SlowClient();
  const first = bench.ask();
  client.takeOver(first.exchange);
  await bench.responder.request();
  const stream = bench.responder.streams[0]!;
  const blocks = Array.from(
    { length: 5 },
    (_, at) => String(at).repeat(50_000),
  );
  stream.push(stdout(head));
  for (const block of blocks) stream.push(stdout(block));
  stream.push(endRequest());
  // The client has taken nothing, and the responder has the next in hand.
  const next = bench.ask();
  await bench.responder.request(0, 1);
  stream.push(concat([stdout(head), endRequest()]));
  await next.result;
  while (client.content.length < 250_000) {
    client.drain();
    await nextTurn();
  }
  client.drain();
  await first.result;
  assertEquals(client.content, blocks.join(""));
  await bench.close();
});

test("BackendPool waits for a slow client with its first piece alone", async () => {
  const bench = new Bench();
  const client = new SlowClient();
  const first = bench.ask();
  client.takeOver(first.exchange);
  await bench.responder.request();
  const stream = bench.responder.streams[0]!;
  stream.push(stdout(`${head}a`));
  // Nobody knew yet that it is slow.
  while (client.content === "") {
    client.drain();
    await nextTurn();
  }
  stream.push(stdout("b"));
  stream.push(concat([stdout("c"), endRequest()]));
  const next = bench.ask();
  await bench.responder.request(0, 1);
  stream.push(concat([stdout(head), endRequest()]));
  await next.result;
  assertEquals(client.content, "a");
  while (client.content.length < 3) {
    client.drain();
    await nextTurn();
  }
  await first.result;
  assertEquals(client.content, "abc");
  await bench.close();
});

test("BackendPool lets a slow client have a response whose connection is lost", async () => {
  const bench = new Bench();
  const client = new SlowClient();
  const { exchange, result } = bench.ask();
  client.takeOver(exchange);
  await bench.responder.request();
  const stream = bench.responder.streams[0]!;
  const content = "x".repeat(40_000);
  stream.push(
    concat([stdout(`${head}${content}`), endRequest(), stdout("nonsense")]),
  );
  await stream.untilClosed();
  while (client.content === "") {
    client.drain();
    await nextTurn();
  }
  await result;
  assertEquals(client.content, content);
  await bench.close();
});

test("BackendPool makes the responder wait beyond its buffer", async () => {
  const bench = new Bench({ bufferSize: 100_000 });
  const client = new SlowClient();
  const { exchange, result } = bench.ask();
  client.takeOver(exchange);
  await bench.responder.request();
  const stream = bench.responder.streams[0]!;
  stream.push(stdout(head));
  for (let count = 0; count < 10; count++) {
    stream.push(stdout("x".repeat(40_000)));
  }
  stream.push(endRequest());
  for (let turns = 0; turns < 20; turns++) await nextTurn();
  // The head, and the blocks that exceed the limit.
  assertEquals(stream.reads, 4);
  while (client.content.length < 400_000) {
    client.drain();
    await nextTurn();
  }
  client.drain();
  await result;
  assertEquals(client.content, "x".repeat(400_000));
  await bench.close();
});

test("BackendPool settles every request, whatever the responder says", async () => {
  const random = randomOf(3);
  const bench = new Bench({ timeoutSeconds: 0.001 });
  for (let round = 0; round < 150; round++) {
    const parts = [stdout(head, random(9)), stdout("x".repeat(random(40)))];
    if (random(2) === 0) parts.push(stderr("y"));
    parts.push(endRequest(0, random(5) === 0 ? random(5) : 0));
    if (random(8) === 0) parts.push(endRequest());
    const bytes = concat(parts);
    for (let faults = random(3); faults > 0; faults--) {
      bytes[random(bytes.length)] = random(256);
    }
    const { streams } = bench.responder;
    const requests = () =>
      streams.reduce((sum, stream) => sum + arrived(stream).length, 0);
    const before = requests();
    const { result } = bench.ask();
    while (requests() === before) await Promise.resolve();
    const stream = streams.find(({ closed }) => !closed)!;
    const cut = random(bytes.length);
    stream.push(bytes.subarray(0, cut));
    stream.push(bytes.subarray(cut));
    if (random(4) === 0) stream.end();
    const outcome = await result.then(() => undefined, (error) => error);
    assert(outcome === undefined || outcome instanceof BackendError, outcome);
  }
  await bench.close();
});

/** The same numbers below a bound each time. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
}

test("BackendPool closes a connection that nobody came for", async () => {
  const bench = new Bench({ keepAlive: false, idleSeconds: 0.001 });
  const { exchange, result } = bench.ask();
  exchange.controller.abort();
  const stream = await bench.responder.stream(0);
  await result.catch(() => {});
  await stream.untilClosed();
  await bench.close();
});

test("BackendPool closes connections that are idle for too long", async () => {
  const bench = new Bench({ idleSeconds: 0.001 });
  const { result } = bench.ask();
  await bench.responder.request();
  bench.responder.streams[0]!.push(concat([stdout(head), endRequest()]));
  await result;
  await bench.responder.streams[0]!.untilClosed();
  await bench.close();
});

/** A client that takes what it is given when the test says so. */
class SlowClient {
  content = "";
  #waiting: (() => void) | undefined;

  takeOver({ response }: FakeExchange): void {
    const write = (content: Uint8Array) => {
      if (this.#waiting !== undefined) throw new Error("Two writes at once");
      return new Promise<void>((resolve) => {
        this.#waiting = () => {
          // Memory that was used again too early would show.
          this.content += latin1(content);
          response.content = this.content;
          resolve();
        };
      });
    };
    Object.defineProperty(response, "write", { value: write });
  }

  drain(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}
