/** The responder of Python applications, started as the gateway starts it, and
 * FastCGI connections to it that see every record. */
import { type ChildProcess, spawn } from "node:child_process";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { concat, latin1, octets } from "./octets.ts";
import { RawClient } from "./raw_client.ts";
import { Watch } from "./watch.ts";

/** Types of records (FastCGI 1.0 §8). */
export const BEGIN_REQUEST = 1;
export const ABORT_REQUEST = 2;
export const END_REQUEST = 3;
export const PARAMS = 4;
export const STDIN = 5;
export const STDOUT = 6;
export const STDERR = 7;
export const GET_VALUES = 9;
export const GET_VALUES_RESULT = 10;
export const UNKNOWN_TYPE = 11;

const responderPath = join(process.cwd(), "python/headgate_wsgi.py");
const applications = join(process.cwd(), "tests/python/apps");

/** Has a program inherit a listening socket as descriptor 0. */
const inheritance = `
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + ".new")
listener.listen()
os.rename(sys.argv[1] + ".new", sys.argv[1])
os.dup2(listener.fileno(), 0)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
`;

function makeDirectory(): string {
  return mkdtempSync(join(tmpdir(), "headgate-responder-"));
}

/** How a responder is started. */
export interface ResponderOptions {
  /** Further arguments. */
  readonly args?: readonly string[];
  /** Its working directory; default that of the test applications. */
  readonly cwd?: string;
  /** Whether it has a descriptor 3 to print to; default true. */
  readonly prints?: boolean;
}

/** What it says on its standard output. */
export interface Report {
  readonly type: "ready" | "failed";
  readonly python?: string;
  readonly pid?: number;
  readonly message?: string;
  readonly traceback?: string;
}

/** A responder that runs, in a private directory. */
export class Responder {
  /** What it said first. */
  report: Report = { type: "failed" };
  readonly exited: Promise<number | string | null>;
  readonly directory: string;
  #child: ChildProcess;
  #output = "";
  #outputEnded = false;
  #errors = "";
  #watch = new Watch();
  #clients: FastCgiClient[] = [];

  private constructor(
    python: string,
    start: readonly string[],
    { args = [], cwd = applications, prints = true }: ResponderOptions,
    directory: string,
  ) {
    this.directory = directory;
    const printed = openSync(join(directory, "printed"), "a");
    this.#child = spawn(python, [...start, ...args], {
      cwd,
      stdio: prints ? ["pipe", "pipe", "pipe", printed] : "pipe",
      env: {
        ...process.env,
        PYTHONDONTWRITEBYTECODE: "1",
        // Unless it is the responder that sees to it, prints are held back.
        PYTHONUNBUFFERED: "",
      },
    });
    closeSync(printed);
    this.#child.stdout!.on("data", (piece: Uint8Array) => {
      this.#output += new TextDecoder().decode(piece);
      this.#watch.changed();
    });
    this.#child.stdout!.on("end", () => {
      this.#outputEnded = true;
      this.#watch.changed();
    });
    this.#child.stderr!.on("data", (piece: Uint8Array) => {
      this.#errors += new TextDecoder().decode(piece);
      this.#watch.changed();
    });
    this.exited = new Promise((resolve, reject) => {
      this.#child.once("error", reject);
      this.#child.once("close", (code, signal) => {
        resolve(code ?? signal);
        this.#watch.changed();
      });
    });
  }

  /** Starts one, and waits for its first word. */
  static async start(
    python: string,
    app: string,
    options: ResponderOptions = {},
  ): Promise<Responder> {
    const directory = makeDirectory();
    const responder = new Responder(
      python,
      [
        responderPath,
        "--socket",
        join(directory, "socket"),
        "--stacks",
        join(directory, "stacks"),
        "--app",
        app,
      ],
      options,
      directory,
    );
    const ended = responder.exited.then((code) => {
      if (!responder.#output.includes("\n")) {
        throw new Error(`It ended with ${code}: ${responder.#errors}`);
      }
    });
    await Promise.race([
      ended,
      responder.#until(
        () => responder.#output.includes("\n"),
        "its first word",
      ),
    ]);
    responder.report = JSON.parse(responder.#output.split("\n")[0]!);
    return responder;
  }

  /** Starts one without a gateway, on a socket that it inherits. */
  static startAlone(python: string, app: string): Responder {
    const directory = makeDirectory();
    const program = [responderPath, "--app", app, "--threads", "1"];
    return new Responder(
      python,
      ["-c", inheritance, join(directory, "socket"), ...program],
      { prints: false },
      directory,
    );
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** What it has written to standard error. */
  get errors(): string {
    return this.#errors;
  }

  /** What it has written to descriptor 3. */
  get printed(): string {
    return readFileSync(join(this.directory, "printed"), "utf8");
  }

  /** What stands in the file of stacks. */
  get stacks(): string {
    return readFileSync(join(this.directory, "stacks"), "utf8");
  }

  /** What it has written to standard output. */
  get output(): string {
    return this.#output;
  }

  untilOutput(text: string): Promise<void> {
    return this.#until(() => this.#output.includes(text), text);
  }

  /** Waits until nobody can report to the gateway any more. */
  untilReportsEnd(): Promise<void> {
    return this.#until(() => this.#outputEnded, "the end of its output");
  }

  untilErrors(text: string): Promise<void> {
    return this.#until(() => this.#errors.includes(text), text);
  }

  /** Waits for what shows in a file only. */
  async untilSeen(condition: () => boolean, what: string): Promise<void> {
    const deadline = Date.now() + 25_000;
    while (!condition()) {
      if (Date.now() > deadline) throw new Error(`No ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  #until(condition: () => boolean, what: string): Promise<void> {
    return this.#watch.until(condition, what, () => this.#errors);
  }

  async connect(): Promise<FastCgiClient> {
    const host = join(this.directory, "socket");
    const client = new FastCgiClient(
      await RawClient.connect({ host, port: 0 }),
    );
    this.#clients.push(client);
    return client;
  }

  /** Connects, asks once, and closes. */
  async ask(
    params: Readonly<Record<string, string>> = {},
    content: Uint8Array | string = "",
  ): Promise<Answer> {
    const client = await this.connect();
    const answer = await client.ask(params, content);
    await client.close();
    return answer;
  }

  /** Ends its standard input, after the word of a gateway that leaves; without it
   * as that of one that is killed. */
  closeInput(word = "leave\n"): void {
    this.#child.stdin!.end(word);
  }

  kill(
    signal: "SIGTERM" | "SIGINT" | "SIGHUP" | "SIGUSR1" | "SIGUSR2",
  ): void {
    process.kill(this.pid, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client.close();
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      process.kill(this.pid, "SIGKILL");
    }
    await this.exited;
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A record as it arrived. */
export interface ReceivedRecord {
  readonly type: number;
  readonly id: number;
  readonly content: Uint8Array;
}

/** A response, from its records. */
export interface Answer {
  /** Of the `Status` line: "200 OK". */
  readonly status: string;
  /** The lines of the head, without that. */
  readonly fields: readonly string[];
  readonly content: Uint8Array;
  readonly text: string;
  /** What came over STDERR. */
  readonly errors: string;
  /** Of END_REQUEST; -1 when the connection ended without it. */
  readonly appStatus: number;
  readonly protocolStatus: number;
}

/** One FastCGI connection. */
export class FastCgiClient {
  readonly raw: RawClient;
  #read = 0;

  constructor(raw: RawClient) {
    this.raw = raw;
  }

  /** Sends a whole request and waits for its end. */
  async ask(
    params: Readonly<Record<string, string>> = {},
    content: Uint8Array | string = "",
  ): Promise<Answer> {
    const sending = this.raw.send(request(params, content));
    const answer = await this.answer();
    await sending;
    return answer;
  }

  /** Waits for the end of a request, or of the connection, and takes its
   * records. */
  async answer(): Promise<Answer> {
    const isEnd = ({ type }: ReceivedRecord) => type === END_REQUEST;
    await this.raw.until(
      () => this.raw.ended || this.records().some(isEnd),
      "END_REQUEST",
    );
    const records = this.records();
    const end = records.findIndex(isEnd);
    const taken = end < 0 ? records : records.slice(0, end + 1);
    for (const { content } of taken) this.#read += 8 + content.length;
    return answerOf(taken);
  }

  /** The records that have arrived since the last answer. */
  records(): ReceivedRecord[] {
    const bytes = this.raw.received.subarray(this.#read);
    const records: ReceivedRecord[] = [];
    for (let at = 0; at + 8 <= bytes.length;) {
      const view = new DataView(bytes.buffer, bytes.byteOffset + at, 8);
      const size = view.getUint16(4);
      // The responder never pads: `#read` counts on it.
      if (view.getUint8(6) !== 0) throw new Error("A record is padded");
      if (at + 8 + size > bytes.length) break;
      records.push({
        type: view.getUint8(1),
        id: view.getUint16(2),
        content: bytes.subarray(at + 8, at + 8 + size),
      });
      at += 8 + size;
    }
    return records;
  }

  untilRecord(
    matches: (record: ReceivedRecord) => boolean,
    what: string,
  ): Promise<void> {
    return this.raw.until(() => this.records().some(matches), what);
  }

  /** Waits until this text stands in the content so far. */
  untilContent(text: string): Promise<void> {
    return this.raw.until(
      () => latin1(contentOf(this.records(), STDOUT)).includes(text),
      text,
    );
  }

  close(): Promise<void> {
    return this.raw.close();
  }
}

function contentOf(records: readonly ReceivedRecord[], type: number) {
  return concat(
    records.filter((record) => record.type === type)
      .map(({ content }) => content),
  );
}

function answerOf(records: readonly ReceivedRecord[]): Answer {
  const out = contentOf(records, STDOUT);
  const text = latin1(out);
  const headEnd = text.indexOf("\r\n\r\n");
  const [first = "", ...fields] = text.slice(0, Math.max(headEnd, 0)).split(
    "\r\n",
  );
  const last = records.at(-1);
  const end = last?.type === END_REQUEST ? last.content : undefined;
  return {
    status: first.replace(/^Status: /, ""),
    fields,
    content: headEnd < 0 ? out : out.subarray(headEnd + 4),
    text: headEnd < 0 ? text : text.slice(headEnd + 4),
    errors: new TextDecoder().decode(contentOf(records, STDERR)),
    appStatus: end === undefined
      ? -1
      : new DataView(end.buffer, end.byteOffset).getUint32(0),
    protocolStatus: end?.[4] ?? -1,
  };
}

/** What the gateway says of every request. */
const usual: Readonly<Record<string, string>> = {
  REQUEST_METHOD: "GET",
  SCRIPT_NAME: "",
  PATH_INFO: "/",
  QUERY_STRING: "",
  SERVER_NAME: "localhost",
  SERVER_PORT: "8000",
  SERVER_PROTOCOL: "HTTP/1.1",
  REQUEST_SCHEME: "http",
};

/** What stands in the headers of records, and in BEGIN_REQUEST. */
export interface RecordOptions {
  /** Request id; default 1. */
  readonly id?: number;
  /** Octets of padding; default 0. */
  readonly padding?: number;
  /** Default 1, a responder. */
  readonly role?: number;
  /** FCGI_KEEP_CONN; default true. */
  readonly keep?: boolean;
}

/** One record, with as many octets of padding as told. */
export function record(
  type: number,
  content: Uint8Array | string = "",
  { id = 1, padding = 0 }: RecordOptions = {},
): Uint8Array {
  const body = typeof content === "string" ? octets(content) : content;
  const bytes = new Uint8Array(8 + body.length + padding).fill(0xff);
  const view = new DataView(bytes.buffer);
  bytes.set([1, type]);
  view.setUint16(2, id);
  view.setUint16(4, body.length);
  bytes[6] = padding;
  bytes.set(body, 8);
  return bytes;
}

/** BEGIN_REQUEST. */
export function begin(
  { id = 1, role = 1, keep = true, padding = 0 }: RecordOptions = {},
): Uint8Array {
  const content = new Uint8Array([0, role, keep ? 1 : 0, 0, 0, 0, 0, 0]);
  return record(BEGIN_REQUEST, content, { id, padding });
}

/** Name-value pairs (FastCGI 1.0 §3.4). */
export function pairs(params: Readonly<Record<string, string>>): Uint8Array {
  return concat(
    Object.entries(params).flatMap(([name, value]) => [
      length(name.length),
      length(value.length),
      octets(name),
      octets(value),
    ]),
  );
}

function length(size: number): Uint8Array {
  if (size < 128) return new Uint8Array([size]);
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, size | 0x80000000);
  return bytes;
}

/** The params of a request: what every request has, and `params`. */
export function paramsOf(
  params: Readonly<Record<string, string>>,
): Record<string, string> {
  return { ...usual, ...params };
}

/** The records of a whole request, with CONTENT_LENGTH where it has content. */
export function request(
  params: Readonly<Record<string, string>> = {},
  content: Uint8Array | string = "",
  { id = 1, padding = 0, keep = true }: RecordOptions = {},
): Uint8Array {
  const body = typeof content === "string" ? octets(content) : content;
  const declared: Record<string, string> = body.length > 0
    ? { REQUEST_METHOD: "POST", CONTENT_LENGTH: String(body.length) }
    : {};
  const blocks: Uint8Array[] = [];
  for (let at = 0; at < body.length; at += 65_535) {
    const block = body.subarray(at, at + 65_535);
    blocks.push(record(STDIN, block, { id, padding }));
  }
  return concat([
    begin({ id, keep, padding }),
    record(PARAMS, pairs(paramsOf({ ...declared, ...params })), {
      id,
      padding,
    }),
    record(PARAMS, "", { id, padding }),
    ...blocks,
    record(STDIN, "", { id, padding }),
  ]);
}

/** The short spelling of an environ, as one pair. */
export function packedEnviron(
  params: Readonly<Record<string, string>>,
): Uint8Array {
  const value = Object.entries(params).flat().join("\0");
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, value.length | 0x80000000);
  return concat([
    new Uint8Array([16]),
    size,
    octets("HEADGATE_ENVIRON"),
    octets(value),
  ]);
}
