/** Waiting with epoll, and connections and listeners over it, on a kernel of our
 * own: what real sockets do too seldom, or never at the same moment.
 *
 * Length: a few classes whose rules show only where they meet. */
import {
  existsSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { Epoll, type Watched } from "../../adapters/epoll.ts";
import { connectWithEpoll } from "../../adapters/epoll_connect.ts";
import { listenWithEpoll } from "../../adapters/epoll_listener.ts";
import { EpollStream } from "../../adapters/epoll_stream.ts";
import {
  EAGAIN,
  EALREADY,
  EINPROGRESS,
  EINTR,
  EINVAL,
  EPIPE,
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLPRI,
  EPOLLRDHUP,
} from "../../adapters/linux_sockets.ts";
import {
  largestRead,
  ReadMemory,
  smallestRead,
} from "../../adapters/read_memory.ts";
import { StreamError } from "../../src/errors.ts";
import type { ByteStream } from "../../src/stream.ts";
import { FakeKernel } from "./fake_kernel.ts";
import { until } from "./fixture.ts";

const EMFILE = 24, ECONNABORTED = 103, ECONNRESET = 104;

const octets = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array | null) =>
  bytes === null ? null : new TextDecoder().decode(bytes);

/** Time enough for what is about to happen to happen. */
async function turns(count = 8): Promise<void> {
  for (let i = 0; i < count; i++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A socket that writes down what it is told. */
class Socket implements Watched {
  readonly told: number[] = [];
  readonly fd: number;
  readonly #then: () => void;

  constructor(fd: number, then: () => void = () => {}) {
    this.fd = fd;
    this.#then = then;
  }

  ready(events: number): void {
    this.told.push(events);
    this.#then();
  }
}

/** Collects what is thrown in a turn of its own, which would end a program. */
async function uncaughtOf(body: () => Promise<void>): Promise<unknown[]> {
  const { queueMicrotask } = globalThis;
  const uncaught: unknown[] = [];
  globalThis.queueMicrotask = (callback) =>
    queueMicrotask(() => {
      try {
        callback();
      } catch (error) {
        uncaught.push(error);
      }
    });
  try {
    await body();
  } finally {
    globalThis.queueMicrotask = queueMicrotask;
  }
  return uncaught;
}

// ---- Epoll ----

test("Epoll tells a socket of its events", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  const sockets = [new Socket(5), new Socket(6)];
  for (const socket of sockets) epoll.add(socket, EPOLLIN);
  kernel.emit(5, EPOLLIN);
  await until(() => sockets[0]!.told.length === 1, "an event");
  kernel.emit(6, EPOLLIN | EPOLLRDHUP);
  await until(() => sockets[1]!.told.length === 1, "another");
  assertEquals(sockets.map(({ told }) => told), [
    [EPOLLIN],
    [EPOLLIN | EPOLLRDHUP],
  ]);
  for (const socket of sockets) epoll.remove(socket);
});

test("Epoll drops an event about a descriptor that is another's by now", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  const closed = new Socket(6);
  const next = new Socket(6);
  const first = new Socket(5, () => {
    epoll.remove(closed);
    epoll.add(next, EPOLLIN);
  });
  epoll.add(first, EPOLLIN);
  epoll.add(closed, EPOLLIN);
  kernel.emit(5, EPOLLIN);
  kernel.emit(6, EPOLLIN); // in the same batch
  await until(() => first.told.length === 1, "the first");
  await turns();
  assertEquals([closed.told, next.told], [[], []]);
  kernel.emit(6, EPOLLOUT);
  await until(() => next.told.length === 1, "the next");
  assertEquals([closed.told, next.told], [[], [EPOLLOUT]]);
  epoll.remove(first);
  epoll.remove(next);
});

test("Epoll drops an event about a descriptor that is not watched any more", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  const closed = new Socket(6);
  const first = new Socket(5, () => epoll.remove(closed));
  epoll.add(first, EPOLLIN);
  epoll.add(closed, EPOLLIN);
  kernel.emit(5, EPOLLIN);
  kernel.emit(6, EPOLLIN);
  await until(() => first.told.length === 1, "the first");
  await turns();
  assertEquals(closed.told, []);
  epoll.remove(closed); // is not counted twice
  await turns();
  kernel.emit(5, EPOLLIN);
  await until(() => first.told.length === 2, "the first again");
  epoll.remove(first);
});

test("Epoll ends with the last socket, and begins again with the next", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  for (let round = 0; round < 3; round++) {
    const socket = new Socket(5);
    epoll.add(socket, EPOLLIN);
    assertEquals(kernel.open.size, 2);
    kernel.emit(5, EPOLLIN);
    await until(() => socket.told.length === 1, "an event");
    epoll.remove(socket);
    await until(() => kernel.open.size === 0, "the end");
  }
});

test("Epoll goes on when a socket comes before it has ended", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  const first = new Socket(5);
  epoll.add(first, EPOLLIN);
  await turns();
  epoll.remove(first);
  const second = new Socket(5);
  epoll.add(second, EPOLLIN);
  await turns();
  kernel.emit(5, EPOLLIN);
  await until(() => second.told.length === 1, "an event");
  assertEquals(kernel.open.size, 2);
  epoll.remove(second);
  await until(() => kernel.open.size === 0, "the end");
});

test("Epoll leaves nothing open when it cannot begin, and can later", async () => {
  for (const call of ["create", "eventfd", "ctl"] as const) {
    const kernel = new FakeKernel();
    const epoll = new Epoll(kernel.sockets);
    const socket = new Socket(5);
    kernel.failures[call].push(-EMFILE);
    const error = assertThrows(() => epoll.add(socket, EPOLLIN));
    assertEquals((error as Error & { code: string }).code, "EMFILE");
    assertEquals(kernel.open.size, 0, call);
    epoll.add(socket, EPOLLIN);
    kernel.emit(5, EPOLLIN);
    await until(() => socket.told.length === 1, "an event");
    epoll.remove(socket);
    await until(() => kernel.open.size === 0, "the end");
  }
});

test("Epoll ends when the first socket cannot be watched", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  kernel.failures.ctl.push(0, -EINVAL);
  assertThrows(() => epoll.add(new Socket(5), EPOLLIN));
  await until(() => kernel.open.size === 0, "the end");
});

test("Epoll tells the others when a socket throws", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  const failure = new Error("Thrown by a callback");
  const thrower = new Socket(5, () => {
    throw failure;
  });
  const other = new Socket(6);
  const uncaught = await uncaughtOf(async () => {
    epoll.add(thrower, EPOLLIN);
    epoll.add(other, EPOLLIN);
    kernel.emit(5, EPOLLIN);
    kernel.emit(6, EPOLLIN);
    await until(() => other.told.length === 1, "an event behind it");
    kernel.emit(6, EPOLLIN);
    await until(() => other.told.length === 2, "the next batch");
  });
  assertEquals(uncaught, [failure]);
  epoll.remove(thrower);
  epoll.remove(other);
});

test("Epoll waits again when a signal has ended its wait", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  const socket = new Socket(5);
  epoll.add(socket, EPOLLIN);
  // Before that it has only a thread wait.
  await until(() => performance.now() > 2100, "the end of the start");
  kernel.emit(5, EPOLLIN);
  await until(() => socket.told.length === 1, "an event");
  kernel.failures.wait.push(-EINTR);
  kernel.emit(5, EPOLLIN);
  await until(() => socket.told.length === 2, "another");
  epoll.remove(socket);
});

test("Epoll asks for nothing while nothing happens", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  await until(() => performance.now() > 2100, "the end of the start");
  const socket = new Socket(5);
  epoll.add(socket, EPOLLIN);
  kernel.emit(5, EPOLLIN);
  await until(() => socket.told.length === 1, "an event");
  await turns();
  const { polls } = kernel;
  await turns();
  assertEquals(kernel.polls, polls);
  epoll.remove(socket);
});

test("Epoll lets the event loop turn while there are always events", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  await until(() => performance.now() > 2100, "the end of the start");
  let others = false;
  const socket: Watched = {
    fd: 5,
    ready() {
      if (socketTold++ < 1000 && !others) kernel.emit(5, EPOLLIN);
    },
  };
  let socketTold = 0;
  epoll.add(socket, EPOLLIN);
  kernel.emit(5, EPOLLIN);
  await until(() => socketTold > 3, "events");
  setImmediate(() => others = true);
  await until(() => others, "others");
  assert(socketTold < 1000);
  epoll.remove(socket);
});

test("Epoll.change() changes what a socket is watched for, if it is", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  const socket = new Socket(5);
  epoll.change(socket, EPOLLIN);
  epoll.add(socket, EPOLLIN);
  epoll.change(socket, EPOLLOUT);
  assertEquals(kernel.watched(5), EPOLLOUT);
  kernel.emit(5, EPOLLOUT);
  await until(() => socket.told.length === 1, "an event");
  epoll.remove(socket);
  epoll.change(socket, EPOLLIN);
  assertEquals(kernel.watched(5), undefined);
});

// ---- Reading ----

/** A connection that can be written to, and what is below it. */
function connect(fd = 7): [EpollStream, FakeKernel] {
  const kernel = new FakeKernel();
  const remote = { host: "192.0.2.9", port: 50_000 };
  const epoll = new Epoll(kernel.sockets);
  return [new EpollStream(kernel.sockets, epoll, fd, remote), kernel];
}

test("EpollStream reads what has arrived, and waits for more", async () => {
  const [stream, kernel] = connect();
  const first = stream.read();
  assert(first instanceof Promise);
  kernel.arrive(7, EPOLLIN, octets("one"));
  assertEquals(text(await first), "one");
  const second = stream.read();
  assert(second instanceof Promise);
  kernel.arrive(7, EPOLLIN, octets("two"));
  assertEquals(text(await second), "two");
  stream.close();
});

test("EpollStream reads on at once behind a full read, to the end", async () => {
  const [stream, kernel] = connect();
  const all = new Uint8Array(200_000).map((_, i) => i % 251);
  kernel.arrive(7, EPOLLIN | EPOLLRDHUP, all, 0);
  const read: number[] = [];
  const sizes: number[] = [];
  for (;;) {
    const view = await stream.read();
    if (view === null) break;
    read.push(...view);
    sizes.push(view.length);
  }
  assertEquals(new Uint8Array(read), all);
  assertEquals(sizes.slice(0, 4), [4096, 16_384, largestRead, largestRead]);
  assertStrictEquals(stream.read(), null);
  stream.close();
});

test("EpollStream asks the kernel for no more than there can be", async () => {
  const [stream, kernel] = connect();
  const first = stream.read();
  kernel.arrive(7, EPOLLIN, octets("short"));
  await first;
  const second = stream.read();
  await turns();
  assertEquals(kernel.receives, 1);
  kernel.arrive(7, EPOLLIN, -EAGAIN);
  await turns();
  kernel.arrive(7, EPOLLIN | EPOLLRDHUP, 0);
  assertStrictEquals(await second, null);
  assertEquals(kernel.receives, 3);
  assertStrictEquals(stream.read(), null);
  kernel.emit(7, EPOLLIN | EPOLLRDHUP | EPOLLHUP);
  await turns();
  assertStrictEquals(stream.read(), null);
  assertEquals(kernel.receives, 3);
  stream.close();

  const [quiet, empty] = connect();
  empty.arrive(7, EPOLLIN, -EAGAIN);
  await turns();
  const third = quiet.read();
  await turns();
  assertEquals(empty.receives, 1);
  quiet.close();
  await third;
});

test("EpollStream takes more memory while it is filled, and less again", async () => {
  const [stream, kernel] = connect();
  kernel.arrive(7, EPOLLIN, new Uint8Array(4096 + 16_384 + 65_536 + 10));
  const sizes: number[] = [];
  const first = await stream.read();
  sizes.push(first!.buffer.byteLength);
  for (let reads = 0; reads < 3; reads++) {
    sizes.push((await stream.read())!.buffer.byteLength);
  }
  // What it has outgrown is another's.
  assertStrictEquals(nextMemory().buffer, first!.buffer);
  for (const size of [10, 4096, 10]) {
    kernel.arrive(7, EPOLLIN, new Uint8Array(size));
    await turns();
    sizes.push((await stream.read())!.buffer.byteLength);
  }
  assertEquals(sizes, [4096, 16_384, 65_536, 65_536, 16_384, 4096, 16_384]);
  stream.close();
});

test("EpollStream finds an end that comes behind a short read", async () => {
  const [stream, kernel] = connect();
  const first = stream.read();
  kernel.arrive(7, EPOLLIN | EPOLLRDHUP, octets("last"), 0);
  assertEquals(text(await first), "last");
  assertStrictEquals(stream.read(), null); // without another event
  stream.close();
});

test("EpollStream finds what lies behind urgent data", async () => {
  const [stream, kernel] = connect();
  const first = stream.read();
  kernel.arrive(7, EPOLLIN | EPOLLPRI, octets("before"), octets("behind"));
  assertEquals(text(await first), "before");
  assertEquals(text(await stream.read()), "behind");
  stream.close();
});

test("EpollStream reads again when a signal came between", async () => {
  const [stream, kernel] = connect();
  const first = stream.read();
  kernel.arrive(7, EPOLLIN, -EINTR, octets("one"));
  assertEquals(text(await first), "one");
  const second = stream.read();
  kernel.arrive(7, EPOLLIN, -EAGAIN); // for nothing
  await turns();
  kernel.arrive(7, EPOLLIN, octets("two"));
  assertEquals(text(await second), "two");
  stream.close();
});

test("EpollStream rejects a read of a broken connection, once", async () => {
  const [stream, kernel] = connect();
  const first = stream.read();
  assert(first instanceof Promise);
  kernel.arrive(7, EPOLLIN | EPOLLERR | EPOLLHUP, -ECONNRESET, 0);
  const error = await assertRejects(() => first, StreamError);
  assertEquals(error.message, "ECONNRESET: connection reset by peer");
  assertStrictEquals(await stream.read(), null);
  stream.close();
});

test("EpollStream gives what came before it was broken", async () => {
  const [stream, kernel] = connect();
  const first = stream.read();
  kernel.arrive(7, EPOLLIN | EPOLLERR, octets("before"), -ECONNRESET, 0);
  assertEquals(text(await first), "before");
  assertThrows(() => stream.read(), StreamError);
  stream.close();
});

test("EpollStream lets others have their turn while a peer sends and sends", async () => {
  const [stream, kernel] = connect();
  kernel.arrive(7, EPOLLIN, new Uint8Array(2_000_000));
  await stream.read();
  let others = false;
  setImmediate(() => others = true);
  let bytes = 0;
  let view = stream.read();
  for (; !(view instanceof Promise); view = stream.read()) {
    bytes += view!.length;
  }
  assert(!others);
  assertEquals((await view)?.length, largestRead);
  assert(others);
  assert(bytes >= 400_000 && bytes < 800_000, `${bytes} bytes in a turn`);
  view = stream.read(); // its turn has come again
  assert(!(view instanceof Promise));
  while (!(view instanceof Promise)) view = stream.read();
  await view;
  stream.close();
  await turns();
});

test("EpollStream.close() while a turn is given way ends the read", async () => {
  const [stream, kernel] = connect();
  kernel.arrive(7, EPOLLIN, new Uint8Array(2_000_000));
  await stream.read();
  let pending = stream.read();
  while (!(pending instanceof Promise)) pending = stream.read();
  const left = kernel.input.get(7)![0];
  stream.close();
  assertStrictEquals(await pending, null);
  await turns();
  assertStrictEquals(kernel.input.get(7)![0], left); // it reads no other's
});

// ---- Memory ----

/** What the next who reads will get. */
function nextMemory(): Uint8Array {
  const memory = ReadMemory.take(smallestRead);
  memory.giveBack();
  return memory.bytes;
}

test("EpollStream has no memory while it waits", async () => {
  const [stream, kernel] = connect();
  const first = stream.read();
  kernel.arrive(7, EPOLLIN, octets("one"));
  const view = await first;
  assert(nextMemory().buffer !== view!.buffer);
  const second = stream.read();
  assertStrictEquals(nextMemory().buffer, view!.buffer);
  stream.close();
  await second;
});

test("EpollStream does not give back what is lent, whatever comes", async () => {
  const ends: ((stream: EpollStream, kernel: FakeKernel) => void)[] = [
    (stream) => stream.close(),
    (stream) => stream.reset(),
    (stream) => stream.closeWrite(),
    (stream) => {
      stream.give();
      stream.give();
    },
    (_, kernel) => kernel.arrive(7, EPOLLIN, octets("more")),
    (_, kernel) => kernel.arrive(7, EPOLLIN | EPOLLRDHUP, 0),
    (_, kernel) => kernel.arrive(7, EPOLLIN | EPOLLERR, -ECONNRESET, 0),
    (stream) => stream.onGone = () => {},
  ];
  for (const end of ends) {
    const [stream, kernel] = connect();
    const first = stream.read();
    kernel.arrive(7, EPOLLIN, octets("mine"));
    const view = await first;
    stream.onGone = () => {};
    end(stream, kernel);
    await turns();
    const other = ReadMemory.take(smallestRead);
    assert(other.bytes.buffer !== view!.buffer);
    assertEquals(text(view), "mine");
    stream.close();
    assert(nextMemory().buffer !== view!.buffer);
    other.giveBack();
  }
});

test("EpollStream does not read again into memory that was given away", async () => {
  const [stream, kernel] = connect();
  const first = stream.read();
  kernel.arrive(7, EPOLLIN, octets("mine"));
  const view = await first;
  stream.give();
  const second = stream.read();
  kernel.arrive(7, EPOLLIN, octets("more"));
  assert((await second)!.buffer !== view!.buffer);
  assertEquals(text(view), "mine");
  stream.close();
});

test("EpollStream gives memory back once, at the end too", async () => {
  const [stream, kernel] = connect();
  const first = stream.read();
  kernel.arrive(7, EPOLLIN | EPOLLRDHUP, octets("last"), 0);
  const view = await first;
  assertStrictEquals(stream.read(), null);
  assertStrictEquals(nextMemory().buffer, view!.buffer);
  assertStrictEquals(stream.read(), null);
  stream.close();
  const one = ReadMemory.take(smallestRead);
  const another = ReadMemory.take(smallestRead);
  assert(one.bytes.buffer !== another.bytes.buffer);
  one.giveBack();
  another.giveBack();
});

// ---- onGone ----

/** How often it was told that the peer has gone. */
function watchGone(stream: ByteStream): { count: number } {
  const gone = { count: 0 };
  stream.onGone = () => gone.count++;
  return gone;
}

test("EpollStream tells of an end once, that came before or after", async () => {
  for (const before of [true, false]) {
    const [stream, kernel] = connect();
    if (before) {
      kernel.arrive(7, EPOLLIN | EPOLLRDHUP, 0);
      await turns();
    }
    const gone = watchGone(stream);
    if (!before) kernel.arrive(7, EPOLLIN | EPOLLRDHUP, 0);
    await until(() => gone.count === 1, "onGone");
    kernel.emit(7, EPOLLIN | EPOLLRDHUP | EPOLLHUP);
    await turns();
    assertEquals(gone.count, 1);
    assertStrictEquals(stream.onGone, null);
    assertStrictEquals(await stream.read(), null);
    stream.close();
  }
});

test("EpollStream tells of an end when what lay before it has been read", async () => {
  const [stream, kernel] = connect();
  const gone = watchGone(stream);
  kernel.arrive(7, EPOLLIN | EPOLLRDHUP, octets("last"), 0);
  await turns();
  assertEquals(gone.count, 0);
  assertEquals(text(await stream.read()), "last");
  await until(() => gone.count === 1, "onGone");
  stream.close();
});

test("EpollStream does not swallow the failure by which it knows that the peer has gone", async () => {
  const [stream, kernel] = connect();
  const gone = watchGone(stream);
  kernel.arrive(7, EPOLLIN | EPOLLERR | EPOLLHUP, -ECONNRESET, 0);
  await until(() => gone.count === 1, "onGone");
  assertThrows(() => stream.read(), StreamError);
  assertStrictEquals(stream.read(), null);
  stream.close();
});

test("EpollStream tells nobody who has stopped to listen", async () => {
  const [stream, kernel] = connect();
  kernel.arrive(7, EPOLLIN | EPOLLRDHUP, 0);
  await turns();
  const cleared = watchGone(stream);
  stream.onGone = null;
  await turns();
  const closed = watchGone(stream);
  stream.close();
  await turns();
  assertEquals([cleared.count, closed.count], [0, 0]);
});

test("EpollStream may be closed from within onGone", async () => {
  const [stream, kernel] = connect();
  kernel.sends.set(7, [-EAGAIN]);
  const written = stream.write(octets("late"));
  assert(written instanceof Promise);
  stream.onGone = () => stream.close();
  kernel.arrive(7, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP, 0);
  await assertRejects(() => written, StreamError, "Connection closed");
  assertEquals(kernel.sent, []);
  assertEquals(kernel.calls.filter((call) => call === "close 7").length, 1);
});

// ---- Writing ----

test("EpollStream keeps the order of what the kernel does not take", async () => {
  const [stream, kernel] = connect();
  kernel.sends.set(7, [3, -EAGAIN, 2, 1, -EAGAIN]);
  const writes = [stream.write(octets("abcdef")), stream.write(octets("ghi"))];
  const last = stream.write(new Uint8Array(0));
  stream.closeWrite();
  assertThrows(() => stream.write(octets("z")), StreamError);
  assert(writes.every((write) => write instanceof Promise));
  for (let events = 0; events < 4; events++) {
    assert(!kernel.calls.includes("shutdown 7 1"));
    kernel.emit(7, EPOLLOUT);
    await turns();
  }
  await Promise.all([...writes, last]);
  assertEquals(kernel.sent, ["abc", "de", "f", "ghi"]);
  assertEquals(
    kernel.calls.filter((call) => call === "shutdown 7 1").length,
    1,
  );
  stream.close();
});

test("EpollStream sends at once again when the kernel has taken all", async () => {
  const [stream, kernel] = connect();
  kernel.sends.set(7, [-EAGAIN]);
  const written = stream.write(octets("a"));
  kernel.emit(7, EPOLLOUT);
  await written;
  assertStrictEquals(stream.write(octets("b")), undefined);
  stream.closeWrite();
  assert(kernel.calls.includes("shutdown 7 1"));
  stream.close();
});

test("EpollStream sends again when a signal came between", () => {
  const [stream, kernel] = connect();
  kernel.sends.set(7, [-EINTR]);
  assertStrictEquals(stream.write(octets("now")), undefined);
  assertEquals(kernel.sent, ["now"]);
  stream.close();
});

test("EpollStream.write() gives way when the kernel takes more and more", async () => {
  const [stream] = connect();
  const piece = new Uint8Array(65_536);
  let others = false;
  setImmediate(() => others = true);
  let count = 0;
  let pending: void | Promise<void>;
  while ((pending = stream.write(piece)) === undefined) count++;
  assertEquals(count, 3);
  assert(!others);
  await pending;
  assert(others);
  for (let more = 0; more < 3; more++) {
    assertStrictEquals(stream.write(piece), undefined);
  }
  stream.close();
});

test("EpollStream that a write finds broken tells it to the reader", async () => {
  for (const waiting of [true, false]) {
    const [stream, kernel] = connect();
    const read = waiting ? stream.read() : undefined;
    kernel.sends.set(7, [-ECONNRESET]);
    assertThrows(() => stream.write(octets("a")), StreamError, "ECONNRESET");
    assertThrows(() => stream.write(octets("a")), StreamError, "closed");
    kernel.arrive(7, EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP, 0);
    if (!waiting) await turns();
    await assertRejects(
      async () => await (read ?? stream.read()),
      StreamError,
      "ECONNRESET",
    );
    stream.close();
  }
});

test("EpollStream whose peer has ended and left still ends, after EPIPE", async () => {
  const [stream, kernel] = connect();
  kernel.arrive(7, EPOLLIN | EPOLLRDHUP | EPOLLHUP, octets("last"), 0);
  await turns();
  kernel.sends.set(7, [-EPIPE]);
  assertThrows(() => stream.write(octets("a")), StreamError, "EPIPE");
  assertEquals(text(await stream.read()), "last");
  assertStrictEquals(await stream.read(), null);
  stream.close();
});

test("EpollStream rejects all pending writes when one fails", async () => {
  const [stream, kernel] = connect();
  kernel.sends.set(7, [-EAGAIN, -ECONNRESET]);
  const writes = [stream.write(octets("a")), stream.write(octets("b"))];
  stream.closeWrite();
  kernel.emit(7, EPOLLOUT | EPOLLERR | EPOLLHUP);
  for (const write of writes) {
    await assertRejects(async () => await write, StreamError, "ECONNRESET");
  }
  assert(!kernel.calls.includes("shutdown 7 1"));
  stream.close();
});

test("EpollStream.close() settles a read and all writes, and closes once", async () => {
  for (const end of ["close", "reset"] as const) {
    const [stream, kernel] = connect();
    kernel.sends.set(7, [-EAGAIN]);
    const read = stream.read();
    const writes = [stream.write(octets("a")), stream.write(octets("b"))];
    stream[end]();
    stream[end]();
    stream.closeWrite();
    assertStrictEquals(await read, null);
    for (const write of writes) {
      await assertRejects(async () => await write, StreamError, "closed");
    }
    assertStrictEquals(stream.read(), null);
    assertThrows(() => stream.write(octets("c")), StreamError, "closed");
    assertEquals(
      kernel.calls.filter((call) => /(close|shutdown) 7/.test(call)),
      ["close 7"],
    );
  }
});

test("EpollStream knows its own address when its descriptor is another's", () => {
  const [stream, kernel] = connect();
  stream.close();
  const { length } = kernel.calls;
  assertEquals(stream.local, { host: "192.0.2.7", port: 80 });
  assertEquals(stream.remote, { host: "192.0.2.9", port: 50_000 });
  assertEquals(kernel.calls.length, length);
});

// ---- Listening ----

const anyEvents = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET;

test("EpollListener accepts until there is no room, and later again", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  const streams: ByteStream[] = [];
  const listener = await listenWithEpoll(
    kernel.sockets,
    epoll,
    { fd: 5 },
    (stream) => streams.push(stream),
  );
  kernel.accepts.push(-ECONNABORTED, -EMFILE, 8);
  kernel.emit(5, EPOLLIN);
  kernel.emit(5, EPOLLIN);
  await until(() => kernel.accepts.length === 1, "the failure");
  assertEquals(kernel.watched(5), EPOLLET >>> 0);
  // Not for want of descriptors: it does not begin again, but goes on.
  kernel.failures.create.push(-EMFILE);
  kernel.emit(5, EPOLLHUP); // comes uninvited
  await turns();
  assertEquals(kernel.accepts.length, 1);
  await until(() => kernel.watched(5) === EPOLLIN, "accepting to go on");
  kernel.emit(5, EPOLLIN);
  await until(() => streams.length === 1, "a connection");
  assertEquals(kernel.watched(8), anyEvents >>> 0);
  await listener.close();
  streams[0]!.close();
  await until(() => kernel.open.size === 0, "the end");
});

test("EpollListener does not spin on a socket that listens no more", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  const listener = await listenWithEpoll(
    kernel.sockets,
    epoll,
    { fd: 5 },
    () => {},
  );
  kernel.accepts.push(-EINVAL, -EINVAL);
  kernel.emit(5, EPOLLIN | EPOLLHUP);
  await until(() => kernel.accepts.length === 1, "the failure");
  assertEquals(kernel.watched(5), EPOLLET >>> 0);
  await listener.close();
  await turns();
  assertEquals(kernel.accepts.length, 0);
  assertEquals(kernel.calls.filter((call) => call === "close 5").length, 1);
});

test("EpollListener closes while it pauses, and stays closed", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  const { setTimeout, clearTimeout } = globalThis;
  const later: (() => void)[] = [];
  let cleared = 0;
  const listener = await listenWithEpoll(
    kernel.sockets,
    epoll,
    { fd: 5 },
    () => {},
  );
  kernel.accepts.push(-EMFILE, -EMFILE);
  globalThis.setTimeout = ((callback: () => void) => {
    later.push(callback);
    return setTimeout(() => {}, 0);
  }) as unknown as typeof setTimeout;
  globalThis.clearTimeout = (timer) => {
    if (timer !== undefined) cleared++;
    clearTimeout(timer);
  };
  try {
    kernel.emit(5, EPOLLIN);
    await turns();
    await listener.close();
  } finally {
    Object.assign(globalThis, { setTimeout, clearTimeout });
  }
  assertEquals(cleared, 1);
  assertEquals(kernel.accepts.length, 0);
  assertEquals(later.length, 1); // it waits for nothing when it has closed
  await until(() => kernel.open.size === 0, "the end");
  for (const callback of later) callback();
  assertEquals(kernel.watched(5), undefined);
  assertEquals(kernel.open.size, 0);
});

test("EpollListener serves whom the kernel has queued when it closes", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  const streams: ByteStream[] = [];
  const uncaught = await uncaughtOf(async () => {
    const listener = await listenWithEpoll(
      kernel.sockets,
      epoll,
      { port: 80 },
      (stream) => {
        streams.push(stream);
        listener.close(); // from within
      },
    );
    kernel.accepts.push(8, 9, 10);
    kernel.emit(5, EPOLLIN);
    await until(() => streams.length > 0, "a connection");
    await listener.close();
    await turns();
  });
  assertEquals(uncaught, []); // it has accepted from nobody else's socket
  assertEquals(streams.length, 3);
  // A second time it would be another's.
  assertEquals(kernel.calls.filter((call) => call === "close 5").length, 1);
  for (const stream of streams) stream.close();
});

test("EpollListener takes turns with the processes that share its socket", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  const streams: ByteStream[] = [];
  const listener = await listenWithEpoll(
    kernel.sockets,
    epoll,
    { fd: 5 },
    (stream) => streams.push(stream),
  );
  assert(kernel.calls.includes("ioctl 5")); // it may be one that blocks
  kernel.accepts.push(8, 9);
  kernel.emit(5, EPOLLIN);
  await until(() => streams.length > 0, "a connection");
  await turns();
  assertEquals(streams.length, 1);
  await listener.close();
  for (const stream of streams) stream.close();
});

test("EpollListener outlives an accept callback that throws", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  const streams: ByteStream[] = [];
  const uncaught = await uncaughtOf(async () => {
    const listener = await listenWithEpoll(
      kernel.sockets,
      epoll,
      { fd: 5 },
      (stream) => {
        streams.push(stream);
        throw new Error(`Thrown at ${streams.length}`);
      },
    );
    kernel.accepts.push(8);
    kernel.emit(5, EPOLLIN);
    await until(() => streams.length === 1, "a connection");
    kernel.accepts.push(9, 10);
    await listener.close();
    await turns();
  });
  assertEquals(streams.length, 3);
  assertEquals(uncaught.map(String), [
    "Error: Thrown at 1",
    "Error: Thrown at 2",
    "Error: Thrown at 3",
  ]);
  assert(kernel.calls.includes("close 5"));
  for (const stream of streams) stream.close();
});

test("EpollListener closes a connection that cannot be watched", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  const streams: ByteStream[] = [];
  const listener = await listenWithEpoll(
    kernel.sockets,
    epoll,
    { fd: 5 },
    (stream) => streams.push(stream),
  );
  kernel.failures.ctl.push(-28); // ENOSPC
  kernel.accepts.push(8);
  kernel.emit(5, EPOLLIN);
  await until(() => kernel.calls.includes("close 8"), "its end");
  kernel.accepts.push(8);
  kernel.emit(5, EPOLLIN);
  await until(() => streams.length === 1, "the next");
  await listener.close();
  for (const stream of streams) stream.close();
});

/** A listener on a path in a folder of its own, over a kernel that makes the
 * file; and where the path is. */
async function inFolder(
  body: (kernel: FakeKernel, folder: string) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "headgate-"));
  const kernel = new FakeKernel();
  kernel.onBind = (path) => writeFileSync(path, "");
  try {
    await body(kernel, folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("listenWithEpoll() leaves nothing behind when it fails", async () => {
  for (const call of ["listen", "create", "ctl"] as const) {
    await inFolder(async (kernel, folder) => {
      const path = join(folder, "gate.sock");
      kernel.failures[call].push(-EMFILE);
      const epoll = new Epoll(kernel.sockets);
      await assertRejects(
        () => listenWithEpoll(kernel.sockets, epoll, { path }, () => {}),
        Error,
        "too many open files",
      );
      assertEquals(existsSync(path), false, call);
      assert(kernel.calls.includes("close 5"));
      await until(() => kernel.open.size === 0, "the end");
    });
  }
});

test("listenWithEpoll() leaves a file alone that it did not make", async () => {
  await inFolder(async (kernel, folder) => {
    const path = join(folder, "gate.sock");
    kernel.failures.bind.push(-98);
    const epoll = new Epoll(kernel.sockets);
    await assertRejects(
      () => listenWithEpoll(kernel.sockets, epoll, { path }, () => {}),
      Error,
      "in use",
    );
    assert(existsSync(path));
    assertEquals(kernel.calls, ["close 5"]);
  });
});

test("EpollListener removes its own file only, wherever the program has gone", async () => {
  await inFolder(async (kernel, folder) => {
    const epoll = new Epoll(kernel.sockets);
    const before = process.cwd();
    const listen = async (path: string) => {
      process.chdir(folder);
      try {
        return await listenWithEpoll(kernel.sockets, epoll, { path }, () => {});
      } finally {
        process.chdir(before);
      }
    };
    const path = join(folder, "gate.sock");
    const first = await listen("gate.sock");
    await first.close();
    assertEquals(existsSync(path), false);

    const second = await listen("gate.sock");
    renameSync(path, join(folder, "away"));
    writeFileSync(path, "another's");
    await second.close();
    assert(existsSync(path));
    rmSync(path);

    const third = await listen("gate.sock");
    rmSync(path);
    await third.close(); // there is nothing to remove
  });
});

test("listenWithEpoll() does not touch a descriptor that cannot listen", async () => {
  const kernel = new FakeKernel();
  kernel.failures.listen.push(-88); // ENOTSOCK
  const epoll = new Epoll(kernel.sockets);
  await assertRejects(
    () => listenWithEpoll(kernel.sockets, epoll, { fd: 0 }, () => {}),
    Error,
    "Cannot listen on descriptor 0: ENOTSOCK",
  );
  assertEquals(kernel.calls, []);
});

test("listenWithEpoll() takes no port for another", async () => {
  const { sockets } = new FakeKernel();
  const error = await assertRejects(
    () =>
      listenWithEpoll(sockets, new Epoll(sockets), { port: 70_000 }, () => {}),
    Error,
    "Cannot listen on 127.0.0.1:70000: Port 70000 is not from 0 to 65535",
  );
  assertEquals(
    (error as Error & { code: string }).code,
    "ERR_SOCKET_BAD_PORT",
  );
});

test("listenWithEpoll() takes no path for another", async () => {
  const epoll = new Epoll(new FakeKernel().sockets);
  const { sockets } = new FakeKernel();
  for (
    const [path, code] of [
      ["", "EINVAL"],
      ["a\0b", "EINVAL"],
      ["a".repeat(108), "ENAMETOOLONG"],
    ] as const
  ) {
    const error = await assertRejects(() =>
      listenWithEpoll(sockets, epoll, { path }, () => {})
    );
    assertEquals((error as Error & { code: string }).code, code);
  }
});

// ---- Connecting ----

const server = new Uint8Array([2, 0, 0, 80, 192, 0, 2, 1, ...Array(8).fill(0)]);

test("connectWithEpoll() resolves when the connection has been made", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  kernel.failures.connect.push(-EINPROGRESS, -EALREADY, 0);
  let stream: ByteStream | undefined;
  connectWithEpoll(kernel.sockets, epoll, {}, server)
    .then((made) => stream = made);
  await turns();
  kernel.emit(5, EPOLLOUT); // for nothing
  await turns();
  assertStrictEquals(stream, undefined);
  const { clearTimeout } = globalThis;
  let cleared = 0;
  globalThis.clearTimeout = (timer) => {
    cleared++;
    clearTimeout(timer);
  };
  try {
    kernel.emit(5, EPOLLOUT);
    await turns();
  } finally {
    globalThis.clearTimeout = clearTimeout;
  }
  assertEquals(cleared, 1);
  assertEquals(stream!.remote, { host: "192.0.2.1", port: 80 });
  assertEquals(kernel.watched(5), anyEvents >>> 0);
  stream!.close();
});

test("connectWithEpoll() says why there is no connection, and closes", async () => {
  for (const inProgress of [true, false]) {
    const kernel = new FakeKernel();
    const epoll = new Epoll(kernel.sockets);
    if (inProgress) kernel.failures.connect.push(-EINPROGRESS);
    kernel.failures.connect.push(-111); // ECONNREFUSED
    const pending = connectWithEpoll(kernel.sockets, epoll, {}, server);
    kernel.emit(5, EPOLLOUT | EPOLLERR | EPOLLHUP);
    const error = await assertRejects(() => pending, Error, "nobody listens");
    assertEquals((error as Error & { code: string }).code, "ECONNREFUSED");
    assertEquals(kernel.calls.filter((call) => call === "close 5").length, 1);
    assertEquals(kernel.watched(5), undefined);
    await until(() => kernel.open.size === 0, "the end");
  }
});

test("connectWithEpoll() waits for nothing when it cannot watch", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  kernel.failures.connect.push(-EINPROGRESS);
  kernel.failures.create.push(-EMFILE);
  const { setTimeout } = globalThis;
  let timers = 0;
  globalThis.setTimeout = ((...args: Parameters<typeof setTimeout>) => {
    timers++;
    return setTimeout(...args);
  }) as typeof setTimeout;
  try {
    await assertRejects(
      () => connectWithEpoll(kernel.sockets, epoll, {}, server),
      Error,
      "EMFILE",
    );
  } finally {
    globalThis.setTimeout = setTimeout;
  }
  assertEquals(timers, 0);
  assert(kernel.calls.includes("close 5"));
});

test("connectWithEpoll() and listenWithEpoll() say that there is no descriptor", async () => {
  const kernel = new FakeKernel();
  const { sockets } = kernel;
  const epoll = new Epoll(sockets);
  kernel.failures.socket.push(-EMFILE, -EMFILE);
  await assertRejects(
    () => connectWithEpoll(sockets, epoll, {}, server),
    Error,
    "EMFILE",
  );
  await assertRejects(
    () => listenWithEpoll(sockets, epoll, { port: 80 }, () => {}),
    Error,
    "EMFILE",
  );
  assertEquals(kernel.calls, []);
});

test("connectWithEpoll() gives up when nobody answers", async () => {
  const kernel = new FakeKernel();
  const epoll = new Epoll(kernel.sockets);
  kernel.failures.connect.push(-EINPROGRESS);
  const { setTimeout } = globalThis;
  const later: [callback: () => void, ms: number][] = [];
  globalThis.setTimeout = ((callback: () => void, ms: number) => {
    later.push([callback, ms]);
    return setTimeout(() => {}, 0);
  }) as unknown as typeof setTimeout;
  let pending: Promise<ByteStream>;
  try {
    pending = connectWithEpoll(kernel.sockets, epoll, {}, server);
  } finally {
    globalThis.setTimeout = setTimeout;
  }
  assertEquals(later.map(([, ms]) => ms), [10_000]);
  later[0]![0]();
  const error = await assertRejects(() => pending, Error, "no answer");
  assertEquals((error as Error & { code: string }).code, "ETIMEDOUT");
  assertEquals(kernel.watched(5), undefined);
  assert(kernel.calls.includes("close 5"));
});
