/** Tells a peer that is slow from one that stands still. Pure: the clock is
 * whoever asks, about once a second. */
import type { Content } from "./body.ts";
import type { Wire } from "./wire.ts";

/** What was seen of one connection when it was last looked at. */
export class StallWatch {
  #writes = -1;
  #sendingSince = 0;
  #content: Content | undefined;
  #waits = 0;
  #receivingSince = 0;

  /** Whether one and the same write has waited for so many seconds. To be asked
   * while one waits. */
  inSending(wire: Wire, seconds: number, now: number): boolean {
    if (wire.writes === this.#writes) {
      return now - this.#sendingSince >= seconds;
    }
    this.#writes = wire.writes;
    this.#sendingSince = now;
    return false;
  }

  /** Whether one and the same read of content has waited for so many seconds.
   * To be asked while one waits. */
  inReceiving(content: Content, seconds: number, now: number): boolean {
    if (content === this.#content && content.waits === this.#waits) {
      return now - this.#receivingSince >= seconds;
    }
    this.#content = content;
    this.#waits = content.waits;
    this.#receivingSince = now;
    return false;
  }
}
