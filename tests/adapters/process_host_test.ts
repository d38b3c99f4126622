import { assertEquals } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import { processHost } from "../../adapters/process_host.ts";

function inUtc(zone: string | undefined): boolean | undefined {
  const before = process.env["TZ"];
  setZone(zone);
  try {
    return processHost.inUtc?.();
  } finally {
    setZone(before);
  }
}

function setZone(zone: string | undefined): void {
  if (zone === undefined) delete process.env["TZ"];
  else process.env["TZ"] = zone;
}

test("Host.inUtc() goes by TZ", () => {
  for (const zone of ["UTC", "Etc/UTC"]) assertEquals(inUtc(zone), true, zone);
  for (const zone of ["Europe/Berlin", "EST5EDT", "", "Not/A/ZoneUTC"]) {
    assertEquals(inUtc(zone), false, zone);
  }
});

test("Host.inUtc() does not claim UTC where local time is another", () => {
  const offsets = [0, 6].map((month) =>
    new Date(2026, month).getTimezoneOffset()
  );
  if (inUtc(undefined)) assertEquals(offsets, [0, 0]);
});
