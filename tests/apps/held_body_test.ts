import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { findMemoryCount } from "../../adapters/memory_count.ts";
import { isHeld } from "../../src/apps/held_body.ts";
import {
  countMemoryBy,
  type MemoryCount,
} from "../../src/apps/memory_count.ts";

/** Has memory counted as `count` says for the length of `run`. */
async function counting(
  count: MemoryCount | undefined,
  run: () => void | Promise<void>,
): Promise<void> {
  countMemoryBy(() => count);
  try {
    await run();
  } finally {
    countMemoryBy(findMemoryCount);
  }
}

const onBun = "Bun" in globalThis;

const octets = new Uint8Array(16);
const words = "a text of some length";
const inMemory: readonly (() => Response)[] = [
  () => new Response(words),
  () => new Response(`\u00e9\u20ac${words}`),
  () => new Response(octets),
  () => new Response(octets.buffer),
  () => Response.json({ words }),
  () => new Response(words, { status: 404, headers: { a: "b" } }),
];

function stream(): ReadableStream<Uint8Array> {
  return new ReadableStream({
    pull(controller) {
      controller.enqueue(octets);
    },
  });
}

test("isHeld() knows text and octets where the runtime counts memory", () => {
  assertEquals(findMemoryCount() !== undefined, onBun);
  countMemoryBy(findMemoryCount);
  for (const make of inMemory) {
    const response = make();
    assertEquals(isHeld(response), onBun);
    // Fields that were asked for and a clone make no difference.
    response.headers.set("c", "d");
    response.clone();
    assertEquals(isHeld(response), onBun);
  }
});

test("isHeld() is false of what may have to be waited for", () => {
  countMemoryBy(findMemoryCount);
  const form = new FormData();
  form.append("a", "b".repeat(1000));
  const streams: readonly Response[] = [
    new Response(stream()),
    new Response(stream(), { headers: { a: "b".repeat(1000) } }),
    new Response(stream()).clone(),
    new Response(new Response("text").body),
    new Response(new Blob(["a".repeat(1000)])),
    new Response(form),
    new Response(null),
    new Response(null, { headers: { a: "b".repeat(1000) } }),
    Response.redirect("http://127.0.0.1/"),
  ];
  for (const response of streams) {
    assertEquals(isHeld(response), false);
    response.headers.get("a");
    assertEquals(isHeld(response), false);
  }
});

class Page extends Response {
  readonly #octets = octets;
  readonly names = ["a"];

  get size(): number {
    return this.#octets.length;
  }
}

test("isHeld() leaves alone what counts for other reasons", async () => {
  countMemoryBy(findMemoryCount);
  assertEquals(isHeld(new Page(stream())), false);
  const tagged = new Response(stream()) as unknown as Record<string, unknown>;
  const names = [..."abcdefgh"];
  for (const name of names) {
    tagged[name] = name;
    assertEquals(isHeld(tagged as unknown as Response), false);
  }
  for (const name of names) {
    delete tagged[name];
    assertEquals(isHeld(tagged as unknown as Response), false);
  }
  assertEquals(
    isHeld(new Response(stream(), { statusText: "a".repeat(1000) })),
    false,
  );
  const fetched = await fetch("data:text/plain,text");
  assertEquals(isHeld(fetched), false);
  await fetched.body?.cancel();
});

test("isHeld() is false where nothing counts, or in another way", async () => {
  const unlike: readonly (MemoryCount | undefined)[] = [
    undefined,
    () => 0,
    () => 1000,
    // As if the queue of a stream counted.
    (value) => (value as Response).body === null ? 360 : 1360,
    // As if the fields did.
    (value) => 360 + [...(value as Response).headers].join().length,
  ];
  for (const count of unlike) {
    await counting(count, () => {
      for (const make of inMemory) assertEquals(isHeld(make()), false);
    });
  }
});
