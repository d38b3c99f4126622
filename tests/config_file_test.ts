import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { detectProcessHost } from "../adapters/detect.ts";
import { CommandError } from "../src/command_error.ts";
import { readConfig } from "../src/config.ts";
import {
  type ConfigFile,
  defineConfig,
  type HeadgateConfig,
  readConfigFile,
  readEntries,
} from "../src/config_file.ts";
import { configIsRight, configReport } from "../src/config_report.ts";
import type { Hooks } from "../src/hooks.ts";
import type { Host, ImportFailure } from "../src/host.ts";
import { hookNames } from "../src/hook_names.ts";
import { keyName, optionTable } from "../src/options.ts";

const path = "headgate.config.mjs";

const everyHook: Required<Hooks> = {
  onStarting() {},
  onReload() {},
  whenReady() {},
  workerStart() {},
  workerReady() {},
  preRequest() {},
  postRequest() {},
  workerExit() {},
  onExit() {},
};

const everything: Required<HeadgateConfig> = {
  app: "app.ts:app",
  type: "wsgi",
  response: "light",
  chdir: "site",
  env: { MODE: "production", DEBUG: false, DEPTH: 3 },
  static: ["/assets=public", "/=site"],
  python: "python3.12",
  pythonpath: "lib",
  pythonWorkers: 2,
  threads: 8,
  connections: 5,
  keepConnections: "on",
  root: "www",
  index: "main.php",
  cgiDir: ["cgi-bin", "/tools=bin"],
  spool: "off",
  sendfileRoot: "files",
  bind: [8000, "unix:a.sock"],
  backlog: 10,
  forwardedAllowIps: ["10.0.0.0/8", "::1"],
  forwardedFields: "forwarded",
  workers: "auto",
  pidfile: "a.pid",
  maxRequests: 1000,
  maxRequestsJitter: 50,
  maxRss: "300M",
  user: 33,
  group: "www-data",
  umask: "027",
  name: "shop",
  logLevel: "debug",
  logFile: "a.log",
  accessLog: "off",
  accessLogFormat: "json",
  timeout: 0,
  bootTimeout: Infinity,
  backendTimeout: "unlimited",
  queueTimeout: 7,
  gracefulTimeout: 5,
  headTimeout: 1.5,
  bodyTimeout: "unlimited",
  keepAlive: 2,
  limitRequestLine: 100,
  limitRequestFieldSize: 200,
  limitRequestFields: 7,
  limitConnections: 500,
  limitRequestBody: 1024,
  ...everyHook,
};

const read = (entries: object): ConfigFile =>
  readEntries(path, entries as Readonly<Record<string, unknown>>);

test("HeadgateConfig has every option that a file may set, and every hook", () => {
  const keys = optionTable.filter(({ file }) => file !== false)
    .map(({ name }) => keyName(name));
  assertEquals(
    Object.keys(everything).sort(),
    ["app", ...keys, ...hookNames].sort(),
  );
});

test("every key reaches the configuration", () => {
  const config = readConfig(undefined, {}, {}, read(everything));
  assertEquals({ ...config, limits: undefined }, {
    app: "app.ts:app",
    type: "wsgi",
    response: "light",
    chdir: "site",
    env: { MODE: "production", DEBUG: "false", DEPTH: "3" },
    statics: [
      { prefix: "/assets", directory: "public" },
      { prefix: "/", directory: "site" },
    ],
    python: "python3.12",
    pythonPath: ["lib"],
    pythonWorkers: 2,
    threads: 8,
    connections: 5,
    keepConnections: true,
    root: "www",
    index: "main.php",
    cgi: [
      { prefix: "/cgi-bin", directory: "cgi-bin" },
      { prefix: "/tools", directory: "bin" },
    ],
    spool: "off",
    sendFileRoots: ["files"],
    bind: ["8000", "unix:a.sock"],
    backlog: 10,
    forwarded: { allow: ["10.0.0.0/8", "::1"], fields: ["forwarded"] },
    workers: "auto",
    pidfile: "a.pid",
    maxRequests: 1000,
    maxRequestsJitter: 50,
    maxRssBytes: 300 * 1024 ** 2,
    user: "33",
    group: "www-data",
    umask: 0o27,
    name: "shop",
    logLevel: "debug",
    logFile: "a.log",
    accessLog: "off",
    accessLogFormat: "json",
    timeoutSeconds: Infinity,
    bootSeconds: Infinity,
    backendSeconds: Infinity,
    queueSeconds: 7,
    graceSeconds: 5,
    limits: undefined,
    leftToModule: [],
  });
  const { limits } = config;
  assertEquals([limits.headSeconds, limits.bodySeconds, limits.idleSeconds], [
    1.5,
    Infinity,
    2,
  ]);
  assertEquals([limits.requestLine, limits.fieldLine, limits.fieldCount], [
    100,
    200,
    7,
  ]);
  assertEquals([limits.connections, limits.content], [500, 1024]);
});

test("readEntries() keeps the hooks as they are", () => {
  assertEquals(read(everything).hooks, everyHook);
});

test("readEntries() takes env as an array, one address, and no undefined", () => {
  const { values } = read({ env: ["A=1"], bind: 8000, workers: undefined });
  assertEquals(values, { env: ["A=1"], bind: ["8000"] });
  assertEquals(read({ env: { A: undefined, B: "1" } }).values["env"], ["B=1"]);
});

const refused: [entries: unknown, what: string, how: string][] = [
  [{ worker: 3 }, 'no setting is called "worker"', "Did you mean workers?"],
  [{ "log-level": "info" }, '"log-level"', "Did you mean logLevel?"],
  [{ LogLevel: "info" }, '"LogLevel"', "Did you mean logLevel?"],
  [{ maxRequestJitter: 1 }, "maxRequestJitter", "mean maxRequestsJitter?"],
  [{ onExitt() {} }, '"onExitt"', "Did you mean onExit?"],
  [{ qqqqqqqqqq: 1 }, '"qqqqqqqqqq"', "headgate --help"],
  [JSON.parse('{ "__proto__": 1 }'), '"__proto__"', "headgate --help"],
  [{ toString: 1 }, '"toString"', "headgate --help"],
  [{ config: "a.ts" }, '"config" is not set by', "--config on the command"],
  [{ checkConfig: true }, '"checkConfig" is not set by', "--check-config"],
  [{ quick: true }, '"quick" is not set by', "--quick"],
  [{ workers: true }, "workers is a boolean", "a number or a string"],
  [{ workers: null }, "workers is null", "a number or a string"],
  [{ workers: [1] }, "workers is an array", "a number or a string"],
  [{ logFile: 3 }, "logFile is a number", "It takes a string."],
  [{ umask: 18 }, "umask is a number", "It takes a string."],
  [{ bind: {} }, "bind is an object", "or an array of such"],
  [{ bind: [true] }, "bind is a boolean", "or an array of such"],
  [{ bind: [] }, "bind is an empty array", "at least one"],
  [{ env: "A=1 B=2", app: 3 }, "app is a number", "app.ts:app"],
  [{ env: 3 }, "env is a number", "an object"],
  [{ env: { A: null } }, "env.A is null", "a string"],
  [{ onExit: "bye" }, "onExit is a string", "a function"],
];

for (const [entries, what, how] of refused) {
  test(`readEntries() refuses ${JSON.stringify(entries)}: ${what}`, () => {
    const error = assertThrows(() => read(entries as object), CommandError);
    assertEquals(error.exitCode, 2);
    assertStringIncludes(error.message, `${path}: `);
    assertStringIncludes(error.message, what);
    assertStringIncludes(error.remedy, how);
  });
}

test("defineConfig() gives back what it is given", () => {
  assert(defineConfig(everything) === everything);
});

// Files.

/** A directory of its own, removed at the end of the scope. */
class Site implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), "headgate-"));

  write(name: string, text: string): string {
    const file = join(this.directory, name);
    writeFileSync(file, text);
    return file;
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

test("a module and a JSON file say the same", async () => {
  using site = new Site();
  const host = await detectProcessHost();
  const module = site.write("a.mjs", "export default { workers: 2 };");
  const json = site.write("a.json", '{ "workers": 2 }');
  for (const file of [module, json]) {
    const { values, hooks, app } = await readConfigFile(file, 0, host);
    assertEquals([values, hooks, app], [{ workers: ["2"] }, {}, undefined]);
  }
});

for (
  const [name, text] of [
    ["module.mjs", "export default { workers: N };"],
    ["a päth with spaces.mjs", "export default { workers: N };"],
    ["object.json", '{ "workers": N }'],
  ] as const
) {
  test(`a file is read afresh when it has changed: ${name}`, async () => {
    using site = new Site();
    const host = await detectProcessHost();
    for (const reading of [0, 1, 2]) {
      const file = site.write(name, text.replace("N", String(reading + 1)));
      const { values } = await readConfigFile(file, reading, host);
      assertEquals(values["workers"], [String(reading + 1)]);
    }
  });
}

test("CommonJS is read afresh too", async () => {
  using site = new Site();
  site.write("package.json", '{ "type": "commonjs" }');
  const host = await detectProcessHost();
  for (const reading of [0, 1, 2]) {
    const text = `module.exports = { workers: ${reading + 1} };`;
    const file = site.write("headgate.config.js", text);
    const { values } = await readConfigFile(file, reading, host);
    assertEquals(values["workers"], [String(reading + 1)]);
  }
});

test("a TypeScript file is read, or it is said who reads it", async () => {
  using site = new Site();
  site.write("package.json", '{ "type": "module" }');
  const host = await detectProcessHost();
  const file = site.write(
    "headgate.config.ts",
    "const workers: number = 2; export default { workers };",
  );
  if ("Deno" in globalThis || "Bun" in globalThis || readsTypeScript()) {
    assertEquals((await readConfigFile(file, 0, host)).values["workers"], [
      "2",
    ]);
    return;
  }
  const error = await assertRejects(
    () => readConfigFile(file, 0, host),
    CommandError,
    "does not read it as TypeScript",
  );
  assertStringIncludes(error.remedy, "Node 22.18");
  assertStringIncludes(error.remedy, "headgate.config.mjs");
});

function readsTypeScript(): boolean {
  return Boolean((process.features as { typescript?: unknown }).typescript);
}

const broken: [name: string, text: string, what: string, how: string][] = [
  ["a.mjs", "export const workers = 3;", "no default export", "export default"],
  ["a.mjs", "export default 3;", "its default export is a number", "Its keys"],
  ["a.mjs", "export default () => 3;", "is a function, not", "Its keys"],
  ["a.mjs", "\nconst = 3;\n", "does not parse or link", "Correct the line"],
  ["a.mjs", 'throw new Error("at import");', "it threw while", "what threw"],
  ["a.mjs", 'import "./nowhere.mjs";', "is missing", "Install"],
  ["a.json", "{ workers: 3 }", "is not JSON", "Correct it"],
  ["a.json", "[3]", "the file is an array", "Its keys"],
  ["a.json", "null", "the file is null", "Its keys"],
  ["a.toml", "", "is no configuration file", ".json"],
];

for (const [name, text, what, how] of broken) {
  test(`readConfigFile() refuses ${name}: ${JSON.stringify(text)}`, async () => {
    using site = new Site();
    const host = await detectProcessHost();
    const file = site.write(name, text);
    const error = await assertRejects(
      () => readConfigFile(file, 0, host),
      CommandError,
    );
    assertEquals(error.exitCode, 2);
    assertStringIncludes(error.message, file);
    assertStringIncludes(error.message, what);
    assertStringIncludes(error.remedy, how);
  });
}

test("readConfigFile() says what stands in the place of a file", async () => {
  const refusal = async (kind?: "directory" | "hidden") => {
    const host = {
      cwd: () => "/site",
      status: () => kind && { kind, identity: "1" },
    } as Partial<Host> as Host;
    const error = await assertRejects(
      () => readConfigFile("a.ts", 0, host),
      CommandError,
    );
    return error.message;
  };
  assertEquals(await refusal(), "No configuration file a.ts in /site");
  assertEquals(await refusal("directory"), "a.ts is not a file");
  assertEquals(await refusal("hidden"), "No permission to look at a.ts");
});

test("readConfigFile() passes on the runtime's account", async () => {
  const failure: ImportFailure = { reason: "threw", account: "Error: why" };
  const host = {
    status: () => ({ kind: "file", identity: "1" }),
    importModule: () => Promise.resolve({ failure }),
  } as Partial<Host> as Host;
  const error = await assertRejects(
    () => readConfigFile("a.ts", 0, host),
    CommandError,
  );
  assertEquals(error.detail, "Error: why");
});

// The report.

const report = (
  flags: Readonly<Record<string, string[]>>,
  env: Record<string, string>,
  file?: ConfigFile,
  app?: string,
): string =>
  configReport(
    { app, flags },
    { config: readConfig(app, flags, env, file), file, warnings: [] },
    { env },
  );

function lineOf(text: string, name: string): string {
  const line = text.split("\n").find((line) => line.startsWith(`${name} `));
  assert(line !== undefined, name);
  return line.replace(/ {2,}/g, " | ");
}

test("configReport() tells each value and where it comes from", () => {
  const file = read({ ...everything, env: { A: "1" }, app: undefined });
  const text = report(
    { workers: ["1", "3"], env: ["B=2"], config: ["a.mjs"] },
    { HEADGATE_LOG_LEVEL: "error", PORT: "5000", HEADGATE_ENV: "C=3" },
    file,
  );
  assertEquals(lineOf(text, "app"), "app | the welcome page | default");
  assertEquals(lineOf(text, "config"), `config | ${path} | command line`);
  assertEquals(lineOf(text, "workers"), "workers | 3 | command line");
  assertEquals(
    lineOf(text, "log-level"),
    "log-level | error | HEADGATE_LOG_LEVEL",
  );
  assertEquals(lineOf(text, "bind"), "bind | 0.0.0.0:5000 | PORT");
  assertEquals(lineOf(text, "type"), `type | wsgi | ${path}`);
  assertEquals(lineOf(text, "env"), `env | A=1 | ${path}`);
  assertStringIncludes(text.replace(/ {2,}/g, " | "), "\n | B=2 | command");
  assertEquals(lineOf(text, "hooks"), `hooks | onStarting | ${path}`);
  assertEquals(lineOf(text, ""), ` | onReload | ${path}`);
});

test("configReport() without anything tells the defaults", () => {
  const text = report({}, {});
  assertEquals(lineOf(text, "config"), "config | not set | default");
  assertEquals(lineOf(text, "hooks"), "hooks | not set | default");
  assertEquals(lineOf(text, "umask"), "umask | not set | default");
  assertEquals(lineOf(text, "keep-alive"), "keep-alive | 75 | default");
  const names = text.split("\n").map((line) => line.split(" ")[0]);
  for (const { name, value } of optionTable) {
    assertEquals(names.includes(name), value !== undefined, name);
  }
});

test("configReport() keeps its columns, and every value in its line", () => {
  const format = `%(h)s ${"x".repeat(80)}`;
  const text = report(
    { name: [" a\n\x1b[1m"], "access-log-format": [format] },
    {},
  );
  assertEquals(lineOf(text, "name"), 'name | " a\\n\\u001b[1m" | command line');
  assertStringIncludes(text, `${format}  command line\n`);
  const columns = text.trimEnd().split("\n")
    .filter((line) => line.endsWith("  default"))
    .map((line) => line.lastIndexOf("default"));
  assertEquals(new Set(columns).size, 1);
  assert(Math.max(...columns) < format.length, "no value pushes the others");
});

test("configReport() tells the application of either place", () => {
  const file = read({ app: "file.ts:app" });
  assertEquals(
    lineOf(report({}, {}, file), "app"),
    `app | file.ts:app | ${path}`,
  );
  assertEquals(
    lineOf(report({}, {}, file, "a.ts"), "app"),
    "app | a.ts | command line",
  );
  assertEquals(
    lineOf(report({}, {}, file), "config"),
    `config | ${path} | found in the working directory`,
  );
});

test("--check-config says so in a line", () => {
  assertEquals(configIsRight, "Configuration is right\n");
});
