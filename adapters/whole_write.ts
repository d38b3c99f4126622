/** Synchronous writing, whole: what was written is not lost when the process
 * ends, which `process.stdout` would lose on each runtime in its own way. */
import type { Output } from "../src/host.ts";

/** Writes bytes, maybe in part, and returns how many. */
export type PartialWrite = (bytes: Uint8Array) => number;

const encoder = new TextEncoder();

/** Writes all of the content, a text as UTF-8, before it returns. */
export function writeWhole(
  write: PartialWrite,
  content: string | Uint8Array,
): void {
  let bytes = typeof content === "string" ? encoder.encode(content) : content;
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(write(bytes));
    } catch (error) {
      // A pipe that its other end made non-blocking, and that is full.
      if (systemCode(error) !== "EAGAIN") throw error;
      pause(5);
    }
  }
}

const pauseCell = new Int32Array(new SharedArrayBuffer(4));

function pause(milliseconds: number): void {
  Atomics.wait(pauseCell, 0, 0, milliseconds);
}

/** A writer for the standard streams. A server does not end for want of
 * somebody to talk to: once a reader has left (`headgate | head`), or where
 * there never was a stream, what is written is dropped. */
export function outputWriter(
  streams: Readonly<Record<Output, PartialWrite>>,
): (output: Output, content: string | Uint8Array) => void {
  const abandoned = new Set<Output>();
  return (output, content) => {
    if (abandoned.has(output)) return;
    try {
      writeWhole(streams[output], content);
    } catch (error) {
      if (!["EPIPE", "EBADF", "EIO"].includes(systemCode(error))) throw error;
      abandoned.add(output);
    }
  };
}

/** The system's name for what went wrong, as in "EACCES"; "" where the error
 * is none of the system's. */
export function systemCode(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : "";
  return typeof code === "string" ? code : "";
}
