/** Another arbiter on the same sockets, as after SIGUSR2. */
import type { ChildProcess, DaemonHost, SpawnOptions } from "./host.ts";
import { type ArbiterRole, readNotice } from "./protocol.ts";
import { roleVariable } from "./role.ts";

/** An arbiter that is to follow. */
export interface Successor {
  /** Undefined once it serves; else why it does not, in words. */
  readonly failure: Promise<string | undefined>;
  /** Resolves when it has ended. */
  readonly ended: Promise<unknown>;
  readonly pid: number;
}

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
  return { failure: failureOf(child), ended: child.ended, pid: child.pid };
}

function failureOf(child: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve) => {
    child.channel.receive((message) => {
      const notice = readNotice(message);
      if (notice?.type === "ready") resolve(undefined);
      if (notice?.type === "failed") resolve(notice.message);
    }, () => resolve("it ended"));
    child.ended.then(() => resolve("it ended"));
  });
}
