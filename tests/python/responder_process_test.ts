/** The responder of Python applications as a process: what it loads, what it
 * says, how it ends. */
import { execFile } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { promisify } from "node:util";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { until } from "../support/daemon.ts";
import { isRunning } from "../support/program.ts";
import { pythonEnvironment } from "../support/python.ts";
import {
  request,
  Responder,
  type ResponderOptions,
} from "../support/responder.ts";
import { findTool } from "../support/tool.ts";

const python = await findTool("python3");

async function withResponder(
  app: string,
  check: (responder: Responder) => Promise<void>,
  options: ResponderOptions = {},
): Promise<void> {
  if (python === undefined) return;
  await using responder = await Responder.start(python, app, options);
  await check(responder);
}

/** Asserts that nothing is loaded, and that this is what is said. */
function assertUnloaded(
  app: string,
  message: RegExp,
  traceback: RegExp = /^$/,
): Promise<void> {
  return withResponder(app, async (responder) => {
    assertEquals(responder.report.type, "failed");
    assertMatch(responder.report.message!, message);
    assert(!responder.report.message!.includes("\n"));
    assertMatch(responder.report.traceback!, traceback);
    assert(!responder.report.traceback!.includes("headgate_wsgi"));
    assert(!responder.report.traceback!.includes("importlib"));
    assertEquals(await responder.exited, 3);
  }, { args: ["--pythonpath", "failing"] });
}

test("it is ready once it listens, and says who it is", () =>
  withResponder("answers:hello", async (responder) => {
    const { type, pid, python } = responder.report;
    assertEquals([type, pid], ["ready", responder.pid]);
    assertMatch(python!, /^3\.\d+\.\d+$/);
    assertEquals((await responder.ask()).text, "hello\n");
  }));

for (
  const [spec, text] of [
    ["answers:site.api.app", "attribute"],
    ["answers:create()", "Hello, nobody"],
    ["answers:create('you', greeting='Bye')", "Bye, you"],
    ["answers.py:create()", "Hello, nobody"],
    ["package.inner:app", "package.inner"],
    ["package/inner.py:app", "inner"],
    ["./bare.py", "bare"],
    ["bare", "bare"],
    ["package.inner", "package.inner"],
  ] as const
) {
  test(`${spec} is an application`, () =>
    withResponder(spec, async (responder) => {
      assertEquals(responder.report.message, undefined);
      assertEquals((await responder.ask()).text, text);
    }));
}

test("a module that is not there is told from one that it imports", async () => {
  await assertUnloaded("nowhere:app", /^There is no module 'nowhere' in \//);
  await assertUnloaded(
    "package.nowhere:app",
    /^There is no module 'package.nowhere' in \//,
  );
  await assertUnloaded("nowhere/app.py:app", /^There is no file '\/.*app.py'$/);
  await assertUnloaded(
    "needs:app",
    /^ModuleNotFoundError: No module named 'no_such_package_anywhere'$/,
    /needs.py", line 2, in <module>/,
  );
});

test("an application that is not there: what there is instead is told", async () => {
  await assertUnloaded(
    "answers:nothing",
    /^'answers' has no 'nothing'; it has hello, environ, echo, /,
  );
  await assertUnloaded(
    "answers:site.nothing",
    /^'answers' has no 'site.nothing'/,
  );
  await assertUnloaded(
    "answers",
    /^'answers' has neither 'application' nor 'app'; it has/,
  );
  await assertUnloaded(
    "answers:number",
    /'number' of 'answers' is an object of int/,
  );
  await assertUnloaded(
    "divides:application",
    /'application' of 'divides' is None/,
  );
});

test("what is no application by its arguments is told", async () => {
  await assertUnloaded(
    "answers:create",
    /'answers:create' cannot be called with \(environ, start_response\): should it be 'answers:create\(\)'\?$/,
  );
  await assertUnloaded("answers:asgi", /it seems to be an ASGI application$/);
});

test("an expression is a name or a call with literal values", async () => {
  for (const wrong of ["hello(", "1 + 1", "create()()", "create(hello)"]) {
    await assertUnloaded(
      `answers:${wrong}`,
      /neither a name nor a call|literal/,
    );
  }
  await assertUnloaded("answers:", /not like module:callable/);
});

test("what fails while it is loaded comes with its traceback", async () => {
  await assertUnloaded("syntax:app", /^SyntaxError: /, /syntax.py", line \d/);
  await assertUnloaded(
    "wordy:app",
    /^RuntimeError: what is wrong$/,
    /and what to do about it/,
  );
  await assertUnloaded(
    "leaves:app",
    /^SystemExit: no settings$/,
    /leaves.py", line 4/,
  );
  await assertUnloaded(
    "divides:create()",
    /^ZeroDivisionError: division by zero$/,
    /line 9, in create\n[^]*line 5, in inner/,
  );
});

test("the application's path begins where it is", () =>
  withResponder("answers:where", async (responder) => {
    assertEquals((await responder.ask()).text, "[[], 'failing', True]");
  }, { args: ["--pythonpath", "failing"] }));

test("what the application prints goes to descriptor 3, line by line", () =>
  withResponder("answers:prints", async (responder) => {
    await responder.ask();
    assertEquals(responder.printed, "shown to the user\n");
    assertEquals(responder.errors, "");
  }));

test("what the application prints goes to standard error without one", () =>
  withResponder("answers:prints", async (responder) => {
    await responder.ask();
    await responder.untilErrors("shown to the user\n");
  }, { prints: false }));

test("the end of standard input ends it, with what the application left", () =>
  withResponder("answers:leaves_word", async (responder) => {
    const client = await responder.connect();
    assertEquals((await client.ask()).text, "registered");
    responder.closeInput();
    assertEquals(await responder.exited, 0);
    // The idle connection was closed.
    await client.raw.untilEnded();
    assertEquals(responder.printed, "at exit\n");
  }));

for (const how of ["SIGTERM", "the end of input"] as const) {
  test(`requests that run at ${how} end as they would`, () =>
    withResponder("answers:stepwise", async (responder) => {
      const idle = await responder.connect();
      await idle.ask({ PATH_INFO: "/idle" });
      const client = await responder.connect();
      await client.raw.send(request());
      await client.untilContent("first");
      const go = request({ PATH_INFO: "/go" }, "content");
      const other = await responder.connect();
      await other.raw.send(go.subarray(0, -10));
      await responder.untilSeen(
        () => responder.printed.includes("reading"),
        "the other request",
      );
      if (how === "SIGTERM") responder.kill("SIGTERM");
      else responder.closeInput();
      await idle.raw.untilEnded();
      await assertRejects(() => responder.connect());
      await other.raw.send(go.subarray(-10));
      assertEquals((await other.answer()).text, "gone");
      assertEquals((await client.answer()).text, "firstsecond");
      assertEquals(await responder.exited, 0);
    }));
}

test("SIGINT and SIGHUP do nothing", () =>
  withResponder("answers:hello", async (responder) => {
    const client = await responder.connect();
    for (const signal of ["SIGINT", "SIGHUP"] as const) {
      responder.kill(signal);
      assertEquals((await client.ask()).text, "hello\n");
    }
    assertEquals(responder.errors, "");
  }));

test("SIGUSR1 writes the stacks of all threads", () =>
  withResponder("answers:stepwise", async (responder) => {
    const client = await responder.connect();
    await client.raw.send(request());
    await client.untilContent("first");
    // It may be on its way back to the application still.
    await responder.untilSeen(() => {
      responder.kill("SIGUSR1");
      return /answers.py", line \d+ in blocks/.test(responder.stacks);
    }, "stacks");
    await responder.ask({ PATH_INFO: "/go" });
    assertEquals((await client.answer()).text, "firstsecond");
  }));

test("a program that the application starts has none of our signals, nor pipes", () =>
  withResponder("answers:dispositions", async (responder) => {
    const { text } = await responder.ask();
    assertEquals(text, "[True, True, True] True [0, 1, 2]\n");
  }));

test("a fork of the application's is ended by SIGTERM, and we are not", () =>
  withResponder("answers:fork_dispositions", async (responder) => {
    assertEquals((await responder.ask()).text, "child: -15");
    assertEquals((await responder.ask()).text, "child: -15");
  }));

test("a fork of the application's that comes back to us answers nobody", () =>
  withResponder("answers:forks", async (responder) => {
    const client = await responder.connect();
    const ask = async (QUERY_STRING: string) =>
      (await client.ask({ QUERY_STRING })).text;
    assertEquals(await ask("exit"), "child: 7");
    assertEquals(await ask("raise"), "child: 1");
    assertMatch(responder.errors, /RuntimeError: in the child/);
    assertEquals(await ask("return"), "child: 0");
    assertEquals(
      (await responder.ask({ QUERY_STRING: "exit" })).text,
      "child: 7",
    );
  }));

test("a fork that begins when the body is closed answers nobody", () =>
  withResponder("answers:forks_in_close", async (responder) => {
    const client = await responder.connect();
    assertEquals((await client.ask()).text, "forked");
    await responder.untilSeen(
      () => responder.printed.includes("child: 0\n"),
      "the child's end",
    );
    assertEquals((await client.ask()).text, "forked");
    assertEquals(responder.errors, "");
  }));

test("a fork of the application's that stays keeps nothing open", () =>
  withResponder("answers:fork_stays", async (responder) => {
    const client = await responder.connect();
    await client.ask();
    await responder.untilSeen(
      () => /^child \d+$/m.test(responder.printed),
      "the child",
    );
    const child = Number(/^child (\d+)$/m.exec(responder.printed)![1]);
    try {
      responder.closeInput();
      // The end of its output, and of the connection, are those of the process.
      await responder.untilReportsEnd();
      await client.raw.untilEnded();
    } finally {
      process.kill(child, "SIGKILL");
    }
    assertEquals(await responder.exited, 0);
  }));

test("a fork at import is a program of its own", () =>
  withResponder("forks_early:app", async (responder) => {
    assertEquals(responder.report.type, "ready");
    assertEquals((await responder.ask()).text, "child: -15");
    assertEquals(responder.errors, "");
    responder.closeInput();
    assertEquals(await responder.exited, 0);
  }));

test("what a gateway that is killed leaves behind is removed", async () => {
  for (const [word, isLeft] of [["leave\n", true], ["", false]] as const) {
    const directory = mkdtempSync(join(tmpdir(), "headgate-private-"));
    writeFileSync(join(directory, "file"), "");
    try {
      await withResponder("answers:hello", async (responder) => {
        responder.closeInput(word);
        assertEquals(await responder.exited, 0);
        assertEquals(existsSync(directory), isLeft || python === undefined);
      }, { args: ["--private", directory] });
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
});

test("what does not end is ended some time after its gateway", async () => {
  if (python === undefined) return;
  const directory = mkdtempSync(join(tmpdir(), "headgate-private-"));
  try {
    const { stdout } = await promisify(execFile)(python, [
      "orphaned.py",
      join(process.cwd(), "python/headgate_wsgi.py"),
      directory,
      "stays:app",
    ], { cwd: "tests/python/apps", env: pythonEnvironment() });
    const pid = Number(stdout);
    assert(pid > 0, stdout);
    try {
      await until(() => !isRunning(pid), "its end");
    } finally {
      if (isRunning(pid)) process.kill(pid, "SIGKILL");
    }
    assertEquals(existsSync(directory), false);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test("its threads let the gateway run", () =>
  process.platform !== "linux"
    ? undefined
    : withResponder("answers:scheduled", async (responder) => {
      assertEquals((await responder.ask()).text, "True");
    }));

test("the socket is ours alone", () =>
  withResponder("answers:hello", async (responder) => {
    const { mode } = statSync(`${responder.directory}/socket`);
    assertEquals(mode & 0o777, 0o600);
    await assertRejects(
      async () => {
        if (python === undefined) return;
        await Responder.start(python, "answers:hello", {
          args: ["--threads", "0"],
        });
      },
      Error,
      "--threads must be at least 1",
    );
  }));

test("alone it serves the socket on descriptor 0, and prints as it likes", async () => {
  if (python === undefined) return;
  await using alone = Responder.startAlone(python, "answers:prints");
  await alone.untilSeen(
    () => existsSync(`${alone.directory}/socket`),
    "socket",
  );
  assertEquals((await alone.ask()).text, "printed");
  const idle = await alone.connect();
  assertEquals((await idle.ask()).text, "printed");
  const second = await alone.connect();
  assertEquals((await second.ask()).text, "printed");
  alone.kill("SIGTERM");
  await idle.raw.untilEnded();
  assertEquals(await alone.exited, 0);
  assertEquals(alone.output, "shown to the user\n".repeat(3));
});

test("alone it tells on standard error why it does not start", async () => {
  if (python === undefined) return;
  await using alone = Responder.startAlone(python, "nowhere:app");
  assertEquals(await alone.exited, 3);
  assertMatch(alone.errors, /^There is no module 'nowhere' in/);
});
