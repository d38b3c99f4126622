/**
 * A thread that keeps watch over the event loop of its process. It shares no
 * code with the rest, only memory: its program is a text, so that a bundle
 * needs no file beside it. It sleeps in `Atomics.wait`, holds no process back
 * from ending, and writes by itself, since the loop may never turn again.
 *
 * It costs memory as every thread of JavaScript does: about 7 to 11 MB on Node,
 * 9 MB on Bun and 12 MB on Deno, which also takes some 50 ms to start it.
 *
 * @module
 */
import type * as FileSystem from "node:fs";
import type Process from "node:process";
import { Worker } from "node:worker_threads";
import type {
  WatchdogOptions,
  WatchdogProgram,
  WatchdogThread,
} from "../src/daemon/host.ts";

/** A watch that is being kept. */
export interface Watchdog {
  /** Nothing is written from now on, and the thread ends when it next wakes
   * up. A process that ends needs no such call. */
  stop(): void;
}

/** Starts the thread; it keeps watch from a few milliseconds later on, also
 * where the loop is blocked at once. Never throws. */
export function startWatchdog(
  program: WatchdogProgram,
  { logPath, onFailure }: WatchdogOptions,
): Watchdog {
  const parts = `require("node:fs"), require("node:process"), ` +
    `require("node:worker_threads").workerData, (${program.source})`;
  // Deno has `terminate()` wait for a thread that itself waits.
  const over = new Int32Array(new SharedArrayBuffer(4));
  try {
    const thread = new Worker(`(${runInThread})(${parts});`, {
      eval: true,
      workerData: { logPath, over, data: program.data },
      // What was preloaded for the application is not for this thread.
      execArgv: [],
      env: {},
    });
    thread.unref();
    thread.on("error", onFailure);
  } catch (error) {
    onFailure(error);
  }
  return { stop: () => void Atomics.store(over, 0, 1) };
}

/** What a thread is started with. */
interface ThreadData {
  readonly logPath: string | null;
  /** Becomes 1 when the watch is over. */
  readonly over: Int32Array;
  readonly data: unknown;
}

/** What the thread does. It runs from its own text, as its program does. */
function runInThread(
  { closeSync, openSync, writeSync }: typeof FileSystem,
  process: typeof Process,
  { logPath, over, data }: ThreadData,
  program: (data: unknown, thread: WatchdogThread) => void,
): void {
  program(data, {
    now: () => performance.now(),
    wait(cells, index, value, milliseconds) {
      Atomics.wait(cells, index, value, milliseconds);
      return Atomics.load(over, 0) === 0;
    },
    write(text) {
      const bytes = new TextEncoder().encode(text);
      try {
        writeLog(bytes);
      } catch {
        // A log that cannot be written must not end the watch.
      }
    },
    kill: () => void process.kill(process.pid, "SIGKILL"),
  });

  function writeLog(bytes: Uint8Array): void {
    if (logPath === null) return writeWhole(1, bytes);
    const descriptor = openSync(logPath, "a", 0o640);
    try {
      writeWhole(descriptor, bytes);
    } finally {
      closeSync(descriptor);
    }
  }

  /** Waits a second in all where the reader of a pipe takes nothing. */
  function writeWhole(descriptor: number, bytes: Uint8Array): void {
    const pause = new Int32Array(new SharedArrayBuffer(4));
    for (let waits = 0; bytes.length > 0 && waits < 100;) {
      try {
        bytes = bytes.subarray(writeSync(descriptor, bytes));
      } catch (error) {
        if ((error as { code?: unknown }).code !== "EAGAIN") throw error;
        Atomics.wait(pause, 0, 0, 10);
        waits++;
      }
    }
  }
}
