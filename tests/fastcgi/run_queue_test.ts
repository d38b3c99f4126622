/** Who waits for a responder: in order, though some give up. */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import type { Run } from "../../src/fastcgi/run.ts";
import { RunQueue } from "../../src/fastcgi/run_queue.ts";

const run = (name: string) => ({ name }) as unknown as Run;
const nameOf = (run: Run | undefined) =>
  (run as unknown as { name: string } | undefined)?.name;
const names = (queue: RunQueue) => queue.all().map(nameOf).join("");

test("RunQueue is first come, first served", () => {
  const queue = new RunQueue();
  assertEquals(queue.take(), undefined);
  for (const name of "abc") queue.add(run(name));
  assertEquals([queue.size, names(queue)], [3, "abc"]);
  assertEquals(nameOf(queue.take()), "a");
  queue.add(run("d"));
  assertEquals([queue.size, names(queue)], [3, "bcd"]);
  assertEquals("bcd".replace(/./g, () => nameOf(queue.take())!), "bcd");
  assertEquals([queue.size, queue.take()], [0, undefined]);
});

test("RunQueue.putFirst() puts before all others", () => {
  const queue = new RunQueue();
  queue.putFirst(run("b"));
  queue.putFirst(run("a"));
  queue.add(run("c"));
  const first = queue.take()!;
  queue.putFirst(first);
  assertEquals([queue.size, names(queue)], [3, "abc"]);
});

test("RunQueue.delete() takes off who waits, and tells who does not", () => {
  const queue = new RunQueue();
  const [a, b, c, d] = ["a", "b", "c", "d"].map(run) as [Run, Run, Run, Run];
  for (const each of [a, b, c]) queue.add(each);
  queue.take();
  assertEquals(queue.delete(a), false);
  assertEquals(queue.delete(d), false);
  assertEquals(queue.delete(c), true);
  assertEquals([queue.size, names(queue)], [1, "b"]);
});

test("RunQueue keeps the order over many that come and go", () => {
  const queue = new RunQueue();
  let came = 0;
  for (let served = 0; served < 5000; served++) {
    while (queue.size < 40) queue.add(run(String(came++)));
    assertEquals(nameOf(queue.take()), String(served));
  }
  assertEquals(queue.size, 39);
});
