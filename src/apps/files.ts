/**
 * Files of a directory over an exchange: with validators and conditions (RFC
 * 9110 §13), ranges (§14), and the encoded forms that lie beside them.
 *
 * What could name something outside of the directory is refused by its spelling
 * (`file_path.ts`) before the file system is asked, and symbolic links that lead
 * out by the path that the file system makes of them.
 *
 * @module
 */
import { ApplicationError } from "../errors.ts";
import type {
  Exchange,
  Handler,
  ResponseFields,
  ResponseWriter,
} from "../exchange.ts";
import type { FileSource, OpenFile } from "../file_source.ts";
import { escapeForLog, type Logger } from "../logger.ts";
import type { MaybePromise } from "../stream.ts";
import { acceptedCodings } from "./accept_encoding.ts";
import { answer, redirectBelow, refusalOf } from "./answers.ts";
import { readRange } from "./byte_range.ts";
import { hasPrefix, isWithin, pathPrefix, readFilePath } from "./file_path.ts";
import { type MediaType, mediaTypeOf } from "./media_types.ts";
import {
  judge,
  mayTakeRange,
  type Validators,
  validatorsOf,
} from "./preconditions.ts";

/** How the files of a directory are served. */
export interface FilesOptions {
  /** Where they are read. */
  readonly source: FileSource;
  /** What their paths begin with in a URL, as it stands there: "/assets";
   * default "/". */
  readonly prefix?: string;
  /** The file that stands for its directory, or null for none; default
   * "index.html". */
  readonly index?: string | null;
  /** The Cache-Control of every file; default none. */
  readonly cacheControl?: string;
  /** Whether a file is sent as the .br, .zst or .gz beside it where the peer
   * takes that and it is not older; default true. */
  readonly precompressed?: boolean;
  /** Whether symbolic links may lead out of the directory; default false. */
  readonly outwardLinks?: boolean;
  /** Who answers what is no file here, other methods than GET and HEAD
   * included; default 404 and 405. */
  readonly otherwise?: Handler;
  /** Where it is told that too many files are open; default `console`. */
  readonly log?: Logger;
}

/** A directory, and what the paths of its files begin with in a URL. */
export interface Mount {
  /** "/assets", or "/". */
  readonly prefix: string;
  /** Its path. */
  readonly directory: string;
}

/** Makes a handler of the files of a directory. */
export function files(directory: string, options: FilesOptions): Handler {
  const served = new Files(directory, options);
  return (exchange) => served.handle(exchange);
}

/** Makes a handler that serves directories, the longest prefix first, and asks
 * `application` for the rest. A directory answers for everything below its
 * prefix, missing files included; but the application has what is no file below
 * "/", as nothing would be left to it. */
export function filesBefore(
  mounts: readonly Mount[],
  application: Handler,
  options: Omit<FilesOptions, "prefix" | "otherwise">,
): Handler {
  const served = mounts.map(({ prefix, directory }) => {
    const base = pathPrefix(prefix);
    const own = { ...options, prefix };
    const whole = base === "" ? { ...own, otherwise: application } : own;
    return { base, handle: files(directory, whole) };
  }).sort((a, b) => b.base.length - a.base.length);
  return (exchange) => {
    const { path } = exchange.head;
    for (const { base, handle } of served) {
      if (hasPrefix(base, path)) return handle(exchange);
    }
    return application(exchange);
  };
}

/** The codings that files may lie in, the best first, and how their names end. */
const suffixes = { br: ".br", zstd: ".zst", gzip: ".gz" } as const;

type Coding = keyof typeof suffixes;

const codings = Object.keys(suffixes) as Coding[];

/** What is sent: a file, and what is said of it. */
interface Representation {
  readonly file: OpenFile;
  readonly type: MediaType;
  /** "" where it is sent as it is. */
  readonly coding: Coding | "";
}

const blockSize = 65_536;

const allow: ResponseFields[number] = ["Allow", "GET, HEAD, OPTIONS"];

class Files {
  readonly #directory: string;
  readonly #base: string;
  readonly #source: FileSource;
  readonly #index: string | null;
  readonly #cacheControl: ResponseFields;
  readonly #precompressed: boolean;
  readonly #outwardLinks: boolean;
  readonly #otherwise: Handler | undefined;
  readonly #log: Logger;
  /** The directory without symbolic links, as it was when it was asked last. */
  #root: string | undefined;

  constructor(directory: string, options: FilesOptions) {
    const { prefix = "/", index = "index.html", cacheControl } = options;
    this.#directory = directory;
    this.#base = pathPrefix(prefix);
    this.#source = options.source;
    this.#index = index;
    this.#cacheControl = cacheControl === undefined
      ? []
      : [["Cache-Control", cacheControl]];
    this.#precompressed = options.precompressed ?? true;
    this.#outwardLinks = options.outwardLinks ?? false;
    this.#otherwise = options.otherwise;
    this.#log = options.log ?? console;
  }

  handle(exchange: Exchange): MaybePromise<void> {
    const { method } = exchange.head;
    if (method === "GET" || method === "HEAD") return this.#serve(exchange);
    if (this.#otherwise !== undefined) return this.#otherwise(exchange);
    if (method !== "OPTIONS") return answer(exchange.response, 405, [allow]);
    exchange.response.start(204, "", [allow]);
    return exchange.response.end();
  }

  async #serve(exchange: Exchange): Promise<void> {
    let found: Representation | "below" | undefined;
    try {
      found = await this.#find(exchange);
    } catch (error) {
      return await this.#refuse(exchange, error);
    }
    if (found === undefined) return await this.#miss(exchange);
    if (found === "below") return await redirectBelow(exchange);
    try {
      await this.#send(exchange, found);
    } finally {
      await found.file.close();
    }
  }

  #miss(exchange: Exchange): MaybePromise<void> {
    return this.#otherwise === undefined
      ? answer(exchange.response, 404)
      : this.#otherwise(exchange);
  }

  #refuse(exchange: Exchange, error: unknown): MaybePromise<void> {
    const status = refusalOf(error);
    if (status === undefined) throw error;
    if (status !== 503) return answer(exchange.response, status);
    const { code } = error as { code: string };
    this.#log.warn(
      `Too many open files for ${escapeForLog(exchange.head.path)} (${code})`,
    );
    return answer(exchange.response, status, [["Retry-After", "1"]]);
  }

  // ---- Finding ----

  /** What the path names; "below" where its directory has an index, which a
   * slash at the end would name; undefined when there is nothing. */
  async #find(
    { head }: Exchange,
  ): Promise<Representation | "below" | undefined> {
    if (!hasPrefix(this.#base, head.path)) return undefined;
    const wanted = readFilePath(head.path.slice(this.#base.length));
    if (wanted === undefined) return undefined;
    const path = [this.#directory, ...wanted.steps].join("/");
    const found = await this.#open(path);
    if (found === undefined) return undefined;
    if (found.kind === "file" && !wanted.directory) {
      return await this.#represent(head.fields.get("accept-encoding"), {
        path,
        file: found,
      });
    }
    await found.close();
    if (found.kind !== "directory" || this.#index === null) return undefined;
    const index = `${path}/${this.#index}`;
    const file = await this.#openFile(index);
    if (file === undefined) return undefined;
    if (wanted.directory) {
      return await this.#represent(head.fields.get("accept-encoding"), {
        path: index,
        file,
      });
    }
    await file.close();
    return "below";
  }

  /** Chooses the form in which a file is sent. Closes what is not sent. */
  async #represent(
    accepted: string | undefined,
    { path, file }: { readonly path: string; readonly file: OpenFile },
  ): Promise<Representation> {
    const type = mediaTypeOf(path);
    if (!this.#varies(type)) return { file, type, coding: "" };
    try {
      for (const coding of acceptedCodings(accepted, codings)) {
        const encoded = await this.#openFile(path + suffixes[coding]);
        if (encoded === undefined) continue;
        // Whoever changed the file may have forgotten those beside it.
        if (seconds(encoded) >= seconds(file)) {
          await file.close();
          return { file: encoded, type, coding };
        }
        await encoded.close();
      }
      return { file, type, coding: "" };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  #varies(type: MediaType): boolean {
    return this.#precompressed && type.compressible;
  }

  async #openFile(path: string): Promise<OpenFile | undefined> {
    const found = await this.#open(path);
    if (found?.kind === "file") return found;
    await found?.close();
    return undefined;
  }

  async #open(path: string): Promise<OpenFile | undefined> {
    if (this.#outwardLinks) return await this.#source.open(path);
    const real = await this.#source.resolve(path);
    if (real === undefined || !await this.#holds(real)) return undefined;
    return await this.#source.open(real);
  }

  /** Whether a path without symbolic links is in the directory, which may be
   * such a link itself, and lead to another place after a while. */
  async #holds(real: string): Promise<boolean> {
    if (this.#root !== undefined && isWithin(this.#root, real)) return true;
    this.#root = await this.#source.resolve(this.#directory);
    return this.#root !== undefined && isWithin(this.#root, real);
  }

  // ---- Sending ----

  async #send(
    { head, response }: Exchange,
    { file, type, coding }: Representation,
  ): Promise<void> {
    const validators = validatorsOf(file, coding, Date.now());
    const cached: ResponseFields = [
      ["ETag", validators.etag],
      ...this.#cacheControl,
      ...(this.#varies(type) ? [["Vary", "Accept-Encoding"] as const] : []),
    ];
    switch (judge(head.fields, validators)) {
      case "failed":
        return await answer(response, 412);
      case "not modified":
        response.start(304, "", cached);
        return await response.end();
    }
    const { size } = file;
    const range = mayTakeRange(head, validators)
      ? readRange(head.fields.get("range"), size)
      : "whole";
    if (range === "unsatisfiable") {
      return await answer(response, 416, [[
        "Content-Range",
        `bytes */${size}`,
      ]]);
    }
    const part = range === "whole" ? { start: 0, length: size } : range;
    const fields: ResponseFields = [
      ["Content-Type", type.contentType],
      ...(coding === "" ? [] : [["Content-Encoding", coding] as const]),
      ["Last-Modified", lastModified(validators)],
      ["Accept-Ranges", "bytes"],
      ...cached,
    ];
    if (range === "whole") response.start(200, "", fields, size);
    else {
      const last = part.start + part.length - 1;
      const where = `bytes ${part.start}-${last}/${size}`;
      response.start(
        206,
        "",
        [...fields, ["Content-Range", where]],
        part.length,
      );
    }
    if (head.method === "GET") await sendPart(response, file, part);
    await response.end();
  }
}

function seconds({ modifiedMs }: OpenFile): number {
  return Math.floor(modifiedMs / 1000);
}

function lastModified({ modifiedMs }: Validators): string {
  return new Date(modifiedMs).toUTCString();
}

/** Sends a part of a file, a block at a time, each when the peer has room for
 * it. Rejects with `ApplicationError` when the file has become shorter. */
async function sendPart(
  response: ResponseWriter,
  file: OpenFile,
  { start, length }: { readonly start: number; readonly length: number },
): Promise<void> {
  const buffer = new Uint8Array(Math.min(blockSize, length));
  let sent = 0;
  while (sent < length) {
    const block = buffer.subarray(0, Math.min(blockSize, length - sent));
    const count = await file.read(block, start + sent);
    if (count === 0) {
      throw new ApplicationError(
        `A file has become shorter while it was sent: ${length - sent} of ` +
          `${length} bytes are missing`,
      );
    }
    const pending = response.write(block.subarray(0, count));
    if (pending !== undefined) await pending;
    sent += count;
  }
}
