/** The watchdog's thread, in processes whose loop is blocked in earnest. This
 * file is also the program of those processes: what runs tests is a bundle on
 * Node, and there is no other file beside it. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { startWatchdog } from "../../adapters/watchdog.ts";
import { RequestTable } from "../../src/watch.ts";
import { until } from "./fixture.ts";

const part = process.env.HEADGATE_TEST_LOOP;
if (part === undefined) defineTests();
else await runLoop(JSON.parse(part));

/** What a process does whose loop is watched. */
interface Loop {
  /** Where the report goes. */
  readonly logPath: string | null;
  /** How long it blocks, in milliseconds. */
  readonly blocked: number;
  /** Whether the watch is over before that. */
  readonly stopped?: true;
}

/** Beats, blocks, beats again, and ends by itself. */
async function runLoop({ logPath, blocked, stopped }: Loop): Promise<void> {
  const table = new RequestTable();
  const serve = (target: string) => {
    const head = new TextEncoder().encode(`GET ${target} HTTP/1.1\r\n\r\n`);
    return table.begin(head, 0, head.length);
  };
  serve("/stream");
  const over = serve("/over");
  const watchdog = startWatchdog(
    table.watch({ timeoutSeconds: 1, label: "Worker 1 (pid 7)" }),
    { logPath, onFailure: (error) => console.error(error) },
  );
  for (let beats = 0; beats < 5; beats++) await turn(table);
  table.end(over);
  serve("/report?\\");
  if (stopped) watchdog.stop();
  console.log("blocks");
  block(blocked);
  for (let beats = 0; beats < 5; beats++) await turn(table);
  console.log("done");
}

async function turn(table: RequestTable): Promise<void> {
  table.beat();
  await new Promise((pass) => setTimeout(pass, 50));
}

function block(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

/** Such a process, killed at the end of the scope. */
class WatchedProcess implements AsyncDisposable {
  output = "";
  outcome: number | string | undefined;
  readonly #child: ChildProcess;

  constructor(loop: Loop) {
    const run = "Deno" in globalThis ? ["run", "-A", "--no-check"] : [];
    const file = fileURLToPath(import.meta.url);
    this.#child = spawn(process.execPath, [...run, file], {
      env: { ...process.env, HEADGATE_TEST_LOOP: JSON.stringify(loop) },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
      });
    }
    this.#child.on("close", (code, signal) => {
      this.outcome = code ?? signal ?? "unknown";
    });
  }

  /** Waits until it has written that. */
  async said(text: string): Promise<void> {
    await until(
      () => this.output.includes(text) || this.outcome !== undefined,
      text,
    );
    assert(this.output.includes(text), this.output);
  }

  /** Waits until it has ended by itself. */
  async ended(): Promise<void> {
    await until(() => this.outcome !== undefined, "its end");
    assertEquals(this.outcome, 0, this.output);
  }

  kill(signal: "SIGSTOP" | "SIGCONT" | "SIGKILL"): void {
    process.kill(this.#child.pid!, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.outcome === undefined) this.kill("SIGKILL");
    await until(() => this.outcome !== undefined, "its end");
  }
}

const stamp = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}`;
const report = new RegExp(
  `${stamp} \\[CRITICAL\\] Worker 1 \\(pid 7\\): its event loop has been ` +
    "blocked for \\d+\\.\\d s while it served 2 request\\(s\\)\n" +
    `${stamp} \\[CRITICAL\\] Worker 1 \\(pid 7\\): was serving ` +
    '"GET /report\\?\\\\\\\\ HTTP/1\\.1" for \\d\\.\\d s\n' +
    `${stamp} \\[CRITICAL\\] Worker 1 \\(pid 7\\): was serving ` +
    '"GET /stream HTTP/1\\.1" for \\d\\.\\d s\n',
);

function defineTests(): void {
  test("startWatchdog() tells of a hang, and of its end", async () => {
    await using loop = new WatchedProcess({ logPath: null, blocked: 4000 });
    await loop.ended();
    assertMatch(loop.output, report);
    assertMatch(
      loop.output,
      new RegExp(`${stamp} \\[WARNING\\] .* turns again, after \\d\\.\\d s\n`),
    );
    assertEquals(loop.output.match(/CRITICAL/g)?.length, 3, loop.output);
  });

  test("startWatchdog() writes to a log file while the loop is blocked", async () => {
    const directory = mkdtempSync(join(tmpdir(), "headgate-watchdog-"));
    try {
      const logPath = join(directory, "a log.log");
      await using loop = new WatchedProcess({ logPath, blocked: 30_000 });
      await loop.said("blocks");
      await until(() => report.test(textOf(logPath)), "the report");
      assertEquals(loop.outcome, undefined);
      assert(!loop.output.includes("done"), loop.output);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test("startWatchdog() does not blame a process that was stopped", async () => {
    await using loop = new WatchedProcess({ logPath: null, blocked: 100 });
    await loop.said("blocks");
    loop.kill("SIGSTOP");
    // Not a wait for anything: this is the time in which it stands still.
    await new Promise((pass) => setTimeout(pass, 1500));
    loop.kill("SIGCONT");
    await loop.ended();
    assertMatch(loop.output, /done/);
    assert(!loop.output.includes("blocked"), loop.output);
  });

  test("startWatchdog() can be told to stop", async () => {
    const wait = { logPath: null, blocked: 1500, stopped: true } as const;
    await using loop = new WatchedProcess(wait);
    await loop.ended();
    assertEquals(loop.output, "blocks\ndone\n");
  });

  test("startWatchdog() tells when there is no watch", async () => {
    const failures: unknown[] = [];
    const options = {
      logPath: null,
      onFailure: (error: unknown) => failures.push(error),
    };
    const source = "() => { throw new Error('this watch fails'); }";
    startWatchdog({ source, data: null }, options);
    startWatchdog({ source: "() => {}", data: () => {} }, options);
    await until(() => failures.length === 2, "both failures");
    assert(
      failures.some((error) => String(error).includes("this watch fails")),
      String(failures),
    );
  });
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // not made yet
  }
}
