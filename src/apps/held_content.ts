/**
 * Request content that is read ahead, before the application that wants it is
 * asked: so that its length is known, which CGI has no way around (RFC 3875
 * §4.1.2), and so that a slow upload costs a client's time and not that of a
 * thread or a process behind us.
 *
 * Up to 64 KiB are held in memory, and all that is beyond goes to a file without
 * a name. How much may come at all is the gateway's to bound.
 */
import type { BackendHost, SpoolFile } from "../backend_host.ts";
import { errorCode } from "../command_error.ts";
import { BackendError } from "../errors.ts";
import type { Exchange, Fields, RequestBody } from "../exchange.ts";
import type { MaybePromise } from "../stream.ts";

/** Which content is read ahead: none; what is chunked, or no longer than 64 KiB;
 * all of it. */
export type HoldMode = "off" | "chunked" | "all";

/** How request content is read ahead. */
export interface HoldOptions {
  /** Which; default "chunked". */
  readonly spool?: HoldMode;
  /** Where what is too much for memory goes. */
  readonly host: Pick<BackendHost, "openSpool">;
}

/** The content of a request, read ahead or not. Whoever asked for it closes it,
 * whatever happens. */
export interface HeldContent extends RequestBody {
  /** How many bytes it has; undefined only for chunked content that was not read
   * ahead. */
  readonly length: number | undefined;
  /** Whether all of it is here, so that no read waits for the client. */
  readonly whole: boolean;
  /** Lets go of its file. Idempotent. */
  close(): void;
}

/** The most that is held in memory, and how much is read from a file at once. */
const blockSize = 65_536;

/** Reads the content of a request ahead, as far as that is asked for. Resolves
 * when it is here; rejects as `RequestBody.read()` does, with `BackendError` where
 * there is no room for it, and else with the error of the file system. */
export function holdContent(
  { head, body }: Pick<Exchange, "head" | "body">,
  { spool = "chunked", host }: HoldOptions,
): MaybePromise<HeldContent> {
  const chunked = head.framing === "chunked";
  const length = chunked ? undefined : head.contentLength;
  const holds = length === 0
    ? false
    : length === undefined || length > blockSize
    ? spool === "all" || (spool === "chunked" && chunked)
    : spool !== "off";
  if (!holds) return new PassedContent(body, length);
  const first = body.read();
  if (first instanceof Promise) return collect(body, first, length, host);
  // Most content has come with its head, and is lent as it lies there.
  if (first !== null && first.length === length) {
    return new MemoryContent(first, body);
  }
  return collect(body, first, length, host);
}

/** Content that is read from the client as the application asks for it. */
class PassedContent implements HeldContent {
  readonly length: number | undefined;
  readonly whole: boolean;
  readonly #body: RequestBody;

  constructor(body: RequestBody, length: number | undefined) {
    this.#body = body;
    this.length = length;
    this.whole = length === 0;
  }

  get trailers(): Fields | undefined {
    return this.#body.trailers;
  }

  read(): MaybePromise<Uint8Array | null> {
    return this.#body.read();
  }

  close(): void {}
}

class MemoryContent implements HeldContent {
  readonly length: number;
  readonly whole: boolean = true;
  readonly trailers: Fields | undefined;
  #content: Uint8Array | null;

  constructor(content: Uint8Array, { trailers }: RequestBody) {
    this.#content = content.length === 0 ? null : content;
    this.length = content.length;
    this.trailers = trailers;
  }

  read(): Uint8Array | null {
    const content = this.#content;
    this.#content = null;
    return content;
  }

  close(): void {
    this.#content = null;
  }
}

class FileContent implements HeldContent {
  readonly length: number;
  readonly whole: boolean = true;
  readonly trailers: Fields | undefined;
  readonly #file: SpoolFile;
  readonly #buffer: Uint8Array;
  #position = 0;

  /** `buffer` is what is lent from now on. */
  constructor(
    file: SpoolFile,
    length: number,
    buffer: Uint8Array,
    { trailers }: RequestBody,
  ) {
    this.#file = file;
    this.length = length;
    this.#buffer = buffer;
    this.trailers = trailers;
  }

  async read(): Promise<Uint8Array | null> {
    const rest = this.length - this.#position;
    if (rest === 0) return null;
    const wanted = this.#buffer.subarray(0, Math.min(rest, blockSize));
    const count = await this.#file.read(wanted, this.#position);
    if (count === 0) throw new Error("A spool file has become shorter");
    this.#position += count;
    return wanted.subarray(0, count);
  }

  close(): void {
    this.#file.close();
  }
}

// ---- Reading ahead ----

async function collect(
  body: RequestBody,
  first: MaybePromise<Uint8Array | null>,
  length: number | undefined,
  host: HoldOptions["host"],
): Promise<HeldContent> {
  const collector = new Collector(host, length);
  try {
    let piece = first instanceof Promise ? await first : first;
    while (piece !== null) {
      const pending = collector.take(piece);
      if (pending !== undefined) await pending;
      const next = body.read();
      piece = next instanceof Promise ? await next : next;
    }
    return await collector.finish(body);
  } catch (error) {
    collector.discard();
    throw error;
  }
}

/** One block of memory, which goes to a file whenever it is full: a client that
 * sends single bytes costs neither an object nor a write for each. */
class Collector {
  readonly #host: HoldOptions["host"];
  #block: Uint8Array;
  #filled = 0;
  #file: SpoolFile | undefined;
  #spooled = 0;

  constructor(host: HoldOptions["host"], length: number | undefined) {
    this.#host = host;
    this.#block = new Uint8Array(Math.min(length ?? 4096, blockSize));
  }

  take(piece: Uint8Array): MaybePromise<void> {
    if (this.#filled + piece.length > blockSize) return this.#spill(piece);
    this.#reserve(this.#filled + piece.length);
    this.#block.set(piece, this.#filled);
    this.#filled += piece.length;
  }

  #reserve(size: number): void {
    if (this.#block.length >= size) return;
    const larger = new Uint8Array(
      Math.min(Math.max(size, 4 * this.#block.length), blockSize),
    );
    larger.set(this.#block.subarray(0, this.#filled));
    this.#block = larger;
  }

  async #spill(piece: Uint8Array): Promise<void> {
    await this.#append(this.#block.subarray(0, this.#filled));
    this.#filled = 0;
    if (piece.length > blockSize) await this.#append(piece);
    else await this.take(piece);
  }

  async #append(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return;
    try {
      this.#file ??= await this.#host.openSpool();
      await this.#file.append(bytes);
    } catch (cause) {
      throw lackOfRoom(cause) ?? cause;
    }
    this.#spooled += bytes.length;
  }

  /** What has been collected. Nothing can be taken any more. */
  async finish(body: RequestBody): Promise<HeldContent> {
    const rest = this.#block.subarray(0, this.#filled);
    if (this.#file === undefined) return new MemoryContent(rest, body);
    await this.#append(rest);
    this.#reserve(blockSize);
    return new FileContent(this.#file, this.#spooled, this.#block, body);
  }

  discard(): void {
    this.#file?.close();
  }
}

/** What a server may be short of without a fault of anybody's. Everything else
 * that fails is a mistake of the machine's, and surfaces as it is. */
const shortages: Readonly<Record<string, 503 | 507>> = {
  ENOSPC: 507,
  EDQUOT: 507,
  EFBIG: 507,
  EMFILE: 503,
  ENFILE: 503,
};

function lackOfRoom(cause: unknown): BackendError | undefined {
  const status = shortages[errorCode(cause)];
  if (status === undefined) return undefined;
  const message = status === 507
    ? "No room for request content among the temporary files"
    : "No file can be opened for request content";
  return new BackendError(status, message, undefined, { cause });
}
