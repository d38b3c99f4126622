/** What `headgate status` shows. */
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import {
  readStatus,
  type Status,
  type WorkerStatus,
} from "../../src/daemon/protocol.ts";
import {
  formatBytes,
  formatCount,
  formatSpan,
  statusJson,
  statusPage,
} from "../../src/daemon/status_page.ts";

const worker: WorkerStatus = {
  pid: 4712,
  seat: 1,
  generation: 3,
  state: "serving",
  age: 183_900,
  requests: 617_283,
  busy: 2,
  connections: 31,
  rss: 48_200_000,
  silent: 0.4,
};

const status: Status = {
  ok: true,
  version: "0.1.0",
  runtime: "Deno 2.9.5",
  pid: 4711,
  uptime: 183_907.5,
  state: "serving",
  app: "app.ts:app",
  generation: 3,
  target: 2,
  addresses: ["http://127.0.0.1:8000", "unix:/run/app.sock"],
  requests: 1_234_567,
  workers: [
    worker,
    {
      ...worker,
      pid: 14713,
      seat: 2,
      age: 65,
      requests: 9,
      busy: 0,
      connections: 1200,
      rss: 1_249_000_000,
      silent: 1.2,
    },
  ],
};

test("statusPage() shows a server in full", () => {
  assertEquals(
    statusPage(status),
    `\
headgate 0.1.0 on Deno 2.9.5, pid 4711, serving app.ts:app, up 2 d 3 h, generation 3, 1,234,567 requests
http://127.0.0.1:8000
unix:/run/app.sock

SEAT    PID  STATE          AGE  REQUESTS  BUSY  CONNECTIONS  MEMORY  SILENT
   1   4712  serving    2 d 3 h   617,283     2           31   48 MB   0 s
   2  14713  serving  1 min 5 s         9     0        1,200  1.2 GB   1 s
`,
  );
});

test("statusPage() marks a worker that is silent, and tells who is missing", () => {
  const page = statusPage({
    ...status,
    workers: [
      worker,
      { ...worker, seat: 2, silent: 12 },
      // A worker that loads its application has not begun to beat.
      { ...worker, seat: 3, state: "booting", silent: 12, rss: 0 },
      { ...worker, seat: 4, state: "draining", silent: 4.9 },
    ],
    target: 4,
  });
  const rows = page.split("\n").filter((line) => / {2}4712 {2}/.test(line));
  const marks = rows.map((row) => / (\d+ s( !)?)$/.exec(row)?.[1]);
  assertEquals(marks, ["0 s", "12 s !", "12 s", "4 s"]);
  assertMatch(rows[2] ?? "", /booting .* - +12 s$/);
  assertStringIncludes(page, "\n\n2 of 4 workers serve\n");
  assertMatch(page, /\n! has given no sign of life: [^\n]+\n$/);
});

test("statusPage() shows generations only while they differ", () => {
  const page = statusPage({
    ...status,
    state: "reloading",
    workers: [worker, { ...worker, generation: 4 }],
  });
  assertStringIncludes(page, ", reloading app.ts:app,");
  const [titles, first, second] = page.split("\n").slice(4);
  assertMatch(titles ?? "", /STATE {4}GENERATION/);
  assertMatch(first ?? "", /serving {11}3 /);
  assertMatch(second ?? "", /serving {11}4 /);
  assert(!statusPage(status).includes("GENERATION"));
});

test("statusPage() shows a server without workers", () => {
  const bare = {
    ...status,
    app: null,
    addresses: [],
    workers: [],
    requests: 1,
  };
  assertEquals(
    statusPage({ ...bare, target: 0, uptime: 0 }),
    "headgate 0.1.0 on Deno 2.9.5, pid 4711, serving the welcome page, " +
      "up 0 s, generation 3, 1 request\n",
  );
  assertMatch(statusPage(bare), /\n\n0 of 2 workers serve\n$/);
});

const hostile = "\u001b[2J\r\n\u009b0mé\u{1f600}\\";

test("statusPage() lets no control character through", () => {
  const page = statusPage({
    ...status,
    version: hostile,
    runtime: hostile,
    state: hostile,
    app: hostile,
    addresses: [hostile],
    workers: [{ ...worker, state: hostile }],
  });
  assertMatch(page, /^[\x20-\x7e\n]+$/);
  // Summary, address, titles and worker, remark, and empty lines between.
  assertEquals(page.split("\n").length, 8);
  assertStringIncludes(page, "\\x1b[2J\\x0d\\x0a\\x9b0m");
});

test("statusJson() is the status as it is, in ASCII", () => {
  const text = statusJson({ ...status, app: hostile, novelty: [1] });
  assertMatch(text, /^[\x20-\x7e\n]+$/);
  assertEquals(JSON.parse(text), { ...status, app: hostile, novelty: [1] });
  assertEquals(readStatus(JSON.parse(text))?.app, hostile);
  assertStringIncludes(text, '\n  "pid": 4711,\n');
  assert(text.endsWith("}\n"));
});

test("formatSpan() takes the two largest units", () => {
  const spans: [number, string][] = [
    [0, "0 s"],
    [0.99, "0 s"],
    [1, "1 s"],
    [59.9, "59 s"],
    [60, "1 min"],
    [61, "1 min 1 s"],
    [3599, "59 min 59 s"],
    [3600, "1 h"],
    [3659, "1 h"],
    [3660, "1 h 1 min"],
    [86_399, "23 h 59 min"],
    [86_400, "1 d"],
    [86_460, "1 d"],
    [183_900, "2 d 3 h"],
    [86_400 * 1000, "1000 d"],
  ];
  for (const [seconds, text] of spans) assertEquals(formatSpan(seconds), text);
});

test("formatBytes() takes decimal units", () => {
  const sizes: [number, string][] = [
    [0, "-"],
    [1, "0 kB"],
    [1500, "2 kB"],
    [999_499, "999 kB"],
    [999_500, "1 MB"],
    [48_200_000, "48 MB"],
    [999_499_999, "999 MB"],
    [999_500_000, "1.0 GB"],
    [12_340_000_000, "12.3 GB"],
  ];
  for (const [bytes, text] of sizes) assertEquals(formatBytes(bytes), text);
});

test("formatCount() puts commas", () => {
  const counts: [number, string][] = [
    [0, "0"],
    [999, "999"],
    [1000, "1,000"],
    [12_345, "12,345"],
    [1_234_567, "1,234,567"],
    [Number.MAX_SAFE_INTEGER, "9,007,199,254,740,991"],
  ];
  for (const [count, text] of counts) assertEquals(formatCount(count), text);
});
