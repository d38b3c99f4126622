/** The developer's server: which changes count, what is shown of an error, and
 * what becomes of keys and of workers that cannot begin. */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { test } from "node:test";
import { compileAccessFormat } from "../src/access_log.ts";
import { type Config, readConfig } from "../src/config.ts";
import type { DaemonSignal } from "../src/daemon/host.ts";
import type { RunningServer } from "../src/daemon/launcher.ts";
import {
  browserUrl,
  devConfig,
  develop,
  Gatherer,
  isSourceFile,
  isSourceFolder,
  watchedFolder,
} from "../src/dev.ts";
import {
  errorPage,
  frameOf,
  showErrors,
  type SourceFrame,
} from "../src/dev_page.ts";
import { HttpError } from "../src/errors.ts";
import type { AccessRecord, Handler } from "../src/exchange.ts";
import type { DevHost, Host, WatchEvents } from "../src/host.ts";
import { silentLogger } from "../src/logger.ts";
import { FakeExchange, fakeHead } from "./support/fake_exchange.ts";
import { settled } from "./support/fake_workers.ts";
import { asText } from "./support/octets.ts";
import { only } from "./support/only.ts";

// ---- Which changes count ----

test("source counts, and what an application writes does not", () => {
  for (
    const name of [
      "app.ts",
      "a.mjs",
      "b.cjs",
      "c.tsx",
      "d.json",
      "page.html",
      "app.py",
      "a.php",
    ]
  ) assert(isSourceFile(name), name);
  for (
    const name of [
      "headgate.log",
      "headgate.pid",
      "data.db",
      "photo.png",
      ".app.ts.swp",
      ".#app.ts",
      "app.ts~",
      "4913",
      "ts",
    ]
  ) assert(!isSourceFile(name), name);
  for (const name of ["src", "lib"]) assert(isSourceFolder(name), name);
  for (
    const name of ["node_modules", ".git", "dist", "coverage", "__pycache__"]
  ) {
    assert(!isSourceFolder(name), name);
  }
});

test("watchedFolder() is where we are, or where the application is", () => {
  assertEquals(watchedFolder("/srv/app/src/a.ts", "/srv/app"), "/srv/app");
  assertEquals(watchedFolder("/srv/other/a.ts", "/srv/app"), "/srv/other");
  assertEquals(
    watchedFolder("/srv/application/a.ts", "/srv/app"),
    "/srv/application",
  );
  assertEquals(watchedFolder("/a.ts", "/"), "/");
  assertEquals(watchedFolder("/a.ts", "/srv"), "/");
});

test("a Gatherer hands on once what comes in quick succession", async () => {
  const handed: string[][] = [];
  const gatherer = new Gatherer<string>((all) => handed.push([...all]), 5);
  gatherer.add("a");
  gatherer.add("b");
  gatherer.add("a");
  assertEquals(handed, []);
  await until(() => handed.length === 1);
  gatherer.add("c");
  await until(() => handed.length === 2);
  assertEquals(handed, [["a", "b"], ["c"]]);
  gatherer.add("d");
  gatherer.close();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assertEquals(handed.length, 2);
});

async function until(isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + 25_000;
  while (!isSo()) {
    assert(performance.now() < deadline, "waited in vain");
    await new Promise((wake) => setTimeout(wake, 5));
  }
}

test("devConfig() has one worker, which nothing kills", () => {
  const flags = { workers: "auto", "max-requests": "5", "max-rss": "1G" };
  const config = devConfig(readConfig("app.ts", flags, {}));
  assertEquals(
    [config.workers, config.maxRequests, config.maxRssBytes],
    [1, Infinity, Infinity],
  );
  assertEquals(config.timeoutSeconds, Infinity);
  assertEquals(config.backendSeconds, Infinity);
});

test("defaults of a task come last", () => {
  const defaults = { "access-log-format": "dev" };
  const format = (flags: Record<string, string>, env = {}) =>
    readConfig(undefined, flags, env, undefined, defaults).accessLogFormat;
  assertEquals(format({}), "dev");
  assertEquals(format({}, { HEADGATE_ACCESS_LOG_FORMAT: "json" }), "json");
  assertEquals(format({ "access-log-format": "common" }), "common");
});

test("browserUrl() finds what a browser reaches", () => {
  const url = (host: string, port: number) => browserUrl([{ host, port }]);
  assertEquals(url("127.0.0.1", 8000), "http://127.0.0.1:8000");
  assertEquals(url("0.0.0.0", 8000), "http://localhost:8000");
  assertEquals(url("::", 8000), "http://localhost:8000");
  assertEquals(url("::1", 80), "http://[::1]:80");
  assertEquals(url("/run/app.sock", 0), undefined);
  assertEquals(url("", 0), undefined);
  assertEquals(browserUrl([]), undefined);
});

// ---- The access log ----

test("the access log format dev is one glance", () => {
  const record = (status: number, contentSent: number): AccessRecord => ({
    head: fakeHead({ target: '/a?b="\x1b' }),
    remote: { host: "127.0.0.1", port: 1 },
    status,
    responseFields: [],
    contentSent,
    startedAt: 0,
    elapsedMs: 1.26,
  });
  const plain = compileAccessFormat("dev", 1);
  assertEquals(plain(record(200, 12)), 'GET  /a?b=\\"\\x1b 200 1.3 ms 12 B');
  assertEquals(
    plain({ ...record(400, 2048), head: undefined }),
    "-    - 400 1.3 ms 2.0 kB",
  );
  const coloured = compileAccessFormat("dev", 1, true);
  for (const [status, shade] of [[204, 32], [302, 36], [404, 33], [500, 31]]) {
    assertStringIncludes(
      coloured(record(status!, 3 * 1024 ** 2)),
      `\x1b[${shade}m${status}\x1b[0m 1.3 ms 3.0 MB`,
    );
  }
});

// ---- The page ----

const frame: SourceFrame = {
  path: "/srv/<app>.ts",
  line: 2,
  first: 1,
  lines: ["one();", "two('<b>');", "three();"],
};

function page(accept: string | undefined, error: unknown = new Error("<em>&")) {
  const head = fakeHead({
    target: "/a?<script>",
    fields: [
      ["Host", "example.com"],
      ["X-Mark", "<u>\"'"],
      ...accept === undefined ? [] : [["Accept", accept] as const],
    ],
  });
  return errorPage(error, head, frame);
}

test("errorPage() escapes whatever it shows", () => {
  const { type, text } = page("text/html,application/xhtml+xml,*/*;q=0.8");
  assertEquals(type, "text/html; charset=utf-8");
  for (
    const shown of [
      "<span>Error</span> &lt;em&gt;&amp;",
      "GET /a?&lt;script&gt;",
      "<td>&lt;u&gt;&quot;&#39;</td>",
      "/srv/&lt;app&gt;.ts:2",
      "<mark><i>2</i>two(&#39;&lt;b&gt;&#39;);\n</mark>",
      "prefers-color-scheme: dark",
    ]
  ) assertStringIncludes(text, shown);
  for (const raw of ["<script", "<u>", "<b>", "<app>", "<em>"]) {
    assert(!text.includes(raw), raw);
  }
});

test("errorPage() is what the client likes best", () => {
  const typeFor = (accept?: string) => page(accept).type.split(";")[0];
  assertEquals(typeFor("application/json"), "application/json");
  assertEquals(typeFor("Text/HTML"), "text/html");
  assertEquals(
    typeFor("text/html;q=0.5, application/json"),
    "application/json",
  );
  assertEquals(typeFor("application/json;q=0.5, text/html"), "text/html");
  assertEquals(typeFor("text/html;q=0, application/json;q=0"), "text/plain");
  assertEquals(typeFor("*/*"), "text/plain");
  assertEquals(typeFor(undefined), "text/plain");
});

test("errorPage() tells programs and terminals the same", () => {
  const told = JSON.parse(page("application/json").text);
  assertEquals(told.error.name, "Error");
  assertEquals(told.error.message, "<em>&");
  assertEquals(told.source.line, 2);
  assertEquals(told.request.line, "GET /a?<script>");
  assertEquals(told.request.fields[0], ["host", "example.com"]);
  const { text } = page(undefined);
  assertStringIncludes(text, "  1 | one();\n> 2 | two('<b>');\n");
  assertStringIncludes(text, "GET /a?<script>\nhost: example.com\n");
});

test("errorPage() shows whatever was thrown", () => {
  const odd = [undefined, null, "words", Symbol("s"), Object.create(null)];
  for (const thrown of odd) {
    for (const accept of ["text/html", "application/json", "*/*"]) {
      assert(page(accept, thrown).text.length > 0);
    }
  }
  const hostile = new Error("kept");
  Object.defineProperty(hostile, "message", {
    get() {
      throw new Error("no");
    },
  });
  assertStringIncludes(page("text/html", hostile).text, "Thrown");
});

function thrownAt(...places: string[]): Error {
  const error = new Error("message");
  error.stack = `Error: message\n${
    places.map((place) => `    at ${place}\n`).join("")
  }`;
  return error;
}

const numberedLines = (count: number) =>
  Array.from({ length: count }, (_, index) => `line ${index + 1}`).join("\n");

test("frameOf() finds the application's own line, as each runtime tells it", () => {
  const files: Record<string, string> = {
    "/srv/a b.ts": numberedLines(20),
    "/srv/node_modules/x/i.js": numberedLines(20),
  };
  const read = (path: string) => {
    const text = files[path];
    if (text === undefined) throw new Error("ENOENT");
    return text;
  };
  const found = (...places: string[]) => frameOf(thrownAt(...places), read);
  for (
    const place of [
      "Object.fetch (file:///srv/a%20b.ts:7:25)",
      "file:///srv/a%20b.ts:7:25",
      "async file:///srv/a%20b.ts?reading=2:7:25",
      "fetch (/srv/a b.ts:7:25)",
      "async fetch (/srv/a b.ts:7:25)",
    ]
  ) {
    const { path, line, first, lines } = found(
      "f (node:internal/x:1:2)",
      "g (file:///srv/gone.ts:3:1)",
      "h (file:///srv/node_modules/x/i.js:3:1)",
      place,
    )!;
    assertEquals([path, line, first], ["/srv/a b.ts", 7, 2], place);
    assertEquals([lines.length, lines[5]], [11, "line 7"]);
  }
  const library = found("h (file:///srv/node_modules/x/i.js:1:1)")!;
  assertEquals([library.first, library.lines.length], [1, 6]);
  assertEquals(found("h (/srv/a b.ts:99:1)"), undefined);
  assertEquals(found("h (ext:core/a.js:1:1)", "native"), undefined);
  assertEquals(frameOf("words", read), undefined);
});

test("frameOf() passes over the gateway itself", () => {
  const own = new URL("../src/", import.meta.url).pathname;
  const asked: string[] = [];
  frameOf(thrownAt(`f (${own}x.ts:1:1)`, "g (/srv/a.ts:1:1)"), (path) => {
    asked.push(path);
    return "";
  });
  // Bundled, the test is where the gateway is, and src/ is not.
  if (import.meta.url.endsWith("dev_test.ts")) {
    assertEquals(asked, ["/srv/a.ts"]);
  } else assertEquals(asked.at(-1), own + "x.ts");
});

function shown(handler: Handler) {
  const told: string[] = [];
  const log = {
    ...silentLogger,
    error: (text: string) => void told.push(text),
  };
  const readText = () => "";
  return { told, handler: showErrors(handler, { log, readText }) };
}

test("showErrors() answers what was thrown, at once or later", async () => {
  for (
    const broken of [
      () => {
        throw new Error("broken");
      },
      () => Promise.reject(new Error("broken")),
      ({ response }) => {
        response.start(200, "OK", [["X-Mine", "1"]]);
        throw new Error("broken");
      },
    ] satisfies Handler[]
  ) {
    const { told, handler } = shown(broken);
    const exchange = new FakeExchange({ target: "/a" });
    await handler(exchange);
    const { response } = exchange;
    assertEquals([response.status, response.ended], [500, true]);
    assertStringIncludes(response.content, "Error: broken");
    assertEquals(response.field("x-mine"), undefined);
    assertEquals(response.size, response.content.length);
    assertStringIncludes(told.join(), "GET /a: Error: broken");
  }
});

test("showErrors() leaves alone what it cannot answer", async () => {
  const { told, handler } = shown(async ({ response }) => {
    response.start(200, "OK", []);
    await response.write(new TextEncoder().encode("begun"));
    await response.flush();
    throw new Error("too late");
  });
  const rejected = async (handler: Handler) => {
    await handler(new FakeExchange({}));
  };
  await assertRejects(() => rejected(handler), Error, "too late");
  const { handler: refusing } = shown(() => {
    throw new HttpError(413, "too large");
  });
  await assertRejects(() => rejected(refusing), HttpError);
  assertEquals(told, []);
});

test("showErrors() adds nothing to a handler that is well", () => {
  const { handler } = shown(() => undefined);
  assertEquals(handler(new FakeExchange({})), undefined);
});

// ---- The session ----

/** A developer, whose server is none. */
class Desk {
  readonly signals: DaemonSignal[] = [];
  readonly opened: string[] = [];
  readonly handlers = new Map<string, () => void>();
  output = "";
  /** How many servers were started. */
  starts = 0;
  /** What is being watched. */
  watched: string | undefined;
  press: (key: string) => void = () => {};
  change: WatchEvents["onChange"] = () => {};
  ready: () => void = () => {};
  end: (code: number) => void = () => {};

  readonly host: Host = only<Host>({
    pid: 1,
    inUtc: () => false,
    env: {},
    cwd: () => "/srv/app",
    isTerminal: () => false,
    onExit: () => () => {},
    write: (_, text) => void (this.output += asText(text)),
  });

  readonly devHost: DevHost = {
    watch: (folder, _, { onChange }) => {
      this.watched = folder;
      this.change = onChange;
      return () => this.watched = undefined;
    },
    keys: (onKey) => {
      this.press = onKey;
      return () => this.press = () => {};
    },
    open: (url, onFailure) => {
      this.opened.push(url);
      onFailure("none is there");
    },
  };

  develop(config: Config = readConfig("src/a.ts", {}, {})): Promise<number> {
    return develop(
      config,
      (attend) => this.#serve(attend),
      this.host,
      {
        absolute: (path) => `/srv/app/${path}`,
        onSignal: (signal, handler) => {
          this.handlers.set(signal, handler);
          return () => void this.handlers.delete(signal);
        },
      },
      this.devHost,
    );
  }

  #serve(attend: (server: RunningServer) => void): Promise<number> {
    this.starts++;
    attend({
      addresses: [{ host: "127.0.0.1", port: 8000 }],
      ready: new Promise((resolve) => this.ready = resolve),
      signal: (signal) => void this.signals.push(signal),
    });
    return new Promise((resolve) => this.end = resolve);
  }
}

test("develop() reloads at a change and at r, and ends at q", async () => {
  const desk = new Desk();
  const code = desk.develop();
  await until(() => desk.starts > 0);
  assertEquals(desk.watched, "/srv/app");
  desk.ready();
  await settled();
  desk.change("src/a.ts");
  desk.change("src/b.ts");
  await until(() => desk.signals.length > 0);
  desk.press("r");
  assertEquals(desk.signals, ["SIGHUP", "SIGHUP"]);
  desk.press("x");
  desk.press("q");
  assertEquals(desk.signals.at(-1), "SIGINT");
  desk.end(0);
  assertEquals(await code, 0);
  assertEquals(desk.watched, undefined);
  assertStringIncludes(desk.output, "Changed: src/a.ts and 1 more");
});

test("develop() has nobody reload before they serve", async () => {
  const desk = new Desk();
  const code = desk.develop();
  await until(() => desk.starts > 0);
  desk.press("r");
  assertEquals(desk.signals, []);
  desk.ready();
  await until(() => desk.signals.length > 0);
  assertEquals(desk.signals, ["SIGHUP"]);
  desk.press("\x03");
  desk.end(130);
  assertEquals(await code, 0);
});

test("develop() waits for a change where workers cannot begin", async () => {
  const desk = new Desk();
  const code = desk.develop();
  await until(() => desk.starts > 0);
  desk.end(3);
  await until(() => desk.output.includes("Waiting for a change"));
  assertEquals(desk.starts, 1);
  desk.change("src/a.ts");
  await until(() => desk.starts === 2);
  assertEquals(desk.handlers.size, 0);
  // A change while it was about to fail is another reason to try.
  desk.press("r");
  desk.end(3);
  await until(() => desk.starts === 3);
  desk.end(3);
  await until(() => desk.handlers.size > 0);
  desk.handlers.get("SIGTERM")!();
  assertEquals(await code, 0);
  assertEquals(desk.signals, []);
});

test("develop() ends as its server ends by itself", async () => {
  const desk = new Desk();
  const code = desk.develop();
  await until(() => desk.starts > 0);
  desk.end(1);
  assertEquals(await code, 1);
});

test("develop() opens a browser, and says why there is none", async () => {
  const desk = new Desk();
  const code = desk.develop();
  await until(() => desk.starts > 0);
  desk.press("o");
  assertEquals(desk.opened, ["http://127.0.0.1:8000"]);
  desk.press("q");
  desk.end(0);
  await code;
  assertStringIncludes(
    desk.output,
    "No browser for http://127.0.0.1:8000: none is there",
  );
});
