/**
 * Runs the tests, each runtime after the other, over one suite:
 *
 *     npm test                     everything
 *     npm test -- node             on Node only
 *     npm test -- deno chunked     on Deno, the files whose path has "chunked"
 *     npm test -- --no-build       with dist/ as it is
 *
 * Deno and Bun run the sources as they are. For Node 20, which runs no
 * TypeScript, each test file is bundled to build/tests/ first. A run passes
 * when every runtime exits with 0 and has run a test at all.
 */
import { build } from "esbuild";
import { spawn } from "node:child_process";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";
import { buildOrExit, bundling } from "./build.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const reports = join(root, "build", "reports");

/** How long one runtime may take for the whole suite. */
const limitMinutes = 15;

/** How each runtime is asked to run `files` and to leave a JUnit report, which
 * is the one account of a run that all three give alike. */
const commands = {
  deno: (files, report) => [
    "deno",
    ["test", "-A", "--no-check", `--junit-path=${report}`, ...files],
  ],
  bun: (files, report) => [
    "bun",
    [
      "test",
      "--timeout",
      "30000",
      "--reporter=junit",
      `--reporter-outfile=${report}`,
      // Without the "./" Bun takes a name for a filter.
      ...files.map((file) => `./${file}`),
    ],
  ],
  node: async (files, report) => [
    process.execPath,
    [
      "--test",
      "--test-reporter=spec",
      "--test-reporter-destination=stdout",
      "--test-reporter=junit",
      `--test-reporter-destination=${report}`,
      ...await bundleTests(files),
    ],
  ],
};

const { runtimes, files, buildFirst } = await plan(process.argv.slice(2));
if (files.length === 0) {
  console.error("No test file has a path like that. See tests/.");
  process.exit(2);
}
if (buildFirst) await buildOrExit();
const results = [];
for (const runtime of runtimes) results.push(await run(runtime));
await summarize(results);

async function plan(args) {
  const names = Object.keys(commands);
  const chosen = names.filter((name) => args.includes(name));
  const filters = args.filter((arg) =>
    !names.includes(arg) && !arg.startsWith("-")
  );
  for (const arg of args) {
    if (arg.startsWith("-") && arg !== "--no-build") {
      console.error(`Unknown option ${arg}; there is --no-build.`);
      process.exit(2);
    }
  }
  return {
    runtimes: chosen.length > 0 ? chosen : names,
    files: (await testFiles()).filter((file) =>
      filters.every((filter) => file.includes(filter))
    ),
    buildFirst: !args.includes("--no-build"),
  };
}

/** Paths of the test files from the root, in a fixed order. */
async function testFiles() {
  const found = await readdir(join(root, "tests"), { recursive: true });
  return found
    .map((file) => join("tests", file).replaceAll("\\", "/"))
    .filter((file) => file.endsWith("_test.ts"))
    .sort();
}

/** Bundles the test files for Node and returns where they went. */
async function bundleTests(files) {
  const outdir = join(root, "build", "tests");
  await rm(outdir, { recursive: true, force: true });
  await build({
    ...bundling,
    entryPoints: files,
    outdir,
    outbase: "tests",
    outExtension: { ".js": ".mjs" },
    sourcemap: "linked",
  });
  return files.map((file) =>
    file.replace(/^tests/, "build/tests").replace(/\.ts$/, ".mjs")
  );
}

/** Runs the suite on one runtime and counts. */
async function run(runtime) {
  console.log(`\n== ${runtime}, test files: ${files.length}\n`);
  await mkdir(reports, { recursive: true });
  const report = join(reports, `${runtime}.xml`);
  await rm(report, { force: true });
  const startedAt = Date.now();
  let outcome;
  try {
    const [command, args] = await commands[runtime](files, report);
    outcome = await execute(command, args);
  } catch (error) {
    outcome = { ok: false, why: error.message, output: "" };
  }
  const counts = count(await readFile(report, "utf8").catch(() => ""));
  // A tool that is missing on this machine makes a test say so and pass.
  const skips = outcome.output.match(/^skip: /gm)?.length ?? 0;
  counts.passed = Math.max(0, counts.passed - skips);
  counts.skipped += skips;
  const ran = counts.passed + counts.failed > 0;
  const ok = outcome.ok && counts.failed === 0 && ran;
  // A file that does not load fails in no test's name.
  if (!ok) counts.failed = Math.max(counts.failed, 1);
  const why = !outcome.ok ? outcome.why : ran ? "" : "no test ran";
  return { runtime, ok, why, ...counts, ms: Date.now() - startedAt };
}

/** Runs a command from the root and shows what it prints. It gets a process
 * group of its own, so that nothing it started outlives it. */
function execute(command, args) {
  const child = spawn(command, args, {
    cwd: root,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      PATH: join(root, "node_modules", ".bin") + delimiter + process.env.PATH,
    },
  });
  let output = "";
  for (const name of ["stdout", "stderr"]) {
    child[name].setEncoding("utf8").on("data", (text) => {
      process[name].write(text);
      output += text;
    });
  }
  let cutShort = "";
  const timer = setTimeout(() => {
    cutShort = `still running after ${limitMinutes} minutes`;
    killGroup(child.pid);
  }, limitMinutes * 60_000);
  const interrupt = () => {
    killGroup(child.pid);
    process.exit(130);
  };
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  // "close" comes once the pipes are closed, which whatever was left running
  // would prevent.
  child.on("exit", () => killGroup(child.pid));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      const why = cutShort || (signal ? `killed by ${signal}` : `exit ${code}`);
      const plain = stripVTControlCharacters(output);
      resolve({ ok: code === 0, why, output: plain });
    });
  }).finally(() => {
    clearTimeout(timer);
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  });
}

function killGroup(pid) {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nobody is left in it.
  }
}

/** Counts the tests of a JUnit report. What tests print or throw is escaped in
 * it, so every "<" is an element's. */
function count(report) {
  const elements = (name) => report.match(new RegExp(`<${name}[\\s>/]`, "g"));
  const ran = elements("testcase")?.length ?? 0;
  const failed = elements("(?:failure|error)")?.length ?? 0;
  const skipped = elements("skipped")?.length ?? 0;
  return { passed: ran - failed - skipped, failed, skipped };
}

/** Prints one line per runtime, then the totals, and keeps them with the
 * reports; exits with 1 if a runtime failed. */
async function summarize(results) {
  const lines = results.map((result) => {
    const { runtime, ok, why, passed, failed, skipped, ms } = result;
    return `${runtime.padEnd(4)}  ${ok ? "ok    " : "FAILED"}  ` +
      `ran ${passed + failed + skipped}: ` +
      `${passed} passed, ${failed} failed, ${skipped} skipped ` +
      `(${(ms / 1000).toFixed(1)} s)${ok ? "" : `, ${why}`}`;
  });
  const sum = (key) => results.reduce((total, one) => total + one[key], 0);
  const summary = `${lines.join("\n")}\n\n` +
    `${sum("passed")} passed, ${sum("failed")} failed\n`;
  await writeFile(join(reports, "summary.txt"), summary);
  console.log(`\n${summary.trimEnd()}`);
  process.exitCode = results.every((one) => one.ok) ? 0 : 1;
}
