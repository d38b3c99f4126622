/** srvx. Arguments: the port, and what fetch handler it serves. */
import process from "node:process";
import { FastResponse, serve } from "srvx";
import { handlerOf } from "./fetch_handler.js";

// What srvx asks of whoever wants speed; @hono/node-server does so by itself.
globalThis.Response = FastResponse;

serve({
  fetch: await handlerOf(process.argv[3]),
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  silent: true,
  gracefulShutdown: false,
});
