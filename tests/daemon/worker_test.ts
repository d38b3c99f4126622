/** A worker from its start to its exit code, with a channel, a transport and a
 * process that are in the hands of the test. */
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { loadConfig } from "../../src/config.ts";
import type { Flags } from "../../src/settings.ts";
import type {
  Channel,
  DaemonHost,
  DaemonSignal,
  WatchdogOptions,
} from "../../src/daemon/host.ts";
import {
  type Order,
  readReport,
  type Report,
  type WorkerRole,
} from "../../src/daemon/protocol.ts";
import { runWorker } from "../../src/daemon/worker.ts";
import type { Hooks } from "../../src/hooks.ts";
import type { Host, Uncaught } from "../../src/host.ts";
import type { ByteStream, ListenOptions, Transport } from "../../src/stream.ts";
import { MemoryStream } from "../support/memory_stream.ts";
import { asText } from "../support/octets.ts";
import { only } from "../support/only.ts";

const role: WorkerRole = {
  type: "worker",
  slots: [
    { fd: 3, address: { host: "127.0.0.1", port: 8000 } },
    { fd: 4, address: { host: "127.0.0.1", port: 8000 } },
    { fd: 5, address: { host: "/run/a.sock", port: 0 } },
    { fd: 6, address: { host: "", port: 0 } },
  ],
  configFile: null,
  daemon: false,
  seat: 2,
  generation: 3,
};

/** Settles as soon as a condition holds. */
async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 25_000;
  while (!condition()) {
    assert(performance.now() < deadline, `Waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** What ends a process at once. */
class Exit {
  readonly code: number;

  constructor(code: number) {
    this.code = code;
  }
}

/** A worker's process, its arbiter and its sockets. */
class Ground {
  /** What the arbiter heard. */
  readonly reports: Report[] = [];
  /** What happened, in order. */
  readonly done: string[] = [];
  readonly logged: string[] = [];
  readonly listened: ListenOptions[] = [];
  /** Whoever accepts, by descriptor. */
  readonly accepting = new Map<number, (stream: ByteStream) => void>();
  readonly signals = new Map<DaemonSignal, () => void>();
  readonly watchdogs: WatchdogOptions[] = [];
  readonly opened: string[] = [];
  /** What cannot be opened. */
  readonly absent = new Set<string>();
  stderr = "";
  /** What it ended with, one way or another. */
  exitCode: number | undefined;
  /** What opening a listener waits for, and rejects with. */
  slowness: Promise<void> = Promise.resolve();
  refusal: Error | undefined;
  onUncaught: (kind: Uncaught, error: unknown) => void = () => {};
  #onMessage: (message: unknown) => void = () => {};
  #onClose: () => void = () => {};

  readonly channel: Channel = {
    open: true,
    send: (message) => {
      const report = readReport(JSON.parse(JSON.stringify(message)));
      assert(report !== undefined, `No report: ${JSON.stringify(message)}`);
      this.reports.push(report);
    },
    flushed: () => {
      this.done.push("flushed");
      return Promise.resolve();
    },
    receive: (onMessage, onClose) => {
      this.#onMessage = onMessage;
      this.#onClose = onClose;
    },
    close: () => {},
  };

  readonly host: Host = only<Host>({
    pid: 700,
    inUtc: () => false,
    env: {},
    isTerminal: () => false,
    write: (output, content) => {
      if (output === "stdout") this.logged.push(asText(content));
      else this.stderr += asText(content);
    },
    openAppend: (path) => {
      if (path.startsWith("/absent/") || this.absent.has(path)) {
        throw Object.assign(new Error(path), { code: "ENOENT" });
      }
      this.opened.push(path);
      return {
        write: (content) => void this.logged.push(asText(content)),
        close() {},
      };
    },
    status: () => undefined,
    cwd: () => "/home",
    onExit: () => () => {},
    onUncaught: (handler) => {
      this.onUncaught = handler;
      return () => {};
    },
    exit: (code): never => {
      throw new Exit(code);
    },
  });

  readonly daemonHost: DaemonHost = only<DaemonHost>({
    parent: this.channel,
    setTitle: (title) => void this.done.push(title),
    onSignal: (signal, handler) => {
      this.signals.set(signal, handler);
      return () => {};
    },
    residentBytes: () => 12_345,
    closeInherited: (fds) => void this.done.push(`close ${fds.join(" ")}`),
    keepSockets: () => {},
    startWatchdog: (_program, options) => void this.watchdogs.push(options),
    absolute: (path) => `/home/${path}`,
  });

  readonly transport: Transport = {
    name: "memory",
    listen: async (options, accept) => {
      this.listened.push(options);
      await this.slowness;
      if (this.refusal !== undefined) throw this.refusal;
      const fd = options.fd ?? -1;
      assert(!this.accepting.has(fd), `${fd} is open already`);
      this.accepting.set(fd, accept);
      return {
        address: { host: "127.0.0.1", port: 8000 },
        close: () => {
          this.accepting.delete(fd);
          return Promise.resolve();
        },
      };
    },
  };

  /** Runs until it ends. */
  async run(
    flags: Flags = {},
    hooks: Hooks = {},
    app?: string,
  ): Promise<number> {
    const sources = { app, flags, file: null };
    const { config, warnings } = await loadConfig(sources, this.host);
    const file = { path: "c.ts", app: undefined, values: {}, hooks };
    const code = await runWorker(
      role,
      { config, file, warnings },
      this.host,
      this.daemonHost,
      this.transport,
    );
    return this.exitCode ??= code;
  }

  /** Runs until it has loaded its application; what it ends with is in a list,
   * so that nobody awaits it here. */
  async load(flags: Flags = {}, hooks: Hooks = {}): Promise<Promise<number>[]> {
    const running = this.run(flags, hooks);
    await this.heard("loaded");
    return [running];
  }

  order(order: Order): void {
    this.tell(() => this.#onMessage(order));
  }

  loseArbiter(): void {
    this.tell(() => this.#onClose());
  }

  tell(event: () => void): void {
    try {
      event();
    } catch (exit) {
      if (!(exit instanceof Exit)) throw exit;
      this.exitCode ??= exit.code;
    }
  }

  /** Waits until the arbiter has heard so many reports of a type. */
  async heard(type: Report["type"], count = 1): Promise<void> {
    const heard = () => this.reports.filter((report) => report.type === type);
    await until(() => heard().length >= count, `${count} times ${type}`);
  }

  /** Everything that the arbiter heard but beats. */
  get said(): string[] {
    return this.reports.map(({ type }) => type)
      .filter((type) => type !== "beat");
  }

  connect(fd: number, stream: MemoryStream): void {
    const accept = this.accepting.get(fd);
    assert(accept !== undefined, `nobody accepts on ${fd}`);
    accept(stream);
  }
}

const listen = (...fds: number[]): Order => ({ type: "listen", fds });
const drain = (graceSeconds = 5, idleSeconds = 0.3): Order => ({
  type: "drain",
  graceSeconds,
  idleSeconds,
});

const head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/** A request whose answer nobody reads yet. */
function stuckRequest(): MemoryStream {
  return new MemoryStream([head], { window: 0 });
}

test("runWorker() alone, without an arbiter", async () => {
  const ground = new Ground();
  Object.assign(ground.daemonHost, { parent: undefined });
  assertEquals(await ground.run(), 2);
  assertStringIncludes(ground.stderr, "started by its arbiter");
});

test("runWorker() loads, tells so, and waits", async () => {
  const ground = new Ground();
  const [running] = await ground.load({ name: "shop" });
  assertEquals(ground.reports, [
    { type: "loaded" },
    { type: "beat", requests: 0, busy: 0, connections: 0, rss: 12_345 },
  ]);
  assertEquals(ground.done, ["headgate: worker 2 [shop]"]);
  assertEquals(ground.listened, []);
  ground.order(drain());
  assertEquals(await running, 0);
});

test("a worker listens on what it is told, by its address", async () => {
  const ground = new Ground();
  const [running] = await ground.load({ backlog: "9" });
  ground.order(listen(4, 5, 6));
  await ground.heard("listening");
  assertEquals(ground.listened, [
    { fd: 4, hostname: "127.0.0.1", port: 8000, backlog: 9 },
    { fd: 5, path: "/run/a.sock", backlog: 9 },
    { fd: 6, backlog: 9 },
  ]);
  assertEquals(ground.reports.at(-1), { type: "listening", fds: [4, 5, 6] });
  ground.order(listen(3, 4));
  await ground.heard("listening", 2);
  assertEquals([...ground.accepting.keys()], [4, 5, 6, 3]);
  ground.order(drain());
  assertEquals(await running, 0);
  assertEquals(ground.accepting.size, 0);
});

test("a worker that has nothing to accept on says that it serves", async () => {
  const ground = new Ground();
  const [running] = await ground.load();
  ground.order(listen());
  await ground.heard("listening");
  ground.order(drain());
  assertEquals(await running, 0);
});

test("a worker serves, and beats with what it has served", async () => {
  const ground = new Ground();
  const [running] = await ground.load({ timeout: "0.2" });
  ground.order(listen(4));
  await ground.heard("listening");
  const stream = new MemoryStream([head]);
  ground.connect(4, stream);
  await stream.until(() => stream.outputText.includes("200 OK"), "the answer");
  await ground.heard("beat", 4);
  ground.order(drain(0));
  assertEquals(await running, 0);
  const last = ground.reports.at(-1);
  assert(last?.type === "beat");
  assertEquals([last.requests, last.connections], [1, 0]);
  assertEquals(ground.done.slice(1), ["close 3 5 6", "flushed"]);
});

test("a worker that drains accepts no more, and ends what runs", async () => {
  const ground = new Ground();
  const [running] = await ground.load();
  ground.order(listen(4));
  await ground.heard("listening");
  const stream = stuckRequest();
  ground.connect(4, stream);
  await stream.until(() => stream.held > 0, "the answer");
  ground.order(drain(30));
  await until(() => ground.accepting.size === 0, "the listener to close");
  assertEquals(ground.exitCode, undefined);
  stream.take();
  assertEquals(await running, 0);
  assertStringIncludes(stream.outputText, "200 OK");
  assertEquals(
    ground.said,
    ["loaded", "listening"],
    "it was told, not telling",
  );
});

test("a worker that leaves gives the others time to let go of its sockets", async () => {
  const ground = new Ground();
  const [running] = await ground.load({});
  ground.order(listen(3));
  await ground.heard("listening");
  const began = performance.now();
  ground.order(drain());
  await running;
  assert(performance.now() - began >= 95);
});

test("a worker that is told to hurry cuts what runs", async () => {
  const ground = new Ground();
  const [running] = await ground.load();
  ground.order(listen(4));
  await ground.heard("listening");
  const stream = stuckRequest();
  ground.connect(4, stream);
  await stream.until(() => stream.held > 0, "the answer");
  ground.order(drain(30));
  ground.order(drain(0));
  assertEquals(await running, 0);
  assert(stream.closed);
});

test("a worker that is told to leave before it listens does not begin to", async () => {
  const ground = new Ground();
  const [running] = await ground.load();
  ground.order(drain());
  ground.order(listen(4));
  assertEquals(await running, 0);
  assertEquals([ground.listened, ground.said], [[], ["loaded"]]);
});

test("a worker that leaves while it begins to listen leaves nothing open", async () => {
  const ground = new Ground();
  let open = () => {};
  ground.slowness = new Promise((resolve) => open = resolve);
  const [running] = await ground.load({ timeout: "0.2" });
  ground.order(listen(4));
  await until(() => ground.listened.length > 0, "it to begin");
  ground.order(drain());
  await ground.heard("beat", 6); // long enough for whoever would not wait
  open();
  assertEquals(await running, 0);
  assertEquals(ground.accepting.size, 0);
});

test("a worker begins to listen on one thing after the other", async () => {
  const ground = new Ground();
  let open = () => {};
  ground.slowness = new Promise((resolve) => open = resolve);
  const [running] = await ground.load();
  ground.order(listen(4));
  ground.order(listen(4, 5));
  await until(() => ground.listened.length > 0, "it to begin");
  open();
  await ground.heard("listening", 2);
  assertEquals(ground.listened.map(({ fd }) => fd), [4, 5]);
  ground.order(drain());
  assertEquals(await running, 0);
});

test("a worker that cannot listen tells why, and leaves with 1", async () => {
  const ground = new Ground();
  ground.refusal = new Error("EINVAL");
  const [running] = await ground.load();
  ground.order(listen(4));
  assertEquals(await running, 1);
  assertEquals(ground.said, ["loaded", "failed"]);
  const failed = ground.reports.find(({ type }) => type === "failed");
  assert(failed?.type === "failed");
  assertMatch(failed.message, /Worker 2 cannot accept.*EINVAL/);
  assertEquals(failed.exitCode, 1);
});

const signals: [signal: DaemonSignal, cuts: boolean][] = [
  ["SIGTERM", false],
  ["SIGINT", true],
  ["SIGQUIT", true],
];

for (const [signal, cuts] of signals) {
  test(`a worker at ${signal} tells that it leaves, and ${cuts ? "cuts" : "ends"} what runs`, async () => {
    const ground = new Ground();
    const [running] = await ground.load({ "graceful-timeout": "300" });
    ground.order(listen(4));
    await ground.heard("listening");
    const stream = stuckRequest();
    ground.connect(4, stream);
    await stream.until(() => stream.held > 0, "the answer");
    ground.signals.get(signal)?.();
    assertEquals(ground.said.at(-1), "leaving");
    if (!cuts) {
      await until(() => ground.accepting.size === 0, "the listener to close");
      stream.take();
      // Nobody waits for another request then.
      stream.end();
    }
    assertEquals(await running, 0);
    assertEquals(stream.outputText.includes("200 OK"), !cuts);
    assertStringIncludes(ground.logged.join(""), `leaves: ${signal}`);
  });
}

test("a worker overlooks SIGHUP, which is the arbiter's", async () => {
  const ground = new Ground();
  const [running] = await ground.load();
  ground.signals.get("SIGHUP")?.();
  ground.order(listen(4));
  await ground.heard("listening");
  ground.order(drain());
  assertEquals(await running, 0);
  assert(ground.signals.has("SIGHUP"), "by itself it would end the process");
});

test("a worker whose arbiter has gone leaves", async () => {
  const ground = new Ground();
  const [running] = await ground.load();
  ground.order(listen(4));
  await ground.heard("listening");
  ground.loseArbiter();
  assertEquals(await running, 0);
  assertStringIncludes(ground.logged.join(""), "the arbiter has gone");
});

test("a worker leaves with 1 after an exception that nobody caught", async () => {
  const ground = new Ground();
  const [running] = await ground.load();
  ground.order(listen(4));
  await ground.heard("listening");
  ground.onUncaught("exception", new Error("from a timer"));
  assertEquals(await running, 1);
  assertEquals(ground.said, ["loaded", "listening", "leaving"]);
  assertMatch(ground.logged.join(""), /\[CRITICAL\].*from a timer/);
});

test("a worker goes on after a rejection that nobody asked about", async () => {
  const ground = new Ground();
  const [running] = await ground.load();
  ground.onUncaught("rejection", new Error("from a promise"));
  ground.order(listen(4));
  await ground.heard("listening");
  assertEquals(ground.said, ["loaded", "listening"]);
  ground.order(drain());
  assertEquals(await running, 0);
  assertMatch(ground.logged.join(""), /\[ERROR\].*from a promise/);
});

// ---- While the application is loaded ----

/** A hook that keeps the worker loading until it is let go. */
function gate(): { hooks: Hooks; open: () => void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => open = resolve);
  return { hooks: { workerStart: () => opened }, open };
}

test("a worker that is told to leave while it loads ends at once", async () => {
  for (const leave of ["drain", "arbiter"]) {
    const ground = new Ground();
    const { hooks, open } = gate();
    const running = ground.run({}, hooks);
    await until(() => ground.done.length > 0, "the title");
    if (leave === "drain") ground.order(drain());
    else ground.loseArbiter();
    assertEquals([ground.exitCode, ground.reports], [0, []]);
    // A real process has ended now; this one has to be ended.
    open();
    await ground.heard("loaded");
    ground.order(drain());
    await running;
  }
});

test("a worker that is told to reopen its logs while it loads does so", async () => {
  const ground = new Ground();
  const { hooks, open } = gate();
  const running = ground.run({ "log-file": "a.log" }, hooks);
  await until(() => ground.opened.length > 0, "the log");
  ground.order({ type: "reopen" });
  assertEquals(ground.opened.length, 2);
  assertEquals(ground.reports, [{ type: "reopened", failures: [] }]);
  open();
  await ground.heard("loaded");
  ground.order({ type: "reopen" });
  assertEquals(ground.opened.length, 3);
  assertEquals(ground.said, ["reopened", "loaded", "reopened"]);
  ground.signals.get("SIGUSR1")?.();
  assertEquals(ground.opened.length, 4);
  assertEquals(ground.said.length, 3, "the arbiter has not asked for that");
  ground.order(drain());
  assertEquals(await running, 0);
});

test("a worker tells which log it could not open again, and goes on with the old one", async () => {
  const ground = new Ground();
  const [running] = await ground.load({ "log-file": "/a.log" });
  ground.absent.add("/a.log");
  ground.order({ type: "reopen" });
  assertEquals(ground.reports.at(-1), {
    type: "reopened",
    failures: [{ path: "/a.log", code: "ENOENT" }],
  });
  assertEquals(ground.logged, [], "the arbiter tells it for all");
  ground.signals.get("SIGUSR1")?.();
  ground.order(drain());
  assertEquals(await running, 0);
  assertMatch(ground.logged.join(""), /\[ERROR\] SIGUSR1: \/a\.log could not/);
});

test("a worker that leaves answers, and opens nothing any more", async () => {
  const ground = new Ground();
  const [running] = await ground.load({ "log-file": "/a.log" });
  ground.order(drain());
  ground.order({ type: "reopen" });
  assertEquals(ground.opened.length, 2);
  assertEquals(await running, 0);
  ground.order({ type: "reopen" });
  assertEquals(ground.opened.length, 2);
  assertEquals(ground.said, ["loaded", "reopened", "reopened"]);
});

test("a worker that cannot load tells the arbiter, in the words of the command line", async () => {
  const ground = new Ground();
  assertEquals(await ground.run({}, {}, "absent.ts"), 1);
  const [failed] = ground.reports;
  assert(failed?.type === "failed");
  assertMatch(failed.message, /^No file absent\.ts/);
  assertEquals(failed.exitCode, 1);
  assertEquals(ground.stderr, "", "it is said once, by the arbiter");
  assertEquals(ground.done.at(-1), "flushed");
});

test("a worker that cannot open its logs tells the arbiter", async () => {
  const ground = new Ground();
  assertEquals(await ground.run({ "log-file": "/absent/a.log" }), 1);
  const [failed] = ground.reports;
  assert(failed?.type === "failed");
  assertStringIncludes(failed.message, "/absent/a.log");
});

test("a worker whose hook refuses the start tells the arbiter", async () => {
  const ground = new Ground();
  const hooks: Hooks = {
    workerStart: () => {
      throw new Error("not today");
    },
  };
  assertEquals(await ground.run({}, hooks), 1);
  const [failed] = ground.reports;
  assert(failed?.type === "failed");
  assertStringIncludes(failed.message, "not today");
});

// ---- Hooks and the watchdog ----

test("a worker's hooks are called with what it is, in their order", async () => {
  const ground = new Ground();
  const called: string[] = [];
  const note = (name: string) =>
  (
    worker: Parameters<
      NonNullable<Hooks["workerReady"]>
    >[0],
  ) =>
    void called.push(
      `${name} ${worker.pid} ${worker.seat} ${worker.generation}`,
    );
  const [running] = await ground.load({}, {
    workerStart: note("start"),
    workerReady: note("ready"),
    workerExit: note("exit"),
  });
  ground.order(listen(3));
  ground.order(listen(4));
  await ground.heard("listening", 2);
  ground.order(drain());
  assertEquals(await running, 0);
  assertEquals(called, ["start 700 2 3", "ready 700 2 3", "exit 700 2 3"]);
});

test("a workerReady that never ends keeps nobody from anything", async () => {
  const ground = new Ground();
  const never = new Promise<void>(() => {});
  const [running] = await ground.load({}, { workerReady: () => never });
  ground.order(listen(3));
  await ground.heard("listening");
  ground.order(listen(4));
  await ground.heard("listening", 2);
  ground.order(drain());
  assertEquals(await running, 0);
  assertEquals(ground.accepting.size, 0);
});

test("a worker has a watchdog from when it serves, unless nothing is too long", async () => {
  for (const [timeout, logFile] of [["5", "-"], ["5", "a.log"], ["0", "-"]]) {
    const ground = new Ground();
    const flags = { timeout: `${timeout}`, "log-file": `${logFile}` };
    const [running] = await ground.load(flags);
    assertEquals(ground.watchdogs, []);
    ground.order(listen(3));
    ground.order(listen(4));
    await ground.heard("listening", 2);
    assertEquals(
      ground.watchdogs.map(({ logPath }) => logPath),
      timeout === "0" ? [] : [logFile === "-" ? null : "/home/a.log"],
    );
    ground.order(drain());
    assertEquals(await running, 0);
  }
});
