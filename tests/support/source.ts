/** Takes TypeScript apart as far as the rules of the house need it: words,
 * strings and the rest, without comments. */

/** A piece of source text. */
export interface Token {
  /** "text" is what a string or template literal holds. */
  readonly kind: "word" | "text" | "mark";
  /** The text itself; for a literal, what stands between its quotes. */
  readonly text: string;
}

/** An import, a re-export, or a dynamic import of a literal name. */
export interface Import {
  /** What is imported. */
  readonly specifier: string;
  /** True when nothing of it is left once the types are gone. */
  readonly typeOnly: boolean;
  /** True of an `import()`, whose module is not loaded before. */
  readonly onDemand?: true;
}

const tokenAt = {
  space: /\s+/y,
  comment: /\/\/[^\n]*|\/\*[^]*?\*\//y,
  word: /[\p{ID_Start}$_#][\p{ID_Continue}$]*/uy,
  number: /[0-9][0-9A-Za-z_.]*/y,
  text: /"((?:[^"\\\n]|\\[^])*)"|'((?:[^'\\\n]|\\[^])*)'/y,
  regex: /\/(?![*/])(?:[^\\/[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y,
};

/** Words behind which a slash begins a regular expression. */
const beforeOperand = new Set(
  "return typeof case in of do else void delete throw new await yield".split(
    " ",
  ),
);

/** The tokens of `source`, comments and regular expressions left out. */
export function tokenize(source: string): Token[] {
  return new Tokenizer(source).run();
}

class Tokenizer {
  readonly #source: string;
  readonly #tokens: Token[] = [];
  #at = 0;

  constructor(source: string) {
    this.#source = source;
  }

  run(): Token[] {
    if (this.#source.startsWith("#!")) this.#at = this.#source.indexOf("\n");
    this.#until(undefined);
    return this.#tokens;
  }

  /** Takes tokens up to and with the brace that closes a `${`. */
  #until(closing: "}" | undefined): void {
    let depth = 0;
    while (this.#at < this.#source.length) {
      if (this.#match("space") || this.#match("comment")) continue;
      const character = this.#source[this.#at]!;
      if (character === "}" && closing !== undefined && depth === 0) {
        this.#at++;
        return;
      }
      if (character === "{") depth++;
      if (character === "}") depth--;
      this.#token(character);
    }
  }

  #token(character: string): void {
    if (character === "`") return this.#template();
    if (character === "/" && this.#operandNext() && this.#match("regex")) {
      // Stands for a value, so that a slash behind it divides.
      this.#push("mark", ")");
      return;
    }
    const text = this.#match("text");
    if (text) return this.#push("text", text[1] ?? text[2] ?? "");
    const word = this.#match("word") ?? this.#match("number");
    if (word) return this.#push("word", word[0]);
    this.#at++;
    this.#push("mark", character);
  }

  #template(): void {
    this.#at++;
    let text = "";
    while (this.#at < this.#source.length) {
      const character = this.#source[this.#at++]!;
      if (character === "`") return this.#push("text", text);
      if (character === "\\") {
        text += character + (this.#source[this.#at++] ?? "");
      } else if (character === "$" && this.#source[this.#at] === "{") {
        this.#push("text", text);
        text = "";
        this.#at++;
        this.#until("}");
      } else {
        text += character;
      }
    }
  }

  #operandNext(): boolean {
    const last = this.#tokens.at(-1);
    if (last === undefined) return true;
    if (last.kind === "word") return beforeOperand.has(last.text);
    return last.kind === "mark" && !")]}".includes(last.text);
  }

  #match(kind: keyof typeof tokenAt): RegExpExecArray | null {
    const pattern = tokenAt[kind];
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#source);
    if (match !== null) this.#at += match[0].length;
    return match;
  }

  #push(kind: Token["kind"], text: string): void {
    this.#tokens.push({ kind, text });
  }
}

/** What `source` imports, in order. */
export function importsOf(source: string): Import[] {
  const tokens = tokenize(source);
  const imports: Import[] = [];
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at]!;
    if (token.kind !== "word" || tokens[at - 1]?.text === ".") continue;
    const found = token.text === "import"
      ? importAt(tokens, at + 1)
      : token.text === "export"
      ? exportAt(tokens, at + 1)
      : undefined;
    if (found !== undefined) imports.push(found);
  }
  return imports;
}

function importAt(tokens: readonly Token[], at: number): Import | undefined {
  const next = tokens[at];
  if (next?.kind === "text") return { specifier: next.text, typeOnly: false };
  if (next?.text === "(") {
    const name = tokens[at + 1];
    return name?.kind === "text"
      ? {
        specifier: name.text,
        typeOnly: tokens[at - 2]?.text === "typeof",
        onDemand: true,
      }
      : undefined;
  }
  return clauseAt(tokens, at);
}

function exportAt(tokens: readonly Token[], at: number): Import | undefined {
  const first = tokens[at]?.text === "type" ? tokens[at + 1] : tokens[at];
  return first?.text === "{" || first?.text === "*"
    ? clauseAt(tokens, at)
    : undefined;
}

/** What stands between `import` or `export` and `from "…"`. */
function clauseAt(tokens: readonly Token[], at: number): Import | undefined {
  const clause: string[] = [];
  for (; at < tokens.length; at++) {
    const token = tokens[at]!;
    const next = tokens[at + 1];
    if (token.text === "from" && next?.kind === "text") {
      return { specifier: next.text, typeOnly: isTypeOnly(clause) };
    }
    // `export { a };` has no source, and ends here or with the next statement.
    const fits = token.kind === "word" || "{},*".includes(token.text);
    if (!fits || (clause.includes("}") && token.text !== "from")) {
      return undefined;
    }
    clause.push(token.text);
  }
  return undefined;
}

/** `type { A }`, `type A`, `{ type A, type B }`; but not `{}`, which runs. */
function isTypeOnly(clause: readonly string[]): boolean {
  if (clause[0] === "type" && clause.length > 1 && clause[1] !== ",") {
    return true;
  }
  if (clause[0] !== "{" || clause.at(-1) !== "}") return false;
  const names = clause.slice(1, -1).join(" ").split(",").map((name) =>
    name.trim()
  );
  return names.every((name) => name === "" || /^type \S/.test(name)) &&
    names.some((name) => name !== "");
}
