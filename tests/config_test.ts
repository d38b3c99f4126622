import {
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import { CommandError } from "../src/command_error.ts";
import { findConfigFile, loadConfig, readConfig } from "../src/config.ts";
import { defaultLimits } from "../src/limits.ts";
import type { Host } from "../src/host.ts";
import type { FileSettings } from "../src/settings.ts";

function fileWith(values: FileSettings["values"]): FileSettings {
  return { path: "headgate.config.ts", app: "file.ts:app", values };
}

test("the defaults", () => {
  assertEquals(readConfig(undefined, {}, {}), {
    app: undefined,
    type: "auto",
    response: "own",
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
    response: "light",
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
    "limit-connections": "500",
    "limit-request-line": "100",
    "limit-request-field-size": "40000",
    "limit-request-fields": "7",
    "limit-request-body": "10M",
  }, {});
  assertEquals(config, {
    app: "app.ts:app",
    type: "wsgi",
    response: "light",
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
      connections: 500,
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

test("the application of the command line goes before the file's", () => {
  const file = fileWith({});
  assertEquals(readConfig("a.ts", {}, {}, file).app, "a.ts");
  assertEquals(readConfig(undefined, {}, {}, file).app, "file.ts:app");
});

test("HEADGATE_* sets options that take a value", () => {
  const config = readConfig(undefined, {}, {
    HEADGATE_LOG_LEVEL: "warn",
    HEADGATE_LIMIT_REQUEST_BODY: "64k",
  });
  assertEquals(config.logLevel, "warning");
  assertEquals(config.limits.content, 65_536);
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
