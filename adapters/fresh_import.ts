/** Has a module read anew that was imported before. Imported on demand: a
 * reload needs it, a start does not. */
import { realpathSync } from "node:fs";
import { createRequire } from "node:module";

/** What to import in order to have the module at `href` as its file is now.
 * What it imports itself stays as it was. `reading` tells one time from
 * another. */
export function freshSpecifier(href: string, reading: number): string {
  // A query makes another module of it; but CommonJS, and on Bun every module,
  // is remembered by its path.
  delete createRequire(href).cache[realpathSync(new URL(href))];
  return `${href}?reading=${reading}`;
}
