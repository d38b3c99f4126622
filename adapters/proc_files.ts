/** What Linux's /proc tells of a process. Elsewhere nobody tells. */
import { readFileSync } from "node:fs";

/** A file of a process there; undefined when it has gone. */
export function procText(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return undefined;
  }
}

/** The bytes of a process that are in memory. */
export function residentBytes(pid: number): number | undefined {
  const kilobytes = /^VmRSS:\s*(\d+) kB$/m.exec(procText(pid, "status") ?? "");
  return kilobytes === null ? undefined : Number(kilobytes[1]) * 1024;
}
