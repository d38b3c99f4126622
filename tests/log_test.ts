import { getLogger } from "@std/log";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { test } from "node:test";
import { createLogger, type LogLevel } from "../src/log.ts";

const format =
  /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[(DEBUG|INFO|WARNING|ERROR|CRITICAL)\] /;

function gather(level: LogLevel, colours = false) {
  const records: string[] = [];
  const sink = (record: string) => void records.push(record);
  return { log: createLogger({ level, sink, colours }), records };
}

test("createLogger() writes time, level and message", () => {
  const before = new Date();
  const { log, records } = gather("debug");
  log.debug("d");
  log.info("i");
  log.warn("w");
  log.error("e");
  log.critical("c");
  for (const record of records) assertMatch(record, format);
  assertEquals(records.map((record) => record.slice(24)), [
    "[DEBUG] d",
    "[INFO] i",
    "[WARNING] w",
    "[ERROR] e",
    "[CRITICAL] c",
  ]);
  // Local time, as the exercise has it.
  const time = new Date((records[0] ?? "").slice(0, 23).replace(",", "."));
  assert(Math.abs(time.getTime() - before.getTime()) < 60_000);
});

test("createLogger() drops what is below its level", () => {
  const { log, records } = gather("warning");
  log.debug("d");
  log.info("i");
  log.warn("w");
  log.error("e");
  assertEquals(records.length, 2);
});

test("a stack is one record whose further lines cannot pass for records", () => {
  const { log, records } = gather("info");
  log.error("Error: x\n    at f\n2026-11-22 05:24:31,402 [INFO] forged");
  assertEquals(records.length, 1);
  const lines = (records[0] ?? "").split("\n");
  assertEquals(lines.length, 3);
  assertEquals(lines[1], "    at f");
  assertEquals(lines[2], "  2026-11-22 05:24:31,402 [INFO] forged");
});

test("control characters do not reach the terminal", () => {
  const { log, records } = gather("info");
  log.error("a\x1b[2Jb\rc\u0085d\u2028e\tf é");
  assert(
    records[0]?.endsWith(
      "a\\x1b[2Jb\\x0dc\\x85d\\u{2028}e\tf é",
    ),
  );
});

test("colours are on the level's name alone", () => {
  const { log, records } = gather("debug", true);
  log.warn("w");
  assert(records[0]?.endsWith("[\x1b[33mWARNING\x1b[0m] w"));
});

test("createLogger() leaves the application's own @std/log alone", () => {
  const before = getLogger();
  gather("debug").log.info("i");
  assertEquals(getLogger() === before, true);
});
