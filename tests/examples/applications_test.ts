/** The small examples, each served on this runtime and under lint. */
import { createHash } from "node:crypto";
import process from "node:process";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertLess,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { app as echo } from "../../examples/echo.ts";
import { app as form } from "../../examples/form.ts";
import { app as hello } from "../../examples/hello.ts";
import { app as countdown, timed } from "../../examples/middleware.ts";
import { app as stream } from "../../examples/stream.ts";
import { app as upload } from "../../examples/upload.ts";
import type { Address, Application } from "../../mod.ts";
import { octets } from "../support/octets.ts";
import { RawClient } from "../support/raw_client.ts";
import { exchange, exchangeSlowly, serving, text } from "./fixture.ts";

/** A request after which the server hangs up. */
function request(method: string, target: string, content = ""): string {
  return `${method} ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n` +
    `Content-Length: ${content.length}\r\n\r\n${content}`;
}

test("every example answers HEAD without content and without error", async () => {
  const examples = { hello, echo, stream, form, countdown, upload };
  for (const [name, app] of Object.entries(examples)) {
    await serving(app, async ({ address, log }) => {
      const response = await exchange(address, request("HEAD", "/"));
      assertEquals(response.status, name === "upload" ? 405 : 200, name);
      assertEquals(response.content.length, 0, name);
      const errors = log.lines.filter((line) =>
        /^error (?!.* took)/.test(line)
      );
      assertEquals(errors, [], name);
    });
  }
});

test("hello greets, byte by byte too, beside a silent connection", async () => {
  await serving(hello, async ({ address, url }) => {
    const silent = await RawClient.connect(address);
    const whole = await exchange(address, request("GET", "/"));
    assertEquals(text(whole), "Hello, World!\n");
    assertEquals(whole.get("content-length"), "14");
    const slow = await exchangeSlowly(address, request("GET", "/"));
    assertEquals(text(slow), "Hello, World!\n");
    assertEquals(await (await fetch(url)).text(), "Hello, World!\n");
    await silent.close();
  });
});

test("echo sends a line back before the next has arrived", async () => {
  await serving(echo, async ({ address, url }) => {
    const client = await RawClient.connect(address);
    await client.send(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    for (const line of ["first\n", "second\n"]) {
      await client.send(`${line.length.toString(16)}\r\n${line}\r\n`);
      await client.until(() => client.receivedText.includes(line), line);
    }
    await client.send("0\r\n\r\n");
    await client.until(
      () => client.receivedText.endsWith("0\r\n\r\n"),
      "the end",
    );
    await client.close();

    const body = new Uint8Array(300_000).map((_, at) => at % 251);
    const response = await fetch(url, { method: "POST", body });
    assertEquals(new Uint8Array(await response.arrayBuffer()), body);
  });
});

test("stream sends events until the client leaves, then ends", async () => {
  await serving(stream, async ({ address, log }) => {
    const client = await RawClient.connect(address);
    await client.send(
      "GET /events HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 41\r\n\r\n",
    );
    await client.until(
      () => /id: 43\n/.test(client.receivedText),
      "two events",
    );
    assertMatch(
      client.receivedText,
      /\r\nContent-Type: text\/event-stream\r\n/,
    );
    assertMatch(
      client.receivedText,
      /id: 42\ndata: \d{4}-\d\d-\d\dT[^\n]+\n\n/,
    );
    await client.close();
    await log.until(/^error A client left after event \d+$/);
  });
});

test("stream ends when a reader cancels", async () => {
  await serving(stream, async ({ url, log }) => {
    const response = await fetch(`${url}/events`);
    const reader = response.body!.getReader();
    assertMatch(
      new TextDecoder().decode((await reader.read()).value),
      /^id: 1/,
    );
    await reader.cancel();
    await log.until(/^error A client left after event 1$/);
  });
});

test("stream has a page that shows the events", async () => {
  await serving(stream, async ({ url }) => {
    const response = await fetch(url);
    assertMatch(response.headers.get("content-type") ?? "", /^text\/html/);
    assertStringIncludes(await response.text(), 'new EventSource("events")');
  });
});

test("form shows what came by GET and by POST, escaped", async () => {
  const fields = new URLSearchParams([
    ["name", `<b>"Åse" & 'co'</b>`],
    ["plays", "piano"],
    ["plays", "drums"],
  ]);
  const shown = "&lt;b&gt;&quot;Åse&quot; &amp; &#39;co&#39;&lt;/b&gt;";
  await serving(form, async ({ url }) => {
    const byGet = await (await fetch(`${url}/?${fields}`)).text();
    assertStringIncludes(byGet, `By GET: ${shown} plays piano, drums.`);
    const byPost = await fetch(url, { method: "POST", body: fields });
    const page = await byPost.text();
    assertStringIncludes(page, `By POST: ${shown} plays piano, drums.`);
    assertStringIncludes(page, `name="name" value="${shown}"`);
    assertStringIncludes(page, 'value="drums" checked');
    assert(!page.includes("<b>"), page);
    const empty = await (await fetch(url)).text();
    assertStringIncludes(empty, "somebody plays nothing");
  });
});

test("form refuses other methods and types, and too much", async () => {
  await serving(form, async ({ url }) => {
    const put = await fetch(url, { method: "PUT", body: "x" });
    assertEquals(put.status, 405);
    assertEquals(put.headers.get("allow"), "GET, HEAD, POST");
    await put.text();
    const json = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: "{}",
    });
    assertEquals(json.status, 415);
    await json.text();
    for (const [size, status] of [[65_536, 200], [65_537, 413]] as const) {
      const body = new URLSearchParams({ name: "x".repeat(size - 5) });
      const response = await fetch(url, { method: "POST", body });
      assertEquals(response.status, status);
      await response.text();
    }
  });
});

test("middleware adds a field and logs the time at the end", async () => {
  await serving(countdown, async ({ url, log }) => {
    const response = await fetch(url);
    assertMatch(
      response.headers.get("server-timing") ?? "",
      /^app;dur=\d+\.\d$/,
    );
    assertEquals(await response.text(), "3\n2\n1\n");
    await log.until(/^error GET \/ took \d+\.\d ms$/);
  });
});

test("middleware passes close() on, though the client has left", async () => {
  const closed: string[] = [];
  const inner: Application = (_environ, startResponse) => {
    startResponse("200 OK", [["Content-Type", "text/plain"]]);
    return {
      *[Symbol.iterator]() {
        try {
          while (true) yield new Uint8Array(65_536);
        } finally {
          closed.push("iterator");
        }
      },
      close: () => void closed.push("body"),
    };
  };
  await serving(timed(inner), async ({ address, log }) => {
    const client = await RawClient.connect(address);
    await client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await client.until(() => client.received.length > 0, "content");
    await client.close();
    await log.until(/^error GET \/ took/);
    assertEquals(closed, ["iterator", "body"]);
  });
});

test("middleware lets startResponse replace the head", async () => {
  const inner: Application = (_environ, startResponse) => {
    startResponse("200 OK", [["Content-Type", "text/plain"]]);
    const failure = new Error("changed its mind");
    startResponse("503 Busy", [["Content-Type", "text/plain"]], failure);
    return [octets("later")];
  };
  await serving(timed(inner), async ({ url }) => {
    const response = await fetch(url);
    assertEquals(response.status, 503);
    assertEquals(await response.text(), "later");
  });
});

test("upload counts and hashes 200 MiB in flat memory", async () => {
  await serving(upload, async ({ address }) => {
    // A runtime takes some memory to become warm.
    await uploadMebibytes(address, 20);
    const before = process.memoryUsage().rss;
    const peak = await uploadMebibytes(address, 200);
    // V8 lets 64 MiB of octets pass before it looks for those that are free.
    assertLess(peak - before, 128 * 1024 * 1024);
  });
});

/** Uploads so much, checks the answer, and returns the most memory that was
 * used meanwhile. */
async function uploadMebibytes(
  address: Address,
  mebibytes: number,
): Promise<number> {
  const piece = new Uint8Array(65_536).map((_, at) => at % 253);
  const bytes = mebibytes * 1024 * 1024;
  const hash = createHash("sha256");
  let peak = 0;
  const client = await RawClient.connect(address);
  await client.send(
    `PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${bytes}\r\n\r\n`,
  );
  for (let sent = 0; sent < bytes; sent += piece.length) {
    hash.update(piece);
    await client.send(piece);
    peak = Math.max(peak, process.memoryUsage().rss);
  }
  await client.until(() => client.receivedText.endsWith("}\n"), "an answer");
  const json = client.receivedText.split("\r\n\r\n")[1] ?? "";
  assertEquals(JSON.parse(json), { bytes, sha256: hash.digest("hex") });
  await client.close();
  return peak;
}

test("upload takes chunked content and an empty one", async () => {
  const sha256 = (content: string) =>
    createHash("sha256").update(content).digest("hex");
  await serving(upload, async ({ address, url }) => {
    const empty = await exchange(address, request("POST", "/"));
    assertEquals(JSON.parse(text(empty)), { bytes: 0, sha256: sha256("") });
    const chunked = await exchange(
      address,
      "PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" +
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    assertEquals(JSON.parse(text(chunked)), {
      bytes: 5,
      sha256: sha256("abcde"),
    });
    const get = await fetch(url);
    assertEquals(get.status, 405);
    assertEquals(get.headers.get("allow"), "PUT, POST");
    await get.text();
  });
});
