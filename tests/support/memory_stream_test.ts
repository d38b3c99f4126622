/** The stream that other tests trust must itself be right. */
import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { StreamError } from "../../src/errors.ts";
import { MemoryStream } from "./memory_stream.ts";
import { latin1, octets } from "./octets.ts";

test("MemoryStream.read() gives each piece, then null at the end", () => {
  const stream = new MemoryStream(["ab", "c"]);
  stream.end();
  assertEquals(latin1(stream.read() as Uint8Array), "ab");
  assertEquals(latin1(stream.read() as Uint8Array), "c");
  assertEquals(stream.read(), null);
  assertEquals(stream.read(), null);
});

test("MemoryStream.read() overwrites the view that it lent before", () => {
  const stream = new MemoryStream(["ab", "c"]);
  const first = stream.read() as Uint8Array;
  assert(first.byteOffset > 0 && first.buffer.byteLength > first.length);
  stream.read();
  assertEquals(latin1(first), "\xee\xee");
});

test("MemoryStream.read() waits for what the peer sends", async () => {
  const stream = new MemoryStream();
  const pending = stream.read();
  assert(pending instanceof Promise && stream.waiting);
  stream.push("later");
  assertEquals(latin1((await pending)!), "later");
  assert(!stream.waiting);
});

test("MemoryStream.read() arrives later when asked to", async () => {
  const stream = new MemoryStream(["a"], { arrival: "later" });
  const pending = stream.read();
  assert(pending instanceof Promise && !stream.waiting);
  assertEquals(latin1((await pending)!), "a");
});

test("MemoryStream notes a second read while one is pending", () => {
  const stream = new MemoryStream();
  stream.read();
  assertThrows(() => stream.read());
  assertEquals(stream.misuse, ["read() while a read is pending"]);
});

test("MemoryStream.write() copies what the window takes", () => {
  const stream = new MemoryStream([], { window: 2 });
  const bytes = octets("ab");
  assertEquals(stream.write(bytes), undefined);
  bytes.fill(0x21);
  assertEquals(stream.outputText, "ab");
});

test("MemoryStream.write() shows memory that was reused too early", async () => {
  const stream = new MemoryStream([], { window: 1 });
  const bytes = octets("ab");
  const pending = stream.write(bytes);
  bytes.fill(0x21);
  assertEquals(stream.held, 2);
  stream.take(1);
  await pending;
  assertEquals(stream.outputText, "!!");
});

test("MemoryStream.write() keeps the order behind a pending write", () => {
  const stream = new MemoryStream([], { window: 1 });
  stream.write(octets("ab"));
  assert(stream.write(octets("c")) instanceof Promise);
  stream.take();
  assertEquals(stream.outputText, "abc");
});

test("MemoryStream.close() ends reads and rejects writes", async () => {
  const stream = new MemoryStream([], { window: 0 });
  const read = stream.read();
  const write = stream.write(octets("a"));
  stream.close();
  assertEquals(await read, null);
  await assertRejects(() => write as Promise<void>, StreamError);
  assertThrows(() => stream.write(octets("b")), StreamError);
  assert(stream.closed && !stream.wasReset);
});

test("MemoryStream.closeWrite() leaves reading open and refuses writes", () => {
  const stream = new MemoryStream(["a"]);
  stream.closeWrite();
  assertEquals(latin1(stream.read() as Uint8Array), "a");
  assertThrows(() => stream.write(octets("b")), StreamError);
  assertEquals(stream.misuse, ["write() after closeWrite()"]);
});

test("MemoryStream.fail() breaks both directions", async () => {
  const stream = new MemoryStream(["unread"]);
  stream.fail();
  await assertRejects(async () => await stream.read(), StreamError);
  assertThrows(() => stream.write(octets("a")), StreamError);
});

test("MemoryStream tells once that the peer is gone", async () => {
  const stream = new MemoryStream();
  let told = 0;
  stream.onGone = () => told++;
  stream.end();
  stream.end();
  assertEquals(told, 1);
  stream.onGone = () => told++; // set again, it hears what is known already
  await Promise.resolve();
  assertEquals(told, 2);
});

test("MemoryStream notes an onGone that throws", () => {
  const stream = new MemoryStream();
  stream.onGone = () => {
    throw new TypeError("broken");
  };
  stream.end();
  assertEquals(stream.misuse, ["onGone threw TypeError: broken"]);
});

test("MemoryStream hides the peer's end behind unread input", () => {
  const stream = new MemoryStream(["unread"]);
  let told = 0;
  stream.onGone = () => told++;
  stream.end();
  assertEquals(told, 0);
});

test("MemoryStream.until() looks when something happens", async () => {
  const stream = new MemoryStream();
  const output = stream.until(() => stream.outputText === "done");
  stream.write(octets("do"));
  stream.write(octets("ne"));
  await output;
});
