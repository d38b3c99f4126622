/**
 * Files that an application behind us has sent in its place: it answers with
 * `X-Sendfile`, a path of this machine, or with `X-Accel-Redirect`, a path below
 * the directories that it may send from, as it would stand in a URL. It is then
 * free for others however slow the client is, and its files have ranges and
 * conditions.
 *
 * What else it says goes to the client: the type, the name to save as, cookies.
 * Length and validators are the file's own.
 */
import type {
  Exchange,
  Handler,
  RequestHead,
  ResponseFields,
  ResponseWriter,
} from "../exchange.ts";
import type { FileSource } from "../file_source.ts";
import type { CgiResponseHead } from "../http/cgi_response.ts";
import { percentEncoded, utf8Octets } from "../http/path_octets.ts";
import { escapeForLog, type Logger } from "../logger.ts";
import type { MaybePromise } from "../stream.ts";
import { answer } from "./answers.ts";
import { FieldList } from "./field_list.ts";
import { isWithin } from "./file_path.ts";
import { files } from "./files.ts";

/** Which files an application may have sent. */
export interface SendFileOptions {
  /** The absolute paths of the directories that they must be in. */
  readonly roots: readonly string[];
  /** Where they are read. */
  readonly files: FileSource;
}

/** Sends the files that an application asks for. */
export class FileSender {
  readonly #roots: readonly string[];
  readonly #files: FileSource;
  readonly #log: Logger;
  /** The files of each root, by their paths below it. */
  readonly #handlers: readonly Handler[];
  /** The file of the first root that has it. */
  readonly #anyRoot: Handler;

  constructor({ roots, files: source }: SendFileOptions, log: Logger) {
    this.#roots = roots;
    this.#files = source;
    this.#log = log;
    const options = { source, log, index: null, precompressed: false };
    const missing: Handler = ({ response }) => answer(response, 404);
    this.#handlers = roots.map((root) => files(root, options));
    this.#anyRoot = roots.reduceRight(
      (otherwise, root) => files(root, { ...options, otherwise }),
      missing,
    );
  }

  /** Whether a response has a file sent. */
  isAskedBy(asked: CgiResponseHead): boolean {
    return this.#roots.length > 0 && requestOf(asked.fields) !== undefined;
  }

  /** Answers with the file that a response asks for; 404 where there is none
   * that it may have sent. */
  async send(exchange: Exchange, asked: CgiResponseHead): Promise<void> {
    const [name, value] = requestOf(asked.fields)!;
    if (name.toLowerCase() === "x-accel-redirect") {
      const path = value.replace(/\?.*$/, "");
      return await this.#anyRoot(new FileExchange(exchange, asked, path));
    }
    for (const [index, root] of this.#roots.entries()) {
      const path = await this.#pathBelow(root, value);
      if (path === undefined) continue;
      const forFile = new FileExchange(exchange, asked, path);
      return await this.#handlers[index]!(forFile);
    }
    this.#log.error(
      `${exchange.head.method} ${escapeForLog(exchange.head.target)}: ` +
        `${name} is outside of what may be sent: "${escapeForLog(value)}"`,
    );
    await answer(exchange.response, 404);
  }

  /** A path of this machine as one below a root, which may be a link. */
  async #pathBelow(root: string, path: string): Promise<string | undefined> {
    for (const spelled of [root, await this.#files.resolve(root)]) {
      if (spelled === undefined) continue;
      const directory = utf8Octets(spelled).replace(/\/+$/, "");
      if (isWithin(directory, path)) {
        return percentEncoded(path.slice(directory.length));
      }
    }
    return undefined;
  }
}

function requestOf(fields: ResponseFields): ResponseFields[number] | undefined {
  for (let i = 0; i < fields.length; i++) {
    if (/^x-(sendfile|accel-redirect)$/i.test(fields[i]![0])) return fields[i];
  }
  return undefined;
}

/** A request for the file, whose response carries what the application said. */
class FileExchange implements Exchange {
  readonly head: RequestHead;
  readonly body: Exchange["body"];
  readonly response: ResponseWriter;
  readonly remote: Exchange["remote"];
  readonly local: Exchange["local"];
  readonly scheme: "http" | "https";
  readonly #exchange: Exchange;

  constructor(exchange: Exchange, asked: CgiResponseHead, path: string) {
    this.#exchange = exchange;
    const { head } = exchange;
    const conditional = asked.status === 200 &&
      (head.method === "GET" || head.method === "HEAD");
    this.head = {
      method: head.method === "HEAD" ? "HEAD" : "GET",
      target: head.target,
      targetForm: head.targetForm,
      path,
      query: "",
      authority: head.authority,
      version: head.version,
      fields: conditional ? head.fields : noFields,
      framing: head.framing,
      contentLength: head.contentLength,
      keepAlive: head.keepAlive,
      expectContinue: head.expectContinue,
    };
    this.body = exchange.body;
    this.response = new CarryingWriter(exchange.response, asked);
    this.remote = exchange.remote;
    this.local = exchange.local;
    this.scheme = exchange.scheme;
  }

  get signal(): AbortSignal {
    return this.#exchange.signal;
  }
}

const noFields = new FieldList([]);

/** What the file says itself, and what is said to us alone. */
const withheld =
  /^(accept-ranges|content-(encoding|length|range)|etag|last-modified|x-sendfile|x-accel-.*)$/i;

/** Starts the response with what the application said beside what the file
 * says. */
class CarryingWriter implements ResponseWriter {
  readonly #response: ResponseWriter;
  readonly #asked: CgiResponseHead;

  constructor(response: ResponseWriter, asked: CgiResponseHead) {
    this.#response = response;
    this.#asked = asked;
  }

  start(
    status: number,
    reason: string,
    fields: ResponseFields,
    size?: number,
  ): void {
    const { status: said, reason: saidReason } = this.#asked;
    if (status >= 400) {
      return this.#response.start(status, reason, fields, size);
    }
    const carried = this.#asked.fields.filter(([name]) => !withheld.test(name));
    const names = new Set(carried.map(([name]) => name.toLowerCase()));
    const own = fields.filter(([name]) => !names.has(name.toLowerCase()));
    const whole = status === 200;
    this.#response.start(
      whole ? said : status,
      whole ? saidReason : reason,
      // A 304 says nothing of a content that it has not.
      status === 304
        ? [...own, ...carried.filter(([name]) => !/^content-/i.test(name))]
        : [...own, ...carried],
      size,
    );
  }

  informational(status: number, fields: ResponseFields): MaybePromise<void> {
    return this.#response.informational(status, fields);
  }

  write(content: Uint8Array): MaybePromise<void> {
    return this.#response.write(content);
  }

  flush(): MaybePromise<void> {
    return this.#response.flush();
  }

  end(): MaybePromise<void> {
    return this.#response.end();
  }

  get started(): boolean {
    return this.#response.started;
  }

  get committed(): boolean {
    return this.#response.committed;
  }
}
