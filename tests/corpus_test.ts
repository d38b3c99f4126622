/** Sends every case of the wire corpus through the gateway: over memory whole,
 * byte by byte and cut at every place, and over the sockets of the runtime that
 * this runs on. One test for each file and each of the two ways. */
import { test } from "node:test";
import { assertEquals, assertThrows } from "@std/assert";
import { detectTransport } from "../adapters/detect.ts";
import { wsgi } from "../src/apps/wsgi.ts";
import { createGateway, type Gateway } from "../src/gateway.ts";
import { type Logger, silentLogger } from "../src/logger.ts";
import { type CorpusCase, parseCase, readCorpus } from "./support/corpus.ts";
import {
  runOverMemory,
  runOverSocket,
  runWithStranger,
} from "./support/corpus_run.ts";
import { everySplit, singly } from "./support/every_split.ts";
import { latin1 } from "./support/octets.ts";
import { RawClient } from "./support/raw_client.ts";
import { ignore, tell } from "./support/telling.ts";

/** How many pieces are sent over a socket. */
const socketPieces = 4;

/** Above this many bytes, a case is not sent byte by byte as well. */
const bytewiseUpTo = 4000;

/** Runs `body` with a gateway for the case; afterwards, nothing of it may be
 * left, and it may not have blamed itself or the application. */
async function withGateway(
  one: CorpusCase,
  body: (gateway: Gateway) => Promise<void>,
): Promise<void> {
  const blamed: string[] = [];
  const log: Logger = {
    ...silentLogger,
    warn: (message) => blamed.push(message),
    error: (message) => blamed.push(message),
  };
  const gateway = createGateway(wsgi(one.ignoresContent ? ignore : tell), {
    limits: one.limits,
    log,
  });
  try {
    await body(gateway);
  } finally {
    await gateway.shutdown(0);
  }
  assertEquals(blamed, []);
}

for (const one of readCorpus()) {
  test(`${one.name} over memory`, () =>
    withGateway(one, async (gateway) => {
      const accept = gateway.accept.bind(gateway);
      const whole = await runOverMemory(one, [one.wire], "at once", accept);
      await everySplit(one.wire, async (pieces, way) => {
        if (way === "byte by byte" && one.wire.length > bytewiseUpTo) return;
        const output = await runOverMemory(one, pieces, "later", accept);
        assertEquals(output, whole);
      });
      if (one.wire.length <= bytewiseUpTo) {
        await runOverMemory(one, singly(one.wire), "at once", accept);
      }
      if (!one.inputEnds && one.end !== "waiting") {
        await runWithStranger(one, accept);
      }
    }));

  test(`${one.name} over sockets`, () =>
    withGateway(one, async (gateway) => {
      const transport = await detectTransport();
      const listener = await transport.listen(
        { port: 0 },
        (stream) => gateway.accept(stream),
      );
      try {
        for (const pieces of [[one.wire], divided(one.wire)]) {
          const client = await RawClient.connect(listener.address);
          try {
            await runOverSocket(one, pieces, client);
          } finally {
            await client.close();
          }
        }
      } finally {
        await listener.close();
      }
    }));
}

function divided(bytes: Uint8Array): Uint8Array[] {
  const size = Math.ceil(bytes.length / socketPieces);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    pieces.push(bytes.subarray(at, at + size));
  }
  return pieces;
}

test("the corpus holds what it promises", () => {
  const cases = readCorpus();
  const count = (invalid: boolean) =>
    cases.filter((one) => one.invalid === invalid).length;
  assertEquals([count(false) >= 150, count(true) >= 300], [true, true]);
  const wires = cases.map((one) =>
    `${one.ignoresContent} ${JSON.stringify(one.limits)} ${one.inputEnds} ` +
    latin1(one.wire)
  );
  assertEquals(new Set(wires).size, wires.length, "Two cases send the same");
  for (const one of cases.filter((one) => one.invalid)) {
    assertEquals(one.end, "close", one.name);
    assertEquals((one.statuses.at(-1) ?? 0) >= 400, true, one.name);
  }
});

test("parseCase() reads escapes and repetitions", () => {
  const one = parseCase(
    "valid/rfc9112_2_format_01",
    "# RFC 9112 section 2: format\n# expect: 100? 200 open\n" +
      "# environ 2: HTTP_X = a\\x20\n# environ 2: HTTP_Y absent\n" +
      "a\\r\\n\\t\\0\\xff\\\\\n# a remark\n\\{b\\{c*2}*2}*3}\n",
  );
  assertEquals(latin1(one.wire), "a\r\n\t\0\xff\\bccbcc*3}");
  assertEquals([one.mayContinue, one.statuses, one.end], [true, [200], "open"]);
  assertEquals([...one.requests[1]!.environ], [
    ["HTTP_X", "a "],
    ["HTTP_Y", undefined],
  ]);
});

test("parseCase() refuses what would pass unnoticed", () => {
  const head = "# RFC 9112 section 2: format\n# expect: 200 open\n";
  const refused = (text: string, rule: string, name = "valid/rfc9112_2_x_01") =>
    assertThrows(() => parseCase(name, text), SyntaxError, rule);
  refused(head + "GET / \n", "white space");
  refused(head + "\\q\n", "No escape");
  refused(head + "\\xFF\n", "No two digits");
  refused(head + "\\{a*\n", "does not end");
  refused(head + "a\tb\n", "Not visible ASCII");
  refused(head + "# expects: 200\n", "unknown directive");
  refused(head + "# limits: contents=1\n", "no limit");
  refused(head + "# environ: X 1\n", "malformed");
  refused("# RFC 9112 section 2: format\n# expect: 200\n", "malformed expect");
  refused(head, "not named by its clause", "valid/something");
});
