/** Another arbiter on the same sockets, without a process. */
import { test } from "node:test";
import { assertEquals, assertMatch } from "@std/assert";
import type { Clock } from "../../src/daemon/clock.ts";
import type {
  ChildProcess,
  DaemonHost,
  ProcessEnd,
} from "../../src/daemon/host.ts";
import type { ArbiterRole, Notice } from "../../src/daemon/protocol.ts";
import { startSuccessor, type Successor } from "../../src/daemon/succession.ts";
import { settled } from "../support/fake_workers.ts";
import { only } from "../support/only.ts";

const role: ArbiterRole = {
  type: "arbiter",
  slots: [],
  configFile: null,
  daemon: true,
  predecessor: null,
  launcher: null,
};

/** The other arbiter's process, and the clock of ours. */
class Ground {
  readonly sent: unknown[] = [];
  readonly successor: Successor;
  say: (notice: Notice) => void = () => {};
  end: (end: ProcessEnd) => void = () => {};
  close: () => void = () => {};
  /** How long somebody sleeps, and what wakes him up. */
  readonly sleeping: [ms: number, wake: () => void][] = [];

  readonly clock: Clock = {
    now: () => 0,
    sleep: (ms) => new Promise((wake) => this.sleeping.push([ms, wake])),
  };

  constructor() {
    const child: ChildProcess = {
      pid: 600,
      ended: new Promise((resolve) => this.end = resolve),
      kill: () => {},
      channel: {
        open: true,
        send: (message) => void this.sent.push(message),
        flushed: () => Promise.resolve(),
        receive: (onMessage, onClose) => {
          this.say = onMessage;
          this.close = onClose;
        },
        close: () => {},
      },
    };
    const terms = { pid: 500, args: ["app.ts"], logFile: "/a.log" };
    const daemonHost = only<DaemonHost>({ spawn: () => child });
    this.successor = startSuccessor(role, terms, daemonHost);
  }

  /** Asks it to reopen; its problems are there once they are known. */
  reopen(): { problems?: readonly string[] } {
    const asked: { problems?: readonly string[] } = {};
    this.successor.reopen(this.clock)
      .then((problems) => asked.problems = problems);
    return asked;
  }
}

test("Successor.failure tells whether it serves", async () => {
  const serves = new Ground();
  serves.say({ type: "ready", pid: 600, workers: [601] });
  assertEquals(await serves.successor.failure, undefined);
  const fails = new Ground();
  fails.say({ type: "failed", message: "No such application" });
  assertEquals(await fails.successor.failure, "No such application");
  const ends = new Ground();
  ends.end({ code: 1, signal: null });
  assertEquals(await ends.successor.failure, "it ended");
  const closes = new Ground();
  closes.close();
  assertEquals(await closes.successor.failure, "it ended");
});

test("Successor.reopen() gives the answer to each, in order", async () => {
  const ground = new Ground();
  const [first, second] = [ground.reopen(), ground.reopen()];
  assertEquals(ground.sent, [{ type: "reopen" }, { type: "reopen" }]);
  ground.say({ type: "ready", pid: 600, workers: [601] });
  await settled();
  assertEquals([first.problems, second.problems], [undefined, undefined]);
  ground.say({ type: "reopened", problems: ["/a.log"] });
  await settled();
  assertEquals([first.problems, second.problems], [["/a.log"], undefined]);
  ground.say({ type: "reopened", problems: [] });
  await settled();
  assertEquals(second.problems, []);
  ground.say({ type: "reopened", problems: ["nobody asked"] });
});

test("Successor.reopen() does not wait for one that has ended", async () => {
  const ground = new Ground();
  const asked = ground.reopen();
  ground.end({ code: 0, signal: null });
  await settled();
  assertEquals(asked.problems, []);
});

test("Successor.reopen() does not wait for ever, and takes no late answer for another", async () => {
  const ground = new Ground();
  const first = ground.reopen();
  const [[ms, wake] = [0, () => {}]] = ground.sleeping;
  assertEquals(ms, 6000);
  wake();
  await settled();
  assertEquals(first.problems?.length, 1);
  assertMatch(first.problems?.[0] ?? "", /other arbiter \(pid 600\) in 6 s\./);
  const second = ground.reopen();
  ground.say({ type: "reopened", problems: ["late"] });
  await settled();
  assertEquals(second.problems, undefined);
  ground.say({ type: "reopened", problems: [] });
  await settled();
  assertEquals(second.problems, []);
});
