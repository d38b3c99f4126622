/**
 * One connection to a FastCGI responder: sends a request, reads what comes back,
 * and does so again where both ends keep it. A read is always pending, so that a
 * connection which the responder has closed is not taken for one that is free.
 */
import { BackendError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { ByteStream, MaybePromise } from "../stream.ts";
import {
  abortRecord,
  ENDED,
  ERRORS,
  NOTHING,
  OUTPUT,
  RecordReader,
  type RecordWriter,
  setKeepConnection,
} from "./records.ts";
import type { Run } from "./run.ts";

/** What a connection is lent by its pool. */
export interface ConnectionTerms {
  readonly log: Logger;
  readonly writer: RecordWriter;
  /** Whether the responder is asked to keep the connection. */
  readonly keepAlive: boolean;
  /** Whether a request that is aborted leaves the connection fit for another. */
  readonly honoursAbort: boolean;
  /** The request in hand has ended, and another may come. */
  released(connection: Connection): void;
  /** The connection is closed. `run` is the request that was in hand and has
   * not ended. */
  closed(connection: Connection, run: Run | undefined, error: unknown): void;
}

/** What an aborted request may still send before its connection is closed. */
const MOST_DROPPED = 1_048_576;

/** One connection. */
export class Connection {
  /** The request in hand; it may have settled while the responder has not. */
  run: Run | undefined;
  closed = false;
  /** Whether the responder has ended its direction, or failed. */
  left = false;
  /** How many requests it was given. */
  uses = 0;
  /** When its last request ended, in milliseconds of `performance.now()`. */
  idleSince: number = performance.now();
  /** When its request was aborted; 0 when it was not. */
  abortedAt = 0;

  readonly #stream: ByteStream;
  readonly #terms: ConnectionTerms;
  readonly #reader = new RecordReader();
  /** Whether all the request's content was sent. */
  #contentSent = true;
  #dropped = 0;
  /** Whether the responder has ended the request in hand. */
  #ended = false;

  /** Takes over all reading and writing of `stream`. */
  constructor(stream: ByteStream, terms: ConnectionTerms) {
    this.#stream = stream;
    this.#terms = terms;
  }

  /** Reads until the connection is closed. Never rejects. */
  async receive(): Promise<void> {
    try {
      while (!this.closed) {
        const arrival = this.#stream.read();
        const chunk = arrival instanceof Promise ? await arrival : arrival;
        if (chunk === null) {
          this.left = true;
          return this.close(undefined);
        }
        const pending = this.#take(chunk);
        if (pending instanceof Promise) await pending;
        if (this.#ended) this.#release();
      }
    } catch (error) {
      this.left = true;
      this.close(error);
    }
  }

  // ---- The request ----

  /** Sends a request. False when the connection turns out to be closed before
   * any of it was sent: it then stands in `run.composed` for another. */
  send(run: Run): boolean {
    const { writer, keepAlive } = this.#terms;
    if (run.composed === undefined) run.compose(writer);
    const octets = run.composed ?? writer.octets;
    setKeepConnection(octets, keepAlive);
    let writing: MaybePromise<void>;
    try {
      writing = this.#stream.write(octets);
    } catch (error) {
      run.composed ??= octets.slice();
      this.close(error);
      return false;
    }
    const waiting = writing instanceof Promise;
    if (waiting && run.composed === undefined) writer.detach();
    run.composed = undefined;
    run.connection = this;
    run.startedAt = run.progressAt = performance.now();
    this.run = run;
    this.uses++;
    this.#contentSent = run.contentComposed && !waiting;
    if (!this.#contentSent) void this.#sendRest(run, writing);
    return true;
  }

  async #sendRest(run: Run, writing: MaybePromise<void>): Promise<void> {
    const { writer } = this.#terms;
    try {
      for (;;) {
        if (writing instanceof Promise) await writing;
        if (this.run !== run) return;
        run.progressAt = performance.now();
        if (run.contentComposed) break;
        const piece = await run.nextContent();
        if (piece === undefined || this.run !== run) return;
        // The writer is everybody's: nothing may come between these two.
        run.composeMore(writer, piece);
        writing = this.#stream.write(writer.octets);
        if (writing instanceof Promise) writer.detach();
      }
      this.#contentSent = true;
    } catch (error) {
      this.#lost(run, error);
    }
  }

  /** A write has failed. What the responder said before it closed may still be
   * there to be read: the loop that reads it sees the end. */
  #lost(run: Run, error: unknown): void {
    this.#terms.log.debug(
      `FastCGI: the content of ${run.method} was not taken: ${error}`,
    );
  }

  /** Nobody wants the response any longer. */
  abandon(): void {
    if (this.closed || this.#ended) return;
    this.abortedAt = performance.now();
    try {
      const pending = this.#stream.write(abortRecord());
      if (pending instanceof Promise) pending.catch(() => {});
    } catch {
      return this.close(undefined);
    }
    if (!this.#terms.honoursAbort) this.close(undefined);
  }

  // ---- The response ----

  /** Takes what has arrived. Returns a promise when the next read must wait. */
  #take(chunk: Uint8Array): MaybePromise<void> {
    const reader = this.#reader;
    const { run } = this;
    let lent: MaybePromise<void> = undefined;
    reader.feed(chunk);
    for (;;) {
      const found = reader.next();
      if (found === NOTHING) break;
      if (run === undefined || this.#ended) {
        throw new BackendError(502, "The FastCGI responder speaks unasked");
      }
      if (found === OUTPUT) {
        if (run.settled) this.#drop(reader.end - reader.start);
        else lent = run.output(reader) ?? lent;
      } else if (found === ERRORS) {
        run.errors(reader);
      } else if (found === ENDED) {
        this.#ended = true;
        run.end(reader.protocolStatus, reader.appStatus);
      } else {
        this.#terms.log.debug("FastCGI: the responder lacks a record type");
      }
    }
    if (run === undefined) return;
    run.progressAt = performance.now();
    return this.#ended ? lent : lent ?? run.flush();
  }

  #drop(size: number): void {
    this.#dropped += size;
    if (this.#dropped > MOST_DROPPED) {
      throw new BackendError(502, "The FastCGI responder does not end");
    }
  }

  #release(): void {
    const aborted = this.abortedAt !== 0;
    const fit = this.#terms.keepAlive &&
      (aborted ? this.#terms.honoursAbort : this.#contentSent);
    if (this.run !== undefined) this.run.connection = undefined;
    this.run = undefined;
    this.#ended = false;
    this.#dropped = this.abortedAt = 0;
    this.idleSince = performance.now();
    if (fit) this.#terms.released(this);
    else this.close(undefined);
  }

  /** Closes it. Idempotent. */
  close(error: unknown): void {
    if (this.closed) return;
    this.closed = true;
    const { run } = this;
    this.run = undefined;
    if (run !== undefined) run.connection = undefined;
    this.#stream.close();
    // One that has ended lost nothing; its client may still be taking it.
    this.#terms.closed(this, this.#ended ? undefined : run, error);
  }
}
