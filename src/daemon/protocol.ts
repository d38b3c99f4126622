/**
 * What launcher, arbiter and workers say to each other, and what the control
 * socket is asked: types, and readers that take nothing else. A message is a
 * JSON object with a `type`, or for the control socket a `command`.
 */
import type { Address } from "../stream.ts";

/** A listening socket as every process below the launcher has it. */
export interface Slot {
  /** Its descriptor: the same in the arbiter and in each worker. */
  readonly fd: number;
  /** Where it listens. */
  readonly address: Address;
}

/** The variable that makes this program an arbiter or a worker: a `Role` as
 * JSON. It is taken out of the environment as soon as it was read. */
export const roleVariable = "HEADGATE_PROCESS";

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
  /** Accept on these descriptors, and on no others. */
  | { readonly type: "listen"; readonly fds: readonly number[] }
  /** Accept no more, end what runs, leave. */
  | { readonly type: "drain"; readonly graceSeconds: number }
  /** Close and open the log files. */
  | { readonly type: "reopen" };

/** Worker to arbiter. */
export type Report =
  /** The application is loaded; waits for `listen`. */
  | { readonly type: "loaded" }
  /** Accepts on these. */
  | { readonly type: "listening"; readonly fds: readonly number[] }
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

/** Arbiter to launcher. */
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
  | { readonly type: "successor"; readonly pid: number };

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
 * new workers serve; restart: the new arbiter is ready), or has failed. */
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
