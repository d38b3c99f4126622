/**
 * What a developer is shown where others get a bare 500: what was thrown, the
 * line that threw it, and the request; as a page, as JSON or as text, as the
 * client likes it. Whatever the request or the application chose is escaped.
 *
 * @module
 */
import { HttpError, StreamError } from "./errors.ts";
import type { Exchange, Handler, RequestHead } from "./exchange.ts";
import { escapeForLog, type Logger, traceOf } from "./logger.ts";
import { version } from "./version.ts";

/** Some lines of a source file around the one that matters. */
export interface SourceFrame {
  /** The file. */
  readonly path: string;
  /** Number of the line that matters, from 1. */
  readonly line: number;
  /** Number of the first line in `lines`. */
  readonly first: number;
  /** The lines, without their ends. */
  readonly lines: readonly string[];
}

/** Content and its media type. */
export interface ErrorPage {
  /** For Content-Type. */
  readonly type: string;
  /** The content. */
  readonly text: string;
}

/** What showing errors takes. */
export interface ErrorViewer {
  /** Where they are told, too. */
  readonly log: Logger;
  /** The text of a source file; may throw. */
  readonly readText: (path: string) => string;
}

/** Has what a handler throws before its head is sent answered with a page that
 * tells it. Never for production: it shows source, and what the request held. */
export function showErrors(handler: Handler, viewer: ErrorViewer): Handler {
  return (exchange) => {
    let pending: ReturnType<Handler>;
    try {
      pending = handler(exchange);
    } catch (error) {
      return show(error, exchange, viewer);
    }
    return pending?.catch((error: unknown) => show(error, exchange, viewer));
  };
}

async function show(
  error: unknown,
  { head, response }: Exchange,
  { log, readText }: ErrorViewer,
): Promise<void> {
  const ofThePeer = error instanceof HttpError || error instanceof StreamError;
  if (ofThePeer || response.committed) throw error;
  log.error(`${head.method} ${escapeForLog(head.target)}: ${traceOf(error)}`);
  const page = errorPage(error, head, frameOf(error, readText));
  const content = new TextEncoder().encode(page.text);
  response.start(500, "Internal Server Error", [
    ["Content-Type", page.type],
    [
      "Content-Security-Policy",
      "default-src 'none'; style-src 'unsafe-inline'",
    ],
    ["X-Content-Type-Options", "nosniff"],
    ["Cache-Control", "no-store"],
    ["Vary", "Accept"],
  ], content.length);
  await response.write(content);
  await response.end();
}

// ---- Where it was thrown ----

const linesAround = 5;

/** Where we are ourselves, be it in our modules or in one file of them all. */
const ours = decodeURI(new URL(".", import.meta.url).pathname);

/** The first place on the stack whose file can be read: of the application
 * itself, if there is one, else of a package that it uses. */
export function frameOf(
  error: unknown,
  readText: (path: string) => string,
): SourceFrame | undefined {
  const places = placesOn(stackOf(error));
  const own = places.filter(({ path }) => !path.includes("/node_modules/"));
  for (const { path, line } of new Set([...own, ...places])) {
    try {
      const lines = readText(path).trimEnd().split(/\r?\n/);
      if (line > lines.length) continue;
      const first = Math.max(1, line - linesAround);
      return {
        path,
        line,
        first,
        lines: lines.slice(first - 1, line + linesAround),
      };
    } catch {
      // A module of the runtime, or of a file that is no more.
    }
  }
  return undefined;
}

interface Place {
  readonly path: string;
  readonly line: number;
}

function placesOn(stack: string): Place[] {
  return stack.split("\n").flatMap((text) => {
    const place = /^\s+at .*\((.+):(\d+):\d+\)$/.exec(text) ??
      /^\s+at (?:async )?(.+):(\d+):\d+$/.exec(text);
    const path = pathOf(place?.[1] ?? "");
    if (path === undefined || path.startsWith(ours)) return [];
    return [{ path, line: Number(place?.[2]) }];
  });
}

/** Of a URL or a path; undefined for what is neither. */
function pathOf(location: string): string | undefined {
  if (location.startsWith("/")) return location;
  if (!location.startsWith("file:")) return undefined;
  try {
    return decodeURIComponent(new URL(location).pathname);
  } catch {
    return undefined;
  }
}

function stackOf(error: unknown): string {
  try {
    return error instanceof Error ? String(error.stack) : "";
  } catch {
    return "";
  }
}

// ---- The page ----

/** What of a long message stands in the title. */
const longestTitle = 120;

/** Tells what was thrown: as HTML or JSON where the client accepts that, else
 * as text. */
export function errorPage(
  error: unknown,
  head: RequestHead,
  frame: SourceFrame | undefined,
): ErrorPage {
  const told: Told = {
    ...nameAndMessage(error),
    stack: traceOf(error),
    request: `${head.method} ${head.target}`,
    fields: fieldLines(head),
    frame,
  };
  switch (preferred(head.fields.get("accept") ?? "")) {
    case "text/html":
      return { type: "text/html; charset=utf-8", text: asHtml(told) };
    case "application/json":
      return { type: "application/json", text: asJson(told) };
    default:
      return { type: "text/plain; charset=utf-8", text: asText(told) };
  }
}

interface Told {
  readonly name: string;
  readonly message: string;
  readonly stack: string;
  readonly request: string;
  readonly fields: readonly (readonly [string, string])[];
  readonly frame: SourceFrame | undefined;
}

function nameAndMessage(error: unknown): { name: string; message: string } {
  try {
    if (error instanceof Error) {
      return { name: String(error.name), message: String(error.message) };
    }
    return { name: "Thrown", message: String(error) };
  } catch {
    return { name: "Thrown", message: traceOf(error) };
  }
}

function fieldLines({ fields }: RequestHead): [string, string][] {
  return Array.from(
    { length: fields.length },
    (_, index) => [fields.name(index).lower, fields.value(index)],
  );
}

/** Which of the two types an Accept field (RFC 9110 §12.5.1) names with the
 * greater weight, the first of equals; undefined where it names neither. */
function preferred(
  accept: string,
): "text/html" | "application/json" | undefined {
  let best: "text/html" | "application/json" | undefined;
  let most = 0;
  for (const range of accept.toLowerCase().split(",")) {
    const [type = "", ...parameters] = range.split(";")
      .map((part) => part.trim());
    if (type !== "text/html" && type !== "application/json") continue;
    const q = parameters.find((parameter) => parameter.startsWith("q="));
    const weight = q === undefined ? 1 : Number(q.slice(2));
    if (weight > most) [best, most] = [type, weight];
  }
  return best;
}

function asJson(
  { name, message, stack, request, fields, frame }: Told,
): string {
  return JSON.stringify({
    error: { name, message, stack: stack.split("\n") },
    source: frame,
    request: { line: request, fields },
  });
}

function asText({ stack, frame, request, fields }: Told): string {
  const source = frame === undefined
    ? ""
    : `${frame.path}:${frame.line}\n\n${
      numbered(frame).map(({ number, text, matters }) =>
        `${matters ? ">" : " "} ${number} | ${text}\n`
      ).join("")
    }\n`;
  const lines = fields.map(([name, value]) => `${name}: ${value}\n`).join("");
  return `${stack}\n\n${source}${request}\n${lines}`;
}

function numbered(
  { first, line, lines }: SourceFrame,
): { number: string; text: string; matters: boolean }[] {
  const width = String(first + lines.length - 1).length;
  return lines.map((text, index) => ({
    number: String(first + index).padStart(width),
    text,
    matters: first + index === line,
  }));
}

function asHtml(
  { name, message, stack, request, fields, frame }: Told,
): string {
  const rows = fields.map(([name, value]) =>
    `<tr><th>${escapeHtml(name)}</th><td>${escapeHtml(value)}</td></tr>`
  ).join("\n");
  const title = `${name}: ${message}`.slice(0, longestTitle);
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
<style>${style}</style>
</head>
<body>
<header>
<p>${escapeHtml(request)}</p>
<h1><span>${escapeHtml(name)}</span> ${escapeHtml(message)}</h1>
</header>
<main>
${frame === undefined ? "" : sourceSection(frame)}<section>
<h2>Stack</h2>
<pre>${escapeHtml(stack)}</pre>
</section>
<section>
<h2>Request</h2>
<table>
${rows}
</table>
</section>
</main>
<footer>Headgate ${escapeHtml(version)}, <code>headgate dev</code>: without
<code>dev</code>, the answer is a bare 500.</footer>
</body>
</html>
`;
}

function sourceSection(frame: SourceFrame): string {
  const lines = numbered(frame).map(({ number, text, matters }) => {
    const line = `<i>${number}</i>${escapeHtml(text)}\n`;
    return matters ? `<mark>${line}</mark>` : line;
  }).join("");
  return `<section>
<h2>${escapeHtml(frame.path)}:${frame.line}</h2>
<pre class="source">${lines}</pre>
</section>
`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? "");
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

const style = `
:root { color-scheme: light dark; --ink: #1d2129; --soft: #5d6673;
  --ground: #f5f6f8; --sheet: #fff; --edge: #dfe3e8; --alarm: #b3261e;
  --mark: #fde7e5 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ec; --soft: #98a2b0; --ground: #14171c; --sheet: #1c2027;
    --edge: #323842; --alarm: #ff8a80; --mark: #4a2325 }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem; color: var(--ink);
  background: var(--ground); font: 15px/1.5 system-ui, sans-serif }
header p { margin: 0; color: var(--soft); overflow-wrap: anywhere;
  font-family: ui-monospace, monospace; font-size: 13px }
h1 { margin: .3rem 0 1.5rem; font-size: 1.5rem; line-height: 1.3;
  white-space: pre-wrap; overflow-wrap: anywhere }
h1 span { color: var(--alarm) }
h2 { margin: 1.5rem 0 .5rem; color: var(--soft); font-size: 13px;
  font-weight: 600; overflow-wrap: anywhere }
pre, table { margin: 0; padding: .75rem 1rem; width: 100%; overflow-x: auto;
  background: var(--sheet); border: 1px solid var(--edge); border-radius: 8px;
  font: 13px/1.6 ui-monospace, monospace }
.source { padding: .75rem 0; tab-size: 4 }
.source i { display: inline-block; min-width: 4rem; padding: 0 1rem;
  color: var(--soft); font-style: normal; text-align: right; user-select: none }
.source mark { display: block; min-width: max-content; color: inherit;
  background: var(--mark); box-shadow: inset 3px 0 var(--alarm) }
table { display: block; border-spacing: 0 }
th { padding: 0 1.5rem 0 0; color: var(--soft); font-weight: 400;
  text-align: left; vertical-align: top; white-space: nowrap }
td { padding: 0; overflow-wrap: anywhere }
footer { margin-top: 2rem; color: var(--soft); font-size: 13px }
`;
