/**
 * Takes an application out of the module that holds it: `FILE:NAME`, or `FILE`
 * alone for the default export. Each kind of application is one variant of
 * `LoadedApplication`; whoever joins the rooms turns a variant to a handler.
 * An application's properties are never read to guess what it might be: a
 * getter may answer anything and do anything.
 *
 * @module
 */
import { formatAddress } from "../bind.ts";
import { CommandError } from "../command_error.ts";
import type { ModuleName } from "./application_name.ts";
import type { Handler } from "../exchange.ts";
import type { Host, ImportFailure, ModuleExports } from "../host.ts";
import { later } from "../later.ts";
import { checkModuleFile } from "../module_file.ts";
import type { Application } from "../wsgi.ts";
import type { Address } from "../stream.ts";
import type { FetchHandler } from "./fetch.ts";
import {
  type ModuleSettings,
  readModuleSettings,
  recovering,
} from "./module_settings.ts";

/** What the user says the application is; "auto" leaves it to us. */
export type RequestedType = "auto" | "wsgi" | "fetch" | "handler";

/** An application and the interface that it speaks. */
export type LoadedApplication =
  & {
    /** The file of the module that holds it. */
    readonly path: string;
    /** What else the module that holds it exports. */
    readonly exports: ModuleExports;
    /** What is probably not as it was meant: whole sentences without a full
     * stop, for the log. */
    readonly warnings: readonly string[];
  }
  & (
    | { readonly kind: "wsgi"; readonly application: Application }
    | {
      readonly kind: "fetch";
      readonly application: FetchHandler;
      /** What the module says of how it is to be served. */
      readonly settings: ModuleSettings | undefined;
    }
    | { readonly kind: "handler"; readonly application: Handler }
  );

/** Imports the module and takes the application out of it. Throws
 * `CommandError` that says what is wrong, where, and how to fix it. */
export async function loadApplication(
  name: ModuleName,
  type: RequestedType,
  host: Host,
): Promise<LoadedApplication> {
  const { path } = name;
  checkModuleFile(path, host.status(path)?.kind, {
    absent: [
      `No file ${path} in ${host.cwd()}`,
      "Check the spelling, or start in the directory that holds it.",
    ],
    inside: "module",
  });
  const newListeners = host.watchListeners();
  const outcome = await host.importModule(path);
  if ("failure" in outcome) throw explain(path, outcome.failure);
  let loaded: LoadedApplication;
  try {
    loaded = selectApplication(name, type, outcome.exports);
  } catch (error) {
    throw listensItself(path, await soonListening(newListeners)) ?? error;
  }
  // `listen()` with a host has looked it up by the next turn.
  await new Promise<void>((resolve) => later(0, resolve));
  const addresses = await newListeners();
  if (addresses.length === 0) return loaded;
  const warning = `${path} listens on ${list(addresses.map(formatAddress))} ` +
    "itself, beside what is served here; leave that out unless it is meant";
  return { ...loaded, warnings: [...loaded.warnings, warning] };
}

/** How long a `listen()` may take to be done, which looks a name up. */
const listenMs = 300;

/** Listeners that are there, or are about to be. */
async function soonListening(
  newListeners: () => Promise<readonly Address[]>,
): Promise<readonly Address[]> {
  const deadline = performance.now() + listenMs;
  for (;;) {
    const addresses = await newListeners();
    if (addresses.length > 0 || performance.now() > deadline) return addresses;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A module that holds no application, and is a server by itself. */
function listensItself(
  path: string,
  addresses: readonly Address[],
): CommandError | undefined {
  if (addresses.length === 0) return undefined;
  return new CommandError(
    1,
    `${path} exports no application, and listens on ` +
      `${list(addresses.map(formatAddress))} itself`,
    listeningIsOurs,
  );
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
  // Workers get in each other's way where a module listens by itself.
  const occupied = failure.reason === "threw" &&
    /EADDRINUSE|AddrInUse|Is port \d+ in use/.test(failure.account);
  return new CommandError(
    1,
    message,
    occupied ? listeningIsOurs : remedy,
    failure.account,
  );
}

const listeningIsOurs =
  "Listening is done here: export what Deno.serve() or Bun.serve() is given, " +
  "as in export default { fetch }, and leave the call out. What takes (req, " +
  "res), as node:http has it, is no application.";

/** Takes the application out of a module: the named export; without a name what
 * has a `fetch` (the module, its default export, the default export of that),
 * else the default export, if the type says what that is. */
export function selectApplication(
  module: ModuleName,
  type: RequestedType,
  exports: ModuleExports,
): LoadedApplication {
  const { path, name } = module;
  if (type === "auto" || type === "fetch") {
    const holder = findFetch(name, exports);
    if (holder !== undefined) return fetchApplication(holder, exports, module);
  }
  const where = name === undefined ? path : `${path}:${name}`;
  const rest = { exports, path, warnings: [] };
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
    const application = value as FetchHandler;
    return { kind: "fetch", application, settings: undefined, ...rest };
  }
  if (type === "handler") {
    return { kind: "handler", application: value as Handler, ...rest };
  }
  if (type === "auto") checkParameters(where, value.length);
  return { kind: "wsgi", application: value as Application, ...rest };
}

/** What has a `fetch`. */
interface FetchHolder {
  fetch: FetchHandler;
}

/** Whatever has a `fetch` says itself what it is. */
function findFetch(
  name: string | undefined,
  exports: ModuleExports,
): FetchHolder | undefined {
  if (name !== undefined) return withFetch(own(exports, name));
  const given = own(exports, "default");
  const [module, whole] = [withFetch(exports), withFetch(given)];
  return isWholeOf(whole, module) ? whole : module ?? whole ??
    // What a CommonJS module exports as default is within its exports.
    withFetch(isObject(given) ? own(given, "default") : undefined);
}

/** The `module.exports` of CommonJS is the default export, and it is up to the
 * runtime what of it is exported by name besides. A compiler's `__esModule` says
 * that those are names, and no object of the author's. */
function isWholeOf(
  whole: FetchHolder | undefined,
  module: FetchHolder | undefined,
): whole is FetchHolder {
  return whole !== undefined && whole.fetch === module?.fetch &&
    !Object.hasOwn(whole, "__esModule");
}

/** Nothing but this one property is looked at: a router may answer to every
 * name. */
function withFetch(holder: unknown): FetchHolder | undefined {
  return isObject(holder) && typeof holder["fetch"] === "function"
    ? holder as unknown as FetchHolder
    : undefined;
}

function fetchApplication(
  holder: FetchHolder,
  exports: ModuleExports,
  { path, name }: ModuleName,
): LoadedApplication {
  const where = name === undefined
    ? `the default export of ${path}`
    : `${path}:${name}`;
  // What else a module exports is not said of its `fetch`.
  const settings = holder as unknown === exports
    ? undefined
    : readModuleSettings(holder, where);
  const unread = settings?.unread ?? [];
  // Called as a method, because most are written as one.
  const handle: FetchHandler = (request, info, context) =>
    holder.fetch(request, info, context);
  return {
    kind: "fetch",
    application: settings?.error === undefined
      ? handle
      : recovering(handle, settings.error),
    settings,
    exports,
    path,
    warnings: unread.length === 0
      ? []
      : [`Nothing reads ${list(unread)} of ${where}`],
  };
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
    ? "Export the application, as in export default { fetch } or export const " +
      "app = (environ, startResponse) => ...; listening is done here."
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
