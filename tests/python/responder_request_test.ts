/** The responder of Python applications: what it makes of requests. */
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { concat, octets } from "../support/octets.ts";
import {
  ABORT_REQUEST,
  begin,
  END_REQUEST,
  GET_VALUES,
  GET_VALUES_RESULT,
  packedEnviron,
  pairs,
  PARAMS,
  paramsOf,
  record,
  request,
  Responder,
  STDIN,
  UNKNOWN_TYPE,
} from "../support/responder.ts";
import { findTool } from "../support/tool.ts";

const python = await findTool("python3");

/** Runs `check` against a responder for one of the test applications. */
async function withApp(
  app: string,
  check: (responder: Responder) => Promise<void>,
  args: readonly string[] = ["--threads", "2"],
): Promise<void> {
  if (python === undefined) return;
  await using responder = await Responder.start(python, `answers:${app}`, {
    args,
  });
  assertEquals(responder.report.type, "ready", responder.report.message);
  await check(responder);
}

test("a request is answered, and the next one on the same connection", () =>
  withApp("hello", async (responder) => {
    const client = await responder.connect();
    for (let i = 0; i < 3; i++) {
      const answer = await client.ask();
      assertEquals(answer.status, "200 OK");
      assertEquals(answer.fields, [
        "Content-Type: text/plain",
        "Content-Length: 6",
      ]);
      assertEquals(answer.text, "hello\n");
      assertEquals([answer.appStatus, answer.protocolStatus], [0, 0]);
    }
  }));

test("without FCGI_KEEP_CONN the connection ends with the request", () =>
  withApp("hello", async (responder) => {
    const client = await responder.connect();
    await client.raw.send(request({}, "", { keep: false }));
    assertEquals((await client.answer()).text, "hello\n");
    await client.raw.untilEnded();
  }));

test("a request is the same however its records are cut and padded", () =>
  withApp("echo", async (responder) => {
    const client = await responder.connect();
    const long = { HTTP_X_LONG: "v".repeat(300), REQUEST_METHOD: "POST" };
    for (const padding of [0, 1, 7, 255]) {
      for (const id of [1, 2, 65535]) {
        const bytes = request(long, "content", { id, padding });
        await client.raw.send(bytes);
        const records = client.answer();
        assertEquals((await records).text, "content");
      }
    }
    const bytes = request(long, "content", { padding: 3 });
    for (const octet of bytes) await client.raw.send(new Uint8Array([octet]));
    assertEquals((await client.answer()).text, "content");
    const params = pairs(paramsOf({ ...long, CONTENT_LENGTH: "4" }));
    await client.raw.send(concat([
      begin(),
      ...Array.from(params, (octet) => record(PARAMS, new Uint8Array([octet]))),
      record(PARAMS),
      ...Array.from("four", (octet) => record(STDIN, octet, { padding: 2 })),
      record(STDIN),
    ]));
    assertEquals((await client.answer()).text, "four");
  }));

test("the environ has what PEP 3333 asks for", () =>
  withApp("environ", async (responder) => {
    const { text } = await responder.ask({
      PATH_INFO: "/caf\xc3\xa9",
      HTTP_X_WIDE: "\xff\x80",
      HTTP_X_NUL: "a\0b",
      HTTP_X_EMPTY: "",
      REQUEST_SCHEME: "https",
    });
    assertEquals(
      text.split("\n").filter((line) => !line.startsWith("SERVER")),
      [
        `HTTP_X_EMPTY=''`,
        `HTTP_X_NUL='a\\x00b'`,
        `HTTP_X_WIDE='\\xff\\x80'`,
        `PATH_INFO='/caf\\xc3\\xa9'`,
        `QUERY_STRING=''`,
        `REQUEST_METHOD='GET'`,
        `REQUEST_SCHEME='https'`,
        `SCRIPT_NAME=''`,
        `wsgi.input_terminated=True`,
        `wsgi.multiprocess=False`,
        `wsgi.multithread=True`,
        `wsgi.run_once=False`,
        `wsgi.url_scheme='https'`,
        `wsgi.version=(1, 0)`,
        ``,
      ],
    );
  }));

test("wsgi.multithread and wsgi.multiprocess are true to fact", () =>
  withApp("environ", async (responder) => {
    const { text } = await responder.ask();
    assertMatch(text, /wsgi.multithread=False/);
    assertMatch(text, /wsgi.multiprocess=True/);
  }, ["--threads", "1", "--multiprocess"]));

test("what a bare FastCGI client leaves out has a default", () =>
  withApp("environ", async (responder) => {
    const client = await responder.connect();
    await client.raw.send(concat([
      begin(),
      record(PARAMS),
      record(STDIN),
      begin(),
      record(
        PARAMS,
        pairs({
          HTTPS: "on",
          HTTP_PROXY: "http://trap",
          HTTP_CONTENT_LENGTH: "5",
          HTTP_CONTENT_TYPE: "a/b",
        }),
      ),
      record(PARAMS),
      record(STDIN),
    ]));
    const bare = (await client.answer()).text;
    for (const name of ["REQUEST_METHOD", "SCRIPT_NAME", "SERVER_PORT"]) {
      assertMatch(bare, new RegExp(`^${name}=`, "m"));
    }
    assertMatch(bare, /wsgi.url_scheme='http'\n/);
    const second = (await client.answer()).text;
    assertMatch(second, /wsgi.url_scheme='https'\n/);
    assert(!second.includes("HTTP_"), second);
  }));

test("HEADGATE_ENVIRON spells the same environ", () =>
  withApp("environ", async (responder) => {
    const params = paramsOf({ HTTP_X_WIDE: "\xe9", HTTP_X_EMPTY: "" });
    const client = await responder.connect();
    const ask = async (content: Uint8Array) => {
      await client.raw.send(concat([
        begin(),
        record(PARAMS, content),
        record(PARAMS),
        record(STDIN),
      ]));
      return (await client.answer()).text;
    };
    const packed = await ask(packedEnviron(params));
    assertEquals(packed, await ask(pairs(params)));
    // However its one pair is spelled, and with a NUL behind the last value.
    const value = Object.entries(params).flat().join("\0") + "\0";
    assertEquals(packed, await ask(pairs({ HEADGATE_ENVIRON: value })));
    const short = await ask(pairs({ HEADGATE_ENVIRON: "X_A\0b\0X_C\0\0" }));
    assertMatch(short, /X_A='b'\nX_C=''\n/);
    assert(!short.includes("HEADGATE_ENVIRON"), short);
    assertMatch(packed, /HTTP_X_WIDE='\\xe9'/);
  }));

test("wsgi.input reads in every way that a file has", () =>
  withApp("read_ways", async (responder) => {
    const content = "ab" + "line\n" + "lineend\n" + "l1\nl2\n" + "next\n" +
      "one" + "into" + "rest\nlast";
    const expected = "[True, False, False, b'', b'ab', b'line\\n', " +
      "b'lin', b'eend\\n', [b'l1\\n', b'l2\\n'], b'next\\n', b'one', " +
      "b'into', [b'rest\\n', b'last'], b'', b'', b'']";
    // At hand with its head, and as it trickles in.
    assertEquals((await responder.ask({}, content)).text, expected);
    const client = await responder.connect();
    const declared = { CONTENT_LENGTH: String(content.length) };
    await client.raw.send(concat([
      begin(),
      record(PARAMS, pairs(paramsOf(declared))),
      record(PARAMS),
    ]));
    for (const octet of content) await client.raw.send(record(STDIN, octet));
    await client.raw.send(record(STDIN));
    assertEquals((await client.answer()).text, expected);
  }));

test("content of unknown length is read to its end", () =>
  withApp("echo", async (responder) => {
    const client = await responder.connect();
    await client.raw.send(concat([
      begin(),
      record(PARAMS, pairs(paramsOf({ REQUEST_METHOD: "POST" }))),
      record(PARAMS),
      record(STDIN, "un"),
    ]));
    await client.raw.send(concat([record(STDIN, "known"), record(STDIN)]));
    assertEquals((await client.answer()).text, "unknown");
  }));

test("content ends where CONTENT_LENGTH says", () =>
  withApp("echo", async (responder) => {
    const client = await responder.connect();
    for (let i = 0; i < 2; i++) {
      const answer = await client.ask(
        { CONTENT_LENGTH: "4", REQUEST_METHOD: "POST" },
        "four and more",
      );
      assertEquals(answer.text, "four");
    }
  }));

test("10 MB arrive whole", () =>
  withApp("count", async (responder) => {
    const content = new Uint8Array(10_000_000).map((_, at) => at % 251);
    let total = 0;
    for (let at = 0; at < content.length; at += 65_536) {
      let sum = 0;
      const end = Math.min(at + 65_536, content.length);
      for (let i = at; i < end; i += 4096) sum += content[i]!;
      total = (total + sum) % 1_000_003;
    }
    const { text } = await responder.ask({}, content);
    assertEquals(text, `${content.length} ${total}`);
  }));

test("content that nobody reads does not disturb the next request", () =>
  withApp("silent", async (responder) => {
    const client = await responder.connect();
    for (const size of [1, 1000, 200_000]) {
      const answer = await client.ask({}, new Uint8Array(size));
      assertEquals(answer.text, "unread");
    }
    // The rest of it comes after the answer.
    await client.raw.send(concat([
      begin(),
      record(PARAMS, pairs(paramsOf({ CONTENT_LENGTH: "9" }))),
      record(PARAMS),
      record(STDIN, "abc"),
    ]));
    assertEquals((await client.answer()).text, "unread");
    await client.raw.send(
      concat([record(STDIN, "defghi", { padding: 2 }), record(STDIN)]),
    );
    assertEquals((await client.ask()).text, "unread");
  }));

test("a client that leaves before its content raises in the application", () =>
  withApp("read_all_declared", async (responder) => {
    const gigabyte = { CONTENT_LENGTH: String(2 ** 30) };
    const head = concat([
      begin(),
      record(PARAMS, pairs(paramsOf(gigabyte))),
      record(PARAMS),
    ]);
    const client = await responder.connect();
    await client.raw.send(concat([head, record(STDIN, "some")]));
    await client.raw.send(record(ABORT_REQUEST));
    const aborted = await client.answer();
    assertEquals([aborted.appStatus, aborted.errors], [1, ""]);
    // Short content is the same (§6.2), and the connection goes on.
    await client.raw.send(
      concat([head, record(STDIN, "some"), record(STDIN)]),
    );
    assertEquals((await client.answer()).appStatus, 1);
    await client.raw.send(head);
    await client.close();
    const said = /^ConnectionAbortedError: .*\n/gm;
    await responder.untilSeen(
      () => responder.printed.match(said)?.length === 3,
      "third departure",
    );
    assertEquals(responder.errors, "");
  }));

test("1 GB that is declared and never sent takes no memory", () =>
  withApp("read_all_declared", async (responder) => {
    const client = await responder.connect();
    await client.raw.send(concat([
      begin(),
      record(PARAMS, pairs(paramsOf({ CONTENT_LENGTH: String(2 ** 30) }))),
      record(PARAMS),
      record(STDIN, "s"),
    ]));
    // The other thread sees how much the process has.
    const status = await responder.ask();
    assertEquals(status.status, "500 Internal Server Error");
    let resident: string;
    try {
      resident = readFileSync(`/proc/${responder.pid}/status`, "utf8");
    } catch {
      return;
    }
    const kilobytes = Number(/VmRSS:\s+(\d+)/.exec(resident)![1]);
    assert(kilobytes < 200_000, `${kilobytes} KB`);
  }));

test("an abort before the params are whole is an end", () =>
  withApp("hello", async (responder) => {
    const client = await responder.connect();
    await client.raw.send(concat([begin(), record(ABORT_REQUEST)]));
    assertEquals((await client.answer()).appStatus, 1);
    assertEquals((await client.ask()).text, "hello\n");
  }));

test("an abort that crosses the end of its request is overlooked", () =>
  withApp("hello", async (responder) => {
    const client = await responder.connect();
    await client.ask();
    await client.raw.send(record(ABORT_REQUEST));
    assertEquals((await client.ask()).text, "hello\n");
  }));

test("FCGI_GET_VALUES is answered, and other management refused", () =>
  withApp("hello", async (responder) => {
    const client = await responder.connect();
    const names = { FCGI_MAX_CONNS: "", FCGI_MPXS_CONNS: "", UNHEARD_OF: "" };
    await client.raw.send(concat([
      record(GET_VALUES, pairs(names), { id: 0, padding: 4 }),
      record(99, "?", { id: 0 }),
    ]));
    await client.untilRecord(({ type }) => type === UNKNOWN_TYPE, "a refusal");
    const [values, refusal] = client.records();
    assertEquals(values!.type, GET_VALUES_RESULT);
    assertEquals(
      values!.content,
      pairs({ FCGI_MAX_CONNS: "2", FCGI_MPXS_CONNS: "0" }),
    );
    assertEquals(refusal!.content[0], 99);
  }));

test("a second request on a busy connection is refused, other roles too", () =>
  withApp("echo", async (responder) => {
    const client = await responder.connect();
    await client.raw.send(concat([
      begin(),
      record(PARAMS, pairs(paramsOf({ CONTENT_LENGTH: "2" }))),
      record(PARAMS),
      record(STDIN, "o"),
      begin({ id: 2 }),
      record(STDIN, "x", { id: 2 }),
      record(STDIN, "k"),
      record(STDIN),
      begin({ id: 3, role: 2 }),
    ]));
    await client.untilRecord(({ id }) => id === 3, "the refusal of a role");
    const ends = client.records().filter(({ type }) => type === END_REQUEST);
    assertEquals(ends.map(({ id, content }) => [id, content[4]]), [
      [2, 1],
      [1, 0],
      [3, 3],
    ]);
  }));

test("what is not FastCGI ends the connection and nothing else", () =>
  withApp("hello", async (responder) => {
    for (
      const bytes of [
        octets("GET / HTTP/1.1\r\n\r\n"),
        concat([
          begin(),
          record(PARAMS, "\xff\xff\xff\xff\xff"),
          record(PARAMS),
        ]),
        new Uint8Array(5),
      ]
    ) {
      const client = await responder.connect();
      await client.raw.send(bytes);
      client.raw.end();
      await client.raw.untilEnded();
    }
    assertEquals((await responder.ask()).text, "hello\n");
    assertEquals(responder.errors, "");
  }));
