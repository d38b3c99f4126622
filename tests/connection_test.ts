/** One connection from its first byte to its last, over memory: order,
 * persistence, failures, deadlines, and what the access log is told. */
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import {
  ApplicationError,
  BackendError,
  HttpError,
  StreamError,
} from "../src/errors.ts";
import { Connection } from "../src/connection.ts";
import type {
  AccessRecord,
  Exchange,
  Handler,
  RequestHead,
} from "../src/exchange.ts";
import { createGateway, type Gateway } from "../src/gateway.ts";
import { defaultLimits, type Limits } from "../src/limits.ts";
import { silentLogger } from "../src/logger.ts";
import { everySplit } from "./support/every_split.ts";
import {
  MemoryStream,
  type MemoryStreamOptions,
} from "./support/memory_stream.ts";
import { latin1, octets } from "./support/octets.ts";
import {
  type ParsedResponse,
  parseResponses,
  readResponses,
} from "./support/responses.ts";

type Record = { -readonly [key in keyof AccessRecord]: AccessRecord[key] };

/** A gateway with one connection, and all that it said. */
class Bench {
  readonly gateway: Gateway;
  readonly stream: MemoryStream;
  readonly records: Record[] = [];
  readonly logged: string[] = [];
  methods: string[] = [];

  constructor(
    handler: Handler,
    pieces: readonly (Uint8Array | string)[] = [],
    limits: Partial<Limits> = {},
    options: MemoryStreamOptions = {},
  ) {
    const level = (name: string) => (message: string) => {
      this.logged.push(`${name} ${message}`);
    };
    this.gateway = createGateway(handler, {
      limits,
      log: {
        debug: level("debug"),
        info: level("info"),
        warn: level("warn"),
        error: level("error"),
      },
      access: (record) => this.records.push({ ...record }),
    });
    this.stream = new MemoryStream(pieces, options);
    this.gateway.accept(this.stream);
  }

  get responses(): ParsedResponse[] {
    return parseResponses(this.stream.output, {
      method: (index) => this.methods[index],
    });
  }

  get contents(): string[] {
    return this.responses.map(({ content }) => latin1(content));
  }

  get statuses(): number[] {
    return this.responses.map(({ status }) => status);
  }

  get recorded(): number[] {
    return this.records.map(({ status }) => status);
  }

  blamed(): string[] {
    return this.logged.filter((line) => /^(warn|error)/.test(line));
  }

  /** Settles when so many whole responses have been sent. */
  answered(count: number): Promise<void> {
    return this.stream.until(
      () => readResponses(this.stream.output).responses.length >= count,
      `${count} responses`,
    );
  }

  /** The peer goes; nothing may be left, and nothing misused. */
  async done(): Promise<void> {
    this.stream.end();
    await this.stream.untilClosed();
    await until(() => this.gateway.connections === 0, "the last connection");
    assertEquals(this.stream.misuse, []);
  }
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 25_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`Waited in vain for ${what}`);
    await turn();
  }
}

function turn(): Promise<void> {
  return new Promise((pass) => setTimeout(pass, 0));
}

/** A promise to be settled by hand. */
function gate(): { passed: Promise<void>; open: () => void } {
  let open!: () => void;
  const passed = new Promise<void>((resolve) => open = resolve);
  return { passed, open };
}

function get(path: string, lines = ""): string {
  return `GET ${path} HTTP/1.1\r\nHost: a\r\n${lines}\r\n`;
}

function post(path: string, content: string, lines = ""): string {
  return `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${content.length}\r\n` +
    `${lines}\r\n${content}`;
}

function say({ response }: Exchange, text: string): void {
  const content = octets(text);
  response.start(200, "OK", [], content.length);
  response.write(content);
  response.end();
}

/** Answers with the path, at once. */
const path: Handler = (exchange) => say(exchange, exchange.head.path);

/** Answers with the content, once all of it is here. */
const echo: Handler = async (exchange) => {
  let text = "";
  for (;;) {
    const piece = await exchange.body.read();
    if (piece === null) break;
    text += latin1(piece);
  }
  say(exchange, text);
};

/** Times that a test can wait for. */
const soon: Partial<Limits> = {
  headSeconds: 0.05,
  bodySeconds: 0.05,
  idleSeconds: 0.05,
  sendSeconds: 0.05,
  lingerSeconds: 0.05,
};
/** Only this one is soon. */
function only(name: keyof Limits): Partial<Limits> {
  return { [name]: soon[name] };
}

// Order and persistence

test("Connection answers 100 pipelined requests in order, in one write", async () => {
  const paths = Array.from({ length: 100 }, (_, i) => `/${i}`);
  const bench = new Bench(path, [paths.map((p) => get(p)).join("")]);
  await bench.stream.untilQuiet();
  assertEquals(bench.contents, paths);
  assertEquals(bench.stream.writes, 1);
  assertEquals(bench.recorded, paths.map(() => 200));
  await bench.done();
});

test("Connection keeps the order of sync and async handlers", async () => {
  const paths = Array.from({ length: 100 }, (_, i) => `/${i}`);
  const mixed: Handler = (exchange) => {
    const number = Number(exchange.head.path.slice(1));
    if (number % 3 === 0) return path(exchange);
    return (async () => {
      if (number % 3 === 1) await turn();
      await path(exchange);
    })();
  };
  const bench = new Bench(mixed, [paths.map((p) => get(p)).join("")]);
  await bench.answered(100);
  assertEquals(bench.contents, paths);
  await bench.done();
});

test("Connection does not answer a fast request before a slow one", async () => {
  const slow = gate();
  let begun = 0;
  const bench = new Bench(async (exchange) => {
    begun++;
    if (exchange.head.path === "/slow") await slow.passed;
    say(exchange, exchange.head.path);
  }, [get("/first") + get("/slow") + get("/fast")]);
  await bench.answered(1); // what is ready is not held for the slow one
  await until(() => begun === 2, "the slow one");
  assertEquals([bench.contents, begun], [["/first"], 2]);
  slow.open();
  await bench.answered(3);
  assertEquals(bench.contents, ["/first", "/slow", "/fast"]);
  await bench.done();
});

test("Connection answers alike however the requests arrive", async () => {
  const sent = `\r\n${get("/a")}${post("/b", "hello")}` +
    "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
    `3\r\nabc\r\n0\r\nX: 1\r\n\r\n\r\n${get("/d", "Connection: close\r\n")}${
      get("/stranger")
    }`;
  for (const arrival of ["at once", "later"] as const) {
    await everySplit(octets(sent), async (pieces) => {
      const bench = new Bench(echo, pieces, {}, { arrival });
      await bench.stream.until(() => bench.stream.finished, "the end");
      assertEquals(bench.contents, ["", "hello", "abc", ""]);
      assertEquals(bench.responses.at(-1)!.get("connection"), "close");
      await bench.done();
    });
  }
});

test("Connection overlooks one empty line before a request (RFC 9112 §2.2)", async () => {
  const bench = new Bench(path, [
    `\r\n${get("/a")}\r\n${get("/b")}\r\n\r\n${get("/c")}`,
  ]);
  await bench.stream.untilQuiet();
  assertEquals(bench.statuses, [200, 200, 400]);
  await bench.done();
});

test("Connection ends after 'Connection: close', and HTTP/1.0 (RFC 9112 §9.3)", async () => {
  const requests = [
    get("/a", "Connection: close\r\n"),
    "GET /a HTTP/1.0\r\n\r\n",
  ];
  for (const request of requests) {
    const bench = new Bench(path, [request + get("/stranger")]);
    await bench.stream.until(() => bench.stream.finished, "the end");
    assertEquals(bench.contents, ["/a"]);
    await bench.done();
  }
  const kept = new Bench(path, [
    "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + get("/b"),
  ]);
  await kept.stream.untilQuiet();
  assertEquals(kept.contents, ["/a", "/b"]);
  assertEquals(kept.responses[0]!.get("connection"), "keep-alive");
  await kept.done();
});

test("Connection ends when the application says so", async () => {
  const bench = new Bench(({ response }) => {
    response.start(200, "OK", [["Connection", "close"]], 0);
    response.end();
  }, [get("/a") + get("/stranger")]);
  await bench.stream.until(() => bench.stream.finished, "the end");
  assertEquals(bench.statuses, [200]);
  await bench.done();
});

test("Connection sends HEAD a head alone, and goes on", async () => {
  const bench = new Bench(path, [
    "HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n" + get("/b"),
  ]);
  bench.methods = ["HEAD", "GET"];
  await bench.stream.untilQuiet();
  assertEquals(bench.contents, ["", "/b"]);
  assertEquals(bench.responses[0]!.get("content-length"), "2");
  assertEquals(bench.records.map(({ contentSent }) => contentSent), [0, 2]);
  await bench.done();
});

test("Connection lets others in between large pipelined answers", async () => {
  const large = "x".repeat(10_000);
  let answered = 0;
  const bench = new Bench((exchange) => {
    answered++;
    say(exchange, large);
  }, [get("/").repeat(60)]);
  // It has its turn now; but so must this test, before the last answer.
  assert(answered > 1 && answered < 10, `${answered} answers in one turn`);
  await bench.answered(60);
  assertEquals(bench.contents, Array(60).fill(large));
  await bench.done();
});

test("Connection reads no more requests while its answers are not taken", async () => {
  let answered = 0;
  const bench = new Bench(
    (exchange) => {
      answered++;
      say(exchange, "x".repeat(1000));
    },
    [get("/").repeat(1000)],
    {},
    { window: 0 },
  );
  for (let i = 0; i < 20; i++) await turn();
  assert(answered < 100, `${answered} answers for a peer that takes none`);
  assert(bench.stream.held < 140_000, `${bench.stream.held} bytes held`);
  bench.stream.take();
  await bench.answered(1000);
  await bench.done();
});

// Content

test("Connection asks for content that is withheld, when it is read", async () => {
  const request =
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
  const bench = new Bench(echo, [request]);
  await bench.stream.untilQuiet();
  assertEquals(bench.stream.outputText, "HTTP/1.1 100 Continue\r\n\r\n");
  bench.stream.push("hi" + get("/"));
  await bench.answered(3);
  assertEquals(bench.statuses, [100, 200, 200]);
  await bench.done();
});

test("Connection does not ask for content that nobody reads, and closes", async () => {
  const request =
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
  const bench = new Bench(path, [request]);
  await bench.stream.until(() => bench.stream.finished, "the end");
  assertEquals(bench.statuses, [200]);
  assertEquals(bench.responses[0]!.get("connection"), "close");
  await bench.done();
});

test("Connection does not ask for content that has come (RFC 9110 §10.1.1)", async () => {
  const bench = new Bench(echo, [
    post("/", "hi", "Expect: 100-continue\r\n") + get("/"),
  ]);
  await bench.answered(2);
  assertEquals(bench.contents, ["hi", ""]);
  await bench.done();
});

test("Connection drops content that was left unread, up to limits.drain", async () => {
  const chunked = (content: string) =>
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
    `${content.length.toString(16)}\r\n${content}\r\n0\r\n\r\n`;
  for (const make of [(content: string) => post("/", content), chunked]) {
    const kept = new Bench(path, [make("x".repeat(100)), get("/next")], {
      drain: 100,
    });
    await kept.stream.untilQuiet();
    assertEquals(kept.contents, ["/", "/next"]);
    await kept.done();
    const closed = new Bench(path, [make("x".repeat(101)), get("/next")], {
      drain: 100,
    });
    await closed.stream.until(() => closed.stream.finished, "the end");
    assertEquals(closed.contents, ["/"]);
    assertEquals(closed.stream.wasReset, false);
    await closed.done();
  }
});

test("Connection drops the rest of content that was read in part", async () => {
  const bench = new Bench(
    async (exchange) => {
      await exchange.body.read();
      say(exchange, exchange.head.path);
    },
    [post("/a", "0123456789").slice(0, -5), "56789", get("/b")],
    {},
    { arrival: "later" },
  );
  await bench.answered(2);
  assertEquals(bench.contents, ["/a", "/b"]);
  await bench.done();
});

test("Connection goes on after a read that the application did not wait for", async () => {
  for (const asynchronous of [false, true]) {
    const bench = new Bench((exchange) => {
      exchange.body.read();
      say(exchange, exchange.head.path);
      if (asynchronous) return Promise.resolve();
    }, [post("/a", "0123456789").slice(0, -10)]);
    // The answer does not wait for the content.
    await bench.answered(1);
    bench.stream.push("01234");
    await turn();
    bench.stream.push("56789");
    await turn();
    bench.stream.push(get("/b"));
    await bench.answered(2);
    assertEquals(bench.contents, ["/a", "/b"]);
    await bench.done();
  }
});

test("Connection survives a peer that leaves while a read is not waited for", async () => {
  const bench = new Bench((exchange) => {
    exchange.body.read();
    say(exchange, exchange.head.path);
  }, [post("/a", "0123456789").slice(0, -10)]);
  await bench.answered(1);
  bench.stream.fail("Reset");
  await bench.stream.untilClosed();
  await turn(); // an unhandled rejection would fail this test
  assertEquals(bench.blamed(), []);
});

test("Connection refuses content beyond limits.content before it is read (413)", async () => {
  let called = 0;
  const bench = new Bench(() => void called++, [
    post("/", "x".repeat(11)) + get("/"),
  ], {
    content: 10,
  });
  await bench.stream.until(() => bench.stream.finished, "the end");
  assertEquals([bench.statuses, called], [[413], 0]);
  assertEquals(bench.recorded, [413]);
  assertEquals(bench.records[0]!.head?.method, "POST"); // for the access log
  await bench.done();
});

test("Connection answers for an application that meets refused content", async () => {
  const cases: [string, number][] = [
    ["ff\r\n" + "x".repeat(255) + "\r\n0\r\n\r\n", 413],
    ["x\r\n", 400],
    ["0\r\nX : 1\r\n\r\n", 400],
    [`0\r\n${"X: 1\r\n".repeat(101)}\r\n`, 431],
  ];
  for (const [content, status] of cases) {
    const bench = new Bench(echo, [
      `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${content}${
        get("/")
      }`,
    ], { content: 200 });
    await bench.stream.until(() => bench.stream.finished, "the end");
    assertEquals([bench.statuses, bench.recorded], [[status], [status]]);
    assertEquals(bench.records[0]!.head?.path, "/");
    assertEquals(bench.blamed(), []);
    await bench.done();
  }
});

test("Connection answers 400 when the peer ends before its content does", async () => {
  const bench = new Bench(echo, [post("/", "hello").slice(0, -1)]);
  bench.stream.end();
  await bench.stream.untilClosed();
  assertEquals([bench.statuses, bench.recorded.length], [[400], 1]);
  await bench.done();
});

test("Connection closes when an application overlooks that content was malformed", async () => {
  const bench = new Bench(async (exchange) => {
    await echo(exchange)?.catch(() => {});
    say(exchange, "never mind");
  }, [
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
    `x\r\n\r\n${get("/stranger")}`,
  ]);
  await bench.stream.until(() => bench.stream.finished, "the end");
  assertEquals(bench.contents, ["never mind"]);
  await bench.done();
});

// Refusals

test("Connection refuses a malformed head, says why, and answers nothing after it", async () => {
  const bench = new Bench(path, [
    get("/a") + "GET  / HTTP/1.1\r\n\r\n" + get("/stranger"),
  ]);
  await bench.stream.until(() => bench.stream.finished, "the end");
  assertEquals(bench.statuses, [200, 400]);
  const [, refusal] = bench.responses;
  assertEquals(refusal!.get("connection"), "close");
  assertMatch(latin1(refusal!.content), /^400 Bad Request\n.+\n$/);
  assertEquals(bench.recorded, [200, 400]);
  const record = bench.records[1]!;
  assertEquals([record.head, record.responseFields], [undefined, []]);
  assertEquals(record.contentSent, refusal!.content.length);
  assertEquals(bench.blamed(), []);
  await bench.done();
});

test("Connection never quotes the peer in a refusal, and escapes it in the log", async () => {
  const bench = new Bench(path, ["GET /<script>\x1b[2J\xff HTTP/1.1\r\n\r\n"]);
  await bench.stream.until(() => bench.stream.finished, "the end");
  assertEquals(bench.stream.outputText.includes("script"), false);
  for (const line of bench.logged) assertMatch(line, /^[\x20-\x7e]*$/);
  assert(bench.logged.some((line) => line.includes("script")));
  await bench.done();
});

test("Connection lets a peer that is still sending read its refusal", async () => {
  const bench = new Bench(path, ["bad\r\n"]);
  await bench.stream.until(() => bench.stream.finished, "the end");
  const refused = bench.stream.output.length;
  for (let i = 0; i < 20; i++) {
    bench.stream.push(get("/stranger"));
    await turn();
    assertEquals(bench.stream.closed, false);
  }
  assertEquals(bench.stream.output.length, refused);
  await bench.done();
  assertEquals(bench.stream.wasReset, false);
});

test("Connection waits for the peer's end no longer than limits.lingerSeconds", async () => {
  const bench = new Bench(path, ["bad\r\n"], only("lingerSeconds"));
  while (!bench.stream.closed) {
    bench.stream.push("more");
    await turn();
  }
  assertEquals([bench.statuses, bench.stream.wasReset], [[400], false]);
  await bench.done();
});

test("Connection answers 400 to a head that the peer did not finish", async () => {
  const bench = new Bench(path, ["GET / HTTP/1.1\r\nHo"]);
  bench.stream.end();
  await bench.stream.untilClosed();
  assertEquals([bench.statuses, bench.recorded], [[400], [400]]);
  await bench.done();
});

test("Connection takes connect-then-close for no error", async () => {
  for (const sent of [[], ["\r\n"], ["\r"]]) {
    const bench = new Bench(path, sent);
    await bench.done();
    assertEquals([bench.stream.writes, bench.records, bench.blamed()], [
      0,
      [],
      [],
    ]);
    const reset = new Bench(path, sent);
    reset.stream.fail("Reset");
    await reset.stream.untilClosed();
    assertEquals([reset.records, reset.blamed()], [[], []]);
  }
});

// Applications that fail

test("Connection answers 500 when a handler throws before the head, and goes on", async () => {
  const failing: Handler[] = [
    () => {
      throw new Error("Broken");
    },
    () => Promise.reject(new Error("Broken")),
    async ({ response }) => {
      response.start(200, "OK", [["X", "1"]], 5);
      await turn();
      throw new Error("Broken");
    },
    ({ response }) => response.start(200, "OK", [["X", "a\nb"]]),
    ({ response }) => void response.end(),
    () => {
      throw "not even an error";
    },
    () => Promise.reject(undefined),
  ];
  for (const fail of failing) {
    const bench = new Bench(
      (exchange) =>
        exchange.head.path === "/" ? fail(exchange) : path(exchange),
      [get("/") + get("/next")],
    );
    await bench.answered(2);
    assertEquals(bench.statuses, [500, 200]);
    const [failed] = bench.responses;
    assertEquals(latin1(failed!.content), "500 Internal Server Error\n");
    assertEquals([failed!.get("x"), failed!.get("connection")], [
      undefined,
      undefined,
    ]);
    assertEquals([bench.recorded, bench.blamed().length], [[500, 200], 1]);
    assertEquals(bench.records[0]!.responseFields, []);
    await bench.done();
  }
});

test("Connection answers although the access log fails", async () => {
  const stream = new MemoryStream([get("/a") + "bad\r\n"]);
  const blamed: string[] = [];
  const gateway = createGateway(path, {
    log: { ...silentLogger, error: (message) => blamed.push(message) },
    access: () => {
      throw new Error("Disk full");
    },
  });
  gateway.accept(stream);
  await stream.until(() => stream.finished, "the end");
  const statuses = parseResponses(stream.output).map(({ status }) => status);
  assertEquals([statuses, blamed.length], [[200, 400], 2]);
  assertStringIncludes(blamed[0]!, "Disk full");
  stream.end();
  await stream.untilClosed();
});

test("Connection answers 500 to a handler that settles without a response", async () => {
  for (const idle of [() => {}, () => Promise.resolve()] as Handler[]) {
    const bench = new Bench(idle, [get("/") + get("/")]);
    await bench.answered(2);
    assertEquals([bench.statuses, bench.recorded], [[500, 500], [500, 500]]);
    assertStringIncludes(bench.blamed()[0]!, "without a whole response");
    await bench.done();
  }
});

test("Connection answers 500 whatever it is that is thrown", async () => {
  for (const thrown of [undefined, null, "text", 7, Object.create(null)]) {
    const bench = new Bench(() => {
      throw thrown;
    }, [get("/") + get("/")]);
    await bench.answered(2);
    assertEquals([bench.statuses, bench.recorded], [[500, 500], [500, 500]]);
    assertEquals(bench.blamed().length, 2);
    await bench.done();
  }
});

test("Connection ends a chunked response without its last chunk when it fails", async () => {
  for (const fails of ["throws", "settles"]) {
    const bench = new Bench(async ({ response }) => {
      response.start(200, "OK", []);
      response.write(octets("abc"));
      await response.flush();
      if (fails === "throws") throw new Error("Broken");
    }, [get("/") + get("/stranger")]);
    await bench.stream.until(() => bench.stream.finished, "the end");
    assert(bench.stream.outputText.endsWith("\r\n3\r\nabc\r\n"), fails);
    assertEquals([bench.recorded, bench.records[0]!.contentSent], [[200], 3]);
    assertEquals(bench.blamed().length, 1);
    await bench.done();
  }
});

test("Connection ends a response of known length early when it fails", async () => {
  const bench = new Bench(async ({ response }) => {
    response.start(200, "OK", [], 5);
    response.write(octets("abc"));
    await response.flush();
    response.end();
  }, [get("/") + get("/stranger")]);
  await bench.stream.until(() => bench.stream.finished, "the end");
  assert(bench.stream.outputText.endsWith("\r\n\r\nabc"));
  assertEquals([bench.recorded, bench.stream.wasReset], [[200], false]);
  await bench.done();
});

test("Connection takes back a response that fails before any of it is sent", async () => {
  const failures: Handler[] = [
    ({ response }) => {
      response.start(200, "OK", [], 5);
      response.write(octets("abc"));
      response.end();
    },
    ({ response }) => {
      response.start(200, "OK", []);
      response.write(octets("abc"));
      throw new Error("Broken");
    },
    ({ response }) => {
      response.start(200, "OK", [], 1);
      response.write(octets("abc"));
    },
  ];
  for (const fails of failures) {
    const bench = new Bench(
      (exchange) =>
        exchange.head.path === "/" ? fails(exchange) : path(exchange),
      [get("/before") + get("/") + get("/after")],
    );
    await bench.answered(3);
    assertEquals(bench.statuses, [200, 500, 200]);
    assertEquals(bench.recorded, [200, 500, 200]);
    assertEquals(bench.blamed().length, 1);
    assert(!bench.stream.outputText.includes("abc"));
    await bench.done();
  }
});

test("Connection answers for whoever is behind a handler, with its status and no stack", async () => {
  const cause = new Error("why");
  const bench = new Bench(({ head, response }) => {
    if (head.path !== "/none") {
      response.start(200, "OK", [], 5);
      response.write(octets("abc"));
    }
    throw new BackendError(504, "It is too slow", "a\nb", { cause });
  }, [get("/begun") + get("/none")]);
  await bench.answered(2);
  assertEquals(bench.statuses, [504, 504]);
  assertEquals(bench.recorded, [504, 504]);
  assertEquals(bench.blamed().map((line) => line.split(": ").slice(-2)), [
    ["It is too slow", '"a\\x0ab" (why)'],
    ["It is too slow", '"a\\x0ab" (why)'],
  ]);
  await bench.done();
});

test("Connection resets when only that can tell that a response is not whole", async () => {
  const bench = new Bench(async ({ response }) => {
    response.start(200, "OK", []);
    response.write(octets("abc"));
    await response.flush();
    throw new Error("Broken");
  }, ["GET / HTTP/1.0\r\n\r\n"]);
  await bench.stream.untilClosed();
  assertEquals([bench.stream.wasReset, bench.recorded], [true, [200]]);
  await bench.done();
});

test("Connection answers an HttpError of a handler, and ends", async () => {
  const bench = new Bench(() => {
    throw new HttpError(417, "No such thing", "detail\n");
  }, [get("/") + get("/stranger")]);
  await bench.stream.until(() => bench.stream.finished, "the end");
  assertEquals([bench.statuses, bench.recorded], [[417], [417]]);
  assertEquals(bench.responses[0]!.get("connection"), "close");
  assertEquals(
    latin1(bench.responses[0]!.content),
    "417 Expectation Failed\nNo such thing\n",
  );
  assertEquals(bench.blamed(), []);
  await bench.done();
});

test("Connection logs a StreamError of a handler as 499 and says nothing more", async () => {
  for (const sync of [true, false]) {
    const bench = new Bench(() => {
      const error = new StreamError("The peer has left");
      if (sync) throw error;
      return Promise.reject(error);
    }, [get("/") + get("/stranger")]);
    await bench.stream.untilClosed();
    assertEquals([bench.recorded, bench.stream.writes], [[499], 0]);
    assertEquals(bench.blamed(), []);
    await bench.done();
  }
});

test("Connection sends nothing that a handler writes after it has settled", async () => {
  const outcomes: unknown[] = [];
  const ways: ((exchange: Exchange) => Promise<void>)[] = [
    () => Promise.resolve(),
    () => Promise.reject(new Error("Broken")),
    () => Promise.reject(new HttpError(400, "Refused")),
    async ({ response }) => {
      response.start(200, "OK", []);
      await response.flush();
      throw new Error("Broken");
    },
    async (exchange) => await path(exchange),
  ];
  for (const settle of ways) {
    const late = gate();
    const bench = new Bench((exchange) => {
      late.passed.then(() => {
        const { response } = exchange;
        if (!response.committed) response.start(200, "OK", []);
        return response.write(octets("late"));
      }).catch((error) => outcomes.push(error));
      return settle(exchange);
    }, [get("/")]);
    await bench.stream.untilQuiet();
    const before = bench.stream.outputText;
    late.open();
    await turn();
    assertEquals(bench.stream.outputText, before);
    await bench.done();
    assertEquals(bench.stream.outputText, before);
  }
  assertEquals(outcomes.length, ways.length);
  for (const outcome of outcomes) assert(outcome instanceof ApplicationError);
});

// Peers that leave

test("Exchange.signal aborts when the peer leaves, and the log says 499", async () => {
  for (const how of ["ends", "fails"]) {
    let signal: AbortSignal | undefined;
    const bench = new Bench(async (exchange) => {
      signal = exchange.signal;
      await new Promise((resolve) => {
        signal!.addEventListener("abort", resolve);
      });
      signal.throwIfAborted();
    }, [get("/")]);
    await until(() => signal !== undefined, "the handler");
    assertEquals(signal!.aborted, false);
    if (how === "ends") bench.stream.end();
    else bench.stream.fail("Reset");
    await bench.stream.untilClosed();
    assert(signal!.aborted && signal!.reason instanceof StreamError);
    assertEquals([bench.recorded, bench.blamed()], [[499], []]);
  }
});

test("Exchange.signal is aborted at first use when the peer has left before", async () => {
  const opened = gate();
  let aborted: boolean | undefined;
  const bench = new Bench(async (exchange) => {
    await opened.passed;
    aborted = exchange.signal.aborted;
    say(exchange, "");
  }, [get("/")]);
  bench.stream.end();
  await turn();
  opened.open();
  await bench.stream.untilClosed();
  assertEquals(aborted, true);
  await bench.done();
});

test("Exchange.signal is never aborted after a response that was sent whole", async () => {
  const signals: AbortSignal[] = [];
  const afterwork = gate();
  const bench = new Bench(async (exchange) => {
    signals.push(exchange.signal);
    say(exchange, "");
    if (exchange.head.path === "/after") {
      await exchange.response.flush();
      await afterwork.passed;
    }
  }, [get("/"), get("/after")]);
  await bench.answered(2);
  bench.stream.end();
  await turn();
  afterwork.open();
  await bench.done();
  assertEquals(signals.map(({ aborted }) => aborted), [false, false]);
  assertEquals(bench.recorded, [200, 200]);
});

test("Connection answers a peer that has ended its direction", async () => {
  const opened = gate();
  const bench = new Bench(async (exchange) => {
    if (exchange.head.path === "/slow") await opened.passed;
    say(exchange, exchange.head.path);
  }, [get("/a") + get("/slow")]);
  bench.stream.end();
  await turn();
  opened.open();
  await bench.stream.untilClosed();
  assertEquals(bench.contents, ["/a", "/slow"]);
  assertEquals(bench.stream.wasReset, false);
  await bench.done();
});

test("Connection records 499 when the peer leaves amid the response", async () => {
  const bench = new Bench(
    async ({ response }) => {
      response.start(200, "OK", [], 400_000);
      await response.write(new Uint8Array(300_000));
      await response.write(new Uint8Array(100_000));
      response.end();
    },
    [get("/")],
    {},
    { window: 1000 },
  );
  await bench.stream.until(() => bench.stream.held > 0, "a stalled write");
  bench.stream.fail("Reset");
  await bench.stream.untilClosed();
  await until(() => bench.records.length > 0, "the record");
  assertEquals([bench.recorded, bench.blamed()], [[499], []]);
});

// Deadlines

test("Connection closes in silence what has been idle too long", async () => {
  for (const sent of [[], ["\r"], ["\r\n"]]) {
    const bench = new Bench(path, sent, only("idleSeconds"));
    await bench.stream.untilClosed();
    assertEquals([bench.stream.writes, bench.stream.wasReset], [0, false]);
    assertEquals([bench.records, bench.blamed()], [[], []]);
    await bench.done();
  }
});

test("Connection closes in silence what is idle after a request", async () => {
  for (const tail of ["", "\r", "\r\n"]) {
    const bench = new Bench(path, [get("/") + tail], only("idleSeconds"));
    await bench.stream.untilClosed();
    assertEquals([bench.statuses, bench.recorded], [[200], [200]]);
    await bench.done();
  }
});

test("Connection does not count the time of a handler as idle", async () => {
  const opened = gate();
  const bench = new Bench(
    async (exchange) => {
      await opened.passed;
      say(exchange, "at last");
    },
    [get("/")],
    { ...soon, sendSeconds: 10, lingerSeconds: 10 },
  );
  const begun = Date.now();
  await until(() => Date.now() - begun > 200, "four times the limits");
  assertEquals(bench.stream.closed, false);
  opened.open();
  await bench.answered(1);
  assertEquals(bench.contents, ["at last"]);
  await bench.done();
});

test("Connection answers 408 to a head that takes too long (RFC 9110 §15.5.9)", async () => {
  const bench = new Bench(path, ["GET / HT"], only("headSeconds"));
  await bench.stream.until(() => bench.stream.finished, "the end");
  assertEquals([bench.statuses, bench.recorded], [[408], [408]]);
  assertEquals(bench.responses[0]!.get("connection"), "close");
  assertEquals(bench.records[0]!.head, undefined);
  bench.stream.push("TP/1.1\r\nHost: a\r\n\r\n");
  await turn();
  assertEquals([bench.statuses, bench.stream.closed], [[408], false]);
  await bench.done();
  assertEquals(bench.stream.wasReset, false);
});

test("Connection answers 408 to a head that drips in for ever", async () => {
  const bench = new Bench(path, ["GET /"], only("headSeconds"));
  while (!bench.stream.finished) {
    bench.stream.push("a");
    await turn();
  }
  assertEquals(bench.statuses, [408]);
  await bench.done();
});

test("Connection answers 408 to content that takes too long, once", async () => {
  const bench = new Bench(
    echo,
    [post("/", "hello").slice(0, -1)],
    only("bodySeconds"),
  );
  await bench.stream.until(() => bench.stream.finished, "the end");
  assertEquals([bench.statuses, bench.recorded], [[408], [408]]);
  assertEquals(bench.responses[0]!.get("connection"), "close");
  // The peer has time to read it.
  const begun = Date.now();
  await until(() => Date.now() - begun > 150, "some more ticks");
  assertEquals([bench.stream.closed, bench.stream.wasReset], [false, false]);
  bench.stream.push("o" + get("/stranger"));
  await turn();
  await bench.done();
  assertEquals([bench.statuses, bench.recorded, bench.blamed()], [
    [408],
    [408],
    [],
  ]);
  assertEquals(bench.stream.wasReset, false);
});

test("Connection is patient with content that is slow and not stalled", async () => {
  const bench = new Bench(echo, [post("/", "x".repeat(10)).slice(0, -10)], {
    bodySeconds: 0.2,
  });
  const begun = Date.now();
  for (let i = 0; i < 10; i++) {
    await until(() => Date.now() - begun > i * 40, "a while");
    bench.stream.push("x");
  }
  await bench.answered(1);
  assertEquals(bench.contents, ["x".repeat(10)]);
  await bench.done();
});

test("Connection gives each request its own time for content", async () => {
  const bench = new Bench(echo, [post("/", "1").slice(0, -1)], {
    bodySeconds: 1,
  });
  const pause = async (milliseconds: number) => {
    const begun = Date.now();
    await until(() => Date.now() - begun > milliseconds, "a while");
  };
  await pause(600); // a wait that a tick sees
  bench.stream.push("1");
  await bench.answered(1);
  await pause(1200);
  bench.stream.push(post("/", "2").slice(0, -1));
  await pause(600);
  bench.stream.push("2");
  await bench.answered(2);
  assertEquals(bench.contents, ["1", "2"]);
  await bench.done();
});

test("Connection resets when content is too slow after the response has begun", async () => {
  const bench = new Bench(
    async (exchange) => {
      exchange.response.start(200, "OK", []);
      await exchange.response.flush();
      await echo(exchange);
    },
    [post("/", "hello").slice(0, -1)],
    only("bodySeconds"),
  );
  await bench.stream.untilClosed();
  assertEquals(bench.stream.wasReset, true);
  assertEquals(bench.stream.outputText.includes("408"), false);
  await until(() => bench.records.length > 0, "the record");
  await bench.done();
});

test("Connection does not reset after a whole response, when unread content is slow", async () => {
  const bench = new Bench(
    path,
    [post("/", "hello").slice(0, -1)],
    only("bodySeconds"),
  );
  await bench.stream.until(() => bench.stream.finished, "the end");
  assertEquals([bench.contents, bench.stream.wasReset], [["/"], false]);
  await bench.done();
  assertEquals([bench.recorded, bench.stream.wasReset], [[200], false]);
});

test("Connection ends when a read that outlives the response takes too long", async () => {
  const bench = new Bench(
    async (exchange) => {
      say(exchange, "done");
      await Promise.resolve(exchange.body.read()).catch(() => {});
    },
    [post("/", "hello").slice(0, -5)],
    { ...only("bodySeconds"), ...only("lingerSeconds") },
  );
  await bench.stream.until(() => bench.stream.finished, "the end");
  await bench.stream.untilClosed(); // though the peer stays
  assertEquals([bench.contents, bench.stream.wasReset], [["done"], false]);
  await bench.done();
  assertEquals(bench.recorded, [200]);
});

test("Connection resets a peer that does not take its response", async () => {
  const bench = new Bench(
    async ({ response }) => {
      response.start(200, "OK", [], 300_000);
      await response.write(new Uint8Array(300_000));
      response.end();
    },
    [get("/")],
    only("sendSeconds"),
    { window: 10 },
  );
  await bench.stream.untilClosed();
  assertEquals(bench.stream.wasReset, true);
  await until(() => bench.records.length > 0, "the record");
  assertEquals([bench.recorded, bench.blamed()], [[499], []]);
});

test("Connection resets a peer that does not take a buffered response", async () => {
  const bench = new Bench(path, [get("/")], only("sendSeconds"), {
    window: 10,
  });
  await bench.stream.untilClosed();
  assertEquals(bench.stream.wasReset, true);
});

test("Connection is patient with a peer that takes its response slowly", async () => {
  const size = 2_000_000;
  const bench = new Bench(
    async ({ response }) => {
      response.start(200, "OK", [], size);
      await response.write(new Uint8Array(size));
      response.end();
    },
    [get("/")],
    { sendSeconds: 0.2 },
    { window: 0 },
  );
  const begun = Date.now();
  for (let i = 0; bench.stream.output.length < size; i++) {
    await until(() => Date.now() - begun > i * 40, "a while");
    bench.stream.take(bench.stream.held);
  }
  await bench.answered(1);
  assertEquals(bench.stream.wasReset, false);
  await bench.done();
});

test("Connection is not idle while its last response is not taken", async () => {
  const bench = new Bench(path, [get("/")], only("idleSeconds"), {
    window: 10,
  });
  const begun = Date.now();
  await until(() => Date.now() - begun > 200, "four times the limit");
  assertEquals(bench.stream.closed, false);
  bench.stream.take();
  await bench.stream.untilClosed(); // now it is
  assertEquals(bench.contents, ["/"]);
});

test("Connection keeps the last head of a peer that asks again, for a short while", async () => {
  const heads: RequestHead[] = [];
  const gate = {
    handler: (exchange: Exchange) => {
      heads.push(exchange.head);
      say(exchange, "");
    },
    limits: defaultLimits,
    log: silentLogger,
    access: undefined,
    now: 1000,
    lag: 1,
    draining: false,
    watch: undefined,
  };
  const stream = new MemoryStream([get("/")]);
  const connection = new Connection(gate, stream);
  const ended = connection.run();
  for (const seconds of [0, 0, 0.5, 2]) {
    await stream.untilQuiet();
    gate.now += seconds;
    connection.tick();
    stream.push(get("/"));
  }
  await stream.untilQuiet();
  stream.end();
  await ended;
  assertEquals(heads.length, 5);
  assert(heads[1] !== heads[0], "kept for who asks once");
  assert(heads[2] === heads[1] && heads[3] === heads[1]);
  assert(heads[4] !== heads[1], "kept for a silent connection");
});

// What the application is given

test("Exchange tells both ends and the scheme", async () => {
  const seen: unknown[] = [];
  const remote = { host: "::1", port: 1 };
  const local = { host: "/run/a.sock", port: 0 };
  const bench = new Bench(
    (exchange) => {
      seen.push(exchange.remote, exchange.local, exchange.scheme);
      say(exchange, "");
    },
    [get("/")],
    {},
    { remote, local, encrypted: true },
  );
  await bench.done();
  assertEquals(seen, [remote, local, "https"]);
});

test("AccessRecord holds the head, the fields given, and plausible times", async () => {
  const before = Date.now();
  const bench = new Bench(async ({ response }) => {
    response.start(201, "Created", [["X", "1"]]);
    await turn();
    response.write(octets("abc"));
    response.end();
  }, [get("/a?b")]);
  await bench.answered(1);
  const [record] = bench.records;
  assertEquals([record!.head!.target, record!.status], ["/a?b", 201]);
  assertEquals(
    record!.responseFields,
    [["X", "1"]] as AccessRecord["responseFields"],
  );
  assertEquals([record!.contentSent, record!.remote.host], [3, "192.0.2.1"]);
  assert(record!.startedAt >= before && record!.startedAt <= Date.now());
  assert(record!.elapsedMs >= 0 && record!.elapsedMs < 10_000);
  await bench.done();
});

test("an untimed sink is told when a request came, and not how long it took", async () => {
  for (const untimed of [true, false]) {
    const before = Date.now();
    const beforeMs = performance.now();
    const records: Record[] = [];
    const access = (record: AccessRecord) => void records.push({ ...record });
    const gateway = createGateway(async ({ response }) => {
      const from = performance.now();
      while (performance.now() - from < 2) await turn();
      response.start(204, "No Content", []);
      response.end();
    }, { access: Object.assign(access, { untimed }) });
    const stream = new MemoryStream([get("/a")]);
    gateway.accept(stream);
    await stream.until(() => records.length === 1, "a record");
    const { startedAt, elapsedMs } = records[0]!;
    assert(startedAt >= before && startedAt <= Date.now());
    assertEquals(elapsedMs >= 2, !untimed);
    assert(elapsedMs <= performance.now() - beforeMs);
    assertEquals(elapsedMs === 0, untimed);
    stream.end();
    await stream.untilClosed();
  }
});

test("Connection carries a gigabyte's pattern both ways in little memory", async () => {
  // Sixteen megabytes show it as well as a gigabyte does.
  const piece = new Uint8Array(65_536).fill(0x61);
  const count = 256;
  const bench = new Bench(
    async ({ body, response }) => {
      response.start(200, "OK", [], count * piece.length);
      for (;;) {
        const part = await body.read();
        if (part === null) break;
        await response.write(part);
      }
      response.end();
    },
    [`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${
      count * piece.length
    }\r\n\r\n`],
    {},
    {
      window: 0,
    },
  );
  let most = 0;
  for (let sent = 0; bench.records.length === 0;) {
    if (bench.stream.waiting && sent < count) {
      bench.stream.push(piece);
      sent++;
    }
    most = Math.max(most, bench.stream.held);
    bench.stream.take(bench.stream.held);
    await Promise.resolve();
    if (sent % 8 === 0) await turn();
  }
  await bench.stream.untilQuiet();
  assert(most <= 2 * 65_536 + 262_144, `${most} bytes held`);
  await bench.done();
});

test("Connection gives every split of a pipeline the same bytes", async () => {
  const sent = octets(
    get("/a") + "GET /bad\x00 HTTP/1.1\r\n\r\n" + get("/stranger"),
  );
  let whole: string | undefined;
  await everySplit(sent, async (pieces) => {
    const bench = new Bench(path, pieces);
    await bench.stream.until(() => bench.stream.finished, "the end");
    const output = bench.stream.outputText.replaceAll(/Date: [^\r]*/g, "");
    whole ??= output;
    assertEquals(output, whole);
    await bench.done();
  });
});

test("Connection does not drain content for ever that keeps dripping in", async () => {
  const bench = new Bench(path, [
    post("/unread", "x".repeat(5000)).slice(0, -5000),
  ], {
    bodySeconds: 0.2,
  });
  await bench.answered(1);
  const begun = Date.now();
  while (!bench.stream.finished && Date.now() - begun < 5000) {
    bench.stream.push("x");
    await new Promise((next) => setTimeout(next, 20));
  }
  assert(bench.stream.finished);
  assertEquals([bench.statuses, bench.recorded], [[200], [200]]);
  await bench.done();
});

test("Connection ends after a 500 in place of a response, if content was not asked for", async () => {
  const request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" +
    "Expect: 100-continue\r\n\r\n";
  const bench = new Bench(({ response }) => {
    response.start(200, "OK", [], 9);
    response.write(octets("abc"));
    throw new Error("Broken");
  }, [request]);
  await bench.stream.until(() => bench.stream.finished, "the end");
  // What comes now is content, or a request: nobody can tell.
  bench.stream.push(get("/stranger"));
  await turn();
  assertEquals([bench.statuses, bench.recorded], [[500], [500]]);
  assertEquals(bench.responses[0]!.get("connection"), "close");
  await bench.done();
});
