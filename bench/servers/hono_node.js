/** @hono/node-server. Arguments: the port, and what fetch handler it serves. */
import process from "node:process";
import { serve } from "@hono/node-server";
import { handlerOf } from "./fetch_handler.js";

serve({
  fetch: await handlerOf(process.argv[3]),
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
});
