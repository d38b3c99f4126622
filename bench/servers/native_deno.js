/** The works of the benchmark on `Deno.serve`, which keeps a connection without
 * a request for ever. Argument: the port. */
import { answer } from "./fetch_handler.js";

Deno.serve(
  { hostname: "127.0.0.1", port: Number(Deno.args[0]), onListen() {} },
  answer,
);
