/** When a seat may be filled again. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { Backoff } from "../../src/daemon/backoff.ts";

test("Backoff.note() mends the first at once, the next later, none too late", () => {
  const backoff = new Backoff();
  const delays = Array.from({ length: 9 }, () => backoff.note(1, 100));
  assertEquals(delays, [0, 0.5, 1, 2, 4, 8, 16, 30, 30]);
});

test("Backoff.allows() from the end of the delay on", () => {
  const backoff = new Backoff();
  assert(backoff.allows(1, 0));
  backoff.note(1, 100);
  assert(backoff.allows(1, 100));
  backoff.note(1, 100);
  assert(!backoff.allows(1, 100.49));
  assert(backoff.allows(1, 100.5));
});

test("Backoff counts each seat by itself", () => {
  const backoff = new Backoff();
  backoff.note(1, 100);
  backoff.note(1, 100);
  assertEquals(backoff.note(2, 100), 0);
  assert(!backoff.allows(1, 100));
  assert(backoff.allows(2, 100));
});

test("Backoff.forgive() lets one seat begin anew, forgiveAll() every one", () => {
  const backoff = new Backoff();
  for (const seat of [1, 2]) {
    backoff.note(seat, 100);
    backoff.note(seat, 100);
  }
  backoff.forgive(1, 100);
  assert(backoff.allows(1, 100));
  assert(!backoff.allows(2, 100));
  assertEquals(backoff.note(1, 100), 0);
  backoff.forgiveAll();
  assert(backoff.allows(2, 100));
  assertEquals(backoff.note(2, 100), 0);
});

test("Backoff.forgive() does not forgive what failed later", () => {
  const backoff = new Backoff();
  backoff.note(1, 100);
  backoff.note(1, 110);
  backoff.forgive(1, 105);
  assertEquals(backoff.note(1, 120), 1);
  backoff.forgive(2, 105); // nothing is held against it
});
