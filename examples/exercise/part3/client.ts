/** A crowd of clients:
 * `client.ts [--port 8888] [--silent 100] [--talking 400]`. */
import { parseArgs } from "@std/cli/parse-args";
import process from "node:process";
import { crowd } from "./crowd.ts";

const options = parseArgs(process.argv.slice(2), {
  default: { port: 8888, silent: 100, talking: 400 },
});
const startedAt = performance.now();
const statuses = await crowd({
  port: Number(options["port"]),
  silent: Number(options["silent"]),
  talking: Number(options["talking"]),
});
const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
const answers = [...statuses].map(([status, count]) => `${count} x ${status}`);
console.log(
  `${options["silent"]} silent; ${answers.join(", ")} in ${seconds} s`,
);
