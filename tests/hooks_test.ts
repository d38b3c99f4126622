import {
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import { CommandError } from "../src/command_error.ts";
import type { AccessRecord, Exchange, RequestHead } from "../src/exchange.ts";
import {
  collectHooks,
  type Hooks,
  type ServerInfo,
  type WorkerInfo,
} from "../src/hooks.ts";
import { type Logger, silentLogger } from "../src/logger.ts";

const path = "headgate.config.ts";

/** A logger that keeps what it is told. */
function keepingLogger(): { log: Logger; lines: string[] } {
  const lines: string[] = [];
  const log: Logger = {
    ...silentLogger,
    warn: (message) => void lines.push(`warning ${message}`),
    error: (message) => void lines.push(`error ${message}`),
  };
  return { log, lines };
}

function serverInfo(log: Logger = silentLogger): ServerInfo {
  return { pid: 1, generation: 1, log };
}

function workerInfo(log: Logger = silentLogger): WorkerInfo {
  return { pid: 2, seat: 1, generation: 1, log };
}

const ofFile = (hooks: Hooks) => collectHooks({ path, hooks });

test("a hook is given who it is called for", async () => {
  const calls: unknown[] = [];
  const hooks = ofFile({
    onReload: (server) => void calls.push(server),
    workerReady: (worker) => void calls.push(worker),
  });
  const [server, worker] = [serverInfo(), workerInfo()];
  await hooks.server("onReload", server);
  await hooks.worker("workerReady", worker);
  await hooks.worker("workerExit", worker);
  assertEquals(calls, [server, worker]);
});

test("a hook may take its time", async () => {
  let done = false;
  const hooks = ofFile({
    async whenReady() {
      await new Promise((resolve) => setTimeout(resolve, 1));
      done = true;
    },
  });
  await hooks.server("whenReady", serverInfo());
  assertEquals(done, true);
});

test("where two places give a hook, the file's is called first", async () => {
  const calls: string[] = [];
  const hooks = collectHooks({
    path,
    hooks: {
      async workerReady() {
        await Promise.resolve();
        calls.push("file");
      },
    },
  }, {
    path: "app.ts",
    exports: { workerReady: () => void calls.push("application") },
  });
  await hooks.worker("workerReady", workerInfo());
  assertEquals(calls, ["file", "application"]);
});

test("a hook that throws is logged with its name and stack", async () => {
  const { log, lines } = keepingLogger();
  const hooks = collectHooks({
    path,
    hooks: {
      whenReady() {
        throw new Error("at once");
      },
      workerReady: () => Promise.reject(new Error("later")),
    },
  }, {
    path: "app.ts",
    exports: { workerReady: () => void lines.push("called all the same") },
  });
  await hooks.server("whenReady", serverInfo(log));
  await hooks.worker("workerReady", workerInfo(log));
  assertMatch(
    lines[0] ?? "",
    /^error Hook whenReady of headgate\.config\.ts: Error: at once\n\s+at /,
  );
  assertStringIncludes(lines[1] ?? "", "Hook workerReady of headgate");
  assertStringIncludes(lines[1] ?? "", "later");
  assertEquals(lines[2], "called all the same");
});

test("onStarting and workerStart that throw refuse the start", async () => {
  const fail = () => Promise.reject(new Error("no database"));
  const hooks = ofFile({ onStarting: fail, workerStart: fail });
  for (
    const pending of [
      () => hooks.server("onStarting", serverInfo()),
      () => hooks.worker("workerStart", workerInfo()),
    ]
  ) {
    const error = await assertRejects(pending, CommandError);
    assertEquals(error.exitCode, 1);
    assertStringIncludes(error.message, "refuses the start");
    assertStringIncludes(error.detail ?? "", "no database");
  }
});

test("a process that is to end does not wait for ever for a hook", async () => {
  const { log, lines } = keepingLogger();
  const never = () => new Promise<void>(() => {});
  const hooks = ofFile({ onExit: never, workerExit: never });
  await hooks.server("onExit", serverInfo(log), 0.01);
  await hooks.worker("workerExit", workerInfo(log), 0.01);
  assertEquals(lines, [
    "warning Hook onExit of headgate.config.ts has not ended after 0.01 s; " +
    "leaving without it",
    "warning Hook workerExit of headgate.config.ts has not ended after " +
    "0.01 s; leaving without it",
  ]);
});

test("what comes before requests has all the time it takes", async () => {
  const { log, lines } = keepingLogger();
  const hooks = ofFile({
    async onStarting() {
      await new Promise((resolve) => setTimeout(resolve, 20));
      lines.push("started");
    },
  });
  await hooks.server("onStarting", serverInfo(log), 0.001);
  assertEquals(lines, ["started"]);
});

test("a hook that fails on the way out is logged", async () => {
  const { log, lines } = keepingLogger();
  const hooks = ofFile({ onExit: () => Promise.reject(new Error("why")) });
  await hooks.server("onExit", serverInfo(log));
  assertStringIncludes(lines[0] ?? "", "Hook onExit of headgate.config.ts");
});

// Around requests.

const head = { method: "GET" } as RequestHead;
const exchange = { head } as Exchange;
const record = { status: 200 } as AccessRecord;

test("without hooks handler and access function stay as they are", () => {
  const hooks = ofFile({ onExit() {} });
  const handler = () => {};
  const access = () => {};
  const worker = workerInfo();
  assertStrictEquals(hooks.beforeRequests(handler, worker), handler);
  assertStrictEquals(hooks.afterRequests(access, worker), access);
  assertStrictEquals(hooks.afterRequests(undefined, worker), undefined);
});

test("preRequest comes before the handler, postRequest after the line", () => {
  const calls: unknown[] = [];
  const hooks = ofFile({
    preRequest: (...details) => void calls.push(["before", ...details]),
    postRequest: (...details) => void calls.push(["after", ...details]),
  });
  const worker = workerInfo();
  const answer = Promise.resolve();
  const handler = hooks.beforeRequests((exchange) => {
    calls.push(["handler", exchange]);
    return answer;
  }, worker);
  const access = hooks.afterRequests(
    (record) => void calls.push(["line", record]),
    worker,
  );
  assertStrictEquals(handler(exchange), answer);
  access?.(record);
  // Whether a hook looks at the time is its own affair.
  const untimed = Object.assign(() => {}, { untimed: true });
  assertEquals(hooks.afterRequests(untimed, worker)?.untimed, undefined);
  hooks.afterRequests(undefined, worker)?.(record);
  assertEquals(calls, [
    ["before", head, worker],
    ["handler", exchange],
    ["line", record],
    ["after", record, worker],
    ["after", record, worker],
  ]);
});

test("a request is served though its hooks throw", async () => {
  const { log, lines } = keepingLogger();
  let served = false;
  const hooks = ofFile({
    preRequest() {
      throw new Error("at once");
    },
    // What the types forbid and JavaScript does not.
    postRequest: (() => Promise.reject(new Error("later"))) as () => void,
  });
  const worker = workerInfo(log);
  await hooks.beforeRequests(() => void (served = true), worker)(exchange);
  hooks.afterRequests(undefined, worker)?.(record);
  await Promise.resolve();
  await Promise.resolve();
  assertEquals(served, true);
  assertMatch(lines[0] ?? "", /^error Hook preRequest of .*: Error: at once\n/);
  assertMatch(lines[1] ?? "", /^error Hook postRequest of .*: Error: later\n/);
});

// Where hooks come from.

test("an export with a hook's name that is no function is refused", () => {
  const error = assertThrows(
    () =>
      collectHooks(undefined, { path: "app.ts", exports: { preRequest: 3 } }),
    CommandError,
    "app.ts exports preRequest",
  );
  assertEquals(error.exitCode, 1);
});

test("hooks that the application cannot give are warned of", async () => {
  let called = false;
  const hooks = collectHooks(undefined, {
    path: "app.ts",
    exports: {
      onExit: () => void (called = true),
      onStarting: "a string, which is somebody else's",
      workerReady() {},
    },
  });
  assertEquals(hooks.warnings, [
    "app.ts exports onExit, which nobody calls there; " +
    "it belongs to the configuration file",
  ]);
  await hooks.server("onExit", serverInfo());
  assertEquals([called, hooks.has("onExit"), hooks.has("workerReady")], [
    false,
    false,
    true,
  ]);
});
