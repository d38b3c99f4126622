/** A server with workers in the foreground: what its launcher passes on, and
 * that nothing outlives it. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import process from "node:process";
import {
  accepts,
  addressIn,
  answerOf,
  get,
  request,
  served,
  testDaemon,
  until,
} from "../support/daemon.ts";

/** The pid that a log names behind these words. */
function pidIn(log: string, words: string): number {
  return Number(log.match(new RegExp(`${words} (\\d+)`))?.[1]);
}

function arbiterIn(log: string): number {
  return pidIn(log, "arbiter with pid");
}

testDaemon(
  "in the foreground the log goes to standard output",
  async (daemon) => {
    const server = await daemon.serve();
    assertEquals(daemon.processes().length, 4);
    await get(addressIn(server.stdout), "/print");
    await until(
      () => /^printed by the application$/m.test(server.stdout),
      "what it printed",
      () => server.told(),
    );
    assertMatch(
      server.stdout,
      /^.* \[INFO\] Headgate .*, arbiter with pid \d+$/m,
    );
    assert(!daemon.has("headgate.log") && !daemon.has("headgate.pid"));
  },
);

testDaemon(
  "SIGTERM to the launcher: running requests end, and it exits with 0",
  async (daemon) => {
    const server = await daemon.serve();
    const address = addressIn(server.stdout);
    const client = await request(address, "/gate");
    await client.until(() => /begun/.test(client.receivedText), "its begin");
    process.kill(server.pid, "SIGTERM");
    await until(async () => !await accepts(address), "the refusal");
    assertEquals(server.outcome, undefined);
    daemon.write("open", "");
    assertEquals((await answerOf(client)).text, "begun, done");
    await client.close();
    assertEquals(await server.ended(), 0);
    assertEquals(daemon.processes(), []);
    assertMatch(server.stdout, /\[INFO\] Stopped\n$/);
    assertEquals(server.stderr, "");
  },
);

testDaemon(
  "SIGTERM to every process at once: running requests end",
  async (daemon) => {
    const server = await daemon.serve("--pidfile=headgate.pid");
    const address = addressIn(server.stdout);
    const client = await request(address, "/gate");
    await client.until(() => /begun/.test(client.receivedText), "its begin");
    const workers = await daemon.workers();
    process.kill(daemon.pid, "SIGTERM");
    await until(
      () => /SIGTERM: letting/.test(server.stdout),
      "the beginning of the end",
      () => server.told(),
    );
    for (const pid of [server.pid, ...workers]) {
      try {
        process.kill(pid, "SIGTERM");
      } catch { // the worker that has nothing to do may have left already
        assert(!daemon.processes().includes(pid));
      }
    }
    await until(async () => !await accepts(address), "the refusal");
    daemon.write("open", "");
    assertEquals((await answerOf(client)).text, "begun, done");
    await client.close();
    assertEquals(await server.ended(), 0);
    assertEquals(daemon.processes(), []);
  },
);

testDaemon("Ctrl+C stops at once, and it exits with 0", async (daemon) => {
  const server = await daemon.serve();
  const client = await request(addressIn(server.stdout), "/gate");
  await client.until(() => /begun/.test(client.receivedText), "its begin");
  process.kill(server.pid, "SIGINT");
  assertEquals(await server.ended(), 0);
  assertEquals(daemon.processes(), []);
  await client.close();
});

testDaemon(
  "the launcher passes SIGHUP, SIGTTIN and SIGUSR2 on",
  async (daemon) => {
    const server = await daemon.serve("--pidfile=headgate.pid");
    const logged = (line: RegExp) =>
      until(() => line.test(server.stdout), String(line), () => server.told());
    const { pid } = daemon;
    process.kill(server.pid, "SIGHUP");
    await logged(/Reloaded: generation 2, 2 worker/);
    process.kill(server.pid, "SIGTTIN");
    await daemon.untilServing(3);
    process.kill(server.pid, "SIGUSR2");
    await logged(/The new arbiter \(pid \d+\) serves/);
    // The launcher stays with whom is left.
    daemon.signal("SIGTERM", pid);
    await until(() => daemon.processes().length === 4, "the old arbiter's end");
    assertEquals(server.outcome, undefined);
    await daemon.untilServing(2);
    assertEquals((await get(addressIn(server.stdout))).status, 200);
    process.kill(server.pid, "SIGTERM");
    assertEquals(await server.ended(), 0);
    await daemon.untilGone();
  },
);

testDaemon(
  "its exit code is 3 when the application cannot be loaded",
  async (daemon) => {
    daemon.write("refuse", "");
    const server = await daemon.run(...served);
    assertEquals(server.outcome, 3);
    assertStringIncludes(server.told(), "it refuses to load");
    assertEquals(daemon.processes(), []);
  },
);

testDaemon("the launcher is killed: everything leaves", async (daemon) => {
  const server = await daemon.serve();
  process.kill(server.pid, "SIGKILL");
  await server.ended();
  await daemon.untilGone();
  assertStringIncludes(server.stdout, "The launcher has gone");
  assertEquals(await accepts(addressIn(server.stdout)), false);
});

testDaemon(
  "the arbiter is killed: the workers end what they serve and leave",
  async (daemon) => {
    const server = await daemon.serve();
    const address = addressIn(server.stdout);
    const client = await request(address, "/gate");
    await client.until(() => /begun/.test(client.receivedText), "its begin");
    daemon.signal("SIGKILL", arbiterIn(server.stdout));
    await until(async () => !await accepts(address), "the port's release");
    daemon.write("open", "");
    assertEquals((await answerOf(client)).text, "begun, done");
    await client.close();
    assertEquals(await server.ended(), 137);
    await daemon.untilGone();
  },
);
