/** What goes wrong in a Python application, and what others notice of it. */
import { join } from "node:path";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertNotEquals,
  assertStringIncludes,
} from "@std/assert";
import { CommandError } from "../../src/command_error.ts";
import {
  findPython,
  pythonApplications,
  pythonEnvironment,
  type ServedOptions,
  ServedPython,
  startFailure,
  TemporaryDirectory,
} from "../support/python.ts";
import { isRunning } from "../support/program.ts";

/** Runs a test with an application that is served, where there is a Python. */
async function served(
  options: ServedOptions,
  check: (application: ServedPython) => Promise<void>,
  name = "wsgiapp:app",
): Promise<void> {
  const python = findPython();
  if (python === undefined) return;
  await using application = await ServedPython.start(name, {
    python,
    ...options,
  });
  await check(application);
}

async function pidOf(application: ServedPython): Promise<number> {
  return Number((await application.json("/process"))["pid"]);
}

/** Waits until something holds. */
async function eventually(
  condition: () => boolean | Promise<boolean>,
  what: string,
): Promise<void> {
  const deadline = performance.now() + 25_000;
  while (!await condition()) {
    assert(performance.now() < deadline, `Waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("a process that is killed answers 502, and another serves", () =>
  served({}, async (application) => {
    const pid = await pidOf(application);
    const response = await application.get("/crash");
    await response.text();
    assertEquals(response.status, 502);
    assertNotEquals(await pidOf(application), pid);
    await application.logged(/^error python-1 .* was ended by SIGKILL; it is/);
    await application.logged(/^info python-2 .* serves$/);
  }));

test("a process that leaves by itself is replaced as well", () =>
  served({}, async (application) => {
    const response = await application.get("/leave");
    await response.text();
    assertEquals(response.status, 502);
    await application.logged(/^error python-1 .* exited with code 7; it is/);
    assertStringIncludes(await application.text("/hello"), "Hello");
  }));

test("a response whose process ends is cut, not ended", () =>
  served({}, async (application) => {
    const client = await application.connect();
    await client.send("GET /crash-within HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await client.untilEnded();
    await client.close();
    assertMatch(client.receivedText, /^HTTP\/1\.1 200 [^]*first\n/);
    assert(!client.receivedText.includes("\r\n0\r\n"));
  }));

test("requests that wait while a process is replaced are answered", () =>
  served({ threads: 2 }, async (application) => {
    const others = (count: number) =>
      Array.from({ length: count }, async () => {
        const response = await application.get("/hello");
        await response.text();
        return response.status;
      });
    for (let round = 0; round < 3; round++) {
      const crash = application.get("/crash");
      const statuses = await Promise.all([...others(30)]);
      const crashed = await crash;
      await crashed.text();
      assertEquals(crashed.status, 502);
      // One more was in hand at most: there are two threads.
      const lost = statuses.filter((status) => status !== 200);
      assert(lost.length <= 1, String(statuses));
      assert(lost.every((status) => status === 502), String(statuses));
      const after = await Promise.all(others(10));
      assert(after.every((status) => status === 200), String(after));
    }
  }));

test("a request that hangs is answered 504, and logged with its stack", () =>
  served({ timeoutSeconds: 1 }, async (application) => {
    const pid = await pidOf(application);
    const response = await application.get("/wait?seconds=60&x=%0A");
    await response.text();
    assertEquals(response.status, 504);
    const line = await application.logged(/^critical .* hangs/);
    assertMatch(
      line,
      /python-1 \(pid \d+\): GET \/wait\?seconds=60&x=%0A hangs/,
    );
    const stacks = await application.logged(/^critical .* threads at work/);
    assertMatch(stacks, /wsgiapp\.py", line \d+ in sleep_in_the_application/);
    assert(!stacks.includes("in _accept"));
    assertNotEquals(await pidOf(application), pid);
    await eventually(() => !isRunning(pid), "the end of the process");
  }));

test("a request that keeps Python to itself is found to hang, too", () =>
  served({ timeoutSeconds: 1 }, async (application) => {
    const response = await application.get("/spin?seconds=60");
    await response.text();
    assertEquals(response.status, 504);
    const stacks = await application.logged(/^critical .* threads at work/);
    assertMatch(stacks, /wsgiapp\.py", line \d+ in spin/);
    assertStringIncludes(await application.text("/hello"), "Hello");
  }));

test("a response that stops half way is cut", () =>
  served({ timeoutSeconds: 1 }, async (application) => {
    const client = await application.connect();
    await client.send(
      "GET /wait-within?seconds=60 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    await client.untilEnded();
    await client.close();
    assertMatch(client.receivedText, /^HTTP\/1\.1 200 [^]*first\n/);
    assert(!client.receivedText.includes("second"));
    assert(!client.receivedText.includes("\r\n0\r\n"));
    await application.logged(/^critical .*wait-within.* hangs/);
  }));

test("a client that does not read is no request that hangs", () =>
  served({ timeoutSeconds: 0.5 }, async (application) => {
    const client = await application.connect();
    await client.send("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await client.until(() => client.received.length > 0, "an answer");
    client.pause();
    const pid = await pidOf(application);
    const since = performance.now();
    await eventually(() => performance.now() - since > 2500, "time to pass");
    assertEquals(await pidOf(application), pid);
    assertEquals(
      application.lines.filter((line) => line.startsWith("critical")),
      [],
    );
    await client.close();
  }));

test("a client that sends nothing is no request that hangs", () =>
  served({ timeoutSeconds: 0.5, spool: "off" }, async (application) => {
    const client = await application.connect();
    await client.send(
      "POST /raw HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nabc",
    );
    const since = performance.now();
    await eventually(() => performance.now() - since > 2000, "time to pass");
    assertEquals(client.receivedText, "");
    await client.send("def");
    await client.until(() => client.receivedText.includes('"size": 6'), "200");
    await client.close();
  }));

test("what is thrown is answered 500, with its traceback in the log", () =>
  served({}, async (application) => {
    const response = await application.get("/throw");
    await response.text();
    assertEquals(response.status, 500);
    await application.logged(/wsgiapp\.py", line \d+, in throw/);
    await application.logged(/RuntimeError: thrown without a framework/);
    const pid = await pidOf(application);
    assertStringIncludes(await application.text("/hello"), "Hello");
    assertEquals(await pidOf(application), pid);
  }));

test("wsgi.errors is the log's", () =>
  served({}, async (application) => {
    assertEquals(await application.text("/complain"), "complained\n");
    await application.logged(/a complaint/);
  }));

test("an application that never loads again is answered 503 for", async () => {
  using directory = new TemporaryDirectory();
  const env = pythonEnvironment({ CRASHING: join(directory.path, "times") });
  await served({ env, queueSeconds: 1 }, async (application) => {
    const crash = await application.get("/crash");
    await crash.text();
    const response = await application.get("/hello");
    await response.text();
    assertEquals(response.status, 503);
    assert(response.headers.has("retry-after"));
    await application.logged(/^error No other .*Python was ended by SIGKILL/);
  }, "crashing:app");
});

test("a module that throws is told of with its traceback", async () => {
  const python = findPython();
  if (python === undefined) return;
  const error = await startFailure("broken:app", { python, processes: 2 });
  assertInstanceOf(error, CommandError);
  assertEquals(error.exitCode, 3);
  assertEquals(
    error.message,
    "Cannot load broken:app: RuntimeError: no database",
  );
  assertMatch(error.detail ?? "", /broken\.py", line \d+, in fail/);
});

test("a name that the module does not have is told of", async () => {
  const python = findPython();
  if (python === undefined) return;
  for (
    const [name, pattern] of [
      ["wsgiapp:ap", /has no 'ap'; it has .*app/],
      ["nowhere:app", /There is no module 'nowhere'/],
      ["wsgiapp:Made", /should it be 'wsgiapp:Made\(\)'\?/],
      ["wsgiapp:routes", /cannot be called/],
    ] as const
  ) {
    const error = await startFailure(name, { python });
    assertInstanceOf(error, CommandError);
    assertMatch(error.message, pattern);
  }
});

test("an application is found by its attributes, and by a call", () =>
  served({}, async (application) => {
    assertEquals(await application.text("/"), "made for a: b\n");
  }, 'wsgiapp:made.create("a: b")'));

test("the environ tells what serves it", () =>
  served({ multiprocess: true, threads: 1 }, async (application) => {
    const { flags, strings, kinds } = await application.json("/told?a=b") as {
      flags: Record<string, boolean>;
      strings: Record<string, string>;
      kinds: Record<string, string>;
    };
    assertEquals(flags, {
      multithread: false,
      multiprocess: true,
      run_once: false,
    });
    const { PATH_INFO, SCRIPT_NAME, QUERY_STRING, SERVER_PROTOCOL } = strings;
    assertEquals(
      [PATH_INFO, SCRIPT_NAME, QUERY_STRING, SERVER_PROTOCOL],
      ["/told", "", "a=b", "HTTP/1.1"],
    );
    assertMatch(strings["SERVER_SOFTWARE"] ?? "", /^Headgate\//i);
    assertEquals(kinds["wsgi.version"], "tuple");
    assertEquals(kinds["wsgi.input_terminated"], "bool");
  }));

test("an application has its place in the paths of a site", () =>
  served({ scriptName: "/site/a" }, async (application) => {
    const { strings } = await application.json("/site/a/told") as {
      strings: Record<string, string>;
    };
    assertEquals(
      [strings["SCRIPT_NAME"], strings["PATH_INFO"], strings["REQUEST_URI"]],
      ["/site/a", "/told", "/site/a/told"],
    );
  }));

test("an application has files sent from where it may", () =>
  served(
    { sendFileRoots: [pythonApplications] },
    async (application) => {
      const response = await application.get("/send?file=checked.py", {
        headers: { range: "bytes=3-7" },
      });
      assertEquals([response.status, await response.text()], [206, "WSGI "]);
      const elsewhere = await application.get("/send?file=../package.json");
      await elsewhere.text();
      assert(elsewhere.status >= 400, String(elsewhere.status));
    },
  ));

test("two processes share what comes, and both leave", () =>
  served({ processes: 2, threads: 1 }, async (application) => {
    const pids = new Set<number>();
    await eventually(async () => {
      for (
        const pid of await Promise.all(
          [1, 2, 3, 4].map(() => pidOf(application)),
        )
      ) pids.add(pid);
      return pids.size === 2;
    }, "two processes");
    assert(application.application.residentBytes() > 10_000_000);
    const { flags } = await application.json("/told") as {
      flags: Record<string, boolean>;
    };
    assertEquals(flags["multiprocess"], true);
    await application[Symbol.asyncDispose]();
    assertEquals([...pids].filter(isRunning), []);
    assertEquals(application.application.residentBytes(), 0);
  }));

test("close() lets running requests end, and no longer than it should", () =>
  served({ graceSeconds: 1 }, async (application) => {
    const pid = await pidOf(application);
    const short = application.get("/wait?seconds=0.5");
    const long = application.get("/wait?seconds=60").then(
      () => "answered",
      () => "cut",
    );
    await eventually(
      async () => (await application.json("/process"))["waiting"] === 2,
      "both to run",
    );
    await application[Symbol.asyncDispose]();
    assertEquals((await short).status, 200);
    await (await short).text();
    assertEquals(await long, "cut");
    await eventually(() => !isRunning(pid), "the end of the process");
  }));

test("a client that leaves is nothing to warn of", () =>
  served({ threads: 1 }, async (application) => {
    const client = await application.connect();
    await client.send("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await client.until(() => client.received.length > 0, "an answer");
    await client.close();
    // The one thread is free once the other request has ended.
    assertStringIncludes(await application.text("/hello"), "Hello");
    const lines = application.lines.filter((line) => /^(warn|err)/.test(line));
    assertEquals(lines, []);
  }));
