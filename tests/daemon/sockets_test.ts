/** What a server with workers listens on besides a port: the file of a Unix
 * socket, and sockets that another program has opened. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
} from "@std/assert";
import { statSync } from "node:fs";
import {
  accepts,
  addressIn,
  answerOf,
  get,
  request,
  testDaemon,
  until,
} from "../support/daemon.ts";
import { findTool } from "../support/tool.ts";

testDaemon(
  "a Unix socket's file stays over reload and restart, and goes with stop",
  async (daemon) => {
    const path = daemon.path("app.sock");
    const address = { host: path, port: 0 };
    const { outcome, stderr } = await daemon.run(
      "start",
      "app.mjs:app",
      "--bind=unix:app.sock",
      "--workers=2",
      "--umask=027",
    );
    assertEquals([outcome, stderr], [0, ""]);
    const old = await daemon.workers();
    const { ino, mode } = statSync(path);
    assertEquals(mode & 0o777, 0o750);
    const answeredBy = new Set<string>();
    await daemon.until(async () => {
      const { text } = await get(address);
      answeredBy.add(text.split(" ")[0]!);
      return answeredBy.size === 2;
    }, "an answer by each worker");
    assertEquals((await daemon.order({ command: "reload" }))?.ok, true);
    const next = await daemon.untilServing(2, old);
    assertEquals((await daemon.order({ command: "restart" }))?.ok, true);
    await daemon.untilServing(2, next);
    await daemon.until(
      () => daemon.processes().length === 3,
      "the old one's end",
    );
    assertEquals(statSync(path).ino, ino);
    assertEquals((await get(address)).status, 200);
    daemon.signal("SIGTERM");
    await daemon.untilGone();
    assert(!daemon.has("app.sock"));
  },
);

for (const last of ["former", "new"] as const) {
  testDaemon(
    `two arbiters stop at once: a Unix socket's file goes with the ${last} one`,
    async (daemon) => {
      const address = { host: daemon.path("app.sock"), port: 0 };
      await daemon.start("--bind=unix:app.sock");
      const former = daemon.pid;
      // Whose worker has a request in hand is the last to end.
      const begin = async () => {
        const client = await request(address, "/gate");
        await client.until(() => /begun/.test(client.receivedText), "a begin");
        return client;
      };
      const early = last === "former" ? await begin() : undefined;
      daemon.signal("SIGUSR2");
      await daemon.untilLogged(/The new arbiter \(pid \d+\) serves/);
      const next = Number(daemon.read("headgate.pid.2"));
      if (last === "new") daemon.signal("SIGWINCH", former);
      if (last === "new") await daemon.untilServing(0);
      const client = early ?? await begin();
      for (const arbiter of [former, next]) daemon.signal("SIGTERM", arbiter);
      const first = last === "new" ? former : next;
      await daemon.until(
        () => !daemon.processes().includes(first),
        "the first one's end",
      );
      assert(daemon.has("app.sock"));
      daemon.write("open", "");
      assertEquals((await answerOf(client)).text, "begun, done");
      await client.close();
      await daemon.untilGone();
      assert(!daemon.has("app.sock"));
    },
  );
}

testDaemon("a Unix socket queues no fewer after a restart", async (daemon) => {
  const path = daemon.path("app.sock");
  await daemon.start(`--bind=unix:${path}`);
  const old = await daemon.workers();
  assertEquals((await daemon.order({ command: "restart" }))?.ok, true);
  const workers = await daemon.untilServing(2, old);
  await daemon.until(
    () => daemon.processes().length === 3,
    "the old one's end",
  );
  for (const pid of workers) daemon.signal("SIGSTOP", pid);
  // Nobody accepts: who connects is queued, or refused.
  const waiting = await Promise.allSettled(
    Array.from({ length: 40 }, () => request({ host: path, port: 0 })),
  );
  for (const pid of workers) daemon.signal("SIGCONT", pid);
  for (const outcome of waiting) {
    if (outcome.status === "rejected") throw outcome.reason;
    assertEquals((await answerOf(outcome.value)).status, 200);
    await outcome.value.close();
  }
});

testDaemon("the file that a killed server left is replaced", async (daemon) => {
  const start = [
    "start",
    "app.mjs:app",
    "--bind=unix:app.sock",
    "--workers=2",
  ];
  await daemon.run(...start);
  daemon.signal("SIGKILL");
  await daemon.untilGone();
  assert(daemon.has("app.sock"));
  assertEquals((await daemon.run(...start)).outcome, 0);
  const { status } = await get({ host: daemon.path("app.sock"), port: 0 });
  assertEquals(status, 200);
});

testDaemon("two addresses are served by all workers", async (daemon) => {
  await daemon.start("--bind=unix:app.sock");
  const { addresses = [] } = await daemon.status() ?? {};
  assertEquals(addresses.length, 2);
  const [first = "", second] = addresses;
  assertMatch(first, /^http:\/\/127\.0\.0\.1:\d+$/);
  assertMatch(second!, /^unix:.*app\.sock$/);
  const port = Number(first.split(":").at(-1));
  assertEquals((await get({ host: "127.0.0.1", port })).status, 200);
  const path = daemon.path("app.sock");
  assertEquals((await get({ host: path, port: 0 })).status, 200);
});

/** Perl that opens two sockets as descriptors 3 and 4, tells their ports, and
 * becomes what its arguments name. */
const opener = `
  use Socket; use POSIX ();
  $^F = 9;
  for my $fd (3, 4) {
    socket(my $socket, PF_INET, SOCK_STREAM, 0) or die $!;
    bind($socket, sockaddr_in(0, INADDR_LOOPBACK)) or die $!;
    listen($socket, 64) or die $!;
    print STDERR "port ", (sockaddr_in(getsockname($socket)))[0], "\\n";
    if (fileno($socket) != $fd) { POSIX::dup2(fileno($socket), $fd) or die $!; }
    push @kept, $socket;
  }
  if (shift @ARGV) { $ENV{LISTEN_FDS} = 2; $ENV{LISTEN_PID} = $$; }
  exec @ARGV or die $!;
`;

for (
  const [name, adopts, bind] of [
    ["LISTEN_FDS", "1", []],
    ["--bind fd://3", "", ["--bind=fd://3", "--bind=fd://4"]],
  ] as const
) {
  testDaemon(`${name}: sockets that the parent has opened`, async (daemon) => {
    const perl = await findTool("perl");
    if (perl === undefined) return;
    const server = daemon.launch(
      ["app.mjs:app", "--workers=2", "--pidfile=headgate.pid", ...bind],
      [perl, "-e", opener, adopts],
    );
    await until(
      () => /Ready in/.test(server.stdout) || server.outcome !== undefined,
      "readiness",
      () => server.told(),
    );
    const ports = [...server.stderr.matchAll(/^port (\d+)$/gm)]
      .map(([, port]) => Number(port));
    assertEquals(ports.length, 2);
    assertNotEquals(ports[0], ports[1]);
    const both = ports.map((port) => ({ host: "127.0.0.1", port }));
    for (const address of both) {
      assertEquals((await get(address)).status, 200, server.told());
    }
    assertEquals(addressIn(server.stdout), both[1]);
    const old = await daemon.workers();
    assertEquals((await daemon.order({ command: "reload" }))?.ok, true);
    await daemon.untilServing(2, old);
    for (const address of both) {
      assertEquals((await get(address)).status, 200);
    }
    daemon.signal("SIGTERM");
    assertEquals(await server.ended(), 0);
    for (const address of both) assert(!await accepts(address));
  });
}

testDaemon("fd://3 that is no socket is refused", async (daemon) => {
  const { outcome, stderr } = await daemon.run(
    "app.mjs:app",
    "--workers=2",
    "--bind=fd://3",
  );
  assertEquals(outcome, 1);
  assertMatch(stderr, /^headgate: .*descriptor 3/i);
});
