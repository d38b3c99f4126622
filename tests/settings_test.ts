import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { test } from "node:test";
import { CommandError } from "../src/command_error.ts";
import { readConfig } from "../src/config.ts";
import { type FileSettings, Settings } from "../src/settings.ts";

function fileWith(values: FileSettings["values"]): FileSettings {
  return { path: "headgate.config.ts", app: "file.ts:app", values };
}

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

function refusal(
  env: Record<string, string>,
  values: FileSettings["values"] = {},
): CommandError {
  return assertThrows(
    () => readConfig(undefined, {}, env, fileWith(values)),
    CommandError,
  );
}

test("a refusal names the environment variable at fault", () => {
  assertStringIncludes(
    refusal({ PORT: "http" }).message,
    "PORT in the environment",
  );
  assertStringIncludes(
    refusal({ WEB_CONCURRENCY: "x" }).message,
    "WEB_CONCURRENCY in the environment",
  );
  const error = refusal({ HEADGATE_KEEP_ALIVE: "x" });
  assertStringIncludes(error.message, "HEADGATE_KEEP_ALIVE");
  assertStringIncludes(error.remedy, "HEADGATE_KEEP_ALIVE=75");
});

test("a refusal names the file and the key at fault", () => {
  const level = refusal({}, { "log-level": ["inof"] });
  assertStringIncludes(level.message, 'headgate.config.ts: logLevel: "inof"');
  const count = refusal({}, { "limit-request-fields": ["x"] });
  assertStringIncludes(count.remedy, "Write limitRequestFields: 100,");
  const empty = refusal({}, { "log-file": [""] });
  assertStringIncludes(empty.message, "headgate.config.ts: logFile needs a");
  assertStringIncludes(empty.remedy, 'logFile: "-"');
});
