/** One Python process, as far as that goes without one. */
import { test } from "node:test";
import {
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
} from "@std/assert";
import { CommandError } from "../../src/command_error.ts";
import {
  describeEnd,
  type PythonCommand,
  PythonProcess,
} from "../../src/python/process.ts";
import { type FakeProgram, FakePrograms } from "../support/fake_programs.ts";

const command: PythonCommand = {
  interpreter: "/usr/bin/python3",
  env: { HOME: "/home/ada" },
  cwd: undefined,
  application: "site.wsgi:create()",
  threads: 4,
  pythonpath: [],
  multiprocess: false,
  directory: "/private/0",
};

function start(
  behave: (program: FakeProgram) => void,
  more: Partial<PythonCommand> = {},
): { programs: FakePrograms; process: Promise<PythonProcess> } {
  const programs = new FakePrograms(behave);
  const process = PythonProcess.start(
    { ...command, ...more },
    "python-1",
    programs.host,
  );
  return { programs, process };
}

const ready = '{"type":"ready","python":"3.11.2","pid":100}\n';

/** How a start fails. */
async function failure(
  behave: (program: FakeProgram) => void,
): Promise<CommandError> {
  const { process } = start(behave);
  const error = await (await process).ready.catch((error: unknown) => error);
  assertInstanceOf(error, CommandError);
  return error;
}

function fail(report: Record<string, unknown>): (program: FakeProgram) => void {
  return (program) => {
    program.print(`${JSON.stringify({ type: "failed", ...report })}\n`);
    program.end({ code: 3, signal: null });
  };
}

test("PythonProcess.start() starts the responder", async () => {
  const { programs, process } = start((program) => program.print(ready));
  const { ready: readiness, pid, name, socket } = await process;
  assertEquals(await readiness, { version: "3.11.2" });
  assertEquals([pid, name], [100, "python-1 (pid 100)"]);
  assertEquals(socket, "/private/0/python-1.sock");
  const { errors, ...rest } = programs.started[0]?.command ?? {};
  assertEquals(errors, "inherit");
  assertEquals(rest, {
    file: "/usr/bin/python3",
    args: [
      "/private/0/headgate_wsgi.py",
      "--socket",
      "/private/0/python-1.sock",
      "--app",
      "site.wsgi:create()",
      "--threads",
      "4",
      "--stacks",
      "/private/0/python-1.stacks",
      "--private",
      "/private/0",
    ],
    env: { HOME: "/home/ada" },
    sharesOutput: true,
  });
});

test("PythonProcess.start() hands on paths, directory and multiprocess", async () => {
  const { programs, process } = start((program) => program.print(ready), {
    cwd: "/srv",
    pythonpath: ["lib", "more"],
    multiprocess: true,
  });
  await (await process).ready;
  const { cwd, args = [] } = programs.started[0]?.command ?? {};
  assertEquals(cwd, "/srv");
  assertEquals(args.slice(11), [
    "--pythonpath",
    "lib",
    "--pythonpath",
    "more",
    "--multiprocess",
  ]);
});

test("PythonProcess reads a report in whatever pieces it comes", async () => {
  const text = '{"type":"failed","message":"gr\u00fc\u00dfe"}\nrest';
  const bytes = new TextEncoder().encode(text);
  for (let cut = 1; cut < bytes.length; cut++) {
    const error = await failure((program) => {
      program.print(bytes.slice(0, cut));
      program.print(bytes.slice(cut));
    });
    assertEquals(
      error.message,
      "Cannot load site.wsgi:create(): gr\u00fc\u00dfe",
    );
  }
});

test("PythonProcess.ready rejects with what the application failed of", async () => {
  const error = await failure(fail({
    message: "RuntimeError: no database",
    traceback: 'Traceback:\n  File "site.py"\n',
  }));
  assertEquals(
    error.message,
    "Cannot load site.wsgi:create(): RuntimeError: no database",
  );
  assertEquals(error.exitCode, 3);
  assertEquals(error.detail, 'Traceback:\n  File "site.py"');
});

test("PythonProcess.ready tells a missing module of ours from others", async () => {
  const own = await failure(fail({
    message: "There is no module 'site' in /srv or elsewhere on sys.path",
  }));
  assertMatch(own.remedy, /^Check the spelling.*--pythonpath/s);
  assertEquals(own.detail, undefined);
  const other = await failure(fail({
    message: "ModuleNotFoundError: No module named 'flask'",
  }));
  assertMatch(other.remedy, /^Install it for \/usr\/bin\/python3.*--python/s);
});

test("PythonProcess.ready tells how a process ended that said nothing", async () => {
  const error = await failure((program) => {
    const [flag] = program.command.args;
    if (flag === "-S") program.print("HEADGATE 3.12.0\n");
    program.end({ code: null, signal: "SIGSEGV" });
  });
  assertMatch(error.message, /Python was ended by SIGSEGV$/);
  assertEquals(error.exitCode, 3);
});

test("PythonProcess.ready tells a version that cannot run the responder", async () => {
  const error = await failure((program) => {
    const [flag] = program.command.args;
    if (flag === "-S") program.print("HEADGATE 2.7.18\n");
    program.end({ code: 1, signal: null });
  });
  assertMatch(error.message, /is Python 2\.7\.18, which is too old$/);
});

test("PythonProcess.ready refuses a version that might do, and is too old", async () => {
  const error = await failure((program) =>
    program.print('{"type":"ready","python":"3.8.20","pid":1}\n')
  );
  assertMatch(error.message, /is Python 3\.8\.20, which is too old$/);
});

test("PythonProcess.ready ends a program that says something else", async () => {
  for (
    const text of [
      "hello\n",
      "[]\n",
      "null\n",
      '{"type":"ready"}\n',
      '{"type":"failed"}\n',
      "x".repeat(3 << 20),
    ]
  ) {
    const programs: FakeProgram[] = [];
    const error = await failure((program) => {
      programs.push(program);
      program.print(text);
      program.print("more");
      if (program.command.args[0] === "-S") {
        program.end({ code: 0, signal: null });
      }
    });
    assertMatch(error.message, /does not answer as Python does/);
    assertEquals(programs[0]?.done, ["close input"]);
  }
});

test("PythonProcess.leave() closes the input, and kills what stays", async () => {
  const willing = await start((program) => program.print(ready)).process;
  assertEquals(await willing.leave(60), { code: 0, signal: null });
  assertEquals(willing.hasEnded, true);

  const { programs, process } = start((program) => {
    program.onLeave = () => {};
    program.print(ready);
  });
  const stubborn = await process;
  assertEquals(stubborn.residentBytes(), 1000);
  assertEquals(await stubborn.leave(0.01), { code: null, signal: "SIGKILL" });
  assertEquals(programs.started[0]?.written, "leave\n");
  assertEquals(programs.started[0]?.done, ["close input", "SIGKILL group"]);
  assertEquals(stubborn.residentBytes(), 0);
});

const idleThread = `Thread 0x01 (most recent call first):
  File "/usr/lib/python3.11/socket.py", line 706 in readinto
  File "/private/0/headgate_wsgi.py", line 10 in serve
  File "/usr/lib/python3.11/threading.py", line 975 in run`;

const busyThread = `Thread 0x02 (most recent call first):
  File "/srv/site/views.py", line 12 in hang
  File "/private/0/headgate_wsgi.py", line 20 in call
  File "/usr/lib/python3.11/threading.py", line 975 in run`;

/** What a process tells of its threads, when it dumps them in these pieces
 * behind an earlier dump. */
async function stacksOf(...pieces: string[]): Promise<string> {
  const { programs, process } = start((program) => program.print(ready));
  const file = "/private/0/python-1.stacks";
  programs.texts.set(file, "an earlier dump\n");
  const python = await process;
  const program = programs.started[0];
  if (program === undefined) throw new Error("nothing was started");
  program.onSignal = () => {
    const [first = "", ...rest] = pieces;
    const add = (piece: string) =>
      programs.texts.set(file, programs.texts.get(file) + piece);
    add(first);
    // Between two looks.
    setTimeout(() => rest.forEach(add), 30);
  };
  const stacks = await python.stacks();
  assertEquals(program.done, ["SIGUSR1"]);
  return stacks;
}

test("PythonProcess.stacks() tells the threads that are in the application", async () => {
  assertEquals(
    await stacksOf(`${idleThread}\n\n`, `${busyThread}\n\n${idleThread}\n`),
    busyThread.split("\n").slice(0, 2).join("\n"),
  );
  assertEquals(await stacksOf(`${idleThread}\n`), idleThread);
});

test("PythonProcess.stacks() asks nobody who would end of it", async () => {
  const { programs, process } = start((program) => program.print(ready));
  assertEquals(await (await process).stacks(), "");
  assertEquals(programs.started[0]?.done, []);
});

test("PythonProcess.stacks() does not wait for ever", async () => {
  assertEquals(await stacksOf(), "");
});

test("PythonProcess.start() rejects when the system refuses", async () => {
  const { host } = new FakePrograms(() => {});
  const refusing = {
    ...host,
    start: () =>
      Promise.reject(Object.assign(new Error("denied"), { code: "EACCES" })),
  };
  const error = await assertRejects(
    () => PythonProcess.start(command, "python-1", refusing),
    CommandError,
    "Cannot run /usr/bin/python3",
  );
  assertMatch(error.detail ?? "", /EACCES/);
});

test("describeEnd() says how it ended", () => {
  assertEquals(describeEnd({ code: 7, signal: null }), "exited with code 7");
  assertEquals(
    describeEnd({ code: null, signal: "SIGKILL" }),
    "was ended by SIGKILL",
  );
});

test("PythonProcess.start() refuses what no socket can be called", async () => {
  const { programs, process } = start(() => {}, {
    directory: `/private/${"d".repeat(90)}`,
  });
  const error = await assertRejects(() => process, CommandError, "too long");
  assertMatch(error.remedy, /TMPDIR/);
  assertEquals(programs.started.length, 0);
});
