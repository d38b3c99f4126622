/** A response that becomes a body: what is written, and who waits for whom. */
import { test } from "node:test";
import {
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { PendingBody } from "../../src/apps/pending_body.ts";
import { ApplicationError, StreamError } from "../../src/errors.ts";
import type { ResponseHeaders } from "../../src/wsgi.ts";
import { bytes, text } from "../support/fake_exchange.ts";

/** A body, and what is done with it. */
function opened(toHead = false) {
  const heads: [string, ResponseHeaders][] = [];
  const told = { gone: 0 };
  const body = new PendingBody(
    toHead,
    (status, headers) => {
      heads.push([status, headers]);
      return () => Promise.resolve();
    },
    () => {
      told.gone++;
    },
  );
  // Not every test waits for it.
  body.opened.catch(() => {});
  return { body, heads, told };
}

/** Whether a promise has settled by now. */
async function settled(promise: unknown): Promise<boolean> {
  const pending = Symbol("pending");
  await new Promise((resolve) => setTimeout(resolve));
  return await Promise.race([promise, pending]) !== pending;
}

const typed: [string, string][] = [["Content-Type", "text/plain"]];

test("PendingBody has a block lent until the next is asked for", async () => {
  const { body, heads } = opened();
  body.start(200, "", typed);
  assertEquals(heads, []);
  const writing = body.write(bytes("one"));
  await body.opened;
  assertEquals(heads, [["200 OK", [["Content-Type", "text/plain"]]]]);
  assertThrows(() => void body.write(bytes("two")), ApplicationError);
  assertEquals(text((await body.next()).value!), "one");
  assertEquals(await settled(writing), false);
  const asked = body.next();
  assertEquals(await settled(writing), true);
  const again = body.write(bytes("two"));
  assertEquals(text((await asked).value!), "two");
  const last = body.next();
  await again;
  body.end();
  assertEquals((await last).done, true);
  assertEquals((await body.next()).done, true);
});

test("PendingBody drops what has no place", async () => {
  for (const [toHead, status] of [[true, 200], [false, 204], [false, 205]]) {
    const { body } = opened(toHead as boolean);
    body.start(status as number, "", []);
    assertEquals(body.write(bytes("content")), undefined);
    body.end();
    assertEquals((await body.next()).done, true);
  }
  const { body } = opened();
  body.start(200, "", []);
  assertEquals(body.write(bytes("")), undefined);
});

test("PendingBody says a length where it may", () => {
  const lengths = (
    status: number,
    fields: [string, string][],
    size?: number,
  ) => {
    const { body, heads } = opened();
    body.start(status, "", fields, size);
    body.flush();
    return heads[0]![1]
      .filter(([name]) => name === "Content-Length")
      .map(([, value]) => value);
  };
  const declared: [string, string][] = [["Content-Length", "5"]];
  assertEquals(lengths(200, []), []);
  assertEquals(lengths(200, [], 4), ["4"]);
  assertEquals(lengths(200, declared, 5), ["5"]);
  assertEquals(lengths(304, declared), ["5"]);
  assertEquals(lengths(304, [], 0), []);
  assertEquals(lengths(204, declared), []);
  assertEquals(lengths(205, declared), []);
});

test("PendingBody fails for whoever asks, now or later", async () => {
  const mine = new RangeError("mine");
  const before = opened().body;
  before.fail(mine);
  assertStrictEquals(await assertRejects(() => before.opened), mine);
  const asked = opened().body;
  asked.start(200, "", []);
  asked.flush();
  const asking = asked.next();
  asked.fail(mine);
  assertStrictEquals(await assertRejects(() => asking), mine);
  const later = opened().body;
  later.start(200, "", []);
  later.flush();
  later.fail(mine);
  assertStrictEquals(await assertRejects(() => later.next()), mine);
});

test("PendingBody tells once that nobody wants the rest", async () => {
  const { body, told } = opened();
  body.start(200, "", []);
  const writing = body.write(bytes("one"));
  await body.return();
  body.leave();
  assertEquals(told.gone, 1);
  await assertRejects(async () => await writing, StreamError);
  assertThrows(() => void body.write(bytes("two")), StreamError);
  const whole = opened();
  whole.body.start(200, "", []);
  whole.body.end();
  whole.body.leave();
  assertEquals(whole.told.gone, 0);
});

test("PendingBody keeps the order of its calls", () => {
  const { body } = opened();
  assertThrows(() => void body.flush(), ApplicationError);
  body.start(200, "", []);
  body.start(201, "", []);
  body.end();
  assertThrows(() => body.start(200, "", []), ApplicationError);
  assertThrows(() => void body.write(bytes("x")), ApplicationError);
  assertThrows(() => void body.end(), ApplicationError);
});
