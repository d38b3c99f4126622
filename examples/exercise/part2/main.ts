/** Serves part 2: `main.ts MODULE:CALLABLE [PORT]`, by default on port 8888.
 * It logs all that happens to standard output. */
import { resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { createLogger } from "../../../src/log.ts";
import { serveApplication } from "./server.ts";

const [, , name = "", port = "8888"] = process.argv;
const [, path, callable] = /^(.+):(\w+)$/.exec(name) ?? [];
if (path === undefined || callable === undefined) {
  console.error("Usage: main.ts MODULE:CALLABLE [PORT]");
  process.exit(2);
}
const module = await import(pathToFileURL(resolve(path)).href);
const app = module[callable];
if (typeof app !== "function") {
  console.error(`No function "${callable}" is exported by ${path}`);
  process.exit(2);
}
const log = createLogger({
  level: "debug",
  sink: (record) => console.log(record),
});
const { address } = await serveApplication(app, Number(port), log);
log.info(`Serving HTTP on port ${address.port} ...`);
