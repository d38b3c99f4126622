/** Applications of the frameworks that people use (`tests/frameworks/`), served
 * by the program itself: the same routes, and the same answers wherever the
 * frameworks do not differ among themselves. */
import { existsSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { assertEquals, assertMatch } from "@std/assert";
import { type Program, startProgram } from "./support/program.ts";
import { RawClient } from "./support/raw_client.ts";

/** A request by its name, and what it answers: status, content, where a redirect
 * leads, cookies; for `/json` the type, too, which for others depends on the
 * framework and its runtime. */
type Answers = Readonly<Record<string, string>>;

const requests: Readonly<Record<string, () => RequestInit>> = {
  "GET /json": () => ({}),
  "HEAD /json": () => ({ method: "HEAD" }),
  "GET /users/42?tag=a&tag=b": () => ({}),
  "GET /cookies": () => ({ headers: { cookie: "theme=dark" } }),
  "GET /redirect": () => ({}),
  "GET /nowhere": () => ({}),
  "GET /throw": () => ({}),
  "POST /form": () => ({
    method: "POST",
    body: new URLSearchParams({ name: "Ada", city: "S\u00e3o Paulo" }),
  }),
  "POST /upload": () => ({ method: "POST", body: upload() }),
  "POST /sum": () => ({
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(Array.from({ length: 100_000 }, (_, i) => i)),
  }),
  "POST /echo": () => ({ method: "POST", body: "echo ".repeat(3) }),
};

function upload(): FormData {
  const form = new FormData();
  form.set("note", "gr\u00fc\u00dfe");
  form.set("file", new File([new Uint8Array(200_000)], "octets.bin"));
  return form;
}

/** What they all answer, but for what `frameworks` says. */
const answers: Answers = {
  "GET /json": '200 application/json {"hello":"world"}',
  "HEAD /json": "200 application/json ",
  "GET /users/42?tag=a&tag=b": '200 {"id":"42","tags":["a","b"]}',
  "GET /cookies": '200 {"theme":"dark"} ' +
    "a=1; path=/ b=2; path=/; httponly",
  "GET /redirect": "302  to /json",
  "GET /nowhere": "404 404 Not Found",
  "GET /throw": "500 Internal Server Error",
  "POST /form": '200 {"name":"Ada","city":"S\u00e3o Paulo"}',
  "POST /upload": "200 " +
    '{"note":"gr\u00fc\u00dfe","name":"octets.bin","size":200000}',
  "POST /sum": '200 {"sum":4999950000}',
  "POST /echo": "200 echo echo echo ",
};

/** Each framework by its package: its module, and where it differs. */
const frameworks: Readonly<Record<string, { file: string; differs: Answers }>> =
  {
    "hono": { file: "hono.mjs", differs: {} },
    "h3": {
      file: "h3.mjs",
      differs: {
        "GET /redirect": "302 <html><head>" +
          '<meta http-equiv="refresh" content="0; url=/json" />' +
          "</head></html> to /json",
        "GET /nowhere": '404 {"status":404,' +
          '"message":"Cannot find any route matching [GET] /nowhere"}',
        "GET /throw": "500 " +
          '{"status":500,"unhandled":true,"message":"HTTPError"}',
      },
    },
    "elysia": {
      file: "elysia.mjs",
      differs: {
        "GET /nowhere": "404 NOT_FOUND",
        "GET /throw": "500 Thrown by a route",
      },
    },
    "@oakserver/oak": {
      file: "oak.mjs",
      differs: {
        "GET /redirect": "302 Redirecting to /json. to /json",
        "GET /nowhere": "404 ",
        // It throws what a route threw: the answer is Headgate's.
        "GET /throw": "500 500 Internal Server Error\n",
      },
    },
    "itty-router": {
      file: "itty.mjs",
      differs: {
        "HEAD /json": "404 application/json ",
        "GET /nowhere": '404 {"status":404,' +
          '"error":"Not Found"}',
        "GET /throw": '500 {"status":500,' +
          '"error":"Thrown by a route"}',
      },
    },
  };

for (const [name, { file, differs }] of Object.entries(frameworks)) {
  const expected = { ...answers, ...differs };
  test(`${name} answers as its application says`, async () => {
    if (isInstalled(name)) await check(file, {}, expected);
  });
  test(`${name} with LightResponse as the global Response`, async () => {
    if (isInstalled(name)) {
      await check("light.mjs", { LIGHT_APP: file }, expected);
    }
  });
}

async function check(
  file: string,
  env: Readonly<Record<string, string>>,
  expected: Answers,
): Promise<void> {
  await using program = await startProgram(
    [`tests/frameworks/${file}`],
    env,
    // The packages are where npm has put them.
    ["--node-modules-dir=manual"],
  );
  assertEquals(await askAll(program), expected);
  await assertStreams(program);
  await assertEchoes(program);
}

/** Says so where a package is missing. With CI=true that is an error: a gate
 * does not skip. */
function isInstalled(name: string): boolean {
  if (existsSync(`tests/frameworks/node_modules/${name}/package.json`)) {
    return true;
  }
  const missing = `${name} is not installed: npm ci --prefix tests/frameworks`;
  if (process.env.CI === "true") throw new Error(missing);
  console.log(`skip: ${missing}`);
  return false;
}

async function askAll({ address }: Program): Promise<Answers> {
  const told: Record<string, string> = {};
  for (const [name, init] of Object.entries(requests)) {
    const path = name.slice(name.indexOf(" ") + 1);
    const response = await fetch(`${address}${path}`, {
      ...init(),
      redirect: "manual",
    });
    // A framework may put the address, whose port differs, into its answer.
    told[name] = (await tell(response)).replaceAll(address, "");
  }
  return told;
}

async function tell(response: Response): Promise<string> {
  const { status, headers } = response;
  const type = headers.get("content-type")?.split(";")[0];
  const location = headers.get("location");
  return [
    `${status}`,
    ...response.url.endsWith("/json") ? [type] : [],
    await response.text(),
    ...location === null ? [] : [`to ${location}`],
    ...headers.getSetCookie().map((cookie) => cookie.toLowerCase()),
  ].join(" ");
}

async function connect({ address }: Program): Promise<RawClient> {
  const { hostname, port } = new URL(address);
  return await RawClient.connect({ host: hostname, port: Number(port) });
}

/** Pieces that come one by one leave one by one. */
async function assertStreams(program: Program): Promise<void> {
  const client = await connect(program);
  try {
    await client.send(
      "GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    await client.untilEnded();
    assertMatch(
      client.receivedText,
      /^HTTP\/1\.1 200 [^]*\r\n\r\n4\r\none,\r\n4\r\ntwo,\r\n5\r\nthree\r\n0\r\n\r\n$/,
    );
  } finally {
    await client.close();
  }
}

/** A piece of the request is back before the next one is sent. */
async function assertEchoes(program: Program): Promise<void> {
  const client = await connect(program);
  try {
    await client.send(
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" +
        "Transfer-Encoding: chunked\r\n\r\n",
    );
    for (const piece of ["first", "second"]) {
      await client.send(`${piece.length}\r\n${piece}\r\n`);
      await client.until(() => client.receivedText.includes(piece), piece);
    }
    await client.send("0\r\n\r\n");
    await client.untilEnded();
  } finally {
    await client.close();
  }
}
