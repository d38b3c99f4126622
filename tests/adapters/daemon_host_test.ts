/** `daemonHost` within one process: sockets that are bound, locks, the control
 * socket, files and the system. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { daemonHost } from "../../adapters/daemon_host.ts";
import { openSockets, socketTable } from "../../adapters/descriptors.ts";
import { until } from "./fixture.ts";

const onLinux = process.platform === "linux";
const { reusePort } = daemonHost;

/** A directory that is removed at the end of the scope. */
class Directory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "headgate-"));

  at(name: string): string {
    return join(this.path, name);
  }

  get names(): string[] {
    return readdirSync(this.path);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A server of somebody else, on a port or a path. */
async function occupy(
  where: { host?: string; port?: number; path?: string; reusePort?: boolean },
): Promise<{ port: number; server: Server }> {
  const server = createServer((socket) => void socket.resume());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, resolve);
  });
  const { port } = server.address() as { port: number };
  return { port, server };
}

function release({ server }: { server: Server }): Promise<unknown> {
  return new Promise((resolve) => server.close(resolve));
}

function listeningHere(): number {
  const table = socketTable();
  return [...openSockets().keys()]
    .filter((inode) => table.get(inode)?.listening).length;
}

// ---- bind() ----

test("bind() holds as many sockets for a port as there are slots", async () => {
  if (!onLinux) return;
  const before = listeningHere();
  const bound = await daemonHost.bind([{ port: 0 }, { port: 0 }], 3);
  const { sockets } = bound;
  const each = reusePort ? 3 : 1;
  assertEquals(sockets.length, 2 * each);
  assertEquals(listeningHere(), before + 2 * each);
  const ports = sockets.map(({ address }) => address.port);
  assertEquals(new Set(ports.slice(0, each)).size, 1);
  assertEquals(new Set(ports.slice(each)).size, 1);
  assertNotEquals(ports[0], ports.at(-1));
  const numbers = new Set(sockets.map(({ fd }) => fd));
  assertEquals(numbers.size, sockets.length, "each has its own descriptor");
  const table = socketTable();
  const where = new Map([...openSockets()].map(([inode, fd]) => [fd, inode]));
  for (const { fd, address } of sockets) {
    assertEquals(table.get(where.get(fd)!)?.address, address);
  }
  bound.close();
  bound.close();
  await until(() => listeningHere() === before, "the sockets to close");
});

test("bind() resolves names, and shares no port for a single slot", async () => {
  const bound = await daemonHost.bind([{ hostname: "localhost", port: 0 }], 1);
  const [socket] = bound.sockets;
  assertEquals(bound.sockets.length, 1);
  assertMatch(socket!.address.host, /^(127\.0\.0\.1|::1)$/);
  await assertRejects(
    () => daemonHost.bind([socket!.address].map(asOptions), 4),
    Error,
    "the address is in use",
  );
  bound.close();
});

function asOptions({ host, port }: { host: string; port: number }): {
  hostname: string;
  port: number;
} {
  return { hostname: host, port };
}

/** The error of a `bind()` that has to fail, after which nothing is held. */
async function refusal(
  ...addresses: Parameters<typeof daemonHost.bind>[0]
): Promise<Error & { code?: string; port?: number }> {
  const before = listeningHere();
  const error = await assertRejects(() => daemonHost.bind(addresses, 2), Error);
  await until(() => listeningHere() === before, "nothing to be held");
  return error;
}

test("bind() keeps nothing when one address cannot be had", async () => {
  using directory = new Directory();
  const other = await occupy({ host: "127.0.0.1", port: 0 });
  const error = await refusal(
    { port: 0 },
    { path: directory.at("a.sock") },
    { port: other.port },
  );
  assertEquals(error.code, "EADDRINUSE");
  assertEquals(error.port, other.port);
  assertStringIncludes(error.message, `127.0.0.1:${other.port}`);
  assertEquals(directory.names, []);
  await release(other);
});

test("bind() does not join those who share a port", async () => {
  if (!reusePort) return;
  for (const host of ["127.0.0.1", "0.0.0.0"]) {
    const other = await occupy({ host, port: 0, reusePort: true });
    assertEquals((await refusal({ port: other.port })).code, "EADDRINUSE");
    const joined = await daemonHost.bind(
      [{ hostname: host, port: other.port, reusePort: true }],
      2,
    );
    assertEquals(joined.sockets.length, 2, "unless it is asked for");
    joined.close();
    await release(other);
  }
});

test("bind() tells failures by the system's names", async () => {
  using directory = new Directory();
  const missing = await refusal({ path: directory.at("no/a.sock") });
  assertEquals(missing.code, "ENOENT");
  assertStringIncludes(missing.message, "directory does not exist");

  writeFileSync(directory.at("file"), "");
  const taken = await refusal({ path: directory.at("file") });
  assertEquals(taken.code, "EADDRINUSE");
  assert(existsSync(directory.at("file")));

  const foreign = await refusal({ hostname: "203.0.113.7", port: 0 });
  assertEquals(foreign.code, "EADDRNOTAVAIL");

  const unknown = await refusal({ hostname: "nowhere.invalid", port: 0 });
  assertMatch(unknown.code!, /^(ENOTFOUND|EAI_AGAIN)$/);
});

test("bind() gives a Unix socket its name at once, and leaves it in place", async () => {
  if (!onLinux) return;
  using directory = new Directory();
  const path = directory.at("a.sock");
  const bound = await daemonHost.bind([{ path }], 4);
  assertEquals(bound.sockets.map(({ address }) => address), [
    { host: path, port: 0 },
  ]);
  assert(lstatSync(path).isSocket());
  bound.close();
  assertEquals(directory.names, ["a.sock"]);
});

test("bind() takes a descriptor that somebody else has bound", async () => {
  if (!onLinux) return;
  const held = await daemonHost.bind([{ port: 0 }], 1);
  const [{ fd, address }] = held.sockets as [typeof held.sockets[0]];
  const bound = await daemonHost.bind([{ fd }], 4);
  assertEquals(bound.sockets, [{ fd, address }]);
  bound.close();
  held.close();
});

// ---- inherited() ----

test("inherited() refuses what does not listen", () => {
  if (!onLinux) return;
  assertThrows(() => daemonHost.inherited([5000]), RangeError, "Descriptor ");
  assertEquals(daemonHost.inherited([]), []);
});

// ---- Locks ----

test("lock() holds a name until it is released", async () => {
  if (!onLinux) return;
  for (const name of ["short", `/${"long/".repeat(50)}headgate.pid`]) {
    const own = `${name} ${process.pid}`;
    const lock = await daemonHost.lock(own);
    assert(lock !== undefined);
    assertEquals(await daemonHost.lock(own), undefined);
    const other = await daemonHost.lock(`${own} of another`);
    assert(other !== undefined);
    lock.release();
    const again = await daemonHost.lock(own);
    assert(again !== undefined);
    again.release();
    other.release();
  }
});

// ---- The control socket ----

const echo = (question: unknown) => Promise.resolve({ heard: question });

test("askControl() asks, and serveControl() answers", async () => {
  using directory = new Directory();
  const path = directory.at("control.sock");
  const server = await daemonHost.serveControl(path, echo);
  assertEquals(lstatSync(path).mode & 0o777, 0o600);
  const questions = [{ command: "status" }, "é\n", null, "x".repeat(60_000)];
  const answers = await Promise.all(
    questions.map((question) => daemonHost.askControl(path, question, 10)),
  );
  assertEquals(
    answers,
    questions.map((heard) => ({ answer: { heard } })),
  );
  server.close();
  server.close();
  assertEquals(directory.names, []);
});

test("serveControl() drops what is no question, and goes on", async () => {
  using directory = new Directory();
  const path = directory.at("control.sock");
  const server = await daemonHost.serveControl(
    path,
    (question) =>
      question === "fail" ? Promise.reject(new Error("no")) : echo(question),
  );
  for (const text of ["no JSON\n", "\n", `"${"x".repeat(70_000)}"\n`, "[1]"]) {
    assertEquals(await say(path, text), "");
  }
  assertEquals(await daemonHost.askControl(path, "fail", 10), {
    failure: "silent",
  });
  assertEquals(await say(path, "[1]\n"), `{"heard":[1]}\n`);
  assertEquals(await daemonHost.askControl(path, 1, 10), {
    answer: { heard: 1 },
  });
  server.close();
});

/** Says something on a socket, ends, and returns what it is told. */
function say(path: string, text: string): Promise<string> {
  return new Promise((resolve) => {
    let told = "";
    const socket = connect({ path });
    socket.setEncoding("utf8");
    socket.on("connect", () => socket.end(text));
    socket.on("data", (chunk) => told += chunk);
    socket.on("error", () => {}); // it was dropped before it had said all
    socket.on("close", () => resolve(told));
  });
}

test("serveControl() ends a question that comes in pieces", async () => {
  using directory = new Directory();
  const path = directory.at("control.sock");
  const server = await daemonHost.serveControl(path, echo);
  const told = await new Promise<string>((resolve, reject) => {
    let text = "";
    const socket = connect({ path });
    socket.setEncoding("utf8");
    socket.on("data", (chunk) => text += chunk);
    socket.on("error", reject);
    socket.on("end", () => {
      socket.end();
      resolve(text);
    });
    const bytes = new TextEncoder().encode(`"é"\n`);
    let at = 0;
    const next = () => {
      if (at === bytes.length) return;
      socket.write(bytes.subarray(at, ++at), () => setTimeout(next, 1));
    };
    socket.on("connect", next);
  });
  assertEquals(told, `{"heard":"é"}\n`);
  server.close();
});

test("serveControl() replaces an old socket, and nothing else", async () => {
  using directory = new Directory();
  const path = directory.at("control.sock");
  const first = await daemonHost.serveControl(
    path,
    () => Promise.resolve("first"),
  );
  const second = await daemonHost.serveControl(
    path,
    () => Promise.resolve("second"),
  );
  assertEquals(await daemonHost.askControl(path, 0, 10), { answer: "second" });
  first.close();
  assertEquals(directory.names, ["control.sock"]);
  assertEquals(await daemonHost.askControl(path, 0, 10), { answer: "second" });
  second.close();

  writeFileSync(path, "mine");
  const error = await assertRejects(
    () => daemonHost.serveControl(path, echo),
    Error,
  );
  assertEquals((error as { code?: string }).code, "EADDRINUSE");
  assertEquals(readFileSync(path, "utf8"), "mine");
});

test("serveControl() refuses a path that a socket cannot have", async () => {
  const error = await assertRejects(
    () => daemonHost.serveControl(`/tmp/${"x".repeat(110)}`, echo),
    Error,
    "at most 107",
  );
  assertEquals((error as { code?: string }).code, "ENAMETOOLONG");
});

test("serveControl() lets what runs be answered after close()", async () => {
  using directory = new Directory();
  const path = directory.at("control.sock");
  let asked = false;
  let answer = (_: string) => {};
  const server = await daemonHost.serveControl(path, () => {
    asked = true;
    return new Promise((resolve) => answer = resolve);
  });
  const outcome = daemonHost.askControl(path, "stop", 10);
  await until(() => asked, "the question");
  server.close();
  answer("stopping");
  assertEquals(await outcome, { answer: "stopping" });
});

test("askControl() tells why there is no answer", async () => {
  using directory = new Directory();
  const path = directory.at("control.sock");
  const ask = (seconds = 10) => daemonHost.askControl(path, 1, seconds);
  assertEquals(await ask(), { failure: "absent" });

  const silent = await occupy({ path });
  assertEquals(await ask(0.05), { failure: "silent" });
  renameSync(path, `${path}.stays`);
  await release(silent);

  writeFileSync(path, "");
  assertEquals(await ask(), { failure: "absent" });

  const long = join(directory.path, "x".repeat(120));
  assertEquals(await daemonHost.askControl(long, 1, 10), {
    failure: "absent",
  });
});

// ---- Other processes ----

test("isAlive() does not take a zombie for a process", async () => {
  if (!onLinux) return;
  assert(daemonHost.isAlive(process.pid));
  assert(daemonHost.isAlive(1));
  for (const pid of [0, -1, NaN, 1.5, 2 ** 30]) {
    assert(!daemonHost.isAlive(pid), String(pid));
  }
  // A shell that has become a process that never waits for its child.
  const child = spawn("sh", ["-c", "sleep 0 & echo $!; exec sleep 60"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  let printed = "";
  child.stdout.setEncoding("utf8").on("data", (text) => printed += text);
  try {
    await until(() => printed.endsWith("\n"), "the shell");
    const zombie = Number(printed);
    await until(() => !daemonHost.isAlive(zombie), "its child to end");
    assert(daemonHost.kill(zombie, 0), "it is there yet");
    assert(daemonHost.isAlive(child.pid!), "of a single thread");
  } finally {
    daemonHost.kill(child.pid!, "SIGKILL");
  }
});

test("kill() signals one process, and never a group", () => {
  assert(daemonHost.kill(process.pid, 0));
  for (const pid of [0, -process.pid, NaN, 2 ** 30]) {
    assert(!daemonHost.kill(pid, 0), String(pid));
  }
});

test("residentBytes() is some megabytes", () => {
  if (!onLinux) return;
  const bytes = daemonHost.residentBytes(process.pid);
  assert(bytes !== undefined && bytes > 5_000_000 && bytes < 5_000_000_000);
  assertEquals(daemonHost.residentBytes(2 ** 30), undefined);
});

test("a process without a channel has no parent to talk to", () => {
  assertEquals(daemonHost.parent, undefined);
  assert(daemonHost.cores >= 1);
});

// ---- Files ----

test("writeText() replaces a file whole", () => {
  using directory = new Directory();
  const path = directory.at("headgate.pid");
  assertEquals(daemonHost.readText(path), undefined);
  assertEquals(daemonHost.readText(`${path}/below`), undefined);
  daemonHost.writeText(path, "1\n");
  const { ino } = statSync(path);
  daemonHost.writeText(path, "22\n");
  assertEquals(daemonHost.readText(path), "22\n");
  assertNotEquals(statSync(path).ino, ino);
  assertEquals(statSync(path).mode & 0o777, 0o644);
  assertEquals(directory.names, ["headgate.pid"]);
  assertThrows(() => daemonHost.writeText(directory.at("no/a"), ""), Error);
  assertThrows(() => daemonHost.writeText(directory.path, ""), Error);
  assertEquals(directory.names, ["headgate.pid"]);
  assertEquals(
    readdirSync(join(directory.path, "..")).filter((name) =>
      name.startsWith(`${basename(directory.path)}.`)
    ),
    [],
  );
});

test("chown() gives a file away, or does nothing", () => {
  using directory = new Directory();
  const path = directory.at("a");
  daemonHost.chown(path, { uid: 1 });
  if (process.getuid?.() !== 0) return;
  writeFileSync(path, "");
  daemonHost.chown(path, { uid: 65_534 });
  daemonHost.chown(path, { gid: 65_533 });
  const { uid, gid } = statSync(path);
  assertEquals([uid, gid], [65_534, 65_533]);
});

test("chown() gives away neither what a link names nor a device", () => {
  if (process.getuid?.() !== 0) return;
  using directory = new Directory();
  writeFileSync(directory.at("secret"), "");
  symlinkSync("secret", directory.at("link"));
  daemonHost.chown(directory.at("link"), { uid: 65_534 });
  assertEquals(statSync(directory.at("secret")).uid, 0);
  daemonHost.chown("/dev/null", { uid: 65_534 });
  assertEquals(statSync("/dev/null").uid, 0);
});

test("writeText() follows no link that waits for it", () => {
  using directory = new Directory();
  const path = directory.at("headgate.pid");
  writeFileSync(directory.at("precious"), "kept");
  symlinkSync("precious", `${path}.${process.pid}~`);
  symlinkSync("precious", path);
  daemonHost.writeText(path, "1\n");
  assertEquals(daemonHost.readText(directory.at("precious")), "kept");
  assertEquals(daemonHost.readText(path), "1\n");
  assertEquals(directory.names.sort(), ["headgate.pid", "precious"]);
});

test("absolute() and umask() do as they say", () => {
  assertEquals(daemonHost.absolute("a/../b"), join(process.cwd(), "b"));
  const before = process.umask(0o22);
  try {
    using directory = new Directory();
    daemonHost.umask(0o77);
    writeFileSync(directory.at("a"), "");
    assertEquals(statSync(directory.at("a")).mode & 0o777, 0o600);
  } finally {
    process.umask(before);
  }
});

// ---- Accounts ----

test("findUser() and findGroup() go by name or number", () => {
  if (!onLinux) return;
  assertEquals(daemonHost.findUser("root"), { uid: 0, gid: 0 });
  assertEquals(daemonHost.findUser("0"), { uid: 0, gid: 0 });
  assertEquals(daemonHost.findGroup("root"), 0);
  assertEquals(daemonHost.findGroup("0"), 0);
  assertEquals(daemonHost.findGroup("54321"), 54_321);
  for (const name of ["", "nobody-here", "--help", "root:x", "54321"]) {
    assertEquals(daemonHost.findUser(name), undefined, name);
  }
  for (const name of ["", "nobody-here", "root:x", "-1", "99999999999"]) {
    assertEquals(daemonHost.findGroup(name), undefined, name);
  }
});

// ---- The service manager ----

test("notify() has systemd-notify say it, where somebody wants to know", async () => {
  using directory = new Directory();
  const said = directory.at("said");
  const { PATH, NOTIFY_SOCKET } = process.env;
  writeFileSync(
    directory.at("systemd-notify"),
    `#!/bin/sh\nprintf '%s|' "$@" > "${said}~"; mv "${said}~" "${said}"\n`,
  );
  chmodSync(directory.at("systemd-notify"), 0o755);
  try {
    process.env.PATH = `${directory.path}:${PATH}`;
    delete process.env.NOTIFY_SOCKET;
    daemonHost.notify("STOPPING=1");
    process.env.NOTIFY_SOCKET = "/run/nobody";
    daemonHost.notify("READY=1\nMAINPID=17");
    await until(() => existsSync(said), "the command");
    assertEquals(readFileSync(said, "utf8"), "READY=1|MAINPID=17|");
    process.env.PATH = "/nowhere";
    daemonHost.notify("READY=1"); // there is no such command
  } finally {
    process.env.PATH = PATH;
    if (NOTIFY_SOCKET === undefined) delete process.env.NOTIFY_SOCKET;
    else process.env.NOTIFY_SOCKET = NOTIFY_SOCKET;
  }
});
