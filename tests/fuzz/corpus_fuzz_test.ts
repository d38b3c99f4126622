/**
 * Sends thousands of mutations of the corpus through a gateway over memory, and
 * asserts what holds whatever a peer sends:
 *
 * - nothing is thrown, rejected or logged as our own fault;
 * - the gateway comes to an end when its peer does;
 * - it answers with a well-formed sequence of responses, and nothing follows
 *   the one that closes the connection;
 * - the answer does not depend on how the bytes were split.
 *
 * Seeded, so that a failure can be repeated: it names its seed, and
 * `FUZZ_SEED=n` begins there. `FUZZ_COUNT` sets how many are tried.
 */
import process from "node:process";
import { test } from "node:test";
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import type { Exchange } from "../../src/exchange.ts";
import { createGateway, type Gateway } from "../../src/gateway.ts";
import { type Logger, silentLogger } from "../../src/logger.ts";
import { readCorpus } from "../support/corpus.ts";
import { singly } from "../support/every_split.ts";
import { MemoryStream } from "../support/memory_stream.ts";
import { concat, latin1, octets } from "../support/octets.ts";
import {
  type ParsedResponse,
  parseResponses,
  readResponses,
} from "../support/responses.ts";
import { mutate, Random, shred } from "./mutate.ts";

const firstSeed = Number(process.env.FUZZ_SEED ?? 1);
const count = Number(process.env.FUZZ_COUNT ?? 3000);

/** Seeds longer than this cost more than they find. */
const longestSeed = 600;

/** What every application may do: read the content, or leave it unread; answer
 * whole, in pieces, or at the end. The method decides, so that it is the same
 * however the request arrives. */
async function answer({ head, body, response }: Exchange): Promise<void> {
  const received: Uint8Array[] = [];
  if (!head.path.includes("x")) {
    for (;;) {
      const pending = body.read();
      const piece = pending instanceof Promise ? await pending : pending;
      if (piece === null) break;
      received.push(piece.slice());
    }
  }
  const text = JSON.stringify([
    head.method,
    head.target,
    head.authority,
    latin1(concat(received)),
  ]);
  const content = octets(text);
  const size = head.query === "" ? content.length : undefined;
  response.start(200, "OK", [["Answers", head.method]], size);
  await response.write(content);
  await response.end();
}

/** Sends `pieces` and then ends; returns all that was answered. */
async function exchange(
  gateway: Gateway,
  pieces: readonly Uint8Array[],
  arrival: "at once" | "later",
): Promise<Uint8Array> {
  const stream = new MemoryStream(pieces, { arrival });
  stream.end();
  gateway.accept(stream);
  await stream.untilClosed();
  assertEquals(stream.misuse, []);
  return stream.output;
}

/** The responses in `output`, if they may stand there. */
function wellFormed(output: Uint8Array): ParsedResponse[] {
  const { responses, rest } = readResponses(output, {
    method: (_index, head) => head.get("answers"),
  });
  if (rest.length > 0) {
    // A refusal does not tell that the method was HEAD.
    const refusal = parseResponses(rest, { method: () => "HEAD" });
    assert(refusal[0]!.status >= 400);
    responses.push(...refusal);
  }
  for (const [index, response] of responses.entries()) {
    const last = index === responses.length - 1;
    if (isClose(response)) assert(last, "A response behind the last");
    if (response.status >= 400) {
      assert(isClose(response), `${response.status} without close`);
    }
    assert(response.status < 500 || [501, 505].includes(response.status));
  }
  return responses;
}

/** What may not depend on the pieces. The wording of a refusal may, since a line
 * that breaks two rules is looked at when its end or enough of it is here; and
 * 100 (Continue) is sent only where the content has not come by itself. */
function essence(responses: readonly ParsedResponse[]): string[] {
  return responses.filter(({ status }) => status >= 200).map((response) =>
    response.status >= 400
      ? String(response.status)
      : `${response.status} ${response.framing} ` +
        `${response.get("connection")} ${latin1(response.content)}`
  );
}

function isClose(response: ParsedResponse): boolean {
  return response.get("connection") === "close";
}

test(`${count} mutations of the corpus are answered in order or refused`, async () => {
  const faults: string[] = [];
  const note = (message: string) => faults.push(message);
  const log: Logger = { ...silentLogger, warn: note, error: note };
  const onRejection = (reason: unknown) => note(`Unhandled: ${reason}`);
  process.on("unhandledRejection", onRejection);
  const gateway = createGateway(answer, { log, limits: { content: 50_000 } });
  const seeds = readCorpus().map((one) => one.wire)
    .filter(({ length }) => length > 0 && length <= longestSeed);
  try {
    for (let seed = firstSeed; seed < firstSeed + count; seed++) {
      const random = new Random(seed);
      const bytes = mutate(random.pick(seeds), seeds, random);
      try {
        const whole = essence(
          wellFormed(await exchange(gateway, [bytes], "at once")),
        );
        const arrival = random.pick(["at once", "later"] as const);
        for (const pieces of [singly(bytes), shred(bytes, random)]) {
          const split = await exchange(gateway, pieces, arrival);
          assertEquals(essence(wellFormed(split)), whole);
        }
        assertEquals(faults, []);
      } catch (error) {
        if (error instanceof Error) {
          const sent = JSON.stringify(latin1(bytes));
          error.message = `Seed ${seed} sent ${sent}: ${error.message}`;
        }
        throw error;
      }
    }
  } finally {
    process.off("unhandledRejection", onRejection);
    await gateway.shutdown(0);
  }
  assertEquals(gateway.connections, 0);
});

test("Random repeats itself, and mutate() changes what it is given", () => {
  const seed = octets("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const run = (number: number) => {
    const random = new Random(number);
    return Array.from(
      { length: 50 },
      () => latin1(mutate(seed, [seed], random)),
    );
  };
  assertEquals(run(7), run(7));
  assertNotEquals(run(7), run(8));
  assert(new Set(run(7)).size > 40);
  assertEquals(latin1(seed), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
});
