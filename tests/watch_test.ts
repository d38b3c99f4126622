/** What a worker is serving: the table, the watch over it, and when a connection
 * writes to it. Time passes as a test says; the thread that it takes is in
 * tests/adapters/watchdog_test.ts. */
import { test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { StreamError } from "../src/errors.ts";
import type { Exchange, Handler } from "../src/exchange.ts";
import type { RequestWatch } from "../src/gate.ts";
import { createGateway } from "../src/gateway.ts";
import { keepWatch, RequestTable, type WatchData } from "../src/watch.ts";
import type { WatchdogThread } from "../src/daemon/host.ts";
import { MemoryStream } from "./support/memory_stream.ts";
import { octets } from "./support/octets.ts";

/** What happens while the thread sleeps, and for how long it does; without a
 * number, for as long as it means to. */
interface Sleep {
  readonly ms?: number;
  readonly meanwhile?: () => void;
}

/** A thread whose sleeps are told beforehand, and that ends after them. */
class ScriptedThread implements WatchdogThread {
  readonly pauses: number[] = [];
  written = "";
  readonly #sleeps: Sleep[];
  #now = 5000;

  constructor(sleeps: readonly Sleep[]) {
    this.#sleeps = [...sleeps];
  }

  now(): number {
    return this.#now;
  }

  wait(_: Int32Array, _index: number, _value: number, pause: number): boolean {
    const sleep = this.#sleeps.shift();
    if (sleep === undefined) return false;
    this.pauses.push(pause);
    this.#now += sleep.ms ?? pause;
    sleep.meanwhile?.();
    return true;
  }

  write(text: string): void {
    this.written += text;
  }

  kill(): void {
    this.written += "killed";
  }

  /** What was written, without the date and the time of each line. */
  get told(): string[] {
    return this.written.split("\n").slice(0, -1).map((line) => {
      assertMatch(line, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[[A-Z]+\] /);
      return line.slice("2026-11-22 05:24:31,402 ".length);
    });
  }
}

const terms = { timeoutSeconds: 8, label: "Worker 2 (pid 412)" };

/** Runs the watch from its text, as its thread does. */
function run(
  table: RequestTable,
  sleeps: readonly Sleep[],
  timeoutSeconds: number = terms.timeoutSeconds,
): ScriptedThread {
  const { source, data } = table.watch({ ...terms, timeoutSeconds });
  const program = new Function(`return ${source}`)() as (
    data: WatchData,
    thread: WatchdogThread,
  ) => void;
  const thread = new ScriptedThread(sleeps);
  program(data, thread);
  return thread;
}

/** As many sleeps as it takes until the timeout. */
const untilTimeout: readonly Sleep[] = Array.from({ length: 8 }, () => ({}));

function begin(table: RequestTable, line: string): number {
  const head = octets(`${line}\r\nHost: a\r\n\r\n`);
  // Lent bytes: what stands before and behind them belongs to others.
  const buffer = octets("before").length;
  const lent = new Uint8Array(head.length + 2 * buffer).fill(0x58);
  lent.set(head, buffer);
  const row = table.begin(lent, buffer, buffer + head.length);
  lent.fill(0xee);
  return row;
}

// The table and the watch.

test("watch: a blocked loop is told with what it serves, youngest first", () => {
  const table = new RequestTable();
  table.beat(10_000);
  begin(table, "GET /stream HTTP/1.1");
  const over = begin(table, "GET /over HTTP/1.1");
  table.beat(12_500);
  begin(table, "POST /report?year=2026 HTTP/1.1");
  table.end(over);
  assertEquals(run(table, untilTimeout).told, [
    "[CRITICAL] Worker 2 (pid 412): its event loop has been blocked for 8.0 s " +
    "while it served 2 request(s)",
    '[CRITICAL] Worker 2 (pid 412): was serving "POST /report?year=2026 ' +
    'HTTP/1.1" for 8.0 s',
    '[CRITICAL] Worker 2 (pid 412): was serving "GET /stream HTTP/1.1" for ' +
    "10.5 s",
  ]);
});

test("watch: a loop that is blocked by no request is told, too", () => {
  assertEquals(run(new RequestTable(), untilTimeout).told, [
    "[CRITICAL] Worker 2 (pid 412): its event loop has been blocked for 8.0 s " +
    "while it served 0 request(s)",
  ]);
});

test("watch: nothing is told of a loop that turns", () => {
  const table = new RequestTable();
  const meanwhile = () => table.beat();
  const turning = [{}, {}, {}, {}, {}, {}, { ms: 900, meanwhile }];
  const thread = run(table, [...turning, ...turning, ...turning]);
  assertEquals(thread.written, "");
});

test("watch: it is told once, and once more when the loop is back", () => {
  const table = new RequestTable();
  const back = { ms: 250, meanwhile: () => table.beat() };
  const thread = run(table, [...untilTimeout, {}, {}, {}, back, {}, {}]);
  assertEquals(thread.told, [
    "[CRITICAL] Worker 2 (pid 412): its event loop has been blocked for 8.0 s " +
    "while it served 0 request(s)",
    "[WARNING] Worker 2 (pid 412): its event loop turns again, after 11.3 s",
  ]);
});

test("watch: where nobody kills who is hung, it does", () => {
  const table = new RequestTable();
  const waiting: Sleep[] = [{}, {}, {}, {}];
  const patient = run(table, [...untilTimeout, ...waiting, { ms: 999 }]);
  assertEquals(patient.told.length, 1);
  const thread = run(table, [...untilTimeout, ...waiting, {}, {}]);
  assertMatch(
    thread.written,
    /\[CRITICAL\] Worker 2 \(pid 412\): nobody has killed it;.*\nkilled$/,
  );
  assertEquals(thread.pauses.length, 13);
});

test("watch: the next hang is told like the first", () => {
  const table = new RequestTable();
  const back = { ms: 0, meanwhile: () => table.beat() };
  const thread = run(table, [...untilTimeout, back, ...untilTimeout]);
  assertEquals(
    thread.told.map((line) => line.split("]")[0]),
    ["[CRITICAL", "[WARNING", "[CRITICAL"],
  );
});

test("watch: it sleeps until the timeout and no longer", () => {
  const table = new RequestTable();
  const thread = run(table, [{ ms: 300 }, ...untilTimeout]);
  assertEquals(thread.pauses, [
    1000,
    1000,
    1000,
    1000,
    1000,
    1000,
    1000,
    1000,
    700,
  ]);
  assert(thread.written.includes("blocked for 8.0 s"));
});

test("watch: it looks four times in a short timeout", () => {
  const thread = run(new RequestTable(), [{}, {}, {}, {}, {}], 1);
  assertEquals(thread.pauses, [250, 250, 250, 250, 250]);
  assert(thread.written.includes("blocked for 1.0 s"));
});

test("watch: who slept as long as the loop has no complaint", () => {
  const table = new RequestTable();
  const hour = 3_600_000;
  const meanwhile = () => table.beat();
  const asleep = [{}, {}, { ms: hour }, { ms: 10, meanwhile }, {}, {}];
  assertEquals(run(table, asleep).written, "");
  const blockedToo = [...untilTimeout.slice(0, 5), { ms: hour }, {}, {}];
  assert(run(table, blockedToo).written.includes("blocked for 8.0 s"));
});

test("watch: what a peer sent cannot forge a line", () => {
  const table = new RequestTable();
  begin(table, "GET /a\n\x1b[2J\\\xe9 HTTP/1.1");
  assert(
    run(table, untilTimeout).written
      .includes('"GET /a\\x0a\\x1b[2J\\\\\\xe9 HTTP/1.1"'),
  );
});

test("watch: a long request line is cut, and one that just fits is not", () => {
  const table = new RequestTable();
  const fits = "GET /".padEnd(160, "x");
  begin(table, fits);
  begin(table, "PUT /".padEnd(161, "y"));
  const { written } = run(table, untilTimeout);
  assert(written.includes(`"${fits}" for`));
  assert(written.includes(`"${"PUT /".padEnd(160, "y")}..." for`));
});

test("watch: a long request line leaves the next row alone", () => {
  const table = new RequestTable();
  const first = begin(table, "GET /first HTTP/1.1");
  begin(table, "GET /second HTTP/1.1");
  table.end(first);
  begin(table, "GET /".padEnd(8000, "x"));
  const { told } = run(table, untilTimeout);
  assertEquals(told.length, 3);
  assert(told[2]!.includes('"GET /second HTTP/1.1" for 8.0 s'), told[2]);
});

test("watch: a line ends where the head does, or at CR", () => {
  const table = new RequestTable();
  const head = octets("GET / HTTP/1.1\r\n");
  table.begin(head, 0, head.length);
  table.begin(head, 4, 7);
  const { written } = run(table, untilTimeout);
  assert(written.includes('"GET / HTTP/1.1" for'));
  assert(written.includes('"/ H" for'));
});

test("watch: beyond 128 requests the others are counted", () => {
  const table = new RequestTable();
  const rows = Array.from(
    { length: 130 },
    (_, i) => begin(table, `GET /${i} HTTP/1.1`),
  );
  const [first, , third] = run(table, untilTimeout).told;
  assert(first!.endsWith("served 130 request(s)"));
  assert(third!.includes('"GET /126 HTTP/1.1"'));
  assert(
    run(table, untilTimeout).told.at(-1)!.endsWith(": was serving 2 more"),
  );

  for (const row of rows) table.end(row);
  assert(run(table, untilTimeout).written.includes("served 0 request(s)"));
  const again = new Set(rows.slice(0, 128).map((_, i) => begin(table, `${i}`)));
  assertEquals(again.size, 128);
  assert(!again.has(-1));
});

test("watch: a row that moves while it is read is left out", () => {
  const table = new RequestTable();
  const moving = begin(table, "GET /moving HTTP/1.1");
  begin(table, "GET /still HTTP/1.1");
  let moved = false;
  const thread = new ScriptedThread(untilTimeout);
  keepWatch(table.watch(terms).data, thread, (line) => {
    if (!moved) {
      table.end(moving);
      begin(table, "GET /next HTTP/1.1");
      moved = true;
    }
    return line;
  });
  assert(moved);
  assertEquals(thread.told.length, 2);
  assert(thread.told[1]!.includes('"GET /still HTTP/1.1"'));
});

// A connection tells the gate's watch.

/** Keeps what it is told. */
class Account implements RequestWatch {
  readonly served = new Map<number, string>();
  readonly begun: string[] = [];
  readonly ended: number[] = [];

  begin(octets: Uint8Array, start: number, end: number): number {
    const head = String.fromCharCode(...octets.subarray(start, end));
    assert(head.endsWith("\r\n\r\n"), head);
    this.begun.push(head.slice(0, head.indexOf(" HTTP/")));
    this.served.set(this.begun.length, this.begun.at(-1)!);
    return this.begun.length;
  }

  end(row: number): void {
    this.ended.push(row);
    this.served.delete(row);
  }

  get busy(): string[] {
    return [...this.served.values()];
  }
}

function request(line: string): string {
  return `${line} HTTP/1.1\r\nHost: a\r\n\r\n`;
}

function say({ response }: Exchange): void {
  response.start(200, "OK", [], 0);
  response.end();
}

function serving(handler: Handler, pieces: string[] = []) {
  const account = new Account();
  const gateway = createGateway(handler, { watch: account });
  const stream = new MemoryStream(pieces);
  gateway.accept(stream);
  return { account, gateway, stream };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 25_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`Waited in vain for ${what}`);
    await new Promise((pass) => setTimeout(pass, 0));
  }
}

test("connection: the watch knows a request while the handler has it", async () => {
  const seen: string[][] = [];
  const { account, gateway, stream } = serving((exchange) => {
    seen.push(account.busy);
    say(exchange);
  });
  stream.push(request("GET /1") + request("PUT /2"));
  await until(() => seen.length === 2, "two requests");
  stream.push(request("GET /3"));
  await until(() => seen.length === 3, "the third");
  assertEquals(seen, [["GET /1"], ["PUT /2"], ["GET /3"]]);
  assertEquals(account.busy, []);
  await gateway.shutdown(0);
});

test("connection: the watch knows a request until its promise settles", async () => {
  let settle!: () => void;
  const { account, gateway, stream } = serving(async (exchange) => {
    await new Promise<void>((resolve) => settle = resolve);
    say(exchange);
  }, [request("GET /slow")]);
  await until(() => settle !== undefined, "the handler");
  assertEquals(account.busy, ["GET /slow"]);
  settle();
  await until(() => stream.output.length > 0, "the response");
  assertEquals(account.busy, []);
  await gateway.shutdown(0);
});

test("connection: the watch is told once however a handler ends", async () => {
  const endings: [string, Handler][] = [
    ["throws", () => {
      throw new Error("no");
    }],
    ["rejects", () => Promise.reject(new Error("no"))],
    ["answers nothing", () => {}],
    ["answers nothing, later", () => Promise.resolve()],
    ["lost its peer", () => {
      throw new StreamError("gone");
    }],
    ["fails behind its head", ({ response }) => {
      response.start(200, "OK", [], 5);
      throw new Error("no");
    }],
  ];
  for (const [name, handler] of endings) {
    const { account, gateway } = serving(handler, [request("GET /")]);
    await until(
      () => account.begun.length === 1 && account.busy.length === 0,
      name,
    );
    await gateway.shutdown(0);
    assertEquals(account.begun, ["GET /"], name);
    assertEquals(account.ended, [1], name);
  }
});

test("connection: a request that is refused never reaches the watch", async () => {
  const { account, gateway, stream } = serving(say, ["GET / HTTP/1.1\r\n\r\n"]);
  await until(() => stream.output.length > 0, "the refusal");
  assertEquals(account.begun, []);
  await gateway.shutdown(0);
});

test("connection: what a cut connection leaves behind is served on", async () => {
  let settle!: () => void;
  const { account, gateway } = serving(
    () => new Promise<void>((resolve) => settle = resolve),
    [request("GET /deaf")],
  );
  await until(() => settle !== undefined, "the handler");
  await gateway.shutdown(0);
  assertEquals(account.busy, ["GET /deaf"]);
  settle();
  await until(() => account.busy.length === 0, "the handler's end");
});
