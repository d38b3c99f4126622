import {
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { CommandError } from "../src/command_error.ts";
import {
  type FileSettings,
  findConfigFile,
  loadConfig,
  loadHooks,
  readConfig,
  Settings,
} from "../src/config.ts";
import { defaultLimits } from "../src/limits.ts";
import type { Host } from "../src/host.ts";
import { variableName } from "../src/options.ts";
import { version } from "../src/version.ts";

function refusal(
  flags: Record<string, string | string[]>,
  env: Record<string, string> = {},
): CommandError {
  const error = assertThrows(
    () => readConfig(undefined, flags, env),
    CommandError,
  );
  assertEquals(error.exitCode, 2);
  return error;
}

function fileWith(values: FileSettings["values"]): FileSettings {
  return { path: "headgate.config.ts", app: "file.ts:app", values };
}

test("the defaults", () => {
  assertEquals(readConfig(undefined, {}, {}), {
    app: undefined,
    type: "auto",
    chdir: undefined,
    env: {},
    statics: [],
    python: undefined,
    pythonPath: [],
    pythonWorkers: 1,
    threads: 4,
    connections: 32,
    keepConnections: false,
    root: undefined,
    index: "index.php",
    cgi: [],
    spool: "chunked",
    sendFileRoots: [],
    bind: ["127.0.0.1:8000"],
    forwarded: {
      allow: ["127.0.0.1", "::1"],
      fields: ["x-forwarded-for", "x-forwarded-proto"],
    },
    backlog: 2048,
    workers: 1,
    pidfile: undefined,
    maxRequests: Infinity,
    maxRequestsJitter: 0,
    maxRssBytes: Infinity,
    user: undefined,
    group: undefined,
    umask: undefined,
    name: undefined,
    logLevel: "info",
    logFile: "-",
    accessLog: "-",
    accessLogFormat: "combined",
    timeoutSeconds: 30,
    bootSeconds: 60,
    backendSeconds: 30,
    queueSeconds: 30,
    graceSeconds: 30,
    limits: { ...defaultLimits },
    leftToModule: ["bind", "limit-request-body", "keep-alive"],
  });
});

test("every flag reaches the configuration", () => {
  const config = readConfig("app.ts:app", {
    type: "wsgi",
    chdir: "site",
    env: ["A=1", "B=", "A=x=2 3"],
    static: ["/assets/=public", "/=a=b"],
    python: "bin/python",
    pythonpath: ["lib", "more"],
    "python-workers": "2",
    threads: "8",
    connections: "5",
    "keep-connections": "on",
    root: "www",
    index: "main.php",
    "cgi-dir": ["site/cgi-bin/", "/tools=bin"],
    spool: "ALL",
    "sendfile-root": ["files"],
    bind: ["127.0.0.1:1", "unix:a.sock"],
    "forwarded-allow-ips": ["10.0.0.0/8, ::1", "192.0.2.1"],
    "forwarded-fields": "Forwarded",
    backlog: "7",
    workers: "AUTO",
    pidfile: "a.pid",
    "max-requests": "1000",
    "max-requests-jitter": "50",
    "max-rss": "300M",
    user: "www",
    group: "33",
    umask: "027",
    name: "shop",
    "log-level": "DEBUG",
    "log-file": "a.log",
    "access-log": "off",
    "access-log-format": "json",
    timeout: "0",
    "boot-timeout": "unlimited",
    "backend-timeout": "unlimited",
    "queue-timeout": "1.5",
    "graceful-timeout": "0",
    "head-timeout": "1.5",
    "body-timeout": "unlimited",
    "keep-alive": "2",
    "limit-request-line": "100",
    "limit-request-field-size": "40000",
    "limit-request-fields": "7",
    "limit-request-body": "10M",
  }, {});
  assertEquals(config, {
    app: "app.ts:app",
    type: "wsgi",
    chdir: "site",
    env: { A: "x=2 3", B: "" },
    statics: [
      { prefix: "/assets", directory: "public" },
      { prefix: "/", directory: "a=b" },
    ],
    python: "bin/python",
    pythonPath: ["lib", "more"],
    pythonWorkers: 2,
    threads: 8,
    connections: 5,
    keepConnections: true,
    root: "www",
    index: "main.php",
    cgi: [
      { prefix: "/cgi-bin", directory: "site/cgi-bin/" },
      { prefix: "/tools", directory: "bin" },
    ],
    spool: "all",
    sendFileRoots: ["files"],
    bind: ["127.0.0.1:1", "unix:a.sock"],
    forwarded: {
      allow: ["10.0.0.0/8", "::1", "192.0.2.1"],
      fields: ["forwarded"],
    },
    backlog: 7,
    workers: "auto",
    pidfile: "a.pid",
    maxRequests: 1000,
    maxRequestsJitter: 50,
    maxRssBytes: 300 * 1024 ** 2,
    user: "www",
    group: "33",
    umask: 0o27,
    name: "shop",
    logLevel: "debug",
    logFile: "a.log",
    accessLog: "off",
    accessLogFormat: "json",
    timeoutSeconds: Infinity,
    bootSeconds: Infinity,
    backendSeconds: Infinity,
    queueSeconds: 1.5,
    graceSeconds: 0,
    limits: {
      ...defaultLimits,
      requestLine: 100,
      fieldLine: 40_000,
      fieldSection: 40_000,
      fieldCount: 7,
      content: 10 * 1024 ** 2,
      headSeconds: 1.5,
      bodySeconds: Infinity,
      idleSeconds: 2,
    },
    leftToModule: [],
  });
});

test("the command line goes before HEADGATE_*, that before PORT", () => {
  const bind = (flags: Record<string, string>, env: Record<string, string>) =>
    readConfig(undefined, flags, env).bind;
  const env = { PORT: "5000", HEADGATE_BIND: "127.0.0.1:1 unix:a.sock" };
  assertEquals(bind({ bind: ":2" }, env), [":2"]);
  assertEquals(bind({}, env), ["127.0.0.1:1", "unix:a.sock"]);
  assertEquals(bind({}, { PORT: "5000" }), ["0.0.0.0:5000"]);
  assertEquals(bind({}, { PORT: "" }), ["127.0.0.1:8000"]);
});

test("HEADGATE_WORKERS goes before WEB_CONCURRENCY, that before the file", () => {
  const file = fileWith({ workers: ["5"], bind: [":5"] });
  const workers = (env: Record<string, string>) =>
    readConfig(undefined, {}, env, file).workers;
  const env = { WEB_CONCURRENCY: "3", HEADGATE_WORKERS: "2" };
  assertEquals(readConfig(undefined, { workers: "1" }, env, file).workers, 1);
  assertEquals(workers(env), 2);
  assertEquals(workers({ WEB_CONCURRENCY: "3" }), 3);
  assertEquals(workers({ WEB_CONCURRENCY: "" }), 5);
  assertEquals(readConfig(undefined, {}, { PORT: "1" }, file).bind, [
    "0.0.0.0:1",
  ]);
  assertEquals(readConfig(undefined, {}, {}, file).bind, [":5"]);
});

test("the application of the command line goes before the file's", () => {
  const file = fileWith({});
  assertEquals(readConfig("a.ts", {}, {}, file).app, "a.ts");
  assertEquals(readConfig(undefined, {}, {}, file).app, "file.ts:app");
});

test("--env adds to the variables of the file, and HEADGATE_ENV is none", () => {
  const file = fileWith({ env: ["A=file", "B=file"] });
  const env = { HEADGATE_ENV: "A=environment" };
  assertEquals(readConfig(undefined, { env: ["A=flag"] }, env, file).env, {
    A: "flag",
    B: "file",
  });
});

test("what no variable sets has none", () => {
  const settings = new Settings({}, { HEADGATE_JSON: "yes" });
  assertEquals(settings.one("json").text, "");
});

test("what may be without bound says so in one way", () => {
  const config = readConfig(undefined, {
    "max-requests": "0",
    "max-rss": "unlimited",
    timeout: "unlimited",
    "boot-timeout": "unlimited",
  }, {});
  assertEquals(config.maxRequests, Infinity);
  assertEquals(config.maxRssBytes, Infinity);
  assertEquals(config.timeoutSeconds, Infinity);
  assertEquals(config.bootSeconds, Infinity);
});

test("HEADGATE_* sets options that take a value", () => {
  assertEquals(variableName("log-level"), "HEADGATE_LOG_LEVEL");
  const config = readConfig(undefined, {}, {
    HEADGATE_LOG_LEVEL: "warn",
    HEADGATE_LIMIT_REQUEST_BODY: "64k",
  });
  assertEquals(config.logLevel, "warning");
  assertEquals(config.limits.content, 65_536);
});

const refusals: [Record<string, string | string[]>, string, string][] = [
  [{ "log-level": "inof" }, '--log-level: "inof"', "Did you mean info?"],
  [{ type: "python" }, '--type: "python"', "auto"],
  [{ bind: "nowhere" }, '--bind: Cannot listen on "nowhere"', "nowhere:8000"],
  [{ bind: "" }, "--bind needs a value", "--bind 127.0.0.1:8000"],
  [{ "keep-alive": "soon" }, '--keep-alive: "soon"', "unlimited"],
  [{ "head-timeout": "0" }, '--head-timeout: "0"', "--head-timeout 10"],
  [{ "graceful-timeout": "-1" }, '--graceful-timeout: "-1"', "30"],
  [{ "limit-request-line": "0" }, '--limit-request-line: "0"', "8190"],
  [{ "limit-request-fields": "x" }, "whole", "--limit-request-fields 100"],
  [{ "limit-request-line": "1e3" }, "whole number", "8190"],
  [{ "limit-request-body": "10T" }, '"10T" is not a size', "10M"],
  [{ "access-log-format": "%(z)s" }, "--access-log-format: No", "Atoms are"],
  [{ "access-log-format": "combned" }, "not one of", "Did you mean combined?"],
  [{ "access-log-format": "JSON" }, "not one of", "Did you mean json?"],
  [{ "access-log-format": "status only" }, "not one of", "atoms"],
  [
    { workers: "0" },
    '--workers: "0" is not a whole',
    "1, for example, or auto",
  ],
  [{ workers: "many" }, '--workers: "many" is not a whole', "or auto"],
  [{ workers: "1001" }, "1001 workers are more than 1000", "auto"],
  [{ backlog: "0" }, '--backlog: "0"', "--backlog 2048"],
  [{ "max-requests": "-1" }, "is not a whole number", "--max-requests 0"],
  [{ "max-rss": "300" }, "less memory than a worker needs", "300M"],
  [{ "max-rss": "much" }, '"much" is not a size', "10M"],
  [{ umask: "8" }, '--umask: "8" is not an octal', "--umask 027"],
  [{ umask: "1000" }, "up to 777", "--umask 027"],
  [{ env: "A" }, '--env: "A" is not a variable', "--env KEY=VALUE"],
  [{ static: "/a" }, '--static: "/a" is not a prefix with', "/assets=public"],
  [{ static: "/a=" }, '--static: "/a=" is not a prefix with', "Write --static"],
  [{ static: "a=b" }, 'the prefix "a" does not start with /', "Write --static"],
  [{ static: "//a=b" }, "--static: //a cannot begin the path", "Write"],
  [{ static: "/ä=b" }, "--static: /ä cannot begin the path", "Write"],
  [{ "cgi-dir": "." }, "the name of . cannot begin", "--cgi-dir /cgi-bin=."],
  [{ "cgi-dir": "a b" }, "the name of a b cannot begin", "/cgi-bin=a b"],
  [{ "cgi-dir": ["a", "b/a"] }, "/a is served from two", "of its own"],
  [{ index: "../a.php" }, "is not the name of a file", "index.php"],
  [{ index: ".env" }, "is not the name of a file", "index.php"],
  [{ threads: "1001" }, "1001 is more than 1000", "--threads 4"],
  [{ threads: "0" }, "is not a whole number above 0", "--threads 4"],
  [{ spool: "none" }, "not one of off, chunked, all", "Write off"],
  [{ static: ["/a=b", "/a/=c"] }, "/a is served from two", "of its own"],
  [{ env: ["A=1", "=2"] }, '--env: "=2"', "before the = sign"],
  [{ env: "A B=1" }, '--env: "A B=1"', "KEY=VALUE"],
  [{ timeout: "-1" }, '--timeout: "-1"', "30"],
  [{ "boot-timeout": "0" }, '--boot-timeout: "0"', "or unlimited"],
  [{ bind: "fd://1" }, "1 is not an inherited descriptor", "fd://3"],
  [{ bind: ":1,:2" }, "more than one address", "--bind once for each"],
];

for (const [flags, what, how] of refusals) {
  test(`refused: ${JSON.stringify(flags)}`, () => {
    const error = refusal(flags);
    assertStringIncludes(error.message, what);
    assertStringIncludes(error.remedy, how);
  });
}

test("a refusal names the environment variable at fault", () => {
  assertStringIncludes(
    refusal({}, { PORT: "http" }).message,
    "PORT in the environment",
  );
  assertStringIncludes(
    refusal({}, { WEB_CONCURRENCY: "x" }).message,
    "WEB_CONCURRENCY in the environment",
  );
  const error = refusal({}, { HEADGATE_KEEP_ALIVE: "x" });
  assertStringIncludes(error.message, "HEADGATE_KEEP_ALIVE");
  assertStringIncludes(error.remedy, "HEADGATE_KEEP_ALIVE=75");
});

test("a refusal names the file and the key at fault", () => {
  const refused = (values: FileSettings["values"]) =>
    assertThrows(
      () => readConfig(undefined, {}, {}, fileWith(values)),
      CommandError,
    );
  const level = refused({ "log-level": ["inof"] });
  assertStringIncludes(level.message, 'headgate.config.ts: logLevel: "inof"');
  const count = refused({ "limit-request-fields": ["x"] });
  assertStringIncludes(count.remedy, "Write limitRequestFields: 100,");
  const empty = refused({ "log-file": [""] });
  assertStringIncludes(empty.message, "headgate.config.ts: logFile needs a");
  assertStringIncludes(empty.remedy, 'logFile: "-"');
});

/** A working directory with files that import as given. */
function hostWith(
  files: Readonly<Record<string, unknown>>,
  env: Record<string, string> = {},
): Host {
  return {
    env,
    cwd: () => "/site",
    status: (path) =>
      Object.hasOwn(files, path) ? { kind: "file", identity: "1" } : undefined,
    importModule: (path, reading = 0) =>
      Promise.resolve({ exports: { default: files[path], reading } }),
  } as Partial<Host> as Host;
}

test("findConfigFile() takes what is named, else what is there", () => {
  const host = hostWith({ "headgate.config.mjs": {} });
  assertEquals(findConfigFile({}, host), "headgate.config.mjs");
  assertEquals(findConfigFile({ config: "other.ts" }, host), "other.ts");
  const named = hostWith({}, { HEADGATE_CONFIG: "env.json" });
  assertEquals(findConfigFile({}, named), "env.json");
  assertEquals(findConfigFile({}, hostWith({})), undefined);
});

test("findConfigFile() refuses to choose between two", () => {
  const host = hostWith({
    "headgate.config.ts": {},
    "headgate.config.json": {},
  });
  const error = assertThrows(
    () => findConfigFile({}, host),
    CommandError,
    "headgate.config.ts, headgate.config.json",
  );
  assertEquals(error.exitCode, 2);
  assertStringIncludes(error.remedy, "--config headgate.config.ts");
});

test("loadConfig() finds the file, or is told of it, or of none", async () => {
  const host = hostWith({
    "headgate.config.mjs": { workers: 2, onExit() {} },
    "/site/other.mjs": { workers: 3 },
  });
  const load = (file?: string | null) =>
    loadConfig({ app: undefined, flags: {}, file }, host);
  const found = await load();
  assertEquals(found.config.workers, 2);
  assertEquals(found.file?.path, "headgate.config.mjs");
  assertEquals(Object.keys(found.file?.hooks ?? {}), ["onExit"]);
  assertEquals((await load("/site/other.mjs")).config.workers, 3);
  const none = await load(null);
  assertEquals([none.config.workers, none.file], [1, undefined]);
  await assertRejects(() => load("absent.mjs"), CommandError, "absent.mjs");
});

test("loadConfig() warns of variables that look mistyped", async () => {
  const { warnings } = await loadConfig(
    { app: undefined, flags: {} },
    hostWith({}, {
      HEADGATE_WORKER: "3",
      HEADGATE_LOGLEVEL: "debug",
      HEADGATE_KEEP_ALIVE: "5",
      HEADGATE_PROCESS: "{}",
      // Kubernetes gives these to the neighbours of a service of that name.
      HEADGATE_PORT: "tcp://10.0.0.1:80",
      HEADGATE_PORT_80_TCP_ADDR: "10.0.0.1",
      HEADGATE_SERVICE_HOST: "10.0.0.1",
      HEADGATE_SERVICE_PORT: "80",
      WORKERS: "3",
    }),
  );
  assertEquals(warnings, [
    "Nothing reads HEADGATE_WORKER; did you mean HEADGATE_WORKERS?",
    "Nothing reads HEADGATE_LOGLEVEL; did you mean HEADGATE_LOG_LEVEL?",
  ]);
});

test("loadHooks() finds hooks in either place", async () => {
  const file = { ...fileWith({}), hooks: {} };
  const application = { path: "app.ts", exports: { app() {} } };
  assertEquals(await loadHooks(undefined), undefined);
  assertEquals(await loadHooks(file, application), undefined);
  const ofFile = await loadHooks({ ...file, hooks: { onExit() {} } });
  assertEquals(ofFile?.has("onExit"), true);
  const ofApplication = await loadHooks(undefined, {
    path: "app.ts",
    exports: { preRequest() {} },
  });
  assertEquals(ofApplication?.has("preRequest"), true);
});

test("the version is the same wherever it is written", () => {
  for (const file of ["deno.json", "package.json"]) {
    assertEquals(JSON.parse(readFileSync(file, "utf8")).version, version, file);
  }
});

test("which proxies are believed", () => {
  const allow = (text: string) =>
    readConfig(undefined, { "forwarded-allow-ips": text }, {}).forwarded.allow;
  assertEquals(allow("off"), []);
  assertEquals(allow("*"), ["*"]);
  const { forwarded } = readConfig(undefined, {}, {
    HEADGATE_FORWARDED_ALLOW_IPS: "10.0.0.1 10.0.0.2,10.0.0.3",
    HEADGATE_FORWARDED_FIELDS: "x-forwarded-host",
  });
  assertEquals(forwarded, {
    allow: ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
    fields: ["x-forwarded-host"],
  });
  const other = { FORWARDED_ALLOW_IPS: "*" };
  assertEquals(readConfig(undefined, {}, other).forwarded.allow, ["*"]);
  const wrong: [Record<string, string>, string][] = [
    [{ "forwarded-allow-ips": "proxy" }, '"proxy" is neither an IP address'],
    [{ "forwarded-allow-ips": "10.1.2.3/8" }, "--forwarded-allow-ips"],
    [{ "forwarded-allow-ips": "off,*" }, '"off" is neither an IP address'],
    [{ "forwarded-fields": "x-real-ip" }, '"x-real-ip" is not one of'],
    [{ "forwarded-fields": "forwarded,x-forwarded-for" }, "contradict"],
  ];
  for (const [flags, message] of wrong) {
    assertStringIncludes(refusal(flags).message, message);
  }
});

test("a module has its say where nobody has given an option to us", () => {
  const left = (
    flags: Record<string, string>,
    env: Record<string, string>,
    file?: FileSettings,
  ) => readConfig(undefined, flags, env, file).leftToModule;
  assertEquals(left({}, { PORT: "5000" }), [
    "bind",
    "limit-request-body",
    "keep-alive",
  ]);
  assertEquals(left({ bind: "1" }, { HEADGATE_KEEP_ALIVE: "7" }), [
    "limit-request-body",
  ]);
  const file = fileWith({ bind: ["1"], "limit-request-body": ["1"] });
  assertEquals(left({}, { PORT: "5000" }, file), ["keep-alive"]);
});
