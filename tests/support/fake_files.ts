/** A file system over a map, which counts what is open and can be made to fail. */
import type { FileSource, OpenFile } from "../../src/file_source.ts";
import { octets } from "./octets.ts";

/** What stands at a path. */
export interface FakeFile {
  /** Its content; undefined for a directory. */
  readonly content?: string;
  /** Milliseconds since the epoch. */
  readonly modifiedMs?: number;
  /** Where it leads, when it is a symbolic link. */
  readonly link?: string;
  /** The `code` with which opening it fails. */
  readonly code?: string;
  /** How long it is when it is opened, although less is there. */
  readonly size?: number;
  /** At most so many bytes come from one read. */
  readonly atOnce?: number;
  /** It is neither a file nor a directory. */
  readonly pipe?: true;
}

/** The time that files carry which have none. */
export const longAgo: number = Date.UTC(2020, 1, 3, 4, 5, 6, 789);

/** The files of a map, by their absolute paths. */
export class FakeFiles implements FileSource {
  /** How many are open. */
  opened = 0;
  /** Every path that was asked for. */
  readonly asked: string[] = [];
  /** How long the buffers were. */
  readonly buffers: number[] = [];
  readonly #files: Readonly<Record<string, FakeFile>>;

  constructor(files: Readonly<Record<string, FakeFile>>) {
    this.#files = files;
  }

  resolve(path: string): Promise<string | undefined> {
    this.asked.push(path);
    const found = this.#files[path];
    if (found?.link !== undefined) return this.resolve(found.link);
    return Promise.resolve(found === undefined ? undefined : path);
  }

  kind(path: string): Promise<OpenFile["kind"] | undefined> {
    const found = this.#files[path];
    if (found?.link !== undefined) return this.kind(found.link);
    return Promise.resolve(found && kindOf(found));
  }

  open(path: string): Promise<OpenFile | undefined> {
    const found = this.#files[path];
    if (found?.code !== undefined) {
      return Promise.reject(
        Object.assign(new Error(`${found.code}: ${path}`), found),
      );
    }
    if (found?.link !== undefined) return this.open(found.link);
    if (found !== undefined) this.opened++;
    return Promise.resolve(found && this.#open(found));
  }

  #open(found: FakeFile): OpenFile {
    const content = octets(found.content ?? "");
    let open = true;
    return {
      kind: kindOf(found),
      size: found.size ?? content.length,
      modifiedMs: found.modifiedMs ?? longAgo,
      read: (buffer, position) => {
        if (!open) throw new Error("The file is closed");
        this.buffers.push(buffer.length);
        const count = Math.min(buffer.length, found.atOnce ?? Infinity);
        const piece = content.subarray(position, position + count);
        buffer.set(piece);
        return Promise.resolve(piece.length);
      },
      close: () => {
        if (open) this.opened--;
        open = false;
        return Promise.resolve();
      },
    };
  }
}

function kindOf(found: FakeFile): OpenFile["kind"] {
  if (found.pipe) return "other";
  return found.content === undefined ? "directory" : "file";
}
