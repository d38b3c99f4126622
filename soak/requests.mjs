/** Requests, and whether an answer is the one that belongs to a request. */
import { Buffer } from "node:buffer";
import { answerSize, contentOf, uploadSize } from "./contents.js";

/** No head of ours is longer. */
const longestHead = 4_096;

let made = 0;

/** What clients ask for. Of ten requests one is a POST and two are answered in
 * two parts with a pause between; the others wait before they answer. */
export const mixed = (id) =>
  id % 10 === 0 ? "/echo" : id % 10 < 3 ? "/parts" : "/wait";

/** Answered at once. */
export const instant = () => "/";

/** A request with a number that no other has. `close` announces that it is the
 * last of its connection; `ms` is how long the answer shall take, where that is
 * not left to the server. */
export function makeRequest({ pick = mixed, close = false, ms }) {
  const id = ++made;
  const path = pick(id);
  const upload = path === "/echo" ? contentOf(id, uploadSize) : undefined;
  const head = `${upload ? "POST" : "GET"} ${path}?id=${id}${
    ms === undefined ? "" : `&ms=${ms}`
  } HTTP/1.1\r\nHost: 127.0.0.1\r\n${close ? "Connection: close\r\n" : ""}${
    upload ? `Content-Length: ${upload.length}\r\n` : ""
  }\r\n`;
  const bytes = Buffer.from(head, "latin1");
  return {
    id,
    close,
    bytes: upload ? Buffer.concat([bytes, upload]) : bytes,
    content: upload ?? contentOf(id, answerSize),
  };
}

/** The answer to one request, as far as it has come. */
export class Answer {
  #request;
  #bytes;
  #head;

  constructor(request) {
    this.#request = request;
  }

  /** Whether any of it has come. */
  get begun() {
    return this.#bytes !== undefined;
  }

  /** Takes what has come. Gives `{ pid, close }` when the answer is whole and
   * right, `{ wrong }`, which says why, as soon as it is not, and undefined
   * while more has to come. */
  take(bytes) {
    this.#bytes = this.#bytes === undefined
      ? bytes
      : Buffer.concat([this.#bytes, bytes]);
    try {
      this.#head ??= this.#readHead();
      return this.#head && this.#compare();
    } catch (error) {
      return { wrong: error.message };
    }
  }

  #readHead() {
    const end = this.#bytes.indexOf("\r\n\r\n");
    if (end < 0) {
      if (this.#bytes.length > longestHead) throw new Error("endless head");
      return undefined;
    }
    const [line, ...fields] = this.#bytes.latin1Slice(0, end).split("\r\n");
    if (!line.startsWith("HTTP/1.1 200 ")) throw new Error(line);
    const values = new Map(fields.map((field) => {
      const colon = field.indexOf(":");
      return [
        field.slice(0, colon).toLowerCase(),
        field.slice(colon + 1).trim(),
      ];
    }));
    const { id, content } = this.#request;
    if (values.get("x-id") !== String(id)) {
      throw new Error(`the answer to ${values.get("x-id")}, not to ${id}`);
    }
    if (values.get("content-length") !== String(content.length)) {
      throw new Error(`Content-Length ${values.get("content-length")}`);
    }
    return {
      size: end + 4,
      pid: Number(values.get("x-pid")),
      close: values.get("connection")?.toLowerCase() === "close",
    };
  }

  #compare() {
    const { size, pid, close } = this.#head;
    const came = this.#bytes.subarray(size);
    const { content } = this.#request;
    if (came.length < content.length) return undefined;
    if (came.length > content.length) throw new Error("more than the answer");
    if (!came.equals(content)) throw new Error("other content");
    return { pid, close };
  }
}
