/** Who is slow, and who stands still. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import type { Content } from "../src/body.ts";
import { StallWatch } from "../src/stall.ts";
import type { Wire } from "../src/wire.ts";
import { only } from "./support/only.ts";

test("StallWatch.inSending() counts from when a write was first seen", () => {
  const watch = new StallWatch();
  const seen = { writes: 1 };
  const wire = only<Wire>(seen);
  assertEquals(watch.inSending(wire, 5, 100), false);
  assertEquals(watch.inSending(wire, 5, 104.9), false);
  assertEquals(watch.inSending(wire, 5, 105), true);
  seen.writes++;
  assertEquals(watch.inSending(wire, 5, 106), false);
  assertEquals(watch.inSending(wire, 5, 110.9), false);
  assertEquals(watch.inSending(wire, 5, 111), true);
});

test("StallWatch.inReceiving() counts from when a read was first seen", () => {
  const watch = new StallWatch();
  const seen = { waits: 1 };
  const content = only<Content>(seen);
  assertEquals(watch.inReceiving(content, 5, 100), false);
  assertEquals(watch.inReceiving(content, 5, 105), true);
  seen.waits++;
  assertEquals(watch.inReceiving(content, 5, 106), false);
  assertEquals(watch.inReceiving(content, 5, 111), true);
});

test("StallWatch.inReceiving() knows the content of the next request", () => {
  const watch = new StallWatch();
  const content = () => only<Content>({ waits: 1 });
  assertEquals(watch.inReceiving(content(), 5, 100), false);
  assertEquals(watch.inReceiving(content(), 5, 105), false);
});

test("StallWatch keeps sending and receiving apart", () => {
  const watch = new StallWatch();
  const wire = only<Wire>({ writes: 1 });
  const content = only<Content>({ waits: 1 });
  assertEquals(watch.inSending(wire, 5, 100), false);
  assertEquals(watch.inReceiving(content, 5, 103), false);
  assertEquals(watch.inSending(wire, 5, 105), true);
  assertEquals(watch.inReceiving(content, 5, 105), false);
});
