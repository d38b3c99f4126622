/**
 * Hooks: functions of the user's that are called as processes come and go, and
 * around requests. The configuration file gives them as properties of its
 * default export; those of a worker may be named exports of the application's
 * module as well.
 *
 * @module
 */
import { CommandError } from "./command_error.ts";
import type {
  AccessRecord,
  AccessSink,
  Handler,
  RequestHead,
} from "./exchange.ts";
import type { ModuleExports } from "./host.ts";
import { type Logger, traceOf } from "./logger.ts";
import { type HookName, hookNames } from "./hook_names.ts";
import type { MaybePromise } from "./stream.ts";

/** The process that looks after the workers, for its hooks. Without workers it
 * is the one process that serves. */
export interface ServerInfo {
  /** Its process. */
  readonly pid: number;
  /** 1 at the start, one more with each reload. */
  readonly generation: number;
  /** The server's log. */
  readonly log: Logger;
}

/** A process that serves, for its hooks. */
export interface WorkerInfo {
  /** Its process. */
  readonly pid: number;
  /** Its place among the workers, from 1. */
  readonly seat: number;
  /** 1 at the start, one more with each reload. */
  readonly generation: number;
  /** The server's log. */
  readonly log: Logger;
}

/** What a configuration file may have called. Each may be asynchronous, except
 * `preRequest` and `postRequest`. What a hook throws is logged with its name
 * and its stack, and nothing else comes of it, except where it says so. */
export interface Hooks {
  /** Called by the arbiter before it starts the first worker. What it throws
   * refuses the start. */
  readonly onStarting?: (server: ServerInfo) => MaybePromise<void>;
  /** Called by the arbiter when it was asked to reload, before it starts the
   * new workers; `generation` is theirs. */
  readonly onReload?: (server: ServerInfo) => MaybePromise<void>;
  /** Called by the arbiter when every worker serves for the first time. */
  readonly whenReady?: (server: ServerInfo) => MaybePromise<void>;
  /** Called by a worker before it loads the application. What it throws
   * refuses the start of the worker. */
  readonly workerStart?: (worker: WorkerInfo) => MaybePromise<void>;
  /** Called by a worker when it has begun to accept connections. */
  readonly workerReady?: (worker: WorkerInfo) => MaybePromise<void>;
  /** Called by a worker before it hands a request to the application; not for
   * requests that the gateway refuses itself. Must not wait. */
  readonly preRequest?: (head: RequestHead, worker: WorkerInfo) => void;
  /** Called by a worker when a response is whole or was cut, refused requests
   * included. The record is lent: use it before returning. Must not wait. */
  readonly postRequest?: (record: AccessRecord, worker: WorkerInfo) => void;
  /** Called by a worker after its last request, before it ends by itself; one
   * that is killed has no say. */
  readonly workerExit?: (worker: WorkerInfo) => MaybePromise<void>;
  /** Called by the arbiter when every worker has gone, before it ends. */
  readonly onExit?: (server: ServerInfo) => MaybePromise<void>;
}

/** Those that the application's module may export. */
const applicationHookNames: readonly HookName[] = [
  "workerReady",
  "preRequest",
  "postRequest",
  "workerExit",
];

/** Hooks whose process does not start when they throw. */
const refusing: readonly HookName[] = ["onStarting", "workerStart"];

/** Hooks that a process would end without, rather than never. */
const leaving: readonly HookName[] = ["workerExit", "onExit"];

/** One hook, and where it came from. */
interface Hook {
  readonly call: (...details: never[]) => unknown;
  /** As in "onExit of headgate.config.ts". */
  readonly title: string;
}

/** A configuration file and its hooks, as `ConfigFile` has them. */
export interface ConfigHooks {
  /** The file, for messages. */
  readonly path: string;
  /** What it has called. */
  readonly hooks: Hooks;
}

/** The application's module. */
export interface ApplicationExports {
  /** The file, for messages. */
  readonly path: string;
  /** What it exports, hooks among it. */
  readonly exports: ModuleExports;
}

/** Takes the hooks out of a configuration file and of the application's module.
 * Where both give one, both are called, the configuration file's first. Throws
 * `CommandError` where an export has a hook's name and is no function. */
export function collectHooks(
  config: ConfigHooks | undefined,
  application?: ApplicationExports,
): HookSet {
  const hooks = new Map<HookName, Hook[]>();
  const add = (path: string, name: HookName, value: unknown) => {
    const hook = toHook(path, name, value);
    if (hook !== undefined) hooks.set(name, [...hooks.get(name) ?? [], hook]);
  };
  if (config !== undefined) {
    for (const name of hookNames) add(config.path, name, config.hooks[name]);
  }
  if (application !== undefined) {
    const { path, exports } = application;
    for (const name of applicationHookNames) add(path, name, exports[name]);
  }
  return new HookSet(hooks, misplacedHooks(application));
}

function toHook(
  path: string,
  name: HookName,
  value: unknown,
): Hook | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "function") {
    return { call: value as Hook["call"], title: `${name} of ${path}` };
  }
  throw new CommandError(
    1,
    `${path} exports ${name}, which is the name of a hook, and no function`,
    "Make it a function, or give it another name.",
  );
}

function misplacedHooks(application: ApplicationExports | undefined): string[] {
  if (application === undefined) return [];
  const { path, exports } = application;
  return hookNames
    .filter((name) => !applicationHookNames.includes(name))
    .filter((name) => typeof exports[name] === "function")
    .map((name) =>
      `${path} exports ${name}, which nobody calls there; ` +
      "it belongs to the configuration file"
    );
}

/** How long a process that is to end waits for a hook, in seconds. */
const defaultPatience = 5;

/** The hooks that were found. */
export class HookSet {
  /** What is probably not as it was meant: whole sentences without a full
   * stop, for the log. */
  readonly warnings: readonly string[];
  readonly #hooks: ReadonlyMap<HookName, readonly Hook[]>;

  constructor(
    hooks: ReadonlyMap<HookName, readonly Hook[]>,
    warnings: readonly string[],
  ) {
    this.#hooks = hooks;
    this.warnings = warnings;
  }

  /** Whether there is such a hook. */
  has(name: HookName): boolean {
    return this.#hooks.has(name);
  }

  /** Calls a hook of the arbiter, and waits for it; for `onExit` as long as
   * `patienceSeconds` at most. Never rejects, except for `onStarting`, with
   * `CommandError`. */
  async server(
    name: "onStarting" | "onReload" | "whenReady" | "onExit",
    info: ServerInfo,
    patienceSeconds: number = defaultPatience,
  ): Promise<void> {
    await this.#run(name, info, patienceSeconds);
  }

  /** Calls a hook of a worker, and waits for it; for `workerExit` as long as
   * `patienceSeconds` at most. Never rejects, except for `workerStart`, with
   * `CommandError`. */
  async worker(
    name: "workerStart" | "workerReady" | "workerExit",
    info: WorkerInfo,
    patienceSeconds: number = defaultPatience,
  ): Promise<void> {
    await this.#run(name, info, patienceSeconds);
  }

  /** A handler that calls `preRequest` first: the handler itself where there
   * is no such hook. */
  beforeRequests(handler: Handler, worker: WorkerInfo): Handler {
    const call = this.#caller("preRequest", worker.log);
    if (call === undefined) return handler;
    return (exchange) => {
      call(exchange.head, worker);
      return handler(exchange);
    };
  }

  /** A function for the gateway's `access` that calls `postRequest` after it:
   * the function itself where there is no such hook. */
  afterRequests(
    access: AccessSink | undefined,
    worker: WorkerInfo,
  ): AccessSink | undefined {
    const call = this.#caller("postRequest", worker.log);
    if (call === undefined) return access;
    return (record) => {
      access?.(record);
      call(record, worker);
    };
  }

  async #run(
    name: HookName,
    info: ServerInfo | WorkerInfo,
    patienceSeconds: number,
  ): Promise<void> {
    for (const { call, title } of this.#hooks.get(name) ?? []) {
      try {
        const pending = Promise.resolve(call(info as never));
        if (!leaving.includes(name)) await pending;
        else if (!await settles(pending, patienceSeconds)) {
          info.log.warn(
            `Hook ${title} has not ended after ${patienceSeconds} s; ` +
              "leaving without it",
          );
        }
      } catch (error) {
        if (refusing.includes(name)) throw refusal(title, error);
        info.log.error(`Hook ${title}: ${traceOf(error)}`);
      }
    }
  }

  /** All hooks of a name as one function that does not throw; undefined where
   * there is none. */
  #caller(
    name: HookName,
    log: Logger,
  ): ((...details: unknown[]) => void) | undefined {
    const hooks = this.#hooks.get(name);
    if (hooks === undefined) return undefined;
    return (...details) => {
      for (const { call, title } of hooks) {
        const fail = (error: unknown) =>
          log.error(`Hook ${title}: ${traceOf(error)}`);
        try {
          const result = call(...details as never[]);
          // Nobody waits for it, and yet it is known whose it was.
          if (result instanceof Promise) result.catch(fail);
        } catch (error) {
          fail(error);
        }
      }
    };
  }
}

function refusal(title: string, error: unknown): CommandError {
  return new CommandError(
    1,
    `Hook ${title} threw, which refuses the start`,
    "Correct what threw and start again.",
    traceOf(error),
  );
}

async function settles(
  pending: Promise<unknown>,
  seconds: number,
): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const given = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), seconds * 1000);
  });
  try {
    return await Promise.race([pending.then(() => true), given]);
  } finally {
    clearTimeout(timer);
  }
}
