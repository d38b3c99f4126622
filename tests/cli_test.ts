/** The command line as a user meets it: a real process, its exit code, what it
 * writes, and what it answers. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertNotMatch,
  assertStringIncludes,
} from "@std/assert";
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import type { Address } from "../src/stream.ts";
import { version } from "../src/version.ts";
import { Command, runCommand } from "./support/command.ts";
import { RawClient } from "./support/raw_client.ts";

const onLinux = process.platform === "linux";
const readsTypeScript = "Deno" in globalThis || "Bun" in globalThis ||
  Boolean((process.features as { typescript?: unknown }).typescript);

/** A directory with files, removed at the end of the scope. */
class Site implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), "headgate-"));

  constructor(files: Readonly<Record<string, string>> = {}) {
    for (const [name, text] of Object.entries(files)) {
      writeFileSync(this.path(name), text);
    }
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  read(name: string): string {
    return readFileSync(this.path(name), "utf8");
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

const anyPort = "--bind=127.0.0.1:0";

/** One request, one response, one connection. */
async function ask(
  address: Address | undefined,
  path = "/",
  more = "",
): Promise<string> {
  assert(address !== undefined);
  const client = await RawClient.connect(address);
  await client.send(
    `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${more}\r\n`,
  );
  await client.untilEnded();
  await client.close();
  return client.receivedText;
}

test("--version tells ours and the runtime's", async () => {
  const { stdout, outcome } = await runCommand(["--version"]);
  assertEquals(outcome, 0);
  assertMatch(stdout, /^headgate \S+ \((Deno|Bun|Node) \d+\.\d+\S*\)\n$/);
  assertStringIncludes(stdout, version);
});

test("--help goes to standard output and fits 80 columns", async () => {
  for (const flag of ["--help", "-h"]) {
    const { stdout, stderr, outcome } = await runCommand([flag]);
    assertEquals([outcome, stderr], [0, ""]);
    assertStringIncludes(stdout, "Examples:");
    assert(stdout.split("\n").every((line) => line.length <= 80));
  }
});

const usageErrors: [args: string[], what: string, how: string][] = [
  [["--bnid", "8000"], "No option --bnid", "Did you mean --bind?"],
  [["--acess-log=off"], "No option --acess-log", "Did you mean --access-log?"],
  [["--no-help"], "No option --no-help", "--help"],
  [["-x"], "No option -x", "headgate --help"],
  [["--bind"], "--bind needs a value", "--bind 127.0.0.1:8000"],
  [["--bind", "--type", "wsgi"], "--bind needs a value", "127.0.0.1:8000"],
  [["--bind", "localhost"], "the port is missing", "localhost:8000"],
  [["-b", "127.0.0.1:99999"], "99999 is not a port", "65535"],
  [["--log-level", "loud"], '"loud" is not one of', "debug"],
  [["--keep-alive", "x"], "--keep-alive", "75"],
  [["--keep-alive", "-1"], '--keep-alive: "-1"', "75"],
  [["a.mjs:app", "b.mjs:app"], "One application", "--help"],
  [
    ["app.txt/app:app"],
    "neither a JavaScript or TypeScript file nor",
    "app:app",
  ],
  [["fastcgi://here"], "is not the address of a server", "fastcgi+unix:"],
  [["scgi://:1", "--type", "wsgi"], "is not the address", "scgi://127.0.0.1"],
  [["scgi://a:1", "--type", "wsgi"], "which has no --type", "Leave --type out"],
  [["a:b", "--type", "wsgi"], "a Python application, which", "Leave --type"],
  [["app.mjs:"], "No name after the colon", "app.mjs:app"],
  [
    ["--static", "/=examples", "--cgi-dir", "examples/cgi-bin"],
    "cgi-dir examples/cgi-bin is within --static examples",
    "where no files are served",
  ],
  [
    [
      "scgi://a:1",
      "--root",
      "examples/cgi-bin",
      "--cgi-dir",
      "examples/cgi-bin",
    ],
    "cgi-dir examples/cgi-bin is within --root examples/cgi-bin",
    "where no files are served",
  ],
];

for (const [args, what, how] of usageErrors) {
  test(`exit code 2: headgate ${args.join(" ")}`, async () => {
    const { stdout, stderr, outcome } = await runCommand(args);
    assertEquals([outcome, stdout], [2, ""]);
    assertStringIncludes(stderr, `headgate: `);
    assertStringIncludes(stderr, what);
    assertStringIncludes(stderr, how);
    assertNotMatch(stderr, /^\s+at /m);
  });
}

const hello = `const encoder = new TextEncoder();
export const app = (environ, startResponse) => {
  startResponse("200 OK", [["Content-Type", "text/plain"]]);
  return [encoder.encode("hello " + environ.PATH_INFO)];
};
export const other = 3;
export default app;
`;

const broken: [file: string, text: string, what: RegExp, how: string][] = [
  ["absent", "", /No file .*absent\.mjs/, "Check the spelling"],
  [
    "names",
    hello,
    /no export "ap".*it exports app, default, other/,
    "names.mjs:app",
  ],
  ["object", "export const ap = {};", /is an object, not an app/, "fetch("],
  ["syntax", "\nconst = 3;\n", /syntax\.mjs:2/, "Correct the line"],
  [
    "throws",
    '\nthrow new Error("at import");\n',
    /at import[^]*throws\.mjs:2/,
    "Correct what threw",
  ],
  [
    "imports",
    'import "./nowhere.mjs";\n',
    /nowhere\.mjs/,
    "Install what is missing",
  ],
  ["links", 'import { x } from "./names.mjs";\n', /'x'/, "Correct the line"],
];

for (const [name, text, what, how] of broken) {
  test(`exit code 1: an application file that is broken: ${name}`, async () => {
    using site = new Site({ "names.mjs": hello });
    if (text !== "") writeFileSync(site.path(`${name}.mjs`), text);
    const file = site.path(`${name}.mjs`);
    const { stdout, stderr, outcome } = await runCommand([`${file}:ap`]);
    assertEquals([outcome, stdout], [1, ""], stderr);
    assertMatch(stderr, what);
    assertStringIncludes(stderr, how);
  });
}

test("an import that does not end is told, and may be stopped", async () => {
  using site = new Site({ "app.mjs": "await new Promise(() => {});" });
  await using command = new Command([site.path("app.mjs") + ":app", anyPort]);
  await command.until(() => command.stderr !== "", "the notice");
  assertMatch(command.stderr, /^headgate: Still importing .*app\.mjs:app; /);
  command.signal("SIGINT");
  assertEquals(await command.ended(), "SIGINT");
});

test("a default export says how to choose, and is served with --type", async () => {
  using site = new Site({ "app.mjs": hello });
  const { stderr, outcome } = await runCommand([site.path("app.mjs")]);
  assertEquals(outcome, 1);
  assertStringIncludes(stderr, "--type wsgi");
  assertStringIncludes(stderr, "--type fetch");

  await using command = new Command([
    site.path("app.mjs"),
    "--type",
    "wsgi",
    anyPort,
  ]);
  const [address] = await command.ready();
  assertMatch(await ask(address, "/x"), /hello \/x$/);
});

test("TypeScript is served, or Node's age is explained", async () => {
  using site = new Site({
    "app.ts": `import type { Writable } from "node:stream";
export type Unused = Writable;
export function app(_environ: object, startResponse: (...args: unknown[]) => unknown) {
  startResponse("204 No Content", []);
  return [] as Uint8Array[];
}
`,
  });
  await using command = new Command([site.path("app.ts") + ":app", anyPort]);
  if (readsTypeScript) {
    const [address] = await command.ready();
    assertMatch(await ask(address), /^HTTP\/1\.1 204 /);
  } else {
    assertEquals(await command.ended(), 1);
    assertStringIncludes(command.stderr, "Node 22.18 or later, Deno or Bun");
  }
});

test("the welcome page is served; the start and the requests are told", async () => {
  await using command = new Command([anyPort]);
  const [address] = await command.ready();
  assertMatch(await ask(address), /^HTTP\/1\.1 200 OK\r\n[^]*<title>Headgate/);
  await command.until(() => /" 200 /.test(command.stdout), "an access line");
  const { stdout } = command;
  const time = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[INFO\]`;
  assertMatch(
    stdout,
    new RegExp(`^${time} Headgate ${version} on (Deno|Bun|Node) \\S+, pid `),
  );
  assertStringIncludes(stdout, `pid ${command.pid}\n`);
  assertStringIncludes(stdout, "Application: the welcome page");
  assertMatch(stdout, /Ready in \d+ ms/);
  assertMatch(
    stdout,
    /^127\.0\.0\.1 - - \[.+\] "GET \/ HTTP\/1\.1" 200 \d+ "-" "-"$/m,
  );
  assert(!stdout.includes("\x1b"));

  command.signal("SIGTERM");
  assertEquals(await command.ended(), 0);
  assertMatch(command.stdout, /\[INFO\] Stopped\n$/);
  assertEquals(command.stderr, "");
});

test("SIGINT ends with 0 as well", async () => {
  await using command = new Command([anyPort]);
  await command.ready();
  command.signal("SIGINT");
  assertEquals(await command.ended(), 0);
});

const slow = `const encoder = new TextEncoder();
const started = Date.now();
export const app = async (environ, startResponse) => {
  environ["wsgi.errors"].write("begun " + environ.PATH_INFO + "\\n");
  if (environ.PATH_INFO === "/never") await new Promise((r) => setTimeout(r, 60_000));
  if (environ.PATH_INFO === "/throw") throw new Error("on purpose\\nforged");
  await new Promise((r) => setTimeout(r, 300));
  startResponse("200 OK", [["Content-Type", "text/plain"]]);
  return [encoder.encode("whole")];
};
`;

test("SIGTERM lets a running request end", async () => {
  using site = new Site({ "app.mjs": slow });
  await using command = new Command([site.path("app.mjs") + ":app", anyPort]);
  const [address] = await command.ready();
  const answer = ask(address, "/slow");
  await command.until(() => /begun \/slow/.test(command.stdout), "the request");
  command.signal("SIGTERM");
  assertMatch(await answer, /whole$/);
  assertEquals(await command.ended(), 0);
  assertMatch(command.stdout, /"GET \/slow HTTP\/1\.1" 200 5 /);
});

test("--graceful-timeout bounds the wait", async () => {
  using site = new Site({ "app.mjs": slow });
  await using command = new Command([
    site.path("app.mjs") + ":app",
    anyPort,
    "--graceful-timeout=0.1",
  ]);
  const [address] = await command.ready();
  const answer = ask(address, "/never").catch(() => "");
  await command.until(
    () => /begun \/never/.test(command.stdout),
    "the request",
  );
  command.signal("SIGTERM");
  assertEquals(await command.ended(), 0);
  assertEquals(await answer, "");
});

for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  test(`a second signal exits at once: ${signal} with ${code}`, async () => {
    using site = new Site({ "app.mjs": slow });
    await using command = new Command([site.path("app.mjs") + ":app", anyPort]);
    const [address] = await command.ready();
    const answer = ask(address, "/never").catch(() => "");
    await command.until(() => /begun/.test(command.stdout), "the request");
    command.signal("SIGTERM");
    await command.until(() => /SIGTERM: /.test(command.stdout), "the stop");
    command.signal(signal);
    assertEquals(await command.ended(), code);
    await answer;
  });
}

test("an application that throws is a 500 with its stack in the log", async () => {
  using site = new Site({ "app.mjs": slow });
  await using command = new Command([site.path("app.mjs") + ":app", anyPort]);
  const [address] = await command.ready();
  assertMatch(await ask(address, "/throw"), /^HTTP\/1\.1 500 /);
  await command.until(() => /" 500 /.test(command.stdout), "an access line");
  assertMatch(command.stdout, /\[ERROR\] [^]*on purpose\n {2}forged/);
  assertStringIncludes(command.stdout, "app.mjs");
});

test("log, access log and standard output each get their own", async () => {
  using site = new Site();
  await using command = new Command([
    anyPort,
    "--log-level",
    "debug",
    "--log-file",
    "-",
    "--access-log",
    site.path("access.log"),
    "--access-log-format",
    "json",
  ]);
  const [address] = await command.ready();
  await ask(address, "/missing");
  command.signal("SIGTERM");
  await command.ended();
  assertMatch(command.stdout, /\[DEBUG\] /);
  assertNotMatch(command.stdout, /missing/);
  const line = JSON.parse(site.read("access.log"));
  assertEquals([line.target, line.status], ["/missing", 404]);
});

test("--log-file leaves standard output to the access log", async () => {
  using site = new Site();
  await using command = new Command([
    anyPort,
    "--log-file",
    site.path("error.log"),
    "--access-log-format=%(s)s",
  ]);
  const text = () =>
    existsSync(site.path("error.log")) ? site.read("error.log") : "";
  for (const end = Date.now() + 25_000; !/Ready/.test(text());) {
    assert(Date.now() < end, command.stderr);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const port = Number(/:(\d+)\n/.exec(text())?.[1]);
  await ask({ host: "127.0.0.1", port });
  command.signal("SIGTERM");
  assertEquals(await command.ended(), 0);
  assertEquals(command.stdout, "200\n");
  assertMatch(text(), /Stopped\n$/);
});

test("a log file that cannot be opened is an error", async () => {
  using site = new Site();
  const { stderr, outcome } = await runCommand([
    anyPort,
    "--access-log",
    site.path("no/such/access.log"),
  ]);
  assertEquals(outcome, 1);
  assertStringIncludes(stderr, "--access-log: cannot write to");
  assertStringIncludes(stderr, "ENOENT");
});

test("--access-log off writes none", async () => {
  await using command = new Command([anyPort, "--access-log", "off"]);
  const [address] = await command.ready();
  await ask(address, "/unlogged");
  command.signal("SIGTERM");
  await command.ended();
  assertNotMatch(command.stdout, /unlogged/);
});

test("no line is lost at exit", async () => {
  await using command = new Command([
    anyPort,
    "--access-log-format",
    "%(q)s %(a)s",
  ]);
  const [address] = await command.ready();
  assert(address !== undefined);
  const client = await RawClient.connect(address);
  const agent = "x".repeat(200);
  const count = 2000;
  const one = (index: number) =>
    `GET /a?n${index} HTTP/1.1\r\nHost: a\r\nUser-Agent: ${agent}\r\n` +
    `${index === count - 1 ? "Connection: close\r\n" : ""}\r\n`;
  await client.send(Array.from({ length: count }, (_, i) => one(i)).join(""));
  await client.untilEnded();
  command.signal("SIGTERM");
  await client.close();
  assertEquals(await command.ended(), 0);
  assertEquals(command.stdout.match(/^n\d+ x{200}$/gm)?.length, count);
});

test("a reader of standard output that leaves does not end the server", async () => {
  await using command = new Command([anyPort]);
  const [address] = await command.ready();
  command.abandonOutput();
  for (let count = 0; count < 3; count++) {
    assertMatch(await ask(address), /^HTTP\/1\.1 200 /);
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  assertEquals(command.outcome, undefined);
  command.signal("SIGTERM");
  assertEquals(await command.ended(), 0);
});

const careless = `const content = new TextEncoder().encode("answered");
export const app = (environ, startResponse) => {
  if (environ.PATH_INFO === "/rejection") {
    Promise.reject(new Error("unasked", { cause: new Error("deep down") }));
  }
  if (environ.PATH_INFO === "/exception") {
    setTimeout(() => { throw new Error("let go"); });
  }
  startResponse("200 OK", []);
  return [content];
};
`;

test("a rejection that nobody asks about is logged; the server lives on", async () => {
  using site = new Site({ "app.mjs": careless });
  await using command = new Command([site.path("app.mjs") + ":app", anyPort]);
  const [address] = await command.ready();
  assertMatch(await ask(address, "/rejection"), /answered$/);
  await command.until(() => /unasked/.test(command.stdout), "the log line");
  assertMatch(
    command.stdout,
    /\[ERROR\] Unhandled rejection: Error: unasked\n +at /,
  );
  assertMatch(command.stdout, /\n +Caused by: Error: deep down/);
  assertMatch(await ask(address, "/"), /answered$/);
  command.signal("SIGTERM");
  assertEquals(await command.ended(), 0);
  assertEquals(command.stderr, "");
});

test("an application's own listeners at process are told as well", async () => {
  const listening = `
import process from "node:process";
process.on("unhandledRejection", (error) => console.log("told:", error.message));
process.on("exit", (code) => console.log("exit:", code));
${careless}`;
  using site = new Site({ "app.mjs": listening });
  await using command = new Command([site.path("app.mjs") + ":app", anyPort]);
  const [address] = await command.ready();
  assertMatch(await ask(address, "/rejection"), /answered$/);
  await command.until(() => /told: unasked/.test(command.stdout), "the line");
  command.signal("SIGTERM");
  assertEquals(await command.ended(), 0);
  assertMatch(command.stdout, /exit: 0/);
});

test("an exception that nobody catches stops the server in order, with 1", async () => {
  using site = new Site({ "app.mjs": careless });
  await using command = new Command([site.path("app.mjs") + ":app", anyPort]);
  const [address] = await command.ready();
  assertMatch(await ask(address, "/exception"), /answered$/);
  assertEquals(await command.ended(), 1);
  assertMatch(
    command.stdout,
    /\[CRITICAL\] Uncaught exception: Error: let go\n +at /,
  );
  assertMatch(command.stdout, /\[INFO\] Stopped\n$/);
  assertEquals(command.stderr, "");
});

test("a busy port is told with its holder", async () => {
  await using first = new Command([anyPort]);
  const [address] = await first.ready();
  const port = address?.port ?? 0;
  const { stderr, outcome } = await runCommand([`--bind=127.0.0.1:${port}`]);
  assertEquals(outcome, 1);
  assertStringIncludes(stderr, `Port ${port} is in use`);
  assertMatch(stderr, /Try --bind 127\.0\.0\.1:\d+\.\n$/);
  if (onLinux) {
    assertMatch(stderr, new RegExp(`by \\S+.* \\(pid ${first.pid}\\)`));
  }
});

test("of several addresses the busy one is told, and none is kept", async () => {
  await using first = new Command([anyPort]);
  const [address] = await first.ready();
  const port = address?.port ?? 0;
  using site = new Site();
  const { stderr, outcome } = await runCommand([
    "-b",
    `unix:${site.path("a.sock")}`,
    "-b",
    `127.0.0.1:${port}`,
  ]);
  assertEquals(outcome, 1);
  assertStringIncludes(stderr, `Port ${port} is in use`);
  assertEquals(existsSync(site.path("a.sock")), false);
});

test("an address of another machine is refused", async () => {
  const { stderr, outcome } = await runCommand(["--bind=192.0.2.1:0"]);
  assertEquals(outcome, 1);
  assertStringIncludes(stderr, "no such address");
});

test("a Unix-domain socket is served, and removed at the end", async () => {
  using site = new Site();
  const path = site.path("a.sock");
  await using command = new Command([
    "-b",
    `unix:${path}`,
    "-b",
    "127.0.0.1:0",
  ]);
  const [socket, port] = await command.ready();
  assertEquals(socket, { host: path, port: 0 });
  assertMatch(await ask(socket), /^HTTP\/1\.1 200 /);
  assertMatch(await ask(port), /^HTTP\/1\.1 200 /);

  const second = await runCommand(["-b", `unix:${path}`]);
  assertEquals(second.outcome, 1);
  assertStringIncludes(second.stderr, "another server answers there");
  assertMatch(await ask(socket), /^HTTP\/1\.1 200 /);

  command.signal("SIGTERM");
  assertEquals(await command.ended(), 0);
  assertEquals(existsSync(path), false);
});

test("a stale socket file is replaced, another file is not", async () => {
  using site = new Site({ "notes.txt": "mine" });
  const path = site.path("a.sock");
  await using killed = new Command(["-b", `unix:${path}`]);
  await killed.ready();
  killed.signal("SIGKILL");
  await killed.ended();
  assertEquals(existsSync(path), true);

  await using command = new Command(["-b", `unix:${path}`]);
  const [socket] = await command.ready();
  assertMatch(await ask(socket), /^HTTP\/1\.1 200 /);

  const refused = await runCommand(["-b", `unix:${site.path("notes.txt")}`]);
  assertEquals(refused.outcome, 1);
  assertStringIncludes(refused.stderr, "a file that is no socket");
  assertEquals(site.read("notes.txt"), "mine");
});

test("a socket file is removed at a second signal too", async () => {
  using site = new Site({ "app.mjs": slow });
  const path = site.path("a.sock");
  await using command = new Command([
    site.path("app.mjs") + ":app",
    "-b",
    `unix:${path}`,
  ]);
  const [socket] = await command.ready();
  const answer = ask(socket, "/never").catch(() => "");
  await command.until(() => /begun/.test(command.stdout), "the request");
  command.signal("SIGINT");
  await command.until(() => /SIGINT: /.test(command.stdout), "the stop");
  command.signal("SIGINT");
  assertEquals(await command.ended(), 130);
  assertEquals(existsSync(path), false);
  await answer;
});

test("PORT and HEADGATE_* are honoured", async () => {
  const bad = await runCommand([], { env: { PORT: "http" } });
  assertEquals(bad.outcome, 2);
  assertStringIncludes(bad.stderr, "PORT in the environment");

  await using command = new Command([], {
    env: { PORT: "0", HEADGATE_ACCESS_LOG: "off" },
  });
  const [address] = await command.ready();
  assertEquals(address?.host, "0.0.0.0");
  await ask({ host: "127.0.0.1", port: address?.port ?? 0 }, "/unlogged");
  command.signal("SIGTERM");
  await command.ended();
  assertNotMatch(command.stdout, /unlogged/);
});

test("FORCE_COLOR colours what is no terminal", async () => {
  await using command = new Command([anyPort], { env: { FORCE_COLOR: "1" } });
  await command.ready();
  assertStringIncludes(command.stdout, "[\x1b[32mINFO\x1b[0m]");
});

test("the limits reach the gateway", async () => {
  await using command = new Command([anyPort, "--limit-request-line=20"]);
  const [address] = await command.ready();
  assertMatch(await ask(address, `/${"x".repeat(30)}`), /^HTTP\/1\.1 414 /);
  await command.until(() => /" 414 /.test(command.stdout), "an access line");
  assertMatch(command.stdout, /\] "-" 414 /);
});
