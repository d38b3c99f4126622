/** The path of a request, as steps below a directory. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { isWithin, readFilePath } from "../../src/apps/file_path.ts";

const cases: [string, string[] | undefined, boolean?][] = [
  ["", [], false],
  ["/", [], true],
  ["/a", ["a"], false],
  ["/a/", ["a"], true],
  ["/a/b.txt", ["a", "b.txt"], false],
  ["/a%20b", ["a b"], false],
  ["/100%25", ["100%"], false],
  ["/%252e%252e", ["%2e%2e"], false],
  ["/%E2%82%AC", ["€"], false],
  ["/%EF%BB%BFa", ["\ufeffa"], false],
  ["/a..b", ["a..b"], false],
  ["/.well-known/acme", [".well-known", "acme"], false],
  ["/..", undefined],
  ["/.", undefined],
  ["/...", undefined],
  ["/%2e%2e", undefined],
  ["/a/%2E.", undefined],
  ["/.hidden", undefined],
  ["/.well-known2", undefined],
  ["//", undefined],
  ["//a", undefined],
  ["/a//b", undefined],
  ["/a%2fb", undefined],
  ["/a%2Fb", undefined],
  ["/a%5cb", undefined],
  ["/a\\b", undefined],
  ["/C:", undefined],
  ["/a%00", undefined],
  ["/a%0a", undefined],
  ["/a%7f", undefined],
  ["/a.", undefined],
  ["/a%20", undefined],
  ["/%", undefined],
  ["/%4", undefined],
  ["/%zz", undefined],
  ["/%ff", undefined],
  ["/%c0%ae%c0%ae", undefined],
  ["/%ed%a0%80", undefined],
];

for (const [path, steps, directory] of cases) {
  test(`readFilePath(): ${JSON.stringify(path)}`, () => {
    const expected = steps && { steps, directory: directory ?? false };
    assertEquals(readFilePath(path), expected);
  });
}

test("isWithin() compares whole steps, and knows both separators", () => {
  assertEquals(isWithin("/srv/a", "/srv/a"), true);
  assertEquals(isWithin("/srv/a", "/srv/a/b"), true);
  assertEquals(isWithin("/", "/etc"), true);
  assertEquals(isWithin("/srv/a", "/srv/ab"), false);
  assertEquals(isWithin("/srv/a", "/srv"), false);
  assertEquals(isWithin("/srv/a", "/srv/a\\b"), false);
  assertEquals(isWithin("C:\\a", "C:\\a\\b"), true);
  assertEquals(isWithin("C:\\", "C:\\b"), true);
  assertEquals(isWithin("C:\\a", "C:\\ab"), false);
});
