/** The memory that connections read into: one user at a time. */
import { test } from "node:test";
import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import {
  largestRead,
  ReadMemory,
  smallestRead,
} from "../../adapters/read_memory.ts";

const sizes = [smallestRead, 4 * smallestRead, largestRead];

/** Takes all that is kept of a size, and as much again. */
function takeMany(size: number): ReadMemory[] {
  return Array.from({ length: 600 }, () => ReadMemory.take(size));
}

test("ReadMemory.take() gives memory of the size that was asked for", () => {
  for (const size of sizes) {
    const memory = ReadMemory.take(size);
    assertEquals(memory.bytes.length, size);
    assertEquals(memory.bytes.buffer.byteLength, size);
    assertStrictEquals(memory.size, BigInt(size));
    memory.giveBack();
    assertStrictEquals(ReadMemory.take(size), memory);
  }
});

test("ReadMemory.take() gives nobody what another has", () => {
  for (const size of sizes) {
    const taken = takeMany(size);
    assertEquals(new Set(taken.map(({ bytes }) => bytes.buffer)).size, 600);
    for (const memory of taken) memory.giveBack();
    const again = takeMany(size);
    assertEquals(new Set(again.map(({ bytes }) => bytes.buffer)).size, 600);
  }
});

test("ReadMemory keeps a megabyte of each size, and no more", () => {
  for (const size of sizes) {
    const taken = takeMany(size);
    for (const memory of taken) memory.giveBack();
    const known = new Set(taken);
    const kept = takeMany(size).filter((memory) => known.has(memory));
    assertEquals(kept.length * size, 1_048_576);
  }
});

test("ReadMemory.lend() makes one view for each length in turn", () => {
  const memory = ReadMemory.take(smallestRead);
  const view = memory.lend(100);
  assertEquals([view.byteOffset, view.length], [0, 100]);
  assertStrictEquals(view.buffer, memory.bytes.buffer);
  assertStrictEquals(memory.lend(100), view);
  assertEquals(memory.lend(99).length, 99);
  assertEquals(memory.lend(smallestRead).length, smallestRead);
  memory.giveBack();
});

test("ReadMemory.giveBack() forgets memory that somebody has transferred", () => {
  for (const size of sizes) {
    const memory = ReadMemory.take(size);
    const buffer = memory.bytes.buffer as ArrayBuffer;
    structuredClone(buffer, { transfer: [buffer] });
    assertEquals(memory.bytes.length, 0);
    memory.giveBack();
    assert(takeMany(size).every(({ bytes }) => bytes.length === size));
  }
});
