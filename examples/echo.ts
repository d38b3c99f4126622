/**
 * Sends back what it is sent, line by line, while it is being sent.
 *
 *     deno run -A mod.ts examples/echo.ts:app
 *     bun run mod.ts examples/echo.ts:app
 *     node dist/cli.js examples/echo.ts:app    (Node 22.18 or later)
 *
 *     curl --data-binary @README.md http://127.0.0.1:8000/
 *     curl -N -T - http://127.0.0.1:8000/    (then type)
 */
import type { Application } from "../mod.ts";

/** A generator is a body: each block is on its way to the client before the
 * next is asked for. So a client that reads slowly is read slowly. */
export const app: Application = async function* (environ, startResponse) {
  startResponse("200 OK", [
    // A stranger's content must not pass for a page of this site.
    ["Content-Type", "application/octet-stream"],
  ]);
  while (true) {
    // A line may be of any length, so it is read in parts of at most 64 KiB.
    const line = await environ["wsgi.input"].readline(65_536);
    if (line.length === 0) return;
    yield line;
  }
};
