/** Addresses and networks as text. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import {
  isInNetwork,
  parseIpAddress,
  parseIpNetwork,
} from "../../src/http/ip_address.ts";

/** An IPv6 address as groups of four digits. */
function spelled(text: string): string | undefined {
  const octets = parseIpAddress(text);
  return octets?.map((octet) => octet.toString(16).padStart(2, "0")).join("");
}

test("parseIpAddress() reads IPv4 in decimal, without zeros in front", () => {
  assertEquals(parseIpAddress("192.0.2.1"), [192, 0, 2, 1]);
  assertEquals(parseIpAddress("255.255.255.0"), [255, 255, 255, 0]);
  for (
    const text of [
      "",
      "1.2.3",
      "1.2.3.4.5",
      "1.2.3.256",
      "1.2.3.04",
      "1.2.3.0x4",
      "1.2..4",
      "1.2.3.4 ",
      " 1.2.3.4",
      "1.2.3.-4",
      "1.2.3.1e1",
      "unknown",
      "2130706433",
    ]
  ) assertEquals(parseIpAddress(text), undefined, text);
});

test("parseIpAddress() reads IPv6 in every form of RFC 4291", () => {
  const cases: [string, string][] = [
    ["::", "0".repeat(32)],
    ["::1", `${"0".repeat(31)}1`],
    ["1::", `0001${"0".repeat(28)}`],
    ["2001:DB8::8:800:200C:417A", "20010db80000000000080800200c417a"],
    ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008"],
    ["1:2:3:4:5:6:7::", "00010002000300040005000600070000"],
    ["::2:3:4:5:6:7:8", "00000002000300040005000600070008"],
    ["64:ff9b::192.0.2.33", "0064ff9b0000000000000000c0000221"],
    ["1:2:3:4:5:6:1.2.3.4", "00010002000300040005000601020304"],
  ];
  for (const [text, octets] of cases) assertEquals(spelled(text), octets, text);
  for (
    const text of [
      ":",
      ":::",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "1:2:3:4::5:6:7:8",
      "1::2::3",
      ":1::2",
      "1::2:",
      "12345::",
      "g::",
      "1.2.3.4::",
      "::1.2.3.4:5",
      "::1.2.3",
      "::1%eth0",
      "[::1]",
      `${"0000:".repeat(20)}:`,
    ]
  ) assertEquals(parseIpAddress(text), undefined, text);
});

test("parseIpAddress() knows one spelling of an IPv4 address", () => {
  for (const text of ["::ffff:192.0.2.1", "::FFFF:c000:201"]) {
    assertEquals(parseIpAddress(text), [192, 0, 2, 1], text);
  }
  assertEquals(parseIpAddress("::fffe:192.0.2.1")?.length, 16);
  assertEquals(parseIpAddress("1::ffff:192.0.2.1")?.length, 16);
});

function holds(network: string, address: string): boolean {
  return isInNetwork(parseIpAddress(address)!, parseIpNetwork(network)!);
}

test("isInNetwork() compares so many bits", () => {
  const cases: [string, string[], string[]][] = [
    ["192.0.2.1", ["192.0.2.1", "::ffff:192.0.2.1"], ["192.0.2.2", "::1"]],
    ["10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["11.0.0.0", "9.0.0.0"]],
    ["172.16.0.0/12", ["172.16.0.1", "172.31.255.255"], ["172.32.0.0"]],
    ["192.0.2.128/31", ["192.0.2.128", "192.0.2.129"], ["192.0.2.130"]],
    ["0.0.0.0/0", ["1.2.3.4"], ["::1"]],
    ["::/0", ["2001:db8::1"], ["1.2.3.4"]],
    ["2001:db8::/33", ["2001:db8:7fff::"], ["2001:db8:8000::"]],
    ["::ffff:10.0.0.0/104", ["10.1.2.3"], ["11.0.0.0"]],
    ["::1/128", ["::1"], ["::2", "0.0.0.1"]],
  ];
  for (const [network, inside, outside] of cases) {
    for (const text of inside) {
      assertEquals(holds(network, text), true, `${network} ${text}`);
    }
    for (const text of outside) {
      assertEquals(holds(network, text), false, `${network} ${text}`);
    }
  }
});

test("parseIpNetwork() refuses what is no network, or may be another", () => {
  for (
    const text of [
      "",
      "/8",
      "10.0.0.0/",
      "10.0.0.0/33",
      "10.0.0.0/-1",
      "10.0.0.0/8/8",
      "10.1.2.3/8",
      "192.0.2.129/31",
      "2001:db8::1/64",
      "::/129",
      "::ffff:10.0.0.0/95",
      "proxy.example",
    ]
  ) assertEquals(parseIpNetwork(text), undefined, text);
});
