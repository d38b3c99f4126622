/** Has a module read anew that was imported before. Imported on demand: a
 * reload needs it, a start does not. */
import { realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** What to import in order to have the module at `href` as its file is now.
 * What it imports itself stays as it was. `reading` tells one time from
 * another. */
export function freshSpecifier(href: string, reading: number): string {
  // A query makes another module of it, but CommonJS is remembered by its path.
  delete createRequire(href).cache[realpathSync(new URL(href))];
  // Bun overlooks the query of a file: URL.
  const known = "Bun" in globalThis ? fileURLToPath(href) : href;
  return `${known}?reading=${reading}`;
}
