import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { later, ordinaryTimers, repeatedly, useTimers } from "../src/later.ts";
import { denoLater } from "../adapters/deno_later.ts";

/** Elsewhere such a signal keeps no process alive. */
const named = "Deno" in globalThis
  ? { ordinaryTimers, denoLater }
  : { ordinaryTimers };

for (const [name, timers] of Object.entries(named)) {
  test(`${name} calls back in the order of time`, async () => {
    const called: string[] = [];
    await new Promise<void>((resolve) => {
      timers(80, () => {
        called.push("last");
        resolve();
      });
      timers(40, () => called.push("called off"))();
      timers(0.5, () => called.push("first"));
    });
    assertEquals(called, ["first", "last"]);
  });
}

test("repeatedly() calls until it is called off, even by whom it calls", async () => {
  let calls = 0;
  await new Promise<void>((resolve) => {
    const callOff = repeatedly(1, () => {
      calls++;
      if (calls < 3) return;
      callOff();
      later(20, resolve);
    });
  });
  assertEquals(calls, 3);
});

test("later() uses the timers that it was given", () => {
  const asked: number[] = [];
  useTimers((milliseconds, run) => {
    asked.push(milliseconds);
    run();
    return () => {};
  });
  try {
    later(7, () => asked.push(0));
  } finally {
    useTimers(ordinaryTimers);
  }
  assertEquals(asked, [7, 0]);
});
