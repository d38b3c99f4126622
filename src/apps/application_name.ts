/**
 * What the command line names to be served, by the shape of its name and the
 * files that are there. Nothing is loaded for it yet.
 *
 * @module
 */
import { CommandError } from "../command_error.ts";
import type { Host } from "../host.ts";
import type { PythonName } from "../python/name.ts";
import type { ServerAddress } from "./server_address.ts";

/** A module in JavaScript or TypeScript, and what it exports. */
export interface ModuleName {
  /** The module's file, relative to the working directory or absolute. */
  readonly path: string;
  /** The export; undefined for the default export of a file named alone. */
  readonly name: string | undefined;
}

/** What a name stands for. */
export type ApplicationName =
  | { readonly kind: "module"; readonly module: ModuleName }
  | { readonly kind: "python"; readonly python: PythonName }
  | { readonly kind: "server"; readonly server: ServerAddress };

/** Extensions of files in JavaScript and TypeScript. */
const extensions = [".ts", ".mts", ".tsx", ".js", ".mjs", ".jsx", ".cjs"];

/** Reads a name. `pythonpath` is where modules in Python are looked for besides
 * the working directory. Rejects with `CommandError`. */
export async function readApplicationName(
  text: string,
  host: Pick<Host, "status">,
  pythonpath: readonly string[] = [],
): Promise<ApplicationName> {
  const module = splitModuleName(text);
  if (isScript(module.path)) return { kind: "module", module: check(module) };
  const { parseServerAddress } = await import("./server_address.ts");
  const server = parseServerAddress(text);
  if (server !== undefined) return { kind: "server", server };
  const { pythonName } = await import("../python/name.ts");
  const python = text === "" ? undefined : pythonName(text, {
    kind: (path) => host.status(path)?.kind,
    pythonpath,
    scriptExtensions: extensions,
  });
  if (python !== undefined) return { kind: "python", python };
  throw text === ""
    ? new CommandError(
      2,
      "The application's name is empty",
      "Write FILE:NAME, as in app.ts:app, or nothing for the welcome page.",
    )
    : new CommandError(
      2,
      `${module.path} is neither a JavaScript or TypeScript file nor a ` +
        "Python module",
      "Name a file that ends in .js, .mjs, .ts, .mts or .tsx, as in " +
        "app.ts:app, or a Python module with its callable, as in app:app.",
    );
}

/** The colon of "C:\\app.ts" is followed by a path, never by a name alone. */
function splitModuleName(text: string): ModuleName {
  const match = /^(.+):([^/\\.:]*)$/.exec(text);
  return { path: match?.[1] ?? text, name: match?.[2] };
}

function isScript(path: string): boolean {
  return extensions.some((extension) => path.endsWith(extension));
}

function check(module: ModuleName): ModuleName {
  if (module.name !== "") return module;
  throw new CommandError(
    2,
    `No name after the colon in ${module.path}:`,
    `Write ${module.path}:app, or ${module.path} alone for the default export.`,
  );
}
