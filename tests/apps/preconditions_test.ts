/** Validators and conditions, by the clauses of RFC 9110. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import {
  dateOf,
  judge,
  mayTakeRange,
  type Validators,
  validatorsOf,
} from "../../src/apps/preconditions.ts";
import { fakeHead } from "../support/fake_exchange.ts";

const at = Date.UTC(1994, 10, 6, 8, 49, 37);

test("dateOf() reads the three forms of RFC 9110 §5.6.7", () => {
  assertEquals(dateOf("Sun, 06 Nov 1994 08:49:37 GMT"), at);
  assertEquals(dateOf("Sunday, 06-Nov-94 08:49:37 GMT"), at);
  assertEquals(dateOf("Sun Nov  6 08:49:37 1994"), at);
  const soon = Date.UTC(2030, 0, 1);
  assertEquals(dateOf("Tuesday, 01-Jan-30 00:00:00 GMT"), soon);
});

for (
  const value of [
    undefined,
    "",
    "0",
    "yesterday",
    "1994-11-06T08:49:37Z",
    "Sun, 06 Nov 1994 08:49:37 CET",
    "Sun, 06 ovD 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 24:49:37 GMT",
    "Sun, 06 Nov 1994 08:60:37 GMT",
    "Sun, 06 Nov 1994 08:49:61 GMT",
  ]
) {
  test(`dateOf() overlooks ${value}`, () => {
    assertEquals(dateOf(value), undefined);
  });
}

test("validatorsOf() tells states and forms apart, and is weak for a while", () => {
  const file = { size: 255, modifiedMs: at + 500.5 };
  const tag = (file: { size: number; modifiedMs: number }, coding = "") =>
    validatorsOf(file, coding, at + 60_000).etag;
  const { etag, modifiedMs, settled } = validatorsOf(file, "", at + 2501);
  assertEquals(etag, `"ff-${(at * 1000 + 500_500).toString(16)}"`);
  assertEquals([modifiedMs, settled], [at, true]);
  const others = [
    tag({ ...file, size: 256 }),
    tag({ ...file, modifiedMs: file.modifiedMs + 0.25 }),
    tag(file, "gzip"),
    tag(file, "br"),
    etag,
  ];
  assertEquals(new Set(others).size, others.length);
  const recent = validatorsOf(file, "", at + 2500);
  assertEquals(recent, { etag: `W/${etag}`, modifiedMs: at, settled: false });
});

test("validatorsOf() dates nothing in the future (RFC 9110 §8.8.2.1)", () => {
  const file = { size: 1, modifiedMs: at + 90_000 };
  const { modifiedMs, settled } = validatorsOf(file, "", at + 500);
  assertEquals([modifiedMs, settled], [at, false]);
});

const strong: Validators = { etag: '"a"', modifiedMs: at, settled: true };
const weak: Validators = { etag: 'W/"a"', modifiedMs: at, settled: false };

const same = "Sun, 06 Nov 1994 08:49:37 GMT";
const before = "Sun, 06 Nov 1994 08:49:36 GMT";

const verdicts: [Validators, [string, string][], string][] = [
  [strong, [], "proceed"],
  [strong, [["If-Match", '"b", "a"']], "proceed"],
  [strong, [["If-Match", '"b"'], ["If-Match", '"a"']], "proceed"],
  [strong, [["If-Match", 'W/"a"']], "failed"],
  [weak, [["If-Match", 'W/"a"']], "failed"],
  [weak, [["If-Match", "*"]], "proceed"],
  [strong, [["If-Match", "a"]], "failed"],
  [strong, [["If-None-Match", '"b", W/"a"']], "not modified"],
  [weak, [["If-None-Match", '"a"']], "not modified"],
  [strong, [["If-None-Match", "*"]], "not modified"],
  [strong, [["If-None-Match", '"b"']], "proceed"],
  [strong, [["If-None-Match", '"b,"a"']], "proceed"],
  [strong, [["If-Unmodified-Since", same]], "proceed"],
  [strong, [["If-Unmodified-Since", before]], "failed"],
  [strong, [["If-Unmodified-Since", "never"]], "proceed"],
  [strong, [["If-Modified-Since", same]], "not modified"],
  [strong, [["If-Modified-Since", before]], "proceed"],
  [strong, [["If-Modified-Since", "never"]], "proceed"],
  // The tag counts where both are there, and what fails goes before all.
  [strong, [["If-Match", '"a"'], ["If-Unmodified-Since", before]], "proceed"],
  [strong, [["If-None-Match", '"b"'], ["If-Modified-Since", same]], "proceed"],
  [strong, [["If-None-Match", '"a"'], ["If-Match", '"b"']], "failed"],
  [
    strong,
    [["If-None-Match", '"a"'], ["If-Unmodified-Since", before]],
    "failed",
  ],
];

for (const [validators, fields, verdict] of verdicts) {
  const lines = fields.map((line) => line.join(": ")).join("; ");
  test(`judge(): ${validators.etag}, ${lines || "no condition"}`, () => {
    assertEquals(judge(fakeHead({ fields }).fields, validators), verdict);
  });
}

const ranges: [Validators, string | undefined, boolean][] = [
  [strong, undefined, true],
  [strong, '"a"', true],
  [strong, '"b"', false],
  [strong, 'W/"a"', false],
  [weak, 'W/"a"', false],
  [weak, '"a"', false],
  [strong, same, true],
  [strong, before, false],
  [strong, "Sun, 06 Nov 1994 08:49:38 GMT", false],
  [weak, same, false],
  [strong, "never", false],
];

for (const [validators, condition, allowed] of ranges) {
  test(`mayTakeRange(): ${validators.etag}, If-Range ${condition}`, () => {
    const fields: [string, string][] = condition === undefined
      ? []
      : [["If-Range", condition]];
    assertEquals(mayTakeRange(fakeHead({ fields }), validators), allowed);
    const head = fakeHead({ method: "HEAD", fields });
    assertEquals(mayTakeRange(head, validators), false);
  });
}
