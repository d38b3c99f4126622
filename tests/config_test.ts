import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { CommandError } from "../src/command_error.ts";
import { readConfig } from "../src/config.ts";
import { defaultLimits } from "../src/limits.ts";
import {
  helpPage,
  nearest,
  optionTable,
  variableName,
} from "../src/options.ts";
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

test("the defaults", () => {
  assertEquals(readConfig(undefined, {}, {}), {
    app: undefined,
    type: "auto",
    chdir: undefined,
    env: {},
    bind: ["127.0.0.1:8000"],
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
    graceSeconds: 30,
    limits: { ...defaultLimits },
  });
});

test("every flag reaches the configuration", () => {
  const config = readConfig("app.ts:app", {
    type: "wsgi",
    chdir: "site",
    env: ["A=1", "B=", "A=x=2 3"],
    bind: ["127.0.0.1:1", "unix:a.sock"],
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
    bind: ["127.0.0.1:1", "unix:a.sock"],
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

test("HEADGATE_* sets any option that takes a value", () => {
  assertEquals(variableName("log-level"), "HEADGATE_LOG_LEVEL");
  const config = readConfig(undefined, {}, {
    HEADGATE_LOG_LEVEL: "warn",
    HEADGATE_LIMIT_REQUEST_BODY: "64k",
  });
  assertEquals(config.logLevel, "warning");
  assertEquals(config.limits.content, 65_536);
});

const refusals: [Record<string, string>, string, string][] = [
  [{ "log-level": "inof" }, '--log-level: "inof"', "Did you mean info?"],
  [{ type: "fetch" }, '--type: "fetch"', "auto"],
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
  const error = refusal({}, { HEADGATE_KEEP_ALIVE: "x" });
  assertStringIncludes(error.message, "HEADGATE_KEEP_ALIVE");
  assertStringIncludes(error.remedy, "HEADGATE_KEEP_ALIVE=75");
});

test("nearest() finds what was probably meant", () => {
  const names = optionTable.map(({ name }) => name);
  assertEquals(nearest("bnid", names), "bind");
  assertEquals(nearest("loglevel", names), "log-level");
  assertEquals(nearest("acess-log", names), "access-log");
  assertEquals(nearest("graceful", names), "graceful-timeout");
  assertEquals(nearest("keepalive", names), "keep-alive");
  assertEquals(nearest("qqqqqqqq", names), undefined);
});

test("the help page fits 80 columns, examples first", () => {
  const page = helpPage();
  for (const line of page.split("\n")) {
    assert(line.length <= 80, `${line.length}: ${line}`);
    assertEquals(line, line.trimEnd());
  }
  assert(page.indexOf("Examples:") < page.indexOf("Application:"));
});

test("the help page shows every option and its default", () => {
  const page = helpPage();
  for (const { name, fallback } of optionTable) {
    assertStringIncludes(page, `--${name}`);
    if (fallback !== undefined) assertStringIncludes(page, `[${fallback}]`);
  }
});

test("the version is the same wherever it is written", () => {
  for (const file of ["deno.json", "package.json"]) {
    assertEquals(JSON.parse(readFileSync(file, "utf8")).version, version, file);
  }
});
