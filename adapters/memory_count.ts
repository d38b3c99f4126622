/** How much memory the runtime counts for an object, where it tells. */

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
