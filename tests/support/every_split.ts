/** Runs a check over the ways in which a network may deliver the same bytes. */
import type { MaybePromise } from "../../src/stream.ts";

/** Up to this many bytes, every cut is tried; beyond it, a sample of them. */
const everyCutUpTo = 600;

/** Up to this many bytes, the sample is of about 64 cuts; beyond it, of 16. */
const manyCutsUpTo = 8192;

/** What is tried at a cut: the pieces in order, and a name for the way. */
export type SplitCheck = (
  pieces: readonly Uint8Array[],
  way: string,
) => MaybePromise<void>;

/** Calls `check` with `bytes` whole, byte by byte, and cut in two at every
 * place; in long input at some places, the ends of lines among them. Runs in
 * order; the error of the first check that fails tells the way. */
export async function everySplit(
  bytes: Uint8Array,
  check: SplitCheck,
): Promise<void> {
  await attempt(check, [bytes], "whole");
  if (bytes.length < 2) return;
  await attempt(check, singly(bytes), "byte by byte");
  for (const at of cuts(bytes)) {
    const pieces = [bytes.subarray(0, at), bytes.subarray(at)];
    await attempt(check, pieces, `cut at ${at}`);
  }
}

async function attempt(
  check: SplitCheck,
  pieces: readonly Uint8Array[],
  way: string,
): Promise<void> {
  try {
    await check(pieces, way);
  } catch (error) {
    if (error instanceof Error) error.message = `${way}: ${error.message}`;
    throw error;
  }
}

/** One view for each byte. */
export function singly(bytes: Uint8Array): Uint8Array[] {
  return Array.from(bytes, (_, at) => bytes.subarray(at, at + 1));
}

/** The places where `bytes` are cut, in ascending order. */
export function cuts(bytes: Uint8Array): number[] {
  const places = new Set<number>();
  if (bytes.length <= everyCutUpTo) {
    for (let at = 1; at < bytes.length; at++) places.add(at);
    return [...places];
  }
  const sample = bytes.length <= manyCutsUpTo ? 32 : 8;
  const stride = Math.ceil(bytes.length / sample);
  for (let at = 1; at < bytes.length; at += stride) places.add(at);
  const lineEnds: number[] = [];
  for (let at = 1; at < bytes.length; at++) {
    if (bytes[at - 1] === 0x0d && bytes[at] === 0x0a) lineEnds.push(at);
  }
  const thinning = Math.ceil(2 * lineEnds.length / sample);
  for (let index = 0; index < lineEnds.length; index += thinning) {
    // Between CR and LF, and behind both.
    places.add(lineEnds[index]!).add(lineEnds[index]! + 1);
  }
  places.delete(bytes.length);
  return [...places].sort((a, b) => a - b);
}
