/**
 * A form by GET and by POST, and what arrived of it.
 *
 *     deno run -A mod.ts examples/form.ts:app
 *     bun run mod.ts examples/form.ts:app
 *     node dist/cli.js examples/form.ts:app    (Node 22.18 or later)
 *
 *     curl 'http://127.0.0.1:8000/?name=Ann&plays=piano&plays=drums'
 *     curl -d 'name=Ann&plays=piano' http://127.0.0.1:8000/
 */
import type { Application, Environ } from "../mod.ts";

/** The most content that is read: a stranger chooses how much is sent. */
const LIMIT = 65_536;

/** GET has the fields in the query, POST in the content. */
export const app: Application = async (environ, startResponse) => {
  const [status, html] = await answer(environ);
  const content = new TextEncoder().encode(html);
  startResponse(status, [
    ["Content-Type", "text/html; charset=utf-8"],
    ["Content-Length", String(content.length)],
    ...(status.startsWith("405") ? [allow] : []),
  ]);
  return [content];
};

const allow: [string, string] = ["Allow", "GET, HEAD, POST"];

async function answer(environ: Environ): Promise<[string, string]> {
  switch (environ.REQUEST_METHOD) {
    case "GET":
    case "HEAD":
      return ["200 OK", page("GET", new URLSearchParams(environ.QUERY_STRING))];
    case "POST":
      return await answerPost(environ);
    default:
      return ["405 Method Not Allowed", "GET or POST, please"];
  }
}

async function answerPost(environ: Environ): Promise<[string, string]> {
  const type = environ.CONTENT_TYPE ?? "";
  if (!/^application\/x-www-form-urlencoded *(;|$)/i.test(type)) {
    return ["415 Unsupported Media Type", "A form, please"];
  }
  // One byte more than there may be, so that too much shows itself.
  const content = await environ["wsgi.input"].read(LIMIT + 1);
  if (content.length > LIMIT) {
    return ["413 Content Too Large", `At most ${LIMIT} bytes, please`];
  }
  const fields = new URLSearchParams(new TextDecoder().decode(content));
  return ["200 OK", page("POST", fields)];
}

function page(method: string, fields: URLSearchParams): string {
  const name = fields.get("name") ?? "";
  const plays = fields.getAll("plays");
  const instruments = plays.length === 0 ? "nothing" : plays.join(", ");
  return `<!doctype html>
<meta charset="utf-8">
<title>A form</title>
<p>By ${method}: ${escape(name || "somebody")} plays ${escape(instruments)}.</p>
${form("get", name, plays)}
${form("post", name, plays)}
`;
}

function form(method: string, name: string, plays: string[]): string {
  const boxes = ["piano", "violin", "drums"].map((instrument) => {
    const checked = plays.includes(instrument) ? " checked" : "";
    return `<label><input type="checkbox" name="plays" value="${instrument}"` +
      `${checked}> ${instrument}</label>`;
  });
  return `<form method="${method}">
  <label>Name <input name="name" value="${escape(name)}"></label>
  ${boxes.join("\n  ")}
  <button>Send by ${method.toUpperCase()}</button>
</form>`;
}

/** Text for an element or a quoted attribute. What a stranger has sent must
 * never become markup. */
function escape(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;");
}
