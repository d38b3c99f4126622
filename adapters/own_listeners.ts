/** Where this process has begun to listen, from Linux's /proc. Elsewhere nobody
 * tells, and nothing is found. */
import type { Address } from "../src/stream.ts";
import type { ProcFiles } from "./port_holder.ts";

/** Remembers which sockets are open; the returned function tells where this
 * process listens on sockets that it has opened since. */
export function watchListeners(
  proc: Pick<ProcFiles, "names" | "link">,
): () => Promise<readonly Address[]> {
  const before = new Set(openSockets(proc));
  return async () => {
    const fresh = openSockets(proc).filter((inode) => !before.has(inode));
    // Most applications open none, and the tables of a busy machine are long.
    if (fresh.length === 0) return [];
    const { socketTable } = await import("./descriptors.ts");
    const table = socketTable();
    return fresh.flatMap((inode) => {
      const entry = table.get(inode);
      return entry?.listening ? [entry.address] : [];
    });
  };
}

const descriptors = "/proc/self/fd";

/** The inodes of this process's sockets. */
function openSockets(proc: Pick<ProcFiles, "names" | "link">): string[] {
  let names: string[];
  try {
    names = proc.names(descriptors);
  } catch {
    return []; // not Linux, or not permitted
  }
  return names.flatMap((name) => {
    try {
      const link = proc.link(`${descriptors}/${name}`);
      return /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? [];
    } catch {
      return []; // that by which the directory was read
    }
  });
}
