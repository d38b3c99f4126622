/**
 * Server-sent events: the server's clock, once a second, for as long as the
 * client stays.
 *
 *     deno run -A mod.ts examples/stream.ts:app
 *     bun run mod.ts examples/stream.ts:app
 *     node dist/cli.js examples/stream.ts:app    (Node 22.18 or later)
 *
 *     curl -N http://127.0.0.1:8000/events    (or open / in a browser)
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Application, Environ } from "../mod.ts";

const encoder = new TextEncoder();

const page = encoder.encode(`<!doctype html>
<meta charset="utf-8">
<title>The server's clock</title>
<output>Connecting</output>
<script>
  const output = document.querySelector("output");
  new EventSource("events").onmessage = ({ data }) => output.value = data;
</script>
`);

/** The events at `/events`, and elsewhere a page that shows them. */
export const app: Application = (environ, startResponse) => {
  const streaming = environ.PATH_INFO === "/events";
  startResponse("200 OK", [
    [
      "Content-Type",
      streaming ? "text/event-stream" : "text/html; charset=utf-8",
    ],
    ["Cache-Control", "no-store"],
  ]);
  return streaming ? events(environ) : [page];
};

/** Ends when the client has left: the signal cuts the wait short, and if it
 * comes while a block is being sent, the server makes the generator return. */
async function* events(environ: Environ): AsyncGenerator<Uint8Array> {
  const signal = environ["headgate.request"]?.signal;
  // A browser that comes back tells which event it has seen last.
  let id = Number(environ.HTTP_LAST_EVENT_ID) || 0;
  try {
    while (!signal?.aborted) {
      id++;
      yield encoder.encode(`id: ${id}\ndata: ${new Date().toISOString()}\n\n`);
      await sleep(1000, undefined, signal && { signal }).catch(() => {});
    }
  } finally {
    environ["wsgi.errors"].write(`A client left after event ${id}\n`);
  }
}
