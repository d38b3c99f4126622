import { assertEquals } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { askWhetherInUtc, minutesEast, spellLocal } from "../src/local_time.ts";

const summer = Date.UTC(2026, 6, 1, 22, 30, 15, 250);
const winter = Date.UTC(2026, 0, 1, 22, 30, 15, 250);

test("spellLocal() is what the runtime takes for local time", () => {
  const zone = process.env["TZ"];
  process.env["TZ"] = "America/St_Johns";
  try {
    assertEquals(spellLocal(summer), "2026-07-01T20:00:15");
    assertEquals(minutesEast(summer), -150);
    assertEquals(spellLocal(winter), "2026-01-01T19:00:15");
    assertEquals(minutesEast(winter), -210);
  } finally {
    if (zone === undefined) delete process.env["TZ"];
    else process.env["TZ"] = zone;
  }
});

test("who knows that local time is UTC is believed, as long as he says so", () => {
  let inUtc = true;
  askWhetherInUtc(() => inUtc);
  try {
    assertEquals(spellLocal(summer), "2026-07-01T22:30:15");
    assertEquals(minutesEast(summer), 0);
    inUtc = false;
    assertEquals(
      minutesEast(summer),
      0 - new Date(summer).getTimezoneOffset(),
    );
  } finally {
    askWhetherInUtc(() => false);
  }
});
