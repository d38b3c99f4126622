/** The readers of what processes say to each other: each message with every
 * member left out, and with every member of another kind. */
import { test } from "node:test";
import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import {
  readCommand,
  readNotice,
  readOrder,
  readOutcome,
  readReport,
  readRole,
  readStatus,
} from "../../src/daemon/protocol.ts";
import { mostWorkers } from "../../src/commands.ts";

type Members = Record<string, unknown>;
type Reader = (value: unknown) => unknown;

const slot = { fd: 3, address: { host: "127.0.0.1", port: 8000 } };

const arbiterRole = {
  type: "arbiter",
  slots: [slot, { fd: 4, address: { host: "app.sock", port: 0 } }],
  configFile: null,
  daemon: true,
  predecessor: null,
  launcher: null,
};

const workerRole = {
  type: "worker",
  slots: [slot],
  configFile: "/srv/headgate.config.json",
  daemon: false,
  seat: 1,
  generation: 2,
};

const worker = {
  pid: 4712,
  seat: 1,
  generation: 3,
  state: "serving",
  age: 61.5,
  requests: 12,
  busy: 1,
  connections: 2,
  rss: 50_000_000,
  silent: 0.3,
};

const status = {
  ok: true,
  version: "0.1.0",
  runtime: "Deno 2.9.5",
  pid: 4711,
  uptime: 99.5,
  state: "serving",
  app: "app.ts:app",
  generation: 3,
  target: 1,
  addresses: ["http://127.0.0.1:8000"],
  requests: 1234,
  workers: [worker],
};

const messages: readonly (readonly [string, Reader, readonly Members[]])[] = [
  ["readRole()", readRole, [arbiterRole, workerRole]],
  ["readOrder()", readOrder, [
    { type: "listen", fds: [3, 4] },
    { type: "drain", graceSeconds: 0.5, idleSeconds: 5 },
    { type: "reopen" },
  ]],
  ["readReport()", readReport, [
    { type: "loaded" },
    { type: "listening", fds: [] },
    { type: "leaving" },
    { type: "reopened", failures: [] },
    { type: "reopened", failures: [{ path: "/a.log", code: "ENOENT" }] },
    { type: "beat", requests: 7, busy: 0, connections: 1, rss: 1 },
    { type: "failed", message: "Cannot import app.ts", exitCode: 1 },
  ]],
  ["readNotice()", readNotice, [
    { type: "ready", pid: 10, workers: [11, 12] },
    { type: "failed", message: "No worker could boot" },
    { type: "successor", pid: 13 },
    { type: "reopened", problems: [] },
  ]],
  ["readCommand()", readCommand, [
    { command: "status" },
    { command: "reload" },
    { command: "reopen" },
    { command: "scale", workers: 4 },
    { command: "stop", quick: false },
    { command: "restart" },
  ]],
  ["readOutcome()", readOutcome, [
    { ok: true, message: "Reloaded" },
    { ok: false, message: "The new workers failed" },
  ]],
  ["readStatus()", readStatus, [
    status,
    { ...status, app: null, workers: [], addresses: [] },
  ]],
];

// A value of another kind for each member.
const strangers: readonly unknown[] = [
  undefined,
  {},
  [{}],
  [null],
  ["\0"],
  -1,
  1.5e300,
  NaN,
];

for (const [name, read, examples] of messages) {
  test(`${name} takes its messages as they are`, () => {
    for (const message of examples) {
      assertStrictEquals(read(message), message);
      const sent = JSON.parse(JSON.stringify(message));
      assertEquals(read(sent), message);
      // A newer release may tell more.
      assert(read({ ...message, novelty: 1 }) !== undefined);
    }
  });

  test(`${name} refuses a message that lacks a member`, () => {
    for (const message of examples) {
      for (const member of Object.keys(message)) {
        const { [member]: _, ...rest } = message;
        assertEquals(read(rest), undefined, `without ${member}`);
      }
    }
  });

  test(`${name} refuses a member of another kind`, () => {
    for (const message of examples) {
      for (const member of Object.keys(message)) {
        for (const stranger of strangers) {
          // An amount may be huge.
          if (stranger === 1.5e300 && isAmount(member)) continue;
          // A list of texts may hold any text.
          if (["addresses", "problems"].includes(member)) {
            if (Array.isArray(stranger) && stranger[0] === "\0") continue;
          }
          const changed = { ...message, [member]: stranger };
          assertEquals(read(changed), undefined, `${member}: ${stranger}`);
        }
      }
    }
  });

  test(`${name} refuses what is no object, and other messages`, () => {
    for (const value of [undefined, null, 1, "type", true, [], () => 0]) {
      assertEquals(read(value), undefined);
    }
    const inherited = Object.create(examples[0] ?? null);
    assertEquals(read(inherited), undefined);
    for (const [, other, theirs] of messages) {
      if (other === read) continue;
      for (const message of theirs) {
        if (message["type"] === "failed") continue; // a report and a notice
        assertEquals(read(message), undefined);
      }
    }
  });
}

function isAmount(member: string): boolean {
  return ["graceSeconds", "idleSeconds", "uptime"].includes(member);
}

test("readRole() refuses sockets that could be none", () => {
  for (
    const wrong of [
      { fd: -1, address: slot.address },
      { fd: 3.5, address: slot.address },
      { fd: 3 },
      { fd: 3, address: { host: "::1", port: 65_536 } },
      { fd: 3, address: { host: null, port: 80 } },
    ]
  ) assertEquals(readRole({ ...workerRole, slots: [slot, wrong] }), undefined);
});

test("a pid is none that a signal would carry to many", () => {
  for (const pid of [0, -1, 1.5, 2 ** 31, "1", null]) {
    assertEquals(readNotice({ type: "successor", pid }), undefined);
    assertEquals(
      readNotice({ type: "ready", pid: 1, workers: [pid] }),
      undefined,
    );
    assertEquals(readStatus({ ...status, pid }), undefined);
    assertEquals(
      readStatus({ ...status, workers: [{ ...worker, pid }] }),
      undefined,
    );
    if (pid === null) continue;
    assertEquals(readRole({ ...arbiterRole, predecessor: pid }), undefined);
  }
  assert(readRole({ ...arbiterRole, predecessor: 4711 }) !== undefined);
});

test("readCommand() bounds how many workers there may be", () => {
  const scale = (workers: unknown) =>
    readCommand({ command: "scale", workers }) !== undefined;
  assert(scale(1));
  assert(scale(mostWorkers));
  for (const workers of [0, mostWorkers + 1, 2.5, "2", Infinity]) {
    assert(!scale(workers), String(workers));
  }
});

test("readStatus() looks at every member of every worker", () => {
  for (const member of Object.keys(worker)) {
    const { [member as keyof typeof worker]: _, ...rest } = worker;
    assertEquals(
      readStatus({ ...status, workers: [worker, rest] }),
      undefined,
      member,
    );
    assertEquals(
      readStatus({ ...status, workers: [{ ...worker, [member]: [] }] }),
      undefined,
      member,
    );
  }
  assertEquals(readStatus({ ...status, ok: false }), undefined);
});

test("readStatus() takes a status that tells no grace time", () => {
  for (const graceSeconds of [0, 30.5]) {
    assert(readStatus({ ...status, graceSeconds }) !== undefined);
  }
  for (const graceSeconds of [null, -1, "30"]) {
    assertEquals(readStatus({ ...status, graceSeconds }), undefined);
  }
});
