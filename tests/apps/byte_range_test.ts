/** Range, by the clauses of RFC 9110 §14. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { readRange } from "../../src/apps/byte_range.ts";

const part = (start: number, length: number) => ({ start, length });

const cases: [string | undefined, ReturnType<typeof readRange>][] = [
  ["bytes=0-0", part(0, 1)],
  ["bytes=0-9", part(0, 10)],
  ["bytes=2-4", part(2, 3)],
  ["bytes=2-99", part(2, 8)],
  ["bytes=2-99999999999999999999999999", part(2, 8)],
  ["bytes=9-", part(9, 1)],
  ["bytes=-1", part(9, 1)],
  ["bytes=-10", part(0, 10)],
  ["bytes=-99", part(0, 10)],
  ["BYTES=2-4", part(2, 3)],
  ["bytes= 2-4 ", part(2, 3)],
  ["bytes=10-", "unsatisfiable"],
  ["bytes=99999999999999999999999999-", "unsatisfiable"],
  ["bytes=10-12", "unsatisfiable"],
  ["bytes=-0", "unsatisfiable"],
  [undefined, "whole"],
  ["", "whole"],
  ["bytes", "whole"],
  ["bytes=", "whole"],
  ["bytes=-", "whole"],
  ["bytes=4-2", "whole"],
  ["bytes=12-10", "whole"],
  ["bytes=a-b", "whole"],
  ["bytes=+1-2", "whole"],
  ["bytes=1.5-2", "whole"],
  ["bytes=0x1-2", "whole"],
  ["bytes=1-2,4-5", "whole"],
  ["lines=1-2", "whole"],
];

for (const [value, expected] of cases) {
  test(`readRange() of 10 bytes: ${value}`, () => {
    assertEquals(readRange(value, 10), expected);
  });
}

test("readRange() has no part of nothing", () => {
  for (const value of ["bytes=0-", "bytes=-1", "bytes=0-0"]) {
    assertEquals(readRange(value, 0), "whole");
  }
});
