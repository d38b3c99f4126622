/** `headgate dev` as a developer has it, on the runtime of the test. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import process from "node:process";
import {
  addressIn,
  get,
  Started,
  testDaemon,
  until,
} from "./support/daemon.ts";
import { RawClient } from "./support/raw_client.ts";
import { findTool } from "./support/tool.ts";

const application = (answer: string) =>
  `export const app = {
  fetch(request) {
    if (new URL(request.url).pathname === "/broken") {
      throw new TypeError("<broken>");
    }
    return new Response(${answer});
  },
};
`;

testDaemon("dev reloads what has changed", async (daemon) => {
  daemon.write("app.mjs", application('"one"'));
  const server = daemon.launch(["dev", "app.mjs:app", "--bind=127.0.0.1:0"]);
  const logged = (line: RegExp) =>
    until(() => line.test(server.stdout), String(line), () => server.told());
  await logged(/Ready in/);
  const address = addressIn(server.stdout);
  const answer = async () => (await get(address)).text;
  assertEquals(await answer(), "one");
  // A browser keeps its connection, and shall not see the old one's answers.
  const browser = await RawClient.connect(address);
  await browser.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await browser.until(() => /one$/.test(browser.receivedText), "an answer");

  daemon.write("app.mjs", application('"two"'));
  await logged(/Reloaded: generation 2/);
  await browser.untilEnded();
  await browser.close();
  await until(async () => await answer() === "two", "two", () => server.told());

  daemon.write("app.mjs", application('"three'));
  await logged(/Not reloaded, the old workers serve on: Cannot load app.mjs/);
  assertEquals(await answer(), "two");

  daemon.write("app.mjs", application('"four"'));
  await until(
    async () => await answer() === "four",
    "four",
    () => server.told(),
  );

  const { status, text } = await get(address, "/broken");
  assertEquals(status, 500);
  assertStringIncludes(text, "TypeError: <broken>");
  assertMatch(text, /app\.mjs:4\n[^]*> 4 \| {7}throw new TypeError/);
  await logged(/^GET {2}\/broken 500 [\d.]+ ms [\d.]+ k?B$/m);

  process.kill(server.pid, "SIGINT");
  assertEquals(await server.ended(), 0);
  assertEquals(daemon.processes(), []);
  assertEquals(server.stderr, "");
});

testDaemon("dev answers HEAD as GET, where the body fails", async (daemon) => {
  daemon.write(
    "app.mjs",
    `export function app(environ, startResponse) {
  startResponse("200 OK", [["Content-Type", "text/plain"]]);
  return (async function* () {
    throw new TypeError("in the body");
  })();
}
`,
  );
  const server = daemon.launch(["dev", "app.mjs:app", "--bind=127.0.0.1:0"]);
  await until(
    () => /Ready in/.test(server.stdout),
    "readiness",
    () => server.told(),
  );
  const client = await RawClient.connect(addressIn(server.stdout));
  await client.send(
    "HEAD / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n",
  );
  await client.until(() => client.receivedText.endsWith("\r\n\r\n"), "a head");
  assertMatch(client.receivedText, /^HTTP\/1.1 500 /);
  assertMatch(
    client.receivedText,
    /^Content-Type: text\/html; charset=utf-8\r$/m,
  );
  await client.close();
  process.kill(server.pid, "SIGTERM");
  assertEquals(await server.ended(), 0);
});

testDaemon("dev waits until what is broken is mended", async (daemon) => {
  daemon.write("app.mjs", application('"one'));
  const server = daemon.launch(["dev", "app.mjs:app", "--bind=127.0.0.1:0"]);
  const logged = (line: RegExp) =>
    until(() => line.test(server.stdout), String(line), () => server.told());
  await logged(/Cannot load app.mjs[^]*Waiting for a change/);
  daemon.write("app.mjs", application('"mended"'));
  await logged(/Ready in/);
  assertEquals((await get(addressIn(server.stdout))).text, "mended");
  process.kill(server.pid, "SIGTERM");
  assertEquals(await server.ended(), 0);
});

testDaemon("without dev an error is a bare 500", async (daemon) => {
  daemon.write("app.mjs", application('"one"'));
  const server = daemon.launch(["app.mjs:app", "--bind=127.0.0.1:0"]);
  await until(
    () => /Ready in/.test(server.stdout),
    "readiness",
    () => server.told(),
  );
  const { status, text } = await get(addressIn(server.stdout), "/broken");
  assertEquals(status, 500);
  assertEquals(text.includes("broken"), false);
  process.kill(server.pid, "SIGTERM");
  assertEquals(await server.ended(), 0);
});

testDaemon(
  "dev reads keys, and leaves a terminal as it was",
  async (daemon) => {
    const script = await findTool("script");
    if (script === undefined) return;
    daemon.write("app.mjs", application('"one"'));
    const program = daemon.program.map((word) =>
      existsSync(word) ? resolve(word) : word
    );
    const words = [...program, "dev", "app.mjs:app", "--bind=127.0.0.1:0"];
    const command = `stty -g; ${words.join(" ")}; echo "code $?"; stty -g`;
    const child = spawn(script, ["-qec", command, "/dev/null"], {
      cwd: daemon.directory,
      env: { ...process.env, TERM: "xterm", NO_COLOR: "", SHELL: "/bin/sh" },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const terminal = new Started(child);
    const shown = (line: RegExp) =>
      until(
        () => line.test(terminal.stdout),
        String(line),
        () => terminal.told(),
      );
    try {
      await shown(/Keys: o opens[^]*Ready in/);
      await get(addressIn(terminal.stdout.replaceAll("\r", "")));
      // deno-lint-ignore no-control-regex
      await shown(/GET {2}\/ \x1b\[32m200\x1b\[0m/);
      child.stdin.write("r");
      await shown(/Reloaded: generation 2/);
      child.stdin.write("q");
      await shown(/code 0\r\n.+\r\n/);
      const lines = terminal.stdout.trimEnd().split("\r\n");
      assertEquals(lines.at(-1), lines[0]);
    } finally {
      // The terminal goes with it, and with that whoever still runs on it.
      child.kill("SIGKILL");
      await terminal.ended();
    }
  },
);
