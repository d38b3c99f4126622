import {
  assert,
  assertEquals,
  assertNotMatch,
  assertStringIncludes,
} from "@std/assert";
import { test } from "node:test";
import { formLimit, welcome } from "../../src/apps/welcome.ts";
import type { Environ, InputStream } from "../../src/wsgi.ts";

interface Answer {
  readonly status: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly html: string;
  readonly content: Uint8Array;
}

/** An input that gives its content in pieces, and counts what is read. */
class PiecewiseInput {
  taken = 0;
  readonly #content: Uint8Array;
  readonly #piece: number;

  constructor(content: Uint8Array, piece: number) {
    this.#content = content;
    this.#piece = piece;
  }

  read(size?: number): Promise<Uint8Array> {
    assert(size !== undefined && size > 0, "an unbounded read");
    const end = this.taken + Math.min(size, this.#piece);
    const bytes = this.#content.slice(this.taken, end);
    this.taken += bytes.length;
    return Promise.resolve(bytes);
  }
}

async function request(
  variables: Record<string, unknown> = {},
  input = new PiecewiseInput(new Uint8Array(), 1),
): Promise<Answer> {
  const environ = {
    REQUEST_METHOD: "GET",
    SCRIPT_NAME: "",
    PATH_INFO: "/",
    QUERY_STRING: "",
    SERVER_NAME: "127.0.0.1",
    SERVER_PORT: "8000",
    SERVER_PROTOCOL: "HTTP/1.1",
    "wsgi.version": [1, 0],
    "wsgi.url_scheme": "http",
    "wsgi.input": input as unknown as InputStream,
    "wsgi.multithread": false,
    ...variables,
  } as unknown as Environ;
  let status = "";
  let headers = new Map<string, string>();
  const body = await welcome(environ, (given, lines) => {
    status = given;
    headers = new Map(lines.map(([name, value]) => [name, value]));
    return () => Promise.resolve();
  });
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  const content = pieces[0] ?? new Uint8Array();
  return { status, headers, content, html: new TextDecoder().decode(content) };
}

const formType = "application/x-www-form-urlencoded";

function post(
  form: string,
  variables: Record<string, unknown> = {},
  piece = 7,
): Promise<Answer> {
  const content = new TextEncoder().encode(form);
  return request({
    REQUEST_METHOD: "POST",
    CONTENT_TYPE: formType,
    CONTENT_LENGTH: String(content.length),
    ...variables,
  }, new PiecewiseInput(content, piece));
}

test("GET shows the environ, the form and how to go on", async () => {
  const { status, headers, html, content } = await request({
    HTTP_USER_AGENT: "curl/8.0",
  });
  assertEquals(status, "200 OK");
  assertEquals(headers.get("Content-Type"), "text/html; charset=utf-8");
  assertEquals(headers.get("Content-Length"), String(content.length));
  assertStringIncludes(html, '<th scope="row">HTTP_USER_AGENT</th>');
  assertStringIncludes(html, "<td>curl/8.0</td>");
  assertStringIncludes(html, "<td>(1, 0)</td>");
  assertStringIncludes(html, "(an object)");
  assertStringIncludes(html, "headgate app.mjs:app");
  assertStringIncludes(html, "<form ");
  assertNotMatch(html, /Received by/);
});

test("the page is whole, named and labelled", async () => {
  const { html } = await request();
  assert(html.startsWith('<!doctype html>\n<html lang="en">'));
  assert(html.endsWith("</html>\n"));
  assertStringIncludes(html, "<title>Headgate</title>");
  assertStringIncludes(html, 'name="viewport"');
  assertStringIncludes(html, "prefers-color-scheme: dark");
  for (const [, id] of html.matchAll(/<(?:input|textarea) id="(\w+)"/g)) {
    assertStringIncludes(html, `<label for="${id}">`);
  }
  for (const [, id] of html.matchAll(/aria-labelledby="(\w+)"/g)) {
    assertStringIncludes(html, ` id="${id}"`);
  }
  assertEquals(html.match(/<h1/g)?.length, 1);
});

test("the page loads nothing and runs nothing", async () => {
  const { headers, html } = await request();
  assertNotMatch(html, /<script|\son\w+=/i);
  assertNotMatch(html, /(src|href)="https?:/);
  assertStringIncludes(
    headers.get("Content-Security-Policy") ?? "",
    "default-src 'none'",
  );
});

test("HEAD has the headers of GET", async () => {
  const [head, get] = [
    await request({ REQUEST_METHOD: "HEAD" }),
    await request({ REQUEST_METHOD: "GET" }),
  ];
  assertEquals(head.status, "200 OK");
  // The method itself is on the page, so the lengths differ by one letter.
  assertEquals(
    Number(head.headers.get("Content-Length")),
    Number(get.headers.get("Content-Length")) + 1,
  );
});

test("GET shows the query's fields back, as UTF-8", async () => {
  const { html } = await request({
    QUERY_STRING: "name=J%C3%BCrgen+K&message=a%0Ab&name=2",
  });
  assertStringIncludes(html, "Received by GET");
  assertStringIncludes(html, "<td>Jürgen K</td>");
  assertStringIncludes(html, "<td>a\nb</td>");
  assertStringIncludes(html, "<td>2</td>");
  assertStringIncludes(html, 'value="Jürgen K"');
});

for (const piece of [1, 7, 1_000_000]) {
  test(`POST shows the fields back, read by ${piece}`, async () => {
    const { status, html } = await post("name=Ada&message=x%26y", {}, piece);
    assertEquals(status, "200 OK");
    assertStringIncludes(html, "Received by POST");
    assertStringIncludes(html, "<td>Ada</td>");
    assertStringIncludes(html, "<td>x&amp;y</td>");
  });
}

test("whatever the client sent is escaped", async () => {
  const attack = `"'><script>alert(1)</script>`;
  const { html } = await post(
    new URLSearchParams([["name", attack], [attack, "x"], ["message", attack]])
      .toString(),
    {
      HTTP_X: attack,
      [`HTTP_${attack}`]: "x",
      QUERY_STRING: attack,
    },
  );
  assertNotMatch(html, /<script/i);
  assertStringIncludes(
    html,
    'value="&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"',
  );
  const missing = await request({ PATH_INFO: `/${attack}` });
  assertNotMatch(missing.html, /<script/i);
});

test("content beyond the limit is refused unread when its length is told", async () => {
  const input = new PiecewiseInput(new Uint8Array(100), 100);
  const { status } = await request({
    REQUEST_METHOD: "POST",
    CONTENT_TYPE: formType,
    CONTENT_LENGTH: String(formLimit + 1),
  }, input);
  assertEquals(status, "413 Content Too Large");
  assertEquals(input.taken, 0);
});

test("content without a length is read up to the limit", async () => {
  const send = async (size: number) => {
    const input = new PiecewiseInput(new Uint8Array(size).fill(0x61), 1000);
    const { status } = await request({
      REQUEST_METHOD: "POST",
      CONTENT_TYPE: formType,
    }, input);
    return { status, taken: input.taken };
  };
  assertEquals((await send(formLimit)).status, "200 OK");
  const beyond = await send(formLimit * 4);
  assertEquals(beyond.status, "413 Content Too Large");
  assertEquals(beyond.taken, formLimit + 1);
});

test("content of another type is refused", async () => {
  const { status } = await post("{}", { CONTENT_TYPE: "application/json" });
  assertEquals(status, "415 Unsupported Media Type");
  const parameter = `${formType.toUpperCase()}; charset=UTF-8`;
  assertEquals(
    (await post("a=1", { CONTENT_TYPE: parameter })).status,
    "200 OK",
  );
});

test("very many fields and very long values do not make a huge page", async () => {
  const fields = Array.from({ length: 5000 }, (_, index) => `f${index}=1`);
  const many = await post(fields.join("&"));
  assertStringIncludes(many.html, "4900 more fields are not shown");
  const long = await post(`name=${"x".repeat(60_000)}`);
  assert(long.content.length < 40_000);
});

test("another path is a 404 that leads home", async () => {
  const { status, html } = await request({
    PATH_INFO: "/favicon.ico",
    SCRIPT_NAME: "/mounted",
  });
  assertEquals(status, "404 Not Found");
  assertStringIncludes(html, "<code>/mounted/favicon.ico</code>");
  assertStringIncludes(html, 'href="/mounted/"');
});

test("other methods are answered with Allow", async () => {
  const refused = await request({ REQUEST_METHOD: "DELETE" });
  assertEquals(refused.status, "405 Method Not Allowed");
  assertEquals(refused.headers.get("Allow"), "GET, HEAD, POST, OPTIONS");
  const options = await request({ REQUEST_METHOD: "OPTIONS" });
  assertEquals(options.status, "204 No Content");
  assertEquals(options.headers.get("Content-Length"), undefined);
  assertEquals(options.content.length, 0);
});
