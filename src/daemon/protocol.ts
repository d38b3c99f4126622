/**
 * What launcher, arbiter and workers say to each other, and what the control
 * socket is asked: types, and readers that take nothing else. A message is a
 * JSON object with a `type`, or for the control socket a `command`.
 */
import { mostWorkers } from "../commands.ts";
import type { ReopenFailure } from "../log_files.ts";
import type { Address } from "../stream.ts";

/** A listening socket as every process below the launcher has it. */
export interface Slot {
  /** Its descriptor: the same in the arbiter and in each worker. */
  readonly fd: number;
  /** Where it listens. */
  readonly address: Address;
}

/** What a process of ours is started as. */
export type Role = ArbiterRole | WorkerRole;

/** Holds the sockets and looks after the workers. */
export interface ArbiterRole {
  readonly type: "arbiter";
  readonly slots: readonly Slot[];
  /** Absolute path of the configuration file that was found, or null. */
  readonly configFile: string | null;
  /** Whether it was started by `start`, and its launcher will leave. */
  readonly daemon: boolean;
  /** The arbiter whose sockets it shares, until that one leaves; else null. */
  readonly predecessor: number | null;
  /** In the foreground, the process without which it does not go on; else
   * null. */
  readonly launcher: number | null;
}

/** Serves requests. */
export interface WorkerRole {
  readonly type: "worker";
  readonly slots: readonly Slot[];
  readonly configFile: string | null;
  readonly daemon: boolean;
  /** Its place among the workers, from 1. */
  readonly seat: number;
  /** How many reloads there were before, from 1. */
  readonly generation: number;
}

/** Arbiter to worker. */
export type Order =
  /** Accept on these descriptors too. */
  | { readonly type: "listen"; readonly fds: readonly number[] }
  /** Accept no more, end what runs, leave. Connections are closed once they
   * have been idle for `idleSeconds`. */
  | {
    readonly type: "drain";
    readonly graceSeconds: number;
    readonly idleSeconds: number;
  }
  /** Close and open the log files, and answer with `reopened`. An arbiter that
   * follows another is told so as well. */
  | { readonly type: "reopen" };

/** Worker to arbiter. */
export type Report =
  /** The application is loaded; waits for `listen`. */
  | { readonly type: "loaded" }
  /** Accepts on these. */
  | { readonly type: "listening"; readonly fds: readonly number[] }
  /** Was told to leave by somebody else, and does. */
  | { readonly type: "leaving" }
  /** Writes to new log files, but for those that could not be opened: once for
   * each `reopen`. */
  | {
    readonly type: "reopened";
    readonly failures: readonly ReopenFailure[];
  }
  /** Every second: the loop turns. */
  | Beat
  /** It cannot serve, and leaves: for the log. */
  | {
    readonly type: "failed";
    readonly message: string;
    readonly exitCode: number;
  };

/** A sign of life, with what the worker has done so far. */
export interface Beat {
  readonly type: "beat";
  /** Requests answered since it started. */
  readonly requests: number;
  /** Requests being answered now. */
  readonly busy: number;
  /** Open connections. */
  readonly connections: number;
  /** Resident memory in bytes. */
  readonly rss: number;
}

/** Arbiter to launcher, and to the arbiter that it follows. */
export type Notice =
  /** Every worker serves. */
  | {
    readonly type: "ready";
    readonly pid: number;
    readonly workers: readonly number[];
  }
  /** It could not be: why, for the terminal. The arbiter exits with 3 or with
   * the code that the worker named. */
  | { readonly type: "failed"; readonly message: string }
  /** Another arbiter goes on; follow that one. */
  | { readonly type: "successor"; readonly pid: number }
  /** It and its workers write to new log files, but for these, told in words:
   * once for each `reopen`. */
  | { readonly type: "reopened"; readonly problems: readonly string[] };

/** A question to the control socket. */
export type Command =
  | { readonly command: "status" }
  | { readonly command: "reload" }
  | { readonly command: "reopen" }
  | { readonly command: "scale"; readonly workers: number }
  /** `quick` cuts what runs. The answer comes before the arbiter leaves. */
  | { readonly command: "stop"; readonly quick: boolean }
  /** A new arbiter on the same sockets; then this one leaves. */
  | { readonly command: "restart" };

/** The answer to everything but `status`: sent when it is done (reload: the
 * new workers serve; restart: the new arbiter is ready; reopen: nobody writes
 * to the old files any more), or has failed. */
export interface Outcome {
  readonly ok: boolean;
  /** What was done, or why not, in a sentence. */
  readonly message: string;
}

/** The answer to `status`. */
export interface Status {
  readonly ok: true;
  readonly version: string;
  /** As in "Deno 2.9.5". */
  readonly runtime: string;
  /** The arbiter's pid. */
  readonly pid: number;
  /** Seconds since the arbiter started. */
  readonly uptime: number;
  /** "starting", "serving", "reloading" or "stopping". */
  readonly state: string;
  /** What is served, as on the command line; null for the welcome page. */
  readonly app: string | null;
  readonly generation: number;
  /** How many workers there should be. */
  readonly target: number;
  /** Where it listens, as in "http://127.0.0.1:8000". */
  readonly addresses: readonly string[];
  /** Of all workers since the arbiter started, those that have left included. */
  readonly requests: number;
  readonly workers: readonly WorkerStatus[];
  /** How long running requests may take to end when it stops; a release that
   * does not tell leaves it to the asker's own setting. */
  readonly graceSeconds?: number;
}

/** One worker. */
export interface WorkerStatus {
  readonly pid: number;
  readonly seat: number;
  readonly generation: number;
  /** "booting", "serving" or "draining". */
  readonly state: string;
  /** Seconds since it started. */
  readonly age: number;
  readonly requests: number;
  readonly busy: number;
  readonly connections: number;
  /** Resident memory in bytes. */
  readonly rss: number;
  /** Seconds since its last beat. */
  readonly silent: number;
}

// ---- Readers ----

// What comes from another process is data until it was looked at: an older or
// newer release may be at the other end, or anybody who may open the socket.
// Members that are not known are left alone.

/** What a process of ours is started as; undefined for what is no role. */
export function readRole(value: unknown): Role | undefined {
  return isRole(value) ? value : undefined;
}

/** What an arbiter tells a worker; undefined for what is no order. */
export function readOrder(value: unknown): Order | undefined {
  return isOrder(value) ? value : undefined;
}

/** What a worker tells its arbiter; undefined for what is no report. */
export function readReport(value: unknown): Report | undefined {
  return isReport(value) ? value : undefined;
}

/** What an arbiter tells its launcher; undefined for what is no notice. */
export function readNotice(value: unknown): Notice | undefined {
  return isNotice(value) ? value : undefined;
}

/** A question to the control socket; undefined for what is none. */
export function readCommand(value: unknown): Command | undefined {
  return isCommand(value) ? value : undefined;
}

/** What came of a command; undefined for what is no outcome. */
export function readOutcome(value: unknown): Outcome | undefined {
  return isOutcome(value) ? value : undefined;
}

/** The answer to `status`; undefined for what is none. */
export function readStatus(value: unknown): Status | undefined {
  return isStatus(value) ? value : undefined;
}

type Guard<T> = (value: unknown) => value is T;

// A guard for each member of a type, neither more nor less.
type Members<T> = { readonly [K in keyof T]-?: Guard<T[K]> };

function shape<T extends object>(members: Members<T>): Guard<T> {
  const names = Object.keys(members) as (keyof T & string)[];
  return (value): value is T => {
    if (typeof value !== "object" || value === null) return false;
    const object = value as Record<string, unknown>;
    return names.every((name) =>
      members[name](Object.hasOwn(object, name) ? object[name] : undefined)
    );
  };
}

function only<const T extends string | boolean | null>(literal: T): Guard<T> {
  return (value): value is T => value === literal;
}

/** What a guard lets through. */
type Guarded<G> = G extends Guard<infer T> ? T : never;

function anyOf<G extends readonly Guard<unknown>[]>(
  ...guards: G
): Guard<Guarded<G[number]>> {
  return (value): value is Guarded<G[number]> =>
    guards.some((guard) => guard(value));
}

/** A member that may be left out. */
function optional<T>(guard: Guard<T>): Guard<T> {
  return (value): value is T => value === undefined || guard(value);
}

function listOf<T>(item: Guard<T>): Guard<readonly T[]> {
  return (value): value is readonly T[] =>
    Array.isArray(value) && value.every(item);
}

function wholeBetween(least: number, most: number): Guard<number> {
  return (value): value is number =>
    Number.isInteger(value) && (value as number) >= least &&
    (value as number) <= most;
}

const isText: Guard<string> = (value) => typeof value === "string";
const isTruth: Guard<boolean> = (value) => typeof value === "boolean";
const isAmount: Guard<number> = (value): value is number =>
  Number.isFinite(value) && (value as number) >= 0;
const isCount = wholeBetween(0, Number.MAX_SAFE_INTEGER);
const isOrdinal = wholeBetween(1, Number.MAX_SAFE_INTEGER);
const isDescriptor = wholeBetween(0, 0x7fff_ffff);
// Signals go to it: 0 and what is below would reach whole groups of processes.
const isPid = wholeBetween(1, 0x7fff_ffff);
const isMaybeText = anyOf(isText, only(null));

const isSlot = shape<Slot>({
  fd: isDescriptor,
  address: shape<Address>({ host: isText, port: wholeBetween(0, 65_535) }),
});

const isRole: Guard<Role> = anyOf(
  shape<ArbiterRole>({
    type: only("arbiter"),
    slots: listOf(isSlot),
    configFile: isMaybeText,
    daemon: isTruth,
    predecessor: anyOf(isPid, only(null)),
    launcher: anyOf(isPid, only(null)),
  }),
  shape<WorkerRole>({
    type: only("worker"),
    slots: listOf(isSlot),
    configFile: isMaybeText,
    daemon: isTruth,
    seat: isOrdinal,
    generation: isOrdinal,
  }),
);

/** The member of a union that has this `type`. */
type Typed<Union, Type> = Extract<Union, { readonly type: Type }>;

const isOrder: Guard<Order> = anyOf(
  shape<Typed<Order, "listen">>({
    type: only("listen"),
    fds: listOf(isDescriptor),
  }),
  shape<Typed<Order, "drain">>({
    type: only("drain"),
    graceSeconds: isAmount,
    idleSeconds: isAmount,
  }),
  shape<Typed<Order, "reopen">>({ type: only("reopen") }),
);

const isReport: Guard<Report> = anyOf(
  shape<Typed<Report, "loaded">>({ type: only("loaded") }),
  shape<Typed<Report, "leaving">>({ type: only("leaving") }),
  shape<Typed<Report, "reopened">>({
    type: only("reopened"),
    failures: listOf(shape<ReopenFailure>({ path: isText, code: isText })),
  }),
  shape<Typed<Report, "listening">>({
    type: only("listening"),
    fds: listOf(isDescriptor),
  }),
  shape<Beat>({
    type: only("beat"),
    requests: isCount,
    busy: isCount,
    connections: isCount,
    rss: isCount,
  }),
  shape<Typed<Report, "failed">>({
    type: only("failed"),
    message: isText,
    exitCode: wholeBetween(0, 255),
  }),
);

const isNotice: Guard<Notice> = anyOf(
  shape<Typed<Notice, "ready">>({
    type: only("ready"),
    pid: isPid,
    workers: listOf(isPid),
  }),
  shape<Typed<Notice, "failed">>({ type: only("failed"), message: isText }),
  shape<Typed<Notice, "successor">>({ type: only("successor"), pid: isPid }),
  shape<Typed<Notice, "reopened">>({
    type: only("reopened"),
    problems: listOf(isText),
  }),
);

/** The member of `Command` that has this name. */
type Named<Name> = Extract<Command, { readonly command: Name }>;

const isCommand: Guard<Command> = anyOf(
  shape<Named<"status">>({ command: only("status") }),
  shape<Named<"reload">>({ command: only("reload") }),
  shape<Named<"reopen">>({ command: only("reopen") }),
  shape<Named<"scale">>({
    command: only("scale"),
    workers: wholeBetween(1, mostWorkers),
  }),
  shape<Named<"stop">>({ command: only("stop"), quick: isTruth }),
  shape<Named<"restart">>({ command: only("restart") }),
);

const isOutcome = shape<Outcome>({ ok: isTruth, message: isText });

const isStatus = shape<Status>({
  ok: only(true),
  version: isText,
  runtime: isText,
  pid: isPid,
  uptime: isAmount,
  state: isText,
  app: isMaybeText,
  generation: isOrdinal,
  target: isCount,
  addresses: listOf(isText),
  requests: isCount,
  graceSeconds: optional(isAmount),
  workers: listOf(shape<WorkerStatus>({
    pid: isPid,
    seat: isOrdinal,
    generation: isOrdinal,
    state: isText,
    age: isAmount,
    requests: isCount,
    busy: isCount,
    connections: isCount,
    rss: isCount,
    silent: isAmount,
  })),
});
