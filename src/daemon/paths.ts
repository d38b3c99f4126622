/**
 * What goes by the name of a pidfile: the control socket beside it, the lock,
 * and the names of the arbiter that is to take over.
 *
 * @module
 */
import { CommandError } from "../command_error.ts";
import type { DaemonHost } from "./host.ts";

/** What goes by the name of a pidfile; absolute paths. */
export interface DaemonPaths {
  /** The pidfile itself. */
  readonly pidfile: string;
  /** The control socket. */
  readonly control: string;
  /** The name of the lock. */
  readonly lock: string;
}

/** What the arbiter that takes over adds to the pidfile's name, until its
 * predecessor has left. */
const successorSuffix = ".2";

const controlSuffix = ".sock";

// What Linux has room for in a socket's path, as for `--bind`.
const socketPathBytes = 107;

/** The paths of a pidfile, which may be relative. Throws `CommandError` when no
 * socket can have such a long name. */
export function daemonPaths(pidfile: string, daemon: DaemonHost): DaemonPaths {
  const absolute = daemon.absolute(pidfile);
  // A successor must find room as well.
  const longest = `${absolute}${successorSuffix}${controlSuffix}`;
  const { length } = new TextEncoder().encode(longest);
  if (pidfile === "" || pidfile.includes("\0") || length > socketPathBytes) {
    throw new CommandError(
      2,
      length > socketPathBytes
        ? `The path of the pidfile is too long: ${absolute}`
        : "--pidfile needs the path of a file",
      "The control socket is beside it, and a socket's path has at most " +
        `${socketPathBytes} bytes: choose a short one with --pidfile.`,
    );
  }
  return pathsOf(absolute);
}

function pathsOf(pidfile: string): DaemonPaths {
  return {
    pidfile,
    control: pidfile + controlSuffix,
    lock: pidfile,
  };
}

/** The paths of the arbiter that is to take over from the one with these. */
export function successorPaths(paths: DaemonPaths): DaemonPaths {
  return pathsOf(paths.pidfile + successorSuffix);
}

/** `--pidfile PATH`, to be pasted into a shell. */
export function pidfileOption(pidfile: string): string {
  const plain = /^[\w./+:@%,=-]+$/.test(pidfile);
  return `--pidfile ${
    plain ? pidfile : `'${pidfile.replaceAll("'", `'\\''`)}'`
  }`;
}
