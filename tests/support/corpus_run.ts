/** Sends a case of the corpus through a gateway, and judges the answer. */
import { assertEquals } from "@std/assert";
import type { ByteStream } from "../../src/stream.ts";
import type { CorpusCase } from "./corpus.ts";
import { MemoryStream, type MemoryStreamOptions } from "./memory_stream.ts";
import { concat, latin1, octets } from "./octets.ts";
import type { RawClient } from "./raw_client.ts";
import {
  type ParsedResponse,
  parseResponses,
  readResponses,
} from "./responses.ts";
import type { Told } from "./telling.ts";

/** A request that shows whether the connection is still served. */
const probe = octets(
  "GET /probe HTTP/1.1\r\nHost: p\r\nConnection: close\r\n\r\n",
);

/** What hands a stream to the gateway under test. */
export type Accept = (stream: ByteStream) => void;

/** Sends the case over memory in `pieces` and judges the answer; returns it
 * without what may differ from one way to another. */
export async function runOverMemory(
  one: CorpusCase,
  pieces: readonly Uint8Array[],
  arrival: NonNullable<MemoryStreamOptions["arrival"]>,
  accept: Accept,
): Promise<string> {
  const stream = new MemoryStream(pieces, { arrival });
  if (one.inputEnds) stream.end();
  accept(stream);
  await stream.untilQuiet();
  expect(
    stream.finished,
    one.end === "close",
    () => `ended; ${seen(one, stream.output)}`,
  );
  const output = stream.output;
  judge(one, output);
  if (one.end === "open") {
    stream.push(probe);
    await stream.until(() => stream.finished, "the answer to the probe");
    judgeProbe(one, stream.output);
  }
  // The gateway lingers for the peer's end, then lets go.
  stream.end();
  await stream.untilClosed();
  expect(stream.misuse, [], () => one.title);
  return comparable(output);
}

/** Sends the case with a stranger's request close behind it; where the
 * connection is closed, nothing of the stranger's may be answered. */
export async function runWithStranger(
  one: CorpusCase,
  accept: Accept,
): Promise<string> {
  const stream = new MemoryStream([concat([one.wire, probe])]);
  accept(stream);
  await stream.until(() => stream.finished, "the end");
  if (one.end === "close") judge(one, stream.output);
  else judgeProbe(one, stream.output);
  stream.end();
  await stream.untilClosed();
  return comparable(stream.output);
}

/** Sends the case over a socket in `pieces`, and judges the answer. */
export async function runOverSocket(
  one: CorpusCase,
  pieces: readonly Uint8Array[],
  client: RawClient,
): Promise<void> {
  for (const piece of pieces) {
    await client.send(piece);
    // Gives the pieces a chance to arrive apart; nothing depends on it.
    if (pieces.length > 1) await new Promise((pass) => setTimeout(pass, 1));
  }
  if (one.inputEnds) client.end();
  if (one.end !== "close") {
    await client.until(
      () => finalCount(one, client.received) >= one.statuses.length,
      `${one.statuses.length} responses`,
    );
  }
  if (one.end === "open") await client.send(probe);
  if (one.end === "waiting") {
    judge(one, client.received);
    client.end();
  }
  await client.untilEnded();
  assertEquals(client.error, undefined);
  if (one.end === "open") judgeProbe(one, client.received);
  if (one.end === "close") judge(one, client.received);
}

/** How many responses have come, the optional 100 (Continue) left out. */
function finalCount(one: CorpusCase, output: Uint8Array): number {
  return without100(one, readResponses(output, context(one)).responses).length;
}

function context(one: CorpusCase) {
  return { method: (index: number) => one.methods[index] };
}

function without100(
  one: CorpusCase,
  responses: readonly ParsedResponse[],
): readonly ParsedResponse[] {
  return one.mayContinue && responses[0]?.status === 100
    ? responses.slice(1)
    : responses;
}

function judge(one: CorpusCase, output: Uint8Array): void {
  const responses = without100(one, parseResponses(output, context(one)));
  const statuses = responses.map(({ status }) => status);
  expect(statuses, one.statuses, () => seen(one, output));
  one.requests.forEach((expected, index) => {
    const response = responses[index]!;
    for (const [name, value] of expected.fields) {
      expect(response.get(name), value, () => `${name}; ${seen(one, output)}`);
    }
    judgeRequest(one, expected, response);
  });
  const last = responses.at(-1);
  if (one.invalid && last !== undefined) {
    expect(last.get("connection"), "close", () => seen(one, output));
  }
}

function judgeRequest(
  one: CorpusCase,
  expected: CorpusCase["requests"][number],
  response: ParsedResponse,
): void {
  if (expected.environ.size === 0 && expected.content === undefined) return;
  const told: Told = JSON.parse(latin1(response.content));
  for (const [key, value] of expected.environ) {
    expect(told.environ[key], value, () => `${key}; ${one.title}`);
  }
  if (expected.content !== undefined) {
    expect(told.content, expected.content, () => one.title);
  }
}

/** The last response answers the probe and nothing else. */
function judgeProbe(one: CorpusCase, output: Uint8Array): void {
  const responses = parseResponses(output, context(one));
  const last = responses.at(-1);
  expect(
    [without100(one, responses).length, last?.status, last?.get("connection")],
    [one.statuses.length + 1, 200, "close"],
    () => seen(one, output),
  );
}

/** As `assertEquals()`; `message` is made only when it is needed, because these
 * are asked hundreds of thousands of times. */
function expect<T>(actual: T, expected: T, message: () => string): void {
  if (equal(actual, expected)) return;
  assertEquals(actual, expected, message());
}

function equal(a: unknown, b: unknown): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b;
  return a.length === b.length && a.every((value, index) => value === b[index]);
}

/** Without what may differ: the Date, and a 100 (Continue) that need not be. */
export function comparable(output: Uint8Array): string {
  return latin1(output)
    .replaceAll(/\r\nDate: [^\r]*/g, "")
    .replaceAll("HTTP/1.1 100 Continue\r\n\r\n", "");
}

function seen(one: CorpusCase, output: Uint8Array): string {
  return `${one.title}\n  sent ${shortened(one.wire)}\n  got ${
    shortened(output)
  }`;
}

function shortened(bytes: Uint8Array): string {
  const text = JSON.stringify(latin1(bytes));
  return text.length <= 600
    ? text
    : `${text.slice(0, 400)}…${text.slice(-200)}`;
}
