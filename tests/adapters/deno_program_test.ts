/** The program on Deno with and without the kernel's own sockets, and a worker,
 * which must do without. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { assertEquals } from "@std/assert";
import { startProgram } from "../support/program.ts";
import { runCommand } from "../support/run_command.ts";
import { runtime } from "./fixture.ts";

const application = `
export default {
  async fetch(request) {
    const { state } = Deno.permissions.querySync({ name: "ffi" });
    return new Response(\`\${state}: \${await request.text()}\`);
  },
};
`;

/** A folder with these files, while the body runs. */
async function withFiles(
  files: Readonly<Record<string, string>>,
  body: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "headgate-"));
  try {
    for (const [name, text] of Object.entries(files)) {
      writeFileSync(join(folder, name), text);
    }
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("the program serves without the permission to call the C library", async () => {
  if (runtime !== "deno") return;
  await withFiles({ "app.mjs": application }, async (folder) => {
    for (
      const [state, ...options] of [["granted"], ["denied", "--deny-ffi"]]
    ) {
      await using program = await startProgram(
        [join(folder, "app.mjs")],
        {},
        options,
      );
      const content = "x".repeat(100_000);
      for (let request = 0; request < 3; request++) {
        const response = await fetch(program.address, {
          method: "POST",
          body: content,
          headers: { connection: "close" },
        });
        assertEquals(await response.text(), `${state}: ${content}`);
      }
      program.kill("SIGTERM");
      assertEquals((await program.exited).code, 0);
    }
  });
});

const adapter = JSON.stringify(
  pathToFileURL(join(process.cwd(), "adapters", "deno.ts")).href,
);

const listening = `
import { denoTransport } from ${adapter};
const { address } = await denoTransport.listen({}, (stream) => stream.close());
postMessage(address.port);
`;

const terminating = `
const worker = new Worker(new URL("worker.ts", import.meta.url), {
  type: "module",
});
const port = await new Promise((resolve) => {
  worker.onmessage = ({ data }) => resolve(data);
});
(await Deno.connect({ port })).close();
worker.terminate();
const deadline = Date.now() + 20_000;
for (;;) {
  try {
    (await Deno.connect({ port })).close();
  } catch (error) {
    console.log(error.code);
    break;
  }
  if (Date.now() > deadline) break;
  await new Promise((resolve) => setTimeout(resolve, 10));
}
`;

test("denoTransport leaves nobody waiting at a worker that was terminated", async () => {
  if (runtime !== "deno") return;
  const files = { "worker.ts": listening, "main.mjs": terminating };
  await withFiles(files, async (folder) => {
    const { stdout } = await runCommand(process.execPath, [
      "run",
      "-A",
      "--no-check",
      join(folder, "main.mjs"),
    ]);
    assertEquals(stdout.trim(), "ECONNREFUSED");
  });
});

const closing = `
import { denoTransport } from ${adapter};
const accepted = Promise.withResolvers();
const listener = await denoTransport.listen({}, accepted.resolve);
const peer = await Deno.connect({ port: listener.address.port });
const stream = await accepted.promise;
await listener.close();
peer.close();
console.log(await stream.read());
stream.close();
`;

test("a program ends once it has closed its listener and its connections", async () => {
  if (runtime !== "deno") return;
  await withFiles({ "main.ts": closing }, async (folder) => {
    const { code, stdout, stderr } = await runCommand(process.execPath, [
      "run",
      "-A",
      "--no-check",
      join(folder, "main.ts"),
    ]);
    assertEquals([code, stdout, stderr], [0, "null\n", ""]);
  });
});

const throwing = `
import { denoTransport } from ${adapter};
addEventListener("error", (event) => {
  event.preventDefault();
  console.log(event.error.message);
});
let accepted = 0;
const listener = await denoTransport.listen({}, (stream) => {
  stream.close();
  throw new Error(\`Thrown at \${++accepted}\`);
});
for (let count = 0; count < 2; count++) {
  const peer = await Deno.connect({ port: listener.address.port });
  await peer.read(new Uint8Array(1));
  peer.close();
}
await listener.close();
`;

test("a program that prevents an uncaught error from ending it serves on", async () => {
  if (runtime !== "deno") return;
  await withFiles({ "main.ts": throwing }, async (folder) => {
    const { code, stdout } = await runCommand(process.execPath, [
      "run",
      "-A",
      "--no-check",
      join(folder, "main.ts"),
    ]);
    assertEquals([code, stdout], [0, "Thrown at 1\nThrown at 2\n"]);
  });
});
