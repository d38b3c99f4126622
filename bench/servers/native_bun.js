/** The works of the benchmark on `Bun.serve`. Argument: the port. */
import process from "node:process";
import { answer } from "./fetch_handler.js";

globalThis.Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  development: false,
  fetch: answer,
});
