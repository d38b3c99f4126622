/** What pushes, made to be pulled: whose memory a chunk is. */
import { test } from "node:test";
import { assertEquals, assertStrictEquals } from "@std/assert";
import { PushStream } from "../../adapters/push_stream.ts";
import type { Address } from "../../src/stream.ts";

class Silent extends PushStream {
  readonly remote: Address = { host: "", port: 0 };
  readonly local: Address = { host: "", port: 0 };
  write(): void {}
  closeWrite(): void {}
  close(): void {}
  reset(): void {}
  protected override pauseInput(): void {}
  protected override resumeInput(): void {}
}

/** Whether this runtime can free memory by hand: Node can from 21 on. */
const frees = typeof ArrayBuffer.prototype.transfer === "function";

test("PushStream frees a large chunk with the next read, unless it was given", () => {
  for (const given of [false, true]) {
    const stream = new Silent();
    const chunk = new Uint8Array(32_768);
    stream.arrived(chunk);
    stream.arrived(new Uint8Array(1));
    assertStrictEquals(stream.read(), chunk);
    if (given) stream.give();
    assertEquals(chunk.length, 32_768);
    stream.read();
    assertEquals(chunk.length, given || !frees ? 32_768 : 0);
  }
});

test("PushStream leaves small chunks, and parts of larger memory, alone", () => {
  const stream = new Silent();
  const chunks = [
    new Uint8Array(1000),
    new Uint8Array(new ArrayBuffer(65_536), 0, 32_768),
    new Uint8Array(1),
  ];
  for (const chunk of chunks) stream.arrived(chunk);
  for (const chunk of chunks) assertStrictEquals(stream.read(), chunk);
  assertEquals(chunks.map(({ length }) => length), [1000, 32_768, 1]);
});
