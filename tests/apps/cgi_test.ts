/** CGI programs of the shell, Python and Perl, behind a gateway. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertNotMatch,
  assertStringIncludes,
} from "@std/assert";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { backendHost } from "../../adapters/backend_host.ts";
import { detectTransport } from "../../adapters/detect.ts";
import {
  cgi,
  cgiBefore,
  cgiEnvironment,
  type CgiOptions,
} from "../../src/apps/cgi.ts";
import type { AccessRecord, Handler } from "../../src/exchange.ts";
import { serveHandler, type Server } from "../../src/serve.ts";
import { latin1, octets } from "../support/octets.ts";
import { LineLog } from "../support/line_log.ts";
import { RawClient } from "../support/raw_client.ts";
import { type ParsedResponse, parseResponses } from "../support/responses.ts";
import { findTool } from "../support/tool.ts";

const onUnix = process.platform !== "win32";

/** A gateway before a directory of programs. */
class Bench implements AsyncDisposable {
  readonly directory: string = realpathSync(
    mkdtempSync(join(tmpdir(), "headgate-cgi-")),
  );
  readonly log: LineLog = new LineLog();
  readonly records: AccessRecord[] = [];
  #server: Server | undefined;

  /** Serves the directory, or what `make` makes. */
  async serve(
    options: Partial<CgiOptions> = {},
    make?: (options: CgiOptions) => Handler,
  ): Promise<this> {
    const whole = { host: backendHost, log: this.log, ...options };
    const handler = make?.(whole) ?? cgi(this.directory, whole);
    this.#server = await serveHandler(await detectTransport(), handler, {
      port: 0,
      log: this.log,
      access: (record) => void this.records.push({ ...record }),
    });
    return this;
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** Writes a program of the shell. */
  script(name: string, text: string): void {
    this.write(name, `#!/bin/sh\n${text}\n`, 0o755);
  }

  write(name: string, text: string, mode: number): void {
    writeFileSync(this.path(name), text);
    chmodSync(this.path(name), mode); // whatever the umask
  }

  connect(): Promise<RawClient> {
    return RawClient.connect(this.#server!.addresses[0]!);
  }

  /** Asks once. */
  async ask(
    target: string,
    { method = "GET", fields = "", content = "" }: {
      method?: string;
      fields?: string;
      content?: string | Uint8Array;
    } = {},
  ): Promise<ParsedResponse> {
    const client = await this.connect();
    try {
      await client.send(
        `${method} ${target} HTTP/1.1\r\nHost: example.com:81\r\n` +
          `${fields}Connection: close\r\n\r\n`,
      );
      await client.send(content);
      await client.untilEnded();
      const [response] = parseResponses(client.received, {
        method: () => method,
      });
      return response!;
    } finally {
      await client.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.shutdown(0);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

const text = ({ content }: ParsedResponse): string => latin1(content);

const length = (content: string | Uint8Array): string =>
  `Content-Length: ${content.length}\r\n`;

/** Whether a process is there and no zombie. */
async function untilGone(pid: number): Promise<void> {
  const deadline = Date.now() + 25_000;
  while (isAlive(pid)) {
    if (Date.now() > deadline) throw new Error(`${pid} lives on`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    const stat = `/proc/${pid}/stat`;
    return !existsSync(stat) || !/\) Z /.test(readFileSync(stat, "utf8"));
  } catch {
    return false;
  }
}

/** Waits for a process to write its pid to a file. */
async function pidIn(path: string): Promise<number> {
  const deadline = Date.now() + 25_000;
  for (;;) {
    const pid = existsSync(path) ? readFileSync(path, "utf8") : "";
    if (pid.endsWith("\n")) return Number(pid);
    if (Date.now() > deadline) throw new Error(`Nobody wrote ${path}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// ---- What a program is told ----

const fixtures = realpathSync("tests/cgi-bin");
const atFixtures = (options: CgiOptions): Handler =>
  cgi(fixtures, { ...options, prefix: "/cgi-bin" });

test("cgi(): a program of the shell sees its request, and nothing else", async () => {
  if (!onUnix) return;
  await using bench = await new Bench().serve(
    { environment: { PATH: process.env.PATH ?? "", TZ: "UTC" } },
    atFixtures,
  );
  const response = await bench.ask("/cgi-bin/variables.sh/a%20b/c?x=1&y", {
    fields: "Accept: text/*\r\nX-Two: 1\r\nx-two: 2\r\nCookie: a=b\r\n" +
      "Authorization: Basic c2VjcmV0\r\nProxy-Authorization: Basic eA==\r\n" +
      "Proxy: http://evil.example\r\nX_Under: 1\r\n",
  });
  assertEquals(response.status, 200);
  assertEquals(response.get("content-type"), "text/plain");
  const told = text(response).trimEnd().split("\n")
    // A shell has a few of its own.
    .filter((line) => !/^(PWD|OLDPWD|SHLVL|_)=/.test(line))
    .map((line) => line.replace(/^(SERVER_SOFTWARE=headgate\/).*/, "$1"))
    .map((line) => line.replace(/^((PATH|REMOTE_PORT|SERVER_ADDR)=).*/, "$1"));
  assertEquals(told, [
    "GATEWAY_INTERFACE=CGI/1.1",
    "HTTP_ACCEPT=text/*",
    "HTTP_CONNECTION=close",
    "HTTP_COOKIE=a=b",
    "HTTP_HOST=example.com:81",
    "HTTP_X_TWO=1,2",
    "PATH=",
    "PATH_INFO=/a b/c",
    "QUERY_STRING=x=1&y",
    "REMOTE_ADDR=127.0.0.1",
    "REMOTE_PORT=",
    "REQUEST_METHOD=GET",
    "REQUEST_SCHEME=http",
    "REQUEST_URI=/cgi-bin/variables.sh/a%20b/c?x=1&y",
    `SCRIPT_FILENAME=${fixtures}/variables.sh`,
    "SCRIPT_NAME=/cgi-bin/variables.sh",
    "SERVER_ADDR=",
    "SERVER_NAME=example.com",
    "SERVER_PORT=81",
    "SERVER_PROTOCOL=HTTP/1.1",
    "SERVER_SOFTWARE=headgate/",
    "TZ=UTC",
    "arguments: 0",
    `directory: ${fixtures}`,
  ]);
});

test("cgi(): a query without = is no argument", async () => {
  if (!onUnix) return;
  await using bench = await new Bench().serve({}, atFixtures);
  const told = text(await bench.ask("/cgi-bin/variables.sh?-n+word"));
  assertStringIncludes(told, "arguments: 0\n");
  assertStringIncludes(told, "QUERY_STRING=-n+word\n");
});

test("cgi(): Authorization is handed on where it is asked for", async () => {
  if (!onUnix) return;
  await using bench = await new Bench().serve(
    { passAuthorization: true },
    atFixtures,
  );
  const told = text(
    await bench.ask("/cgi-bin/variables.sh", {
      fields: "Authorization: Basic eA==\r\n",
    }),
  );
  assertStringIncludes(told, "HTTP_AUTHORIZATION=Basic eA==\n");
});

test("cgi(): octets reach a program as they are, where they are UTF-8", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script(
    "octets",
    `printf 'Content-Type: text/plain\\n\\n%s %s' "$PATH_INFO" "$HTTP_X_NAME"`,
  );
  await bench.serve();
  const response = await bench.ask("/octets/%C3%A9%e2%82%ac", {
    fields: "X-Name: \xe9t\xe9\r\n",
  });
  // What is ISO 8859-1 has become UTF-8.
  assertEquals(text(response), "/\xc3\xa9\xe2\x82\xac \xc3\xa9t\xc3\xa9");
});

// ---- Content ----

test("cgi(): a program in Python has the content, to its end", async () => {
  if (!onUnix || await findTool("python3") === undefined) return;
  await using bench = await new Bench().serve(
    { environment: cgiEnvironment(process.env) },
    atFixtures,
  );
  for (const size of [0, 1, 65_536, 300_000]) {
    const content = new Uint8Array(size).map((_, at) => at % 251);
    const response = await bench.ask("/cgi-bin/echo.py", {
      method: "POST",
      fields: length(content),
      content,
    });
    assertEquals(response.status, 200);
    assertEquals(response.get("x-told"), String(size));
    assertEquals(response.framing, "length");
    assertEquals(response.content.length, size);
    assert(response.content.every((octet, at) => octet === at % 251));
  }
});

test("cgi(): chunked content has a length", async () => {
  if (!onUnix || await findTool("python3") === undefined) return;
  await using bench = await new Bench().serve(
    { environment: cgiEnvironment(process.env) },
    atFixtures,
  );
  const chunk = "x".repeat(50_000);
  for (const count of [0, 1, 3]) {
    const response = await bench.ask("/cgi-bin/echo.py", {
      method: "POST",
      fields: "Transfer-Encoding: chunked\r\n",
      content: `c350\r\n${chunk}\r\n`.repeat(count) + "0\r\n\r\n",
    });
    assertEquals(response.get("x-told"), String(50_000 * count));
    assertEquals(text(response), chunk.repeat(count));
  }
});

test("cgi(): chunked content is refused where nothing is read ahead", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script("ok", "printf 'Content-Type: text/plain\\n\\nok'");
  await bench.serve({ spool: "off" });
  const response = await bench.ask("/ok", {
    method: "POST",
    fields: "Transfer-Encoding: chunked\r\n",
    content: "0\r\n\r\n",
  });
  assertEquals(response.status, 411);
  const sized = await bench.ask("/ok", {
    method: "POST",
    fields: length("ab"),
    content: "ab",
  });
  assertEquals(text(sized), "ok");
});

test("cgi(): a program in Perl reads a form", async () => {
  if (!onUnix || await findTool("perl") === undefined) return;
  await using bench = await new Bench().serve({}, atFixtures);
  const content = "name=J%C3%B6rg&word=a+b";
  const response = await bench.ask("/cgi-bin/form.pl", {
    method: "POST",
    fields: length(content) +
      "Content-Type: application/x-www-form-urlencoded\r\n",
    content,
  });
  assertEquals(response.status, 201);
  assertEquals(response.reason, "Created");
  assertEquals(text(response), "name: J\xc3\xb6rg\nword: a b\n");
  assertEquals(
    response.fields.filter(([name]) => name === "Set-Cookie"),
    [["Set-Cookie", "a=1"], ["Set-Cookie", "b=2"]],
  );
  assertEquals(response.get("status"), undefined);
});

test("cgi(): a program need not read its content", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script("deaf", "printf 'Content-Type: text/plain\\n\\nno, thanks'");
  await bench.serve();
  const content = "x".repeat(2_000_000);
  const response = await bench.ask("/deaf", {
    method: "POST",
    fields: length(content),
    content,
  });
  assertEquals(text(response), "no, thanks");
});

test("cgi(): content goes in while the response comes out", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script("cat", "printf 'Content-Type: text/plain\\n\\n'; exec cat");
  await bench.serve();
  const client = await bench.connect();
  try {
    const piece = "0123456789".repeat(10_000);
    await client.send(
      "POST /cat HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" +
        `Content-Length: ${10 * piece.length}\r\n\r\n`,
    );
    for (let sent = 1; sent <= 10; sent++) {
      await client.send(piece);
      // It is an echo: what was sent comes back before more is sent.
      await client.until(
        () => client.received.length > sent * piece.length,
        `piece ${sent}`,
      );
    }
    await client.untilEnded();
    assertEquals(text(parseResponses(client.received)[0]!), piece.repeat(10));
  } finally {
    await client.close();
  }
});

test("cgi(): a client that does not read holds the program back", async () => {
  if (!onUnix || !existsSync("/proc/self/io")) return;
  await using bench = new Bench();
  bench.script(
    "yes",
    `echo $$ > ${bench.path("pid")}\n` +
      "printf 'Content-Type: text/plain\\n\\n'; exec yes",
  );
  await bench.serve();
  const client = await bench.connect();
  client.pause();
  await client.send("GET /yes HTTP/1.1\r\nHost: a\r\n\r\n");
  const pid = await pidIn(bench.path("pid"));
  const written = () =>
    Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))![1]);
  const deadline = Date.now() + 25_000;
  for (let before = -1, steady = 0; steady < 50;) {
    const now = written();
    steady = now === before && now > 0 ? steady + 1 : 0;
    before = now;
    assert(Date.now() < deadline, "it does not wait");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert(written() < 32_000_000, `${written()}`);
  await client.close();
  await untilGone(pid);
});

// ---- Responses ----

async function answerOf(script: string, method = "GET"): Promise<
  ParsedResponse & { log: string }
> {
  await using bench = new Bench();
  bench.script("run", script);
  await bench.serve();
  const response = await bench.ask("/run", { method });
  return { ...response, log: bench.log.text };
}

test("cgi(): HEAD has the head alone", async () => {
  if (!onUnix) return;
  const response = await answerOf(
    "printf 'Content-Type: text/plain\\nX-Method: %s\\n\\nhello' $REQUEST_METHOD",
    "HEAD",
  );
  assertEquals(response.status, 200);
  assertEquals(response.get("x-method"), "HEAD");
  assertEquals(response.content.length, 0);
});

test("cgi(): what the client is sent to by Location", async () => {
  if (!onUnix) return;
  const away = await answerOf("printf 'Location: http://example.com/\\n\\n'");
  assertEquals([away.status, away.get("location")], [
    302,
    "http://example.com/",
  ]);
  const page = await answerOf(
    "printf 'Status: 303 See Other\\nLocation: /there\\nContent-Type: text/plain\\n\\ngo'",
  );
  assertEquals([page.status, page.get("location"), text(page)], [
    303,
    "/there",
    "go",
  ]);
});

test("cgi(): a path in Location is answered by the site, as to a GET", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script("go", "printf 'Location: /show/info?q=1\\n\\n'");
  bench.script(
    "show",
    "printf 'Content-Type: text/plain\\n\\n%s %s %s %s.' $REQUEST_METHOD " +
      '$PATH_INFO $QUERY_STRING "$CONTENT_LENGTH"',
  );
  await bench.serve();
  const response = await bench.ask("/go", {
    method: "POST",
    fields: length("ab"),
    content: "ab",
  });
  assertEquals(text(response), "GET /info q=1 .");
});

test("cgi(): a site of more than programs answers local redirects", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script("go", "printf 'Location: /page?x\\n\\n'");
  await bench.serve({}, (options) =>
    cgiBefore(
      [{ prefix: "/bin", directory: bench.directory }],
      ({ head, response }) => {
        const content = octets(`${head.method} ${head.target} ${head.path}`);
        response.start(200, "OK", [], content.length);
        response.write(content);
        response.end();
      },
      options,
    ));
  assertEquals(text(await bench.ask("/bin/go")), "GET /page?x /page");
  assertEquals(text(await bench.ask("/binary")), "GET /binary /binary");
  assertEquals((await bench.ask("/bin/none")).status, 404);
});

test("cgi(): local redirects that go in a circle end", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script(
    "round",
    `echo >> ${bench.path("count")}; printf 'Location: /round\\n\\n'`,
  );
  await bench.serve();
  assertEquals((await bench.ask("/round")).status, 502);
  assertEquals(readFileSync(bench.path("count"), "utf8").length, 11);
  assertMatch(bench.log.text, /A local redirect leads in a circle: "\/round"/);
});

test("cgi(): what a program writes to standard error goes to the log", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script(
    "talk",
    "printf 'one\\033[2J\\ntwo' >&2; printf 'Content-Type: text/plain\\n\\nok'; exit 3",
  );
  await bench.serve();
  assertEquals(text(await bench.ask("/talk")), "ok");
  const path = bench.path("talk");
  await bench.log.until(/two/);
  await bench.log.until(/ended with/);
  assertEquals(bench.log.told.toSorted(), [
    `error ${path}: one\\x1b[2J`,
    `error ${path}: two`,
    `warn ${path}: ended with 3`,
  ]);
});

const broken: [script: string, complaint: RegExp][] = [
  ["exit 0", /ended without a response: ".*\/run"/],
  ["exit 1", /ended without a response/],
  ["printf 'Content-Type: text/plain\\n'", /within the head of its response/],
  [
    "printf 'Content-Type text/plain\\n\\n'",
    /head is malformed: "Content-Type/,
  ],
  ["printf 'X-Other: 1\\n\\nhello'", /none of Status, Location and Content-T/],
  ["printf 'HTTP/1.1 200 OK\\n\\nhello'", /malformed: "HTTP\/1.1 200 OK"/],
  ["printf 'Status: 99\\n\\n'", /no final status code: "99"/],
  ["kill -KILL $$", /without a response/],
];

test("cgi(): output that is no response is answered with 502", async () => {
  if (!onUnix) return;
  for (const [script, complaint] of broken) {
    const { status, log } = await answerOf(script);
    assertEquals(status, 502, script);
    assertMatch(log, complaint);
  }
});

test("cgi(): a response that a program did not finish is cut", async () => {
  if (!onUnix) return;
  for (
    const script of [
      "printf 'Content-Type: a/b\\nContent-Length: 9\\n\\nshort'",
      "printf 'Content-Type: a/b\\n\\nunfinished'; kill -KILL $$",
    ]
  ) {
    await using bench = new Bench();
    bench.script("run", script);
    await bench.serve();
    const client = await bench.connect();
    try {
      await client.send("GET /run HTTP/1.1\r\nHost: a\r\n\r\n");
      await client.untilEnded();
      assertNotMatch(client.receivedText, /\r\n0\r\n\r\n$/);
      assertMatch(client.receivedText, /^HTTP\/1.1 200 OK\r\n/);
    } finally {
      await client.close();
    }
  }
});

test("cgi(): content beyond its Content-Length is an error, and ends the program", async () => {
  if (!onUnix) return;
  const { status, log } = await answerOf(
    "printf 'Content-Type: a/b\\nContent-Length: 1\\n\\ntoo much'; sleep 100",
  );
  assertEquals(status, 502);
  assertMatch(log, /gave a response that is none: ".*\/run"/);
  assertNotMatch(log, /^ +at /m); // it is no fault of ours
});

// ---- Bounds ----

test("cgi(): what is no program of the directory", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.write("text", "text", 0o644);
  mkdirSync(bench.path("dir"));
  bench.script(
    "dir/index.cgi",
    "printf 'Content-Type: a/b\\n\\n%s' $SCRIPT_NAME",
  );
  bench.script(".hidden", "printf 'Content-Type: a/b\\n\\nhidden'");
  symlinkSync("/bin/sh", bench.path("outward"));
  await bench.serve({ index: ["index.cgi"] });
  const statusOf = async (target: string) => (await bench.ask(target)).status;
  assertEquals(await statusOf("/none"), 404);
  assertEquals(await statusOf("/.hidden"), 404);
  assertEquals(await statusOf("/outward"), 404);
  assertEquals(await statusOf("/../etc/passwd"), 404);
  assertEquals(await statusOf("/text"), 403);
  assertEquals(bench.log.told, [
    "warn /text names a file that may not be executed",
  ]);
  assertEquals(text(await bench.ask("/dir/")), "/dir/index.cgi");
  const below = await bench.ask("/dir?q");
  assertEquals([below.status, below.get("location")], [301, "./dir/?q"]);
});

test("cgi(): an interpreter that is missing is named in the log", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.write("run", "#!/nowhere/interpreter\n", 0o755);
  await bench.serve({ atOnce: 1 });
  assertEquals((await bench.ask("/run")).status, 502);
  assertMatch(
    bench.log.text,
    /interpreter of a CGI program does not exist: ".*run"/,
  );
  // It has given its turn back.
  assertEquals((await bench.ask("/run")).status, 502);
});

test("cgi(): a program that is too slow is ended, with all that it has started", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script(
    "slow",
    `trap '' TERM; sleep 100 & echo $! > ${bench.path("child")}; wait; wait`,
  );
  await bench.serve({ timeoutSeconds: 1 });
  const response = await bench.ask("/slow");
  assertEquals(response.status, 504);
  assertMatch(bench.log.text, /GET \/slow: 504: A CGI program is too slow/);
  await untilGone(await pidIn(bench.path("child")));
});

test("cgi(): a response that is ended for its slowness is cut, whoever holds it", async () => {
  if (!onUnix) return;
  for (
    const script of [
      // It ends as if nothing were wrong.
      "trap 'kill $!; exit 0' TERM; sleep 100 & wait",
      // Nobody who is asked to end has the output.
      `setsid sleep 100 2>&- & echo $! > "$0.pid"`,
    ]
  ) {
    await using bench = new Bench();
    bench.script(
      "run",
      `printf 'Content-Type: a/b\\n\\nunfinished'\n${script}`,
    );
    await bench.serve({ timeoutSeconds: 1 });
    const client = await bench.connect();
    try {
      await client.send("GET /run HTTP/1.1\r\nHost: a\r\n\r\n");
      await client.untilEnded();
      assertNotMatch(client.receivedText, /\r\n0\r\n\r\n$/);
      assertStringIncludes(client.receivedText, "unfinished");
    } finally {
      await client.close();
      const stranger = bench.path("run.pid");
      if (existsSync(stranger)) process.kill(await pidIn(stranger), "SIGKILL");
    }
  }
});

test("cgi(): a machine that starts nothing for now is 503", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script("run", "exit");
  const error = Object.assign(new Error("spawn"), { code: "EAGAIN" });
  const host = { ...backendHost, start: () => Promise.reject(error) };
  await bench.serve({ host });
  const { status, get } = await bench.ask("/run");
  assertEquals([status, get("retry-after")], [503, "1"]);
});

test("cgi(): what a program has started is asked to end, too", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script(
    "child",
    `trap 'echo $$ > ${bench.path("asked")}; exit' TERM\n` +
      `echo $$ > ${bench.path("pid")}; while :; do sleep 0.02; done`,
  );
  bench.script("parent", `${bench.path("child")} & wait`);
  await bench.serve();
  const client = await bench.connect();
  await client.send("GET /parent HTTP/1.1\r\nHost: a\r\n\r\n");
  const child = await pidIn(bench.path("pid"));
  await client.close();
  assertEquals(await pidIn(bench.path("asked")), child);
  await untilGone(child);
});

test("cgi(): a program that has ended in time is left alone", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script("fast", "printf 'Content-Type: a/b\\n\\nok'");
  bench.script("slow", "exec sleep 100");
  await bench.serve({ timeoutSeconds: 1 });
  assertEquals(text(await bench.ask("/fast")), "ok");
  // Its time would be over before that of the next one.
  assertEquals((await bench.ask("/slow")).status, 504);
  assertEquals(bench.log.told.length, 1, bench.log.text);
});

test("cgi(): time in which a client sends nothing is not the program's", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script("count", "printf 'Content-Type: a/b\\n\\n'; exec wc -c");
  await bench.serve({ timeoutSeconds: 1 });
  const client = await bench.connect();
  try {
    await client.send(
      "POST /count HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" +
        "Content-Length: 100000\r\n\r\n",
    );
    await client.send("x".repeat(99_999));
    // As long as the program would not have.
    await new Promise((resolve) => setTimeout(resolve, 2000));
    await client.send("x");
    await client.untilEnded();
    assertMatch(text(parseResponses(client.received)[0]!), /^\s*100000\n$/);
  } finally {
    await client.close();
  }
});

test("cgi(): a program that runs on after its response is ended some time", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script(
    "on",
    `echo $$ > ${bench.path("pid")}\n` +
      "printf 'Content-Type: a/b\\nContent-Length: 2\\n\\nok'\n" +
      "exec >&- 2>&-; exec sleep 100",
  );
  await bench.serve({ timeoutSeconds: 1 });
  const response = await bench.ask("/on");
  assertEquals(text(response), "ok");
  const pid = await pidIn(bench.path("pid"));
  await bench.log.until(/still runs long after its response/);
  await untilGone(pid);
});

test("cgi(): a response is whole with its Content-Length, though its program runs on", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script(
    "on",
    `echo $$ > ${bench.path("pid")}\n` +
      "printf 'Content-Type: a/b\\nContent-Length: 2\\n\\nok'\n" +
      "exec sleep 100",
  );
  await bench.serve({ timeoutSeconds: 1 });
  const response = await bench.ask("/on");
  assertEquals(text(response), "ok");
  assertEquals(bench.records.map(({ status }) => status), [200]);
  await untilGone(await pidIn(bench.path("pid")));
});

test("cgi(): a program ends when its client leaves", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script(
    "wait",
    `sleep 100 & echo $! > ${bench.path("child")}; wait`,
  );
  await bench.serve();
  const client = await bench.connect();
  await client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
  const child = await pidIn(bench.path("child"));
  await client.close();
  await untilGone(child);
  const deadline = Date.now() + 25_000;
  while (bench.records.length === 0 && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assertEquals(bench.records.map(({ status }) => status), [499]);
  assertNotMatch(bench.log.text, /error/);
});

test("cgi(): a client that leaves once it has its response ends nothing", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script(
    "on",
    "printf 'Content-Type: a/b\\nContent-Length: 2\\n\\nok'; exec >&-\n" +
      `while [ ! -e ${bench.path("left")} ]; do sleep 0.02; done; sleep 0.2\n` +
      `echo $$ > ${bench.path("after")}`,
  );
  await bench.serve();
  const client = await bench.connect();
  await client.send(
    "POST /on HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbegun",
  );
  await client.until(() => /\r\n\r\nok$/.test(client.receivedText));
  await client.close();
  writeFileSync(bench.path("left"), "");
  await pidIn(bench.path("after"));
  assertEquals(bench.log.told, []);
});

test("cgi(): so many programs at a time, and so many who wait", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script(
    "gate",
    `echo $$ > ${bench.path("pid$QUERY_STRING")}\n` +
      `while [ ! -e ${bench.path("open")} ]; do sleep 0.02; done\n` +
      "printf 'Content-Type: a/b\\n\\n%s' $QUERY_STRING",
  );
  await bench.serve({ atOnce: 1, waiting: 1 });
  const first = bench.ask("/gate?1");
  await pidIn(bench.path("pid1"));
  const others = [2, 3].map((number) => bench.ask(`/gate?${number}`));
  // Whichever came first waits, so it is the other that is answered.
  const refused = await Promise.race(others);
  assertEquals([refused.status, refused.get("retry-after")], [503, "1"]);
  assertMatch(
    bench.log.text,
    /warn GET \/gate\?\d: 503: Too many requests wait/,
  );
  assert(!existsSync(bench.path("pid2")) && !existsSync(bench.path("pid3")));
  writeFileSync(bench.path("open"), "");
  assertEquals(text(await first), "1");
  const statuses = (await Promise.all(others)).map(({ status }) => status);
  assertEquals(statuses.sort(), [200, 503]);
});

test("cgi(): who waits too long is answered with 503", async () => {
  if (!onUnix) return;
  await using bench = new Bench();
  bench.script("busy", `echo $$ > ${bench.path("pid")}; exec sleep 100`);
  await bench.serve({ atOnce: 1, queueSeconds: 0.1 });
  const client = await bench.connect();
  try {
    await client.send("GET /busy HTTP/1.1\r\nHost: a\r\n\r\n");
    await pidIn(bench.path("pid"));
    const response = await bench.ask("/busy");
    assertEquals(response.status, 503);
    assertMatch(bench.log.text, /No turn came in time/);
  } finally {
    await client.close();
  }
});

test("cgiEnvironment() takes what programs need to run at all", () => {
  assertEquals(
    cgiEnvironment({
      PATH: "/bin",
      LANG: "de",
      LC_ALL: "C",
      TZ: "UTC",
      SystemRoot: "C:",
      TMPDIR: "/tmp",
      SECRET: "1",
      PATHS: "1",
      LC_: undefined,
    }),
    {
      PATH: "/bin",
      LANG: "de",
      LC_ALL: "C",
      TZ: "UTC",
      SystemRoot: "C:",
      TMPDIR: "/tmp",
    },
  );
});
