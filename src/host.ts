/**
 * What the command line asks of the process that it runs in. Types alone:
 * `adapters/process_host.ts` implements them, tests implement them over arrays.
 *
 * @module
 */
import type { BackendHost } from "./backend_host.ts";
import type { FileSource } from "./file_source.ts";
import type { Later } from "./later.ts";
import type { Address } from "./stream.ts";

/** A standard stream that is written to. */
export type Output = "stdout" | "stderr";

/** The signals that the command line answers. */
export type Signal = "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGUSR1";

/** How a failure left everybody's hands: a promise that was rejected and that
 * nobody asked, or an exception that a callback of the runtime let go. */
export type Uncaught = "rejection" | "exception";

/** A file that is only ever appended to. */
export interface AppendFile {
  /** Appends all of `content`, a text as UTF-8, before it returns. */
  write(content: string | Uint8Array): void;
  /** Idempotent. */
  close(): void;
}

/** What stands at a path. */
export interface PathStatus {
  /** What kind of thing; "hidden" where we may not look. */
  readonly kind: "file" | "directory" | "socket" | "other" | "hidden";
  /** Tells this thing from another that takes its path later. */
  readonly identity: string;
}

/** Who listens on a port, as far as the system tells. */
export interface PortHolder {
  /** Its process. */
  readonly pid: number;
  /** The name of its program. */
  readonly name: string;
}

/** What a module exports. */
export type ModuleExports = Readonly<Record<string, unknown>>;

/** Why a module could not be imported. */
export interface ImportFailure {
  /** What failed: the runtime reads no TypeScript, a module does not parse or
   * link, a module that is imported is missing, or the code threw. */
  readonly reason: "typescript" | "syntax" | "missing" | "threw";
  /** The runtime's own account, with file and line where it tells them; may
   * have several lines. */
  readonly account: string;
}

/** What came of an import. */
export type ImportOutcome =
  | { readonly exports: ModuleExports }
  | { readonly failure: ImportFailure };

/** A process, as the command line sees it. Paths may be relative. */
export interface Host {
  /** Who runs us, as in "Node" and "20.20.2". */
  readonly runtime: { readonly name: string; readonly version: string };
  /** The arguments after the program's own name. */
  readonly args: readonly string[];
  /** The environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Sets a variable of the environment, or removes it: here, for whoever else
   * reads it, and for processes that are started. */
  setEnv(name: string, value: string | undefined): void;
  /** Our process. */
  readonly pid: number;
  /** The working directory. */
  cwd(): string;
  /** Whether local time is UTC for certain; left out where that cannot be told
   * at less cost than local time itself. */
  readonly inUtc?: () => boolean;
  /** Whether a person reads the stream. */
  isTerminal(output: Output): boolean;
  /** Writes all of `content`, a text as UTF-8, before it returns, whatever the
   * stream is; drops it once the reader has left. */
  write(output: Output, content: string | Uint8Array): void;
  /** Opens a file for appending, and makes it if need be. Throws the runtime's
   * error with its `code`. */
  openAppend(path: string): AppendFile;
  /** Calls back later, with less to load than the runtime's timers; left out
   * where those are there from the beginning. */
  readonly later?: Later;
  /** What stands there; undefined when nothing does. */
  status(path: string): PathStatus | undefined;
  /** Removes a file or a socket; does nothing when there is none. */
  remove(path: string): void;
  /** The text of a small file. Throws the runtime's error with its `code`. */
  readText(path: string): string;
  /** Imports the module at a path. Never rejects. A module is remembered, as
   * runtimes do; where `reading` is given and not 0, it is read anew, once for
   * each number. */
  importModule(path: string, reading?: number): Promise<ImportOutcome>;
  /** The files of this machine, to be served. */
  files(): Promise<FileSource>;
  /** What applications outside of this process need. */
  backends(): Promise<BackendHost>;
  /** Whether somebody listens on the Unix-domain socket at a path. */
  answers(path: string): Promise<boolean>;
  /** Who listens on a TCP port; undefined when nobody does, or when the system
   * does not tell. */
  portHolder(port: number): PortHolder | undefined;
  /** Remembers which sockets are open. The returned function tells where this
   * process listens on others that it has opened since, as far as the system
   * tells. */
  watchListeners(): () => Promise<readonly Address[]>;
  /** Calls the handler at each such signal from now on. The returned function
   * ends that. */
  onSignal(signal: Signal, handler: () => void): () => void;
  /** Calls the handler with what nobody caught, which otherwise ends the
   * process on some runtimes and not on others. The returned function ends
   * that. */
  onUncaught(handler: (kind: Uncaught, error: unknown) => void): () => void;
  /** Calls the handler once, before the process ends by itself or by `exit()`;
   * it must be synchronous. The returned function ends that. */
  onExit(handler: () => void): () => void;
  /** Ends the process. */
  exit(code: number): never;
}

/** What of a folder is to be watched, by the names of what it holds. */
export interface WatchInterest {
  /** Whether changes of a file count. */
  isSourceFile(name: string): boolean;
  /** Whether a folder is looked into. */
  isSourceFolder(name: string): boolean;
}

/** What comes of watching. */
export interface WatchEvents {
  /** A file is new, other than it was, or gone; `path` is relative to what is
   * watched. May come more than once for one change. */
  onChange(path: string): void;
  /** Something is not watched, or not any more. */
  onFailure(why: string): void;
}

/** What a developer's server asks of its machine. */
export interface DevHost {
  /** Watches the files below a folder; the returned function ends that. A link
   * to a folder is not followed. */
  watch(
    folder: string,
    interest: WatchInterest,
    events: WatchEvents,
  ): () => void;
  /** Hands over each key that is pressed, Ctrl+C included; the returned
   * function ends that and leaves the terminal as it was, as does the end of
   * the process. Undefined when standard input is no terminal. */
  keys(onKey: (key: string) => void): (() => void) | undefined;
  /** Has the user's browser open an address. */
  open(url: string, onFailure: (why: string) => void): void;
}
