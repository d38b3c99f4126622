/** What proxies tell of their clients, and who is believed. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { detectTransport } from "../adapters/detect.ts";
import { fetchHandler } from "../src/apps/fetch.ts";
import { toFetch } from "../src/apps/to_fetch.ts";
import { wsgi } from "../src/apps/wsgi.ts";
import { HttpError } from "../src/errors.ts";
import type { AccessRecord, Exchange } from "../src/exchange.ts";
import {
  Forwarded,
  type ForwardedField,
  forwardedFields,
  type ForwardedOptions,
} from "../src/forwarded.ts";
import { createGateway } from "../src/gateway.ts";
import { serveHandler } from "../src/serve.ts";
import { FakeExchange, type FakeRequest } from "./support/fake_exchange.ts";
import { MemoryStream } from "./support/memory_stream.ts";
import { startProgram } from "./support/program.ts";
import { RawClient } from "./support/raw_client.ts";

const proxy = { host: "10.0.0.1", port: 5000 };
const allow = ["10.0.0.0/8", "::1"];

type Field = readonly [string, string];

/** The exchange that a handler behind the proxies is given. */
function seen(
  fields: readonly Field[],
  options: Partial<ForwardedOptions> = {},
  request: FakeRequest = {},
): { seen: Exchange; sent: FakeExchange } {
  const sent = new FakeExchange({
    remote: proxy,
    ...request,
    fields: [["Host", "inner"], ...fields],
  });
  let exchange: Exchange | undefined;
  const handler = new Forwarded({ allow, ...options }).around((given) => {
    exchange = given;
  });
  void handler(sent);
  return { seen: exchange!, sent };
}

/** Whom it comes from. */
function clientOf(list: string, more: readonly string[] = []): string {
  const { host, port } =
    seen([["X-Forwarded-For", list]], { allow: [...allow, ...more] }).seen
      .remote;
  return port === 0 ? host : `${host} ${port}`;
}

test("the client is the first address from the end that is not on the list", () => {
  const cases: [string, string][] = [
    ["192.0.2.7", "192.0.2.7"],
    ["6.6.6.6, 192.0.2.7", "192.0.2.7"],
    ["6.6.6.6, 192.0.2.7, 10.0.0.9", "192.0.2.7"],
    ["6.6.6.6,192.0.2.7 ,\t10.1.1.1 , ::1", "192.0.2.7"],
    ["192.0.2.7:4711", "192.0.2.7 4711"],
    ["2001:DB8::17", "2001:db8::17"],
    ["[2001:db8::17]", "2001:db8::17"],
    ["[2001:db8::17]:80", "2001:db8::17 80"],
    ["::ffff:192.0.2.7", "192.0.2.7"],
    [",, 192.0.2.7,, ,", "192.0.2.7"],
    // All are on the list: the first of them.
    ["10.0.0.3, 10.0.0.2", "10.0.0.3"],
    // What is no address tells nothing, nor does what stands before it.
    ["192.0.2.7, unknown, 10.0.0.2", "10.0.0.2"],
    ["192.0.2.7, 192.0.2.8:99999, 10.0.0.2", "10.0.0.2"],
    ["unknown", "10.0.0.1 5000"],
    ["", "10.0.0.1 5000"],
    [",", "10.0.0.1 5000"],
    ["[192.0.2.7]", "10.0.0.1 5000"],
    ["192.0.2.7]", "10.0.0.1 5000"],
    ["192.0.2.007", "10.0.0.1 5000"],
  ];
  for (const [list, client] of cases) {
    assertEquals(clientOf(list), client, list);
  }
  assertEquals(clientOf("6.6.6.6, 192.0.2.7", ["*"]), "6.6.6.6");
  assertEquals(clientOf("6.6.6.6, 192.0.2.7", ["192.0.2.0/24"]), "6.6.6.6");
});

test("the lines of a field are one list", () => {
  const lines: Field[] = [
    ["X-Forwarded-For", "192.0.2.8"],
    ["X-Forwarded-For", "192.0.2.7"],
    ["X-Forwarded-Proto", "http"],
    ["X-Forwarded-Proto", "https"],
  ];
  const { remote, scheme } = seen(lines).seen;
  assertEquals([remote.host, scheme], ["192.0.2.7", "https"]);
});

test("a long list costs no more than its length", () => {
  assertEquals(clientOf("192.0.2.7" + ", 10.0.0.2".repeat(3000)), "192.0.2.7");
  assertEquals(clientOf(",".repeat(8000)), "10.0.0.1 5000");
});

test("X-Forwarded-Proto is http or https, or says nothing", () => {
  const cases: [string, string][] = [
    ["https", "https"],
    ["HTTPS", "https"],
    ["http, https", "https"],
    ["https,http", "http"],
    ["wss", "http"],
    ["", "http"],
    ["https,", "http"],
    ["https://", "http"],
  ];
  for (const [value, scheme] of cases) {
    assertEquals(
      seen([["X-Forwarded-Proto", value]]).seen.scheme,
      scheme,
      value,
    );
  }
  const tls = seen([["X-Forwarded-Proto", "http"]], {}, { scheme: "https" });
  assertEquals(tls.seen.scheme, "http");
});

const all: Field[] = [
  ["X-Forwarded-For", "192.0.2.7"],
  ["X-Forwarded-Proto", "https"],
  ["X-Forwarded-Host", "example.com"],
  ["Forwarded", "for=192.0.2.8;proto=https;host=example.net"],
];

test("who is not on the list is not believed", () => {
  const peers: FakeRequest[] = [
    { remote: { host: "192.0.2.1", port: 1 } },
    { remote: { host: "::2", port: 1 } },
    // A TCP peer that has left before anybody asked who it was.
    { remote: { host: "", port: 0 } },
    { remote: { host: "", port: 0 }, local: { host: "", port: 0 } },
  ];
  for (const peer of peers) {
    assertStrictEquals(...both(seen(all, {}, peer)));
    for (const field of forwardedFields) {
      assertStrictEquals(...both(seen(all, { fields: [field] }, peer)));
    }
  }
  assertStrictEquals(...both(seen(all, { allow: [] })));
  for (const host of ["10.9.9.9", "::1", "::ffff:10.0.0.1", "::1%lo"]) {
    const { seen: given } = seen(all, {}, { remote: { host, port: 1 } });
    assertEquals(given.remote.host, "192.0.2.7", host);
  }
});

function both(
  { seen, sent }: { seen: Exchange; sent: FakeExchange },
): [Exchange, Exchange] {
  return [seen, sent];
}

test("one after the other is judged by itself", () => {
  const remotes: string[] = [];
  const handler = new Forwarded({ allow }).around(({ remote }) => {
    remotes.push(remote.host);
  });
  const hosts = ["10.0.0.1", "10.0.0.1", "192.0.2.1", "192.0.2.1", "10.0.0.1"];
  for (const host of hosts) {
    void handler(new FakeExchange({ remote: { host, port: 1 }, fields: all }));
  }
  const client = "192.0.2.7";
  assertEquals(remotes, [client, client, "192.0.2.1", "192.0.2.1", client]);
});

test("who connects to a Unix socket is believed, unless nobody is", () => {
  const unix = {
    remote: { host: "", port: 0 },
    local: { host: "/run/a.sock", port: 0 },
  };
  assertEquals(seen(all, {}, unix).seen.remote.host, "192.0.2.7");
  assertStrictEquals(...both(seen(all, { allow: [] }, unix)));
});

test("a client does not pass for a Unix socket by the port of its Host", async () => {
  let remote: string | undefined;
  const handle = toFetch(
    new Forwarded({ allow }).around((exchange) => {
      remote = exchange.remote.host;
      exchange.response.start(204, "", []);
      void exchange.response.end();
    }),
  );
  // The host tells nothing of the connection.
  await handle(
    new Request("http://a:0/", { headers: { "X-Forwarded-For": "192.0.2.7" } }),
  );
  assertEquals(remote, "");
});

test("an exchange without such fields is handed on itself", () => {
  assertStrictEquals(...both(seen([["X-Real-IP", "192.0.2.7"]])));
  assertStrictEquals(...both(seen(all.slice(3))));
  const forwarded: ForwardedField[] = ["forwarded"];
  assertStrictEquals(...both(seen(all.slice(0, 3), { fields: forwarded })));
});

test("X-Forwarded-Host is read where it is asked for", () => {
  const fields: ForwardedField[] = ["x-forwarded-host"];
  assertEquals(seen(all).seen.head.authority, "inner");
  const { seen: given, sent } = seen(all, { fields });
  assertEquals(given.head.authority, "example.com");
  assertEquals(given.head.fields.get("host"), "example.com");
  assertEquals(given.head.fields.length, sent.head.fields.length);
  assertStrictEquals(given.remote, sent.remote);
  assertEquals(given.scheme, "http");
  const list = seen([["X-Forwarded-Host", "a.test, b.test:81"]], { fields });
  assertEquals(list.seen.head.authority, "b.test:81");
  assertEquals(
    seen([["X-Forwarded-Host", ""]], { fields }).seen.head.authority,
    "inner",
  );
  for (const host of ["a b", "a@b", "a/b", "a:b", "[::1", "a:99999"]) {
    const error = assertThrows(
      () => seen([["X-Forwarded-Host", host]], { fields }),
      HttpError,
    );
    assertEquals(error.status, 400, host);
  }
});

test("a target in the absolute form does not contradict what is told", () => {
  const target = { target: "http://other/a?b" };
  const fields: ForwardedField[] = ["x-forwarded-host", "x-forwarded-proto"];
  const { head } = seen(all, { fields }, target).seen;
  assertEquals(
    [head.target, head.targetForm, head.authority, head.path, head.query],
    ["/a?b", "origin", "example.com", "/a", "b"],
  );
  const proto = seen(all, { fields: ["x-forwarded-proto"] }, target).seen;
  assertEquals(
    [proto.head.target, proto.head.authority, proto.head.fields.get("host")],
    ["/a?b", "other", "other"],
  );
  const client = seen(all, { fields: ["x-forwarded-for"] }, target);
  assertStrictEquals(client.seen.head, client.sent.head);
});

/** What a Forwarded says: client, scheme, host. */
function told(...lines: string[]): string {
  const { seen: given } = seen(
    lines.map((line) => ["Forwarded", line] as const),
    { fields: ["forwarded"] },
  );
  return `${given.remote.host} ${given.scheme} ${given.head.authority}`;
}

test("Forwarded is read from its end, element by element", () => {
  const cases: [string[], string][] = [
    [["for=192.0.2.7;proto=https;host=a.test"], "192.0.2.7 https a.test"],
    [['For="192.0.2.7:80" ; PROTO="HTTPS"'], "192.0.2.7 https inner"],
    [['for="[2001:db8::17]:4711";by=_me'], "2001:db8::17 http inner"],
    [['for="[2001:db8::17]:_port"'], "2001:db8::17 http inner"],
    [["for=6.6.6.6;host=evil", "for=192.0.2.7"], "192.0.2.7 http inner"],
    [["for=6.6.6.6, for=192.0.2.7;proto=https"], "192.0.2.7 https inner"],
    // A proxy that is believed names another, and so on.
    [
      ["for=6.6.6.6;host=evil,for=192.0.2.7;host=a.test,for=10.0.0.2;proto=https"],
      "192.0.2.7 https a.test",
    ],
    [
      ["for=192.0.2.7;host=a.test, for=unknown;proto=https"],
      "10.0.0.1 https inner",
    ],
    [["for=192.0.2.7, proto=https"], "10.0.0.1 https inner"],
    [["for=_hidden"], "10.0.0.1 http inner"],
    [['for="192.0\\.2.7"'], "192.0.2.7 http inner"],
    [['x=", for=6.6.6.6";for=192.0.2.7'], "192.0.2.7 http inner"],
    [["", ",,;; ,for=192.0.2.7;;"], "192.0.2.7 http inner"],
    [["for=192.0.2.7, ,;", ","], "192.0.2.7 http inner"],
    [
      ["for=192.0.2.7;proto=https, for=10.0.0.2;proto=http;host=a.test"],
      "192.0.2.7 https a.test",
    ],
    [[""], "10.0.0.1 http inner"],
  ];
  for (const [lines, expected] of cases) {
    assertEquals(told(...lines), expected, lines.join(" | "));
  }
});

test("Forwarded that is malformed is refused: who could tell what the peer wrote", () => {
  const cases = [
    ['for="192.0.2.7'],
    ['for=", for=192.0.2.7'],
    ['x="', 'for="[2001:db8::1]"'],
    ["for"],
    ["for="],
    ["=192.0.2.7"],
    ["for = 192.0.2.7"],
    ["for=192.0.2.7 proto=https"],
    ["for=[2001:db8::1]"],
    ['for="192.0.2.7"x'],
    ["for=192.0.2.7;for=192.0.2.8"],
    ["for=192.0.2.7;host=a b"],
    ['for=192.0.2.7;host="a/b"'],
  ];
  for (const lines of cases) {
    const error = assertThrows(() => told(...lines), HttpError);
    assertEquals(error.status, 400, lines.join(" | "));
  }
});

test("Forwarded that is long is read, or refused, as any other", () => {
  const many = 40_000;
  const lines = [
    " ".repeat(many) + "x",
    "a".repeat(many),
    `a="${"\\\\a".repeat(many)}`,
    `${" ".repeat(many)}a=b${" ".repeat(many)}c`,
  ];
  for (const line of lines) assertThrows(() => told(line), HttpError);
  const long = `${";, ".repeat(many)}for=192.0.2.7`;
  assertEquals(told(long), "192.0.2.7 http inner");
});

test("what makes no sense is refused when it is said", () => {
  for (const text of ["proxy", "10.1.2.3/8", "", "10.0.0.*"]) {
    assertThrows(() => new Forwarded({ allow: [text] }), TypeError, text);
  }
  const wrong: string[][] = [["x-real-ip"], ["forwarded", "x-forwarded-for"]];
  for (const fields of wrong) {
    assertThrows(
      () => new Forwarded({ allow, fields: fields as ForwardedField[] }),
      TypeError,
    );
  }
});

test("every kind of application and the log see the client", async () => {
  const forwarded = new Forwarded({
    allow: ["192.0.2.1"],
    fields: ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"],
  });
  const handlers = [
    fetchHandler((request, info) => {
      const { transport, hostname, port } = info.remoteAddr;
      return Response.json([
        request.url,
        request.headers.get("host"),
        `${transport} ${hostname} ${port}`,
        info.requestIP(),
        info.environ["wsgi.url_scheme"],
      ]);
    }),
    wsgi((environ, startResponse) => {
      startResponse("200 OK", [["Content-Type", "application/json"]]);
      const { SERVER_NAME, SERVER_PORT, HTTP_HOST, REMOTE_ADDR } = environ;
      const told = JSON.stringify([
        environ["wsgi.url_scheme"],
        SERVER_NAME,
        SERVER_PORT,
        HTTP_HOST,
        REMOTE_ADDR,
        environ.HTTP_X_FORWARDED_FOR,
      ]);
      return [new TextEncoder().encode(told)];
    }),
  ];
  const expected = [
    [
      "https://shop.test/a",
      "shop.test",
      "tcp 198.51.100.9 0",
      { address: "198.51.100.9", family: "IPv4", port: 0 },
      "https",
    ],
    ["https", "shop.test", "443", "shop.test", "198.51.100.9", "198.51.100.9"],
  ];
  for (const [index, handler] of handlers.entries()) {
    const records: AccessRecord[] = [];
    const gateway = createGateway(forwarded.around(handler), {
      access: forwarded.access((record) => records.push(record)),
    });
    const stream = new MemoryStream([
      "GET /a HTTP/1.1\r\nHost: inner\r\nX-Forwarded-For: 198.51.100.9\r\n" +
      "X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.test\r\n\r\n",
      "GET /b HTTP/1.1\r\nHost: inner\r\n\r\n",
    ]);
    gateway.accept(stream);
    await stream.untilQuiet();
    stream.end();
    await stream.untilClosed();
    const content = /\r\n\r\n(.*?\])/.exec(stream.outputText)?.[1] ?? "";
    assertEquals(JSON.parse(content), expected[index]);
    assertEquals(
      records.map(({ remote }) => remote.host),
      ["198.51.100.9", "192.0.2.1"],
    );
  }
  assertEquals(forwarded.access(undefined), undefined);
  for (const untimed of [true, false, undefined]) {
    const access = Object.assign(() => {}, { untimed });
    assertEquals(forwarded.access(access)?.untimed, untimed);
  }
});

test("serveHandler() believes nobody unless it is told to", async () => {
  const transport = await detectTransport();
  const handler = fetchHandler((_request, info) =>
    new Response(info.remoteAddr.hostname)
  );
  const headers = { "X-Forwarded-For": "192.0.2.7" };
  const answers: string[] = [];
  for (const forwarded of [undefined, { allow: ["127.0.0.1"] }]) {
    await using server = await serveHandler(transport, handler, {
      port: 0,
      forwarded,
    });
    const { port } = server.addresses[0]!;
    const response = await fetch(`http://127.0.0.1:${port}/`, { headers });
    answers.push(await response.text());
  }
  assertEquals(answers, ["127.0.0.1", "192.0.2.7"]);
});

const module = `export default {
  fetch: (request, info) =>
    new Response(request.url + " " + info.remoteAddr.hostname),
};`;

test("the program believes a proxy on this machine, over TCP and a Unix socket", async () => {
  const directory = await mkdtemp(join(tmpdir(), "headgate-forwarded-"));
  try {
    const file = join(directory, "server.mjs");
    const path = join(directory, "app.sock");
    await writeFile(file, module);
    const args = [file, "--access-log-format", "%(h)s %(r)s"];
    const request = (target: string) =>
      `GET ${target} HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: https\r\n` +
      "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\n" +
      "X-Forwarded-Host: evil.test\r\nConnection: close\r\n\r\n";
    const ask = async (where: { host: string; port: number }, target = "/") => {
      const client = await RawClient.connect(where);
      await client.send(request(target));
      await client.untilEnded();
      await client.close();
      return client.receivedText;
    };
    {
      await using program = await startProgram([
        ...args,
        "--bind",
        `unix:${path}`,
      ]);
      const port = Number(new URL(program.address).port);
      for (
        const where of [{ host: "127.0.0.1", port }, { host: path, port: 0 }]
      ) {
        assertStringIncludes(await ask(where), "https://a.test/ 192.0.2.7");
      }
      const deadline = Date.now() + 25_000;
      while (!program.output().includes("192.0.2.7 GET / HTTP/1.1")) {
        assert(Date.now() < deadline, program.output());
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
    await using program = await startProgram(args, {
      HEADGATE_FORWARDED_ALLOW_IPS: "off",
    });
    const port = Number(new URL(program.address).port);
    const answer = await ask({ host: "127.0.0.1", port });
    assertStringIncludes(answer, "http://a.test/ 127.0.0.1");
  } finally {
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  }
});
