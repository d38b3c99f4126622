/** The least server on `Bun.serve`. Argument: the port. */
import process from "node:process";

globalThis.Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  development: false,
  fetch: () => new Response("Hello, World!"),
});
