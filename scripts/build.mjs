/**
 * Builds `dist/`, what the npm package consists of:
 *
 * - `cli.js`, the program, for Node 20 and later, Bun and Deno, with the
 *   chunks that it loads on demand;
 * - `mod.js`, `deno.js`, `bun.js`, `node.js`, the library and its adapters,
 *   with the chunks that they share;
 * - `types/`, the declarations of the library.
 *
 * Everything is made in a directory beside it and moved into place at the end,
 * so that a build that fails leaves the last one standing.
 */
import { build } from "esbuild";
import { execFile } from "node:child_process";
import {
  chmod,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  writeFile,
} from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The entry points of the library: the name of each in `dist/` and its source. */
const library = {
  mod: "mod.ts",
  deno: "adapters/deno.ts",
  bun: "adapters/bun.ts",
  node: "adapters/node.ts",
};

/** The packages whose code is bundled. NOTICE carries the licence of each. */
const noticed = new Set(["deno-std"]);

/** Options that every bundle shares, the bundles of the tests included. */
export const bundling = {
  absWorkingDir: root,
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20",
  logLevel: "warning",
  // mod.ts runs the command line when it is the main module. In a bundle the
  // main module is another one, whatever `import.meta.main` says there.
  define: { "import.meta.main": "false" },
};

async function buildPackage() {
  const made = join(root, "build", `dist-${process.pid}`);
  await mkdir(made, { recursive: true });
  try {
    await Promise.all([
      bundleProgram(made),
      bundleLibrary(made),
      emitDeclarations(join(made, "types")),
    ]);
    await rm(join(root, "dist"), { recursive: true, force: true });
    await rename(made, join(root, "dist"));
  } finally {
    await rm(made, { recursive: true, force: true });
  }
}

/** Split, so that what is imported on demand stays so: in one file the
 * adapters of all runtimes would have their `node:` modules loaded at once. */
async function bundleProgram(outdir) {
  const { metafile } = await build({
    ...bundling,
    entryPoints: { cli: "src/bin.ts" },
    outdir,
    splitting: true,
    chunkNames: "chunk-[hash]",
    plugins: [oneChunkFor(everyStart)],
    metafile: true,
  });
  refuseUnnoticed(metafile);
  for (const output of Object.keys(metafile.outputs)) {
    await hideImports(join(root, output));
  }
  await makeExecutable(join(outdir, "cli.js"));
}

/** What a start loads on every runtime, or on most. */
const everyStart = [
  "src/cli.ts",
  "src/apps/memory_count.ts",
  "adapters/accept_queue.ts",
  "adapters/endpoint.ts",
  "adapters/file_url.ts",
  "adapters/own_listeners.ts",
  "adapters/port_holder.ts",
  "adapters/push_stream.ts",
  "adapters/whole_write.ts",
];

/** Puts modules, and what they import, into one chunk. A chunk holds what the
 * same entry points reach, and every module that is imported on demand is an
 * entry point: what a start needs would come in some twenty files, each of
 * which takes time to find and to read. Where all entry points import these
 * modules besides, they are one. */
function oneChunkFor(modules) {
  const reached = modules
    .map((path) => `import ${JSON.stringify(join(root, path))};\n`).join("");
  const entries = ["entry-point", "dynamic-import"];
  return {
    name: "one-chunk",
    setup(bundle) {
      bundle.onResolve(
        { filter: /\.ts$/ },
        ({ kind, path, resolveDir }) =>
          entries.includes(kind)
            ? { path: join(resolveDir, path), namespace: "entry" }
            : undefined,
      );
      bundle.onLoad({ filter: /./, namespace: "entry" }, ({ path }) => ({
        contents: `${reached}export * from ${JSON.stringify(path)};`,
        resolveDir: root,
      }));
    },
  };
}

/** Deno reads and parses whatever an `import()` names in so many words, before
 * it runs anything: a tenth of the time that a start takes. */
async function hideImports(path) {
  const text = await readFile(path, "utf8");
  await writeFile(
    path,
    text.replace(/\bimport\(("\.\/[\w.-]+\.js")\)/g, "import(String($1))"),
  );
}

async function makeExecutable(path) {
  const program = await readFile(path, "utf8");
  await writeFile(path, `#!/usr/bin/env node\n${program}`);
  await chmod(path, 0o755);
}

async function bundleLibrary(outdir) {
  const { metafile } = await build({
    ...bundling,
    entryPoints: library,
    outdir,
    splitting: true,
    chunkNames: "chunk-[hash]",
    metafile: true,
  });
  refuseUnnoticed(metafile);
}

/** Code of others is bundled only where NOTICE carries its licence. */
function refuseUnnoticed(metafile) {
  for (const input of Object.keys(metafile.inputs)) {
    const name = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1];
    if (name !== undefined && !noticed.has(name)) {
      throw new Error(`The bundle holds ${name}, which NOTICE does not name`);
    }
  }
}

/** Emits the declarations of the library, and only those that its entry
 * points reach: the rest is not public. */
async function emitDeclarations(outdir) {
  const tsc = join(root, "node_modules", ".bin", "tsc");
  try {
    await promisify(execFile)(
      tsc,
      ["-p", "tsconfig.build.json", "--outDir", outdir],
      { cwd: root },
    );
  } catch (error) {
    throw new Error(`tsc: ${error.stdout || error.message}`);
  }
  const reached = new Set();
  for (const source of Object.values(library)) {
    await settleDeclaration(join(outdir, declarationOf(source)), reached);
  }
  for (const file of await readdir(outdir, { recursive: true })) {
    const path = join(outdir, file);
    if (file.endsWith(".ts") && !reached.has(path)) await rm(path);
  }
  await removeEmpty(outdir);
}

/** A module specifier in a declaration; what a doc comment shows is not one. */
const specifier = /^(?!\s*\*)(.*?(?:\bfrom |\bimport |\bimport\())"([^"]+)"/gm;

/** Gives the relative imports of a declaration, and of those that it reaches,
 * the ending `.js`, which tsc leaves at `.ts` and not every compiler takes. */
async function settleDeclaration(path, reached) {
  if (reached.has(path)) return;
  reached.add(path);
  const imported = [];
  const text = await readFile(path, "utf8");
  const settled = text.replace(specifier, (_, before, name) => {
    // The package depends on nothing, so its types must not either.
    if (!name.startsWith(".")) {
      throw new Error(`${relative(root, path)} imports ${name}`);
    }
    imported.push(join(dirname(path), declarationOf(name)));
    return `${before}"${name.replace(/\.ts$/, ".js")}"`;
  });
  await writeFile(path, settled);
  for (const next of imported) await settleDeclaration(next, reached);
}

function declarationOf(source) {
  return source.replace(/\.ts$/, ".d.ts");
}

async function removeEmpty(directory) {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeEmpty(join(directory, entry.name));
  }
  if ((await readdir(directory)).length === 0) {
    await rm(directory, { recursive: true });
  }
}

/** Builds, and exits with 1 when that fails. */
export async function buildOrExit() {
  try {
    await buildPackage();
  } catch (error) {
    // What esbuild finds wrong with the sources it has shown already.
    if (error.errors === undefined) console.error(error.message);
    console.error("The build failed; dist/ is as it was.");
    process.exit(1);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await buildOrExit();
}
