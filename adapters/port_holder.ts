/** Who listens on a TCP port, from Linux's /proc. */
import type { PortHolder } from "../src/host.ts";

/** How /proc is read; each function throws what the runtime throws. */
export interface ProcFiles {
  /** The whole of a file. */
  text(path: string): string;
  /** The names of a directory's entries. */
  names(path: string): string[];
  /** Where a symbolic link points. */
  link(path: string): string;
}

/** Who listens on the port; undefined when nobody does, or when the system
 * does not tell. */
export function findPortHolder(
  port: number,
  proc: ProcFiles,
): PortHolder | undefined {
  try {
    const inodes = ["/proc/net/tcp", "/proc/net/tcp6"]
      .flatMap((table) => listenersIn(table, port, proc));
    return inodes.length === 0 ? undefined : ownerOf(inodes, proc);
  } catch {
    return undefined;
  }
}

const listening = "0A";

/** The inodes of the sockets that listen on the port. */
function listenersIn(table: string, port: number, proc: ProcFiles): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return readLines(table, proc)
    .map((line) => line.trim().split(/\s+/))
    .filter((columns) =>
      columns[1]?.endsWith(suffix) && columns[3] === listening
    )
    .map((columns) => columns[9] ?? "");
}

function readLines(path: string, proc: ProcFiles): string[] {
  try {
    return proc.text(path).split("\n");
  } catch {
    return [];
  }
}

function ownerOf(
  inodes: readonly string[],
  proc: ProcFiles,
): PortHolder | undefined {
  const targets = new Set(inodes.map((inode) => `socket:[${inode}]`));
  for (const entry of proc.names("/proc")) {
    if (/^\d+$/.test(entry) && holdsAny(entry, targets, proc)) {
      const name = readLines(`/proc/${entry}/comm`, proc)[0] ?? "";
      return { pid: Number(entry), name };
    }
  }
  return undefined;
}

function holdsAny(
  pid: string,
  targets: ReadonlySet<string>,
  proc: ProcFiles,
): boolean {
  try {
    return proc.names(`/proc/${pid}/fd`).some((descriptor) => {
      try {
        return targets.has(proc.link(`/proc/${pid}/fd/${descriptor}`));
      } catch {
        return false;
      }
    });
  } catch {
    return false; // it has ended, or it is another user's
  }
}
