/** Files of a directory, over a file system of a few lines. */
import { test } from "node:test";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { files, filesBefore, type FilesOptions } from "../../src/apps/files.ts";
import { ApplicationError, StreamError } from "../../src/errors.ts";
import type { Handler } from "../../src/exchange.ts";
import {
  FakeExchange,
  type FakeRequest,
  type FakeResponse,
} from "../support/fake_exchange.ts";
import { type FakeFile, FakeFiles, longAgo } from "../support/fake_files.ts";

const tag = `"5-${(longAgo * 1000).toString(16)}"`;
const date = "Mon, 03 Feb 2020 04:05:06 GMT";

const site: Readonly<Record<string, FakeFile>> = {
  "/site": {},
  "/site/a.txt": { content: "hello" },
  "/site/ä b.txt": { content: "umlaut" },
  "/site/index.html": { content: "<home>" },
  "/site/dir": {},
  "/site/dir/index.html": { content: "<dir>" },
  "/site/bare": {},
  "/site/pipe": { pipe: true },
  "/site/empty.bin": { content: "" },
  "/site/.env": { content: "secret" },
  "/site/.well-known": {},
  "/site/.well-known/x": { content: "known" },
  "/site/inward.txt": { link: "/site/a.txt" },
  "/site/outward.txt": { link: "/secret" },
  "/site/sibling.txt": { link: "/site2/secret" },
  "/site2/secret": { content: "secret" },
  "/secret": { content: "secret" },
  "/site/many.txt": { code: "EMFILE" },
  "/site/broken.txt": { code: "EIO" },
};

type Options = Partial<FilesOptions>;

/** Serves one request, and sees to it that no file stays open. */
async function ask(
  request: FakeRequest,
  options: Options = {},
  more: Readonly<Record<string, FakeFile>> = {},
): Promise<FakeResponse> {
  const source = new FakeFiles({ ...site, ...more });
  const exchange = new FakeExchange(request);
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  try {
    await files("/site", { source, log, ...options })(exchange);
  } finally {
    assertEquals(source.opened, 0, "a file stays open");
  }
  assert(exchange.response.ended);
  return exchange.response;
}

const get = (target: string, fields: [string, string][] = []) =>
  ask({ target, fields });

test("files() sends a file with its type, length and validators", async () => {
  const response = await get("/a.txt");
  assertEquals(response.status, 200);
  assertEquals(response.content, "hello");
  assertEquals(response.size, 5);
  assertEquals(response.fields, [
    ["Content-Type", "text/plain; charset=utf-8"],
    ["Last-Modified", date],
    ["Accept-Ranges", "bytes"],
    ["ETag", tag],
    ["Vary", "Accept-Encoding"],
  ]);
});

test("files() answers HEAD as GET, without reading", async () => {
  const source = new FakeFiles(site);
  const head = await ask({ method: "HEAD", target: "/a.txt" }, { source });
  assertEquals(source.buffers, []);
  const whole = await get("/a.txt");
  assertEquals(head.fields, whole.fields);
  assertEquals([head.status, head.size, head.content], [200, 5, ""]);
});

test("files() sends an empty file", async () => {
  const response = await get("/empty.bin", [["Range", "bytes=0-"]]);
  assertEquals([response.status, response.size], [200, 0]);
  assertEquals(response.field("content-type"), "application/octet-stream");
  assertEquals(response.field("vary"), undefined);
});

test("files() decodes paths as UTF-8", async () => {
  assertEquals((await get("/%C3%A4%20b.txt")).content, "umlaut");
  assertEquals((await get("/\xc3\xa4%20b.txt")).content, "umlaut");
  assertEquals((await get("/%E4%20b.txt")).status, 404);
});

const refused = [
  "/missing.txt",
  "/../secret",
  "/%2e%2e/secret",
  "/.%2E/secret",
  "/dir/../a.txt",
  "/dir/./index.html",
  "/..%2fsecret",
  "/dir%2Findex.html",
  "/dir%5cindex.html",
  "/dir\\index.html",
  "/a.txt%00.html",
  "/a.txt::$DATA",
  "/a.txt.",
  "/a.txt%20",
  "//a.txt",
  "/dir//index.html",
  "/a.txt/",
  "/.env",
  "/%2eenv",
  "/.git/config",
  "/bare",
  "/bare/",
  "/pipe",
  "/outward.txt",
  "/sibling.txt",
];

for (const target of refused) {
  test(`files() has no ${target}`, async () => {
    const response = await get(target);
    assertEquals(response.status, 404);
    assertEquals(response.content, "404 Not Found\n");
  });
}

test("files() asks the file system for nothing outside of its directory", async () => {
  for (const target of refused) {
    const source = new FakeFiles(site);
    await files("/site", { source })(new FakeExchange({ target }));
    for (const path of source.asked) {
      assertMatch(path, /^\/(site(\/|$)|secret$|site2\/secret$)/);
      assert(!path.includes(".."), path);
    }
  }
});

test("files() shows .well-known and follows links that stay", async () => {
  assertEquals((await get("/.well-known/x")).content, "known");
  assertEquals((await get("/inward.txt")).content, "hello");
});

test("files() follows links that lead out where that is allowed", async () => {
  const target = "/outward.txt";
  const response = await ask({ target }, { outwardLinks: true });
  assertEquals(response.content, "secret");
});

test("files() follows a directory that leads to another place after a while", async () => {
  const places: Record<string, FakeFile> = {
    "/current": { link: "/v1" },
    "/v1": {},
    "/v2": {},
    "/current/a": { link: "/v1/a" },
    "/v1/a": { content: "1" },
    "/v2/a": { content: "2" },
  };
  const handle = files("/current", { source: new FakeFiles(places) });
  const first = new FakeExchange({ target: "/a" });
  await handle(first);
  places["/current"] = { link: "/v2" };
  places["/current/a"] = { link: "/v2/a" };
  const second = new FakeExchange({ target: "/a" });
  await handle(second);
  assertEquals([first.response.content, second.response.content], ["1", "2"]);
});

test("files() asks once where its directory is", async () => {
  const source = new FakeFiles(site);
  const handle = files("/site", { source });
  for (let count = 0; count < 3; count++) {
    await handle(new FakeExchange({ target: "/a.txt" }));
  }
  assertEquals(source.asked.filter((path) => path === "/site").length, 1);
});

test("files() looks for no index in what is no directory", async () => {
  const source = new FakeFiles(site);
  await ask({ target: "/a.txt/" }, { source });
  assertEquals(source.asked, ["/site/a.txt", "/site"]);
});

test("files() sends the index of a directory, by way of a slash", async () => {
  assertEquals((await get("/")).content, "<home>");
  assertEquals((await get("/dir/")).content, "<dir>");
  const response = await get("/dir?a=//evil");
  assertEquals(response.status, 301);
  assertEquals(response.field("location"), "./dir/?a=//evil");
  const more = { "/site/dir/null": { content: "" } };
  for (const target of ["/dir/", "/dir"]) {
    assertEquals((await ask({ target }, { index: null }, more)).status, 404);
  }
});

test("files() redirects to nowhere else", async () => {
  const more = {
    "/site/evil.com": {},
    "/site/evil.com/index.html": { content: "" },
  };
  const slashes = await ask({ target: "//evil.com" }, {}, more);
  assertEquals(slashes.status, 404);
  const absolute = await ask({ target: "http://a//evil.com" }, {}, more);
  assertEquals(absolute.status, 404);
  const plain = await ask({ target: "/evil.com" }, {}, more);
  assertEquals(plain.field("location"), "./evil.com/");
});

test("files() answers other methods with what it allows", async () => {
  const post = await ask({ method: "POST", target: "/a.txt" });
  assertEquals(post.status, 405);
  assertEquals(post.field("allow"), "GET, HEAD, OPTIONS");
  const options = await ask({ method: "OPTIONS", target: "/a.txt" });
  assertEquals([options.status, options.content], [204, ""]);
  assertEquals(options.field("allow"), "GET, HEAD, OPTIONS");
});

test("files() says what the file system refuses", async () => {
  for (
    const [code, status] of [
      ["EACCES", 403],
      ["EPERM", 403],
      ["EMFILE", 503],
      ["ENFILE", 503],
    ] as const
  ) {
    const more = { "/site/other.txt": { code } };
    const response = await ask({ target: "/other.txt" }, {}, more);
    assertEquals(response.status, status, code);
  }
  const warnings: string[] = [];
  const log = {
    debug() {},
    info() {},
    warn: (line: string) => void warnings.push(line),
    error() {},
  };
  const busy = await ask({ target: "/many.txt" }, { log });
  assertEquals([busy.status, busy.field("retry-after")], [503, "1"]);
  assertEquals(warnings, ["Too many open files for /many.txt (EMFILE)"]);
  await assertRejects(() => get("/broken.txt"), Error, "EIO");
});

test("files() sends Cache-Control where it is told to", async () => {
  const cacheControl = "max-age=60";
  const whole = await ask({ target: "/a.txt" }, { cacheControl });
  assertEquals(whole.field("cache-control"), cacheControl);
  const fields = [["If-None-Match", tag]] as const;
  const same = await ask({ target: "/a.txt", fields }, { cacheControl });
  assertEquals(same.status, 304);
  assertEquals(same.fields, [
    ["ETag", tag],
    ["Cache-Control", cacheControl],
    ["Vary", "Accept-Encoding"],
  ]);
});

// ---- Conditions and ranges ----

const conditions: [[string, string][], number][] = [
  [[["If-Match", "*"]], 200],
  [[["If-Match", tag]], 200],
  [[["If-Match", '"x"']], 412],
  [[["If-Modified-Since", date]], 304],
  [[["If-Unmodified-Since", "Sun, 02 Feb 2020 00:00:00 GMT"]], 412],
  [[["Range", "bytes=1-3"]], 206],
  [[["Range", "bytes=9-"]], 416],
  [[["Range", "bytes=0-0,2-3"]], 200],
  [[["Range", "lines=1-3"]], 200],
  [[["Range", "bytes=1-3"], ["If-Range", tag]], 206],
  [[["Range", "bytes=1-3"], ["If-Range", date]], 206],
  [[["Range", "bytes=1-3"], ["If-Range", `W/${tag}`]], 200],
  [[["Range", "bytes=9-"], ["If-Range", '"x"']], 200],
  [[["Range", "bytes=1-3"], ["If-None-Match", tag]], 304],
  [[["Range", "bytes=9-"], ["If-Match", '"x"']], 412],
];

for (const [fields, status] of conditions) {
  test(`files(): ${fields.map((line) => line.join(" ")).join(", ")}`, async () => {
    assertEquals((await get("/a.txt", fields)).status, status);
  });
}

test("files() sends a part, and says which", async () => {
  const part = await get("/a.txt", [["Range", "bytes=1-3"]]);
  assertEquals([part.content, part.size], ["ell", 3]);
  assertEquals(part.field("content-range"), "bytes 1-3/5");
  const end = await get("/a.txt", [["Range", "bytes=-2"]]);
  assertEquals(end.content, "lo");
  assertEquals(end.field("content-range"), "bytes 3-4/5");
  const none = await get("/a.txt", [["Range", "bytes=5-"]]);
  assertEquals(none.field("content-range"), "bytes */5");
});

test("files() takes ranges of GET alone", async () => {
  const fields = [["Range", "bytes=1-3"]] as const;
  const head = await ask({ method: "HEAD", target: "/a.txt", fields });
  assertEquals([head.status, head.size], [200, 5]);
});

test("files() lets nobody put parts together of a file that was just changed", async () => {
  const more = { "/site/a.txt": { content: "hello", modifiedMs: Date.now() } };
  const whole = await ask({ target: "/a.txt" }, {}, more);
  const etag = whole.field("etag") ?? "";
  assertMatch(etag, /^W\//);
  const modified = whole.field("last-modified") ?? "";
  for (const validator of [etag, etag.slice(2), modified]) {
    const fields = [["Range", "bytes=1-3"], ["If-Range", validator]] as const;
    const part = await ask({ target: "/a.txt", fields }, {}, more);
    assertEquals(part.status, 200);
  }
  const fields = [["If-None-Match", etag]] as const;
  assertEquals((await ask({ target: "/a.txt", fields }, {}, more)).status, 304);
});

// ---- Encoded forms ----

const encoded: Readonly<Record<string, FakeFile>> = {
  "/site/a.css": { content: "plain" },
  "/site/a.css.gz": { content: "gzip" },
  "/site/a.css.br": { content: "br" },
  "/site/a.css.zst": { content: "zstd" },
  "/site/old.js": { content: "new" },
  "/site/old.js.gz": { content: "old", modifiedMs: longAgo - 5000 },
  "/site/out.js": { content: "in" },
  "/site/out.js.gz": { link: "/secret" },
  "/site/folder.js": { content: "file" },
  "/site/folder.js.gz": {},
  "/site/busy.js": { content: "file" },
  "/site/busy.js.gz": { code: "EMFILE" },
  "/site/a.png": { content: "image" },
  "/site/a.png.gz": { content: "gzip" },
};

async function encodedForm(target: string, accepted: string) {
  const fields = [["Accept-Encoding", accepted]] as const;
  const response = await ask({ target, fields }, {}, encoded);
  return [response.content, response.field("content-encoding")];
}

test("files() sends the encoded form that the peer likes best", async () => {
  const form = (accepted: string) => encodedForm("/a.css", accepted);
  assertEquals(await form("gzip, deflate, br, zstd"), ["br", "br"]);
  assertEquals(await form("gzip, zstd"), ["zstd", "zstd"]);
  assertEquals(await form("br;q=0.5, gzip"), ["gzip", "gzip"]);
  assertEquals(await form("br;q=0, gzip;q=0"), ["plain", undefined]);
  assertEquals(await form("identity, gzip;q=0.5"), ["plain", undefined]);
  assertEquals(await form(""), ["plain", undefined]);
});

test("files() sends no encoded form that is not one", async () => {
  assertEquals(await encodedForm("/old.js", "gzip"), ["new", undefined]);
  assertEquals(await encodedForm("/out.js", "gzip"), ["in", undefined]);
  assertEquals(await encodedForm("/folder.js", "gzip"), ["file", undefined]);
  assertEquals(await encodedForm("/a.png", "gzip"), ["image", undefined]);
  const target = "/busy.js";
  const fields = [["Accept-Encoding", "gzip"]] as const;
  assertEquals((await ask({ target, fields }, {}, encoded)).status, 503);
});

test("files() gives each form of a file its own tag and the file's type", async () => {
  const target = "/a.css";
  const fields = [["Accept-Encoding", "gzip"]] as const;
  const gzip = await ask({ target, fields }, {}, encoded);
  assertEquals(gzip.field("content-type"), "text/css; charset=utf-8");
  assertEquals(gzip.field("vary"), "Accept-Encoding");
  assertMatch(gzip.field("etag") ?? "", /^"4-.*-gzip"$/);
});

test("files() leaves encoded forms alone where it is told to", async () => {
  const target = "/a.css";
  const fields = [["Accept-Encoding", "gzip"]] as const;
  const options = { precompressed: false };
  const response = await ask({ target, fields }, options, encoded);
  assertEquals(response.content, "plain");
  assertEquals(response.field("vary"), undefined);
});

// ---- Content ----

const large = "0123456789abcdef".repeat(10_000);

test("files() sends blocks of 64 KiB, each when the peer has drained", async () => {
  const source = new FakeFiles({
    "/site": {},
    "/site/large": { content: large },
  });
  const exchange = new FakeExchange({ target: "/large", slowPeer: true });
  await files("/site", { source })(exchange);
  assertEquals(exchange.response.content, large);
  assertEquals(source.buffers, [65_536, 65_536, large.length - 131_072]);
  assertEquals(source.opened, 0);
});

test("files() leaves a block alone until the peer has drained", async () => {
  const source = new FakeFiles({
    "/site": {},
    "/site/large": { content: large },
  });
  const exchange = new FakeExchange({ target: "/large" });
  const { response } = exchange;
  const write = response.write.bind(response);
  response.write = async (lent) => {
    await new Promise((settle) => setTimeout(settle));
    await write(lent);
  };
  await files("/site", { source })(exchange);
  assert(response.content === large);
});

test("files() goes on where a read gives less than it could", async () => {
  const more = { "/site/large": { content: large, atOnce: 999 } };
  const fields = [["Range", "bytes=5-100004"]] as const;
  const response = await ask({ target: "/large", fields }, {}, more);
  assertEquals(response.content, large.slice(5, 100_005));
});

test("files() cuts what has become shorter", async () => {
  const more = { "/site/large": { content: large, size: large.length + 1 } };
  await assertRejects(
    () => ask({ target: "/large" }, {}, more),
    ApplicationError,
    `1 of ${large.length + 1} bytes are missing`,
  );
});

test("files() closes the file of a client that leaves", async () => {
  const more = { "/site/large": { content: large } };
  await assertRejects(
    () => ask({ target: "/large", leavesAfter: 70_000 }, {}, more),
    StreamError,
  );
});

// ---- Prefixes ----

test("files() takes the prefix away", async () => {
  const prefix = "/assets/";
  const at = (target: string) => ask({ target }, { prefix });
  assertEquals((await at("/assets/a.txt")).content, "hello");
  assertEquals((await at("/assets")).field("location"), "./assets/");
  assertEquals((await at("/assets/")).content, "<home>");
  for (const target of ["/a.txt", "/assetsa.txt", "/", "*"]) {
    assertEquals((await at(target)).status, 404, target);
  }
});

const application: Handler = ({ response }) => {
  response.start(200, "", []);
  response.write(new TextEncoder().encode("application"));
  response.end();
};

test("filesBefore() asks the application for what is below no prefix", async () => {
  const source = new FakeFiles({
    ...site,
    "/more": {},
    "/more/b.txt": { content: "more" },
  });
  const handle = filesBefore(
    [
      { prefix: "/", directory: "/site" },
      { prefix: "/a", directory: "/site" },
      { prefix: "/a/b", directory: "/more" },
    ],
    application,
    { source },
  );
  const at = async (target: string, method = "GET") => {
    const exchange = new FakeExchange({ target, method });
    await handle(exchange);
    return exchange.response.content;
  };
  assertEquals(await at("/a/b/b.txt"), "more");
  assertEquals(await at("/a/a.txt"), "hello");
  assertEquals(await at("/a/users"), "404 Not Found\n");
  assertEquals(await at("/a/a.txt", "POST"), "405 Method Not Allowed\n");
  assertEquals(await at("/a.txt"), "hello");
  assertEquals(await at("/a.txt", "POST"), "application");
  assertEquals(await at("/users"), "application");
  assertEquals(await at("/bare"), "application");
  assertEquals(await at("/../secret"), "application");
  assertEquals(await at("*", "OPTIONS"), "application");
  assertEquals(source.opened, 0);
});

test("filesBefore() leaves an application alone that has no such prefix", () => {
  const source = new FakeFiles({});
  const mounts = [{ prefix: "/assets", directory: "/site" }];
  const exchange = new FakeExchange({ target: "/assets.html" });
  filesBefore(mounts, application, { source })(exchange);
  assertEquals(exchange.response.content, "application");
  assertEquals(source.asked, []);
});
