/** A file without a name: it is removed as soon as it is open, so that nothing
 * of it stays behind, however this process ends. */
import { randomUUID } from "node:crypto";
import { type FileHandle, open, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SpoolFile } from "../src/backend_host.ts";

/** As `BackendHost.openSpool` promises. */
export async function openSpoolFile(): Promise<SpoolFile> {
  const path = join(tmpdir(), `headgate-${randomUUID()}`);
  const handle = await open(path, "wx+", 0o600);
  try {
    await unlink(path);
  } catch (error) {
    await handle.close();
    throw error;
  }
  return new NamelessFile(handle);
}

class NamelessFile implements SpoolFile {
  readonly #handle: FileHandle;
  #length = 0;
  #open = true;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async append(bytes: Uint8Array): Promise<void> {
    let rest = bytes;
    while (rest.length > 0) {
      const { bytesWritten } = await this.#handle.write(
        rest,
        0,
        rest.length,
        this.#length,
      );
      this.#length += bytesWritten;
      rest = rest.subarray(bytesWritten);
    }
  }

  async read(buffer: Uint8Array, position: number): Promise<number> {
    const { bytesRead } = await this.#handle.read(
      buffer,
      0,
      buffer.length,
      position,
    );
    return bytesRead;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#handle.close().catch(() => {}); // what cannot be closed is closed
  }
}
