/** Reading of `node:net` sockets into one buffer, out of which what arrived is
 * copied. Otherwise each read allocates 64 KiB, whatever arrives.
 *
 * It is what the option `onread` is for, which only sockets that connect can be
 * given. Those of a server get it where Node keeps it; where that is unknown,
 * sockets are left as they are. */
import type { Socket } from "node:net";

/** Good until the next socket has read. */
const readBuffer = new Uint8Array(65_536);

/** Copies of a full `readBuffer` whose life has ended: new memory of that size
 * costs several times as much as a copy. */
const spare: Uint8Array[] = [];
const spareLimit = 16;

/** What little arrives is lent in memory that is used again. Memory of its own
 * costs half a microsecond, and as much again when it is collected. */
const little: Uint8Array[] = [];
const littleSize = 2048;
const littleLimit = 256;

/** Has a socket read into the buffer, and call `arrived` with the number of bytes
 * instead of emitting "data"; false where that cannot be done. */
export function shareRead(
  socket: Socket,
  arrived: (this: Socket, size: number) => boolean,
): boolean {
  const { _handle: handle } = socket as unknown as {
    _handle?: { useUserBuffer?: (buffer: Uint8Array) => void } | null;
  };
  if (typeof handle?.useUserBuffer !== "function") return false;
  place ??= findPlace(socket);
  if (place === null) return false;
  const inner = socket as unknown as Record<symbol, unknown>;
  inner[place.buffer] = readBuffer;
  inner[place.callback] = arrived;
  handle.useUserBuffer(readBuffer);
  return true;
}

/** A copy of what has just arrived. */
export function copyOfRead(size: number): Uint8Array {
  const memory = size === readBuffer.length ? spare.pop() : undefined;
  if (memory === undefined) return readBuffer.slice(0, size);
  memory.set(readBuffer);
  return memory;
}

/** Memory that begins with a copy of what has just arrived, where that is little;
 * to be taken back. It is not cleared: what lies behind is others'. */
export function lendRead(size: number): Uint8Array | undefined {
  if (size > littleSize) return undefined;
  const memory = little.pop() ?? new Uint8Array(littleSize);
  memory.set(readBuffer.subarray(0, size));
  return memory;
}

/** Takes memory back for later; false where it is not of a size that is kept. */
export function takeBack(memory: Uint8Array): boolean {
  if (memory.length === littleSize) {
    if (little.length < littleLimit) little.push(memory);
    return true;
  }
  if (memory.length !== readBuffer.length) return false;
  if (spare.length < spareLimit) spare.push(memory);
  return true;
}

/** Where a socket keeps its option `onread`. */
interface Place {
  readonly buffer: symbol;
  readonly callback: symbol;
}

/** Null where it is unknown. */
let place: Place | null | undefined;

function findPlace(socket: Socket): Place | null {
  const symbols = Object.getOwnPropertySymbols(socket);
  const buffer = symbols.find((key) => key.description === "kBuffer");
  const callback = symbols.find((key) => key.description === "kBufferCb");
  return buffer === undefined || callback === undefined
    ? null
    : { buffer, callback };
}
