/** The kernel's sockets as Deno calls them: addresses there and back, errors,
 * and when a program has to do without. */
import { test } from "node:test";
import process from "node:process";
import {
  assert,
  assertEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  addressSize,
  AF_INET,
  AF_INET6,
  EAGAIN,
  familyOf,
  FIONBIO,
  ipSocketAddress,
  linuxSockets,
  shownSocketAddress,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  systemError,
  unixSocketAddress,
} from "../../adapters/linux_sockets.ts";
import { runCommand } from "../support/run_command.ts";
import { runtime } from "./fixture.ts";

/** The address of a host as it is shown, or undefined. */
function thereAndBack(host: string, port = 80): string | undefined {
  const address = ipSocketAddress(host, port);
  if (address === undefined) return undefined;
  const shown = shownSocketAddress(address, address.length);
  assertEquals(shown.port, port);
  return shown.host;
}

test("ipSocketAddress() lays out an IPv4 address as the kernel wants it", () => {
  const address = ipSocketAddress("192.0.2.1", 0x1f90)!;
  assertEquals(familyOf(address), AF_INET);
  assertEquals(
    [...address.subarray(2)],
    [0x1f, 0x90, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0],
  );
});

test("ipSocketAddress() lays out an IPv6 address as the kernel wants it", () => {
  const address = ipSocketAddress("2001:db8::a:1", 443)!;
  assertEquals(address.length, 28);
  assertEquals(familyOf(address), AF_INET6);
  assertEquals(
    [...address.subarray(2, 8)],
    [1, 187, 0, 0, 0, 0],
  );
  assertEquals(
    [...address.subarray(8)],
    [32, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 1, 0, 0, 0, 0],
  );
});

test("shownSocketAddress() shows each address in one spelling", () => {
  for (
    const [host, shown] of [
      ["0.0.0.0", "0.0.0.0"],
      ["255.254.253.252", "255.254.253.252"],
      ["::", "::"],
      ["::1", "::1"],
      ["1::", "1::"],
      ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
      ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"],
      ["::ffff:192.0.2.1", "192.0.2.1"],
      ["::ffff:c000:201", "192.0.2.1"],
      ["64:ff9b::192.0.2.1", "64:ff9b::c000:201"],
    ] as const
  ) {
    assertEquals(thereAndBack(host), shown, host);
  }
  assertEquals(thereAndBack("::1", 65_535), "::1");
});

test("ipSocketAddress() makes no address of what is none", () => {
  for (
    const host of [
      "localhost",
      "1.2.3",
      "1.2.3.4.5",
      "256.0.0.1",
      "010.0.0.1", // 8.0.0.1 for some, and 10.0.0.1 for others
      "a:b",
      ":",
      "::::",
      "1:2:3:4:5:6:7:8:9",
      "1:2:3:4:5:6:7",
      "12345::",
      "::1]:80/[",
      "fe80::1%eth0",
      "[::1]",
      "",
    ]
  ) {
    assertStrictEquals(ipSocketAddress(host, 80), undefined, host);
  }
});

test("ipSocketAddress() takes no port for another", () => {
  for (const port of [-1, 65_536, 70_000, 1.5, NaN]) {
    assertThrows(() => ipSocketAddress("127.0.0.1", port), RangeError);
  }
});

test("unixSocketAddress() takes what fits, and nothing that NUL would cut", () => {
  const longest = "ä".repeat(53) + "a"; // 107 bytes
  const address = unixSocketAddress(longest)!;
  assertEquals(address.length, 110);
  assertEquals(shownSocketAddress(address, address.length).host, longest);
  assertStrictEquals(unixSocketAddress(`${longest}b`), undefined);
  assertStrictEquals(unixSocketAddress(""), undefined);
  assertStrictEquals(unixSocketAddress("a\0b"), undefined);
  assertStrictEquals(unixSocketAddress("\0abstract"), undefined);
});

test("shownSocketAddress() shows what the kernel tells of Unix-domain sockets", () => {
  const shown = (length: number, ...bytes: number[]) => {
    const address = new Uint8Array(addressSize).fill(0x7a);
    address.set([1, 0, ...bytes]);
    return shownSocketAddress(address, length);
  };
  assertEquals(shown(2), { host: "", port: 0 }); // unnamed
  assertEquals(shown(0), { host: "", port: 0 });
  assertEquals(shown(5, 0x2f, 0x61, 0), { host: "/a", port: 0 });
  assertEquals(shown(4, 0x2f, 0x61), { host: "/a", port: 0 });
  assertEquals(shown(5, 0, 0x61, 0x62), { host: "@ab", port: 0 });
  assertEquals(shown(5, 0x2f, 0xff, 0), { host: "/\ufffd", port: 0 });
});

test("systemError() names what it knows, and gives the number of the rest", () => {
  const known = systemError(98);
  assertEquals([known.code, known.message], [
    "EADDRINUSE",
    "EADDRINUSE: address in use",
  ]);
  assertEquals(systemError(999).code, "E999");
});

test("linuxSockets() calls the kernel on Deno and Linux, and is null elsewhere", () => {
  const sockets = linuxSockets();
  if (runtime !== "deno" || process.platform !== "linux") {
    assertStrictEquals(sockets, null);
    return;
  }
  assert(sockets !== null);
  const type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const fd = sockets.socket(AF_INET, type, 0);
  assert(fd > 2);
  try {
    const address = ipSocketAddress("127.0.0.1", 0)!;
    assertEquals(sockets.bind(fd, address, address.length), 0);
    assertEquals(sockets.listen(fd, 1), 0);
    const bound = new Uint8Array(addressSize);
    const length = new Uint32Array([addressSize]);
    assertEquals(sockets.getsockname(fd, bound, length), 0);
    assertEquals(length[0], address.length);
    assertEquals(shownSocketAddress(bound, length[0]!).host, "127.0.0.1");
    assertEquals(sockets.ioctl(fd, FIONBIO, new Int32Array([1])), 0);
    length[0] = addressSize;
    assertEquals(sockets.accept4(fd, bound, length, 0), -1);
    assertEquals(sockets.errno(), EAGAIN);
  } finally {
    assertEquals(sockets.close(fd), 0);
  }
  assertEquals(sockets.close(fd), -1);
  assertEquals(systemError(sockets.errno()).code, "EBADF");
});

const whether = `
  import { linuxSockets, mayUsePaths } from ${
  JSON.stringify(new URL("../../adapters/linux_sockets.ts", import.meta.url))
};
  console.log(linuxSockets() !== null, mayUsePaths());`;

/** Whether a program that may do so much has the kernel's sockets. */
async function hasSockets(...permissions: string[]): Promise<string> {
  const { stdout, stderr } = await runCommand(process.execPath, [
    "run",
    "--no-prompt",
    "--no-check",
    ...permissions,
    `data:application/typescript,${encodeURIComponent(whether)}`,
  ]);
  assertEquals(stderr, "");
  return stdout.trim();
}

test("linuxSockets() is null unless Deno gives all of the network and all of the C library", async () => {
  if (runtime !== "deno" || process.platform !== "linux") return;
  const all = ["--allow-net", "--allow-ffi", "--allow-read", "--allow-import"];
  for (
    const [answer, ...permissions] of [
      ["true true", "-A"],
      ["true false", ...all],
      ["true false", ...all, "--allow-write=/tmp"],
      ["true false", ...all, "--allow-write", "--deny-write=/etc"],
      ["false true", "-A", "--deny-ffi"],
      ["false false", ...all, "--deny-ffi=/usr"],
      ["false false", ...all, "--deny-net=192.0.2.1"],
      ["false false", ...all.slice(1), "--allow-net=127.0.0.1"],
      ["false false", ...all.slice(1)],
      ["false false", all[0]!, ...all.slice(2), "--allow-ffi=libc.so.6"],
    ] as const
  ) {
    const found = await hasSockets(...permissions);
    assertEquals(found, answer, permissions.join(" "));
  }
});
