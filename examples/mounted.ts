/**
 * Both kinds of application side by side: a WSGI application and a fetch
 * handler, each below its path. What comes out is a fetch handler again, so the
 * same file runs under this gateway, and wherever else such a one is called.
 *
 *     deno run -A mod.ts examples/mounted.ts
 *     bun run mod.ts examples/mounted.ts
 *     node dist/cli.js examples/mounted.ts    (Node 22.18 or later)
 *     deno serve examples/mounted.ts
 *
 *     curl http://127.0.0.1:8000/hello/there
 *     curl -d 'some text' http://127.0.0.1:8000/api/count
 */
import {
  type Application,
  type FetchFunction,
  type Handler,
  mount,
  toFetch,
} from "../mod.ts";

/** A WSGI application: SCRIPT_NAME is where it stands, PATH_INFO the rest. */
const hello: Application = (environ, startResponse) => {
  startResponse("200 OK", [["Content-Type", "text/plain; charset=utf-8"]]);
  const { SCRIPT_NAME, PATH_INFO } = environ;
  return [
    new TextEncoder().encode(`Hello from ${SCRIPT_NAME}, to ${PATH_INFO}\n`),
  ];
};

/** A fetch handler, as Hono and others are: it sees the whole URL. */
const api = {
  async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname !== "/api/count") {
      return Response.json({ error: "not found" }, { status: 404 });
    }
    return Response.json({ characters: (await request.text()).length });
  },
};

/** What has no application of its own is 404. */
export const site: Handler = mount({ "/hello": { wsgi: hello }, "/api": api });

const served: { fetch: FetchFunction } = { fetch: toFetch(site) };
export default served;
