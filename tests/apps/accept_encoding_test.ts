/** Accept-Encoding, by RFC 9110 §12.5.3. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { acceptedCodings } from "../../src/apps/accept_encoding.ts";

const cases: [string | undefined, string][] = [
  [undefined, ""],
  ["", ""],
  ["gzip, deflate, br, zstd", "br zstd gzip"],
  ["gzip", "gzip"],
  ["GZIP", "gzip"],
  ["*", "br zstd gzip"],
  ["*;q=0", ""],
  ["gzip, *;q=0", "gzip"],
  ["br;q=0, *", "zstd gzip"],
  ["br;q=0.1, zstd;q=0.2, gzip;q=0.3", "gzip zstd br"],
  ["br ; q=0.5 , gzip", "gzip br"],
  ["gzip;Q=0.000", ""],
  ["gzip;q=0.5, identity", ""],
  ["gzip;q=0.5, identity;q=0.5", "gzip"],
  ["identity;q=0, gzip;q=0.1", "gzip"],
  ["gzip;q=2", ""],
  ["gzip;q=", ""],
  ["gzip;level=9", ""],
  [",, gzip,", "gzip"],
];

for (const [value, expected] of cases) {
  test(`acceptedCodings(): ${value}`, () => {
    const codings = acceptedCodings(value, ["br", "zstd", "gzip"]);
    assertEquals(codings.join(" "), expected);
  });
}
