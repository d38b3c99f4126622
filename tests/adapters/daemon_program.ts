/** A program that starts itself again by way of `daemonHost`, for the tests
 * beside it. Its first argument names what it does; the last line that it
 * prints on standard output tells as JSON how that went. */
import { spawn } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { connect } from "node:net";
import process from "node:process";
import { daemonHost } from "../../adapters/daemon_host.ts";
import { openSockets, socketTable } from "../../adapters/descriptors.ts";
import { detectTransport } from "../../adapters/detect.ts";
import type {
  BoundSockets,
  Channel,
  ChildProcess,
  SpawnOptions,
} from "../../src/daemon/host.ts";
import type { Address } from "../../src/stream.ts";

const [scenario = "", ...args] = process.argv.slice(2);

const scenarios: Readonly<Record<string, () => Promise<unknown>>> = {
  "hand over": handOver,
  "hand over under load": handOverUnderLoad,
  channel: tellChannel,
  "early close": tellEarlyClose,
  output: tellOutput,
  endings: tellEndings,
  grandchild: tellGrandchild,
  refused: tellRefused,
  "hold lock": holdLock,
  leaks: tellLeaks,
  user: tellUser,
  environment: tellEnvironment,
  arguments: tellArguments,
  signals: tellSignals,
};

/** What a child of a scenario does. */
const roles: Readonly<Record<string, () => Promise<void> | void>> = {
  arbiter,
  worker,
  flood,
  talker,
  observer,
  chatterbox,
  leaver: () => process.exit(3),
  sleeper: () => listenForever(() => process.exit(0)),
  survivor: () => listenForever(() => void setInterval(() => {}, 1000)),
  parent,
  teller,
};

const role = process.env.DAEMON_TEST_ROLE;
if (role === undefined) {
  console.log(JSON.stringify(await scenarios[scenario]!()));
  process.exit(0);
} else {
  await roles[role]!();
}

function start(
  name: string,
  options: Partial<SpawnOptions> = {},
  more: readonly string[] = args,
): ChildProcess {
  return daemonHost.spawn([scenario, ...more], {
    fds: [],
    output: { kind: "inherit" },
    detached: false,
    ...options,
    env: { DAEMON_TEST_ROLE: name, ...options.env },
  });
}

/** The messages of a channel until it closes, or until there are so many. */
function messages(channel: Channel, count = Infinity): Promise<unknown[]> {
  return new Promise((resolve) => {
    const all: unknown[] = [];
    channel.receive((message) => {
      all.push(message);
      if (all.length >= count) resolve(all);
    }, () => resolve(all));
  });
}

// ---- Sockets that are handed on ----

async function handOver(): Promise<unknown> {
  const [path = ""] = args;
  const bound = await daemonHost.bind(
    [{ port: 0 }, { path }, { hostname: "::", port: 0 }],
    2,
  );
  const before = bound.sockets.map(({ address }) => address);
  const { arbiter, ready } = startArbiter(bound);
  const kept = existsSync(path);
  bound.close();
  const inherited = await ready;
  const answers = await Promise.all(
    before.map((address) => ask(dialable(address))),
  );
  arbiter.channel.send("leave");
  const end = await arbiter.ended;
  return {
    before,
    inherited,
    answers,
    kept: kept && existsSync(path),
    aside: existsSync(`${path}.${process.pid}~`),
    end,
  };
}

/** Connects all the while. Whoever gets a connection gets an answer. */
async function handOverUnderLoad(): Promise<unknown> {
  const [port = ""] = args;
  const client = start("flood");
  let begin = () => {};
  const begun = new Promise<void>((resolve) => begin = resolve);
  const counted = new Promise<unknown>((resolve) =>
    client.channel.receive((message) => {
      if (message === "begun") begin();
      else resolve(message);
    }, () => resolve(undefined))
  );
  await begun;
  const bound = await daemonHost.bind([{ port: Number(port) }], 4);
  const { arbiter, ready } = startArbiter(bound);
  bound.close();
  await ready;
  await ask(dialable(bound.sockets[0]!.address));
  client.channel.send("enough");
  const counts = await counted;
  arbiter.channel.send("leave");
  await arbiter.ended;
  return counts;
}

function startArbiter(
  { sockets }: BoundSockets,
): { arbiter: ChildProcess; ready: Promise<unknown> } {
  const child = start("arbiter", {
    fds: sockets.map(({ fd }) => fd),
    env: { DAEMON_TEST_COUNT: String(sockets.length) },
    detached: true,
  });
  const ready = messages(child.channel, 1).then(([message]) => message);
  return { arbiter: child, ready };
}

async function arbiter(): Promise<void> {
  const sockets = daemonHost.inherited(
    fdsFrom3(Number(process.env.DAEMON_TEST_COUNT)),
  );
  const child = start("worker", { fds: sockets.map(({ fd }) => fd) });
  child.channel.receive(() => daemonHost.parent!.send(sockets), () => {});
  daemonHost.parent!.receive(() => child.channel.close(), () => {});
  await child.ended;
  process.exit(7);
}

async function worker(): Promise<void> {
  const transport = await detectTransport();
  for (const { fd } of daemonHost.inherited(fdsFrom3(count()))) {
    await transport.listen({ fd }, (stream) => {
      void stream.write(new TextEncoder().encode(`served ${fd}`));
      stream.closeWrite();
    });
  }
  daemonHost.parent!.receive(() => {}, () => process.exit(0));
  daemonHost.parent!.send("listening");
}

function count(): number {
  return Number(process.env.DAEMON_TEST_COUNT);
}

function dialable({ host, port }: Address): object {
  if (port === 0) return { path: host };
  return { port, host: host === "::" ? "127.0.0.1" : host };
}

/** What a connection is told; "" when it is told nothing. */
function ask(where: object): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect(where as { path: string });
    socket.setEncoding("utf8");
    socket.on("data", (chunk) => text += chunk);
    socket.once("end", () => {
      socket.end();
      resolve(text.replace(/\d+$/, ""));
    });
    socket.once("error", reject);
  });
}

async function flood(): Promise<void> {
  const [port = ""] = args;
  const counts = { refused: 0, answered: 0, lost: 0 };
  let enough = false;
  daemonHost.parent!.receive(() => enough = true, () => process.exit(0));
  while (!enough) {
    try {
      const text = await ask({ port: Number(port), host: "127.0.0.1" });
      if (text === "served ") counts.answered++;
      else counts.lost++;
    } catch (error) {
      const { code } = error as { code?: string };
      if (code !== "ECONNREFUSED") counts.lost++;
      else if (counts.refused++ === 0) daemonHost.parent!.send("begun");
    }
  }
  daemonHost.parent!.send(counts);
  await daemonHost.parent!.flushed();
  process.exit(0);
}

// ---- Channels ----

async function tellChannel(): Promise<unknown> {
  const child = start("talker");
  const order: string[] = [];
  for (let number = 1; number <= 3; number++) child.channel.send({ number });
  const heard: unknown[] = [];
  child.channel.receive((message) => {
    heard.push(message);
    order.push("message");
  }, () => order.push("closed"));
  const end = await child.ended;
  order.push("ended");
  const { open } = child.channel;
  child.channel.send("into the void");
  await child.channel.flushed();
  child.channel.close();
  child.channel.close();
  return { heard, end, open, order: [...new Set(order)] };
}

/** Hears late, answers much, and leaves at once. */
async function talker(): Promise<void> {
  const parent = daemonHost.parent!;
  // Other turns of the loop, in which they come and nobody receives them.
  for (let at = 0; at < 20; at++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const heard: unknown[] = [];
  await new Promise<void>((resolve) => {
    parent.receive((message) => {
      heard.push(message);
      if (heard.length === 3) resolve();
    }, () => process.exit(1));
  });
  parent.send(heard);
  for (let at = 0; at < 20; at++) parent.send("é".repeat(5000));
  parent.send("the end");
  await parent.flushed();
  process.exit(3);
}

/** We close first: the other end is told, and ours is not. */
async function tellEarlyClose(): Promise<unknown> {
  const child = start("observer");
  let told = false;
  await new Promise<void>((resolve) =>
    child.channel.receive(() => resolve(), () => told = true)
  );
  child.channel.send("x".repeat(300_000));
  child.channel.close();
  const { open } = child.channel;
  const hasty = start("observer");
  hasty.channel.close();
  return { end: await child.ended, told, open, hasty: await hasty.ended };
}

/** Leaves with 40 + what it heard when its parent closes the channel. */
function observer(): void {
  let heard = 0;
  daemonHost.parent!.receive(
    (message) => heard += String(message).length === 300_000 ? 1 : 0,
    () => process.exit(40 + heard),
  );
  daemonHost.parent!.send("here");
}

// ---- Output, endings ----

async function tellOutput(): Promise<unknown> {
  const [file = ""] = args;
  const pieces: string[] = [];
  const lines = start("chatterbox", {
    output: { kind: "lines", take: (text) => pieces.push(text) },
  });
  lines.channel.receive(() => {}, () => {});
  await lines.ended;
  const logged = start("chatterbox", { output: { kind: "file", path: file } });
  await logged.ended;
  const silent = start("chatterbox", { output: { kind: "discard" } });
  await silent.ended;
  return {
    whole: pieces.every((piece) => piece.endsWith("\n")),
    lines: pieces.join("").split("\n").map((line) =>
      line.length > 99 ? line.length : line
    ),
    file: readFileSync(file, "utf8").length,
    mode: statSync(file).mode & 0o777,
  };
}

/** Writes a line in two pieces, one that is long, and half a one. */
async function chatterbox(): Promise<void> {
  const write = (text: string) =>
    new Promise<void>((resolve) => process.stdout.write(text, () => resolve()));
  await write("one ");
  await write("line\n");
  await write(`${"x".repeat(300_000)}\n`);
  await write("half");
  process.exit(0);
}

async function tellEndings(): Promise<unknown> {
  const left = start("leaver");
  const killed = start("sleeper");
  killed.kill("SIGKILL");
  const ends = { left: await left.ended, killed: await killed.ended };
  left.kill("SIGKILL"); // neither it, nor who has its number now
  return { ...ends, alive: daemonHost.isAlive(left.pid) };
}

/** A grandchild holds the output of a child that has ended. */
async function tellGrandchild(): Promise<unknown> {
  const took: string[] = [];
  const child = start("parent", {
    output: { kind: "lines", take: (text) => took.push(text) },
  });
  const end = await child.ended;
  const grandchild = Number(took.join(""));
  const survived = daemonHost.isAlive(grandchild);
  daemonHost.kill(grandchild, "SIGKILL");
  return { end, survived };
}

function parent(): void {
  const child = spawn("sleep", ["60"], {
    stdio: ["ignore", "inherit", "ignore"],
  });
  process.stdout.write(`${child.pid}\n`, () => process.exit(0));
}

/** An argument that is longer than the system takes. */
async function tellRefused(): Promise<unknown> {
  const took: string[] = [];
  const output = {
    kind: "lines",
    take: (text: string) => void took.push(text),
  } as const;
  const child = start("sleeper", { output }, ["x".repeat(200_000)]);
  let closed = false;
  child.channel.receive(() => {}, () => closed = true);
  child.channel.send("nobody");
  child.kill("SIGKILL");
  const end = await child.ended;
  return { pid: child.pid, open: child.channel.open, closed, end, took };
}

// ---- What a child is, and has ----

/** Takes a lock, leaves a child behind that outlives it, and waits to be
 * killed. */
async function holdLock(): Promise<unknown> {
  const [name = ""] = args;
  const lock = await daemonHost.lock(name);
  const survivor = start("survivor", { detached: true });
  console.log(JSON.stringify({ held: !!lock, survivor: survivor.pid }));
  return new Promise(() => setInterval(() => {}, 1000));
}

/** Holds whatever it can while it starts a child. */
async function tellLeaks(): Promise<unknown> {
  const [path = ""] = args;
  const lock = await daemonHost.lock(path);
  const control = await daemonHost.serveControl(
    `${path}.control`,
    () => Promise.resolve(null),
  );
  const bound = await daemonHost.bind([{ port: 0 }, { path }], 1);
  const child = start("teller", { fds: bound.sockets.map(({ fd }) => fd) });
  const [told] = await messages(child.channel, 1);
  child.channel.close();
  await child.ended;
  control.close();
  lock?.release();
  bound.close();
  return told;
}

async function tellUser(): Promise<unknown> {
  (process as { setgroups?(groups: number[]): void }).setgroups?.([4, 27]);
  return await toldBy({ user: { uid: 65_534, gid: 65_533 } });
}

async function tellEnvironment(): Promise<unknown> {
  process.env.DAEMON_TEST_OLD = "old";
  return await toldBy({
    env: { DAEMON_TEST_OLD: undefined, DAEMON_TEST_NEW: "new" },
  });
}

/** From another directory, with the same program and other arguments. */
async function tellArguments(): Promise<unknown> {
  daemonHost.chdir("/");
  daemonHost.setTitle("a title that is written over the arguments");
  return await toldBy({}, ["--bind", "a b", "", "-x"]);
}

async function toldBy(
  options: Partial<SpawnOptions>,
  more?: readonly string[],
): Promise<unknown> {
  const child = start("teller", options, more);
  const [told] = await messages(child.channel, 1);
  child.channel.close();
  await child.ended;
  return told;
}

function teller(): void {
  const table = socketTable();
  listenForever(() => process.exit(0));
  daemonHost.parent!.send({
    args: process.argv.slice(3),
    directory: process.cwd(),
    variables: Object.keys(process.env).filter((name) =>
      /^DAEMON_TEST_(OLD|NEW)$/.test(name)
    ),
    listening: [...openSockets()].filter(([inode]) =>
      table.get(inode)?.listening
    ).map(([, fd]) => fd),
    status: readFileSync("/proc/self/status", "utf8")
      .match(/^(Uid|Gid|Groups):.*$/gm)?.map((line) => line.trim()),
  });
}

function listenForever(onClose: () => void): void {
  daemonHost.parent!.receive(() => {}, onClose);
}

async function tellSignals(): Promise<unknown> {
  const signals = [
    "SIGHUP",
    "SIGINT",
    "SIGTERM",
    "SIGQUIT",
    "SIGTTIN",
    "SIGTTOU",
    "SIGUSR1",
    "SIGUSR2",
    "SIGWINCH",
  ] as const;
  const heard: string[] = [];
  for (const signal of signals) {
    const off = daemonHost.onSignal(signal, () => heard.push(signal));
    daemonHost.kill(process.pid, signal);
    await until(() => heard.includes(signal));
    off();
  }
  return { missing: signals.filter((signal) => !heard.includes(signal)) };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 25_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error("Waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

function fdsFrom3(count: number): number[] {
  return Array.from({ length: count }, (_, index) => 3 + index);
}
