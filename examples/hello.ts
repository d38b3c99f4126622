/**
 * The smallest application: it answers every request with a greeting.
 *
 *     deno run -A mod.ts examples/hello.ts:app
 *     bun run mod.ts examples/hello.ts:app
 *     node dist/cli.js examples/hello.ts:app    (Node 22.18 or later)
 *
 *     curl http://127.0.0.1:8000/
 */
import type { Application } from "../mod.ts";

const greeting = new TextEncoder().encode("Hello, World!\n");

/** A status, header fields, and the content as a list of blocks. */
export const app: Application = (_environ, startResponse) => {
  startResponse("200 OK", [["Content-Type", "text/plain"]]);
  return [greeting];
};
