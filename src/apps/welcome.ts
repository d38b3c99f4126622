/**
 * The application that is served where none is named: shows what reached it,
 * echoes a form by GET and POST, and tells how to serve one's own. An ordinary
 * WSGI application: it uses nothing that another could not.
 *
 * Length: a quarter is the page and its style.
 *
 * @module
 */
import type {
  Application,
  Environ,
  InputStream,
  ResponseBody,
  ResponseHeaders,
  StartResponse,
} from "../wsgi.ts";

/** The most form content that is read, in bytes. */
export const formLimit = 65_536;

/** The most fields of a form, and letters of a value, that are shown. */
const fieldsShown = 100;
const lettersShown = 4096;

/** The welcome application. */
export const welcome: Application = async (environ, startResponse) => {
  if (environ.PATH_INFO !== "/" && environ.PATH_INFO !== "") {
    return notFound(environ, startResponse);
  }
  switch (environ.REQUEST_METHOD) {
    case "GET":
    case "HEAD":
      return respond(startResponse, "200 OK", page(environ, undefined));
    case "POST":
      return await answerForm(environ, startResponse);
    case "OPTIONS":
      startResponse("204 No Content", [allow]);
      return [];
    default:
      return refuseMethod(startResponse);
  }
};

const allow: [string, string] = ["Allow", "GET, HEAD, POST, OPTIONS"];

const commonHeaders: readonly [string, string][] = [
  ["Content-Type", "text/html; charset=utf-8"],
  ["Cache-Control", "no-store"],
  [
    "Content-Security-Policy",
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; " +
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  ],
  ["X-Content-Type-Options", "nosniff"],
  ["Referrer-Policy", "no-referrer"],
];

const encoder = new TextEncoder();

// To HEAD the same is given: what has no content is the gateway's business.
function respond(
  startResponse: StartResponse,
  status: string,
  html: string,
  more: ResponseHeaders = [],
): ResponseBody {
  const content = encoder.encode(html);
  startResponse(status, [
    ...commonHeaders,
    ...more,
    ["Content-Length", String(content.length)],
  ]);
  return [content];
}

function notFound(
  environ: Environ,
  startResponse: StartResponse,
): ResponseBody {
  const path = utf8FromLatin1(environ.SCRIPT_NAME + environ.PATH_INFO);
  return respond(
    startResponse,
    "404 Not Found",
    message(
      "Not found",
      `Nothing is served at <code>${escapeHtml(shorten(path))}</code>. ` +
        `The welcome application has one page: <a href="${
          escapeHtml(home(environ))
        }">its front page</a>.`,
    ),
  );
}

function refuseMethod(startResponse: StartResponse): ResponseBody {
  const text = "This page answers GET, HEAD, POST and OPTIONS.";
  return respond(
    startResponse,
    "405 Method Not Allowed",
    message("Method not allowed", text),
    [allow],
  );
}

// ---- The form ----

type FormFields = readonly (readonly [name: string, value: string])[];

/** A form as it was sent. */
interface Form {
  readonly method: "GET" | "POST";
  readonly fields: FormFields;
}

async function answerForm(
  environ: Environ,
  startResponse: StartResponse,
): Promise<ResponseBody> {
  const type = (environ.CONTENT_TYPE ?? "").split(";", 1)[0] ?? "";
  if (type.trim().toLowerCase() !== "application/x-www-form-urlencoded") {
    return respond(
      startResponse,
      "415 Unsupported Media Type",
      message(
        "Unsupported media type",
        "This form reads <code>application/x-www-form-urlencoded</code>.",
      ),
      [["Accept-Post", "application/x-www-form-urlencoded"]],
    );
  }
  const content = await readForm(environ);
  if (content === undefined) {
    return respond(
      startResponse,
      "413 Content Too Large",
      message("Content too large", `This form takes ${formLimit} bytes.`),
    );
  }
  const form: Form = { method: "POST", fields: parseForm(content) };
  return respond(startResponse, "200 OK", page(environ, form));
}

/** The form's content; undefined when it exceeds the limit. */
function readForm(environ: Environ): Promise<Uint8Array | undefined> {
  if (Number(environ.CONTENT_LENGTH ?? 0) > formLimit) {
    return Promise.resolve(undefined);
  }
  return readBounded(environ["wsgi.input"], formLimit);
}

async function readBounded(
  input: InputStream,
  limit: number,
): Promise<Uint8Array | undefined> {
  const content = new Uint8Array(limit);
  let length = 0;
  while (true) {
    // One more than there is room for, so that too much shows itself.
    const piece = await input.read(limit - length + 1);
    if (piece.length === 0) return content.subarray(0, length);
    if (length + piece.length > limit) return undefined;
    content.set(piece, length);
    length += piece.length;
  }
}

const decoder = new TextDecoder();

function parseForm(content: Uint8Array): FormFields {
  return [...new URLSearchParams(decoder.decode(content))];
}

/** The environ holds one octet a character; a form's octets are UTF-8. */
function utf8FromLatin1(text: string): string {
  return decoder.decode(
    Uint8Array.from(text, (character) => character.charCodeAt(0)),
  );
}

// ---- The page ----

/** Text for an element or a quoted attribute. */
export function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;");
}

function shorten(text: string): string {
  return text.length <= lettersShown
    ? text
    : `${text.slice(0, lettersShown)}… (${text.length} characters)`;
}

function home(environ: Environ): string {
  return `${environ.SCRIPT_NAME}/`;
}

function page(environ: Environ, posted: Form | undefined): string {
  const form = posted ?? sentByQuery(environ);
  return document(
    "Headgate",
    `<header>
<h1>${gate}Headgate</h1>
<p>It works: this page was made by a WSGI application in TypeScript, served by
Headgate. Name your own on the command line and it takes this page’s place.</p>
</header>
<main>
${form === undefined ? "" : received(form)}
${formSection(environ, form)}
${ownApplication}
${environSection(environ)}
</main>`,
  );
}

function sentByQuery(environ: Environ): Form | undefined {
  if (environ.QUERY_STRING === "") return undefined;
  const query = new URLSearchParams(utf8FromLatin1(environ.QUERY_STRING));
  return { method: "GET", fields: [...query] };
}

function received({ method, fields }: Form): string {
  const rows = fields.slice(0, fieldsShown).map(([name, value]) =>
    row(name, shorten(value))
  );
  const hidden = fields.length - rows.length;
  return `<section aria-labelledby="received" class="received">
<h2 id="received">Received by ${method}</h2>
${
    rows.length === 0
      ? "<p>No fields.</p>"
      : table("Field", "Value", rows.join("\n"))
  }
${hidden > 0 ? `<p>${hidden} more fields are not shown.</p>` : ""}
</section>`;
}

function formSection(environ: Environ, form: Form | undefined): string {
  const value = (name: string) =>
    escapeHtml(
      shorten(form?.fields.find(([field]) => field === name)?.[1] ?? ""),
    );
  return `<section aria-labelledby="form">
<h2 id="form">Send a form</h2>
<form action="${escapeHtml(home(environ))}" method="post">
<label for="name">Name</label>
<input id="name" name="name" autocomplete="off" value="${value("name")}">
<label for="message">Message</label>
<textarea id="message" name="message" rows="3">
${value("message")}</textarea>
<div class="buttons">
<button>Send by POST</button>
<button formmethod="get" class="quiet">Send by GET</button>
</div>
</form>
</section>`;
}

const example = `const encoder = new TextEncoder();

export const app = (environ, startResponse) => {
  startResponse("200 OK", [["Content-Type", "text/plain"]]);
  return [encoder.encode(\`Hello from \${environ.PATH_INFO}\\n\`)];
};`;

const ownApplication = `<section aria-labelledby="own">
<h2 id="own">Serve your own</h2>
<p>Save this as <code>app.mjs</code>:</p>
<pre tabindex="0"><code>${escapeHtml(example)}</code></pre>
<p>Then stop this server with Ctrl+C and start it again, as you did before, with
the file and the name of its export behind the command:</p>
<pre tabindex="0"><code>headgate app.mjs:app</code></pre>
<p><code>headgate --help</code> lists the options.</p>
</section>`;

function environSection(environ: Environ): string {
  const rows = Object.keys(environ).sort(order).map((name) =>
    row(name, shorten(describe(environ[name])))
  );
  return `<section aria-labelledby="environ">
<h2 id="environ">The environ of this request</h2>
<p>What PEP 3333 hands to an application, one character per octet.</p>
${table("Variable", "Value", rows.join("\n"))}
</section>`;
}

/** CGI variables first, then the header fields, then the extensions. */
function order(a: string, b: string): number {
  return rank(a) - rank(b) || (a < b ? -1 : 1);
}

function rank(name: string): number {
  if (name.startsWith("HTTP_")) return 1;
  return /^[A-Z]/.test(name) ? 0 : 2;
}

function describe(value: unknown): string {
  switch (typeof value) {
    case "string":
      return value;
    case "number":
    case "boolean":
    case "bigint":
    case "undefined":
      return String(value);
    case "function":
      return "(a function)";
    default:
      return Array.isArray(value) ? `(${value.join(", ")})` : "(an object)";
  }
}

function table(first: string, second: string, rows: string): string {
  return `<div class="scroll" tabindex="0" role="group" aria-label="${first}s">
<table>
<thead><tr><th scope="col">${first}</th><th scope="col">${second}</th></tr></thead>
<tbody>
${rows}
</tbody>
</table>
</div>`;
}

function row(name: string, value: string): string {
  const shown = value === ""
    ? '<span class="empty">empty</span>'
    : escapeHtml(value);
  return `<tr><th scope="row">${
    escapeHtml(shorten(name))
  }</th><td>${shown}</td></tr>`;
}

function message(title: string, html: string): string {
  return document(
    `${title} · Headgate`,
    `<main><h1>${gate}${title}</h1><p>${html}</p></main>`,
  );
}

// Two posts, a crossbeam and a gate half raised over the water.
const drawing = `<path d="M5 3v26M27 3v26M3 7h26M11 7v11h10V7" fill="none" ` +
  `stroke="currentColor" stroke-width="3"/><path d="M5 25q3.5-3 7 0t7 0 8 0" ` +
  `fill="none" stroke="#2b8fd0" stroke-width="3"/>`;
const gate =
  `<svg viewBox="0 0 32 32" width="32" height="32" aria-hidden="true">${drawing}</svg>`;
const icon = "data:image/svg+xml," + encodeURIComponent(
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" color="#557">` +
    `${drawing}</svg>`,
);

const style = `
:root { color-scheme: light dark; --ink: #1c2430; --soft: #566173;
  --paper: #fbfbf9; --card: #fff; --line: #d9dde3; --accent: #0a62a3;
  --on-accent: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #a3adbb;
  --paper: #12161c; --card: #1a2029; --line: #343d4a; --accent: #6cb8f0;
  --on-accent: #0c1218; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 48rem; padding: 2.5rem 1.25rem 4rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, sans-serif; }
h1 { display: flex; align-items: center; gap: .6rem; margin: 0;
  font-size: 1.9rem; line-height: 1.2; letter-spacing: -.02em; }
h2 { margin: 0 0 .75rem; font-size: 1.15rem; }
p { margin: .75rem 0; }
header p { max-width: 38rem; color: var(--soft); }
section { margin-top: 1.5rem; padding: 1.25rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .75rem; }
.received { border-color: var(--accent); }
a { color: var(--accent); }
code, pre, td, tbody th { font: .875rem/1.5 ui-monospace, monospace; }
pre { margin: .75rem 0; padding: .9rem; overflow-x: auto;
  background: var(--paper); border: 1px solid var(--line);
  border-radius: .5rem; }
label { display: block; margin: .75rem 0 .25rem; font-weight: 600; }
input, textarea { width: 100%; padding: .55rem .7rem; font: inherit;
  color: inherit; background: var(--paper); border: 1px solid var(--soft);
  border-radius: .5rem; }
textarea { resize: vertical; }
.buttons { display: flex; flex-wrap: wrap; gap: .6rem; margin-top: 1rem; }
button { min-height: 2.75rem; padding: .4rem 1.1rem; font: inherit;
  font-weight: 600; cursor: pointer; color: var(--on-accent);
  background: var(--accent); border: 1px solid var(--accent);
  border-radius: .5rem; }
button.quiet { color: var(--accent); background: transparent; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; text-align: left; }
th, td { padding: .4rem .75rem .4rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-size: .875rem; }
tbody th { font-weight: 400; color: var(--soft); white-space: nowrap; }
td { overflow-wrap: anywhere; white-space: pre-wrap; min-width: 12rem; }
tr:last-child > * { border-bottom: 0; }
@media (max-width: 36rem) { thead { display: none; }
  tbody :is(tr, th, td) { display: block; padding-right: 0; min-width: 0; }
  tbody th { border-bottom: 0; padding-bottom: 0; overflow-wrap: anywhere;
    white-space: normal; } tbody td { padding-top: 0; } }
.empty { color: var(--soft); font-style: italic; }
`;

function document(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" href="${escapeHtml(icon)}">
<style>${style}</style>
</head>
<body>
${body}
</body>
</html>
`;
}
