/** The listening sockets: which worker accepts on which, and where they are.
 * Pure. */
import { formatAddress } from "../bind.ts";
import type { Slot } from "./protocol.ts";

/** The descriptors of each seat, so that every socket is accepted on by
 * somebody as long as anybody serves.
 *
 * An address with one socket is everybody's. Of an address with several (the
 * kernel spreads connections over them), seat 1 has the first, seat 2 the
 * second and so on, beginning anew where there are more seats than sockets. A
 * socket whose seat is vacant goes to one that is not. */
export function assignSlots(
  slots: readonly Slot[],
  seats: readonly number[],
): Map<number, number[]> {
  const fds = new Map(seats.map((seat) => [seat, [] as number[]]));
  for (const group of groupByAddress(slots)) {
    group.forEach(({ fd }, index) => {
      for (const seat of ownersOf(index, group.length, seats)) {
        fds.get(seat)?.push(fd);
      }
    });
  }
  return fds;
}

function ownersOf(
  index: number,
  sockets: number,
  seats: readonly number[],
): readonly number[] {
  const owners = seats.filter((seat) => (seat - 1) % sockets === index);
  if (owners.length > 0) return owners;
  const cover = seats[index % seats.length];
  return cover === undefined ? [] : [cover];
}

function groupByAddress(slots: readonly Slot[]): Slot[][] {
  const groups = new Map<string, Slot[]>();
  for (const slot of slots) {
    const { host, port } = slot.address;
    // An address that the system did not tell is one of its own.
    const key = host === "" ? `fd ${slot.fd}` : `${host} ${port}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [slot]);
    else group.push(slot);
  }
  return [...groups.values()];
}

/** Where the sockets listen, each address once, for people. */
export function addressesOf(slots: readonly Slot[]): string[] {
  return [
    ...new Set(
      slots.map(({ fd, address }) =>
        address.host === "" ? `descriptor ${fd}` : formatAddress(address)
      ),
    ),
  ];
}

/** Whether workers have no sockets of their own at any port, so that the kernel
 * wakes whoever is nearest. */
export function haveSharedSockets(slots: readonly Slot[]): boolean {
  const ports = slots.map(({ address }) => address)
    .filter(({ port }) => port !== 0);
  return ports.length > 0 &&
    ports.length === new Set(ports.map(formatAddress)).size;
}
