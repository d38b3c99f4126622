/**
 * Reads the heads of one connection. A client mostly sends the fields of its
 * last request once more: they are compared octet by octet, which costs a tenth
 * of reading them, and what was read then is given again. Where one octet
 * differs, they are read like any others.
 * Pure: nothing here reads or writes.
 */
import type { Limits } from "../limits.ts";
import type { FieldSection } from "./fields.ts";
import { type ParsedHead, parseRequestHead, type Recall } from "./head.ts";

/** Fields of one length that differ again and again (a number for each request)
 * are compared in vain: after each time, fewer are. At most so many are passed
 * over, as a power of two. */
const MOST_DOUBT = 8;

/** Reads head after head. */
export class HeadReader implements Recall {
  #last: ParsedHead | undefined;
  /** How often in a row fields were compared in vain. */
  #doubt = 0;
  /** How many are not to be compared. */
  #passOver = 0;

  /** As `parseRequestHead()`, under the same limits each time. A head may be the
   * very object that an earlier call returned. */
  read(
    buffer: Uint8Array,
    start: number,
    end: number,
    limits: Limits,
  ): ParsedHead | undefined {
    const last = this.#last;
    if (
      last !== undefined && last.lineStandsAt(buffer, start) &&
      this.recall(buffer, start + last.lineSize, end) !== undefined
    ) return last;
    const head = parseRequestHead(buffer, start, end, limits, this);
    if (head !== undefined) this.#last = head;
    return head;
  }

  recall(
    buffer: Uint8Array,
    at: number,
    end: number,
  ): FieldSection | undefined {
    const fields = this.#last?.fields;
    if (fields === undefined || !fields.mayStandAt(buffer, at, end)) {
      return undefined;
    }
    if (this.#passOver > 0) {
      this.#passOver--;
      return undefined;
    }
    if (fields.standsAt(buffer, at)) {
      this.#doubt = 0;
      return fields;
    }
    if (this.#doubt < MOST_DOUBT) this.#doubt++;
    this.#passOver = 2 ** this.#doubt;
    return undefined;
  }
}
