/** Log files that are renamed, and opened again. */
import { test } from "node:test";
import { assertEquals, assertMatch } from "@std/assert";
import { loadConfig } from "../src/config.ts";
import type { Host } from "../src/host.ts";
import {
  describeReopenFailure,
  type Logs,
  openLogs,
  reopenAtSignal,
} from "../src/log_files.ts";
import type { Flags } from "../src/settings.ts";
import { asText } from "./support/octets.ts";
import { only } from "./support/only.ts";

/** A disk on which a file keeps its content when its name goes to another. */
class Disk {
  /** The content behind each name, and behind each former one. */
  readonly files = new Map<string, string[]>();
  /** What opening a file throws, by its name. */
  readonly refusals = new Map<string, unknown>();
  open = 0;
  stderr = "";

  readonly host: Host = only<Host>({
    pid: 700,
    inUtc: () => true,
    env: {},
    isTerminal: () => false,
    cwd: () => "/home",
    status: () => undefined,
    onExit: () => () => {},
    write: (_output, text) => void (this.stderr += asText(text)),
    openAppend: (path) => {
      const refusal = this.refusals.get(path);
      if (refusal !== undefined) throw refusal;
      const file = this.files.get(path) ?? [];
      this.files.set(path, file);
      this.open++;
      return {
        write: (content) => void file.push(asText(content)),
        close: () => this.open--,
      };
    },
  });

  async logs(flags: Flags): Promise<Logs> {
    const sources = { app: undefined, flags, file: null };
    const { config } = await loadConfig(sources, this.host);
    return openLogs(config, this.host);
  }

  rename(from: string, to: string): void {
    this.files.set(to, this.files.get(from) ?? []);
    this.files.delete(from);
  }

  /** What is written there, without the time of each record. */
  text(path: string): string | undefined {
    return this.files.get(path)?.join("").replace(/^[-\d]+ [:,\d]+ /gm, "");
  }
}

function refusal(code: string): Error {
  return Object.assign(new Error("refused"), { code });
}

test("Logs.reopen(): what was gathered goes to the old file, the rest to the new", async () => {
  const disk = new Disk();
  const logs = await disk.logs({ "log-file": "/a.log", "access-log": "off" });
  logs.log.info("before");
  disk.rename("/a.log", "/a.log.1");
  logs.log.info("before too");
  assertEquals(logs.reopen(), []);
  assertEquals(disk.text("/a.log"), "");
  logs.log.info("after");
  logs.close();
  assertEquals(disk.text("/a.log.1"), "[INFO] before\n[INFO] before too\n");
  assertEquals(disk.text("/a.log"), "[INFO] after\n");
  assertEquals(disk.open, 0);
});

test("Logs.reopen() returns what it could not open, and goes on with that", async () => {
  const disk = new Disk();
  const logs = await disk.logs({
    "log-file": "/log/a.log",
    "access-log": "/log/b.log",
  });
  disk.rename("/log/a.log", "/a.log");
  disk.refusals.set("/log/a.log", refusal("ENOENT"));
  assertEquals(logs.reopen(), [{ path: "/log/a.log", code: "ENOENT" }]);
  logs.log.info("still there");
  assertEquals(logs.reopen().length, 1);
  assertEquals(disk.text("/a.log"), "[INFO] still there\n");
  disk.refusals.clear();
  assertEquals(logs.reopen(), []);
  logs.log.info("there again");
  disk.refusals.set("/log/b.log", new Error("in no words of the system"));
  assertEquals(logs.reopen(), [{ path: "/log/b.log", code: "" }]);
  logs.close();
  assertEquals(disk.text("/log/a.log"), "[INFO] there again\n");
  assertEquals([disk.open, disk.stderr], [0, ""]);
});

test("Logs.reopen() opens nothing once they are closed", async () => {
  const disk = new Disk();
  const logs = await disk.logs({ "log-file": "/a.log" });
  logs.close();
  disk.rename("/a.log", "/a.log.1");
  assertEquals(logs.reopen(), []);
  assertEquals([disk.open, disk.files.has("/a.log")], [0, false]);
});

test("describeReopenFailure() tells what, where and how to mend it", () => {
  const remedies: [code: string, remedy: RegExp][] = [
    ["ENOENT", /Make the directory \/var\/log,/],
    ["ENOTDIR", /Make the directory \/var\/log,/],
    ["EACCES", /Let the user that this runs as write to it/],
    ["EPERM", /Let the user that this runs as write to it/],
    ["EISDIR", /Move the directory of that name away/],
    ["EMFILE", /more open files \(ulimit -n\)/],
    ["ENFILE", /more open files \(ulimit -n\)/],
    ["EROFS", /See to it that it can be written to/],
  ];
  for (const [code, remedy] of remedies) {
    const told = describeReopenFailure({ path: "/var/log/a.log", code });
    assertMatch(told, remedy);
    assertMatch(told, /^\/var\/log\/a\.log could not be opened again \(/);
    assertMatch(
      told,
      new RegExp(` \\(${code}\\)\\. .*, then reopen again\\.$`),
    );
  }
  assertEquals(
    describeReopenFailure({ path: "/a.log", code: "" }, "worker 1 (pid 7)"),
    "/a.log could not be opened again by worker 1 (pid 7). Lines go on to the " +
      "file that was there. See to it that it can be written to, then reopen " +
      "again.",
  );
  const atRoot = describeReopenFailure({ path: "/a.log", code: "ENOENT" });
  assertMatch(atRoot, /Make the directory \/,/);
});

test("reopenAtSignal() logs and returns what could not be opened", async () => {
  const disk = new Disk();
  const logs = await disk.logs({ "log-file": "/a.log", "access-log": "off" });
  assertEquals(reopenAtSignal(logs), []);
  disk.refusals.set("/a.log", refusal("EACCES"));
  const [told, ...more] = reopenAtSignal(logs);
  assertEquals(more, []);
  assertMatch(told ?? "", /^\/a\.log could not be opened again \(EACCES\)/);
  logs.close();
  assertEquals(disk.text("/a.log"), `[ERROR] SIGUSR1: ${told}\n`);
});
