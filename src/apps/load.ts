/**
 * Takes an application out of the module that holds it: `FILE:NAME`, or `FILE`
 * alone for the default export. Each kind of application is one variant of
 * `LoadedApplication`; whoever joins the rooms turns a variant to a handler.
 * An application's properties are never read to guess what it might be: a
 * getter may answer anything and do anything.
 *
 * @module
 */
import { CommandError } from "../command_error.ts";
import type { ModuleName } from "./application_name.ts";
import type { Handler } from "../exchange.ts";
import type { Host, ImportFailure, ModuleExports } from "../host.ts";
import type { Application } from "../wsgi.ts";
import type { FetchHandler } from "./fetch.ts";

/** What the user says the application is; "auto" leaves it to us. */
export type RequestedType = "auto" | "wsgi" | "fetch" | "handler";

/** An application and the interface that it speaks. */
export type LoadedApplication =
  & {
    /** The file of the module that holds it. */
    readonly path: string;
    /** What else the module that holds it exports. */
    readonly exports: ModuleExports;
  }
  & (
    | { readonly kind: "wsgi"; readonly application: Application }
    | { readonly kind: "fetch"; readonly application: FetchHandler }
    | { readonly kind: "handler"; readonly application: Handler }
  );

/** Imports the module and takes the application out of it. Throws
 * `CommandError` that says what is wrong, where, and how to fix it. */
export async function loadApplication(
  name: ModuleName,
  type: RequestedType,
  host: Host,
): Promise<LoadedApplication> {
  checkFile(name.path, host);
  const outcome = await host.importModule(name.path);
  if ("failure" in outcome) throw explain(name.path, outcome.failure);
  return selectApplication(name, type, outcome.exports);
}

function checkFile(path: string, host: Host): void {
  const kind = host.status(path)?.kind;
  switch (kind) {
    case "file":
      return;
    case undefined:
      throw new CommandError(
        1,
        `No file ${path} in ${host.cwd()}`,
        "Check the spelling, or start in the directory that holds it.",
      );
    case "hidden":
      throw new CommandError(
        1,
        `No permission to look at ${path}`,
        "Have its directories made readable, or start as another user.",
      );
    default:
      throw new CommandError(
        1,
        `${path} is not a file`,
        "Name the module inside it.",
      );
  }
}

const failureMessages: Readonly<
  Record<ImportFailure["reason"], (path: string) => [string, string]>
> = {
  typescript: (path) => [
    `Cannot load ${path}: this runtime does not read it as TypeScript`,
    "Use Node 22.18 or later, Deno or Bun, or compile it to JavaScript first. " +
    "Node reads no .tsx and no enums.",
  ],
  syntax: (path) => [
    `Cannot load ${path}: it, or a module it imports, does not parse or link`,
    "Correct the line that is shown and start again.",
  ],
  missing: (path) => [
    `Cannot load ${path}: a module that it imports is missing`,
    "Install what is missing, or correct the import.",
  ],
  threw: (path) => [
    `Cannot load ${path}: it threw while it was imported`,
    "Correct what threw and start again.",
  ],
};

function explain(path: string, failure: ImportFailure): CommandError {
  const [message, remedy] = failureMessages[failure.reason](path);
  return new CommandError(1, message, remedy, failure.account);
}

/** Takes the application out of a module: the named export; without a name what
 * has a `fetch` (the module, its default export, the default export of that),
 * else the default export, if the type says what that is. */
export function selectApplication(
  { path, name }: ModuleName,
  type: RequestedType,
  exports: ModuleExports,
): LoadedApplication {
  if (type === "auto" || type === "fetch") {
    const application = findFetch(name, exports);
    if (application !== undefined) {
      return { kind: "fetch", application, exports, path };
    }
  }
  const where = name === undefined ? path : `${path}:${name}`;
  const value = findExport(path, name, exports);
  if (type === "auto" && name === undefined) throw undecided(path, exports);
  if (typeof value !== "function") {
    throw new CommandError(
      1,
      `${where} is ${describe(value)}, not an application`,
      "Export an object with a fetch(request) method, or a WSGI application: " +
        "(environ, startResponse) => body.",
    );
  }
  if (isClass(value)) {
    throw new CommandError(
      1,
      `${where} is a class, which cannot be called without new`,
      "Export a function: " +
        `(environ, startResponse) => new ${value.name || "App"}(...).`,
    );
  }
  if (type === "fetch") {
    return { kind: "fetch", application: value as FetchHandler, exports, path };
  }
  if (type === "handler") {
    return { kind: "handler", application: value as Handler, exports, path };
  }
  if (type === "auto") checkParameters(where, value.length);
  return { kind: "wsgi", application: value as Application, exports, path };
}

/** Whatever has a `fetch` says itself what it is. */
function findFetch(
  name: string | undefined,
  exports: ModuleExports,
): FetchHandler | undefined {
  if (name !== undefined) return fetchOf(own(exports, name));
  const given = own(exports, "default");
  return fetchOf(exports) ?? fetchOf(given) ??
    // What a CommonJS module exports as default is within its exports.
    fetchOf(isObject(given) ? own(given, "default") : undefined);
}

/** Nothing but this one property is looked at: a router may answer to every
 * name. It is called as a method, because most are written as one. */
function fetchOf(holder: unknown): FetchHandler | undefined {
  if (!isObject(holder) || typeof holder["fetch"] !== "function") {
    return undefined;
  }
  const owner = holder as { fetch: FetchHandler };
  return (request, info, context) => owner.fetch(request, info, context);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function own(holder: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(holder, name) ? holder[name] : undefined;
}

// deno-lint-ignore ban-types -- any function may have been exported
function isClass(value: Function): boolean {
  return /^class\b/.test(Function.prototype.toString.call(value));
}

function findExport(
  path: string,
  name: string | undefined,
  exports: ModuleExports,
): unknown {
  const key = name ?? "default";
  if (Object.hasOwn(exports, key)) return exports[key];
  const what = name === undefined ? "no default export" : `no export "${name}"`;
  throw new CommandError(
    1,
    `${path} has ${what}; it exports ${list(Object.keys(exports))}`,
    suggest(path, exports),
  );
}

function list(names: readonly string[]): string {
  return names.length === 0 ? "nothing" : names.join(", ");
}

function suggest(path: string, exports: ModuleExports): string {
  const name = callables(exports)[0];
  return name === undefined
    ? "Export the application: " +
      "export const app = (environ, startResponse) => ..."
    : `Try ${path}:${name}.`;
}

function callables(exports: ModuleExports): string[] {
  return Object.keys(exports)
    .filter((name) => typeof exports[name] === "function");
}

function undecided(path: string, exports: ModuleExports): CommandError {
  const named = callables(exports).find((name) => name !== "default");
  const example = named === undefined ? "" : `, or name ${path}:${named}`;
  return new CommandError(
    1,
    `Cannot tell what the default export of ${path} is`,
    "A function can be any: add --type fetch if it takes a Request, " +
      "--type wsgi if (environ, startResponse), --type handler if an exchange" +
      `${example}.`,
  );
}

// A default or a rest parameter does not count, which is why --type decides.
function checkParameters(where: string, count: number): void {
  if (count === 2) return;
  throw new CommandError(
    1,
    `${where} takes ${count} parameter${count === 1 ? "" : "s"}; ` +
      "a WSGI application takes two (environ, startResponse)",
    "Add --type fetch if it takes a Request, --type handler if an exchange, " +
      "--type wsgi if it is one nonetheless.",
  );
}

function describe(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (value === undefined) return "undefined";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
