/** The rules of the house, as functions from sources to complaints. What a rule
 * is for stands in src/README.md. */
import { type Import, importsOf, tokenize } from "./source.ts";

/** A file, by its path from the root of the repository. */
export interface SourceFile {
  /** "src/http/head.ts". */
  readonly path: string;
  /** What it holds. */
  readonly text: string;
}

/** What the files of one room may import. */
interface Room {
  readonly files: RegExp;
  /** At run time. */
  readonly imports: RegExp;
  /** As types only, beside `imports`. */
  readonly types: RegExp;
}

const nothing = /(?!)/;

/** Types that say how rooms meet. */
const doors = /^src\/(stream|exchange|wsgi|errors|limits|logger|gate)\.ts$/;

/** The first room that a file is in counts. A file of src/ that is in none may
 * import whatever `closed` and `outside` leave to it. */
const rooms: readonly Room[] = [
  { files: /^src\/stream\.ts$/, imports: nothing, types: nothing },
  { files: doors, imports: nothing, types: doors },
  {
    files: /^src\/http\//,
    imports: /^src\/(http\/.*|errors|limits)\.ts$/,
    types: doors,
  },
  {
    // Its streams come from whoever adds a backend.
    files: /^src\/fastcgi\//,
    imports: /^src\/(fastcgi\/.*|http\/.*|errors|error_stream|logger)\.ts$/,
    types: doors,
  },
  {
    // It knows octets, and nothing else of HTTP.
    files: /^src\/wire\.ts$/,
    imports: /^src\/(http\/bytes|errors|limits)\.ts$/,
    types: doors,
  },
  {
    files: /^src\/body\.ts$/,
    imports: /^src\/(wire|http\/.*|errors|limits)\.ts$/,
    types: doors,
  },
  {
    files: /^src\/response\.ts$/,
    imports: /^src\/(wire|http\/.*|errors|limits)\.ts$/,
    types: /^src\/(body|stream|exchange|logger)\.ts$/,
  },
  {
    files: /^src\/wire_exchange\.ts$/,
    imports: /^src\/(body|response|errors)\.ts$/,
    types: /^src\/(stream|exchange|gate|wire|http\/head)\.ts$/,
  },
  {
    files: /^src\/own_answer\.ts$/,
    imports: /^src\/(response|http\/.*)\.ts$/,
    types: /^src\/(wire|errors)\.ts$/,
  },
  {
    files: /^src\/stall\.ts$/,
    imports: nothing,
    types: /^src\/(body|wire)\.ts$/,
  },
  {
    files: /^src\/connection\.ts$/,
    imports:
      /^src\/(wire|wire_exchange|body|response|own_answer|stall|next_turn|http\/.*|errors|limits|logger)\.ts$/,
    types: /^src\/(stream|exchange|wsgi|errors|limits|logger|gate|roster)\.ts$/,
  },
  { files: /^src\/roster\.ts$/, imports: nothing, types: nothing },
  {
    files: /^src\/gateway\.ts$/,
    imports: /^src\/(connection|errors|later|limits|logger|roster)\.ts$/,
    types: doors,
  },
  {
    files: /^src\/apps\//,
    imports:
      /^src\/(?!(wire|wire_exchange|stream|body|response|connection|gateway|serve)\.ts$)/,
    types: /^src\/stream\.ts$/,
  },
  {
    files: /^adapters\//,
    imports: /^(adapters\/.*|src\/errors\.ts|node:.*)$/,
    types: /^src\/(stream|host|backend_host|file_source|daemon\/host)\.ts$/,
  },
];

/** Who alone may import what. */
const closed: readonly { target: RegExp; importers: RegExp }[] = [
  { target: /^@std\/log$/, importers: /^src\/log\.ts$/ },
  { target: /^@std\/cli\//, importers: /^src\/command_line\.ts$/ },
  {
    target: /^src\/(body|response)\.ts$/,
    importers: /^src\/(body|response|wire_exchange|own_answer|connection)\.ts$/,
  },
  {
    target: /^src\/(wire_exchange|own_answer|stall)\.ts$/,
    importers: /^src\/connection\.ts$/,
  },
  { target: /^src\/connection\.ts$/, importers: /^src\/gateway\.ts$/ },
  {
    // Public, because buffered reading over a ByteStream is of use by itself.
    target: /^src\/wire\.ts$/,
    importers: /^(src\/(body|response|wire_exchange|connection)\.ts|mod\.ts)$/,
  },
  { target: /^adapters\//, importers: /^(adapters\/.*|src\/bin\.ts|mod\.ts)$/ },
  { target: /^mod\.ts$/, importers: nothing },
];

/** What is not of the repository and yet may be imported, by whom. */
const outside: readonly { target: RegExp; importers: RegExp }[] = [
  { target: /^@std\/(log$|cli\/)/, importers: /^src\// },
  { target: /^node:/, importers: /^adapters\// },
];

/** Complains of imports that point the wrong way. */
export function checkArrows(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) =>
    importsOf(file.text)
      .filter((one) => !mayImport(file.path, one))
      .map((one) => `${file.path} imports ${one.specifier}`)
  );
}

function mayImport(path: string, one: Import): boolean {
  const target = resolve(path, one.specifier);
  const local = one.specifier.startsWith(".");
  if (!local && !anyAllows(outside, path, target)) return false;
  const restricted = closed.filter((rule) => rule.target.test(target));
  const room = rooms.find(({ files }) => files.test(path));
  // `response` names a type of `body`; as a type that is the room's affair.
  if (one.typeOnly && room?.types.test(target)) return true;
  if (!restricted.every((rule) => rule.importers.test(path))) return false;
  return room === undefined || room.imports.test(target);
}

function anyAllows(
  rules: readonly { target: RegExp; importers: RegExp }[],
  path: string,
  target: string,
): boolean {
  return rules.some((rule) =>
    rule.target.test(target) && rule.importers.test(path)
  );
}

/** The path that a relative specifier means; another specifier as it is. */
export function resolve(from: string, specifier: string): string {
  if (!specifier.startsWith(".")) return specifier;
  const steps = from.split("/").slice(0, -1);
  for (const step of specifier.split("/")) {
    if (step === "..") steps.pop();
    else if (step !== ".") steps.push(step);
  }
  return steps.join("/");
}

/** Complains of files under src/ that name a runtime in code: as a word, or as
 * a string that is nothing else. src/bin.ts joins runtimes, as mod.ts does, and
 * still names none. Octets are decoded by a Buffer where there is one. */
export function checkRuntimeNames(files: readonly SourceFile[]): string[] {
  const names = new Set(["Deno", "Bun", "process", "Buffer", "require"]);
  return files.filter(({ path }) => path.startsWith("src/")).flatMap((file) =>
    tokenize(file.text)
      .filter(({ kind, text }, index, tokens) =>
        kind === "word"
          ? names.has(text) && tokens[index - 1]?.text !== "." &&
            !(text === "Buffer" && file.path === "src/http/bytes.ts")
          : kind === "text" &&
            /^(Deno|Bun|(node|bun|deno|npm|jsr):.*)$/.test(text)
      )
      .map(({ text }) => `${file.path} names ${text}`)
  );
}

/** Complains of files under src/ and adapters/ that no import leads to. */
export function checkReachable(
  files: readonly SourceFile[],
  roots: readonly string[],
): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const reached = new Set<string>();
  const open = [...roots];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const file = byPath.get(path);
    if (file === undefined || reached.has(path)) continue;
    reached.add(path);
    for (const { specifier } of importsOf(file.text)) {
      open.push(resolve(path, specifier));
    }
  }
  return files.filter(({ path }) => !reached.has(path))
    .map(({ path }) => `${path} is reached from none of ${roots.join(", ")}`);
}

/** What a start does without, unless it is asked for: every module costs time,
 * and some what they touch of the runtime. */
const onDemand =
  /^src\/(daemon\/(?!role\.)|fastcgi\/|python\/|dev|hooks\.|outside\.|backends\.|completions\.|config_(file|report)\.|help_page\.|apps\/(fetch|to_|held_|kept_|streamed_|pending_|light_|runtime_|mount|lint|files|file_path|cgi|scgi|python|server_address))|^adapters\/(?!(detect|memory_count)\.)/;

/** Complains of files that are loaded before the program runs, and only some
 * need. */
export function checkStart(
  files: readonly SourceFile[],
  program: string,
): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const loaded = new Map([[program, ""]]);
  for (const [path] of loaded) {
    for (const one of importsOf(byPath.get(path)?.text ?? "")) {
      const target = resolve(path, one.specifier);
      if (one.typeOnly || one.onDemand || loaded.has(target)) continue;
      loaded.set(target, path);
    }
  }
  return [...loaded].filter(([path]) => onDemand.test(path))
    .map(([path, importer]) => `${importer} has ${path} loaded at each start`);
}

/** Complains of files that the map of the house does not name, and of names on
 * the map that are no file. The map names a file in backquotes, one of src/ by
 * its path from there. */
export function checkMap(
  map: string,
  files: readonly SourceFile[],
): string[] {
  const named = new Set(
    [...map.matchAll(/`([\w./-]+\.ts)`/g)].map((match) => match[1]!),
  );
  const paths = new Set(files.map(({ path }) => path));
  const missing = [...paths]
    .filter((path) =>
      !named.has(path) && !named.has(path.replace(/^src\//, ""))
    )
    .map((path) => `${path} is not on the map`);
  const stale = [...named]
    .filter((name) =>
      !name.startsWith("tests/") && !name.startsWith("examples/")
    )
    .filter((name) => !paths.has(name) && !paths.has(`src/${name}`))
    .map((name) => `${name} is on the map and nowhere else`);
  return [...missing, ...stale];
}

/** How many lines a file may have without a reason. */
const mostLines = 400;

/** Complains of long files whose charter does not tell why. The reason stands
 * in the charter behind the word "Length:". */
export function checkLength(files: readonly SourceFile[]): string[] {
  return files
    .map(({ path, text }) => ({
      path,
      lines: text.split("\n").length - 1,
      explained: /\bLength: \S/.test(charter(text)),
    }))
    .filter(({ lines, explained }) => lines > mostLines && !explained)
    .map(({ path, lines }) =>
      `${path} has ${lines} lines and no "Length:" in its charter`
    );
}

/** Complains of files that do not open with a charter. */
export function checkCharter(files: readonly SourceFile[]): string[] {
  return files.filter(({ text }) => charter(text) === "")
    .map(({ path }) => `${path} opens without a charter`);
}

/** The doc comment that a file opens with; "" when there is none. */
function charter(text: string): string {
  return /^(?:#![^\n]*\n)?(\/\*\*[^]*?\*\/)/.exec(text)?.[1] ?? "";
}

/** Complains of what was left for later. */
export function checkLeftovers(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, text }) =>
    [...text.matchAll(/\b(?:TODO|FIXME|XXX|HACK)\b/g)]
      .map(([word]) => `${path} says ${word}`)
  );
}
