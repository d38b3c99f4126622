import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { test } from "node:test";
import { CommandError } from "../src/command_error.ts";
import { readConfig } from "../src/config.ts";

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
  for (const name of ["FORWARDED_ALLOW_IPS", "HEADGATE_FORWARDED_ALLOW_IPS"]) {
    assertEquals(readConfig(undefined, {}, { [name]: "" }).forwarded.allow, []);
  }
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
