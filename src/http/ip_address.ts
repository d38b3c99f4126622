/**
 * IP addresses and networks as text: RFC 4291 §2.2 and §2.3, RFC 4632 §3.1.
 * Pure: nothing here reads or writes.
 */

/** The octets of an address: 4, or 16. */
export type IpAddress = readonly number[];

/** The addresses that begin alike. */
export interface IpNetwork {
  /** One of them. */
  readonly address: IpAddress;
  /** How many bits are alike. */
  readonly bits: number;
}

/** Reads an address; undefined where it is none. An IPv4 address within IPv6
 * (`::ffff:192.0.2.1`) is the IPv4 address, so that each has one spelling. */
export function parseIpAddress(text: string): IpAddress | undefined {
  if (!text.includes(":")) return parseIpv4(text);
  const octets = parseIpv6(text);
  return octets !== undefined && isMapped(octets) ? octets.slice(12) : octets;
}

/** Reads `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/32`; undefined where it is
 * neither an address nor a network. A network has no bits behind its prefix:
 * whoever writes `10.1.2.3/8` may have meant another. */
export function parseIpNetwork(text: string): IpNetwork | undefined {
  const [, host = "", prefix] = /^([^/]*)(?:\/([0-9]{1,3}))?$/.exec(text) ?? [];
  const address = parseIpAddress(host);
  if (address === undefined) return undefined;
  const all = address.length * 8;
  // A prefix that counts the 96 bits before an IPv4 address loses them, too.
  const mapped = host.includes(":") && all === 32 ? 96 : 0;
  const bits = prefix === undefined ? all : Number(prefix) - mapped;
  if (bits < 0 || bits > all) return undefined;
  return bitsBehind(address, bits) ? undefined : { address, bits };
}

/** Whether the network holds the address. */
export function isInNetwork(
  address: IpAddress,
  { address: network, bits }: IpNetwork,
): boolean {
  if (address.length !== network.length) return false;
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) {
    if (address[i] !== network[i]) return false;
  }
  const mask = restMask(bits);
  return mask === 0 || (address[whole]! & mask) === (network[whole]! & mask);
}

/** What of the octet that the prefix ends within belongs to the prefix. */
function restMask(bits: number): number {
  return (0xff00 >> (bits & 7)) & 0xff;
}

function bitsBehind(address: IpAddress, bits: number): boolean {
  return address.some((octet, index) => {
    const before = Math.min(8, Math.max(0, bits - 8 * index));
    return (octet & (0xff >> before)) !== 0;
  });
}

// A zero in front would be octal to some, and decimal to others.
const decimal = /^(?:0|[1-9][0-9]{0,2})$/;

function parseIpv4(text: string): number[] | undefined {
  const octets = text.split(".", 5).map((part) =>
    decimal.test(part) ? Number(part) : 256
  );
  return octets.length === 4 && octets.every((octet) => octet < 256)
    ? octets
    : undefined;
}

const longestIpv6 = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".length;

function parseIpv6(text: string): number[] | undefined {
  if (text.length > longestIpv6) return undefined;
  const [left = "", right, third] = text.split("::", 3);
  if (right === undefined) {
    const octets = groupsOf(left, true);
    return octets?.length === 16 ? octets : undefined;
  }
  const head = groupsOf(left, false);
  const tail = groupsOf(right, true);
  if (head === undefined || tail === undefined || third !== undefined) {
    return undefined;
  }
  // "::" stands for one group at least.
  const missing = 16 - head.length - tail.length;
  return missing < 2
    ? undefined
    : [...head, ...new Array<number>(missing).fill(0), ...tail];
}

/** `atEnd` allows for an IPv4 address in the place of the last two groups. */
function groupsOf(text: string, atEnd: boolean): number[] | undefined {
  if (text === "") return [];
  const octets: number[] = [];
  const groups = text.split(":");
  for (const [index, group] of groups.entries()) {
    if (/^[0-9A-Fa-f]{1,4}$/.test(group)) {
      const value = Number.parseInt(group, 16);
      octets.push(value >> 8, value & 0xff);
      continue;
    }
    const inner = atEnd && index === groups.length - 1
      ? parseIpv4(group)
      : undefined;
    if (inner === undefined) return undefined;
    octets.push(...inner);
  }
  return octets;
}

function isMapped(octets: IpAddress): boolean {
  return octets[10] === 0xff && octets[11] === 0xff &&
    octets.slice(0, 10).every((octet) => octet === 0);
}
