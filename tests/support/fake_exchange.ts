/** An exchange over arrays, as strict as the doors of `src/exchange.ts` allow
 * anyone to be: it takes back every view it has lent, and counts the calls. */
import { ApplicationError, StreamError } from "../../src/errors.ts";
import type {
  Exchange,
  FieldName,
  Fields,
  Framing,
  HttpVersion,
  RequestBody,
  RequestHead,
  ResponseFields,
  ResponseWriter,
  TargetForm,
} from "../../src/exchange.ts";
import type { Address, MaybePromise } from "../../src/stream.ts";

const encoder = new TextEncoder();

/** The octets of ASCII text, or of UTF-8. */
export function bytes(text: string): Uint8Array {
  return encoder.encode(text);
}

/** One character for each octet. */
export function text(octets: Uint8Array): string {
  let result = "";
  for (const octet of octets) result += String.fromCharCode(octet);
  return result;
}

/** Field lines as the head reader will give them. */
export class FakeFields implements Fields {
  readonly mayRepeat: boolean = true;
  readonly #lines: readonly (readonly [FieldName, string])[];

  constructor(lines: readonly (readonly [string, string])[]) {
    this.#lines = lines.map(([name, value]) => [fieldName(name), value]);
  }

  get length(): number {
    return this.#lines.length;
  }

  name(index: number): FieldName {
    return this.#lines[index]![0];
  }

  value(index: number): string {
    return this.#lines[index]![1];
  }

  get(lower: string): string | undefined {
    const values = this.#lines
      .filter(([name]) => name.lower === lower)
      .map(([, value]) => value);
    if (values.length === 0) return undefined;
    return values.join(lower === "cookie" ? "; " : ", ");
  }
}

function fieldName(name: string): FieldName {
  const lower = name.toLowerCase();
  const upper = name.toUpperCase().replaceAll("-", "_");
  if (!/^[0-9a-z-]+$/.test(lower) || lower === "proxy") {
    return { lower, meta: undefined };
  }
  const bare = upper === "CONTENT_TYPE" || upper === "CONTENT_LENGTH";
  return { lower, meta: bare ? upper : `HTTP_${upper}` };
}

/** What a test wants to be asked. */
export interface FakeRequest {
  readonly method?: string;
  readonly target?: string;
  readonly version?: HttpVersion;
  readonly fields?: readonly (readonly [string, string])[];
  readonly scheme?: "http" | "https";
  readonly remote?: Address;
  readonly local?: Address;
  /** Framing is "chunked" for pieces without a Content-Length among the fields. */
  readonly content?: readonly (string | Uint8Array | Error)[];
  /** Content arrives later, a promise for each piece. */
  readonly slowContent?: boolean;
  readonly trailers?: readonly (readonly [string, string])[];
  /** The peer drains late: `write()` and `flush()` return promises. */
  readonly slowPeer?: boolean;
  /** The peer leaves before content byte number so many has been sent. */
  readonly leavesAfter?: number;
}

/** Takes the parts of a target as the target reader will. */
export function fakeHead(request: FakeRequest): RequestHead {
  const target = request.target ?? "/";
  const fields = new FakeFields(request.fields ?? [["Host", "example.com"]]);
  const declared = fields.get("content-length");
  const framing: Framing = declared !== undefined
    ? "length"
    : request.content !== undefined
    ? "chunked"
    : "none";
  const absolute = /^https?:\/\/([^/?]*)/.exec(target);
  const targetForm: TargetForm = target === "*"
    ? "asterisk"
    : absolute === null
    ? "origin"
    : "absolute";
  const rest = absolute === null ? target : target.slice(absolute[0].length);
  const question = rest.indexOf("?");
  const path = question < 0 ? rest : rest.slice(0, question);
  return {
    method: request.method ?? "GET",
    target,
    targetForm,
    path: path === "" ? "/" : path,
    query: question < 0 ? "" : rest.slice(question + 1),
    authority: absolute?.[1] ?? fields.get("host") ?? "",
    version: request.version ?? 11,
    fields,
    framing,
    contentLength: declared === undefined ? 0 : Number(declared.split(",")[0]),
    keepAlive: true,
    expectContinue: false,
  };
}

/** Request content in pieces. Each view is overwritten at the next read, and
 * while a promise is pending no other read is allowed. */
export class FakeBody implements RequestBody {
  /** How many times it was read. */
  reads = 0;
  trailers: Fields | undefined = undefined;
  readonly #pieces: (string | Uint8Array | Error)[];
  readonly #slow: boolean;
  readonly #trailers: Fields | undefined;
  #lent: Uint8Array = new Uint8Array(0);
  #pending = false;

  constructor(
    pieces: readonly (string | Uint8Array | Error)[],
    slow = false,
    trailers?: Fields,
  ) {
    this.#pieces = [...pieces];
    this.#slow = slow;
    this.#trailers = trailers;
  }

  read(): MaybePromise<Uint8Array | null> {
    if (this.#pending) throw new Error("The body is read twice at once");
    this.reads++;
    this.#lent.fill(0xee);
    if (!this.#slow) return this.#next();
    this.#pending = true;
    return new Promise((resolve, reject) => {
      setTimeout(() => {
        this.#pending = false;
        try {
          resolve(this.#next());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  #next(): Uint8Array | null {
    const piece = this.#pieces.shift();
    if (piece === undefined) {
      this.trailers = this.#trailers;
      return null;
    }
    if (piece instanceof Error) throw piece;
    this.#lent = typeof piece === "string" ? bytes(piece) : piece.slice();
    return this.#lent;
  }
}

/** Records what is sent. */
export class FakeResponse implements ResponseWriter {
  /** The calls: "start", "write abc", "flush" where it sent something, "end". */
  readonly calls: string[] = [];
  /** Interim responses: their status and fields. */
  readonly interim: [number, ResponseFields][] = [];
  status = 0;
  reason = "";
  fields: ResponseFields = [];
  size: number | undefined = undefined;
  started = false;
  committed = false;
  ended = false;
  /** The content, one character for each octet. */
  content = "";
  /** How much of it has been flushed. */
  flushed = 0;
  readonly #request: FakeRequest;

  constructor(request: FakeRequest) {
    this.#request = request;
  }

  informational(status: number, fields: ResponseFields): MaybePromise<void> {
    if (this.committed || this.ended) {
      throw new ApplicationError("informational() comes too late");
    }
    this.interim.push([status, fields]);
    return this.#drained();
  }

  start(
    status: number,
    reason: string,
    fields: ResponseFields,
    size?: number,
  ): void {
    if (this.committed || this.ended) throw new Error("start() comes too late");
    this.started = true;
    this.status = status;
    this.reason = reason;
    this.fields = fields;
    this.size = size;
    this.calls.push("start");
  }

  write(content: Uint8Array): MaybePromise<void> {
    if (!this.started || this.ended) throw new Error("write() out of order");
    const sent = text(content);
    this.calls.push(`write ${sent}`);
    if (this.#contentless) return;
    this.content += sent;
    if (this.content.length > this.#declared) {
      throw new ApplicationError("More content than declared");
    }
    if (this.content.length > (this.#request.leavesAfter ?? Infinity)) {
      throw new StreamError("The peer left");
    }
    return this.#drained();
  }

  flush(): MaybePromise<void> {
    if (this.committed && this.flushed === this.content.length) return;
    if (!this.started) throw new Error("flush() before start()");
    this.committed = true;
    this.flushed = this.content.length;
    this.calls.push("flush");
    return this.#drained();
  }

  end(): MaybePromise<void> {
    if (!this.started || this.ended) throw new Error("end() out of order");
    this.ended = true;
    this.calls.push("end");
    if (
      !this.#contentless && this.#declared !== Infinity &&
      this.content.length < this.#declared
    ) throw new ApplicationError("Less content than declared");
  }

  /** The value of a response field. */
  field(lower: string): string | undefined {
    return this.fields.find(([name]) => name.toLowerCase() === lower)?.[1];
  }

  get #contentless(): boolean {
    return this.#request.method === "HEAD" || this.status === 204 ||
      this.status === 304;
  }

  get #declared(): number {
    const declared = this.field("content-length");
    return declared === undefined ? this.size ?? Infinity : Number(declared);
  }

  #drained(): MaybePromise<void> {
    if (this.#request.slowPeer !== true) return;
    return new Promise((resolve) => setTimeout(resolve));
  }
}

/** One request and what becomes of it. */
export class FakeExchange implements Exchange {
  readonly head: RequestHead;
  readonly body: FakeBody;
  readonly response: FakeResponse;
  readonly remote: Address;
  readonly local: Address;
  readonly scheme: "http" | "https";
  /** Aborting it is the peer's leaving. */
  readonly controller: AbortController = new AbortController();
  /** How often the signal was asked for. */
  signalsAsked = 0;

  constructor(request: FakeRequest = {}) {
    this.head = fakeHead(request);
    this.body = new FakeBody(
      request.content ?? [],
      request.slowContent,
      request.trailers && new FakeFields(request.trailers),
    );
    this.response = new FakeResponse(request);
    this.remote = request.remote ?? { host: "192.0.2.7", port: 49152 };
    this.local = request.local ?? { host: "192.0.2.1", port: 8000 };
    this.scheme = request.scheme ?? "http";
  }

  get signal(): AbortSignal {
    this.signalsAsked++;
    return this.controller.signal;
  }
}
