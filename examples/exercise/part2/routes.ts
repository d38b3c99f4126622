/** An application with a framework: one of a few lines, made here. Whatever
 * maps a path to a function and hands out a callable of two parameters is a
 * framework, and the server need not know that it is there. */
import type { Application, Environ } from "../../../mod.ts";

/** Answers a path with text. */
type View = (environ: Environ) => string | Promise<string>;

/** Makes an application of the views. */
function framework(views: Record<string, View>): Application {
  return async (environ, startResponse) => {
    const view = Object.hasOwn(views, environ.PATH_INFO)
      ? views[environ.PATH_INFO]
      : undefined;
    const text = await view?.(environ) ?? "Not found\n";
    const content = new TextEncoder().encode(text);
    startResponse(view === undefined ? "404 Not Found" : "200 OK", [
      ["Content-Type", "text/plain; charset=utf-8"],
      ["Content-Length", String(content.length)],
    ]);
    return [content];
  };
}

/** `/hello`, `/greet?name=Ann`, `/headers`, and `/count`, which takes a POST. */
export const app: Application = framework({
  "/hello": () => "Hello world from a small framework!\n",
  "/greet": ({ QUERY_STRING }) => {
    const name = new URLSearchParams(QUERY_STRING).get("name") ?? "stranger";
    return `Hello, ${name}!\n`;
  },
  "/headers": (environ) =>
    Object.keys(environ)
      .filter((key) => /^(HTTP|CONTENT)_/.test(key))
      .map((key) => `${key}: ${environ[key]}\n`)
      .join(""),
  "/count": async (environ) => {
    let [lines, bytes] = [0, 0];
    for await (const line of environ["wsgi.input"]) {
      lines++;
      bytes += line.length;
    }
    return `${lines} lines, ${bytes} bytes\n`;
  },
});
