/** The works of the benchmark on srvx. Argument: the port. */
import process from "node:process";
import { FastResponse, serve } from "srvx";
import { answer } from "./fetch_handler.js";

// What srvx asks of whoever wants speed; @hono/node-server does so by itself.
globalThis.Response = FastResponse;

serve({
  fetch: answer,
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  silent: true,
  gracefulShutdown: false,
});
