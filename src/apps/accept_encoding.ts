/** Which content codings a peer takes: RFC 9110 §12.5.3. Pure. */

/** Those of `codings` that the peer takes, the one that it likes best first;
 * where it is indifferent, in their own order. Those that it likes less than no
 * coding are left out. */
export function acceptedCodings<T extends string>(
  value: string | undefined,
  codings: readonly T[],
): T[] {
  if (value === undefined || value === "") return [];
  const weights = new Map(
    value.split(",").flatMap((element) => {
      const match = member.exec(element);
      if (match === null) return [];
      const [, name = "", weight = "1"] = match;
      return [[name.toLowerCase(), Number(weight)] as const];
    }),
  );
  const others = weights.get("*") ?? 0;
  const none = weights.get("identity") ?? 0;
  const weightOf = (coding: string) => weights.get(coding) ?? others;
  return codings
    .filter((coding) => weightOf(coding) > 0 && weightOf(coding) >= none)
    .sort((a, b) => weightOf(b) - weightOf(a));
}

/** A coding with its weight. */
const member =
  /^[ \t]*([\w!#$%&'*+.^`|~-]+)[ \t]*(?:;[ \t]*[qQ]=([01](?:\.\d{0,3})?)[ \t]*)?$/;
