/** A request as meta-variables: RFC 3875 §4.1. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { createEnviron } from "../src/environ.ts";
import type { Fields } from "../src/exchange.ts";
import {
  eachMetaVariable,
  type MetaVariableOptions,
  packedMetaVariables,
} from "../src/meta_variables.ts";
import { FileWrapper } from "../src/apps/file_wrapper.ts";
import {
  FakeExchange,
  FakeFields,
  type FakeRequest,
} from "./support/fake_exchange.ts";

const software = "headgate/test";

/** An exchange whose fields say whether a name may repeat. */
function exchangeOf(request: FakeRequest, mayRepeat: boolean): FakeExchange {
  const exchange = new FakeExchange(request);
  const { fields } = exchange.head;
  const told: Fields = {
    length: fields.length,
    mayRepeat,
    name: (index) => fields.name(index),
    value: (index) => fields.value(index),
    get: (lower) => fields.get(lower),
  };
  Object.defineProperty(exchange.head, "fields", { value: told });
  return exchange;
}

function variablesOf(
  request: FakeRequest,
  options: Partial<MetaVariableOptions> = {},
  mayRepeat = true,
): Record<string, string> {
  const pairs: [name: string, value: string][] = [];
  eachMetaVariable(
    exchangeOf(request, mayRepeat),
    { scriptName: "", software, ...options },
    (name, value) => pairs.push([name, value]),
  );
  const record = Object.fromEntries(pairs);
  assertEquals(Object.keys(record).length, pairs.length, "a name comes twice");
  return record;
}

test("eachMetaVariable() gives what a request always has", () => {
  for (const mayRepeat of [true, false]) {
    const request: FakeRequest = {
      method: "POST",
      target: "/a%20b/c?d=%20e",
      fields: [
        ["Host", "example.com:8080"],
        ["Content-Type", "a/b"],
        ["Content-Length", "3"],
        ["X-A", "\xe9"],
        ["X_A", "forged"],
        ["Proxy", "forged"],
      ],
    };
    assertEquals(variablesOf(request, {}, mayRepeat), {
      GATEWAY_INTERFACE: "CGI/1.1",
      SERVER_SOFTWARE: software,
      SERVER_PROTOCOL: "HTTP/1.1",
      SERVER_NAME: "example.com",
      SERVER_PORT: "8080",
      SERVER_ADDR: "192.0.2.1",
      REMOTE_ADDR: "192.0.2.7",
      REMOTE_PORT: "49152",
      REQUEST_METHOD: "POST",
      REQUEST_SCHEME: "http",
      REQUEST_URI: "/a%20b/c?d=%20e",
      SCRIPT_NAME: "",
      PATH_INFO: "/a b/c",
      QUERY_STRING: "d=%20e",
      HTTP_HOST: "example.com:8080",
      CONTENT_TYPE: "a/b",
      CONTENT_LENGTH: "3",
      HTTP_X_A: "\xe9",
    });
  }
});

test("eachMetaVariable() says what an environ says", () => {
  const requests: FakeRequest[] = [
    {},
    { method: "OPTIONS", target: "*" },
    { version: 10, fields: [] },
    { target: "http://a:1/b%ff?c", fields: [["Host", "other"]] },
    { target: "/x", fields: [["Host", ""]] },
    { scheme: "https", target: "/shop/%C3%A4" },
    {
      fields: [["Host", "a"], ["X-B", "1"], ["X-B", "2"], ["Cookie", "c=1"], [
        "Cookie",
        "d=2",
      ]],
    },
    { method: "PUT", content: ["chunked"] },
    { remote: { host: "", port: 0 }, local: { host: "/run/s", port: 0 } },
    { local: { host: "::1", port: 80 }, fields: [] },
  ];
  for (const request of requests) {
    const variables = variablesOf(request, { scriptName: "/shop" });
    const environ = createEnviron(new FakeExchange(request), {
      errors: { write() {}, writelines() {}, flush() {} },
      scriptName: "/shop",
      multithread: false,
      multiprocess: false,
      software,
      fileWrapper: FileWrapper,
    });
    for (const [name, value] of Object.entries(environ)) {
      if (!/^[A-Z_]+$/.test(name)) continue;
      if (name === "RAW_URI" || name === "REQUEST_URI") continue;
      assertEquals(variables[name], value, name);
    }
    for (const name in variables) {
      if (/^(REQUEST_SCHEME|HTTPS|SERVER_ADDR)$/.test(name)) continue;
      assertEquals(name in environ, true, name);
    }
  }
});

test("eachMetaVariable() tells the scheme", () => {
  const secure = variablesOf({ scheme: "https" });
  assertEquals([secure.REQUEST_SCHEME, secure.HTTPS], ["https", "on"]);
  assertEquals(variablesOf({}).HTTPS, undefined);
});

test("eachMetaVariable() gives REQUEST_URI as a path", () => {
  const uri = (target: string) => variablesOf({ target }).REQUEST_URI;
  assertEquals(uri("/a%2f?b"), "/a%2f?b");
  assertEquals(uri("http://a/b?c=d"), "/b?c=d");
  assertEquals(uri("http://a?"), "/?");
  assertEquals(uri("http://a"), "/");
  assertEquals(uri("*"), "*");
});

test("eachMetaVariable() lets the target's authority replace Host", () => {
  for (const mayRepeat of [true, false]) {
    const request: FakeRequest = {
      target: "http://a/b",
      fields: [["Host", "c"]],
    };
    assertEquals(variablesOf(request, {}, mayRepeat).HTTP_HOST, "a");
  }
});

test("eachMetaVariable() has a place for scripts", () => {
  const variables = variablesOf({ target: "/a.php/b" }, {
    scriptName: "/a.php",
    pathInfo: "/c",
  });
  assertEquals([variables.SCRIPT_NAME, variables.PATH_INFO], ["/a.php", "/c"]);
  const empty = variablesOf({}, { scriptName: "/a.php", pathInfo: "" });
  assertEquals(empty.PATH_INFO, "");
});

test("eachMetaVariable() gives content that was read ahead its length", () => {
  for (const mayRepeat of [true, false]) {
    const fields: [string, string][] = [["Transfer-Encoding", "chunked"]];
    const request: FakeRequest = { fields, content: ["abc"] };
    const held = variablesOf(request, { contentLength: 0 }, mayRepeat);
    assertEquals(held.CONTENT_LENGTH, "0");
    assertEquals(held.HTTP_TRANSFER_ENCODING, undefined);
    const streamed = variablesOf(request, {}, mayRepeat);
    assertEquals(streamed.CONTENT_LENGTH, undefined);
    assertEquals(streamed.HTTP_TRANSFER_ENCODING, "chunked");
  }
});

test("eachMetaVariable() says no address of a Unix socket", () => {
  const local = { host: "/run/secret.sock", port: 0 };
  assertEquals(variablesOf({ local }).SERVER_ADDR, undefined);
});

// ---- As one text ----

/** The names and values of a packed text. */
function unpacked(text: string): Record<string, string> {
  const parts = text.split("\0");
  assertEquals(parts.pop(), "", "the last value is not ended");
  const record: Record<string, string> = {};
  for (let i = 0; i < parts.length; i += 2) record[parts[i]!] = parts[i + 1]!;
  return record;
}

/** An exchange with fields of another. */
function exchangeWith(fields: Fields, request: FakeRequest): FakeExchange {
  const exchange = new FakeExchange(request);
  Object.defineProperty(exchange.head, "fields", { value: fields });
  return exchange;
}

test("packedMetaVariables() gives what eachMetaVariable() does", () => {
  const requests: FakeRequest[] = [
    { target: "/a%20b?c", fields: [["Host", "a:1"], ["X-A", "\xe9"]] },
    { method: "POST", fields: [["Host", "a"], ["Content-Length", "3"]] },
    { target: "http://b:2/c", fields: [["Host", "b:2"]], version: 10 },
    { scheme: "https", fields: [["Cookie", "a"], ["Cookie", "b"]] },
  ];
  for (const request of requests) {
    for (const pathInfo of [undefined, "/other"]) {
      const options = { scriptName: "/app", software, pathInfo };
      assertEquals(
        unpacked(packedMetaVariables(new FakeExchange(request), options)),
        variablesOf(request, options),
      );
    }
  }
});

test("packedMetaVariables() takes of fields that recur no more than they say", () => {
  const fields = Object.assign(new FakeFields([["Host", "a:1"]]), {
    recurs: true,
  });
  const options = { scriptName: "", software };
  const other = { scriptName: "/app", software };
  const address = { host: "192.0.2.7", port: 7 };
  const ends = {
    remote: { host: "192.0.2.1", port: 1 },
    local: { host: "192.0.2.2", port: 2 },
  };
  const requests: [FakeRequest, MetaVariableOptions][] = [
    [{ target: "/a?b" }, options],
    [{ target: "/c", method: "PUT", version: 10 }, options],
    [{ target: "/c", remote: address }, options],
    [{ target: "/c" }, options],
    [{ target: "/c", local: address }, options],
    [{ target: "/c" }, options],
    [{ target: "/c", scheme: "https" }, options],
    [{ target: "/app/c", scheme: "https" }, other],
    [{ target: "http://b:2/c" }, options],
    [{ target: "/a?b" }, options],
  ];
  for (const [request, asked] of requests) {
    const told = { ...ends, ...request, fields: [["Host", "a:1"]] as const };
    for (let times = 0; times < 2; times++) {
      assertEquals(
        unpacked(packedMetaVariables(exchangeWith(fields, told), asked)),
        variablesOf(told, asked),
      );
    }
  }
  const held = { ...options, contentLength: 5 };
  for (const asked of [options, held, options]) {
    const text = packedMetaVariables(exchangeWith(fields, ends), asked);
    assertEquals(
      unpacked(text).CONTENT_LENGTH,
      asked === held ? "5" : undefined,
    );
  }
});
