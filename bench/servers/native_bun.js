/** The works of the benchmark on `Bun.serve`. Arguments: the port, and for how
 * many seconds a connection is kept without a request (10, its default). */
import process from "node:process";
import { answer } from "./fetch_handler.js";

globalThis.Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  idleTimeout: Number(process.argv[3] ?? 10),
  development: false,
  fetch: answer,
});
