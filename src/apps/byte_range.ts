/** Which bytes of a representation a Range field asks for: RFC 9110 §14. Pure. */

/** Some bytes of a representation. */
export interface ByteRange {
  /** The position of the first one. */
  readonly start: number;
  /** How many; at least one. */
  readonly length: number;
}

/** Reads a Range field for a representation of `size` bytes. "whole" where the
 * field is to be overlooked: it is malformed, its unit is not bytes, there is
 * nothing to take a part of, or it asks for several parts, which a server may
 * answer with the whole (§14.2) rather than let a peer have it assemble many
 * small and overlapping ones (§17.15). */
export function readRange(
  value: string | undefined,
  size: number,
): ByteRange | "whole" | "unsatisfiable" {
  const match = /^bytes=[ \t,]*(\d*)-(\d*)[ \t,]*$/i.exec(value ?? "");
  if (match === null || size === 0) return "whole";
  const [, first = "", last = ""] = match;
  if (first === "") {
    if (last === "") return "whole";
    const length = Math.min(Number(last), size);
    if (length === 0) return "unsatisfiable";
    return { start: size - length, length };
  }
  const start = Number(first);
  const end = last === "" ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== "" && Number(last) < start) return "whole";
  if (start >= size) return "unsatisfiable";
  return { start, length: end - start + 1 };
}
