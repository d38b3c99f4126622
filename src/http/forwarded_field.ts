/**
 * The Forwarded field: RFC 7239 §4. Pure: nothing here reads or writes.
 */
import { HttpError } from "../errors.ts";
import type { Fields } from "../exchange.ts";

// RFC 7239 §4, with white space around separators; RFC 9110 §5.6.2, §5.6.4. At
// each octet there is one way on, so that no line takes longer than its length.
const pair =
  /[ \t]*(?:([!#$%&'*+\-.^_`|~\w]+)=(?:([!#$%&'*+\-.^_`|~\w]+)|"((?:[^"\\]|\\.)*)")[ \t]*)?(;|,|$)/y;

/** The elements of `Forwarded` in order, by their parameters. Throws `HttpError`
 * 400. Each line is read by itself: a quote that one leaves open must not
 * swallow what another says. */
export function forwardedElements(fields: Fields): Map<string, string>[] {
  const elements: Map<string, string>[] = [];
  for (let i = 0; i < fields.length; i++) {
    if (fields.name(i).lower === "forwarded") {
      elements.push(...elementsOfLine(fields.value(i)));
    }
  }
  return elements.filter((element) => element.size > 0);
}

function elementsOfLine(line: string): Map<string, string>[] {
  const elements = [new Map<string, string>()];
  pair.lastIndex = 0;
  for (;;) {
    const [, name, token, quoted, separator] = pair.exec(line) ??
      malformed(line);
    const element = elements[elements.length - 1]!;
    if (name !== undefined) {
      const lower = name.toLowerCase();
      if (element.has(lower)) malformed(line);
      element.set(lower, token ?? quoted!.replace(/\\(.)/g, "$1"));
    }
    if (separator === "") return elements;
    if (separator === ",") elements.push(new Map());
  }
}

function malformed(line: string): never {
  throw new HttpError(400, "Malformed Forwarded field", line);
}
