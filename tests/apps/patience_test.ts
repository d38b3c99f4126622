/** How long a program may keep its client waiting, in real but short times. */
import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Patience } from "../../src/apps/patience.ts";

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));

/** Does something with a patience of 50 ms, until it ends. */
async function watch(
  work: (patience: Patience, ended: () => boolean) => Promise<void>,
): Promise<number> {
  let calls = 0;
  const patience = new Patience(0.05, () => calls++);
  try {
    await work(patience, () => calls > 0);
  } finally {
    patience.stop();
  }
  return calls;
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 25_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error("It does not end");
    await pause(2);
  }
}

test("Patience ends once, where nothing moves", async () => {
  assertEquals(
    await watch(async (_, ended) => {
      await until(ended);
      await pause(120);
    }),
    1,
  );
});

test("Patience waits for a client that takes its time", async () => {
  assertEquals(
    await watch(async (patience) => {
      // Whatever the clock of a busy machine: it counts only afterwards.
      assertEquals(await patience.excuse(pause(150).then(() => 7)), 7);
    }),
    0,
  );
});

test("Patience ends after the client has done its part, however that went", async () => {
  assertEquals(
    await watch(async (patience, ended) => {
      const failing = Promise.reject(new Error("left"));
      await assertRejects(() => patience.excuse(failing), Error, "left");
      await until(ended);
    }),
    1,
  );
});

test("Patience counts anew from the client's part", async () => {
  let ended = 0;
  const patience = new Patience(0.05, () => ended = performance.now());
  let done = 0;
  await patience.excuse(pause(120).then(() => void (done = performance.now())));
  await until(() => ended > 0);
  assert(ended - done >= 49, `${ended - done}`);
});

test("Patience counts from the last progress", async () => {
  let ended = 0;
  const started = performance.now();
  let last = started;
  const patience = new Patience(0.05, () => ended = performance.now());
  while (performance.now() - started < 150) {
    patience.progress();
    last = performance.now();
    await pause(5);
  }
  await until(() => ended > 0);
  // A pause may have been longer than it was meant, but not the last one's end.
  assert(ended - last >= 49 || ended < last, `${ended - last}`);
});

test("Patience that is stopped, or has no end, calls nobody", async () => {
  let calls = 0;
  const stopped = new Patience(0.01, () => calls++);
  stopped.stop();
  stopped.stop();
  const endless = new Patience(Infinity, () => calls++);
  await pause(40);
  endless.stop();
  assertEquals(calls, 0);
});
