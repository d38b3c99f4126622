/** From what the application answers to the bytes of a response. */
import {
  ApplicationError,
  type Logger,
  type ResponseHeaders,
  type StartResponse,
  type Wire,
  type Write,
} from "../../../mod.ts";

/** What startResponse and write share. The head waits for the first block,
 * because until then the application may change its mind. */
export class Reply {
  /** Whether it is too late for another answer. */
  headSent = false;
  readonly #wire: Wire;
  readonly #method: string;
  readonly #log: Logger;
  #head: string | undefined;
  #hasContent = true;

  /** The reply to a request of this method. */
  constructor(wire: Wire, method: string, log: Logger) {
    this.#wire = wire;
    this.#method = method;
    this.#log = log;
  }

  /** Keeps the head. A second one is for errors that came up on the way. */
  readonly startResponse: StartResponse = (status, headers, excInfo) => {
    if (this.#head !== undefined && excInfo === undefined) {
      throw new ApplicationError("startResponse was called twice");
    }
    if (this.headSent) throw excInfo;
    this.#head = formatHead(status, headers);
    this.#hasContent = this.#method !== "HEAD" && !/^(204|304)/.test(status);
    return this.write;
  };

  /** Sends a block, and the head before the first. */
  readonly write: Write = async (block) => {
    await this.sendHead();
    if (this.#hasContent) await this.#wire.put(block);
    await this.#wire.drained();
  };

  /** Sends the head, unless that is done. */
  async sendHead(): Promise<void> {
    if (this.headSent) return;
    if (this.#head === undefined) {
      throw new ApplicationError("startResponse was not called");
    }
    this.headSent = true;
    for (const line of this.#head.trimEnd().split("\r\n")) {
      this.#log.debug(`> ${line}`);
    }
    this.#wire.putText(this.#head);
    await this.#wire.drained();
  }
}

/** Status line, fields, empty line. The content ends where the connection
 * ends, so its length need not be known. */
export function formatHead(status: string, headers: ResponseHeaders): string {
  const lines = [
    `HTTP/1.1 ${status}`,
    `Date: ${new Date().toUTCString()}`,
    "Connection: close",
    ...headers.map(([name, value]) => `${name}: ${value}`),
  ];
  // After a line break in a value, a stranger could write the next field.
  if (lines.some((line) => !/^[\t\x20-\x7e\x80-\xff]*$/.test(line))) {
    throw new ApplicationError("A control character in the status or a header");
  }
  return `${lines.join("\r\n")}\r\n\r\n`;
}
