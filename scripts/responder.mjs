/**
 * Writes `src/python/responder.ts`, which carries `python/headgate_wsgi.py` as
 * text, because a package of JavaScript has no other place for it:
 *
 *     node scripts/responder.mjs
 *
 * To be run after every change of the Python file; a test compares the two.
 */
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const text = await readFile(join(root, "python/headgate_wsgi.py"), "utf8");
const literal = text.replace(/[\\`]|\$(?=\{)/g, "\\$&");

await writeFile(
  join(root, "src/python/responder.ts"),
  `/**
 * The program that serves a WSGI application in Python, as text.
 * Made of \`python/headgate_wsgi.py\` by \`scripts/responder.mjs\`: change that
 * file, and run this one.
 *
 * Length: it is that file.
 *
 * @module
 */

/** What a Python interpreter runs: see its own first lines. */
export const responder: string =
  \`${literal}\`;
`,
);
