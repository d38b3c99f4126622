/** Field lines that did not come over a wire of ours, as a head holds them. */
import type { FieldName, Fields } from "../exchange.ts";
import { metaVariable } from "../http/fields.ts";

/** Fields over pairs of a lower-case name and a value. */
export class FieldList implements Fields {
  readonly mayRepeat: boolean = true;
  readonly #lines: readonly (readonly [lower: string, value: string])[];

  constructor(lines: readonly (readonly [lower: string, value: string])[]) {
    this.#lines = lines;
  }

  get length(): number {
    return this.#lines.length;
  }

  name(index: number): FieldName {
    return fieldName(this.#lines[index]![0]);
  }

  value(index: number): string {
    return this.#lines[index]![1];
  }

  get(lower: string): string | undefined {
    const values = this.#lines
      .filter(([name]) => name === lower)
      .map(([, value]) => value);
    if (values.length === 0) return undefined;
    return values.join(lower === "cookie" ? "; " : ", ");
  }
}

// Names are a stranger's: those that are met first are kept.
const REMEMBERED = 256;
const names = new Map<string, FieldName>();

function fieldName(lower: string): FieldName {
  const known = names.get(lower);
  if (known !== undefined) return known;
  const name = { lower, meta: metaVariable(lower) };
  if (names.size < REMEMBERED) names.set(lower, name);
  return name;
}
