/** Local redirects, over an exchange of arrays. */
import { test } from "node:test";
import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { redirectLocally } from "../../src/apps/local_redirect.ts";
import { BackendError } from "../../src/errors.ts";
import type { Exchange } from "../../src/exchange.ts";
import { FakeExchange, type FakeRequest } from "../support/fake_exchange.ts";

/** The exchange that the site is given. */
async function redirected(
  request: FakeRequest,
  location: string,
): Promise<{ from: FakeExchange; to: Exchange }> {
  const from = new FakeExchange(request);
  let to: Exchange = from;
  await redirectLocally(from, location, (exchange) => {
    to = exchange;
  });
  return { from, to };
}

test("redirectLocally() asks the site for the location", async () => {
  const { from, to } = await redirected(
    { method: "POST", target: "/a?b", content: ["content"], scheme: "https" },
    "/c/d%20e?f?g",
  );
  const { head } = to;
  assertEquals(
    [head.method, head.target, head.targetForm, head.path, head.query],
    ["GET", "/c/d%20e?f?g", "origin", "/c/d%20e", "f?g"],
  );
  assertEquals([head.framing, head.contentLength], ["none", 0]);
  assertEquals(head.authority, "example.com");
  assertEquals(await to.body.read(), null);
  assertEquals(from.body.reads, 0);
  assertStrictEquals(to.response, from.response);
  assertEquals(to.remote, from.remote);
  assertEquals(to.local, from.local);
  assertEquals(to.scheme, "https");
  assertStrictEquals(to.signal, from.signal);
});

test("redirectLocally() leaves HEAD what it is", async () => {
  const { to } = await redirected({ method: "HEAD" }, "/a");
  assertEquals([to.head.method, to.head.query], ["HEAD", ""]);
});

test("redirectLocally() keeps the fields, but for those of a content", async () => {
  const { to } = await redirected({
    target: "http://other.example/a",
    fields: [
      ["Host", "example.com"],
      ["Content-Type", "text/plain"],
      ["Content-Length", "2"],
      ["Content-Encoding", "gzip"],
      ["Transfer-Encoding", "chunked"],
      ["Expect", "100-continue"],
      ["Trailer", "X"],
      ["Cookie", "a=b"],
      ["Cookie", "c=d"],
    ],
  }, "/a");
  const { fields } = to.head;
  assertEquals(
    Array.from({ length: fields.length }, (_, i) => [
      fields.name(i).lower,
      fields.value(i),
    ]),
    [["host", "other.example"], ["cookie", "a=b"], ["cookie", "c=d"]],
  );
});

test("redirectLocally() follows ten times, whoever wraps the exchange", async () => {
  let count = 0;
  const site = async (exchange: Exchange): Promise<void> => {
    count++;
    const { head, body, response, remote, local, scheme, signal } = exchange;
    await redirectLocally(
      { head, body, response, remote, local, scheme, signal },
      "/round",
      site,
    );
  };
  const error = await assertRejects(
    async () => await redirectLocally(new FakeExchange(), "/round", site),
    BackendError,
  );
  assertEquals([error.status, error.detail, count], [502, "/round", 10]);
});
