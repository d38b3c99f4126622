import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { nearest } from "../src/nearest.ts";
import { optionTable } from "../src/options.ts";

test("nearest() finds what was probably meant", () => {
  const names = optionTable.map(({ name }) => name);
  assertEquals(nearest("bnid", names), "bind");
  assertEquals(nearest("loglevel", names), "log-level");
  assertEquals(nearest("acess-log", names), "access-log");
  assertEquals(nearest("graceful", names), "graceful-timeout");
  assertEquals(nearest("keepalive", names), "keep-alive");
  assertEquals(nearest("qqqqqqqq", names), undefined);
});
