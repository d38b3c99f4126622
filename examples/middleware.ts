/**
 * Middleware: an application around an application. This one says how long the
 * inner one took, to the client in a header field and to the log once all is
 * over.
 *
 *     deno run -A mod.ts examples/middleware.ts:app
 *     bun run mod.ts examples/middleware.ts:app
 *     node dist/cli.js examples/middleware.ts:app    (Node 22.18 or later)
 *
 *     curl -i http://127.0.0.1:8000/
 */
import type { Application, ResponseBody } from "../mod.ts";

/** Adds `Server-Timing`: from the call to the application's head. */
export function timed(inner: Application): Application {
  return async (environ, startResponse) => {
    const startedAt = performance.now();
    const elapsed = () => (performance.now() - startedAt).toFixed(1);
    const body = await inner(
      environ,
      (status, headers, excInfo) =>
        startResponse(
          status,
          [...headers, ["Server-Timing", `app;dur=${elapsed()}`]],
          excInfo,
        ),
    );
    return onClose(body, () => {
      const request = `${environ.REQUEST_METHOD} ${environ.PATH_INFO}`;
      environ["wsgi.errors"].write(`${request} took ${elapsed()} ms\n`);
    });
  };
}

/** The same body, which calls `done` when it is closed. The server closes only
 * what it was given, so whoever wraps a body must pass `close()` on. */
function onClose(body: ResponseBody, done: () => void): ResponseBody {
  return {
    async *[Symbol.asyncIterator]() {
      yield* body;
    },
    async close() {
      try {
        await body.close?.();
      } finally {
        done();
      }
    },
  };
}

/** What is wrapped: it knows nothing of that. */
const countdown: Application = async function* (_environ, startResponse) {
  startResponse("200 OK", [["Content-Type", "text/plain"]]);
  for (let count = 3; count > 0; count--) {
    yield new TextEncoder().encode(`${count}\n`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};

/** The countdown, timed. */
export const app: Application = timed(countdown);
