/** Another arbiter on the same sockets, as after SIGUSR2. */
import type { Clock } from "./clock.ts";
import type { ChildProcess, DaemonHost, SpawnOptions } from "./host.ts";
import { type ArbiterRole, type Order, readNotice } from "./protocol.ts";
import { reopenSeconds } from "./reopening.ts";
import { roleVariable } from "./role.ts";

/** An arbiter that is to follow. */
export interface Successor {
  /** Undefined once it serves; else why it does not, in words. */
  readonly failure: Promise<string | undefined>;
  /** Resolves when it has ended. */
  readonly ended: Promise<unknown>;
  readonly pid: number;
  /** Has it and its workers open their log files again. Resolves once they
   * have, or it has ended, or could have answered, with what is wrong. */
  reopen(clock: Clock): Promise<readonly string[]>;
}

/** Its own workers are given `reopenSeconds`. */
const answerSeconds = reopenSeconds + 1;

/** Starts this program as an arbiter that shares the sockets of the one whose
 * role is given, with workers of its own. */
export function startSuccessor(
  role: ArbiterRole,
  { pid, args, logFile }: {
    /** The arbiter that it follows. */
    readonly pid: number;
    /** The program's arguments. */
    readonly args: readonly string[];
    readonly logFile: string;
  },
  daemonHost: DaemonHost,
): Successor {
  const theirs: ArbiterRole = { ...role, predecessor: pid };
  const options: SpawnOptions = {
    env: { [roleVariable]: JSON.stringify(theirs) },
    fds: role.slots.map(({ fd }) => fd),
    output: role.daemon ? { kind: "file", path: logFile } : { kind: "inherit" },
    detached: true,
  };
  const child = daemonHost.spawn(args, options);
  const notices = new Notices(child);
  return {
    failure: notices.failure,
    ended: child.ended,
    pid: child.pid,
    reopen: (clock) => notices.reopened(clock),
  };
}

/** What another arbiter says. */
class Notices {
  /** Undefined once it serves; else why it does not, in words. */
  readonly failure: Promise<string | undefined>;
  readonly #child: ChildProcess;
  /** Who waits for it to have reopened its log files: it answers in order. */
  readonly #reopening: ((problems: readonly string[]) => void)[] = [];

  constructor(child: ChildProcess) {
    this.#child = child;
    this.failure = new Promise((resolve) => {
      child.channel.receive((message) => {
        const notice = readNotice(message);
        if (notice?.type === "ready") resolve(undefined);
        if (notice?.type === "failed") resolve(notice.message);
        if (notice?.type === "reopened") {
          this.#reopening.shift()?.(notice.problems);
        }
      }, () => resolve("it ended"));
      child.ended.then(() => resolve("it ended"));
    });
  }

  reopened(clock: Clock): Promise<readonly string[]> {
    const { channel, ended, pid } = this.#child;
    const order: Order = { type: "reopen" };
    const answer = new Promise<readonly string[]>((resolve) =>
      this.#reopening.push(resolve)
    );
    channel.send(order);
    return Promise.race([
      answer,
      ended.then(() => []),
      clock.sleep(answerSeconds * 1000).then(() => [
        `No answer from the other arbiter (pid ${pid}) in ${answerSeconds} s. ` +
        "It and its workers may write to the files that were there.",
      ]),
    ]);
  }
}
