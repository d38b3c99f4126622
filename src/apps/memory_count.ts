/** How memory is counted here: what `held_body.ts` goes by, and is told at a
 * start, which has no use for the rest of that room. */

/** How many bytes of memory the runtime counts for an object, apart from what it
 * refers to. */
export type MemoryCount = (value: object) => number;

/** Finds the count where the runtime has one. */
export type FindMemoryCount = () => MemoryCount | undefined;

let find: FindMemoryCount = () => undefined;

/** Says how memory is counted here; `load` is called when it is asked for. */
export function countMemoryBy(load: FindMemoryCount): void {
  find = load;
}

/** What `countMemoryBy()` was told last. */
export function memoryCount(): FindMemoryCount {
  return find;
}
