/** How memory is counted here, and how promises are looked into: what
 * `held_body.ts` and `fetch_response.ts` go by, and is told at a start, which has
 * no use for the rest of those rooms. */

/** How many bytes of memory the runtime counts for an object, apart from what it
 * refers to. */
export type MemoryCount = (value: object) => number;

/** Finds the count where the runtime has one. */
export type FindMemoryCount = () => MemoryCount | undefined;

/** What a promise was settled with, value or reason; the promise itself as long
 * as it is not. */
export type Peek = (promise: Promise<unknown>) => unknown;

const seesNothing: Peek = (promise) => promise;

let find: FindMemoryCount = () => undefined;
let peek: Peek = seesNothing;

/** Says how memory is counted here; `load` is called when it is asked for. With
 * `look`, where the runtime has one, a promise need not be waited for. */
export function countMemoryBy(load: FindMemoryCount, look?: Peek): void {
  find = load;
  peek = look ?? seesNothing;
}

/** Looks into a promise, as far as `countMemoryBy()` was told how. */
export function peekInto(promise: Promise<unknown>): unknown {
  return peek(promise);
}

/** What `countMemoryBy()` was told last. */
export function memoryCount(): FindMemoryCount {
  return find;
}
