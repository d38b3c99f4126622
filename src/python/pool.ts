/**
 * As many Python processes as there should be: each serves as a backend until
 * it ends or a request hangs in it, and then has another in its place. What
 * waits for a backend meanwhile goes on waiting, and knows nothing of it.
 *
 * @module
 */
import type { BackendHost } from "../backend_host.ts";
import { CommandError } from "../command_error.ts";
import { Backoff } from "../daemon/backoff.ts";
import { BackendError } from "../errors.ts";
import type {
  Backend,
  BackendOptions,
  RunningRequest,
} from "../fastcgi/pool.ts";
import type { LeveledLogger } from "../log.ts";
import { escapeForLog, traceOf } from "../logger.ts";
import {
  describeEnd,
  type PythonCommand,
  PythonProcess,
  responderFile,
} from "./process.ts";

/** What of a pool of backends is asked of it. */
export interface Backends<B extends Pick<Backend, "running">> {
  /** Requests go there from now on. */
  add(options: BackendOptions): B;
  /** No request goes there any more. Resolves when those that run have ended,
   * and its connections are closed. */
  retire(backend: B): Promise<void>;
}

/** What a pool is made from. */
export interface PythonPoolOptions<B extends Pick<Backend, "running">> {
  /** What each process is started with. */
  readonly command: Omit<PythonCommand, "directory">;
  /** The text of the responder. */
  readonly responder: string;
  /** How many processes. */
  readonly processes: number;
  /** How long a request may be without a byte, as long as that is not the
   * client's fault; Infinity for ever. */
  readonly timeoutSeconds: number;
  /** After how long it is told where an import is that has not ended; default
   * 5. */
  readonly noticeSeconds?: number;
  readonly backends: Backends<B>;
  readonly host: BackendHost;
  readonly log: LeveledLogger;
}

/** A process that serves, and where its requests come from. */
interface Place<B> {
  readonly python: PythonProcess;
  readonly backend: B;
  /** In seconds of `performance.now()`. */
  readonly since: number;
  /** Whether it is looked into already. */
  suspected: boolean;
  /** Whether it is to leave, so that its end is no accident. */
  leaving: boolean;
}

/** How often requests are looked at, and oftener where the timeout is short. */
const lookSeconds = 1;
const looksWithinTimeout = 4;

/** No oftener is a process replaced that has served. It may have ended of one
 * client's request, for which the others are not to wait longer and longer. */
const pauseSeconds = 0.5;

/** How long the other requests of a process in which one hangs may take. */
const otherRequestsSeconds = 30;

/** How often they are looked at. */
const leaveLookSeconds = 0.1;

/** How long a process without requests may take to leave. */
const leaveSeconds = 1;

/** Python processes, each in its seat. */
export class PythonPool<B extends Pick<Backend, "running">> {
  readonly #options: PythonPoolOptions<B>;
  readonly #directory: string;
  readonly #places = new Map<number, Place<B>>();
  /** All that run, those that start or leave too. */
  readonly #processes = new Set<PythonProcess>();
  /** What is to be waited for at the end. */
  readonly #errands = new Set<Promise<unknown>>();
  readonly #backoff = new Backoff();
  readonly #sleepers = new Set<() => void>();
  #started = 0;
  #closing = false;
  #looking: ReturnType<typeof setInterval> | undefined;

  private constructor(options: PythonPoolOptions<B>) {
    this.#options = options;
    this.#directory = makePrivate(options.host);
  }

  /** Starts the processes, and resolves when all of them can serve. Rejects with
   * `CommandError` when one cannot; then none is left. */
  static async start<B extends Pick<Backend, "running">>(
    options: PythonPoolOptions<B>,
  ): Promise<PythonPool<B>> {
    const pool = new PythonPool(options);
    try {
      await pool.#startAll();
      return pool;
    } catch (error) {
      await pool.close(0);
      throw error;
    }
  }

  /** Resident memory of all processes, in bytes. */
  residentBytes(): number {
    let sum = 0;
    for (const python of this.#processes) sum += python.residentBytes();
    return sum;
  }

  /** Ends the processes; the requests that they have in hand may take so long.
   * Resolves when nothing is left of them. */
  async close(graceSeconds: number): Promise<void> {
    this.#closing = true;
    clearInterval(this.#looking);
    for (const wake of this.#sleepers) wake();
    for (const place of this.#places.values()) {
      place.leaving = true;
      this.#do(this.#options.backends.retire(place.backend));
    }
    const serving = new Set(
      [...this.#places.values()].map(({ python }) => python),
    );
    await Promise.all(
      [...this.#processes].map((python) =>
        python.leave(serving.has(python) ? graceSeconds : 0)
      ),
    );
    while (this.#errands.size > 0) await Promise.allSettled(this.#errands);
    this.#options.host.removePrivate(this.#directory);
  }

  async #startAll(): Promise<void> {
    const { host, responder, processes, timeoutSeconds } = this.#options;
    host.writeText(`${this.#directory}/${responderFile}`, responder);
    const seats = Array.from({ length: processes }, (_, seat) => seat);
    await Promise.all(seats.map((seat) => this.#await(this.#fill(seat))));
    if (timeoutSeconds === Infinity) return;
    const interval = Math.min(lookSeconds, timeoutSeconds / looksWithinTimeout);
    this.#looking = setInterval(() => this.#look(), interval * 1000);
  }

  /** Starts a process, and has it serve. */
  async #fill(seat: number): Promise<PythonProcess | undefined> {
    const { command, backends, host, log } = this.#options;
    const python = await PythonProcess.start(
      { ...command, directory: this.#directory },
      `python-${++this.#started}`,
      host,
    );
    this.#processes.add(python);
    this.#do(python.ended.then(() => void this.#processes.delete(python)));
    if (this.#closing) python.kill();
    const version = await this.#loaded(python);
    if (this.#closing) return undefined;
    const backend = backends.add({
      name: python.name,
      connections: command.threads,
      connect: () => host.connect({ path: python.socket }),
      honoursAbort: true,
      // Until it has ended the request its thread is taken.
      abortSeconds: Infinity,
      supervised: true,
    });
    const place: Place<B> = {
      python,
      backend,
      since: now(),
      suspected: false,
      leaving: false,
    };
    this.#places.set(seat, place);
    log.debug(`${python.name}: Python ${version} is ready`);
    this.#do(this.#keepTo(seat, place));
    return python;
  }

  /** Waits until a process has loaded the application, and tells the version of
   * its Python. Whoever waits too is told for what. */
  async #loaded(python: PythonProcess): Promise<string> {
    const { command, log, noticeSeconds = 5 } = this.#options;
    const notice = setTimeout(async () => {
      const stacks = await python.stacks();
      log.warn(
        `${python.name} still loads ${command.application}` +
          (stacks === "" ? "" : `, and is here:\n${stacks}`),
      );
    }, noticeSeconds * 1000);
    try {
      return (await python.ready).version;
    } finally {
      clearTimeout(notice);
    }
  }

  /** Waits for a process to end, and has it replaced when it was not to. */
  async #keepTo(seat: number, place: Place<B>): Promise<void> {
    const end = await place.python.ended;
    if (place.leaving) return;
    const { backends, log } = this.#options;
    this.#places.delete(seat);
    log.error(`${place.python.name} ${describeEnd(end)}; it is replaced`);
    this.#do(backends.retire(place.backend));
    await this.#replace(seat, place.since);
  }

  /** Tries until another process serves, later and later where it does not load.
   * The last one has served `since` then. */
  async #replace(seat: number, since: number): Promise<void> {
    const { log } = this.#options;
    this.#backoff.forgive(seat, since);
    this.#backoff.note(seat, now());
    let delay = Math.max(0, since + pauseSeconds - now());
    while (!this.#closing) {
      if (delay > 0) {
        const seconds = Number(delay.toFixed(1));
        log.warn(`The next Python process is started in ${seconds} s`);
        await this.#sleep(delay);
      }
      if (this.#closing) return;
      try {
        const python = await this.#fill(seat);
        if (python !== undefined) log.info(`${python.name} serves`);
        return;
      } catch (error) {
        if (!this.#closing) log.error(explain(error));
        delay = this.#backoff.note(seat, now());
      }
    }
  }

  /** Looks for requests that hang. */
  #look(): void {
    for (const [seat, place] of this.#places) {
      if (place.suspected || this.#hanging(place).length === 0) continue;
      place.suspected = true;
      this.#do(this.#examine(seat, place));
    }
  }

  #hanging({ backend }: Place<B>): RunningRequest[] {
    const latest = performance.now() - this.#options.timeoutSeconds * 1000;
    return backend.running().filter(({ progressAt }) => progressAt < latest);
  }

  /** Asks a process what it does, and replaces it when it does it still. */
  async #examine(seat: number, place: Place<B>): Promise<void> {
    const { backends, log } = this.#options;
    const { python, backend } = place;
    const stacks = await python.stacks();
    const hanging = this.#hanging(place);
    if (hanging.length === 0 || place.leaving || python.hasEnded) {
      place.suspected = false;
      return;
    }
    for (const request of hanging) log.critical(describe(request, python));
    log.critical(
      stacks === ""
        ? `${python.name} does not tell what its threads do`
        : `${python.name}, its threads at work:\n${stacks}`,
    );
    place.leaving = true;
    this.#places.delete(seat);
    this.#do(backends.retire(backend));
    this.#do(this.#replace(seat, place.since));
    for (const request of hanging) {
      request.fail(new BackendError(504, "The application hangs"));
    }
    const until = now() + otherRequestsSeconds;
    const hasOthers = () =>
      backend.running().some((request) => !hanging.includes(request));
    while (hasOthers() && now() < until && !this.#closing) {
      await this.#sleep(leaveLookSeconds);
    }
    const end = await python.leave(this.#closing ? 0 : leaveSeconds);
    log.info(`${python.name} ${describeEnd(end)}`);
  }

  /** Resolves so much later, or as soon as all is to end. */
  #sleep(seconds: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#closing) return resolve();
      const wake = () => {
        clearTimeout(timer);
        this.#sleepers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, seconds * 1000);
      this.#sleepers.add(wake);
    });
  }

  /** Has `close()` wait for it. */
  #await<T>(errand: Promise<T>): Promise<T> {
    const forget = () => void this.#errands.delete(errand);
    this.#errands.add(errand);
    errand.then(forget, forget);
    return errand;
  }

  /** Does what nobody asks about. */
  #do(errand: Promise<void>): void {
    this.#await(errand).catch((error: unknown) =>
      this.#options.log.error(traceOf(error))
    );
  }
}

function makePrivate(host: BackendHost): string {
  try {
    return host.makePrivate();
  } catch (error) {
    throw new CommandError(
      1,
      "No directory can be made among the temporary files",
      "Have TMPDIR name a directory that is there and may be written to.",
      String(error),
    );
  }
}

function now(): number {
  return performance.now() / 1000;
}

function describe(request: RunningRequest, python: PythonProcess): string {
  const at = performance.now();
  const seconds = (since: number) => ((at - since) / 1000).toFixed(1);
  return `${python.name}: ${escapeForLog(request.method)} ` +
    `${escapeForLog(request.target)} hangs: it began ` +
    `${seconds(request.startedAt)} s ago, and nothing has moved for ` +
    `${seconds(request.progressAt)} s; the process is replaced`;
}

function explain(error: unknown): string {
  if (!(error instanceof CommandError)) return traceOf(error);
  const { message, detail } = error;
  return `No other Python process: ${message}` +
    (detail === undefined ? "" : `\n${detail}`);
}
