import { test } from "node:test";
import { assertEquals, assertThrows } from "@std/assert";
import { parseServerAddress } from "../../src/apps/server_address.ts";
import { CommandError } from "../../src/command_error.ts";
import type { ConnectOptions } from "../../src/stream.ts";

test("parseServerAddress() reads hosts and paths", () => {
  const cases: [string, "fastcgi" | "scgi", ConnectOptions][] = [
    ["fastcgi://127.0.0.1:9000", "fastcgi", {
      hostname: "127.0.0.1",
      port: 9000,
    }],
    ["SCGI://[::1]:1/", "scgi", { hostname: "::1", port: 1 }],
    ["scgi://app.local:65535", "scgi", { hostname: "app.local", port: 65535 }],
    ["fastcgi+unix:/run/php.sock", "fastcgi", { path: "/run/php.sock" }],
    ["fastcgi+unix:///run/php.sock", "fastcgi", { path: "/run/php.sock" }],
    ["scgi+unix:a b.sock", "scgi", { path: "a b.sock" }],
  ];
  for (const [text, protocol, connect] of cases) {
    assertEquals(parseServerAddress(text), { protocol, connect }, text);
  }
});

test("parseServerAddress() leaves what is something else", () => {
  for (const text of ["", "app.ts", "fastcgi", "http://a:1", "a+unix:/b"]) {
    assertEquals(parseServerAddress(text), undefined, text);
  }
});

test("parseServerAddress() refuses what is written wrong", () => {
  for (
    const text of [
      "fastcgi:",
      "fastcgi://",
      "fastcgi://php",
      "fastcgi://php:0",
      "fastcgi://php:65536",
      "fastcgi://:9000",
      "fastcgi://::1:9000",
      "fastcgi://user@php:9000",
      "fastcgi://php:9000/path",
      "scgi+unix:",
      "scgi:app",
    ]
  ) {
    const error = assertThrows(() => parseServerAddress(text), CommandError);
    assertEquals(error.exitCode, 2);
  }
});
