/** One connection to a responder, without a pool. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { Connection } from "../../src/fastcgi/connection.ts";
import { RecordWriter } from "../../src/fastcgi/records.ts";
import { Run } from "../../src/fastcgi/run.ts";
import { silentLogger } from "../../src/logger.ts";
import { FakeExchange } from "../support/fake_exchange.ts";
import { arrived } from "../support/fake_responder.ts";
import { endRequest, stdout } from "../support/fastcgi_records.ts";
import { MemoryStream } from "../support/memory_stream.ts";
import { concat } from "../support/octets.ts";

function runOf(): Run {
  const exchange = new FakeExchange();
  return new Run({
    exchange,
    content: exchange.body,
    params: () => {},
    accepts: () => true,
    reading: undefined,
  }, {
    log: silentLogger,
    bufferSize: 1000,
    abandoned: (run) => run.connection?.abandon(),
  });
}

test("Connection forgets an abort that is over", async () => {
  const stream = new MemoryStream();
  let free = 0;
  const connection = new Connection(stream, {
    log: silentLogger,
    writer: new RecordWriter(),
    keepAlive: true,
    honoursAbort: true,
    released: () => free++,
    closed: () => {},
  });
  const receiving = connection.receive();
  // Together they exceed what one aborted request may send.
  for (let round = 1; round < 4; round++) {
    const run = runOf();
    assert(connection.send(run));
    run.fail(new Error("Nobody wants it"));
    await run.result.catch(() => {});
    assert(connection.abortedAt > 0);
    for (let count = 0; count < 10; count++) {
      stream.push(stdout("x".repeat(60_000)));
    }
    stream.push(endRequest());
    await stream.until(() => stream.waiting && free === round);
    assertEquals(connection.abortedAt, 0);
    assertEquals(connection.run, undefined);
  }
  const run = runOf();
  assert(connection.send(run));
  stream.push(concat([stdout("Status: 200\n\n"), endRequest()]));
  await run.result;
  assertEquals(
    arrived(stream).map(({ aborted }) => aborted),
    [true, true, true, false],
  );
  assertEquals(stream.misuse, []);
  stream.end();
  await receiving;
  assert(connection.closed);
});
