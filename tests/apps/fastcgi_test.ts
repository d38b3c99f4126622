/** Applications and scripts behind FastCGI, over a responder in the hands of the
 * test and a file system of a few lines. */
import { test } from "node:test";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { fastcgi, type FastCgiOptions } from "../../src/apps/fastcgi.ts";
import {
  fastcgiScripts,
  type FastCgiScriptsOptions,
} from "../../src/apps/fastcgi_scripts.ts";
import { toFetch } from "../../src/apps/to_fetch.ts";
import { BackendError, HttpError } from "../../src/errors.ts";
import type { Handler } from "../../src/exchange.ts";
import { BackendPool } from "../../src/fastcgi/pool.ts";
import { FakeExchange, type FakeRequest } from "../support/fake_exchange.ts";
import { type FakeFile, FakeFiles } from "../support/fake_files.ts";
import {
  type ArrivedRequest,
  FakeResponder,
} from "../support/fake_responder.ts";
import { endRequest, stdout } from "../support/fastcgi_records.ts";
import { concat } from "../support/octets.ts";

const hello = "Content-Type: text/plain\n\nhello";

/** Exchanges over one pool with one responder. */
class Bench {
  readonly log: string[] = [];
  readonly requests: ArrivedRequest[] = [];
  readonly responder = new FakeResponder();
  readonly pool: BackendPool;
  readonly logger = {
    debug() {},
    info() {},
    warn: (message: string) => void this.log.push(message),
    error: (message: string) => void this.log.push(message),
  };

  constructor(answer: string | ((request: ArrivedRequest) => string) = hello) {
    this.pool = new BackendPool({ log: this.logger });
    this.responder.answer = (request) => {
      this.requests.push(request);
      return typeof answer === "string" ? answer : answer(request);
    };
    this.pool.add({
      name: "fake",
      connections: 2,
      connect: this.responder.connect,
    });
  }

  async ask(
    handler: Handler,
    request: FakeRequest = {},
  ): Promise<FakeExchange> {
    const exchange = new FakeExchange(request);
    await handler(exchange);
    assert(exchange.response.ended);
    return exchange;
  }

  async close(): Promise<void> {
    await this.pool.close();
    for (const { misuse, closed } of this.responder.streams) {
      assertEquals(misuse, []);
      assert(closed);
    }
  }
}

/** Asks an application once. */
async function ask(
  request: FakeRequest,
  answer: string | ((request: ArrivedRequest) => string) = hello,
  options: FastCgiOptions = {},
): Promise<{ exchange: FakeExchange; bench: Bench }> {
  const bench = new Bench(answer);
  const handler = fastcgi(bench.pool, { log: bench.logger, ...options });
  const exchange = await bench.ask(handler, request);
  await bench.close();
  return { exchange, bench };
}

// ---- Applications ----

test("fastcgi() packs all parameters into one", async () => {
  const request = {
    target: "/a?b=c",
    fields: [["Host", "example.com"]] as const,
  };
  const plain = await ask(request);
  const packed = await ask(request, hello, { packed: true });
  const { HEADGATE_ENVIRON = "", ...rest } = packed.bench.requests[0]!.params;
  assertEquals(rest, {});
  const names = HEADGATE_ENVIRON.split("\0").filter((_, at) => at % 2 === 0);
  const values = HEADGATE_ENVIRON.split("\0").filter((_, at) => at % 2 === 1);
  assertEquals(names.pop(), "");
  assertEquals(
    Object.fromEntries(names.map((name, at) => [name, values[at]])),
    plain.bench.requests[0]!.params,
  );
});

test("fastcgi() has an application answer", async () => {
  const { exchange, bench } = await ask(
    {
      target: "/shop/a%20b?c",
      method: "POST",
      content: ["x"],
      fields: [
        ["Host", "example.com"],
        ["Content-Length", "1"],
      ],
    },
    "Status: 201 Made\nX-A: b\n\nhello",
    { scriptName: "/shop", params: [["APP_ENV", "test"]] },
  );
  const { response } = exchange;
  assertEquals([response.status, response.reason], [201, "Made"]);
  assertEquals(response.fields, [["X-A", "b"]]);
  assertEquals(response.content, "hello");
  const { params, content, keep } = bench.requests[0]!;
  assertEquals([content, keep], ["x", true]);
  assertEquals(params.SCRIPT_NAME, "/shop");
  assertEquals(params.PATH_INFO, "/a b");
  assertEquals(params.QUERY_STRING, "c");
  assertEquals(params.CONTENT_LENGTH, "1");
  assertEquals(params.APP_ENV, "test");
  assertMatch(params.SERVER_SOFTWARE!, /^headgate\//);
});

test("fastcgi() reads content ahead where it is asked to", async () => {
  const host = {
    openSpool: () => Promise.reject(new Error("There is no need to")),
  };
  const { bench } = await ask(
    {
      method: "POST",
      content: ["ab", "cd"],
      slowContent: true,
      fields: [["Transfer-Encoding", "chunked"]],
    },
    hello,
    { hold: { host } },
  );
  const { params, content } = bench.requests[0]!;
  assertEquals([params.CONTENT_LENGTH, content], ["4", "abcd"]);
  assertEquals(params.HTTP_TRANSFER_ENCODING, undefined);
});

test("fastcgi() refuses what has no length where responders need one", async () => {
  const host = { openSpool: () => Promise.reject(new Error("Not this one")) };
  const ways: [FastCgiOptions, number][] = [
    [{ needsLength: true, hold: { spool: "off", host } }, 411],
    [{ needsLength: true }, 411],
    [{ needsLength: true, hold: { host } }, 200],
    [{ hold: { spool: "off", host } }, 200],
  ];
  for (const [options, status] of ways) {
    const { exchange } = await ask(
      {
        method: "POST",
        content: ["ab"],
        fields: [["Transfer-Encoding", "chunked"]],
      },
      hello,
      options,
    );
    assertEquals(exchange.response.status, status);
  }
});

test("fastcgi() fails with what reading the content failed with", async () => {
  const bench = new Bench();
  const handler = fastcgi(bench.pool, { log: bench.logger });
  const error = new HttpError(413, "Content too large");
  const exchange = new FakeExchange({ method: "POST", content: ["a", error] });
  assertEquals(
    await assertRejects(async () => await handler(exchange), HttpError),
    error,
  );
  assertEquals(exchange.response.started, false);
  await bench.close();
});

test("fastcgi() lets no path begin a variable of its own", async () => {
  const bench = new Bench();
  const handler = fastcgi(bench.pool, { log: bench.logger, packed: true });
  const target = "/a%00REMOTE_USER%00root";
  await assertRejects(
    async () => await handler(new FakeExchange({ target })),
    HttpError,
    "NUL in the path",
  );
  assertEquals(bench.requests, []);
  await bench.close();
});

test("fastcgi() is served by a fetch server, too", async () => {
  const bench = new Bench();
  const content = "0123456789".repeat(20_000);
  bench.responder.answer = undefined;
  const app = toFetch(fastcgi(bench.pool, { log: bench.logger }));
  const asked = app(
    new Request("http://example.com/a", { method: "POST", body: "sent" }),
  );
  const { params } = await bench.responder.request();
  assertEquals(params.PATH_INFO, "/a");
  const stream = bench.responder.streams[0]!;
  stream.push(stdout(hello));
  for (let at = 0; at < content.length; at += 50_000) {
    stream.push(stdout(content.slice(at, at + 50_000)));
  }
  stream.push(endRequest());
  const response = await asked;
  assertEquals(response.headers.get("content-type"), "text/plain");
  assert(await response.text() === `hello${content}`, "the content");
  await bench.close();
});

test("fastcgi() answers for a responder that fails, and tells the log", async () => {
  const { exchange, bench } = await ask({ target: "/a\xe9" }, "nonsense\n\n");
  const { response } = exchange;
  assertEquals([response.status, response.content], [502, "502 Bad Gateway\n"]);
  assertEquals(bench.log, [
    'GET /a\\xe9: 502: The response head is malformed: "nonsense"',
  ]);
});

test("fastcgi() says when to come again", async () => {
  const bench = new Bench();
  const pool = new BackendPool({ log: bench.logger, queueLength: 0 });
  const exchange = await bench.ask(fastcgi(pool, { log: bench.logger }));
  assertEquals(exchange.response.status, 503);
  assertEquals(exchange.response.field("retry-after"), "1");
  await bench.close();
});

test("fastcgi() cuts a response that has begun", async () => {
  const bench = new Bench();
  bench.responder.answer = undefined;
  const exchange = new FakeExchange();
  const handling = fastcgi(bench.pool, { log: bench.logger })(exchange);
  await bench.responder.request();
  const stream = bench.responder.streams[0]!;
  stream.push(stdout(hello));
  await stream.untilQuiet();
  stream.end();
  await assertRejects(
    async () => await handling,
    BackendError,
    "closed the connection",
  );
  await bench.close();
});

test("fastcgi() waits for a read that the responder has left pending", async () => {
  for (const answer of ["Status: 413\n\nno", "nonsense\n\n"]) {
    const bench = new Bench();
    bench.responder.answer = undefined;
    const exchange = new FakeExchange({ method: "POST" });
    let arrive = (_: null) => {};
    const arriving = new Promise<null>((resolve) => arrive = resolve);
    Object.defineProperty(exchange.body, "read", { value: () => arriving });
    let settled = false;
    const handling = Promise.resolve(
      fastcgi(bench.pool, { log: bench.logger })(exchange),
    ).then(() => settled = true);
    await bench.responder.request(0, 0, () => true);
    const stream = bench.responder.streams[0]!;
    stream.push(concat([stdout(answer), endRequest()]));
    await stream.untilClosed();
    // Long enough for whoever does not wait.
    while (!exchange.response.ended) await nextTurn();
    for (let turns = 0; turns < 10; turns++) await nextTurn();
    assertEquals(settled, false);
    assertEquals(exchange.response.committed, true, "the client waits, too");
    arrive(null);
    await handling;
    await bench.close();
  }
});

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

test("fastcgi() answers local redirects itself", async () => {
  const { exchange, bench } = await ask(
    { method: "POST", target: "/from" },
    ({ params }) =>
      params.PATH_INFO === "/from"
        ? "Location: /to?x\n\n"
        : `X-Method: ${params.REQUEST_METHOD}\nStatus: 200\n\n`,
  );
  assertEquals(exchange.response.field("x-method"), "GET");
  assertEquals(bench.requests[1]?.params.REQUEST_URI, "/to?x");
});

test("fastcgi() does not go in a circle", async () => {
  const { exchange, bench } = await ask({}, "Location: /\n\n");
  assertEquals(exchange.response.status, 502);
  assertEquals(bench.requests.length, 11);
});

// ---- Files that are sent ----

const vault: Readonly<Record<string, FakeFile>> = {
  "/vault": {},
  "/vault/a.txt": { content: "0123456789" },
  "/vault/\xe4 b.bin": { content: "umlaut" },
  "/vault/out.txt": { link: "/secret" },
  "/link": { link: "/vault" },
  "/link/a.txt": { link: "/vault/a.txt" },
  "/other": {},
  "/other/b.txt": { content: "other" },
  "/secret": { content: "secret" },
};

async function sendFile(
  fields: string,
  request: FakeRequest = {},
  roots: readonly string[] = ["/vault", "/other"],
): Promise<{ exchange: FakeExchange; bench: Bench }> {
  const files = new FakeFiles(vault);
  const result = await ask(request, `Status: 200\n${fields}\n\ndropped`, {
    sendFile: { roots, files },
  });
  assertEquals(files.opened, 0);
  return result;
}

test("X-Sendfile has a file sent with what the application says", async () => {
  const { exchange } = await sendFile(
    "X-Sendfile: /vault/a.txt\nContent-Type: application/x-own\n" +
      'Content-Length: 7\nSet-Cookie: a=1\nSet-Cookie: b=2\nETag: "own"',
  );
  const { response } = exchange;
  assertEquals([response.status, response.content], [200, "0123456789"]);
  assertEquals(response.size, 10);
  assertEquals(response.field("content-type"), "application/x-own");
  assertEquals(response.field("x-sendfile"), undefined);
  assertEquals(response.field("content-length"), undefined);
  assertEquals(response.field("accept-ranges"), "bytes");
  assertEquals(
    response.fields.filter(([name]) => name === "Set-Cookie").length,
    2,
  );
  assertMatch(response.field("etag")!, /^"a-/);
});

test("X-Sendfile has ranges, conditions and HEAD", async () => {
  const asked = "X-Sendfile: /vault/a.txt\nSet-Cookie: a=1";
  const part = await sendFile(asked, { fields: [["Range", "bytes=2-4"]] });
  assertEquals(part.exchange.response.status, 206);
  assertEquals(part.exchange.response.content, "234");
  assertEquals(part.exchange.response.field("set-cookie"), "a=1");
  const etag = part.exchange.response.field("etag")!;
  const known = await sendFile(asked, { fields: [["If-None-Match", etag]] });
  assertEquals(known.exchange.response.status, 304);
  const posted = await sendFile(asked, {
    method: "POST",
    fields: [["If-None-Match", etag], ["Range", "bytes=2-4"]],
  });
  assertEquals(posted.exchange.response.status, 200);
  const head = await sendFile(asked, { method: "HEAD" });
  assertEquals(head.exchange.response.size, 10);
  const beyond = await sendFile(asked, { fields: [["Range", "bytes=99-"]] });
  assertEquals(beyond.exchange.response.status, 416);
});

test("X-Sendfile keeps another status than 200", async () => {
  const files = new FakeFiles(vault);
  const { exchange } = await ask(
    { fields: [["Range", "bytes=2-4"]] },
    "Status: 403 No\nX-Sendfile: /vault/a.txt\n\n",
    { sendFile: { roots: ["/vault"], files } },
  );
  assertEquals(exchange.response.status, 403);
  assertEquals(exchange.response.content, "0123456789");
});

test("X-Sendfile and X-Accel-Redirect find files below any root", async () => {
  const found: [string, string, string[]?][] = [
    ["X-Sendfile: /other/b.txt", "other"],
    ["x-sendfile: /vault/\xc3\xa4 b.bin", "umlaut"],
    ["X-Sendfile: /vault/a.txt", "0123456789", ["/link"]],
    ["X-Sendfile: /link/a.txt", "0123456789", ["/link"]],
    ["X-Accel-Redirect: /b.txt?x=y", "other"],
    ["X-Accel-Redirect: /%C3%A4%20b.bin", "umlaut"],
    ["X-Accel-Redirect: /a.txt", "0123456789"],
  ];
  for (const [asked, content, roots] of found) {
    const { exchange } = await sendFile(asked, {}, roots);
    assertEquals(exchange.response.content, content, asked);
  }
});

test("X-Sendfile and X-Accel-Redirect have nothing outside of the roots", async () => {
  const refused = [
    "X-Sendfile: /secret",
    "X-Sendfile: /vault/../secret",
    "X-Sendfile: /vault/out.txt",
    "X-Sendfile: /vault2/a.txt",
    "X-Sendfile: a.txt",
    "X-Sendfile:",
    "X-Sendfile: /vault",
    "X-Sendfile: /vault/missing",
    "X-Accel-Redirect: /../secret",
    "X-Accel-Redirect: /out.txt",
    "X-Accel-Redirect: b.txt",
    "X-Accel-Redirect: /",
  ];
  for (const asked of refused) {
    const { exchange } = await sendFile(asked);
    assertEquals(exchange.response.status, 404, asked);
    assertEquals(exchange.response.content, "404 Not Found\n", asked);
  }
});

test("X-Sendfile is any field where nobody may have files sent", async () => {
  const { exchange } = await ask({}, "X-Sendfile: /a\nStatus: 200\n\nhere");
  assertEquals(exchange.response.field("x-sendfile"), "/a");
  assertEquals(exchange.response.content, "here");
});

// ---- Scripts ----

const site: Readonly<Record<string, FakeFile>> = {
  "/site": {},
  "/site/index.php": { content: "<?php secret" },
  "/site/info.php": { content: "<?php secret" },
  "/site/info.php~": { content: "<?php secret" },
  "/site/old.php.bak": { content: "<?php secret" },
  "/site/old.phpbak": { content: "<?php secret" },
  "/site/config.inc": { content: "<?php secret" },
  "/site/part.phtml": { content: "<?php secret" },
  "/site/SHOUT.PHP": { content: "<?php secret" },
  "/site/alias.txt": { link: "/site/info.php" },
  "/site/.env": { content: "secret" },
  "/site/style.css": { content: "css" },
  "/site/phpinfo.txt": { content: "text" },
  "/site/blog": {},
  "/site/blog/index.php": { content: "<?php secret" },
  "/site/docs": {},
  "/site/docs/index.html": { content: "<docs>" },
  "/site/\xe4.php": { content: "<?php secret" },
};

async function visit(
  request: FakeRequest | string,
  options: Partial<FastCgiScriptsOptions> = {},
  more: Readonly<Record<string, FakeFile | undefined>> = {},
): Promise<{ exchange: FakeExchange; params: Record<string, string> }> {
  const places = Object.entries({ ...site, ...more })
    .filter((one): one is [string, FakeFile] => one[1] !== undefined);
  const files = new FakeFiles(Object.fromEntries(places));
  const bench = new Bench();
  const handler = fastcgiScripts(bench.pool, {
    root: "/site",
    files,
    log: bench.logger,
    ...options,
  });
  const exchange = await bench.ask(
    handler,
    typeof request === "string" ? { target: request } : request,
  );
  await bench.close();
  assertEquals(files.opened, 0);
  assert(!exchange.response.content.includes("secret"));
  return { exchange, params: { ...bench.requests[0]?.params } };
}

test("fastcgiScripts() refuses where the file system does, its front controller included", async () => {
  for (const [code, status] of [["EACCES", 403], ["EMFILE", 503]] as const) {
    const files = new FakeFiles(site);
    const resolve = files.resolve.bind(files);
    files.resolve = (path) =>
      path === "/site/index.php"
        ? Promise.reject(Object.assign(new Error(code), { code }))
        : resolve(path);
    for (const target of ["/", "/none", "/docs/none"]) {
      const { exchange } = await visit(target, { files });
      assertEquals(exchange.response.status, status, target);
    }
  }
});

const places: readonly [
  target: string,
  file: string,
  scriptName: string,
  pathInfo: string,
][] = [
  ["/", "/site/index.php", "/index.php", ""],
  ["/info.php", "/site/info.php", "/info.php", ""],
  ["/info.php/a%20b/c?d", "/site/info.php", "/info.php", "/a b/c"],
  ["/alias.txt", "/site/info.php", "/alias.txt", ""],
  ["/SHOUT.PHP", "/site/SHOUT.PHP", "/SHOUT.PHP", ""],
  ["/blog/", "/site/blog/index.php", "/blog/index.php", ""],
  ["/%C3%A4.php", "/site/\xc3\xa4.php", "/\xc3\xa4.php", ""],
  // All else is the front controller's.
  ["/pretty/url?a=b", "/site/index.php", "/index.php", ""],
  ["/missing.php", "/site/index.php", "/index.php", ""],
  ["/missing.css", "/site/index.php", "/index.php", ""],
  ["/info.php~", "/site/index.php", "/index.php", ""],
  ["/old.php.bak", "/site/index.php", "/index.php", ""],
  ["/old%2Ephp.bak", "/site/index.php", "/index.php", ""],
  ["/old.phpbak", "/site/index.php", "/index.php", ""],
  ["/config.inc", "/site/index.php", "/index.php", ""],
  ["/part.phtml", "/site/index.php", "/index.php", ""],
  ["/.env", "/site/index.php", "/index.php", ""],
  ["/../secret", "/site/index.php", "/index.php", ""],
  ["/info.php/a%2fb", "/site/index.php", "/index.php", ""],
];

for (const [target, file, scriptName, pathInfo] of places) {
  test(`fastcgiScripts() runs ${file} for ${target}`, async () => {
    const { exchange, params } = await visit(target);
    assertEquals(exchange.response.content, "hello");
    assertEquals(
      [params.SCRIPT_FILENAME, params.SCRIPT_NAME, params.PATH_INFO],
      [file, scriptName, pathInfo],
    );
    assertEquals(params.DOCUMENT_ROOT, "/site");
    assertEquals(params.REQUEST_URI, target);
  });
}

test("fastcgiScripts() looks once for what is the application's own", async () => {
  const files = new FakeFiles(site);
  const bench = new Bench();
  const options = { root: "/site", files, log: bench.logger };
  const handler = fastcgiScripts(bench.pool, options);
  await bench.ask(handler, { target: "/first" });
  files.asked.length = 0;
  await bench.ask(handler, { target: "/pretty/url" });
  assertEquals(files.asked, ["/site/pretty/url"]);
  await bench.close();
});

test("fastcgiScripts() sends files that are no scripts", async () => {
  for (
    const [target, content] of [
      ["/style.css", "css"],
      ["/phpinfo.txt", "text"],
      ["/docs/", "<docs>"],
    ] as const
  ) {
    const { exchange, params } = await visit(target);
    assertEquals([exchange.response.content, params], [content, {}]);
  }
  const { exchange } = await visit({ method: "POST", target: "/style.css" });
  assertEquals(exchange.response.content, "hello");
});

test("fastcgiScripts() leads to a directory by a slash", async () => {
  const blog = await visit("/blog?a=b");
  assertEquals(blog.exchange.response.status, 301);
  assertEquals(blog.exchange.response.field("location"), "./blog/?a=b");
  const docs = await visit("/docs");
  assertEquals(docs.exchange.response.field("location"), "./docs/");
});

test("fastcgiScripts() is 404 where there is no front controller", async () => {
  const { exchange } = await visit("/missing", {}, {
    "/site/index.php": undefined,
  });
  assertEquals(exchange.response.status, 404);
});

test("fastcgiScripts() stands below a path, with another index", async () => {
  const options = { prefix: "/cms", index: "main.php" };
  const more = { "/site/main.php": { content: "<?php secret" } };
  const front = await visit("/cms/a/b", options, more);
  assertEquals(front.params.SCRIPT_NAME, "/cms/main.php");
  const script = await visit("/cms/info.php/x", options, more);
  assertEquals(script.params.SCRIPT_NAME, "/cms/info.php");
  assertEquals(script.params.PATH_INFO, "/x");
});

test("fastcgiScripts() tells the paths that the responder has", async () => {
  const { params } = await visit("/blog/", { responderRoot: "/var/www" });
  assertEquals(params.DOCUMENT_ROOT, "/var/www");
  assertEquals(params.SCRIPT_FILENAME, "/var/www/blog/index.php");
});

test("fastcgiScripts() gives the paths that links lead to", async () => {
  const more = {
    "/current": { link: "/site" },
    "/current/info.php": { link: "/site/info.php" },
    "/current/index.php": { link: "/site/index.php" },
  };
  const { params } = await visit("/info.php", { root: "/current" }, more);
  assertEquals(params.SCRIPT_FILENAME, "/site/info.php");
  assertEquals(params.DOCUMENT_ROOT, "/site");
});
