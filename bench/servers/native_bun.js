/** `Bun.serve`. Arguments: the port, what fetch handler it serves, and for how
 * many seconds a connection is kept without a request (10, its default). */
import process from "node:process";
import { handlerOf } from "./fetch_handler.js";

globalThis.Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  idleTimeout: Number(process.argv[4] ?? 10),
  development: false,
  fetch: await handlerOf(process.argv[3]),
});
