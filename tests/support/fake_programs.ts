/** Programs for whoever starts some, without processes: a test says what they
 * write and how they end, or what they do by themselves. */
import type {
  BackendHost,
  Program,
  ProgramCommand,
  ProgramEnd,
} from "../../src/backend_host.ts";
import { only } from "./only.ts";

/** A program that was started. */
export class FakeProgram implements Program {
  /** What has been done to it, in order: "close input", "SIGKILL group". */
  readonly done: string[] = [];
  /** What was written to it. */
  written = "";
  readonly pid: number;
  readonly command: ProgramCommand;
  readonly ended: Promise<ProgramEnd>;
  /** What it does when it is told to leave, or killed. */
  onLeave: () => void = () => this.end({ code: 0, signal: null });
  onSignal: (signal: string) => void = (signal) => {
    if (signal !== "SIGUSR1") this.end({ code: null, signal });
  };

  #end: (end: ProgramEnd) => void = () => {};
  #pieces: (Uint8Array | null)[] = [];
  #reader: ((piece: Uint8Array | null) => void) | undefined;

  constructor(pid: number, command: ProgramCommand) {
    this.pid = pid;
    this.command = command;
    this.ended = new Promise((resolve) => this.#end = resolve);
  }

  /** Writes to its standard output. */
  print(text: string | Uint8Array): void {
    this.#give(
      typeof text === "string" ? new TextEncoder().encode(text) : text,
    );
  }

  /** Ends it. */
  end(end: ProgramEnd): void {
    this.#give(null);
    this.#end(end);
  }

  write(bytes: Uint8Array): void {
    this.written += new TextDecoder().decode(bytes);
  }

  closeInput(): void {
    this.done.push("close input");
    this.onLeave();
  }

  read(): Promise<Uint8Array | null> {
    const piece = this.#pieces[0];
    if (piece === null) return Promise.resolve(null);
    if (piece !== undefined) {
      this.#pieces.shift();
      return Promise.resolve(piece);
    }
    return new Promise((resolve) => this.#reader = resolve);
  }

  closeOutput(): void {}

  kill(signal: string, whom?: "group"): void {
    this.done.push(whom === undefined ? signal : `${signal} ${whom}`);
    this.onSignal(signal);
  }

  #give(piece: Uint8Array | null): void {
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader === undefined) this.#pieces.push(piece);
    else reader(piece);
    if (piece === null && reader !== undefined) this.#pieces.push(null);
  }
}

/** A machine whose programs do what `behave` has them do once they start. */
export class FakePrograms {
  /** All that were started. */
  readonly started: FakeProgram[] = [];
  /** Small files by their paths. */
  readonly texts: Map<string, string> = new Map();
  /** Private directories that are there. */
  readonly directories: Set<string> = new Set();
  /** What a connection was asked for. */
  readonly connected: string[] = [];
  readonly host: BackendHost;

  constructor(behave: (program: FakeProgram) => void) {
    this.host = only<BackendHost>({
      start: (command) => {
        const program = new FakeProgram(100 + this.started.length, command);
        this.started.push(program);
        // As a process, it does nothing before its starter goes on.
        queueMicrotask(() => behave(program));
        return Promise.resolve(program);
      },
      connect: ({ path = "" }) => {
        this.connected.push(path);
        return Promise.reject(new Error("nobody listens"));
      },
      makePrivate: () => {
        const directory = `/private/${this.directories.size}`;
        this.directories.add(directory);
        return directory;
      },
      removePrivate: (directory) => void this.directories.delete(directory),
      writeText: (path, text) => void this.texts.set(path, text),
      readText: (path) => this.texts.get(path) ?? "",
      residentBytes: (pid) => pid * 10,
    });
  }
}
