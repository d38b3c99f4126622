/**
 * What applications outside of this process (FastCGI, CGI, Python) ask of the
 * machine: connections, programs, and a place for files. Types alone:
 * `adapters/backend_host.ts` implements them, tests implement them over arrays.
 *
 * @module
 */
import type { FileSource } from "./file_source.ts";
import type { ByteStream, ConnectOptions, MaybePromise } from "./stream.ts";

/** A program to be started. */
export interface ProgramCommand {
  /** Its file; a name without "/" is looked for along `PATH` of our own
   * environment. */
  readonly file: string;
  /** Its arguments, without its own name. */
  readonly args: readonly string[];
  /** Its working directory; ours where there is none. */
  readonly cwd?: string;
  /** Its whole environment: nothing of ours goes along unasked. */
  readonly env: Readonly<Record<string, string>>;
  /** What becomes of its standard error: ours, or lines for a function, which
   * is given each without its newline; longer ones than 8 KiB come in parts. */
  readonly errors: "inherit" | ((line: string) => void);
  /** Whether our standard output is its descriptor 3: for a program that keeps
   * the pipe of its standard output to itself. */
  readonly sharesOutput: boolean;
}

/** How a program ended: by `exit(code)`, or by a signal. */
export interface ProgramEnd {
  /** Exit code; null when a signal ended it. */
  readonly code: number | null;
  /** Name of the signal; null when it exited. */
  readonly signal: string | null;
}

/** A program that was started here, in a process group of its own where the
 * system has such. Its standard input and output are pipes to us, or sockets. */
export interface Program {
  /** Its number. */
  readonly pid: number;
  /** Writes to its standard input, in order. The bytes are lent until the call
   * settles; a promise means that the program must read first. Rejects with
   * `StreamError` when it reads no more. */
  write(bytes: Uint8Array): MaybePromise<void>;
  /** Ends its standard input. Idempotent. */
  closeInput(): void;
  /** What it writes to its standard output; null at the end. The bytes are the
   * caller's. What nobody reads makes the program wait. One read at a time. */
  read(): Promise<Uint8Array | null>;
  /** Reads no more of its output: the program finds nobody there. */
  closeOutput(): void;
  /** Resolves when it has ended; what it wrote may still be there to be read.
   * Never rejects. */
  readonly ended: Promise<ProgramEnd>;
  /** Sends a signal to it, or to it and all its children in its group, while
   * it runs or its group does. Never throws. */
  kill(signal: "SIGTERM" | "SIGKILL" | "SIGUSR1", whom?: "group"): void;
}

/** A file without a name, for content that is too much for memory: it is gone
 * when it is closed, or when we are. */
export interface SpoolFile {
  /** Appends. The bytes are lent until the call settles. */
  append(bytes: Uint8Array): Promise<void>;
  /** Fills `buffer` from its start with what stands at `position`; resolves
   * with the number of bytes, 0 at the end. */
  read(buffer: Uint8Array, position: number): Promise<number>;
  /** Lets go of it. Idempotent. */
  close(): void;
}

/** The verbs that a runtime lends to applications outside of this process. */
export interface BackendHost {
  /** The files of this machine. */
  readonly files: FileSource;
  /** Connects. Rejects with an error whose `code` is "ECONNREFUSED", "ENOENT",
   * "EACCES" and the like; with "ETIMEDOUT" after 10 s. A Unix-domain socket
   * where too many wait is "EAGAIN", and "ECONNREFUSED" on Bun. */
  connect(options: ConnectOptions): Promise<ByteStream>;
  /** Starts a program. Rejects with the runtime's error with its `code`, as in
   * "ENOENT" or "EACCES", where the system refuses. When this process ends by
   * itself, its group is asked to end, and made to a moment later. */
  start(command: ProgramCommand): Promise<Program>;
  /** Makes a directory that nobody else may enter (mode 0700), among the
   * temporary files of the system, and tells its absolute path. It is removed
   * with all that is in it by `removePrivate()`, or when this process ends by
   * itself. */
  makePrivate(): string;
  /** Removes a directory that `makePrivate()` made. Idempotent; never throws. */
  removePrivate(directory: string): void;
  /** Writes a small file (mode 0600). */
  writeText(path: string, text: string): void;
  /** The text of a small file; "" when there is none. */
  readText(path: string): string;
  /** Opens a file to spool to. */
  openSpool(): Promise<SpoolFile>;
  /** Whether we may execute the file at a path. */
  isExecutable(path: string): boolean;
  /** Resident memory of a process in bytes; undefined where nobody tells. */
  residentBytes(pid: number): number | undefined;
}
