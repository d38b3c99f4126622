/**
 * Which program of a directory the path of a request names, and what it is told
 * of that: `SCRIPT_NAME`, `PATH_INFO` and `PATH_TRANSLATED` (RFC 3875 §4.1).
 *
 * The longest beginning of the path that is a file is the program, and what
 * follows is its `PATH_INFO`. What could lead out of the directory, and what is
 * hidden, is refused by its spelling (`file_path.ts`) before the file system is
 * asked; symbolic links that lead out, by the path that the file system makes of
 * them.
 */
import type { FileSource, OpenFile } from "../file_source.ts";
import { percentDecoded } from "../http/path_octets.ts";
import {
  hasPrefix,
  isWithin,
  pathPrefix,
  readFilePath,
  readStep,
} from "./file_path.ts";

/** Where programs are, and what is one. */
export interface ScriptRules {
  /** Where they are read. */
  readonly files: FileSource;
  /** Their directory. */
  readonly directory: string;
  /** What their paths begin with in a URL, as it stands there: "/cgi-bin";
   * default "/". */
  readonly prefix?: string;
  /** Whether a file is a program, by its absolute path without symbolic links. */
  isScript(file: string): boolean;
  /** Whether a step of a path may name a program before the path's end, so that
   * the file system is worth asking; default yes. */
  readonly mayPrecede?: (step: string) => boolean;
  /** The programs that stand for the directory that they are in, the preferred
   * one first; default none. */
  readonly index?: readonly string[];
}

/** A program, and what it is told. Values are one character per octet, but for
 * paths of this machine. */
export interface Script {
  /** "script". */
  readonly kind: "script";
  /** Its absolute path, with no symbolic link left in it. */
  readonly file: string;
  /** `SCRIPT_NAME`: the path that names it, the prefix included, decoded. */
  readonly scriptName: string;
  /** `PATH_INFO`: what follows, decoded; "" where nothing does. */
  readonly pathInfo: string;
  /** `PATH_TRANSLATED`: `PATH_INFO` as a path of this machine; undefined where
   * there is none, or where it could lead out of the directory. */
  readonly pathTranslated: string | undefined;
}

/** What a path names: a program; a "file" that is none; a directory that has a
 * program for it, which only a "slash" at the path's end would name; another
 * "directory"; "nothing" that is here. */
export type ScriptMatch =
  | Script
  | { readonly kind: "file" | "slash" | "directory" | "nothing" };

const nothing: ScriptMatch = Object.freeze({ kind: "nothing" });
const bareDirectory: ScriptMatch = Object.freeze({ kind: "directory" });

/** The programs of a directory. */
export class Scripts {
  readonly #rules: ScriptRules;
  readonly #prefix: string;
  readonly #mayPrecede: (step: string) => boolean;
  /** The directory without symbolic links, as it was when it was asked last. */
  #root: string | undefined;

  constructor(rules: ScriptRules) {
    this.#rules = rules;
    this.#prefix = pathPrefix(rules.prefix ?? "/");
    this.#mayPrecede = rules.mayPrecede ?? (() => true);
  }

  /** What a path names: the one of a request's target, still percent-encoded.
   * Rejects with the error of the file system, as in "EACCES". */
  async find(path: string): Promise<ScriptMatch> {
    if (!hasPrefix(this.#prefix, path)) return nothing;
    const below = path.slice(this.#prefix.length);
    const whole = readFilePath(below);
    if (whole !== undefined) {
      const found = await this.#look(whole.steps);
      if (found?.kind === "file" && !whole.directory) {
        return this.#match(found.file, path, "");
      }
      if (found?.kind === "directory") {
        return await this.#findIndex(path, whole.steps, whole.directory);
      }
    }
    return await this.#findBefore(path, below.split("/").slice(1));
  }

  /** The directory's own program. */
  async #findIndex(
    path: string,
    steps: readonly string[],
    slash: boolean,
  ): Promise<ScriptMatch> {
    for (const name of this.#rules.index ?? []) {
      const found = await this.#look([...steps, name]);
      if (found?.kind !== "file" || !this.#rules.isScript(found.file)) continue;
      return slash
        ? this.#match(found.file, path + name, "")
        : { kind: "slash" };
    }
    return bareDirectory;
  }

  /** A program that only the beginning of the path names. */
  async #findBefore(
    path: string,
    encoded: readonly string[],
  ): Promise<ScriptMatch> {
    const steps: string[] = [];
    let length = this.#prefix.length;
    for (const one of encoded.slice(0, -1)) {
      const step = readStep(one);
      if (step === undefined) break;
      steps.push(step);
      length += 1 + one.length;
      if (!this.#mayPrecede(step)) continue;
      const found = await this.#look(steps);
      if (found === undefined) break; // nothing is below what is not there
      if (found.kind !== "file") continue;
      if (!this.#rules.isScript(found.file)) break;
      return this.#match(found.file, path.slice(0, length), path.slice(length));
    }
    return nothing;
  }

  #match(file: string, path: string, rest: string): ScriptMatch {
    if (!this.#rules.isScript(file)) return { kind: "file" };
    // A separator that is none, and the end of a variable's value.
    if (/%(2f|00)/i.test(rest)) return nothing;
    return {
      kind: "script",
      file,
      scriptName: percentDecoded(path),
      pathInfo: percentDecoded(rest),
      pathTranslated: this.#translate(rest),
    };
  }

  /** `PATH_INFO` is a path of this site, of which only what is below the prefix
   * is known to have a place here. */
  #translate(rest: string): string | undefined {
    if (rest === "" || !hasPrefix(this.#prefix, rest)) return undefined;
    const read = readFilePath(rest.slice(this.#prefix.length));
    if (read === undefined || this.#root === undefined) return undefined;
    return [this.#root, ...read.steps].join("/") + (read.directory ? "/" : "");
  }

  /** What stands there, unless a link leads out. */
  async #look(steps: readonly string[]): Promise<
    { readonly kind: OpenFile["kind"]; readonly file: string } | undefined
  > {
    const { files, directory } = this.#rules;
    const file = await files.resolve([directory, ...steps].join("/"));
    if (file === undefined || !await this.#holds(file)) return undefined;
    const kind = await files.kind(file);
    return kind && { kind, file };
  }

  /** Whether a path without symbolic links is in the directory, which may be
   * such a link itself, and lead to another place after a while. */
  async #holds(file: string): Promise<boolean> {
    if (this.#root !== undefined && isWithin(this.#root, file)) return true;
    const { files, directory } = this.#rules;
    this.#root = await files.resolve(directory);
    return this.#root !== undefined && isWithin(this.#root, file);
  }
}
