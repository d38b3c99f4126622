/** A FastCGI responder in the hands of a test: its connections are streams over
 * arrays, and it says what the test has it say. */
import type { ByteStream } from "../../src/stream.ts";
import {
  endRequest,
  readParams,
  readRecords,
  stdout,
} from "./fastcgi_records.ts";
import { concat } from "./octets.ts";
import { MemoryStream, type MemoryStreamOptions } from "./memory_stream.ts";
import { Watch } from "./watch.ts";

/** A request as it arrived, or as far as it has. */
export interface ArrivedRequest {
  /** Whether the connection is to be kept. */
  readonly keep: boolean;
  readonly params: Readonly<Record<string, string>>;
  /** One character per octet. */
  readonly content: string;
  /** Whether the content has ended. */
  readonly whole: boolean;
  readonly aborted: boolean;
}

/** See the top of this file. */
export class FakeResponder {
  /** Its connections, in order. */
  readonly streams: MemoryStream[] = [];
  /** What `connect()` rejects with. */
  refusal: Error | undefined;
  readonly #options: MemoryStreamOptions;
  readonly #watch = new Watch();

  constructor(options: MemoryStreamOptions = {}) {
    this.#options = options;
  }

  /** For the pool. */
  readonly connect = async (): Promise<ByteStream> => {
    await Promise.resolve();
    if (this.refusal !== undefined) throw this.refusal;
    const stream = new MemoryStream([], this.#options);
    this.streams.push(stream);
    if (this.answer !== undefined) void this.#serve(stream, this.answer);
    this.#watch.changed();
    return stream;
  };

  /** Answers each whole request with a response of the application's. */
  answer: ((request: ArrivedRequest) => string) | undefined;

  async #serve(
    stream: MemoryStream,
    answer: (request: ArrivedRequest) => string,
  ): Promise<void> {
    for (let number = 0;; number++) {
      const found = () => arrived(stream)[number];
      await stream.until(() => stream.closed || found()?.whole === true);
      const request = found();
      if (stream.closed || request === undefined) return;
      stream.push(concat([stdout(answer(request)), endRequest()]));
    }
  }

  /** Connection `index`, once it is there. */
  async stream(index: number): Promise<MemoryStream> {
    await this.#watch.until(
      () => this.streams.length > index,
      `connection ${index}`,
      () => `${this.streams.length} connections`,
    );
    return this.streams[index]!;
  }

  /** Request `number` on connection `index`, once it has come as a whole, or
   * what `enough` asks for. */
  async request(
    index = 0,
    number = 0,
    enough: (request: ArrivedRequest) => boolean = ({ whole }) => whole,
  ): Promise<ArrivedRequest> {
    const stream = await this.stream(index);
    const found = () => arrived(stream)[number];
    await stream.until(
      () => {
        const request = found();
        return request !== undefined && enough(request);
      },
      `request ${number} on connection ${index}`,
    );
    return found()!;
  }
}

/** The requests that a stream has carried. */
export function arrived(stream: MemoryStream): ArrivedRequest[] {
  const requests: {
    keep: boolean;
    params: Record<string, string>;
    content: string;
    whole: boolean;
    aborted: boolean;
  }[] = [];
  let params = "";
  for (const { type, id, content } of readRecords(stream.output)) {
    if (id !== 1) throw new Error(`A record with id ${id}`);
    const last = requests.at(-1);
    if (type === 1) {
      const keep = content.charCodeAt(2) === 1;
      params = "";
      requests.push({
        keep,
        params: {},
        content: "",
        whole: false,
        aborted: false,
      });
    } else if (last === undefined) throw new Error(`A record of type ${type}`);
    else if (type === 2) last.aborted = true;
    else if (type === 4) {
      params += content;
      if (content === "") last.params = Object.fromEntries(readParams(params));
    } else if (type === 5) {
      last.content += content;
      if (content === "") last.whole = true;
    } else throw new Error(`A record of type ${type}`);
  }
  return requests;
}
