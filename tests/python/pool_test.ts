/** Python processes and who takes their place, as far as that goes without
 * processes. */
import { test } from "node:test";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { CommandError } from "../../src/command_error.ts";
import type { LeveledLogger } from "../../src/log.ts";
import type { RunningRequest } from "../../src/fastcgi/pool.ts";
import { type Backends, PythonPool } from "../../src/python/pool.ts";
import type { ByteStream } from "../../src/stream.ts";
import { type FakeProgram, FakePrograms } from "../support/fake_programs.ts";
import { Watch } from "../support/watch.ts";

/** A backend that was added. */
interface FakeBackend {
  running(): readonly RunningRequest[];
  readonly name: string;
  readonly connections: number;
  readonly connect: () => Promise<ByteStream>;
  retired: boolean;
  requests: RunningRequest[];
}

/** A pool over fakes, and what came of it. */
class Stage {
  readonly watch = new Watch();
  readonly backends: FakeBackend[] = [];
  readonly lines: string[] = [];
  readonly programs: FakePrograms;
  constructor(behave: (program: FakeProgram, index: number) => void) {
    this.programs = new FakePrograms((program) => {
      behave(program, this.programs.started.indexOf(program));
      this.watch.changed();
    });
  }

  start(more: {
    readonly processes?: number;
    readonly timeoutSeconds?: number;
    readonly noticeSeconds?: number;
  } = {}): Promise<PythonPool<FakeBackend>> {
    return PythonPool.start({
      command: {
        interpreter: "/usr/bin/python3",
        env: {},
        cwd: undefined,
        application: "app:app",
        threads: 4,
        pythonpath: [],
        multiprocess: false,
      },
      responder: "# the responder",
      processes: 1,
      timeoutSeconds: Infinity,
      ...more,
      backends: this.#backends,
      host: this.programs.host,
      log: this.#log,
    });
  }

  /** Waits for something that this stage sees. */
  until(condition: () => boolean, what: string): Promise<void> {
    return this.watch.until(condition, what, () => this.lines.join("\n"));
  }

  program(index: number): FakeProgram {
    const program = this.programs.started[index];
    assert(program !== undefined);
    return program;
  }

  backend(index: number): FakeBackend {
    const backend = this.backends[index];
    assert(backend !== undefined);
    return backend;
  }

  readonly #backends: Backends<FakeBackend> = {
    add: (options) => {
      const backend: FakeBackend = {
        ...options,
        retired: false,
        requests: [],
        running: () => backend.requests,
      };
      this.backends.push(backend);
      this.watch.changed();
      return backend;
    },
    retire: (backend) => {
      backend.retired = true;
      this.watch.changed();
      return Promise.resolve();
    },
  };

  readonly #log: LeveledLogger = {
    debug: (line) => this.#say("debug", line),
    info: (line) => this.#say("info", line),
    warn: (line) => this.#say("warn", line),
    error: (line) => this.#say("error", line),
    critical: (line) => this.#say("critical", line),
  };

  #say(level: string, line: string): void {
    this.lines.push(`${level} ${line}`);
    this.watch.changed();
  }
}

function becomeReady(program: FakeProgram): void {
  program.print('{"type":"ready","python":"3.11.2","pid":1}\n');
}

function fail(program: FakeProgram): void {
  program.print('{"type":"failed","message":"KeyError","traceback":"at 1"}\n');
  program.end({ code: 3, signal: null });
}

/** A request that has had nothing for so long; tells why it failed. */
function request(idleMs: number): RunningRequest & { outcome: string } {
  const at = performance.now() - idleMs;
  const fake = {
    method: "GET",
    target: "/a\nb",
    startedAt: at - 1000,
    progressAt: at,
    outcome: "",
    fail: (error: { status: number }) => {
      fake.outcome = String(error.status);
    },
  };
  return fake;
}

test("PythonPool.start() has each process serve as a backend", async () => {
  const stage = new Stage(becomeReady);
  const pool = await stage.start({ processes: 2 });
  assertEquals(
    stage.backends.map(({ name, connections }) => [
      name,
      connections,
    ]),
    [["python-1 (pid 100)", 4], ["python-2 (pid 101)", 4]],
  );
  assertEquals(
    stage.programs.texts.get("/private/0/headgate_wsgi.py"),
    "# the responder",
  );
  await assertRejects(() => stage.backend(1).connect(), Error, "nobody");
  assertEquals(stage.programs.connected, ["/private/0/python-2.sock"]);
  assertEquals(pool.residentBytes(), 2010);
  await pool.close(5);
  assertEquals(pool.residentBytes(), 0);
});

test("PythonPool.close() has every process leave, and removes its files", async () => {
  const stage = new Stage(becomeReady);
  const pool = await stage.start({ processes: 2 });
  await pool.close(5);
  for (const index of [0, 1]) {
    assertEquals(stage.program(index).done, ["close input"]);
    assert(stage.backend(index).retired);
  }
  assertEquals(stage.programs.directories.size, 0);
  assertEquals(stage.programs.started.length, 2);
  assertEquals(stage.lines.filter((line) => !line.startsWith("debug")), []);
});

test("PythonPool.close() kills a process that stays, with its children", async () => {
  const stage = new Stage((program) => {
    program.onLeave = () => {};
    becomeReady(program);
  });
  const pool = await stage.start();
  await pool.close(0.01);
  assertEquals(stage.program(0).done, ["close input", "SIGKILL group"]);
});

test("PythonPool.start() leaves nothing behind when a process fails", async () => {
  const stage = new Stage((program, index) => {
    program.onLeave = () => {};
    if (index === 0) becomeReady(program);
    if (index === 1) fail(program);
  });
  const error = await assertRejects(
    () => stage.start({ processes: 3 }),
    CommandError,
    "KeyError",
  );
  assertEquals(error.exitCode, 3);
  assertEquals(stage.program(2).done, ["close input", "SIGKILL group"]);
  assertEquals(stage.program(0).done, ["close input", "SIGKILL group"]);
  assertEquals(stage.programs.directories.size, 0);
});

test("PythonPool.start() tells where no directory can be made", async () => {
  const stage = new Stage(becomeReady);
  stage.programs.host.makePrivate = () => {
    throw new Error("EROFS");
  };
  const error = await assertRejects(() => stage.start(), CommandError);
  assertMatch(`${error.remedy} ${error.detail}`, /TMPDIR.*EROFS/);
});

test("PythonPool.start() tells for what it waits", async () => {
  const stage = new Stage(() => {});
  const starting = stage.start({ noticeSeconds: 0.05 });
  await stage.until(
    () => stage.lines.includes("warn python-1 (pid 100) still loads app:app"),
    "a word",
  );
  becomeReady(stage.program(0));
  await (await starting).close(5);
});

test("PythonPool replaces a process that ends", async () => {
  const stage = new Stage(becomeReady);
  const pool = await stage.start({ processes: 2 });
  stage.program(0).end({ code: null, signal: "SIGKILL" });
  await stage.until(() => stage.backends.length === 3, "another backend");
  assertEquals(stage.backends.map(({ retired }) => retired), [
    true,
    false,
    false,
  ]);
  assertMatch(
    stage.lines.join("\n"),
    /error python-1 \(pid 100\) was ended by SIGKILL; it is replaced/,
  );
  await stage.until(
    () => stage.lines.includes("info python-3 (pid 102) serves"),
    "the word",
  );
  await pool.close(5);
});

test("PythonPool tries again when what replaces a process fails", async () => {
  const stage = new Stage((program, index) =>
    index === 1 ? fail(program) : becomeReady(program)
  );
  const pool = await stage.start();
  stage.program(0).end({ code: 1, signal: null });
  await stage.until(() => stage.backends.length === 2, "another backend");
  assertEquals(stage.programs.started.length, 3);
  const lines = stage.lines.join("\n");
  assertMatch(lines, /error No other Python process: .*KeyError\nat 1/);
  assertMatch(lines, /warn The next Python process is started in 0\.5 s/);
  await pool.close(5);
});

test("PythonPool.close() does not wait for what is to be tried later", async () => {
  const stage = new Stage((program, index) =>
    index === 0 ? becomeReady(program) : fail(program)
  );
  const pool = await stage.start();
  stage.program(0).end({ code: 1, signal: null });
  // The fourth failure is followed by a pause of two seconds.
  await stage.until(
    () => stage.lines.some((line) => line.includes("started in 2 s")),
    "a long pause",
  );
  const started = stage.programs.started.length;
  await pool.close(5);
  assertEquals(stage.programs.started.length, started);
  assertEquals(stage.programs.directories.size, 0);
});

const stacksFile = "/private/0/python-1.stacks";

/** A process in which a request hangs, and what its threads then do. */
function hanging(onDump: (stage: Stage) => void): Stage {
  const stage: Stage = new Stage((program) => {
    const end = program.onSignal;
    program.onSignal = (signal) => {
      end(signal);
      if (signal !== "SIGUSR1") return;
      stage.programs.texts.set(
        stacksFile,
        'Stacks of 100\nThread 0x1:\n  File "/srv/views.py", line 7 in hang\n',
      );
      onDump(stage);
      stage.watch.changed();
    };
    becomeReady(program);
  });
  stage.programs.texts.set(stacksFile, "Stacks of 100\n");
  return stage;
}

test("PythonPool replaces a process in which a request hangs", async () => {
  const stage = hanging(() => {});
  const pool = await stage.start({ timeoutSeconds: 0.04 });
  const hangs = request(300);
  const runs = request(-60_000);
  const { requests } = stage.backend(0);
  requests.push(hangs, runs);
  await stage.until(() => stage.backends.length === 2, "another backend");
  await stage.until(() => hangs.outcome !== "", "an answer");
  assertEquals([hangs.outcome, runs.outcome], ["504", ""]);
  const lines = stage.lines.join("\n");
  assertMatch(
    lines,
    /critical python-1 \(pid 100\): GET \/a\\x0ab hangs: it began \d+\.\d s ago/,
  );
  assertMatch(lines, /critical .*\n.*\n {2}File "\/srv\/views\.py", line 7/);
  assert(stage.backend(0).retired);
  // The other one may end.
  assertEquals(stage.program(0).done, ["SIGUSR1"]);
  requests.length = 0;
  requests.push(hangs);
  await stage.until(
    () => stage.lines.includes("info python-1 (pid 100) exited with code 0"),
    "its end",
  );
  assertEquals(stage.program(0).done, ["SIGUSR1", "close input"]);
  await pool.close(5);
});

test("PythonPool leaves a request alone that goes on meanwhile", async () => {
  const stage = hanging(() => {});
  const pool = await stage.start({ timeoutSeconds: 0.04 });
  const goesOn = request(300);
  let looks = 0;
  // It hangs when it is looked at, and does not once the process was asked.
  stage.backend(0).running = () => looks++ % 2 === 0 ? [goesOn] : [];
  await stage.until(
    () => stage.program(0).done.length === 3,
    "three questions",
  );
  stage.backend(0).running = () => [];
  assertEquals([goesOn.outcome, stage.backends.length], ["", 1]);
  assertEquals(stage.lines.filter((line) => / hangs: /.test(line)), []);
  await pool.close(5);
});

test("PythonPool.close() ends a process that is asked, or leaves", async () => {
  const stage = hanging(() => {});
  const pool = await stage.start({ timeoutSeconds: 0.2 });
  stage.program(0).onLeave = () => {};
  stage.backend(0).requests.push(request(300), request(-60_000));
  await stage.until(() => stage.backends.length === 2, "another backend");
  await pool.close(5);
  assert(stage.program(0).done.includes("SIGKILL group"));
  assertEquals(stage.programs.directories.size, 0);
});

test("PythonPool replaces what has served at once, however often it ends", async () => {
  const stage = new Stage(becomeReady);
  const pool = await stage.start();
  for (let ends = 1; ends <= 4; ends++) {
    stage.program(ends - 1).end({ code: 1, signal: null });
    await stage.until(() => stage.backends.length > ends, "another backend");
  }
  const pauses = stage.lines.filter((line) => line.includes("is started in"));
  assert(pauses.every((line) => / 0\.\d s$/.test(line)), pauses.join("\n"));
  await pool.close(5);
});
