/** What the command line serves, by its kind, asked over real sockets. */
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import process from "node:process";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { freePort } from "./support/free_port.ts";
import { Command } from "./support/command.ts";
import { startProgram } from "./support/program.ts";

/** Writes a module, and has it used. */
async function withModule(
  text: string,
  use: (file: string) => Promise<void>,
  name = "server.mjs",
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "headgate-application-"));
  try {
    const file = join(directory, name);
    await writeFile(file, text);
    await use(file);
  } finally {
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

test("--type handler serves a function of an exchange", async () => {
  const text = `export function site({ head, response }) {
    response.start(200, "OK", [["Content-Type", "text/plain"]]);
    response.write(new TextEncoder().encode(head.method + " " + head.target));
    return response.end();
  }`;
  await withModule(text, async (file) => {
    await using program = await startProgram([
      `${file}:site`,
      "--type",
      "handler",
    ]);
    const response = await fetch(`${program.address}/a?b`);
    assertEquals(await response.text(), "GET /a?b");
    assertStringIncludes(program.output(), "site (handler)");
  });
});

test("a program that runs on after its response may end before the server", async () => {
  if (process.platform === "win32") return;
  const directory = await mkdtemp(join(tmpdir(), "headgate-application-"));
  try {
    const done = join(directory, "done");
    const file = join(directory, "on");
    await writeFile(
      file,
      "#!/bin/sh\n" +
        "printf 'Content-Type: text/plain\\nContent-Length: 2\\n\\nok'\n" +
        `exec >&- 2>&-\nsleep 0.5\n: > '${done}'\n`,
    );
    await chmod(file, 0o755);
    await using program = await startProgram([
      "--cgi-dir",
      `/bin=${directory}`,
    ]);
    const response = await fetch(`${program.address}/bin/on`);
    assertEquals(await response.text(), "ok");
    program.kill("SIGTERM");
    assertEquals(await program.exited, { code: 0, signal: null });
    assertEquals(await readFile(done, "utf8"), "");
  } finally {
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  }
});

const saying = (port: number, more = "") =>
  `export default {
  fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/throws") throw new Error("mine");
    return request.text().then((text) => new Response("got " + text));
  },
  error: (error) => new Response("told " + error.message, { status: 503 }),
  port: ${port},
  maxRequestBodySize: 10,
  onListen({ transport, hostname, port }) {
    console.log("It listens:", transport, hostname, port);
  },
  ${more}
};`;

test("a module says where to listen, what to bound and what to answer", async () => {
  const port = await freePort();
  await withModule(saying(port, "websocket: {},"), async (file) => {
    await using command = new Command([file, "--access-log", "off"]);
    assertEquals(await command.ready(), [{ host: "127.0.0.1", port }]);
    const at = `http://127.0.0.1:${port}`;
    const fails = await fetch(`${at}/throws`);
    assertEquals([fails.status, await fails.text()], [503, "told mine"]);
    const small = await fetch(at, { method: "POST", body: "0123456789" });
    assertEquals(await small.text(), "got 0123456789");
    const large = await fetch(at, { method: "POST", body: "0123456789a" });
    assertEquals(large.status, 413);
    await large.text();
    const told = `It listens: tcp 127.0.0.1 ${port}`;
    await command.until(() => command.stdout.includes(told), told);
    assertStringIncludes(
      command.stdout,
      `Nothing reads websocket of the default export of ${file}`,
    );
  });
});

test("a CommonJS module says it as well, on every runtime", async () => {
  const text = `module.exports = {
    fetch: () => new Response("served"),
    error: () => new Response("told"),
    tls: {},
  };`;
  await withModule(text, async (file) => {
    await using command = new Command([file, "--check-config"]);
    assertEquals(await command.ended(), 0);
    assertStringIncludes(command.stderr, "headgate: Nothing reads tls of");
  }, "server.cjs");
});

test("--check-config tells what nothing reads", async () => {
  await withModule(saying(1, "tls: {},"), async (file) => {
    await using command = new Command([file, "--check-config"]);
    assertEquals(await command.ended(), 0);
    assertStringIncludes(command.stderr, "headgate: Nothing reads tls of");
  });
});

test("the command line and HEADGATE_BIND go before a module, that before PORT", async () => {
  const [ours, port] = [await freePort(), await freePort()];
  await withModule(saying(port), async (file) => {
    const listensOn = async (
      args: string[],
      env: Record<string, string>,
    ): Promise<string[]> => {
      await using command = new Command([file, ...args], { env });
      const addresses = await command.ready();
      return addresses.map(({ host, port }) => `${host}:${port}`);
    };
    const bind = `127.0.0.1:${ours}`;
    assertEquals(await listensOn(["--bind", bind], {}), [bind]);
    assertEquals(await listensOn([], { HEADGATE_BIND: bind }), [bind]);
    assertEquals(
      await listensOn([], { PORT: String(ours) }),
      [`0.0.0.0:${port}`],
    );
  });
});

test("workers listen where they are told, and a module learns of it", async () => {
  if (process.platform !== "linux") return console.log("skip: no Linux");
  const [ours, port] = [await freePort(), await freePort()];
  await withModule(saying(port), async (file) => {
    // By PORT, which a module goes before where it can.
    const env = { PORT: String(ours) };
    await using command = new Command([file, "--workers", "2"], { env });
    assertEquals(await command.ready(), [{ host: "0.0.0.0", port: ours }]);
    await command.until(
      () => command.stdout.match(/It listens: tcp/g)?.length === 2,
      "both workers",
    );
    const warning = `Write --bind 0.0.0.0:${port}`;
    await command.until(() => command.stdout.includes(warning), "a warning");
    const large = await fetch(`http://127.0.0.1:${ours}`, {
      method: "POST",
      body: "0123456789a",
    });
    assertEquals(large.status, 413);
    await large.text();
    command.signal("SIGTERM");
    await command.ended();
    assertEquals(command.stdout.match(/wants to listen on/g)?.length, 1);
  });
});

const listening = (port: number, tail: string) => `
const handler = () => new Response("mine");
if ("Deno" in globalThis) {
  Deno.serve({ hostname: "127.0.0.1", port: ${port} }, handler);
} else if ("Bun" in globalThis) {
  Bun.serve({ hostname: "127.0.0.1", port: ${port}, fetch: handler });
} else {
  const { createServer } = await import("node:http");
  createServer().listen(${port}, "localhost");
}
${tail}`;

test("a module that is a server by itself is explained", async () => {
  if (process.platform !== "linux") return console.log("skip: no Linux");
  const port = await freePort();
  await withModule(listening(port, ""), async (file) => {
    await using command = new Command([file, "--bind", "127.0.0.1:0"]);
    await command.ended();
    assertEquals(command.outcome, 1);
    assertStringIncludes(
      command.stderr,
      "exports no application, and listens on http://",
    );
    assertStringIncludes(command.stderr, `:${port} itself`);
    assertStringIncludes(command.stderr, "export default { fetch }");
  });
});

test("a module that listens beside its application is told of it", async () => {
  if (process.platform !== "linux") return console.log("skip: no Linux");
  const port = await freePort();
  const text = `import { createServer } from "node:net";
    await new Promise((resolve) =>
      createServer().listen(${port}, "127.0.0.1", resolve));
    export default { fetch: () => new Response("served") };`;
  await withModule(text, async (file) => {
    await using program = await startProgram([file]);
    const warning = `${file} listens on http://127.0.0.1:${port} itself`;
    assertStringIncludes(program.output(), warning);
    assertEquals(await (await fetch(program.address)).text(), "served");
  });
  // Nobody waits for it, as most do not.
  const atOnce = `import { createServer } from "node:net";
    createServer().listen(${port}, "127.0.0.1");
    export default { fetch: () => new Response("served") };`;
  await withModule(atOnce, async (file) => {
    await using program = await startProgram([file]);
    assertStringIncludes(program.output(), `:${port} itself`);
  });
  await withModule(text, async (file) => {
    await using command = new Command([file, "--bind", `127.0.0.1:${port}`]);
    await command.ended();
    assertEquals(command.outcome, 1);
    assertStringIncludes(command.stderr, "in use by the application itself");
    assert(!command.stderr.includes("pid"), command.stderr);
  });
});
