import { test } from "node:test";
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { FileWrapper } from "../../src/apps/file_wrapper.ts";
import { ApplicationError } from "../../src/errors.ts";
import type { FileLike } from "../../src/wsgi.ts";
import { bytes, text } from "../support/fake_exchange.ts";

/** A file in memory that counts its calls. */
class MemoryFile implements FileLike {
  reads = 0;
  closed = 0;
  position = 0;
  readonly #content: Uint8Array;

  constructor(content: string) {
    this.#content = bytes(content);
  }

  read(size: number): Promise<Uint8Array> {
    this.reads++;
    const block = this.#content.subarray(this.position, this.position + size);
    this.position += block.length;
    return Promise.resolve(block);
  }

  close(): void {
    this.closed++;
  }
}

async function blocks(wrapper: FileWrapper): Promise<string[]> {
  const result = [];
  for await (const block of wrapper) result.push(text(block));
  return result;
}

test("FileWrapper reads nothing before it is iterated", () => {
  const file = new MemoryFile("abc");
  new FileWrapper(file);
  assertEquals(file.reads, 0);
});

test("FileWrapper reads block by block from the position on", async () => {
  const file = new MemoryFile("abcdefgh");
  file.position = 1;
  assertEquals(await blocks(new FileWrapper(file, 3)), ["bcd", "efg", "h"]);
  assertEquals(file.closed, 0);
});

test("FileWrapper takes a file that reads synchronously", async () => {
  const file = new MemoryFile("abc");
  const pieces = [bytes("ab"), bytes("c"), bytes("")];
  const wrapper = new FileWrapper({ read: () => pieces.shift()! });
  assertEquals(await blocks(wrapper), ["ab", "c"]);
  assertEquals(file.reads, 0);
});

test("FileWrapper stops where it is told, and reads no further", async () => {
  const file = new MemoryFile("abcdefgh");
  const wrapper = new FileWrapper(file, 3);
  wrapper.stopAfter(5);
  assertEquals(await blocks(wrapper), ["abc", "de"]);
  assertEquals(file.position, 5);
});

test("FileWrapper closes the file once, and reads it no more", async () => {
  const file = new MemoryFile("abc");
  const wrapper = new FileWrapper(file);
  await wrapper.close();
  await wrapper.close();
  assertEquals(file.closed, 1);
  assertEquals(await blocks(wrapper), []);
  assertEquals(file.reads, 0);
  await new FileWrapper({ read: () => bytes("") }).close();
});

test("FileWrapper refuses what is no file and no block size", () => {
  assertThrows(
    () => new FileWrapper({} as FileLike),
    ApplicationError,
    "a file with read()",
  );
  for (const size of [0, -1, 1.5, NaN]) {
    assertThrows(
      () => new FileWrapper(new MemoryFile(""), size),
      ApplicationError,
      "block size",
    );
  }
});

test("FileWrapper refuses a file that gives too much, or no bytes", async () => {
  const much = new FileWrapper({ read: () => bytes("abcd") }, 3);
  await assertRejects(() => much.next(), ApplicationError, "gave 4 bytes");
  const words = { read: () => "text" } as unknown as FileLike;
  await assertRejects(
    () => new FileWrapper(words).next(),
    ApplicationError,
    "Uint8Array",
  );
});
