/** Request content that is read ahead, over files that are arrays. */
import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type HeldContent,
  holdContent,
  type HoldMode,
} from "../../src/apps/held_content.ts";
import type { SpoolFile } from "../../src/backend_host.ts";
import { BackendError, HttpError } from "../../src/errors.ts";
import {
  FakeExchange,
  type FakeRequest,
  text,
} from "../support/fake_exchange.ts";

/** Spool files in memory. */
class Spools {
  opened = 0;
  closed = 0;
  appends = 0;
  /** The code of the error that each append ends with, if any. */
  failure = "";

  openSpool(): Promise<SpoolFile> {
    this.opened++;
    let open = true;
    let content = new Uint8Array(0);
    return Promise.resolve({
      append: (bytes) => {
        this.appends++;
        const code = this.failure;
        if (code !== "") {
          return Promise.reject(Object.assign(new Error("failed"), { code }));
        }
        const longer = new Uint8Array(content.length + bytes.length);
        longer.set(content);
        longer.set(bytes, content.length);
        content = longer;
        return Promise.resolve();
      },
      read: (buffer, position) => {
        assert(open, "the file is closed");
        // Whoever reads cannot count on all of it at once.
        const piece = content.subarray(position, position + buffer.length)
          .subarray(0, 50_000);
        buffer.set(piece);
        return Promise.resolve(piece.length);
      },
      close: () => {
        if (open) this.closed++;
        open = false;
      },
    });
  }
}

async function readAll(content: HeldContent): Promise<string> {
  let read = "";
  for (;;) {
    const piece = await content.read();
    if (piece === null) return read;
    assert(piece.length > 0);
    read += text(piece);
  }
}

interface Outcome {
  whole: boolean;
  length: number | undefined;
  content: string;
  /** How often the client's content was read before the application asked. */
  ahead: number;
  spools: Spools;
}

async function hold(request: FakeRequest, spool?: HoldMode): Promise<Outcome> {
  const spools = new Spools();
  const exchange = new FakeExchange({ method: "POST", ...request });
  const mode = spool === undefined ? {} : { spool };
  const held = await holdContent(exchange, { ...mode, host: spools });
  const ahead = exchange.body.reads;
  const { whole, length } = held;
  const content = await readAll(held);
  assertEquals(await held.read(), null);
  assertEquals(spools.closed, 0);
  held.close();
  held.close();
  assertEquals(spools.closed, spools.opened);
  return { whole, length, content, ahead, spools };
}

const sized = (length: number): [string, string][] => [
  ["Content-Length", String(length)],
];

test("holdContent() lends content that is here already as it lies there", () => {
  const pending = holdContent(
    new FakeExchange({ fields: sized(5), content: ["hello"] }),
    { host: new Spools() },
  );
  assert(!(pending instanceof Promise));
  assertEquals([pending.whole, pending.length], [true, 5]);
  assertEquals(text(pending.read() as Uint8Array), "hello");
  assertEquals(pending.read(), null);
});

test("holdContent() leaves a request without content alone", async () => {
  for (const fields of [[], sized(0)]) {
    const { whole, length, content, ahead } = await hold({ fields }, "all");
    assertEquals([whole, length, content, ahead], [true, 0, "", 0]);
  }
});

test("holdContent() waits for short content, in whatever pieces", async () => {
  for (const slowContent of [false, true]) {
    const { whole, length, content, spools } = await hold({
      fields: sized(9),
      content: ["one", "two", "six"],
      slowContent,
    });
    assertEquals([whole, length, content], [true, 9, "onetwosix"]);
    assertEquals(spools.opened, 0);
  }
});

test("holdContent() takes the length of chunked content", async () => {
  for (const mode of ["chunked", "all"] as const) {
    const { whole, length, content, spools } = await hold({
      content: ["one", "two", "seven"],
      slowContent: true,
    }, mode);
    assertEquals([whole, length, content], [true, 11, "onetwoseven"]);
    assertEquals(spools.opened, 0);
  }
  const empty = await hold({ content: [] });
  assertEquals([empty.whole, empty.length, empty.content], [true, 0, ""]);
});

/** A text in which a lost or doubled piece shows. */
function longText(length: number): string {
  let long = "";
  for (let at = 0; long.length < length; at++) long += `${at} `;
  return long.slice(0, length);
}

function cut(long: string, size: number): string[] {
  const pieces = [];
  for (let at = 0; at < long.length; at += size) {
    pieces.push(long.slice(at, at + size));
  }
  return pieces;
}

test("holdContent() spools what is more than 64 KiB", async () => {
  for (const length of [65_536, 65_537, 131_072, 300_001]) {
    for (const size of [1000, 40_000, 65_536, 200_000]) {
      const long = longText(length);
      const outcome = await hold({ content: cut(long, size) });
      assertEquals(outcome.length, length);
      assertEquals(outcome.spools.opened, length > 65_536 ? 1 : 0);
      assert(outcome.content === long, `${length} in pieces of ${size}`);
    }
  }
});

test("holdContent() writes to its file in blocks, however small the pieces", async () => {
  const { spools } = await hold({ content: cut(longText(200_000), 7) });
  assertEquals(spools.appends, 4);
});

test('holdContent() lets long content of known length pass, unless it is "all"', async () => {
  const long = longText(70_000);
  const request = { fields: sized(70_000), content: cut(long, 30_000) };
  const passed = await hold(request);
  assertEquals([passed.whole, passed.length, passed.ahead], [false, 70_000, 0]);
  assert(passed.content === long);
  const held = await hold(request, "all");
  assertEquals([held.whole, held.length, held.ahead], [true, 70_000, 4]);
  assertEquals(held.spools.opened, 1);
  assert(held.content === long);
});

test('holdContent() reads nothing ahead when it is "off"', async () => {
  const short = await hold({ fields: sized(2), content: ["ab"] }, "off");
  assertEquals([short.whole, short.length, short.ahead], [false, 2, 0]);
  assertEquals(short.content, "ab");
  const chunked = await hold({ content: ["ab"] }, "off");
  assertEquals(chunked.length, undefined);
  assertEquals([chunked.whole, chunked.ahead], [false, 0]);
});

test("holdContent() rejects as reading does, and keeps no file", async () => {
  const spools = new Spools();
  const exchange = new FakeExchange({
    content: [longText(70_000), new HttpError(413, "Content too large")],
  });
  await assertRejects(
    async () => await holdContent(exchange, { host: spools }),
    HttpError,
    "Content too large",
  );
  assertEquals([spools.opened, spools.closed], [1, 1]);
});

for (const [code, status] of [["ENOSPC", 507], ["EMFILE", 503]] as const) {
  test(`holdContent() has ${status} answered at ${code}, and keeps no file`, async () => {
    const spools = new Spools();
    spools.failure = code;
    const exchange = new FakeExchange({ content: [longText(70_000)] });
    const error = await assertRejects(
      async () => await holdContent(exchange, { host: spools }),
      BackendError,
    );
    assertEquals(error.status, status);
    assertEquals([spools.opened, spools.closed], [1, 1]);
  });
}

test("holdContent() leaves other failures of the machine as they are", async () => {
  const spools = new Spools();
  spools.failure = "EIO";
  const exchange = new FakeExchange({ content: [longText(70_000)] });
  const error = await assertRejects(
    async () => await holdContent(exchange, { host: spools }),
    Error,
    "failed",
  );
  assert(!(error instanceof BackendError));
  assertEquals([spools.opened, spools.closed], [1, 1]);
});

test("holdContent() keeps the trailers", async () => {
  const exchange = new FakeExchange({
    content: ["ab"],
    trailers: [["Checksum", "1"]],
  });
  const held = await holdContent(exchange, { host: new Spools() });
  assertEquals(held.trailers?.get("checksum"), "1");
});
