/**
 * What a start touches of its runtime: globals that are loaded when they are
 * first asked for, which takes longer than most of the rest. It needs `dist/`,
 * so `npm run build` comes first; `npm test` sees to that.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { assertEquals } from "@std/assert";

const onDeno = "Deno" in globalThis;

/** On Deno timers and Buffer are Node's, too. */
const slow = [
  ...["Response", "Request", "Headers", "FormData", "fetch"],
  ...(onDeno ? ["setTimeout", "setInterval", "process", "Buffer"] : []),
];

/** Remembers who is touched, and starts the program. */
const traps = (program: string) => `
const touched = globalThis[Symbol.for("touched")] = [];
for (const name of ${JSON.stringify(slow)}) {
  const { get, value } = Object.getOwnPropertyDescriptor(globalThis, name);
  Object.defineProperty(globalThis, name, {
    configurable: true,
    get() {
      touched.push(name);
      return get === undefined ? value : get.call(globalThis);
    },
  });
}
await import(${JSON.stringify(program)});
`;

/** Answers with what was touched until then. */
const application = `
export const app = (_environ, startResponse) => {
  startResponse("200 OK", [["Content-Type", "text/plain"]]);
  return [new TextEncoder().encode(globalThis[Symbol.for("touched")].join())];
};
`;

test("a start touches no global that takes long to load", async () => {
  const folder = await mkdtemp(join(tmpdir(), "headgate-start-"));
  const program = pathToFileURL(join(process.cwd(), "dist", "cli.js")).href;
  await writeFile(join(folder, "traps.mjs"), traps(program));
  await writeFile(join(folder, "app.mjs"), application);
  const child = spawn(process.execPath, [
    ...(onDeno ? ["run", "-A"] : []),
    join(folder, "traps.mjs"),
    `${join(folder, "app.mjs")}:app`,
    "--bind",
    "127.0.0.1:0",
  ], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.on("close", resolve));
  try {
    const address = await new Promise<string>((resolve, reject) => {
      let output = "";
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        output += text;
        const found = /Listening on (\S+)\n/.exec(output);
        if (found?.[1] !== undefined) resolve(found[1]);
      });
      child.on("close", () => reject(new Error(output)));
    });
    assertEquals(await (await fetch(address)).text(), "");
  } finally {
    child.kill("SIGKILL");
    await ended;
    await rm(folder, { recursive: true });
  }
});
