/** The responder of Python applications: what becomes of what they give. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { promisify } from "node:util";
import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  ABORT_REQUEST,
  type Answer,
  record,
  request,
  Responder,
  STDOUT,
} from "../support/responder.ts";
import { findTool } from "../support/tool.ts";

const python = await findTool("python3");

/** Runs `check` against a responder for one of the test applications. */
async function withApp(
  app: string,
  check: (responder: Responder) => Promise<void>,
): Promise<void> {
  if (python === undefined) return;
  await using responder = await Responder.start(python, `answers:${app}`, {
    args: ["--threads", "2"],
  });
  assertEquals(responder.report.type, "ready", responder.report.message);
  await check(responder);
}

/** Waits for the end of a body, which may come behind that of its response. */
async function untilClosed(responder: Responder, times: number): Promise<void> {
  const closes = () => responder.printed.match(/^close$/gm)?.length ?? 0;
  await responder.untilSeen(() => closes() >= times, `${times} times close()`);
  assertEquals(closes(), times);
}

function assertFailed(answer: Answer, errors: RegExp): void {
  assertEquals(answer.status, "500 Internal Server Error");
  assertEquals(answer.text, "Internal Server Error\n");
  assertEquals(answer.appStatus, 0);
  assertMatch(answer.errors, errors);
}

test("blocks at hand leave together, with their length", () =>
  withApp("sizes", async (responder) => {
    const client = await responder.connect();
    for (const kind of ["list", "tuple"]) {
      for (const sizes of ["", "0", "5", "5,0,7", "32700,100", "70000,1"]) {
        const answer = await client.ask({ QUERY_STRING: `${kind}=${sizes}` });
        const total = sizes.split(",").reduce((sum, n) => sum + Number(n), 0);
        assertEquals(answer.fields[1], `Content-Length: ${total}`);
        assertEquals(answer.content, new Uint8Array(total));
        assertEquals(answer.appStatus, 0);
      }
    }
    const raw = request({ QUERY_STRING: "list=5,6" });
    await client.raw.send(raw);
    await client.untilRecord(({ type }) => type === 3, "END_REQUEST");
    assertEquals(client.records().map(({ type }) => type), [6, 6, 3]);
  }));

test("the length of an iterable is known when it holds one block, or none", () =>
  withApp("sizes", async (responder) => {
    const fieldsOf = async (query: string) =>
      (await responder.ask({ QUERY_STRING: query })).fields.slice(1);
    assertEquals(await fieldsOf("sized=5"), ["Content-Length: 5"]);
    assertEquals(await fieldsOf("sized=5,6"), []);
    assertEquals(await fieldsOf("iter=5"), []);
    assertEquals(await fieldsOf("iter="), ["Content-Length: 0"]);
    assertEquals(await fieldsOf("iter=0,0"), ["Content-Length: 0"]);
  }));

test("content of every size goes through, in records that fit", () =>
  withApp("sizes", async (responder) => {
    const client = await responder.connect();
    const edges = [1, 32_700, 32_768, 65_460, 65_528, 65_536, 131_072, 700_000];
    for (const kind of ["list", "iter"]) {
      for (const size of edges) {
        const answer = await client.ask({ QUERY_STRING: `${kind}=${size}` });
        assertEquals(answer.content.length, size);
        assert(answer.content.every((octet) => octet === 0));
      }
    }
  }));

test("records are sent whole over a socket that takes them in parts", async () => {
  if (python === undefined) return;
  const { stdout } = await promisify(execFile)(python, [
    "tests/python/apps/partial_sends.py",
    "python/headgate_wsgi.py",
  ]);
  assertEquals(stdout, "whole\n");
});

test("a block is sent before the next one is asked for", () =>
  withApp("stepwise", async (responder) => {
    const client = await responder.connect();
    await client.raw.send(request());
    await client.untilContent("first");
    assertEquals(client.records().some(({ type }) => type === 3), false);
    await responder.ask({ PATH_INFO: "/go" });
    assertEquals((await client.answer()).text, "firstsecond");
  }));

test("the head may come as late as the first block", () =>
  withApp("late_start", async (responder) => {
    for (const query of ["", "yield"]) {
      const answer = await responder.ask({ QUERY_STRING: query });
      assertEquals([answer.status, answer.text], ["201 Created", "late"]);
    }
  }));

test("HEAD, 204 and 304 have no content, and close() is called", () =>
  withApp("status", async (responder) => {
    // One connection, and so one thread: what it prints stays in order.
    const client = await responder.connect();
    const cases = [
      ["HEAD", "200+OK"],
      ["GET", "204+No+Content"],
      ["GET", "304+Not+Modified"],
      ["HEAD", "304+Not+Modified"],
    ];
    for (const [REQUEST_METHOD = "", QUERY_STRING = ""] of cases) {
      const answer = await client.ask({ REQUEST_METHOD, QUERY_STRING });
      assertEquals(answer.status, QUERY_STRING.replaceAll("+", " "));
      assertEquals([answer.fields, answer.text], [[], ""]);
      assertEquals(answer.appStatus, 0);
    }
    await untilClosed(responder, 4);
    assertEquals(responder.printed, "next b'content'\nclose\n".repeat(4));
  }));

test("a response that has no content has no Content-Length of ours", () =>
  withApp("status_list", async (responder) => {
    for (const QUERY_STRING of ["204+No+Content", "304+Not+Modified"]) {
      for (const REQUEST_METHOD of ["GET", "HEAD"]) {
        const answer = await responder.ask({ REQUEST_METHOD, QUERY_STRING });
        assertEquals([answer.fields, answer.text], [[], ""]);
      }
    }
  }));

test("HEAD has the Content-Length that GET would have", () =>
  withApp("hello", async (responder) => {
    const answer = await responder.ask({ REQUEST_METHOD: "HEAD" });
    assertEquals([answer.fields[1], answer.text], ["Content-Length: 6", ""]);
  }));

test("write() sends at once, before what is returned", () =>
  withApp("written", async (responder) => {
    const client = await responder.connect();
    await client.raw.send(request());
    await client.untilRecord(({ type }) => type === 3, "END_REQUEST");
    const contents = client.records().filter(({ type }) => type === STDOUT);
    assertEquals(contents.length, 4);
    const answer = await client.answer();
    assertEquals(answer.fields, ["Content-Type: text/plain"]);
    assertEquals(answer.text, "one two three");
  }));

test("exc_info replaces a head that has not been sent", () =>
  withApp("recovers", async (responder) => {
    const answer = await responder.ask();
    assertEquals(answer.status, "503 Service Unavailable");
    assertEquals(answer.fields[1], "Content-Length: 5");
    assertEquals([answer.text, answer.errors], ["sorry", ""]);
  }));

test("exc_info is raised again where the head has been sent", () =>
  withApp("recovers_late", async (responder) => {
    const answer = await responder.ask();
    assertEquals([answer.text, answer.appStatus], ["begun", -1]);
    assertMatch(answer.errors, /LookupError: too late/);
  }));

test("whatever is raised before the head is a 500 and a traceback", () =>
  withApp("raises", async (responder) => {
    const client = await responder.connect();
    const kinds = [
      "ValueError",
      "SystemExit",
      "KeyboardInterrupt",
      "MemoryError",
      "GeneratorExit",
      "BrokenPipeError",
    ];
    for (const QUERY_STRING of kinds) {
      const answer = await client.ask({ QUERY_STRING, PATH_INFO: "/here" });
      assertFailed(
        answer,
        new RegExp(`^Traceback[^]*${QUERY_STRING}: on`),
      );
      // Frames of the server's own are not the application's business.
      assert(!answer.errors.includes("headgate_wsgi"), answer.errors);
    }
    const head = await client.ask({
      QUERY_STRING: "ValueError",
      REQUEST_METHOD: "HEAD",
    });
    assertEquals([head.status, head.text], ["500 Internal Server Error", ""]);
  }));

test("what is raised behind the head cuts the connection", () =>
  withApp("raises_late", async (responder) => {
    const client = await responder.connect();
    const answer = await client.ask();
    assertEquals([answer.text, answer.appStatus], ["some", -1]);
    assertMatch(answer.errors, /RuntimeError: half way/);
    await untilClosed(responder, 1);
    assertEquals(responder.printed, "next b'some'\nclose\n");
    await client.raw.untilEnded();
    assertEquals((await responder.ask()).appStatus, -1);
  }));

test("what close() raises is told, and the response stays whole", () =>
  withApp("raises_in_close", async (responder) => {
    const answer = await responder.ask();
    assertEquals([answer.text, answer.appStatus], ["whole", 0]);
    await responder.untilErrors("RuntimeError: in close");
    assertMatch(responder.errors, /^GET '\/': closing the body:\nTraceback/);
    assertEquals(responder.printed, "next b'whole'\nclose\n");
  }));

test("sys.exit() in a request ends the request alone", () =>
  withApp("exits", async (responder) => {
    assertFailed(await responder.ask(), /SystemExit: 4/);
    assertFailed(await responder.ask(), /SystemExit: 4/);
  }));

test("a breach of PEP 3333 is told at the call", () =>
  withApp("breach", async (responder) => {
    const client = await responder.connect();
    const breaches: Record<string, RegExp> = {
      "status-type": /TypeError: The status must be a str/,
      "status-form": /ValueError: The status must be like "200 OK"/,
      "status-low": /ValueError: The status/,
      "status-break": /ValueError: The status/,
      "headers-type": /TypeError: The headers must be a list/,
      "pair": /TypeError: A header must be a \(name, value\) tuple/,
      "name-type": /TypeError: A header name must be a str/,
      "name-form": /ValueError: A header name must be a token/,
      "value-type": /TypeError: The value of X must be a str/,
      "value-bytes": /TypeError: The value of X must be a str/,
      "value-break": /ValueError: The value of X must have no control/,
      "value-nul": /ValueError: The value of X/,
      "value-wide": /ValueError: The value of X/,
      "hop": /ValueError: Transfer-Encoding is hop-by-hop/,
      "status-field": /ValueError: Status is given by/,
      "length-form": /ValueError: Content-Length must be a number/,
      "length-twice": /ValueError: Content-Length is given twice/,
      "twice": /RuntimeError: start_response was called again/,
      "no-start": /RuntimeError: .* without calling start_response/,
    };
    for (const [QUERY_STRING, errors] of Object.entries(breaches)) {
      assertFailed(await client.ask({ QUERY_STRING }), errors);
    }
    const written = await client.ask({ QUERY_STRING: "write-type" });
    assertFailed(written, /TypeError: A body must give bytes, not .* str/);
    const { errors } = await client.ask({ QUERY_STRING: "status-form" });
    assert(!errors.includes("KeyError"), errors);
  }));

test("what is no body is refused", () =>
  withApp("body_of", async (responder) => {
    const client = await responder.connect();
    const bodies = ["none", "str", "bytes", "strs", "iter", "number"];
    for (const QUERY_STRING of [...bodies, "bytearrays"]) {
      assertFailed(await client.ask({ QUERY_STRING }), /TypeError: /);
    }
    const { errors } = await client.ask({ QUERY_STRING: "none" });
    assertMatch(errors, /iterable of bytes, such as \[body\], not None$/m);
  }));

test("octets and Latin-1 go through as they are", () =>
  withApp("all_octets", async (responder) => {
    const answer = await responder.ask();
    assertEquals(answer.fields[0], "X-Wide: caf\xe9\t!");
    assertEquals(answer.content.length, 256 * 300);
    assert(answer.content.every((octet, at) => octet === at % 256));
  }));

test("never more than Content-Length is sent, and less cuts the connection", () =>
  withApp("told_declared", async (responder) => {
    const client = await responder.connect();
    const exact = await client.ask({ QUERY_STRING: "6" });
    assertEquals([exact.text, exact.appStatus, exact.errors], [
      "onetwo",
      0,
      "",
    ]);
    const longer = await client.ask({ QUERY_STRING: "4" });
    assertEquals([longer.text, longer.appStatus], ["onet", 0]);
    await responder.untilErrors("longer than its Content-Length, 4");
    const edge = await client.ask({ QUERY_STRING: "3" });
    assertEquals([edge.text, edge.appStatus], ["one", 0]);
    await responder.untilErrors("longer than its Content-Length, 3");
    const shorter = await client.ask({ QUERY_STRING: "7" });
    assertEquals([shorter.text, shorter.appStatus], ["onetwo", -1]);
    assertMatch(shorter.errors, /shorter than .*: 6 bytes of 7\n/);
    await untilClosed(responder, 4);
  }));

test("FCGI_ABORT_REQUEST ends a body, and close() is called once", () =>
  withApp("endless", async (responder) => {
    const client = await responder.connect();
    for (const content of ["", "unread content"]) {
      await client.raw.send(request({}, content));
      await client.untilContent("xxx");
      await client.raw.send(record(ABORT_REQUEST));
      const answer = await client.answer();
      assertEquals([answer.appStatus, answer.errors], [1, ""]);
    }
    await untilClosed(responder, 2);
  }));

test("a connection that is cut ends a body, and close() is called once", () =>
  withApp("endless", async (responder) => {
    const client = await responder.connect();
    await client.raw.send(request());
    await client.untilContent("xxx");
    await client.close();
    await untilClosed(responder, 1);
    assertEquals(responder.errors, "");
  }));

test("wsgi.errors arrives in lines", () =>
  withApp("errors", async (responder) => {
    const answer = await responder.ask();
    assertEquals(
      answer.errors,
      "one\ntwo three\nheld \u20ac\\udc80four\nunfinished",
    );
    assertEquals(responder.errors, "");
  }));

test("wsgi.errors goes to standard error once the request has ended", () =>
  withApp("errors_late", async (responder) => {
    const client = await responder.connect();
    await client.ask();
    const second = await client.ask();
    assertEquals([second.text, second.errors], ["done", ""]);
    await responder.untilErrors("too late\n");
  }));

test("wsgi.errors never speaks behind the end of its request", () =>
  withApp("errors_racing", async (responder) => {
    const client = await responder.connect();
    for (let i = 0; i < 200; i++) {
      const answer = await client.ask({ PATH_INFO: `/${i}` });
      // What comes behind END_REQUEST would belong to the next request.
      for (const line of answer.errors.split("\n").slice(0, -1)) {
        assertEquals(line, `/${i}`);
      }
    }
    await responder.untilErrors("\n");
  }));

test("wsgi.file_wrapper reads nothing before it is returned, then closes", () =>
  withApp("wrapped", async (responder) => {
    const answer = await responder.ask();
    assertEquals(answer.text, "23456789");
    await untilClosed(responder, 1);
    const steps = responder.printed.split("\n").filter(Boolean);
    assertEquals(steps, [
      "wrapped",
      ...["read 3", "read 3", "read 3", "read 3"],
      "close",
    ]);
  }));

test("wsgi.file_wrapper sends a file from where it stands", () =>
  withApp("wrapped_file", async (responder) => {
    const path = `${process.cwd()}/python/headgate_wsgi.py`;
    const file = new Uint8Array(readFileSync(path));
    const client = await responder.connect();
    const ask = (QUERY_STRING: string) =>
      client.ask({ HTTP_X_FILE: path, QUERY_STRING });
    assertEquals((await ask("")).content, file.subarray(10));
    assertEquals((await ask("5")).content, file.subarray(10, 15));
    const exact = await ask(String(file.length - 10));
    assertEquals(exact.content, file.subarray(10));
    const short = await ask(String(file.length));
    assertEquals([short.content.length, short.appStatus], [
      file.length - 10,
      -1,
    ]);
    const head = await responder.ask({
      HTTP_X_FILE: path,
      REQUEST_METHOD: "HEAD",
    });
    assertEquals([head.text, head.appStatus], ["", 0]);
    assertEquals(responder.errors, "");
  }));

test("wsgi.file_wrapper is an iterable for middleware", () =>
  withApp("rewrapped", async (responder) => {
    assertEquals((await responder.ask()).text, "ABCDEF");
  }));

test("a close() that takes long holds back the end from then on", () =>
  withApp("slow_close", async (responder) => {
    const client = await responder.connect();
    // The first one is not known to be slow: its end goes along.
    assertEquals((await client.ask()).text, "slow");
    await untilClosed(responder, 1);
    const other = await responder.connect();
    assertEquals((await other.ask()).text, "slow");
    assertEquals(responder.printed.match(/close/g)?.length, 2);
  }));

test("wsgiref.validate has nothing to say", () =>
  withApp("valid_hello", async (responder) => {
    const answer = await responder.ask();
    assertEquals([answer.text, answer.errors], ["hello\n", ""]);
  }));

for (
  const [app, text] of [
    ["valid_blocks", "ab"],
    ["valid_write", "written returned"],
    ["valid_empty", ""],
    ["valid_echo", "some\nlines\nof content"],
  ] as const
) {
  test(`wsgiref.validate has nothing to say of ${app}`, () =>
    withApp(app, async (responder) => {
      const content = app === "valid_echo" ? text : "";
      const answer = await responder.ask({}, content);
      assertEquals(answer.text, text);
      assertEquals(answer.errors, content === "" ? "" : "checked\n");
      assertEquals(responder.errors, "");
    }));
}
