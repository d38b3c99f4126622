/** PHP-FPM for real: a front controller over HTTP. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import process from "node:process";
import { test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { backendHost } from "../../adapters/backend_host.ts";
import { detectTransport } from "../../adapters/detect.ts";
import { fastcgiServer } from "../../src/apps/fastcgi_server.ts";
import { serveHandler } from "../../src/serve.ts";
import { type PhpFpm, startPhpFpm, until } from "../support/php_fpm.ts";

const root = `${process.cwd()}/tests/php`;

/** A site in PHP, and what a test needs of it. */
interface Site {
  readonly php: PhpFpm;
  readonly port: number;
  readonly log: string[];
  ask(path: string, init?: RequestInit): Promise<Response>;
}

/** Serves the site for as long as `use` takes, with four children. */
async function withSite(
  keepAlive: boolean,
  use: (site: Site) => Promise<void>,
): Promise<void> {
  await using php = await startPhpFpm(4);
  if (php === undefined) return;
  const log: string[] = [];
  const tell = (message: string) => void log.push(message);
  const logger = { debug() {}, info() {}, warn: tell, error: tell };
  const backend = fastcgiServer({
    name: php.socket,
    connect: () => backendHost.connect({ path: php.socket }),
    host: backendHost,
    root,
    connections: 4,
    keepAlive,
    params: [["SCRATCH", php.directory]],
    sendFileRoots: [php.directory],
    log: logger,
  });
  const server = await serveHandler(await detectTransport(), backend.handler, {
    port: 0,
    log: logger,
  });
  const { port } = server.addresses[0]!;
  try {
    await use({
      php,
      port,
      log,
      ask: (path, init) => fetch(`http://127.0.0.1:${port}${path}`, init),
    });
  } finally {
    await server.shutdown(0);
    await backend.close();
  }
}

/** A test with connections that are kept, and with those that are not. */
function testSite(name: string, use: (site: Site) => Promise<void>): void {
  test(`PHP-FPM: ${name}`, () => withSite(false, use));
  test(`PHP-FPM, connections kept: ${name}`, () => withSite(true, use));
}

function md5(content: Uint8Array): string {
  return createHash("md5").update(content).digest("hex");
}

testSite("a front controller knows where it is", async ({ ask, port }) => {
  const response = await ask("/a%20b/c?d=e", {
    headers: { Authorization: `Basic ${btoa("me:secret")}` },
  });
  assertEquals(await response.json(), {
    self: "/index.php",
    script: "/index.php",
    file: `${root}/index.php`,
    root,
    info: "",
    uri: "/a%20b/c?d=e",
    query: "d=e",
    method: "GET",
    host: `127.0.0.1:${port}`,
    user: "me",
    password: "secret",
    remote: "127.0.0.1",
  });
  assertMatch(response.headers.get("x-powered-by") ?? "", /^PHP\//);
  const script = await ask("/info.php/x%20y");
  assertEquals(await script.text(), "script /info.php info /x y");
  const style = await ask("/style.css");
  assertEquals(await style.text(), "body {\n  color: black;\n}\n");
});

testSite("forms and uploads", async ({ ask }) => {
  const form = await ask("/form?q=1", {
    method: "POST",
    body: new URLSearchParams({ name: "J\xfcrgen & co", "list[]": "x" }),
  });
  assertEquals(await form.json(), {
    get: { q: "1" },
    post: { name: "J\xfcrgen & co", list: ["x"] },
  });
  const small = new TextEncoder().encode("small");
  const large = Uint8Array.from({ length: 3_000_000 }, (_, at) => at % 253);
  const body = new FormData();
  body.append("a", new File([small], "a.txt"));
  body.append("b", new File([large], "b.bin"));
  const upload = await ask("/upload", { method: "POST", body });
  assertEquals(await upload.json(), {
    a: ["a.txt", 5, 0, md5(small)],
    b: ["b.bin", 3_000_000, 0, md5(large)],
  });
});

testSite("cookies and sessions", async ({ ask }) => {
  const set = await ask("/cookies", { headers: { Cookie: "a=1; b=2" } });
  assertEquals(await set.json(), { a: "1", b: "2" });
  assertEquals(set.headers.getSetCookie(), [
    "one=1",
    "two=b%20c; HttpOnly",
  ]);
  const first = await ask("/session");
  assertEquals(await first.json(), 1);
  const cookie = first.headers.getSetCookie()[0]!.split(";")[0]!;
  const second = await ask("/session", { headers: { Cookie: cookie } });
  assertEquals(await second.json(), 2);
});

testSite("statuses, redirects and errors", async ({ ask, log }) => {
  const status = await ask("/status");
  assertEquals([status.status, await status.text()], [418, "teapot"]);
  assertEquals(status.headers.get("x-own"), "1");
  const redirect = await ask("/redirect", { redirect: "manual" });
  assertEquals(redirect.status, 302);
  assertEquals(redirect.headers.get("location"), "/form?a=b");
  await redirect.body?.cancel();
  const head = await ask("/status", { method: "HEAD" });
  assertEquals([head.status, await head.text()], [418, ""]);
  const failed = await ask("/error");
  assertEquals(failed.status, 500);
  await failed.body?.cancel();
  const told = await ask("/log");
  assertEquals(await told.text(), "");
  const lines = log.join("\n");
  assertMatch(lines, /^GET \/error: PHP message: .*on purpose/m);
  assertMatch(lines, /^GET \/log: PHP message: told by the script$/m);
});

testSite("content of any size, with a length or without", async ({ ask }) => {
  for (const size of [0, 1, 65_535, 65_536, 1_000_000]) {
    const content = Uint8Array.from({ length: size }, (_, at) => at % 251);
    const sized = await ask("/echo", { method: "PUT", body: content });
    const expected = [size, md5(content), String(size)];
    assertEquals(await sized.json(), expected);
    const body = new ReadableStream({
      start(controller) {
        if (size > 0) controller.enqueue(content);
        controller.close();
      },
    });
    const chunked = await ask("/echo", {
      method: "PUT",
      body,
      duplex: "half",
    } as RequestInit);
    assertEquals(await chunked.json(), expected);
  }
});

testSite("a response of some megabytes", async ({ ask }) => {
  const content = new Uint8Array(await (await ask("/big")).arrayBuffer());
  assertEquals(content.length, 256 * 16_384);
  for (let at = 0; at < content.length; at += 4096) {
    assertEquals(content[at], at >> 14);
  }
});

testSite("a response that comes in pieces", async ({ ask, php }) => {
  const response = await ask("/stream");
  const reader = response.body!.getReader();
  const decoder = new TextDecoder();
  // The script waits for what is done only once this has come.
  assertEquals(decoder.decode((await reader.read()).value), "first;");
  writeFileSync(php.file("go-on"), "");
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    rest += decoder.decode(value);
  }
  assertEquals(rest, "last");
});

testSite("X-Sendfile", async ({ ask, php }) => {
  writeFileSync(php.file("download.txt"), "0123456789");
  const whole = await ask("/sendfile");
  assertEquals(await whole.text(), "0123456789");
  assertMatch(whole.headers.get("content-type")!, /^text\/plain/);
  assertEquals(whole.headers.get("x-sendfile"), null);
  const part = await ask("/sendfile", { headers: { Range: "bytes=3-5" } });
  assertEquals([part.status, await part.text()], [206, "345"]);
});

testSite("content that a script does not read", async ({ ask }) => {
  const body = new Uint8Array(4_000_000);
  for (let count = 0; count < 3; count++) {
    const response = await ask("/unread", { method: "POST", body });
    assertEquals([response.status, await response.text()], [413, "too much"]);
  }
});

testSite("more requests at a time than it has children", async ({ ask }) => {
  const paths = Array.from({ length: 40 }, (_, at) => `/form?n=${at}`);
  const answers = await Promise.all(
    paths.map(async (path) => (await (await ask(path)).json()).get.n),
  );
  assertEquals(answers, paths.map((_, at) => String(at)));
});

testSite(
  "a client that leaves ends its script",
  async ({ php, port }) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
    await new Promise((resolve) => socket.once("data", resolve));
    socket.destroy();
    await until(() => existsSync(php.file("ended")), "The end of the script");
  },
);

testSite("a child that dies loses its own request alone", async (site) => {
  const { ask, php } = site;
  rmSync(php.file("held"), { force: true });
  const lost = ask("/hold");
  await until(() => existsSync(php.file("held")), "A request in hand");
  let asking = true;
  const others: Promise<number[]>[] = Array.from({ length: 6 }, async () => {
    const statuses: number[] = [];
    while (asking) {
      const response = await ask("/form");
      await response.body?.cancel();
      statuses.push(response.status);
    }
    return statuses;
  });
  await until(
    () => readFileSync(php.file("held"), "utf8") !== "",
    "The child's pid",
  );
  process.kill(Number(readFileSync(php.file("held"), "utf8")), "SIGKILL");
  const response = await lost;
  assertEquals([response.status, await response.text()], [
    502,
    "502 Bad Gateway\n",
  ]);
  // The child that takes its place is asked, too.
  for (let count = 0; count < 20; count++) {
    assertEquals((await ask("/form")).status, 200);
  }
  asking = false;
  const statuses = (await Promise.all(others)).flat();
  assert(statuses.length > 0);
  assertEquals(statuses.filter((status) => status !== 200), []);
});

testSite("PHP-FPM that is gone for a while", async ({ ask, php, log }) => {
  assertEquals((await ask("/form")).status, 200);
  await php.stop();
  const gone = await ask("/form");
  assertEquals([gone.status, await gone.text()], [502, "502 Bad Gateway\n"]);
  assertMatch(log.at(-1)!, /^GET \/form: 502: .* cannot be reached: /);
  await php.start();
  assertEquals((await ask("/form")).status, 200);
});
