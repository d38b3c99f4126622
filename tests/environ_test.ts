import { test } from "node:test";
import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import {
  createEnviron,
  type EnvironOptions,
  mountPoint,
} from "../src/environ.ts";
import { FileWrapper } from "../src/apps/file_wrapper.ts";
import type { Exchange, RequestHead } from "../src/exchange.ts";
import { HeadReader } from "../src/http/head_reader.ts";
import { defaultLimits } from "../src/limits.ts";
import type { Environ } from "../src/wsgi.ts";
import {
  FakeExchange,
  type FakeRequest,
  text,
} from "./support/fake_exchange.ts";
import { octets } from "./support/octets.ts";

const errors = { write() {}, writelines() {}, flush() {} };

const options: EnvironOptions = {
  errors,
  scriptName: "",
  multithread: false,
  multiprocess: true,
  software: "headgate/test",
  fileWrapper: FileWrapper,
};

function environOf(request: FakeRequest, scriptName = ""): Environ {
  return createEnviron(new FakeExchange(request), { ...options, scriptName });
}

test("createEnviron() sets every variable that is always there", () => {
  const environ = environOf({
    target: "/a/b?c=d%20e",
    fields: [["Host", "example.com:8080"]],
  });
  const { "wsgi.input": input, "headgate.request": request, ...rest } = environ;
  assertEquals<unknown>(rest, {
    REQUEST_METHOD: "GET",
    SCRIPT_NAME: "",
    PATH_INFO: "/a/b",
    QUERY_STRING: "c=d%20e",
    REQUEST_URI: "/a/b?c=d%20e",
    RAW_URI: "/a/b?c=d%20e",
    SERVER_NAME: "example.com",
    SERVER_PORT: "8080",
    SERVER_PROTOCOL: "HTTP/1.1",
    SERVER_SOFTWARE: "headgate/test",
    GATEWAY_INTERFACE: "CGI/1.1",
    REMOTE_ADDR: "192.0.2.7",
    REMOTE_PORT: "49152",
    HTTP_HOST: "example.com:8080",
    "wsgi.version": [1, 0],
    "wsgi.url_scheme": "http",
    "wsgi.errors": errors,
    "wsgi.multithread": false,
    "wsgi.multiprocess": true,
    "wsgi.run_once": false,
    "wsgi.input_terminated": true,
    "wsgi.file_wrapper": FileWrapper,
  });
  assert(input !== undefined && request !== undefined);
});

test("createEnviron() makes a plain object", () => {
  assertStrictEquals(Object.getPrototypeOf(environOf({})), Object.prototype);
});

test("createEnviron() sets QUERY_STRING to the empty string without a query", () => {
  assertStrictEquals(environOf({ target: "/" }).QUERY_STRING, "");
  assertStrictEquals(environOf({ target: "/?" }).QUERY_STRING, "");
});

test("createEnviron() tells the version to answer as", () => {
  assertEquals(environOf({ version: 10 }).SERVER_PROTOCOL, "HTTP/1.0");
  assertEquals(environOf({ version: 11 }).SERVER_PROTOCOL, "HTTP/1.1");
});

test("PATH_INFO is percent-decoded, each octet one character", () => {
  const paths: [string, string][] = [
    ["/plain", "/plain"],
    ["/a%20b", "/a b"],
    ["/caf%C3%A9", "/caf\u00c3\u00a9"],
    ["/%ff%80%9f", "/\u00ff\u0080\u009f"],
    ["/a%2Fb", "/a/b"],
    ["/%2525", "/%25"],
    ["/100%", "/100%"],
    ["/%zz%4", "/%zz%4"],
    ["/a+b", "/a+b"],
  ];
  for (const [target, expected] of paths) {
    assertEquals(environOf({ target }).PATH_INFO, expected, target);
  }
});

test("PATH_INFO is empty for the asterisk form, which REQUEST_URI shows", () => {
  const environ = environOf({ method: "OPTIONS", target: "*" }, "/shop");
  assertEquals(environ.PATH_INFO, "");
  assertEquals(environ.REQUEST_URI, "*");
});

test("SCRIPT_NAME is taken off the path at a segment boundary", () => {
  const paths: [string, string][] = [
    ["/shop", ""],
    ["/shop/", "/"],
    ["/shop/cart", "/cart"],
    ["/%73hop/cart", "/cart"],
    ["/shopping", "/shopping"],
    ["/other", "/other"],
    ["/", "/"],
  ];
  for (const [target, expected] of paths) {
    const environ = environOf({ target }, "/shop");
    assertEquals(environ.SCRIPT_NAME, "/shop");
    assertEquals(environ.PATH_INFO, expected, target);
    assertEquals(environ.REQUEST_URI, target);
  }
});

test("mountPoint() knows one spelling of a mount point", () => {
  for (const path of ["/shop", "/shop/", "shop", "//shop//"]) {
    assertEquals(mountPoint(path), "/shop");
  }
  assertEquals(mountPoint("/a/b"), "/a/b");
  for (const path of ["", "/", "//"]) assertEquals(mountPoint(path), "");
  assertEquals(mountPoint("/caf\u00e9"), "/caf\u00c3\u00a9");
});

test("the authority of an absolute target replaces Host (RFC 9112 §3.2.2)", () => {
  const environ = environOf({
    target: "http://target.example:81/p?q",
    fields: [["Host", "other.example"]],
  });
  assertEquals(environ.HTTP_HOST, "target.example:81");
  assertEquals(environ.SERVER_NAME, "target.example");
  assertEquals(environ.SERVER_PORT, "81");
  assertEquals(environ.PATH_INFO, "/p");
  assertEquals(environ.QUERY_STRING, "q");
  assertEquals(environ.RAW_URI, "http://target.example:81/p?q");
});

test("SERVER_NAME and SERVER_PORT come from the authority, else the address", () => {
  const ours = { host: "192.0.2.1", port: 8000 };
  const ours6 = { host: "2001:db8::1", port: 8000 };
  const unix = { host: "/run/headgate:0.sock", port: 0 };
  const cases = [
    ["example.com", "http", ours, "example.com", "80"],
    ["example.com", "https", ours, "example.com", "443"],
    ["example.com:", "http", ours, "example.com", "80"],
    ["example.com:8443", "https", ours, "example.com", "8443"],
    ["[2001:db8::2]", "http", ours, "[2001:db8::2]", "80"],
    ["[2001:db8::2]:81", "http", ours, "[2001:db8::2]", "81"],
    ["", "http", ours, "192.0.2.1", "8000"],
    ["", "http", ours6, "[2001:db8::1]", "8000"],
    ["", "http", unix, "localhost", "80"],
    ["", "https", unix, "localhost", "443"],
    ["example.com", "http", unix, "example.com", "80"],
  ] as const;
  for (const [host, scheme, local, name, port] of cases) {
    const environ = environOf({ fields: [["Host", host]], scheme, local });
    assertEquals(environ.SERVER_NAME, name, host);
    assertEquals(environ.SERVER_PORT, port, host);
    assertEquals(environ["wsgi.url_scheme"], scheme);
  }
});

test("REMOTE_ADDR and REMOTE_PORT are there for a Unix-domain peer too", () => {
  const environ = environOf({ remote: { host: "", port: 0 } });
  assertStrictEquals(environ.REMOTE_ADDR, "");
  assertStrictEquals(environ.REMOTE_PORT, "0");
});

test("CONTENT_TYPE and CONTENT_LENGTH have no HTTP_ before them", () => {
  const environ = environOf({
    method: "POST",
    fields: [["Content-Type", "text/plain"], ["Content-Length", "3"]],
    content: ["abc"],
  });
  assertEquals(environ.CONTENT_TYPE, "text/plain");
  assertEquals(environ.CONTENT_LENGTH, "3");
  assert(!("HTTP_CONTENT_TYPE" in environ));
  assert(!("HTTP_CONTENT_LENGTH" in environ));
});

test("CONTENT_LENGTH is one number where the field is repeated", () => {
  const fields = [["Content-Length", "3"], ["Content-Length", "3"]] as const;
  assertEquals(environOf({ fields, content: ["abc"] }).CONTENT_LENGTH, "3");
});

test("CONTENT_TYPE and CONTENT_LENGTH are left out with their fields", () => {
  const none = environOf({});
  assert(!("CONTENT_TYPE" in none));
  assert(!("CONTENT_LENGTH" in none));
  const chunked = environOf({ content: ["abc"] });
  assert(!("CONTENT_LENGTH" in chunked));
});

test("repeated fields are joined with a comma, Cookie with a semicolon", () => {
  const environ = environOf({
    fields: [
      ["Accept", "a"],
      ["Cookie", "x=1"],
      ["accept", "b"],
      ["Cookie", "y=2"],
      ["X-Empty", ""],
      ["X-Empty", "c"],
    ],
  });
  assertEquals(environ.HTTP_ACCEPT, "a,b");
  assertEquals(environ.HTTP_COOKIE, "x=1; y=2");
  assertEquals(environ.HTTP_X_EMPTY, ",c");
});

test("a field without a meta-variable is dropped", () => {
  const environ = environOf({
    fields: [["X_Forwarded_For", "1"], ["Proxy", "2"], ["X-Real", "3"]],
  });
  assertEquals(
    Object.keys(environ).filter((key) => key.startsWith("HTTP_")),
    ["HTTP_X_REAL"],
  );
});

test("a field value keeps its octets above U+007F", () => {
  const environ = environOf({ fields: [["X-Name", "\u0080\u00ff"]] });
  assertEquals(environ.HTTP_X_NAME, "\u0080\u00ff");
});

test("wsgi.input reads the content", async () => {
  const environ = environOf({ content: ["ab", "cd"] });
  assertEquals(text(await environ["wsgi.input"].read()), "abcd");
});

test("headgate.request gives the signal when asked, and never before", () => {
  const exchange = new FakeExchange();
  const environ = createEnviron(exchange, options);
  assertEquals(exchange.signalsAsked, 0);
  const { signal } = environ["headgate.request"]!;
  assert(!signal.aborted);
  exchange.controller.abort();
  assert(signal.aborted);
});

test("headgate.request gives the trailers once the content is read", async () => {
  const environ = environOf({ content: ["x"], trailers: [["Digest", "d"]] });
  const request = environ["headgate.request"]!;
  assertEquals(request.trailers, []);
  await environ["wsgi.input"].read();
  assertEquals(request.trailers, [["digest", "d"]]);
});

// Fields that come again

/** Heads of one connection, which share their fields where those are the same. */
function headsOf(...lines: string[]): RequestHead[] {
  const reader = new HeadReader();
  return lines.map((line) => {
    const head = octets(
      `${line}\r\nHost: a\r\nAccept: b\r\nX: 1\r\nX: 2\r\n` +
        "Content-Length: 3\r\n\r\n",
    );
    return reader.read(head, 0, head.length, defaultLimits)!;
  });
}

/** An exchange of `head` beside which everything is what `request` says. */
function exchangeOf(head: RequestHead, request: FakeRequest): Exchange {
  const exchange = new FakeExchange(request);
  return {
    head,
    body: exchange.body,
    response: exchange.response,
    remote: exchange.remote,
    local: exchange.local,
    scheme: exchange.scheme,
    signal: exchange.signal,
  };
}

/** What can be compared. */
function values(environ: Environ): Record<string, unknown> {
  const { "wsgi.input": _, "headgate.request": __, ...rest } = environ;
  return rest;
}

test("createEnviron() makes the same of fields that come again as of new ones", () => {
  const lines = [
    "POST /shop/a?b HTTP/1.1",
    "POST /shop/a?b HTTP/1.1",
    "PUT /shop/%41?c HTTP/1.1",
    "PUT /else HTTP/1.0",
    "PUT http://c:1/ HTTP/1.1",
    "PUT /shop/d HTTP/1.1",
  ];
  const requests: FakeRequest[] = lines.map((_, i) => ({
    scheme: i % 2 === 0 ? "http" : "https",
    remote: { host: `192.0.2.${i}`, port: 1000 + i },
  }));
  const heads = headsOf(...lines);
  assertStrictEquals(heads[5]!.fields, heads[1]!.fields);
  assertEquals(heads[5]!.fields.recurs, true);
  for (const scriptName of ["", "/shop", ""]) {
    const mounted = { ...options, scriptName };
    for (const [i, line] of lines.entries()) {
      const [alone] = headsOf(line);
      assertEquals(
        values(createEnviron(exchangeOf(heads[i]!, requests[i]!), mounted)),
        values(createEnviron(exchangeOf(alone!, requests[i]!), mounted)),
      );
    }
  }
});

test("createEnviron() gives each request an environ and an input of its own", async () => {
  const heads = headsOf(...Array(4).fill("POST / HTTP/1.1"));
  const seen = new Set<unknown>();
  for (const [i, head] of heads.entries()) {
    const content = [`${i}${i}${i}`];
    const environ = createEnviron(exchangeOf(head, { content }), options);
    assertEquals(environ.HTTP_ACCEPT, "b");
    assertEquals(environ.HTTP_X, "1,2");
    assertEquals("mine" in environ, false);
    assertEquals(text(await environ["wsgi.input"].read()), content[0]);
    seen.add(environ).add(environ["headgate.request"]);
    // An application may do with it what it likes (PEP 3333).
    environ.HTTP_ACCEPT = "changed";
    environ.mine = true;
    delete environ.HTTP_X;
  }
  assertEquals(seen.size, 8);
});
