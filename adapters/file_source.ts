/**
 * Files to serve, over the `node:fs/promises` that the runtimes share. Loaded
 * only where there are some.
 */
import { constants, type Stats } from "node:fs";
import { type FileHandle, open, realpath, stat } from "node:fs/promises";
import type { FileSource, OpenFile } from "../src/file_source.ts";

/** The files of this machine. */
export const fileSource: FileSource = {
  resolve: (path) => unlessMissing(realpath(path)),
  kind: (path) => unlessMissing(stat(path).then(kindOf)),
  open: (path) => unlessMissing(openPath(path)),
};

async function openPath(path: string): Promise<OpenFile> {
  // Opening a pipe would wait for its writer, and opening a device may do
  // anything: whether it is a file is asked first.
  const found = await stat(path);
  if (!found.isFile()) return unreadable(found);
  const handle = await open(path, constants.O_RDONLY | nonBlocking);
  try {
    // Another file may have taken the path meanwhile.
    const opened = await handle.stat();
    if (opened.isFile()) return readable(handle, opened);
    await handle.close();
    return unreadable(opened);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Where the system has it. */
const nonBlocking: number = constants.O_NONBLOCK ?? 0;

function readable(handle: FileHandle, { size, mtimeMs }: Stats): OpenFile {
  return {
    kind: "file",
    size,
    modifiedMs: mtimeMs,
    async read(buffer, position) {
      const { bytesRead } = await handle.read(
        buffer,
        0,
        buffer.length,
        position,
      );
      return bytesRead;
    },
    close: () => handle.close(),
  };
}

function unreadable(found: Stats): OpenFile {
  return {
    kind: kindOf(found),
    size: found.size,
    modifiedMs: found.mtimeMs,
    read: () => Promise.reject(new Error("Only a file can be read")),
    close: () => Promise.resolve(),
  };
}

function kindOf(found: Stats): OpenFile["kind"] {
  if (found.isFile()) return "file";
  return found.isDirectory() ? "directory" : "other";
}

/** The paths that lead nowhere: a step is missing, or is no directory, or goes
 * in circles, or is longer than any name can be. */
const missing = ["ENOENT", "ENOTDIR", "ELOOP", "ENAMETOOLONG"];

async function unlessMissing<T>(wanted: Promise<T>): Promise<T | undefined> {
  try {
    return await wanted;
  } catch (error) {
    if (missing.includes((error as { code?: string }).code ?? "")) {
      return undefined;
    }
    throw error;
  }
}
