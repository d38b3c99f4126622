/** Flask, Django and Pyramid (`tests/pythonapps/`) behind the gateway: the same
 * requests, and the same answers wherever the frameworks do not differ. Each is
 * asked once as it is, and once between CPython's own checkers, which must have
 * nothing to say. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { concat, octets } from "../support/octets.ts";
import {
  findPython,
  pythonApplications,
  pythonEnvironment,
  type ServedOptions,
  ServedPython,
  TemporaryDirectory,
} from "../support/python.ts";
import { parseResponses } from "../support/responses.ts";

/** A request by its name, and what it answers: status, what fields say that
 * matter, content. */
type Answers = Readonly<Record<string, string>>;

const upload = new Uint8Array(10_000_000).map((_, at) => at % 251);

const requests: Readonly<Record<string, () => RequestInit>> = {
  "GET /hello": () => ({}),
  "HEAD /hello": () => ({ method: "HEAD" }),
  "GET /hello?a=1": () => ({}),
  "GET /query?a=1&a=2&b=gr%C3%BC%C3%9Fe": () => ({}),
  "GET /path/a%20b/%C3%BC/%25": () => ({}),
  "GET /nowhere": () => ({}),
  "POST /form": () => ({
    method: "POST",
    body: new URLSearchParams({ name: "Ada", city: "S\u00e3o Paulo" }),
  }),
  "POST /upload": () => ({ method: "POST", body: form() }),
  "POST /raw": () => ({ method: "POST", body: upload }),
  "GET /cookies": () => ({ headers: { cookie: "theme=dark; x=y" } }),
  "GET /tagged": () => ({}),
  "GET /tagged (again)": () => ({ headers: { "if-none-match": '"one"' } }),
  "GET /away": () => ({}),
};

function form(): FormData {
  const form = new FormData();
  form.set("note", "gr\u00fc\u00dfe");
  form.set("file", new File([upload], "octets.bin"));
  return form;
}

const digest = `"sha256":"${sha256(upload)}","size":10000000`;

/** What all of them answer. */
const answers: Answers = {
  "HEAD /hello": "200 ",
  "GET /query?a=1&a=2&b=gr%C3%BC%C3%9Fe":
    '200 {"a":["1","2"],"b":["gr\u00fc\u00dfe"]}',
  "GET /path/a%20b/%C3%BC/%25": "200 a b/\u00fc/%",
  "GET /nowhere": "404",
  "POST /form": '200 {"city":"S\u00e3o Paulo","name":"Ada"}',
  "POST /upload":
    `200 {"name":"octets.bin","note":"gr\u00fc\u00dfe",${digest}}`,
  "POST /raw": `200 {"length":"10000000",${digest}}`,
  "GET /cookies": '200 {"theme":"dark","x":"y"} a=1 b=2',
  "GET /tagged": '200 tagged\n "one"',
  "GET /tagged (again)": '304  "one"',
  "GET /away": "302 to /hello",
};

/** Each framework by its module, and where its application is. */
const frameworks: Readonly<Record<string, string>> = {
  flask: "flaskapp",
  pyramid: "pyramidapp",
  django: "djangoapp",
};

for (const [framework, module] of Object.entries(frameworks)) {
  const name = `${framework[0]?.toUpperCase()}${framework.slice(1)}`;
  const hello = `200 Hello world from ${name}!\n`;
  const expected: Answers = {
    ...answers,
    "GET /hello": hello,
    "GET /hello?a=1": hello,
  };

  /** Serves it, where it is installed. */
  const served = async (
    callable: string,
    check: (served: ServedPython) => Promise<void>,
  ): Promise<void> => {
    const python = findPython(framework);
    if (python === undefined) return;
    using directory = new TemporaryDirectory();
    const env = pythonEnvironment({ DJANGO_DATA: directory.path });
    if (framework === "django") prepareDjango(python, env);
    const options: ServedOptions = { python, env };
    await using application = await ServedPython.start(
      `${module}:${callable}`,
      options,
    );
    await check(application);
  };

  test(`${name} answers`, () =>
    served("app", async (application) => {
      assertEquals(await askAll(application), expected);
      await assertChunked(application);
      await assertSession(application);
      await assertStream(application);
      await assertFailure(application);
      await assertClosed(application);
      if (framework === "django") await assertAdmin(application);
    }));

  test(`${name} between checkers answers the same`, () =>
    served("validated", async (application) => {
      assertEquals(await askAll(application), expected);
      await assertChunked(application);
      await assertStream(application);
      await assertClosed(application);
      assertEquals(
        application.lines.filter((line) => /^(?:error|critical)/.test(line)),
        [],
      );
    }));
}

function prepareDjango(
  python: string,
  env: Readonly<Record<string, string>>,
): void {
  const { status, stderr } = spawnSync(python, ["-m", "djangosite.prepare"], {
    cwd: pythonApplications,
    env: { ...env },
    encoding: "utf8",
  });
  assertEquals(status, 0, stderr);
}

async function askAll(application: ServedPython): Promise<Answers> {
  const told: Record<string, string> = {};
  for (const [name, init] of Object.entries(requests)) {
    const [, path = ""] = name.split(" ");
    told[name] = await tell(await application.get(path, init()));
  }
  return told;
}

async function tell(response: Response): Promise<string> {
  const { status, headers } = response;
  const text = await response.text();
  const location = headers.get("location");
  // What a framework says of these is its own.
  if (location !== null) {
    return `${status} to ${location.replace(/^http:\/\/[^/]*/, "")}`;
  }
  if (status === 404) return "404";
  const tag = headers.get("etag");
  return [
    `${status}`,
    text.startsWith("{") ? sorted(text) : text,
    ...tag === null ? [] : [tag],
    ...headers.getSetCookie().map((cookie) => cookie.split(";")[0]),
  ].join(" ");
}

/** JSON as any of them would write it. */
function sorted(text: string): string {
  const entries = Object.entries(JSON.parse(text) as Record<string, unknown>);
  return JSON.stringify(
    Object.fromEntries(entries.sort(([a], [b]) => a < b ? -1 : 1)),
  );
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Content without a length has one when an application sees it. */
async function assertChunked(application: ServedPython): Promise<void> {
  const client = await application.connect();
  try {
    await client.send(
      "POST /raw HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" +
        "Transfer-Encoding: chunked\r\n\r\n",
    );
    const piece = upload.subarray(0, 100_000);
    for (let count = 0; count < 3; count++) {
      await client.send(
        concat([octets("186A0\r\n"), piece, octets("\r\n")]),
      );
    }
    await client.send("0\r\n\r\n");
    await client.untilEnded();
    const [response] = parseResponses(client.received);
    assert(response !== undefined);
    assertEquals(JSON.parse(new TextDecoder().decode(response.content)), {
      length: "300000",
      size: 300_000,
      sha256: sha256(concat([piece, piece, piece])),
    });
  } finally {
    await client.close();
  }
}

/** A session goes along in its cookie. */
async function assertSession(application: ServedPython): Promise<void> {
  let cookie = "";
  for (const count of [1, 2, 3]) {
    const response = await application.get("/session", { headers: { cookie } });
    assertEquals(await response.json(), { count });
    cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? "";
  }
}

async function assertStream(application: ServedPython): Promise<void> {
  const response = await application.get("/stream/200");
  const content = new Uint8Array(await response.arrayBuffer());
  assertEquals(content.length, 200 * 16_384);
  assert(content.every((octet, at) => octet === at % 256));
}

async function assertFailure(application: ServedPython): Promise<void> {
  const response = await application.get("/throw");
  await response.text();
  assertEquals(response.status, 500);
  assertEquals(
    await application.text("/hello"),
    await application.text("/hello"),
  );
}

/** A body without end is closed when its reader leaves. */
async function assertClosed(application: ServedPython): Promise<void> {
  const { opened } = await application.json("/streams");
  const client = await application.connect();
  await client.send("GET /stream/-1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await client.until(() => client.received.length > 100_000, "some content");
  await client.close();
  const deadline = performance.now() + 25_000;
  for (;;) {
    const told = await application.json("/streams");
    if (told["closed"] === Number(opened) + 1) break;
    assert(performance.now() < deadline, JSON.stringify(told));
  }
}

/** Somebody logs in to the admin of Django, which takes a form, a token against
 * forgery, cookies, a session and a database. */
async function assertAdmin(application: ServedPython): Promise<void> {
  const away = await application.get("/admin/");
  await away.text();
  const login = away.headers.get("location") ?? "";
  assertEquals([away.status, login], [302, "/admin/login/?next=/admin/"]);
  const page = await application.get(login);
  const token = /name="csrfmiddlewaretoken" value="(\w+)"/
    .exec(await page.text())?.[1] ?? "";
  const answer = await application.get(login, {
    method: "POST",
    headers: { cookie: cookiesOf(page) },
    body: new URLSearchParams({
      username: "ada",
      password: "lovelace",
      csrfmiddlewaretoken: token,
      next: "/admin/",
    }),
  });
  await answer.text();
  assertEquals(
    [answer.status, answer.headers.get("location")],
    [302, "/admin/"],
  );
  const inside = await application.get("/admin/", {
    headers: { cookie: cookiesOf(answer) },
  });
  assertMatch(await inside.text(), /Site administration[^]*Log out/);
}

function cookiesOf(response: Response): string {
  return response.headers.getSetCookie()
    .map((cookie) => cookie.split(";")[0]).join("; ");
}
