/** Requests that take turns. */
import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Turns } from "../../src/apps/turns.ts";
import { BackendError, StreamError } from "../../src/errors.ts";

const here: AbortSignal = new AbortController().signal;

/** Takes a turn, and notes its name when it has come. */
async function take(
  turns: Turns,
  name: string,
  came: string[],
  signal: AbortSignal = here,
): Promise<void> {
  await turns.take(signal);
  came.push(name);
}

/** Lets what is ready happen. */
const settle = (): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve));

test("take() gives a turn at once, as long as there is one", () => {
  const turns = new Turns({ atOnce: 2, waiting: 0, seconds: 1 });
  assertEquals(turns.take(here), undefined);
  assertEquals(turns.take(here), undefined);
  turns.give();
  assertEquals(turns.take(here), undefined);
});

test("take() keeps the order in which requests came", async () => {
  const turns = new Turns({ atOnce: 1, waiting: 9, seconds: Infinity });
  const came: string[] = [];
  await take(turns, "a", came);
  const others = ["b", "c", "d"].map((name) => take(turns, name, came));
  await settle();
  assertEquals(came, ["a"]);
  turns.give();
  await settle();
  assertEquals(came, ["a", "b"]);
  turns.give();
  turns.give();
  await Promise.all(others);
  assertEquals(came, ["a", "b", "c", "d"]);
  turns.give();
  assertEquals(turns.take(here), undefined);
});

test("take() turns away who would have to wait among too many", async () => {
  const turns = new Turns({ atOnce: 1, waiting: 1, seconds: Infinity });
  turns.take(here);
  const second = turns.take(here);
  const error = await assertRejects(
    async () => await turns.take(here),
    BackendError,
  );
  assertEquals(error.status, 503);
  turns.give();
  await second;
});

test("take() turns away who has waited too long", async () => {
  const turns = new Turns({ atOnce: 1, waiting: 9, seconds: 0.01 });
  turns.take(here);
  const error = await assertRejects(
    async () => await turns.take(here),
    BackendError,
  );
  assertEquals(error.status, 503);
  turns.give(); // to nobody
  assertEquals(turns.take(here), undefined);
});

test("take() forgets a client that has left", async () => {
  const turns = new Turns({ atOnce: 1, waiting: 9, seconds: Infinity });
  const came: string[] = [];
  await take(turns, "a", came);
  const client = new AbortController();
  const leaving = take(turns, "b", came, client.signal);
  const other = take(turns, "c", came);
  client.abort();
  await assertRejects(() => leaving, StreamError);
  await assertRejects(
    async () => await turns.take(client.signal), // it had left before
    StreamError,
  );
  turns.give();
  await other;
  assert(!came.includes("b"));
});
