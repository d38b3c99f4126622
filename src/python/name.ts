/**
 * Whether what the command line names is a Python application, and which:
 * `module:callable`, `package.module:create()`, `app.py:app`. A file's
 * extension decides; where a name has none, the file that is there does.
 * Pure: it looks at the machine through one function.
 *
 * @module
 */
import { CommandError } from "../command_error.ts";
import { checkModuleFile } from "../module_file.ts";

/** A Python application, as its interpreter is told of it. */
export interface PythonName {
  /** What is imported, as in "package.module". */
  readonly module: string;
  /** What the module has: a name, a path of attributes, or a call; undefined
   * for `application` or `app`, whichever it has. */
  readonly callable: string | undefined;
  /** Where the module is looked for first; undefined for the working
   * directory. */
  readonly directory: string | undefined;
}

/** What a name is judged by. */
export interface Surroundings {
  /** What stands at a path, as `Host.status` has it; undefined for nothing. */
  kind(path: string): string | undefined;
  /** Where else modules are looked for: `--pythonpath`. */
  readonly pythonpath: readonly string[];
  /** Extensions of files in JavaScript and TypeScript, with their dots. */
  readonly scriptExtensions: readonly string[];
}

const identifier = String.raw`[\p{ID_Start}_]\p{ID_Continue}*`;
const dotted = String.raw`${identifier}(?:\.${identifier})*`;
const modulePattern = new RegExp(`^${dotted}$`, "u");
const callablePattern = new RegExp(String.raw`^${dotted}(?:\(.*\))?$`, "su");

/** The Python application that `text` names; undefined when it names none, as
 * JavaScript and TypeScript files do. Throws `CommandError` when it looks like
 * one and cannot be, or when a file shows that something else was meant. */
export function pythonName(
  text: string,
  around: Surroundings,
): PythonName | undefined {
  if (isScript(text, around)) return undefined;
  const file = /^(.+?\.py)(?::(.*))?$/s.exec(text);
  if (file !== null) return ofFile(file[1] ?? "", file[2], around);
  const colon = text.indexOf(":");
  const module = colon === -1 ? text : text.slice(0, colon);
  const callable = colon === -1 ? undefined : text.slice(colon + 1);
  if (!modulePattern.test(module)) {
    return refuseUnwritten(module, callable, around);
  }
  const found = moduleFile(module, around) !== undefined;
  if (!found) refuseUnwritten(module.replaceAll(".", "/"), callable, around);
  if (found || (callable !== undefined && callablePattern.test(callable))) {
    checkCallable(text, module, callable);
    return { module, callable, directory: undefined };
  }
  return undefined;
}

/** As the responder is told: "package.module:callable", or the module alone. */
export function formatPythonName({ module, callable }: PythonName): string {
  return callable === undefined ? module : `${module}:${callable}`;
}

function isScript(text: string, { scriptExtensions }: Surroundings): boolean {
  const path = /^(.+):[^/\\.:]*$/.exec(text)?.[1] ?? text;
  return scriptExtensions.some((extension) => path.endsWith(extension));
}

/** A file is a module of the package that holds it, and that one of the next,
 * for as long as there is an `__init__.py`. */
function ofFile(
  path: string,
  callable: string | undefined,
  around: Surroundings,
): PythonName {
  checkModuleFile(path, around.kind(path), {
    absent: [
      `No file ${path}`,
      "Check the spelling, start in the directory that holds it, or name " +
      "that with --chdir.",
    ],
    inside: "Python module",
  });
  checkCallable(path, path, callable);
  const steps = path.split("/").filter((step, index) =>
    step !== "." && (step !== "" || index === 0)
  );
  const parts = [(steps.pop() ?? "").slice(0, -".py".length)];
  if (parts[0] === "__init__") parts.pop();
  while (isPackage(steps, around) || parts.length === 0) {
    parts.unshift(steps.pop() ?? "");
  }
  const odd = parts.find((part) => part === "" || part.includes("."));
  if (odd !== undefined) {
    throw new CommandError(
      2,
      `Python cannot import ${path} by its name`,
      "Rename it so that no part of its path within the package has a dot.",
    );
  }
  return {
    module: parts.join("."),
    callable,
    directory: directoryOf(steps),
  };
}

function isPackage(steps: readonly string[], around: Surroundings): boolean {
  const last = steps.at(-1) ?? "";
  return last !== "" && last !== ".." &&
    around.kind([...steps, "__init__.py"].join("/")) === "file";
}

function directoryOf(steps: readonly string[]): string | undefined {
  if (steps.length === 0) return undefined;
  return steps.length === 1 && steps[0] === "" ? "/" : steps.join("/");
}

/** Where the module's file is; undefined when it is not below the directories
 * that we know of: the interpreter has others. */
function moduleFile(module: string, around: Surroundings): string | undefined {
  const path = module.replaceAll(".", "/");
  for (const directory of ["", ...around.pythonpath]) {
    const base = directory === "" ? path : `${directory}/${path}`;
    for (const file of [`${base}.py`, `${base}/__init__.py`]) {
      if (around.kind(file) === "file") return file;
    }
  }
  return undefined;
}

/** Complains when `path` lacks no more than an extension. */
function refuseUnwritten(
  path: string,
  callable: string | undefined,
  { kind, scriptExtensions }: Surroundings,
): undefined {
  const extension = [...scriptExtensions, ".py"]
    .find((extension) => kind(path + extension) === "file");
  if (extension === undefined) return;
  const name = callable === undefined ? "" : `:${callable}`;
  throw new CommandError(
    2,
    `${path}${name} lacks the file's extension`,
    `Write ${path}${extension}${name}.`,
  );
}

function checkCallable(
  text: string,
  where: string,
  callable: string | undefined,
): void {
  if (callable === undefined || callablePattern.test(callable)) return;
  if (callable === "") {
    throw new CommandError(
      2,
      `No name after the colon in ${text}`,
      `Write ${where}:app, or ${where} alone.`,
    );
  }
  throw new CommandError(
    2,
    `${callable} is not the name of something in ${where}`,
    `Write ${where}:app, or ${where}:create() to have it made by a call.`,
  );
}
