/**
 * The npm package as a stranger meets it: packed, installed into a fresh
 * project, type-checked against and run. It needs `dist/`, so `npm run build`
 * comes first; `npm test` sees to that.
 */
import { execFile } from "node:child_process";
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { version } from "../src/version.ts";

const root = process.cwd();
const bin = join(root, "node_modules", ".bin");

/** A program of a user's, in the TypeScript that the declarations are for. */
const consumer = `
import { type Application, serve } from "headgate";
import type { Transport } from "headgate/node";

const app: Application = (environ, startResponse) => {
  const path: string = environ.PATH_INFO;
  startResponse("200 OK", [["Content-Type", "text/plain"]]);
  return [new TextEncoder().encode("served " + path)];
};

const server = await serve(app, { port: 0 });
const [address] = server.addresses;
if (address === undefined) throw new Error("no address");
const response = await fetch(\`http://127.0.0.1:\${address.port}/here\`);
console.log(response.status, await response.text());
await server.shutdown();
await server.finished;
`;

test("a start reads few files of the package", async () => {
  const program = await readFile(join(root, "dist", "cli.js"), "utf8");
  const core = importedBy(program);
  assertEquals(core.length, 1);
  // The process and the transport of each runtime, one of which a start loads.
  const adapters = [...program.matchAll(
    /(\w+(?:Transport|rocessHost)) \} = await import\(String\("\.\/([\w.-]+)"/g,
  )];
  assertEquals(adapters.length, 5);
  for (const [, name, file] of adapters) {
    const text = await readFile(join(root, "dist", file ?? ""), "utf8");
    const others = importedBy(text).filter((one) => !core.includes(one));
    assertEquals(others, [], name);
  }
});

/** The files beside it that a file of `dist/` has loaded with it. */
function importedBy(text: string): string[] {
  const statements = text.matchAll(/^(?:import|\} from) "\.\/([\w.-]+)";$/gm);
  return Array.from(statements, ([, file = ""]) => file);
}

test("the npm package holds what it needs and nothing else", async () => {
  await withPackage(async (tarball) => {
    const { stdout } = await run("tar", ["-tzf", tarball], root);
    const files = stdout.trim().split("\n").map((file) =>
      file.replace("package/", "")
    );
    const manifest = await readJson(join(root, "package.json"));
    const promised = [
      ...Object.values(manifest.bin as Record<string, string>),
      ...exportTargets(manifest.exports),
      "LICENSE",
      "NOTICE",
      "README.md",
      "CHANGELOG.md",
    ].map((file) => file.replace("./", ""));
    for (const file of promised) assert(files.includes(file), `no ${file}`);
    const strays = files.filter((file) =>
      !promised.includes(file) && !/^dist\/(types|chunk-)/.test(file)
    );
    assertEquals(strays, []);
    assertEquals(manifest.dependencies, undefined);
  });
});

test("the npm package is installed, type-checks and runs", async () => {
  await withPackage(async (tarball, directory) => {
    const project = join(directory, "project");
    await writeProject(project);
    await run("npm", [
      "install",
      "--offline",
      "--no-audit",
      "--no-fund",
      tarball,
    ], project);
    const installed = (await readdir(join(project, "node_modules")))
      .filter((name) => !name.startsWith("."));
    assertEquals(installed, ["headgate"]);

    // Declarations of libraries are checked too: ours must stand alone.
    await run(join(bin, "tsc"), ["-p", "."], project);
    for (const runtime of ["node", "bun"]) {
      const { stdout } = await run(runtime, ["main.js"], project);
      assertEquals(stdout, "200 served /here\n", runtime);
    }

    const program = join(project, "node_modules", ".bin", "headgate");
    const { stdout } = await run(program, ["--version"], project);
    assertStringIncludes(stdout, version);
  });
});

/** Packs `dist/` as it is into a directory that is removed afterwards. */
async function withPackage(
  use: (tarball: string, directory: string) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "headgate-package-"));
  try {
    await run("npm", [
      "pack",
      "--ignore-scripts",
      "--silent",
      "--pack-destination",
      directory,
    ], root);
    await use(join(directory, `headgate-${version}.tgz`), directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}

async function writeProject(directory: string): Promise<void> {
  await mkdir(directory);
  const write = (name: string, content: string) =>
    writeFile(join(directory, name), content);
  await write("package.json", `{ "private": true, "type": "module" }\n`);
  await write("main.ts", consumer);
  await write(
    "tsconfig.json",
    JSON.stringify({
      compilerOptions: {
        target: "es2022",
        lib: ["es2022"],
        module: "nodenext",
        strict: true,
        types: ["node"],
        typeRoots: [join(root, "node_modules", "@types")],
      },
      files: ["main.ts"],
    }),
  );
}

/** Runs a command; rejects with what it printed when it fails. */
function run(
  command: string,
  args: string[],
  cwd: string,
): Promise<{ stdout: string }> {
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` };
  return new Promise((resolve, reject) => {
    execFile(
      command,
      args,
      { cwd, env, timeout: 60_000 },
      (error, stdout, stderr) => {
        if (error === null) return resolve({ stdout });
        reject(new Error(`${error.message}\n${stdout}${stderr}`));
      },
    );
  });
}

/** The files that the `exports` of a manifest name. */
function exportTargets(exports: unknown): string[] {
  if (typeof exports === "string") return [exports];
  return Object.values(exports as Record<string, unknown>)
    .flatMap(exportTargets);
}

async function readJson(path: string): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(path, "utf8"));
}

test("Deno is not told of what the program loads on demand", async () => {
  const dist = join(root, "dist");
  const program = await reachedFrom(dist, "cli.js");
  assert(program.size > 1);
  for (const [file, text] of program) {
    assertEquals(/\bimport\("\.\//.exec(text)?.[0], undefined, file);
  }
});

/** The files that a file imports, on demand or at once, with their texts. */
async function reachedFrom(
  directory: string,
  first: string,
): Promise<Map<string, string>> {
  const reached = new Map<string, string>();
  const waiting = [first];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (reached.has(file)) continue;
    const text = await readFile(join(directory, file), "utf8");
    reached.set(file, text);
    const specifiers = text.matchAll(
      /(?:\bfrom |\bimport |\bimport\((?:String\()?)"\.\/([\w.-]+\.js)"/g,
    );
    for (const [, name = ""] of specifiers) waiting.push(name);
  }
  return reached;
}
