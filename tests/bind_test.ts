import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { test } from "node:test";
import { formatAddress, formatBind, parseBind } from "../src/bind.ts";
import { CommandError } from "../src/command_error.ts";

const accepted: [string, ReturnType<typeof parseBind>][] = [
  ["127.0.0.1:8000", { hostname: "127.0.0.1", port: 8000 }],
  ["localhost:0", { hostname: "localhost", port: 0 }],
  ["example-1.test:65535", { hostname: "example-1.test", port: 65_535 }],
  ["[::1]:8000", { hostname: "::1", port: 8000 }],
  ["[::]:80", { hostname: "::", port: 80 }],
  ["[fe80::1%eth0]:80", { hostname: "fe80::1%eth0", port: 80 }],
  [":8000", { hostname: "0.0.0.0", port: 8000 }],
  ["8000", { hostname: "127.0.0.1", port: 8000 }],
  ["unix:/run/headgate.sock", { path: "/run/headgate.sock" }],
  ["unix:app.sock", { path: "app.sock" }],
  ["unix:a,b.sock", { path: "a,b.sock" }],
  [`unix:/${"x".repeat(106)}`, { path: `/${"x".repeat(106)}` }],
  ["fd://3", { fd: 3 }],
  ["fd://999999", { fd: 999_999 }],
  ["unix:///run/headgate.sock", { path: "/run/headgate.sock" }],
];

const refused: [string, string][] = [
  ["", "the port is missing"],
  ["localhost", "the port is missing"],
  ["localhost:", "the port is missing"],
  ["localhost:http", "http is not a port"],
  ["localhost:65536", "65536 is not a port"],
  ["localhost:-1", "-1 is not a port"],
  ["99999", "99999 is not a port"],
  ["::1:8000", "brackets"],
  ["[::1]", "the port is missing"],
  ["[localhost]:80", "brackets hold an IPv6 address"],
  ["a b:80", "neither a name"],
  ["unix:", "the path is missing"],
  [`unix:/${"x".repeat(107)}`, "the path has 108 bytes"],
  [`unix:/${"é".repeat(60)}`, "the path has 121 bytes"],
  ["127.0.0.1:1,127.0.0.1:2", "more than one address"],
  ["http://127.0.0.1:8000/", "no scheme"],
  ["fd://", "the descriptor is missing"],
  ["fd://2", "2 is not an inherited descriptor"],
  ["fd://-3", "-3 is not an inherited descriptor"],
  ["fd://3/", "3/ is not an inherited descriptor"],
  ["fd://1234567", "1234567 is not an inherited descriptor"],
];

for (const [text, options] of accepted) {
  test(`parseBind() reads ${text}`, () => {
    assertEquals(parseBind(text), options);
  });
}

for (const [text, reason] of refused) {
  test(`parseBind() refuses ${JSON.stringify(text)}`, () => {
    const error = assertThrows(() => parseBind(text), CommandError, reason);
    assertEquals(error.exitCode, 2);
    assertStringIncludes(error.remedy, ".");
  });
}

test("parseBind() offers the address inside a URL", () => {
  const error = assertThrows(
    () => parseBind("http://127.0.0.1:8000/x"),
    CommandError,
  );
  assertEquals(error.remedy, "Write 127.0.0.1:8000.");
});

test("formatAddress() gives what a browser or a proxy takes", () => {
  assertEquals(
    formatAddress({ host: "127.0.0.1", port: 8000 }),
    "http://127.0.0.1:8000",
  );
  assertEquals(formatAddress({ host: "::1", port: 80 }), "http://[::1]:80");
  assertEquals(formatAddress({ host: "/run/a", port: 0 }), "unix:/run/a");
  assertEquals(formatAddress({ host: "a.sock", port: 0 }), "unix:a.sock");
  assertEquals(formatAddress({ host: "", port: 0 }), "an inherited socket");
});

test("formatBind() spells what parseBind() reads", () => {
  for (const [, options] of accepted) {
    assertEquals(parseBind(formatBind(options)), options);
  }
});
