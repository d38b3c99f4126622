/** FastCGI records as octets, spelled by hand, for both ends of a connection. */
import { concat, latin1, octets } from "./octets.ts";

/** A record. */
export function record(
  type: number,
  content: string | Uint8Array = "",
  options: { readonly padding?: number; readonly id?: number } = {},
): Uint8Array {
  const { padding = 0, id = 1 } = options;
  const body = typeof content === "string" ? octets(content) : content;
  const { length } = body;
  const header = [1, type, id >> 8, id, length >> 8, length, padding, 0];
  // What pads is nobody's to look at.
  return concat([
    Uint8Array.from(header),
    body,
    new Uint8Array(padding).fill(0xff),
  ]);
}

/** STDOUT. */
export function stdout(content: string | Uint8Array, padding = 0): Uint8Array {
  return record(6, content, { padding });
}

/** STDERR. */
export function stderr(content: string): Uint8Array {
  return record(7, content);
}

/** END_REQUEST. */
export function endRequest(appStatus = 0, protocolStatus = 0): Uint8Array {
  const body = new Uint8Array(8);
  new DataView(body.buffer).setInt32(0, appStatus);
  body[4] = protocolStatus;
  return record(3, body);
}

/** A record that was read. */
export interface ReadRecord {
  readonly type: number;
  readonly id: number;
  /** One character per octet. */
  readonly content: string;
}

/** The whole records at the beginning of `bytes`. */
export function readRecords(bytes: Uint8Array): ReadRecord[] {
  const records: ReadRecord[] = [];
  for (let at = 0; at + 8 <= bytes.length;) {
    const size = (bytes[at + 4]! << 8) | bytes[at + 5]!;
    const end = at + 8 + size;
    if (end > bytes.length) break;
    records.push({
      type: bytes[at + 1]!,
      id: (bytes[at + 2]! << 8) | bytes[at + 3]!,
      content: latin1(bytes.subarray(at + 8, end)),
    });
    at = end + bytes[at + 6]!;
  }
  return records;
}

/** The name-value pairs of a PARAMS stream. */
export function readParams(stream: string): [name: string, value: string][] {
  const pairs: [name: string, value: string][] = [];
  let at = 0;
  const length = () => {
    const first = stream.charCodeAt(at++);
    if (first < 128) return first;
    const rest = stream.slice(at, at += 3);
    return ((first & 0x7f) << 24) | (rest.charCodeAt(0) << 16) |
      (rest.charCodeAt(1) << 8) | rest.charCodeAt(2);
  };
  while (at < stream.length) {
    const nameLength = length();
    const valueLength = length();
    const name = stream.slice(at, at += nameLength);
    pairs.push([name, stream.slice(at, at += valueLength)]);
  }
  return pairs;
}
