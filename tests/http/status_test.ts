/** Reason phrases, and which responses have no content. */
import { test } from "node:test";
import { assertEquals, assertMatch } from "@std/assert";
import { forbidsContent, reasonPhrase } from "../../src/http/status.ts";

test("reasonPhrase() knows the registered codes (RFC 9110 §15)", () => {
  assertEquals(reasonPhrase(200), "OK");
  assertEquals(reasonPhrase(413), "Content Too Large");
  assertEquals(reasonPhrase(422), "Unprocessable Content");
  assertEquals(reasonPhrase(431), "Request Header Fields Too Large");
  assertEquals(reasonPhrase(505), "HTTP Version Not Supported");
});

test("reasonPhrase() has one for each status that the gateway answers itself", () => {
  for (const status of [400, 408, 413, 414, 417, 431, 500, 501, 505]) {
    assertMatch(reasonPhrase(status), /^[A-Z][A-Za-z ]+$/);
  }
});

test('reasonPhrase() is "" for a code that is not registered', () => {
  for (const status of [0, 299, 418, 600, 999, NaN, -1]) {
    assertEquals(reasonPhrase(status), "");
  }
});

test("forbidsContent() holds for 1xx, 204 and 304 alone (RFC 9110 §6.4.1)", () => {
  const without = [];
  for (let status = 100; status < 600; status++) {
    if (forbidsContent(status) && status >= 200) without.push(status);
    if (status < 200) assertEquals(forbidsContent(status), true);
  }
  assertEquals(without, [204, 304]);
});
