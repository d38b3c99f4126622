/** The threads of the responder: which of them answers, and how many. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import {
  type FastCgiClient,
  record,
  request,
  Responder,
  STDIN,
} from "../support/responder.ts";
import { findTool } from "../support/tool.ts";

const python = await findTool("python3");

async function withThreads(
  threads: number,
  check: (responder: Responder) => Promise<void>,
  app = "threads:app",
): Promise<void> {
  if (python === undefined) return;
  const args = ["--threads", String(threads)];
  await using responder = await Responder.start(python, app, { args });
  await check(responder);
}

const path = (PATH_INFO: string) => ({ PATH_INFO });

/** Begins a request that prints what it does, and waits for so many of that. */
async function begin(
  responder: Responder,
  pathInfo: string,
  word: string,
  count = 1,
): Promise<FastCgiClient> {
  const client = await responder.connect();
  await client.raw.send(request(path(pathInfo)));
  await responder.untilSeen(
    () => responder.printed.split(word).length > count,
    word,
  );
  return client;
}

/** Waits until nobody can connect any more. */
async function untilRefused(responder: Responder): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (performance.now() < deadline) {
    try {
      await (await responder.connect()).close();
      await new Promise((resolve) => setTimeout(resolve, 20));
    } catch {
      return;
    }
  }
  throw new Error("It still accepts");
}

for (const [way, word] of [["/hold", "held"], ["/spin", "spinning"]] as const) {
  test(`${way}: a request that takes long delays no other`, () =>
    withThreads(2, async (responder) => {
      const other = await responder.connect();
      for (let round = 1; round <= 5; round++) {
        // What came before was quick, so that the same thread goes on.
        for (let i = 0; i < 20; i++) {
          assertEquals((await other.ask(path("/quick"))).text, "quick");
        }
        const long = await begin(responder, way, word, round);
        assertEquals((await other.ask(path("/quick"))).text, "quick");
        assertEquals((await other.ask(path("/go"))).text, "gone");
        assertEquals((await long.answer()).text, "let go");
        await long.close();
      }
    }));
}

test("as many requests run at once as there are threads, and no more", () =>
  withThreads(3, async (responder) => {
    const held = [
      await begin(responder, "/hold", "held", 1),
      await begin(responder, "/hold", "held", 2),
    ];
    const third = await begin(responder, "/soon", "soon");
    // Four more, for whom nobody is free until the third is done.
    const others = await Promise.all(
      Array.from({ length: 4 }, () => responder.connect()),
    );
    const answers = others.map((client) => client.ask(path("/nap")));
    assertEquals((await third.answer()).text, "done");
    for (const answer of answers) assertEquals((await answer).text, "slept");
    for (const client of held) {
      await third.ask(path("/go"));
      assertEquals((await client.answer()).text, "let go");
    }
    assertEquals((await third.ask(path("/most"))).text, "3");
  }));

for (const app of ["threads:app", "threads:parallel()"]) {
  test(`${app}: requests that wait run side by side, and end`, () =>
    withThreads(4, sideBySide, app));
}

/** Threads stay with connections then, and without an interpreter lock anyhow. */
async function sideBySide(responder: Responder): Promise<void> {
  const clients = await Promise.all(
    Array.from({ length: 4 }, () => responder.connect()),
  );
  await Promise.all(clients.map(async (client) => {
    for (let i = 0; i < 30; i++) {
      assertEquals((await client.ask(path("/nap"))).text, "slept");
    }
  }));
  assertEquals((await clients[0]!.ask(path("/most"))).text, "4");
  // One that nobody stays with, and the end of those that are stayed with.
  const other = await responder.connect();
  assertEquals((await other.ask(path("/quick"))).text, "quick");
  responder.closeInput();
  for (const client of [...clients, other]) await client.raw.untilEnded();
  assertEquals(await responder.exited, 0);
}

test("connections that are idle take no thread, however many", () =>
  withThreads(1, async (responder) => {
    const silent = await responder.connect();
    const clients = await Promise.all(
      Array.from({ length: 100 }, () => responder.connect()),
    );
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all(
        clients.map((client) => client.ask(path("/quick"))),
      );
      assert(answers.every(({ text }) => text === "quick"));
    }
    assertEquals((await clients[0]!.ask(path("/most"))).text, "1");
    responder.closeInput();
    await silent.raw.untilEnded();
    await clients[99]!.raw.untilEnded();
    assertEquals(await responder.exited, 0);
  }));

test("what waits for a thread when the end comes is answered whole", () =>
  withThreads(1, async (responder) => {
    const waiting = await responder.connect();
    assertEquals((await waiting.ask(path("/quick"))).text, "quick");
    const held = await begin(responder, "/hold", "held");
    const whole = request(path("/letters"), "some content");
    await waiting.raw.send(whole.subarray(0, whole.length - 15));
    responder.closeInput();
    await untilRefused(responder);
    await waiting.raw.send(whole.subarray(whole.length - 15));
    responder.kill("SIGUSR2");
    assertEquals((await held.answer()).text, "let go");
    const answer = await waiting.answer();
    assertEquals(answer.text, "one by one: some content");
    assertEquals(answer.appStatus, 0);
    await waiting.raw.untilEnded();
    assertEquals(await responder.exited, 0);
  }));

test("a request that comes as its connection is shut is answered whole", () =>
  withThreads(1, async (responder) => {
    const client = await responder.connect();
    assertEquals((await client.ask(path("/quick"))).text, "quick");
    // By then the only thread is done with the first connection.
    const other = await responder.connect();
    assertEquals((await other.ask(path("/quick"))).text, "quick");
    responder.closeInput();
    await responder.untilSeen(() => responder.printed !== "", "shutting");
    const answer = await client.ask(path("/letters"));
    assertEquals(answer.text, "one by one: ");
    assertEquals(answer.appStatus, 0);
    await client.raw.untilEnded();
    assertEquals(await responder.exited, 0);
  }, "threads:overtaken()"));

test("content that comes for a busy request wakes nobody again and again", () =>
  withThreads(2, async (responder) => {
    const busy = await responder.connect();
    const params = { ...path("/hold"), CONTENT_LENGTH: "50000" };
    const whole = request(params, "x".repeat(40_000));
    // Without the end of its content, which it does not read.
    await busy.raw.send(whole.subarray(0, whole.length - 8));
    await responder.untilSeen(() => responder.printed !== "", "held");
    const other = await responder.connect();
    const used = async () => Number((await other.ask(path("/cpu"))).text);
    await other.ask(path("/quick"));
    await busy.raw.send(record(STDIN, "y".repeat(5_000)));
    const before = await used();
    const until = performance.now() + 500;
    while (performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert(await used() - before < 0.2, "It does not come to rest");
    await busy.raw.send(record(STDIN, "z".repeat(5_000)));
    await busy.raw.send(record(STDIN));
    await other.ask(path("/go"));
    assertEquals((await busy.answer()).text, "let go");
    // And it is looked at again.
    assertEquals((await busy.ask(path("/quick"))).text, "quick");
  }));

test("what cannot be accepted for want of descriptors is accepted later", () =>
  withThreads(1, async (responder) => {
    const clients: FastCgiClient[] = [];
    for (let i = 0; i < 12; i++) clients.push(await responder.connect());
    assertEquals((await clients[0]!.ask(path("/quick"))).text, "quick");
    await responder.untilErrors("could not be accepted");
    // It is tried again at every turn, but not said again.
    for (let i = 0; i < 20; i++) await clients[0]!.ask(path("/quick"));
    assertEquals(responder.errors.split("could not be accepted").length, 2);
    const answers = clients.slice(4).map((client) =>
      client.ask(path("/quick"))
    );
    assertEquals((await clients[0]!.ask(path("/quick"))).text, "quick");
    for (let i = 0; i < 12; i++) {
      if (i >= 4) assertEquals((await answers[i - 4]!).text, "quick");
      await clients[i]!.close();
    }
  }, "threads:scarce()"));

test("a connection that cannot be served fails alone", () =>
  withThreads(1, async (responder) => {
    // On Bun it may be closed before it is known to be open.
    const first = await responder.connect().catch(() => undefined);
    await first?.raw.untilEnded();
    const second = await responder.connect();
    assertEquals((await second.ask(path("/quick"))).text, "quick");
  }, "threads:unsteady()"));
