import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { ApplicationError, HttpError, StreamError } from "../src/errors.ts";
import { ContentInput } from "../src/input.ts";
import { bytes, FakeBody, text } from "./support/fake_exchange.ts";

type Pieces = readonly (string | Uint8Array | Error)[];

/** Runs `check` over content that is at hand and over content that is late,
 * with a declared length and without. */
async function everyWay(
  pieces: Pieces,
  check: (input: ContentInput, body: FakeBody) => Promise<void>,
): Promise<void> {
  let length = 0;
  for (const piece of pieces) {
    if (typeof piece === "string") length += bytes(piece).length;
    else if (piece instanceof Uint8Array) length += piece.length;
  }
  for (const slow of [false, true]) {
    for (const declared of [length, Infinity, 0]) {
      const body = new FakeBody(pieces, slow);
      await check(new ContentInput(body, declared), body);
    }
  }
}

/** `content` in one piece, in pieces of one and of two bytes, and with empty
 * views between. */
function splits(content: string): Pieces[] {
  return [
    [content],
    [...content],
    content.match(/[^]{1,2}/g) ?? [],
    ["", ...content.match(/[^]{1,3}/g) ?? [], ""],
  ];
}

test("read() yields all that remains, then empty bytes for ever", async () => {
  for (const pieces of splits("hello world")) {
    await everyWay(pieces, async (input) => {
      assertEquals(text(await input.read()), "hello world");
      assertEquals(text(await input.read()), "");
      assertEquals(text(await input.read(5)), "");
      assertEquals(text(await input.readline()), "");
      assertEquals(await input.readlines(), []);
    });
  }
});

test("read(size) yields exactly so many bytes until the end", async () => {
  for (const pieces of splits("abcdefgh")) {
    await everyWay(pieces, async (input) => {
      assertEquals(text(await input.read(3)), "abc");
      assertEquals(text(await input.read(3)), "def");
      assertEquals(text(await input.read(3)), "gh");
      assertEquals(text(await input.read(3)), "");
    });
  }
});

test("read1(size) yields what has come, at most so many bytes", async () => {
  await everyWay(["", "ab", "", "cdefg"], async (input) => {
    assertEquals(text(await input.read1(3)), "ab");
    assertEquals(text(await input.read1(3)), "cde");
    assertEquals(text(await input.read1(0)), "");
    assertEquals(text(await input.read1()), "fg");
    assertEquals(text(await input.read1()), "");
    assertEquals(text(await input.read1(3)), "");
  });
});

test("read1() goes together with the other reads", async () => {
  await everyWay(["a\nbc", "d\n", "ef"], async (input) => {
    assertEquals(text(await input.readline()), "a\n");
    assertEquals(text(await input.read1(-1)), "bc");
    assertEquals(text(await input.read(1)), "d");
    assertEquals(text(await input.read1(9)), "\n");
    assertEquals(text(await input.read()), "ef");
  });
});

test("read1() gives memory that the application may keep", async () => {
  await everyWay(["abc", "def"], async (input) => {
    const first = await input.read1();
    await input.read1();
    assertEquals(text(first), "abc");
  });
});

test("read1(0) does not touch the content", async () => {
  await everyWay(["ab"], async (input, body) => {
    assertEquals((await input.read1(0)).length, 0);
    assertEquals(body.reads, 0);
  });
});

test("read(-1) reads all", async () => {
  await everyWay(["ab", "cd"], async (input) => {
    assertEquals(text(await input.read(-1)), "abcd");
  });
});

test("read(0) does not touch the content, which would send 100 Continue", async () => {
  await everyWay(["ab"], async (input, body) => {
    assertEquals((await input.read(0)).length, 0);
    assertEquals(body.reads, 0);
  });
});

test("read(size) asks the content for no more than it needs", async () => {
  await everyWay(["ab", "cd", "ef"], async (input, body) => {
    await input.read(2);
    await input.read(2);
    assertEquals(body.reads, 2);
  });
});

test("what is read is the application's: no lent view comes out", async () => {
  await everyWay(["ab\nc", "d\n", "ef"], async (input) => {
    const first = await input.read(2);
    const second = await input.readline();
    const third = await input.readline();
    const rest = await input.read();
    await input.read();
    assertEquals([first, second, third, rest].map(text), [
      "ab",
      "\n",
      "cd\n",
      "ef",
    ]);
    for (const result of [first, second, third, rest]) {
      assertEquals(result.buffer.byteLength, result.length);
    }
  });
});

test("read() takes a large content through a small claim, and the reverse", async () => {
  const piece = new Uint8Array(100_000).fill(0x61);
  const pieces = Array.from({ length: 12 }, () => piece);
  for (const declared of [0, 10, 1_200_000, 2 ** 50, Infinity]) {
    const input = new ContentInput(new FakeBody(pieces), declared);
    const content = await input.read();
    assertEquals(content.length, 1_200_000);
    assertEquals(content.buffer.byteLength, 1_200_000);
    assert(content.every((octet) => octet === 0x61));
  }
});

test("read(size) allocates little on a stranger's word", async () => {
  const input = new ContentInput(new FakeBody(["x"]), 2 ** 50);
  assertEquals(text(await input.read(2 ** 50)), "x");
});

test("read() allocates in proportion to what has arrived", async () => {
  const { Uint8Array } = globalThis;
  let largest = 0;
  globalThis.Uint8Array = new Proxy(Uint8Array, {
    construct(target, args: [number], newTarget) {
      if (typeof args[0] === "number") largest = Math.max(largest, args[0]);
      return Reflect.construct(target, args, newTarget) as Uint8Array;
    },
  });
  try {
    const input = new ContentInput(new FakeBody(["x"]), 2 ** 50);
    assertEquals((await input.read()).length, 1);
  } finally {
    globalThis.Uint8Array = Uint8Array;
  }
  assert(largest < 100, `${largest} bytes for one`);
});

test("readline() yields lines with their LF, the last as it is", async () => {
  for (const pieces of splits("one\ntwo\r\n\nlast")) {
    await everyWay(pieces, async (input) => {
      const lines = [];
      for (let i = 0; i < 6; i++) lines.push(text(await input.readline()));
      assertEquals(lines, ["one\n", "two\r\n", "\n", "last", "", ""]);
    });
  }
});

test("readline(limit) stops at the limit or the LF, whichever is first", async () => {
  for (const pieces of splits("abcdef\ngh\n")) {
    await everyWay(pieces, async (input) => {
      assertEquals(text(await input.readline(4)), "abcd");
      assertEquals(text(await input.readline(2)), "ef");
      assertEquals(text(await input.readline(1)), "\n");
      assertEquals(text(await input.readline(0)), "");
      assertEquals(text(await input.readline(3)), "gh\n");
    });
  }
});

test("readlines() yields the lines that remain", async () => {
  for (const pieces of splits("a\nb\nc")) {
    await everyWay(pieces, async (input) => {
      assertEquals((await input.readlines()).map(text), ["a\n", "b\n", "c"]);
    });
  }
});

test("readlines(hint) stops once the lines hold so many bytes", async () => {
  for (const pieces of splits("aa\nbb\ncc\n")) {
    await everyWay(pieces, async (input) => {
      assertEquals((await input.readlines(4)).map(text), ["aa\n", "bb\n"]);
      assertEquals((await input.readlines(0)).map(text), ["cc\n"]);
    });
  }
});

test("iteration yields lines", async () => {
  for (const pieces of splits("a\n\nb")) {
    await everyWay(pieces, async (input) => {
      const lines = [];
      for await (const line of input) lines.push(text(line));
      assertEquals(lines, ["a\n", "\n", "b"]);
    });
  }
});

test("the ways to read can be mixed", async () => {
  for (const pieces of splits("head\nbodyline\nrest")) {
    await everyWay(pieces, async (input) => {
      assertEquals(text(await input.readline()), "head\n");
      assertEquals(text(await input.read(4)), "body");
      for await (const line of input) {
        assertEquals(text(line), "line\n");
        break;
      }
      assertEquals(text(await input.read()), "rest");
    });
  }
});

test("a read beside another is refused, and the first goes on", async () => {
  await everyWay(["ab", "cd"], async (input) => {
    const [first, second, third] = await Promise.allSettled([
      input.read(),
      input.read(1),
      input.readline(),
    ]);
    assert(first.status === "fulfilled" && text(first.value) === "abcd");
    for (const other of [second, third]) {
      assert(other.status === "rejected");
      assertInstanceOf(other.reason, ApplicationError);
      assertStringIncludes(other.reason.message, "another read was waiting");
    }
    assertEquals(text(await input.read()), "");
  });
});

test("a size that is no whole number is refused", async () => {
  const input = new ContentInput(new FakeBody(["abc"]), 3);
  for (const size of [1.5, NaN, "2" as unknown as number]) {
    await assertRejects(
      () => input.read(size),
      ApplicationError,
      "whole number",
    );
  }
  assertEquals(text(await input.read()), "abc");
});

test("what is wrong with the content comes out of the read", async () => {
  const wrongs = [new HttpError(413, "Too large"), new StreamError("Gone")];
  for (const wrong of wrongs) {
    await everyWay(["ab", wrong], async (input) => {
      assertEquals(text(await input.read(2)), "ab");
      const error = await assertRejects(() => input.read());
      assert(error === wrong);
    });
  }
});

test("a read that nobody waits for fails in silence", async () => {
  const body = new FakeBody([new StreamError("The peer left")], true);
  const input = new ContentInput(body, 5);
  input.read();
  await input.detach()?.catch(() => {});
});

test("detach() refuses further reads and names what is waited for", async () => {
  const body = new FakeBody(["ab", "cd"], true);
  const input = new ContentInput(body, 4);
  await input.read(1);
  const left = input.read();
  const arrival = input.detach();
  assert(arrival instanceof Promise);
  await assertRejects(() => left, ApplicationError, "after the response");
  await arrival;
  await assertRejects(
    () => input.read(),
    ApplicationError,
    "after the response",
  );
  assertEquals(body.reads, 2);
});

test("detach() has nothing to wait for when nothing is read", () => {
  const input = new ContentInput(new FakeBody(["ab"]), 2);
  assertEquals(input.detach(), undefined);
});

// Memory that is given away

/** A body that gives away what it lent, and tells how much was asked for. */
class GivingBody extends FakeBody {
  readonly asked: number[] = [];
  readonly gives: boolean;
  last: Uint8Array | null = null;

  constructor(pieces: readonly Uint8Array[], gives: boolean) {
    super([]);
    this.#pieces = [...pieces];
    this.gives = gives;
  }

  readonly #pieces: Uint8Array[];

  override read(): Uint8Array | null {
    return this.last = this.#pieces.shift() ?? null;
  }

  give(size: number): boolean {
    this.asked.push(size);
    return this.gives;
  }
}

test("read() yields large pieces as they are where the body gives them away", async () => {
  const piece = new Uint8Array(10_000).fill(1);
  const reads: [number | undefined, boolean][] = [
    [undefined, true],
    [10_000, true],
    [20_000, true],
    [9_999, false], // the rest is still to be read
  ];
  for (const gives of [true, false]) {
    for (const [size, whole] of reads) {
      const body = new GivingBody([piece], gives);
      const input = new ContentInput(body, piece.length);
      const content = await input.read(size);
      assertEquals(content, piece.subarray(0, size));
      assertEquals(content.buffer === piece.buffer, gives && whole);
      assertEquals(body.asked, whole ? [10_000] : []);
      assertEquals((await input.read()).length, 10_000 - content.length);
    }
  }
});

test("read() gives the end of a piece, but not what is put together or small", async () => {
  const pieces = [new Uint8Array(8000), new Uint8Array(6000)];
  const body = new GivingBody(pieces, true);
  const input = new ContentInput(body, 14_000);
  const own = [];
  for (const size of [1000, 7000, 3000, 3000]) {
    const content = await input.read(size);
    assertEquals(content.length, size);
    own.push(!pieces.some(({ buffer }) => buffer === content.buffer));
  }
  assertEquals(own, [true, false, true, true]);
  assertEquals(body.asked, [7000]);
  const joined = new ContentInput(new GivingBody(pieces, true), 14_000);
  assertEquals((await joined.read()).buffer.byteLength, 14_000);
  // Of content without a length, nobody knows yet that nothing follows.
  const unsaid = new GivingBody(pieces.slice(1), true);
  assertEquals((await new ContentInput(unsaid, Infinity).read()).length, 6000);
  assertEquals(unsaid.asked, []);
});
