/** The Date field of every response. */
import { test } from "node:test";
import { assert, assertMatch, assertStrictEquals } from "@std/assert";
import { dateLine } from "../../src/http/date.ts";
import { latin1 } from "../support/octets.ts";

test("dateLine() is one field line in IMF-fixdate (RFC 9110 §5.6.7)", () => {
  assertMatch(
    latin1(dateLine()),
    /^Date: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT\r\n$/,
  );
});

test("dateLine() tells the present second", () => {
  const before = Math.floor(Date.now() / 1000);
  const told = Date.parse(latin1(dateLine()).slice("Date: ".length)) / 1000;
  const after = Math.floor(Date.now() / 1000);
  assert(before <= told && told <= after, `${before} ${told} ${after}`);
});

test("dateLine() is formatted once a second, and moves on with the clock", () => {
  // The clock of this test, so that nothing has to be waited for.
  const { now } = Date;
  try {
    let time = Date.UTC(1994, 10, 6, 8, 49, 37, 1);
    Date.now = () => time;
    const first = dateLine();
    assert(latin1(first).includes("Sun, 06 Nov 1994 08:49:37 GMT"));
    time += 998;
    assertStrictEquals(dateLine(), first);
    time += 1;
    assert(latin1(dateLine()).includes("Sun, 06 Nov 1994 08:49:38 GMT"));
    time -= 60_000; // set back, as clocks are
    assert(latin1(dateLine()).includes("Sun, 06 Nov 1994 08:48:38 GMT"));
  } finally {
    Date.now = now;
  }
});
