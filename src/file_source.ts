/**
 * What serving files asks of a file system, as types:
 * `adapters/file_source.ts` implements them, tests implement them over arrays.
 *
 * @module
 */

/** A file that was opened for reading, or a directory that was found. */
export interface OpenFile {
  /** What it is. Only a "file" can be read. */
  readonly kind: "file" | "directory" | "other";
  /** Its length in bytes when it was opened. */
  readonly size: number;
  /** When it was changed last, in milliseconds since the epoch. */
  readonly modifiedMs: number;
  /** Fills `buffer` from its start with what stands at `position`, as far as it
   * comes at once; resolves with the number of bytes, 0 at the end. */
  read(buffer: Uint8Array, position: number): Promise<number>;
  /** Lets go of it. Idempotent. */
  close(): Promise<void>;
}

/** Files by their paths, whose steps are separated by "/". What fails rejects
 * with the runtime's error with its `code`, as in "EACCES". */
export interface FileSource {
  /** The absolute path of what stands there, with no symbolic link left in it;
   * undefined when nothing does. */
  resolve(path: string): Promise<string | undefined>;
  /** What stands there; undefined when nothing does. */
  kind(path: string): Promise<OpenFile["kind"] | undefined>;
  /** Opens what stands there, and never waits for the other end of a pipe;
   * undefined when nothing does. The caller closes it. */
  open(path: string): Promise<OpenFile | undefined>;
}
