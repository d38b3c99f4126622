/** Which worker accepts on which socket. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import type { Slot } from "../../src/daemon/protocol.ts";
import {
  addressesOf,
  assignSlots,
  haveSharedSockets,
} from "../../src/daemon/slots.ts";

function tcp(port: number, ...fds: number[]): Slot[] {
  return fds.map((fd) => ({ fd, address: { host: "127.0.0.1", port } }));
}

const unix: Slot = { fd: 9, address: { host: "/run/a.sock", port: 0 } };

function assigned(
  slots: readonly Slot[],
  seats: readonly number[],
): [number, number[]][] {
  return [...assignSlots(slots, seats)];
}

test("assignSlots() gives each seat a socket of its own", () => {
  assertEquals(assigned(tcp(80, 3, 4, 5), [1, 2, 3]), [
    [1, [3]],
    [2, [4]],
    [3, [5]],
  ]);
});

test("assignSlots() gives a lonely socket to everybody", () => {
  assertEquals(assigned([unix], [1, 2]), [[1, [9]], [2, [9]]]);
  assertEquals(assigned([...tcp(80, 3, 4), unix], [1, 2]), [
    [1, [3, 9]],
    [2, [4, 9]],
  ]);
});

test("assignSlots() begins anew where there are more seats than sockets", () => {
  assertEquals(assigned(tcp(80, 3, 4), [1, 2, 3, 4, 5]), [
    [1, [3]],
    [2, [4]],
    [3, [3]],
    [4, [4]],
    [5, [3]],
  ]);
});

test("assignSlots() gives the socket of a vacant seat to another", () => {
  assertEquals(assigned(tcp(80, 3, 4, 5), [1, 3]), [[1, [3]], [3, [4, 5]]]);
  assertEquals(assigned(tcp(80, 3, 4, 5), [2]), [[2, [3, 4, 5]]]);
});

test("assignSlots() gives a seat beyond the sockets no vacant seat's place", () => {
  // Seat 3 shares the socket of seat 1, so that one is not vacant.
  assertEquals(assigned(tcp(80, 3, 4), [2, 3]), [[2, [4]], [3, [3]]]);
});

test("assignSlots() tells addresses apart by host and port", () => {
  const slots: Slot[] = [
    { fd: 3, address: { host: "127.0.0.1", port: 80 } },
    { fd: 4, address: { host: "127.0.0.1", port: 81 } },
    { fd: 5, address: { host: "::1", port: 80 } },
    { fd: 6, address: { host: "::1", port: 80 } },
  ];
  assertEquals(assigned(slots, [1, 2]), [[1, [3, 4, 5]], [2, [3, 4, 6]]]);
});

test("assignSlots() takes addresses that are not known for different ones", () => {
  const slots: Slot[] = [3, 4].map((fd) => ({
    fd,
    address: { host: "", port: 0 },
  }));
  assertEquals(assigned(slots, [1, 2]), [[1, [3, 4]], [2, [3, 4]]]);
});

test("assignSlots() has nothing to give to nobody", () => {
  assertEquals(assigned(tcp(80, 3), []), []);
  assertEquals(assigned([], [1]), [[1, []]]);
});

test("assignSlots() leaves no socket out, whoever serves", () => {
  const slots = [...tcp(80, 3, 4, 5, 6), ...tcp(81, 7, 8), unix];
  for (let set = 1; set < 2 ** 6; set++) {
    const seats = [1, 2, 3, 4, 5, 6].filter((seat) => set & (1 << seat - 1));
    const fds = assignSlots(slots, seats);
    assertEquals([...fds.keys()], seats);
    const covered = new Set([...fds.values()].flat());
    for (const { fd } of slots) {
      assert(covered.has(fd), `${fd} of seats ${seats}`);
    }
    for (const [seat, own] of fds) {
      assertEquals(new Set(own).size, own.length, `seat ${seat} twice`);
      assert(own.length > 0, `seat ${seat} of ${seats} has none`);
    }
  }
});

test("addressesOf() tells each address once", () => {
  const inherited: Slot = { fd: 5, address: { host: "", port: 0 } };
  assertEquals(addressesOf([...tcp(80, 3, 4), inherited, unix]), [
    "http://127.0.0.1:80",
    "descriptor 5",
    "unix:/run/a.sock",
  ]);
});

test("haveSharedSockets() is so where no port has two", () => {
  assertEquals(haveSharedSockets(tcp(80, 3)), true);
  assertEquals(haveSharedSockets([...tcp(80, 3), ...tcp(81, 4)]), true);
  assertEquals(haveSharedSockets(tcp(80, 3, 4)), false);
  assertEquals(haveSharedSockets([unix]), false);
});
