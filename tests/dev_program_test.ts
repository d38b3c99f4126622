/** `headgate dev` as a developer has it, on the runtime of the test. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import process from "node:process";
import { addressIn, get, testDaemon, until } from "./support/daemon.ts";

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

  daemon.write("app.mjs", application('"two"'));
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
