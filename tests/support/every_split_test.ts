/** A splitter that leaves out a cut leaves out a test. */
import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { cuts, everySplit } from "./every_split.ts";
import { concat, latin1, octets } from "./octets.ts";

test("everySplit() tries whole, byte by byte, and every cut", async () => {
  const ways: string[] = [];
  await everySplit(octets("abc"), (pieces, way) => {
    ways.push(`${way}: ${pieces.map(latin1).join("|")}`);
  });
  assertEquals(ways, [
    "whole: abc",
    "byte by byte: a|b|c",
    "cut at 1: a|bc",
    "cut at 2: ab|c",
  ]);
});

test("everySplit() samples long input, the inside of CRLF included", async () => {
  const bytes = octets("x".repeat(700) + "\r\n" + "y".repeat(700));
  const places = cuts(bytes);
  assert(places.length < 100);
  assert(places.includes(701) && places.includes(702));
  await everySplit(bytes, (pieces) => assertEquals(concat([...pieces]), bytes));
});

test("everySplit() says which way failed", async () => {
  await assertRejects(
    () =>
      everySplit(octets("abc"), (pieces) => {
        if (pieces[0]!.length === 2) throw new Error("broken");
      }),
    Error,
    "cut at 2: broken",
  );
});
