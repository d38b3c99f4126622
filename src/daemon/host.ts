/**
 * What the launcher, the arbiter and the workers ask of their process and of
 * its neighbours. Types alone: `adapters/daemon_host.ts` implements them over
 * the `node:` modules that Deno, Bun and Node share, tests implement them over
 * arrays.
 *
 * @module
 */
import type { Address, ListenOptions } from "../stream.ts";

/** The signals that the arbiter answers. */
export type DaemonSignal =
  | "SIGHUP"
  | "SIGINT"
  | "SIGTERM"
  | "SIGQUIT"
  | "SIGTTIN"
  | "SIGTTOU"
  | "SIGUSR1"
  | "SIGUSR2"
  | "SIGWINCH";

/** A listening socket that this process holds open without accepting. */
export interface HeldSocket {
  /** Its descriptor in this process. */
  readonly fd: number;
  /** Where it listens. `host` is "" where the system does not tell. */
  readonly address: Address;
}

/** Sockets that were bound here, to be handed on. */
export interface BoundSockets {
  /** In the order of the addresses that were asked for. */
  readonly sockets: readonly HeldSocket[];
  /** Closes this process's copies. To be called in the turn in which `bind()`
   * resolved, after they were handed on, so that this process accepts nothing. */
  close(): void;
}

/** Messages to and from another process. A message is what JSON can tell. */
export interface Channel {
  /** False once either end has closed it. */
  readonly open: boolean;
  /** Sends in order, and never throws: what is sent to a process that has
   * gone is dropped. */
  send(message: unknown): void;
  /** Resolves when what was sent has left this process, or cannot any more. To
   * be awaited before the process exits, which drops the rest. */
  flushed(): Promise<void>;
  /** Takes what comes; messages that came earlier are kept until then.
   * `onClose` is called once, when the other end has closed or ended, at once
   * if it has already. To be called once. */
  receive(onMessage: (message: unknown) => void, onClose: () => void): void;
  /** Closes our end once what was sent has left; nothing is taken or sent any
   * more, and `onClose` of this end is not called for it. Idempotent. */
  close(): void;
}

/** How a process ended: by `exit(code)`, or by a signal. */
export interface ProcessEnd {
  /** Exit code; null when a signal ended it. */
  readonly code: number | null;
  /** Name of the signal; null when it exited. */
  readonly signal: string | null;
}

/** What a process is started with. */
export interface SpawnOptions {
  /** Variables besides those of this process; undefined removes one. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Descriptors of this process that the other is to have, as 3 and upwards
   * in this order. */
  readonly fds: readonly number[];
  /** What becomes of its standard output and error: ours, a file that is
   * appended to (made with mode 0640), nothing, or text for a function, which
   * is given whole lines with their newlines. */
  readonly output:
    | { readonly kind: "inherit" }
    | { readonly kind: "discard" }
    | { readonly kind: "file"; readonly path: string }
    | { readonly kind: "lines"; readonly take: (text: string) => void };
  /** Whether it leads a session of its own, and so outlives our terminal. */
  readonly detached: boolean;
  /** Whom it runs as; we must be root. Supplementary groups are dropped. */
  readonly user?: Identity | undefined;
}

/** A user and a group, as numbers; either may be left as it is. */
export interface Identity {
  readonly uid?: number;
  readonly gid?: number;
}

/** A process that this one has started. */
export interface ChildProcess {
  readonly pid: number;
  readonly channel: Channel;
  /** Resolves when it has ended, and what it wrote and sent has been taken; no
   * later than a second after its end, though its own children may hold its
   * output open. Never rejects. */
  readonly ended: Promise<ProcessEnd>;
  /** Sends a signal, if it still runs. Never throws. */
  kill(signal: DaemonSignal | "SIGKILL"): void;
}

/** A name that one process at a time can hold; the kernel frees it when the
 * holder ends, however it ends. */
export interface Lock {
  release(): void;
}

/** A control socket that is being answered. */
export interface ControlServer {
  /** Stops answering and removes the socket's file. Idempotent. */
  close(): void;
}

/** Why a control socket gave no answer. */
export type ControlFailure =
  /** Nobody listens there. */
  | "absent"
  /** Somebody does, and has not answered in time. */
  | "silent"
  /** We may not connect. */
  | "forbidden";

/** What came of a question to a control socket. */
export type ControlOutcome =
  | { readonly answer: unknown }
  | { readonly failure: ControlFailure };

/** What another thread runs, which shares no code with this one. */
export interface WatchdogProgram {
  /** The text of a function of `data` and a {@linkcode WatchdogThread}; of what
   * is outside of it, it uses the globals of the language alone. It returns when
   * the watch is over. */
  readonly source: string;
  /** What it is called with, sent as `postMessage` would. */
  readonly data: unknown;
}

/** What such a program is lent. */
export interface WatchdogThread {
  /** Milliseconds on a steady clock. */
  now(): number;
  /** Sleeps as `Atomics.wait` does; false when the watch is over. */
  wait(
    cells: Int32Array,
    index: number,
    value: number,
    milliseconds: number,
  ): boolean;
  /** Writes whole lines to the log before it returns. */
  write(text: string): void;
  /** Ends the process at once. */
  kill(): void;
}

/** Where a watchdog tells what it has seen. */
export interface WatchdogOptions {
  /** Absolute path of the log file; null for standard output. The file is
   * opened when there is something to write. */
  readonly logPath: string | null;
  /** There is no watch, or none any longer. */
  readonly onFailure: (error: unknown) => void;
}

/** The process verbs that a runtime lends the daemon. */
export interface DaemonHost {
  /** How many processors the process may use. */
  readonly cores: number;
  /** The channel to the process that started us as its arbiter or worker. */
  readonly parent: Channel | undefined;
  /** Whether several sockets can listen on one port (SO_REUSEPORT). */
  readonly reusePort: boolean;
  /** Binds and listens, and holds the sockets. `slots` sockets share each TCP
   * address where `reusePort` is true, else one stands for all; a Unix socket
   * is always one. Rejects with an error whose `code` is "EADDRINUSE" and the
   * like, `port` set where it is known; then none is kept. */
  bind(
    addresses: readonly ListenOptions[],
    slots: number,
  ): Promise<BoundSockets>;
  /** The listening sockets that these inherited descriptors are. Throws
   * `RangeError` with a message for the user if one is not such a socket, where
   * the system tells. */
  inherited(fds: readonly number[]): HeldSocket[];
  /** Closes inherited descriptors, so that nobody waits at a socket on which
   * nobody will accept. `last` tells that whoever still accepts on them is
   * about to leave, so that the kernel need not queue more. */
  closeInherited(fds: readonly number[], last: boolean): void;
  /** Keeps the sockets that are open now from programs that are started from
   * now on and know nothing of them, as far as the runtime lets it. A child of
   * the application's that outlives us would keep them listening. */
  keepSockets(): void;
  /** Starts this program again, with the same runtime, the same options of the
   * runtime, and `args`. The channel to it is there at once. Where the system
   * refuses, it is a process with the pid 0 that has said why on its output, and
   * ended with 127. Throws when the file of `output` cannot be opened. */
  spawn(args: readonly string[], options: SpawnOptions): ChildProcess;
  /** Calls the handler at each such signal from now on, at the next turn. The
   * returned function ends that. */
  onSignal(signal: DaemonSignal, handler: () => void): () => void;
  /** Sends a signal to any process; false if there is none, or it is not
   * ours to signal. 0 only asks. */
  kill(pid: number, signal: DaemonSignal | "SIGKILL" | 0): boolean;
  /** Whether a process lives; a zombie does not. */
  isAlive(pid: number): boolean;
  /** Resident memory of a process in bytes; undefined where nobody tells. */
  residentBytes(pid: number): number | undefined;
  /** Takes a name for this process; undefined while another holds it. Where
   * the system has no such names, it resolves with a lock that locks nothing. */
  lock(name: string): Promise<Lock | undefined>;
  /** Answers questions on a Unix socket, which the owner alone may open (mode
   * 0600). Each connection carries one question and its answer, as JSON, a
   * line each; a question that is longer than 64 KiB or no JSON is dropped. A
   * file of an earlier socket is replaced. Rejects as `bind()` does. */
  serveControl(
    path: string,
    answer: (question: unknown) => Promise<unknown>,
  ): Promise<ControlServer>;
  /** Asks on a control socket. Never rejects. */
  askControl(
    path: string,
    question: unknown,
    timeoutSeconds: number,
  ): Promise<ControlOutcome>;
  /** The text of a small file; undefined when there is none. */
  readText(path: string): string | undefined;
  /** Replaces a file whole (written beside it, then renamed), mode 0644. */
  writeText(path: string, text: string): void;
  /** The absolute form of a path. */
  absolute(path: string): string;
  /** Goes to a directory. */
  chdir(path: string): void;
  /** Sets the mask of file permissions. */
  umask(mask: number): void;
  /** Gives a file or a socket to a user; nothing when there is none, or a
   * device or a link in its place. */
  chown(path: string, identity: Identity): void;
  /** A user by name or number; `gid` is the user's own group. */
  findUser(name: string): Required<Identity> | undefined;
  /** A group by name or number. */
  findGroup(name: string): number | undefined;
  /** How `ps` shows this process, where the runtime can. */
  setTitle(title: string): void;
  /** Has a thread of its own keep watch over this one. Never throws. */
  startWatchdog(program: WatchdogProgram, options: WatchdogOptions): void;
  /** Tells the service manager that asked for it (`NOTIFY_SOCKET`), as in
   * "READY=1"; nothing where none did. */
  notify(state: string): void;
}
