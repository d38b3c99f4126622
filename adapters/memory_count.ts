/** What the runtime tells of objects that no standard does: how much memory it
 * counts for one, and what a promise was settled with. */

interface BunGlobal {
  readonly Bun?: { peek?(promise: Promise<unknown>): unknown };
}

interface BunMemory {
  estimateShallowMemoryUsageOf?(value: object): number;
}

interface ModuleSource {
  readonly process?: { getBuiltinModule?(name: string): unknown };
}

/** The count, in bytes, without what the object refers to; undefined but on
 * Bun. */
export function findMemoryCount(): ((value: object) => number) | undefined {
  if (!("Bun" in globalThis)) return undefined;
  const { process } = globalThis as unknown as ModuleSource;
  const memory = process?.getBuiltinModule?.("bun:jsc") as
    | BunMemory
    | undefined;
  return memory?.estimateShallowMemoryUsageOf;
}

/** What a promise was settled with, value or reason, or itself; undefined but on
 * Bun. */
export const peek: ((promise: Promise<unknown>) => unknown) | undefined =
  (globalThis as BunGlobal).Bun?.peek;
