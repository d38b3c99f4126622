/**
 * What the connections of a gateway share, as types: what to serve with, the
 * clock, and whether the gateway is shutting down. This module holds no code.
 */
import type { AccessSink, Handler } from "./exchange.ts";
import type { Limits } from "./limits.ts";
import type { Logger } from "./logger.ts";

/** What the connections of a gateway share. */
export interface Gate {
  readonly handler: Handler;
  readonly limits: Limits;
  readonly log: Logger;
  readonly access: AccessSink | undefined;
  /** Seconds on a steady clock, coarse: as of the last tick. */
  readonly now: number;
  /** How far `now` may lag behind, in seconds. */
  readonly lag: number;
  /** True once the gateway has been told to shut down. */
  readonly draining: boolean;
  /** Told of each request that the handler is at work on. */
  readonly watch: RequestWatch | undefined;
}

/** Keeps an account of the requests that a handler is at work on. */
export interface RequestWatch {
  /** The handler is about to be called for the head in `octets[start..end)`,
   * which are lent for the call. Returns what `end()` is to be called with. */
  begin(octets: Uint8Array, start: number, end: number): number;
  /** The handler has settled. To be called once. */
  end(row: number): void;
}
