import { assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import { readConfig } from "../src/config.ts";
import type { Host } from "../src/host.ts";
import { explainListen } from "../src/listen_errors.ts";

const host = { portHolder: () => undefined } as unknown as Host;

function explain(error: Error, bind: string) {
  return explainListen(error, readConfig(undefined, { bind }, {}), host);
}

test("explainListen() passes on which permission Deno wants", () => {
  const error = new Error("Requires net access, run with --allow-net");
  error.name = "NotCapable";
  const told = explain(error, ":8000");
  assertEquals(told?.exitCode, 1);
  assertStringIncludes(told?.message ?? "", "0.0.0.0:8000");
  assertEquals(told?.detail, error.message);
});

test("explainListen() leaves alone what has no remedy", () => {
  assertEquals(explain(new Error("of another kind"), ":8000"), undefined);
});

test("explainListen() knows a port that the application holds itself", () => {
  const holder = { pid: 7, name: "node" };
  const taken = Object.assign(new Error(), { code: "EADDRINUSE" });
  const config = readConfig(undefined, { bind: ":8000" }, {});
  const told = [7, 8].map((pid) =>
    explainListen(
      taken,
      config,
      { pid, portHolder: () => holder } as unknown as Host,
    )?.message ?? ""
  );
  assertStringIncludes(told[0]!, "by the application itself");
  assertEquals(told[1], "Port 8000 is in use by node (pid 7)");
});
