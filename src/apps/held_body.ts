/**
 * Whether the body of a `Response` is held in memory, whole, where the runtime
 * tells no more of an object than how much memory it counts for it (Bun): a body
 * of text or octets counts, a stream, a blob and a file do not. That is tried on
 * samples once; where it is not as this was written for, nothing is held.
 */

/** How many bytes of memory the runtime counts for an object, apart from what it
 * refers to. */
export type MemoryCount = (value: object) => number;

let find: () => MemoryCount | undefined = () => undefined;
let held: ((response: Response) => boolean) | undefined;

/** Says how memory is counted here; `load` is called when it is asked for. */
export function countMemoryBy(load: () => MemoryCount | undefined): void {
  find = load;
  held = undefined;
}

/** Whether reading the body gives what is there, and waits for nothing. False
 * where nothing tells. */
export function isHeld(response: Response): boolean {
  held ??= judge(find());
  return held(response);
}

const never = () => false;

function judge(count: MemoryCount | undefined): typeof never | typeof isHeld {
  if (count === undefined) return never;
  const none = count(new Response(null));
  const extra = (response: Response) => count(response) - none;
  const fields = { headers: { "x-sample": "a".repeat(100) } };
  const known = [
    [new Response("a".repeat(100)), 100],
    [new Response("a", fields), 1],
    [Response.json(100), 3],
    [new Response(new Uint8Array(1000)), 1000],
    [new Response(null, fields), 0],
    [new Response(queue()), 0],
    [new Response(queue(), fields), 0],
    [new Response(new Response("a".repeat(100)).body), 0],
  ] as const;
  if (known.some(([sample, size]) => extra(sample) !== size)) return never;
  // A reason counts, too; and what `fetch` gives counts what has come so far.
  return (response) =>
    response.statusText === "" && response.url === "" && extra(response) > 0;
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
