/** The gateway: counting, the clock, and shutting down without losing a
 * request. */
import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { AccessRecord, Exchange, Handler } from "../src/exchange.ts";
import { createGateway, type GatewayOptions } from "../src/gateway.ts";
import { ordinaryTimers, useTimers } from "../src/later.ts";
import { silentLogger } from "../src/logger.ts";
import {
  MemoryStream,
  type MemoryStreamOptions,
} from "./support/memory_stream.ts";
import { latin1, octets } from "./support/octets.ts";
import { parseResponses } from "./support/responses.ts";

const request = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

function say({ response }: Exchange, text: string): void {
  const content = octets(text);
  response.start(200, "OK", [], content.length);
  response.write(content);
  response.end();
}

const hello: Handler = (exchange) => say(exchange, "hello");
const hang: Handler = () => new Promise(() => {});

function turn(): Promise<void> {
  return new Promise((pass) => setTimeout(pass, 0));
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 25_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`Waited in vain for ${what}`);
    await turn();
  }
}

function gate(): { passed: Promise<void>; open: () => void } {
  let open!: () => void;
  const passed = new Promise<void>((resolve) => open = resolve);
  return { passed, open };
}

function serving(handler: Handler, options: GatewayOptions = {}) {
  const warned: string[] = [];
  const records: AccessRecord[] = [];
  const log = {
    ...silentLogger,
    warn: (message: string) => warned.push(message),
    error: (message: string) => warned.push(message),
  };
  const gateway = createGateway(handler, {
    log,
    access: (record) => records.push({ ...record }),
    ...options,
  });
  const connect = (pieces: string[] = [], how: MemoryStreamOptions = {}) => {
    const stream = new MemoryStream(pieces, how);
    gateway.accept(stream);
    return stream;
  };
  return { gateway, warned, records, connect };
}

function contents(stream: MemoryStream): string[] {
  return parseResponses(stream.output).map(({ content }) => latin1(content));
}

function connection(stream: MemoryStream): string | undefined {
  return parseResponses(stream.output).at(-1)!.get("connection");
}

/** How many timers are left running by what happens in `body`. */
async function timersLeft(body: () => Promise<void>): Promise<number> {
  const running = new Set<() => void>();
  let used = false;
  useTimers((milliseconds, run) => {
    used = true;
    const callOff = ordinaryTimers(milliseconds, () => {
      running.delete(callOff);
      run();
    });
    running.add(callOff);
    return () => {
      running.delete(callOff);
      callOff();
    };
  });
  try {
    await body();
  } finally {
    useTimers(ordinaryTimers);
  }
  assert(used);
  return running.size;
}

test("Gateway counts what is open", async () => {
  const { gateway, connect } = serving(hello);
  assertEquals(gateway.connections, 0);
  const first = connect();
  const second = connect([request]);
  assertEquals(gateway.connections, 2);
  first.end();
  await until(() => gateway.connections === 1, "the first to leave");
  second.end();
  await until(() => gateway.connections === 0, "the second to leave");
  assertEquals(contents(second), ["hello"]);
});

/** So that the clock is fine. */
const fewAtATime = { connections: 2, sendSeconds: 0.04 };

test("Gateway at its limit closes the oldest connection that is idle", async () => {
  const { gateway, warned, connect } = serving(hello, { limits: fewAtATime });
  const first = connect([request]);
  const second = connect([request]);
  await until(() => contents(second).length === 1, "the answers");
  const early = connect([request]);
  assert(early.closed && !first.closed, "the first has just been answered");
  let third = early;
  await until(() => {
    third = connect([request]);
    return !third.closed;
  }, "the first to have been idle for long enough");
  assert(first.closed && !second.closed);
  assertEquals(gateway.connections, 2);
  await until(() => contents(third).length === 1, "the third's answer");
  assertEquals(warned, [
    "1 new connection(s) closed: 2 are open, and none is idle",
  ]);
  second.end();
  third.end();
  await until(() => gateway.connections === 0, "the others to leave");
});

test("Gateway at its limit closes nobody who is served", async () => {
  const { passed, open } = gate();
  const wait: Handler = async (exchange) => {
    await passed;
    say(exchange, "hello");
  };
  const { gateway, warned, connect } = serving(wait, { limits: fewAtATime });
  const served = [connect([request]), connect([request])];
  const refused = connect([request]);
  assert(refused.closed);
  assertEquals([gateway.connections, warned.length], [2, 1]);
  open();
  await until(
    () => served.every((stream) => contents(stream).length === 1),
    "their answers",
  );
  for (const stream of served) stream.end();
  await until(() => gateway.connections === 0, "them to leave");
  const next = connect([request]);
  next.end();
  await until(() => gateway.connections === 0, "the next to leave");
  assertEquals(contents(next), ["hello"]);
});

test("Gateway leaves no timer behind without connections", async () => {
  const left = await timersLeft(async () => {
    const { gateway, connect } = serving(hello);
    for (let round = 0; round < 3; round++) {
      const streams = [connect(), connect([request])];
      for (const stream of streams) stream.end();
      await until(() => gateway.connections === 0, "all to leave");
    }
    await gateway.shutdown(10);
    const late = connect([request]);
    late.end();
    await until(() => gateway.connections === 0, "the last to leave");
  });
  assertEquals(left, 0);
});

test("Gateway leaves no timer behind when it has cut connections off", async () => {
  const left = await timersLeft(async () => {
    const { gateway, connect } = serving(hang);
    for (let i = 0; i < 3; i++) connect([request]);
    await gateway.shutdown(0);
    await gateway.shutdown(0);
  });
  assertEquals(left, 0);
});

test("Gateway.shutdown() resolves at once when nothing is open", async () => {
  const { gateway } = serving(hello);
  await gateway.shutdown(1000);
  await gateway.shutdown(1000);
});

test("Gateway.shutdown() closes idle connections, new and kept alive", async () => {
  const { gateway, connect, warned } = serving(hello);
  const silent = connect();
  const kept = connect([request]);
  const dangling = connect([`${request}\r`]);
  await kept.untilQuiet();
  await gateway.shutdown(1000);
  for (const stream of [silent, kept, dangling]) {
    assertEquals([stream.closed, stream.wasReset], [true, false]);
  }
  assertEquals([contents(kept), contents(silent)], [["hello"], []]);
  assertEquals([gateway.connections, warned], [0, []]);
});

/** How long something takes, in seconds. A test may ask for the least alone:
 * a machine can always be slower. */
async function durationOf(work: Promise<void>): Promise<number> {
  const began = performance.now();
  await work;
  return (performance.now() - began) / 1000;
}

test("Gateway.shutdown() measures from its own beginning what is idle", async () => {
  const { gateway, connect } = serving(hello);
  const kept = connect([request]);
  await kept.untilQuiet();
  // The clock of a gateway that serves is coarse: it has not moved meanwhile.
  await new Promise((pass) => setTimeout(pass, 1200));
  assert(await durationOf(gateway.shutdown(1000, 0.7)) >= 0.65);
  assertEquals([kept.closed, kept.wasReset], [true, false]);
});

test("Gateway.shutdown() gives who has just connected a second to ask", async () => {
  const { gateway, connect } = serving(hello);
  const silent = connect();
  assert(await durationOf(gateway.shutdown(1000, 0.05)) >= 0.9);
  assertEquals([silent.closed, silent.wasReset], [true, false]);
});

test("Gateway forgives the time in which its process stood still", async () => {
  const { gateway, connect } = serving(hello, { limits: { headSeconds: 0.2 } });
  const stream = connect([request.slice(0, 9)]);
  await stream.untilQuiet();
  // What arrives while nothing turns is read after the clock has been looked at.
  setImmediate(() => stream.push(request.slice(9)));
  const until = performance.now() + 700;
  while (performance.now() < until);
  await stream.until(() => contents(stream).length > 0, "the answer");
  assertEquals(contents(stream), ["hello"]);
  await gateway.shutdown(0);
});

test("Gateway.shutdown() lets running requests end, and says that it closes", async () => {
  const opened = gate();
  const { gateway, connect, records, warned } = serving(async (exchange) => {
    await opened.passed;
    say(exchange, "finished");
  });
  const running = connect([request + request]);
  let down = false;
  const shutdown = gateway.shutdown(1000).then(() => down = true);
  await turn();
  assertEquals([down, running.closed], [false, false]);
  opened.open();
  await running.until(() => running.finished, "the end");
  assertEquals([contents(running), connection(running)], [
    ["finished"],
    "close",
  ]);
  running.end();
  await shutdown;
  assertEquals([records.map(({ status }) => status), warned], [[200], []]);
  assertEquals(running.wasReset, false);
});

test("Gateway.shutdown() lets a head that has begun become a request", async () => {
  const { gateway, connect } = serving(hello);
  const begun = connect(["GET /a HT"]);
  const shutdown = gateway.shutdown(1000);
  const started = Date.now();
  await until(() => Date.now() - started > 500, "longer than idleness lasts");
  assertEquals(begun.closed, false);
  begun.push("TP/1.1\r\nHost: a\r\n\r\n");
  await begun.until(() => begun.finished, "the end");
  assertEquals([contents(begun), connection(begun)], [["hello"], "close"]);
  begun.end();
  await shutdown;
});

test("Gateway.shutdown() serves a request that was on its way, once", async () => {
  const { gateway, connect } = serving(hello);
  const kept = connect([request]);
  await kept.untilQuiet();
  const shutdown = gateway.shutdown(1000);
  kept.push(request + request);
  await kept.until(() => kept.finished, "the end");
  assertEquals([contents(kept), connection(kept)], [
    ["hello", "hello"],
    "close",
  ]);
  kept.end();
  await shutdown;
});

test("Gateway.accept() gives a connection one answer during a shutdown", async () => {
  const { gateway, connect } = serving((exchange) =>
    exchange.head.path === "/hang" ? new Promise(() => {}) : hello(exchange)
  );
  connect([request.replace("/a", "/hang")]);
  const shutdown = gateway.shutdown(1000);
  const late = connect([request + request]);
  const silent = connect();
  await late.until(() => late.finished, "the end");
  assertEquals([contents(late), connection(late)], [["hello"], "close"]);
  await silent.untilClosed();
  assertEquals(silent.writes, 0);
  await gateway.shutdown(0);
  await shutdown;
});

test("Gateway.shutdown() cuts a hung handler off after the grace, and says so", async () => {
  let signal: AbortSignal | undefined;
  const { gateway, connect, warned } = serving((exchange) => {
    signal = exchange.signal;
    return new Promise(() => {});
  });
  const hung = connect([request]);
  await gateway.shutdown(0.1);
  assertEquals([hung.closed, hung.wasReset, gateway.connections], [
    true,
    true,
    0,
  ]);
  assertEquals([signal!.aborted, warned.length], [true, 1]);
  assertStringIncludes(warned[0]!, "GET /a");
});

test("Gateway.shutdown() may be called again, to hurry", async () => {
  const { gateway, connect } = serving(hang);
  const hung = connect([request]);
  const slowly = gateway.shutdown(1000);
  await turn();
  assertEquals(hung.closed, false);
  await gateway.shutdown(0);
  await slowly;
  assertEquals(hung.wasReset, true);
});

test("Gateway.shutdown() is not slowed down by a second call", async () => {
  const { gateway, connect } = serving(hang);
  connect([request]);
  const quickly = gateway.shutdown(0.05);
  const again = gateway.shutdown(1000);
  await Promise.all([quickly, again]);
});

test("Gateway.shutdown(0) cuts off whatever a connection is about", async () => {
  const { gateway, connect, warned } = serving((exchange) =>
    exchange.head.method === "POST"
      ? say(exchange, "unread")
      : say(exchange, "x".repeat(1000))
  );
  const streams = [
    connect(),
    connect(["GET"]),
    connect([request + "\r"]),
    connect(["bad\r\n"]), // lingers
    connect(["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"]), // drains
    connect([request.repeat(100)], { window: 0 }), // stalls between requests
    connect([request], { window: 0 }),
  ];
  await turn();
  assertEquals(gateway.connections, streams.length);
  await gateway.shutdown(0);
  for (const stream of streams) assert(stream.closed);
  assertEquals([gateway.connections, warned], [0, []]);
});

test("Gateway.shutdown() does not truncate a response that is taken slowly", async () => {
  const { gateway, connect } = serving(hello);
  const slow = connect([request], { window: 10 });
  await slow.until(() => slow.held > 0, "a stalled write");
  const shutdown = gateway.shutdown(1000);
  const started = Date.now();
  await until(() => Date.now() - started > 500, "longer than idleness lasts");
  assertEquals(slow.closed, false);
  slow.take();
  await slow.untilClosed();
  await shutdown;
  assertEquals([contents(slow), slow.wasReset], [["hello"], false]);
});

test("Gateway is not harmed by a handler that goes on after it was cut off", async () => {
  const opened = gate();
  const { gateway, connect } = serving(async (exchange) => {
    await opened.passed;
    say(exchange, "too late");
    await exchange.response.flush();
  });
  const hung = connect([request]);
  await gateway.shutdown(0);
  opened.open();
  await turn();
  assertEquals([hung.output.length, gateway.connections], [0, 0]);
});

test("Gateway serves after connections have come and gone", async () => {
  const { connect } = serving(hello);
  for (let i = 0; i < 50; i++) {
    const stream = connect([request]);
    stream.end();
    await stream.untilClosed();
    assertEquals(contents(stream), ["hello"]);
  }
});

test("Gateway takes every limit that it is not given from the defaults", async () => {
  const { connect } = serving(hello, { limits: { requestLine: 20 } });
  const stream = connect([
    `GET /${"a".repeat(20)} HTTP/1.1\r\nHost: a\r\n\r\n`,
  ]);
  await stream.until(() => stream.finished, "the end");
  assertEquals(parseResponses(stream.output)[0]!.status, 414);
  stream.end();
  await stream.untilClosed();
});

test("Gateway holds 5,000 silent connections at little cost, and serves on", async () => {
  const { gateway, connect } = serving(hello);
  const timers = await timersLeft(async () => {
    const silent = Array.from({ length: 5000 }, () => connect());
    const live = connect([request.repeat(100)]);
    await live.untilQuiet();
    assertEquals(contents(live).length, 100);
    assertEquals(gateway.connections, 5001);
    for (const stream of silent) {
      assertEquals([stream.reads, stream.writes], [1, 0]);
    }
    const shutdown = gateway.shutdown(1000);
    await shutdown;
    for (const stream of silent) assert(stream.closed && !stream.wasReset);
  });
  assertEquals([timers, gateway.connections], [0, 0]);
});

test("Gateway closes silent connections when their time is up, all of them", async () => {
  const { gateway, connect } = serving(hello, {
    limits: { idleSeconds: 0.05 },
  });
  const silent = Array.from({ length: 1000 }, () => connect());
  await until(() => gateway.connections === 0, "the last to leave");
  for (const stream of silent) {
    assertEquals([stream.writes, stream.closed], [0, true]);
  }
});
