/** Users and groups, from /etc/passwd and /etc/group, and what other name
 * services know where the system has `getent`. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Identity } from "../src/daemon/host.ts";

/** A user by name or number; `gid` is the user's own group. */
export function findUser(name: string): Required<Identity> | undefined {
  // name:password:uid:gid:…
  const [, , uid, gid] = entryOf("passwd", name) ?? [];
  return isId(uid) && isId(gid)
    ? { uid: Number(uid), gid: Number(gid) }
    : undefined;
}

/** A group by name or number; a number need not be listed. */
export function findGroup(name: string): number | undefined {
  // name:password:gid:…
  const [, , gid] = entryOf("group", name) ?? [];
  if (isId(gid)) return Number(gid);
  return isId(name) ? Number(name) : undefined;
}

type Database = "passwd" | "group";

/** The columns of an entry. A name goes before an equal number, as the system's
 * own commands have it. */
function entryOf(database: Database, name: string): string[] | undefined {
  if (!mayBeName(name)) return undefined;
  const entries = readEntries(database);
  return entries.find(([own]) => own === name) ??
    entries.find(([, , id]) => id === name) ??
    askServices(database, name);
}

function mayBeName(name: string): boolean {
  return name !== "" && !/[:\0\n]/.test(name) && !name.startsWith("-");
}

function readEntries(database: Database): string[][] {
  try {
    return readFileSync(`/etc/${database}`, "utf8").split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => line.split(":"));
  } catch {
    return [];
  }
}

function askServices(database: Database, name: string): string[] | undefined {
  try {
    const { status, stdout } = spawnSync("getent", [database, name], {
      encoding: "utf8",
      timeout: 10_000,
      stdio: ["ignore", "pipe", "ignore"],
    });
    return status === 0 ? stdout.split("\n")[0]?.split(":") : undefined;
  } catch {
    return undefined; // there is no such command
  }
}

function isId(text: string | undefined): text is string {
  return text !== undefined && /^\d{1,10}$/.test(text) &&
    Number(text) < 0xffff_ffff;
}
