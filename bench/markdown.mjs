/** Prints reports that were saved as Markdown: the files are the arguments. */
import { readFileSync } from "node:fs";
import process from "node:process";
import { document } from "./report.mjs";

for (const path of process.argv.slice(2)) {
  console.log(`${document(JSON.parse(readFileSync(path, "utf8")))}\n`);
}
