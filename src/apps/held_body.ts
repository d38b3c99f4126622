/**
 * Whether the body of a `Response` is held in memory, whole, where the runtime
 * tells no more of an object than how much memory it counts for it (Bun): a body
 * of text or octets counts, a stream, a blob and a file do not. That is tried on
 * samples once; where it is not as this was written for, nothing is held.
 */
import {
  type FindMemoryCount,
  type MemoryCount,
  memoryCount,
} from "./memory_count.ts";
import { RuntimeResponse } from "./runtime_response.ts";

let judged: FindMemoryCount | undefined;
let held: (response: Response) => boolean = () => false;

/** Whether reading the body gives what is there, and waits for nothing. False
 * where nothing tells. */
export function isHeld(response: Response): boolean {
  const find = memoryCount();
  if (find !== judged) {
    judged = find;
    held = judge(find());
  }
  return held(response);
}

/** Fewer octets could as well be traces of properties that a response had, each
 * of which counts for one. */
const fewest = 16;

const never = () => false;

function judge(count: MemoryCount | undefined): typeof isHeld {
  if (count === undefined) return never;
  const none = count(new RuntimeResponse(null));
  const extra = (response: Response) => count(response) - none;
  if (!samples().every(([sample, size]) => extra(sample) === size)) {
    return never;
  }
  // A reason counts, too; and what `fetch` gives counts what has come so far.
  return (response) =>
    isPlain(response) && response.statusText === "" && response.url === "" &&
    extra(response) >= fewest;
}

/** Whether nothing was added to what the runtime makes. */
function isPlain(response: Response): boolean {
  return Object.getPrototypeOf(response) === RuntimeResponse.prototype &&
    Reflect.ownKeys(response).length === 0;
}

/** Responses, and how much their bodies are to count for. */
function samples(): readonly (readonly [Response, number])[] {
  const text = "a".repeat(100);
  const fields = { headers: { "x-sample": text } };
  return [
    [new RuntimeResponse(text), 100],
    [new RuntimeResponse("a", fields), 1],
    [RuntimeResponse.json(100), 3],
    [new RuntimeResponse(new Uint8Array(1000)), 1000],
    [new RuntimeResponse(null, fields), 0],
    [new RuntimeResponse(queue()), 0],
    [new RuntimeResponse(queue(), fields), 0],
    [new RuntimeResponse(new RuntimeResponse(text).body), 0],
  ];
}

/** A stream that has more in its queue than it has given. */
function queue(): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(new Uint8Array(1000));
      controller.enqueue(new Uint8Array(1000));
    },
  });
}
