/** What the launcher binds, starts, passes on and tells, over processes that
 * are none. */
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { CommandError } from "../../src/command_error.ts";
import { type Config, loadConfig } from "../../src/config.ts";
import type { Flags } from "../../src/settings.ts";
import { type Clock, realClock } from "../../src/daemon/clock.ts";
import type {
  ChildProcess,
  DaemonHost,
  DaemonSignal,
  HeldSocket,
  ProcessEnd,
  SpawnOptions,
} from "../../src/daemon/host.ts";
import { launch } from "../../src/daemon/launcher.ts";
import { type Notice, readRole } from "../../src/daemon/protocol.ts";
import type { Host, PathStatus } from "../../src/host.ts";
import type { ListenOptions } from "../../src/stream.ts";
import { settled } from "../support/fake_workers.ts";
import { only } from "../support/only.ts";

/** Time that passes fifty times as fast. */
const hastyClock: Clock = {
  now: () => 50 * realClock.now(),
  sleep: (ms) => realClock.sleep(ms / 50),
};

/** An arbiter's process, in the hands of a test. */
class FakeArbiter implements ChildProcess {
  readonly pid = 500;
  channelClosed = false;
  /** What it was sent as our child. */
  readonly signals: string[] = [];
  readonly ended: Promise<ProcessEnd>;
  #onMessage: (message: unknown) => void = () => {};
  #end: (end: ProcessEnd) => void = () => {};

  constructor() {
    this.ended = new Promise((resolve) => this.#end = resolve);
  }

  readonly channel: ChildProcess["channel"] = {
    open: true,
    send: () => {},
    flushed: () => Promise.resolve(),
    receive: (onMessage) => this.#onMessage = onMessage,
    close: () => this.channelClosed = true,
  };

  kill(signal: string): void {
    this.signals.push(signal);
  }

  say(notice: Notice): void {
    this.#onMessage(JSON.parse(JSON.stringify(notice)));
  }

  end(code: number | null, signal: string | null = null): void {
    this.#end({ code, signal });
  }
}

/** The process of the launcher, and its machine. */
class Ground {
  readonly arbiter = new FakeArbiter();
  /** What was done, in order. */
  readonly done: string[] = [];
  readonly bound: { addresses: readonly ListenOptions[]; slots: number }[] = [];
  readonly spawned: { args: readonly string[]; options: SpawnOptions }[] = [];
  readonly written = { stdout: "", stderr: "" };
  readonly env: Record<string, string | undefined> = {};
  readonly files = new Map<string, PathStatus>();
  readonly alive = new Set<number>([500]);
  readonly texts = new Map<string, string>();
  readonly handlers = new Map<DaemonSignal, () => void>();
  /** What `bind()` rejects with. */
  bindFailure: Error | undefined;
  /** How many listening sockets were inherited. */
  inherited = 0;
  /** Whether something answers on the control socket. */
  isRunning = false;
  /** Whether somebody answers on a Unix socket. */
  answers = false;

  readonly host: Host = only<Host>({
    pid: 400,
    inUtc: () => false,
    env: this.env,
    write: (output, text) => {
      this.written[output] += text;
    },
    status: (path) => this.files.get(path),
    remove: (path) => {
      this.done.push(`remove ${path}`);
      this.files.delete(path);
    },
    answers: () => Promise.resolve(this.answers),
    portHolder: () => ({ pid: 77, name: "nginx" }),
    isTerminal: () => false,
    onExit: () => () => {},
    openAppend: (path) => {
      if (path.startsWith("/absent/")) {
        throw Object.assign(new Error(path), { code: "ENOENT" });
      }
      this.done.push(`open ${path}`);
      return { write() {}, close() {} };
    },
  });

  readonly daemonHost: DaemonHost = only<DaemonHost>({
    cores: 4,
    bind: (addresses, slots) => {
      this.done.push("bind");
      this.bound.push({ addresses, slots });
      if (this.bindFailure !== undefined) {
        return Promise.reject(this.bindFailure);
      }
      return Promise.resolve({
        sockets: [11, 13].map((fd) => ({
          fd,
          address: { host: "127.0.0.1", port: 8000 },
        })),
        close: () => void this.done.push("close"),
      });
    },
    inherited: (fds) =>
      fds.map((fd): HeldSocket => {
        const index = fd - 3;
        if (index >= this.inherited) {
          throw new RangeError(`Descriptor ${fd} is no socket`);
        }
        return { fd, address: { host: "::1", port: 9000 + index } };
      }),
    spawn: (args, options) => {
      this.done.push("spawn");
      this.spawned.push({ args, options });
      return this.arbiter;
    },
    onSignal: (signal, handler) => {
      this.handlers.set(signal, handler);
      return () => void this.handlers.delete(signal);
    },
    kill: (pid, signal) => {
      this.done.push(`${signal} ${pid}`);
      return true;
    },
    isAlive: (pid) => this.alive.has(pid),
    absolute: (path) => path.startsWith("/") ? path : `/home/${path}`,
    readText: (path) => this.texts.get(path),
    lock: () => Promise.resolve({ release() {} }),
    askControl: () =>
      Promise.resolve(
        this.isRunning ? { answer: "something else" } : { failure: "absent" },
      ),
    findUser: (name) => name === "www" ? { uid: 33, gid: 34 } : undefined,
    chown: (path, { uid, gid }) =>
      void this.done.push(`chown ${path} ${uid}:${gid}`),
  });

  async config(flags: Flags): Promise<Config> {
    const sources = { app: "app.ts", flags, file: null };
    return (await loadConfig(sources, this.host)).config;
  }

  /** Launches; what came of it is there once it is known. */
  async launch(flags: Flags, daemon = false): Promise<Launched> {
    const config = await this.config(flags);
    const launched = new Launched(
      launch(
        { config, args: ["app.ts", "-w2"], configFile: "/c.json", daemon },
        this.host,
        this.daemonHost,
        hastyClock,
      ),
    );
    for (let turn = 0; turn < 4; turn++) await settled();
    return launched;
  }

  get spawnOptions(): SpawnOptions {
    const [first] = this.spawned;
    assert(first !== undefined, "nothing was started");
    return first.options;
  }
}

class Launched {
  readonly promise: Promise<number>;
  code: number | undefined;
  error: unknown;

  constructor(promise: Promise<number>) {
    this.promise = promise;
    promise.then((code) => this.code = code, (error) => this.error = error);
  }

  refused(): CommandError {
    assert(this.error instanceof CommandError, String(this.error));
    return this.error;
  }
}

// ---- Before the arbiter ----

test("launch() hands its sockets on as 3 and upwards, and closes them at once", async () => {
  const ground = new Ground();
  const launched = await ground.launch({ workers: "2", backlog: "7" });
  assertEquals(ground.done, ["bind", "spawn", "close"]);
  assertEquals(ground.bound, [{
    addresses: [{ hostname: "127.0.0.1", port: 8000, backlog: 7 }],
    slots: 2,
  }]);
  const { fds, env, output, detached } = ground.spawnOptions;
  assertEquals([fds, output, detached], [[11, 13], { kind: "inherit" }, true]);
  assertEquals(ground.spawned[0]?.args, ["app.ts", "-w2"]);
  const address = { host: "127.0.0.1", port: 8000 };
  assertEquals(readRole(JSON.parse(env.HEADGATE_PROCESS ?? "")), {
    type: "arbiter",
    slots: [{ fd: 3, address }, { fd: 4, address }],
    configFile: "/c.json",
    daemon: false,
    predecessor: null,
    launcher: 400,
  });
  ground.arbiter.end(0);
  assertEquals(await launched.promise, 0);
});

test("launch() binds a socket for each core where workers are auto", async () => {
  const ground = new Ground();
  await ground.launch({ workers: "auto" });
  assertEquals(ground.bound[0]?.slots, 4);
  ground.arbiter.end(0);
});

test("launch() passes no socket activation on", async () => {
  const ground = new Ground();
  await ground.launch({});
  const { env } = ground.spawnOptions;
  for (const name of ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"]) {
    assert(name in env && env[name] === undefined, name);
  }
  ground.arbiter.end(0);
});

test("launch() takes the sockets of a service manager instead of its own", async () => {
  const ground = new Ground();
  Object.assign(ground.env, { LISTEN_FDS: "2", LISTEN_PID: "400" });
  ground.inherited = 2;
  await ground.launch({});
  assertEquals(ground.done, ["spawn"]);
  assertEquals(ground.spawnOptions.fds, [3, 4]);
  ground.arbiter.end(0);
});

test("launch() takes no sockets that are another process's", async () => {
  const ground = new Ground();
  Object.assign(ground.env, { LISTEN_FDS: "2", LISTEN_PID: "399" });
  await ground.launch({});
  assertEquals(ground.done, ["bind", "spawn", "close"]);
  ground.arbiter.end(0);
});

test("launch() refuses sockets of a service manager that are none", async () => {
  const ground = new Ground();
  Object.assign(ground.env, { LISTEN_FDS: "2", LISTEN_PID: "400" });
  ground.inherited = 1;
  const refusal = (await ground.launch({})).refused();
  assertEquals(refusal.exitCode, 1);
  assertStringIncludes(refusal.message, "Descriptor 4 is no socket");
  assertEquals(ground.spawned, []);
});

test("launch() takes descriptors by number, in their order", async () => {
  const ground = new Ground();
  ground.inherited = 3;
  await ground.launch({ bind: ["fd://3", "fd://5"] });
  assertEquals(ground.spawnOptions.fds, [3, 5]);
  const role = readRole(
    JSON.parse(ground.spawnOptions.env.HEADGATE_PROCESS ?? ""),
  );
  assertEquals(role?.slots, [
    { fd: 3, address: { host: "::1", port: 9000 } },
    { fd: 4, address: { host: "::1", port: 9002 } },
  ]);
  ground.arbiter.end(0);
});

test("launch() mixes no descriptors with addresses", async () => {
  const ground = new Ground();
  ground.inherited = 3;
  const refusal = (await ground.launch({ bind: ["fd://3", "8000"] })).refused();
  assertEquals(refusal.exitCode, 2);
  assertEquals(ground.done, []);
});

test("launch() tells who has the port", async () => {
  const ground = new Ground();
  ground.bindFailure = Object.assign(new Error("in use"), {
    code: "EADDRINUSE",
  });
  const refusal = (await ground.launch({})).refused();
  assertStringIncludes(
    refusal.message,
    "Port 8000 is in use by nginx (pid 77)",
  );
  assertEquals(ground.spawned, []);
});

test("launch() lets an error through that it cannot explain", async () => {
  const ground = new Ground();
  ground.bindFailure = new Error("odd");
  const { promise } = await ground.launch({});
  await assertRejects(() => promise, Error, "odd");
});

test("launch() refuses to start where another answers for the pidfile", async () => {
  const ground = new Ground();
  ground.isRunning = true;
  const refusal = (await ground.launch({ pidfile: "a.pid" })).refused();
  assertStringIncludes(refusal.message, "/home/a.pid.sock");
  assertEquals(ground.done, []);
});

test("launch() removes a stale socket, and gives a new one to the user", async () => {
  const ground = new Ground();
  ground.files.set("/s", { kind: "socket", identity: "1" });
  await ground.launch({ bind: ["unix:/s", "8000"], user: "www" });
  assertEquals(ground.done, [
    "remove /s",
    "bind",
    "chown /s 33:34",
    "spawn",
    "close",
  ]);
  ground.arbiter.end(0);
});

test("launch() leaves a socket alone on which somebody answers", async () => {
  const ground = new Ground();
  ground.files.set("/s", { kind: "socket", identity: "1" });
  ground.answers = true;
  (await ground.launch({ bind: "unix:/s" })).refused();
  assertEquals(ground.done, []);
});

test("launch() refuses a user that there is not", async () => {
  const ground = new Ground();
  const refusal = (await ground.launch({ user: "nobody-here" })).refused();
  assertEquals(refusal.exitCode, 2);
  assertEquals(ground.spawned, []);
});

// ---- In the foreground ----

test("launch() in the foreground passes signals on, and then no more", async () => {
  const ground = new Ground();
  const { promise } = await ground.launch({});
  assertEquals([...ground.handlers.keys()].sort(), [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGTERM",
    "SIGTTIN",
    "SIGTTOU",
    "SIGUSR1",
    "SIGUSR2",
  ]);
  ground.handlers.get("SIGHUP")?.();
  ground.handlers.get("SIGTERM")?.();
  assertEquals(ground.done.slice(3), ["SIGHUP 500", "SIGTERM 500"]);
  ground.arbiter.end(0);
  assertEquals(await promise, 0);
  assertEquals(ground.handlers.size, 0);
  assertEquals(ground.written, { stdout: "", stderr: "" });
});

const ends: [end: Parameters<FakeArbiter["end"]>, code: number][] = [
  [[0], 0],
  [[3], 3],
  [[null, "SIGKILL"], 137],
  [[null, "SIGTERM"], 143],
  [[null, "SIGSEGV"], 139],
];

for (const [end, code] of ends) {
  test(`launch() ends with ${code} where the arbiter does with ${end}`, async () => {
    const ground = new Ground();
    const { promise } = await ground.launch({});
    ground.arbiter.end(...end);
    assertEquals(await promise, code);
  });
}

test("launch() follows the arbiter that goes on, with its signals too", async () => {
  const ground = new Ground();
  const launched = await ground.launch({});
  ground.alive.add(600);
  ground.arbiter.say({ type: "successor", pid: 600 });
  ground.arbiter.end(0);
  await settled();
  assertEquals(launched.code, undefined);
  ground.handlers.get("SIGTERM")?.();
  assertEquals(ground.done.at(-1), "SIGTERM 600");
  ground.alive.delete(600);
  assertEquals(await launched.promise, 0);
  assertEquals(ground.handlers.size, 0);
});

test("launch(): what concerns two arbiters reaches both", async () => {
  const ground = new Ground();
  const { promise } = await ground.launch({});
  ground.alive.add(600);
  ground.arbiter.say({ type: "successor", pid: 600 });
  for (const signal of ["SIGTERM", "SIGUSR1", "SIGHUP"] as const) {
    ground.done.length = 0;
    ground.arbiter.signals.length = 0;
    ground.handlers.get(signal)?.();
    assertEquals(ground.done, [`${signal} 600`]);
    assertEquals(
      ground.arbiter.signals,
      signal === "SIGHUP" ? [] : [signal],
      signal,
    );
  }
  ground.arbiter.end(0);
  ground.alive.delete(600);
  assertEquals(await promise, 0);
});

test("launch() follows whoever has the pidfile after that one", async () => {
  const ground = new Ground();
  const launched = await ground.launch({ pidfile: "a.pid" });
  ground.alive.add(600);
  ground.arbiter.say({ type: "successor", pid: 600 });
  ground.arbiter.end(0);
  await settled();
  // Between the two nobody is there to hear a signal.
  ground.alive.delete(600);
  ground.handlers.get("SIGHUP")?.();
  assertEquals(ground.done.includes("SIGHUP 600"), false);
  ground.alive.add(700);
  ground.texts.set("/home/a.pid", "700\n");
  const heard = () => ground.done.includes("SIGHUP 700");
  const deadline = performance.now() + 25_000;
  while (!heard() && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert(heard(), "the next arbiter was told");
  ground.texts.clear();
  ground.alive.delete(700);
  assertEquals(await launched.promise, 0);
});

test("launch() overlooks what is no notice", async () => {
  const ground = new Ground();
  const { promise } = await ground.launch({});
  ground.arbiter.say({ type: "successor", pid: 0 });
  ground.arbiter.say({ type: "nonsense" } as never);
  ground.handlers.get("SIGTERM")?.();
  assertEquals(ground.done.at(-1), "SIGTERM 500");
  ground.arbiter.end(0);
  assertEquals(await promise, 0);
});

test("launch() says so where the arbiter could not be started", async () => {
  const ground = new Ground();
  const { promise } = await ground.launch({});
  ground.arbiter.end(127);
  assertEquals(await promise, 127);
  assertStringIncludes(ground.written.stderr, "could not be started");
});

// ---- As a daemon ----

const asDaemon: Flags = { pidfile: "/a.pid", "log-file": "/a.log" };

test("launch() of a daemon ends when its workers serve", async () => {
  const ground = new Ground();
  const launched = await ground.launch(asDaemon, true);
  const { output, env, detached } = ground.spawnOptions;
  assertEquals([output, detached], [{ kind: "file", path: "/a.log" }, true]);
  const role = readRole(JSON.parse(env.HEADGATE_PROCESS ?? ""));
  assert(role?.type === "arbiter");
  assertEquals([role.daemon, role.launcher], [true, null]);
  assertEquals([launched.code, ground.handlers.size], [undefined, 2]);
  ground.arbiter.say({ type: "nonsense" } as never);
  ground.arbiter.say({ type: "ready", pid: 500, workers: [501, 502] });
  assertEquals(await launched.promise, 0);
  assertEquals(ground.handlers.size, 0);
  assert(ground.arbiter.channelClosed);
  assertEquals(ground.written, {
    stdout: "Started with pid 500, workers 501, 502; the log is /a.log\n",
    stderr: "",
  });
});

test("launch() of a daemon that fails tells why, and ends as it does", async () => {
  for (const [code, expected] of [[3, 3], [1, 1], [0, 3], [2, 2]] as const) {
    const ground = new Ground();
    const { promise } = await ground.launch(asDaemon, true);
    ground.arbiter.say({ type: "failed", message: "No file app.ts\n" });
    ground.arbiter.end(code);
    assertEquals(await promise, expected);
    assertEquals(ground.written, {
      stdout: "",
      stderr: "headgate: Not started; the log is /a.log\nNo file app.ts\n",
    });
  }
});

test("launch() of a daemon that ends without a word", async () => {
  const ground = new Ground();
  const { promise } = await ground.launch(asDaemon, true);
  ground.arbiter.end(null, "SIGKILL");
  assertEquals(await promise, 137);
  assertStringIncludes(ground.written.stderr, "Not started");
});

test("launch() of a daemon refuses a log that cannot be opened, and binds nothing", async () => {
  const ground = new Ground();
  const flags = { pidfile: "/a.pid", "log-file": "/absent/a.log" };
  const refusal = (await ground.launch(flags, true)).refused();
  assertEquals(refusal.exitCode, 1);
  assertEquals(ground.done, []);
});
