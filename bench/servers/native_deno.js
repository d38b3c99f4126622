/** `Deno.serve`, which keeps a connection without a request for ever. Arguments:
 * the port, and what fetch handler it serves. */
import { handlerOf } from "./fetch_handler.js";

Deno.serve(
  { hostname: "127.0.0.1", port: Number(Deno.args[0]), onListen() {} },
  await handlerOf(Deno.args[1]),
);
