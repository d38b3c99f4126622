/** Applications in Python as a user serves them: the program itself, with and
 * without workers, and what is left of it in the end. */
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertStringIncludes,
} from "@std/assert";
import type { Address } from "../../src/stream.ts";
import {
  addressIn,
  type Daemon,
  get,
  type Started,
  testDaemon,
  until,
} from "../support/daemon.ts";
import { findPython } from "../support/python.ts";

const application = `
import os
import time

from greeting import greeting

if os.path.exists("refuse"):
    raise RuntimeError("it refuses to load")
while os.path.exists("stick"):
    time.sleep(0.1)

hoard = []


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/crash":
        os.kill(os.getpid(), 9)
    if path == "/hang":
        time.sleep(600)
    if path == "/hoard":
        hoard.append(b"x" * 400_000_000)
    if path == "/variable":
        return answer(start_response, os.environ.get(environ["QUERY_STRING"], "none"))
    return answer(start_response, f"{os.getpid()} {greeting}")


def answer(start_response, text):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]
`;

/** A test with such an application in the directory of the server. */
function testPython(
  name: string,
  body: (daemon: Daemon, options: readonly string[]) => Promise<void>,
): void {
  const python = findPython();
  if (python === undefined) return void test(name, () => {});
  testDaemon(name, async (daemon) => {
    daemon.write("app.py", application);
    daemon.write("greeting.py", "greeting = 'hello'\n");
    await body(daemon, [
      "--python",
      python,
      "--bind",
      "127.0.0.1:0",
      // A cached module is not looked into again within its second.
      "--env",
      "PYTHONDONTWRITEBYTECODE=1",
    ]);
  });
}

/** Starts it in the foreground, and waits until it is ready. */
async function serve(daemon: Daemon, ...args: string[]): Promise<Started> {
  const started = daemon.launch(args);
  await until(
    () => /Ready in/.test(started.stdout) || started.outcome !== undefined,
    "readiness",
    () => started.told(),
  );
  return started;
}

/** Starts it in the background. */
async function start(daemon: Daemon, ...args: string[]): Promise<void> {
  const started = await daemon.run("start", ...args);
  assertEquals(started.outcome, 0, started.told());
  await daemon.untilLogged("Ready in");
}

async function pidAt(address: Address): Promise<number> {
  const { status, text } = await get(address);
  assertEquals(status, 200, text);
  return Number(text.split(" ")[0]);
}

testPython("one process serves, and leaves nothing behind", async (
  daemon,
  options,
) => {
  const server = await serve(
    daemon,
    "app:app",
    ...options,
    "--env",
    "VARIABLE=of ours",
  );
  const address = addressIn(server.stdout);
  assertStringIncludes(server.stdout, "Application: app:app (Python)");
  const { text } = await get(address);
  assertMatch(text, /^\d+ hello$/);
  for (
    const [name, value] of [
      ["VARIABLE", "of ours"],
      ["DENO_EXTRA_STDIO_FDS", "none"],
    ]
  ) assertEquals((await get(address, `/variable?${name}`)).text, value);
  daemon.signal("SIGTERM", server.pid);
  assertEquals(await server.ended(), 0);
  await daemon.untilGone();
});

testPython("--max-rss counts what Python takes", async (daemon, options) => {
  await start(daemon, "app:app", ...options, "--max-rss", "300M");
  const [old = 0] = await daemon.workers();
  assertEquals((await daemon.get("/hoard")).status, 200);
  await daemon.untilServing(1, [old]);
  await daemon.untilLogged(/Worker 1 .*: has \d+ MB \(--max-rss\)/);
});

testPython("Python leaves when its gateway is killed", async (
  daemon,
  options,
) => {
  const server = await serve(daemon, "app.py:app", ...options);
  await pidAt(addressIn(server.stdout));
  daemon.signal("SIGKILL", server.pid);
  assertEquals(await server.ended(), "SIGKILL");
  await daemon.untilGone();
});

testPython("a process that crashes is replaced, and its worker stays", async (
  daemon,
  options,
) => {
  await start(daemon, "app:app", "--workers", "1", ...options);
  const { address } = daemon;
  const workers = await daemon.workers();
  const pid = await pidAt(address);
  assertEquals((await get(address, "/crash")).status, 502);
  assertNotEquals(await pidAt(address), pid);
  assertEquals(await daemon.workers(), workers);
  await daemon.untilLogged(
    /\[ERROR\] python-1 \(pid \d+\) was ended by SIGKILL/,
  );
});

testPython("a request that hangs is 504, with the stack in the log", async (
  daemon,
  options,
) => {
  const limit = ["--backend-timeout", "1"];
  await start(daemon, "app:app", "--workers", "1", ...limit, ...options);
  const workers = await daemon.workers();
  assertEquals((await daemon.get("/hang")).status, 504);
  await daemon.untilLogged(/\[CRITICAL\] python-1 .*: GET \/hang hangs/);
  await daemon.untilLogged(/app\.py", line \d+ in app/);
  assertEquals((await daemon.get()).status, 200);
  assertEquals(await daemon.workers(), workers);
});

testPython("each worker has as many processes as it should", async (
  daemon,
  options,
) => {
  const counts = ["--python-workers", "2", "--threads", "1"];
  await start(daemon, "app:app", "--workers", "2", ...counts, ...options);
  const pids = new Set<number>();
  await daemon.until(async () => {
    const all = [1, 2, 3, 4, 5, 6, 7, 8].map(() => pidAt(daemon.address));
    for (const pid of await Promise.all(all)) pids.add(pid);
    return pids.size === 4;
  }, "four processes");
  // What we tell our own processes is for them alone.
  assertEquals((await daemon.get("/variable?HEADGATE_PROCESS")).text, "none");
  // The arbiter, two workers, and these.
  assertEquals(daemon.processes().length, 7);
});

testPython("reload under load loses nothing", async (daemon, options) => {
  await start(daemon, "app:app", "--workers", "2", ...options);
  const { address } = daemon;
  const old = await daemon.workers();
  let over = false;
  const failures: string[] = [];
  let answered = 0;
  const clients = Array.from({ length: 2 }, async () => {
    while (!over) {
      try {
        const { status, text } = await get(address);
        if (status === 200 && /^\d+ (hello|changed)$/.test(text)) answered++;
        else failures.push(`${status} ${text}`);
      } catch (error) {
        failures.push(String(error));
      }
    }
  });
  for (const greeting of ["changed", "hello", "changed"]) {
    daemon.write("greeting.py", `greeting = '${greeting}'\n`);
    const reload = await daemon.run("reload");
    assertEquals([reload.outcome, reload.stderr], [0, ""]);
    await daemon.untilServing(2, old);
  }
  over = true;
  await Promise.all(clients);
  assertEquals(failures, []);
  assert(answered > 20, String(answered));
  assertMatch((await get(address)).text, /changed$/);
  await daemon.until(
    () => daemon.processes().length === 5,
    "the old ones' end",
  );
});

testPython("a reload of what does not load keeps the old", async (
  daemon,
  options,
) => {
  await start(daemon, "app:app", "--workers", "1", ...options);
  const pid = await pidAt(daemon.address);
  daemon.write("refuse", "");
  const { outcome, stderr } = await daemon.run("reload");
  assertEquals(outcome, 1);
  assertMatch(stderr, /app\.py", line \d+, in <module>[^]*it refuses to load/);
  assertEquals(await pidAt(daemon.address), pid);
});

testPython(
  "what does not load is told with its traceback, and exit code 3",
  async (
    daemon,
    options,
  ) => {
    daemon.write("refuse", "");
    for (const more of [[], ["--workers", "2"]]) {
      const server = await daemon.run("app:app", ...more, ...options);
      assertEquals(server.outcome, 3);
      assertMatch(
        server.told(),
        /Cannot load app:app: RuntimeError: it refuses to load:\n.*Traceback[^]*app\.py", line \d+, in <module>/,
      );
      await daemon.untilGone();
    }
  },
);

testPython("an import without end is given up, and leaves nobody", async (
  daemon,
  options,
) => {
  daemon.write("stick", "");
  const limit = ["--boot-timeout", "2"];
  const server = await daemon.run(
    "app:app",
    "--workers",
    "2",
    ...limit,
    ...options,
  );
  assertEquals(server.outcome, 3);
  await daemon.untilGone();
});

testPython("a signal ends the wait for an import", async (daemon, options) => {
  daemon.write("stick", "");
  const server = daemon.launch(["app:app", ...options]);
  await daemon.until(() => daemon.processes().length === 2, "the import");
  daemon.signal("SIGTERM", server.pid);
  assertEquals(await server.ended(), 0, server.told());
  assertStringIncludes(server.stdout, "before the application was ready");
  await daemon.untilGone();
});

testPython("--check-config loads the application, too", async (
  daemon,
  options,
) => {
  const well = await daemon.run("app:app", "--check-config", ...options);
  assertEquals(well.outcome, 0, well.told());
  daemon.write("refuse", "");
  const ill = await daemon.run("app:app", "--check-config", ...options);
  assertEquals(ill.outcome, 3);
  assertStringIncludes(ill.stderr, "it refuses to load");
  await daemon.untilGone();
});

testPython("a name that is almost one is told of", async (daemon, options) => {
  daemon.write("server.ts", "export {};\n");
  const script = await daemon.run("server:app", ...options);
  assertEquals(script.outcome, 2);
  assertStringIncludes(script.stderr, "Write server.ts:app.");
  const nobody = await daemon.run("app:app", "--python", "python-nowhere");
  assertEquals(nobody.outcome, 1);
  assertStringIncludes(nobody.stderr, "No Python interpreter python-nowhere.");
});
