/** The works of the benchmark on @hono/node-server. Argument: the port. */
import process from "node:process";
import { serve } from "@hono/node-server";
import { answer } from "./fetch_handler.js";

serve({
  fetch: answer,
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
});
