/**
 * Runs the tests, one suite for all runtimes:
 *
 *     npm test                     everything
 *     npm test -- node             on Node only
 *     npm test -- deno chunked     on Deno, the files whose path has "chunked"
 *     npm test -- --no-build       with dist/ as it is
 *     npm test -- --in-turn        a runtime after the other, as on one core
 *
 * The runtimes are at work side by side, since the tests wait for most of their
 * time: for processes to start, deadlines to pass, connections to end. What
 * they print is shown in turn.
 *
 * Deno and Bun run the sources as they are. For Node 20, which runs no
 * TypeScript, each test file is bundled to build/tests/ first. A run passes
 * when every runtime exits with 0 and has run a test at all.
 */
import { build } from "esbuild";
import { spawn } from "node:child_process";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";
import { buildOrExit, bundling } from "./build.mjs";
import { failuresOf, tellFailures } from "./failures.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const reports = join(root, "build", "reports");

/** How long one runtime may take for the whole suite. */
const limitMinutes = 25;

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

/** The children that are at work, each the leader of a process group. */
const children = new Set();

const { runtimes, files, buildFirst, inTurn } = await plan(
  process.argv.slice(2),
);
if (files.length === 0) {
  console.error("No test file has a path like that. See tests/.");
  process.exit(2);
}
if (buildFirst) await buildOrExit();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, interrupt);
await mkdir(reports, { recursive: true });
await summarize(await runAll());

async function plan(args) {
  const names = Object.keys(commands);
  const options = ["--no-build", "--in-turn"];
  const chosen = names.filter((name) => args.includes(name));
  const filters = args.filter((arg) =>
    !names.includes(arg) && !arg.startsWith("-")
  );
  for (const arg of args) {
    if (arg.startsWith("-") && !options.includes(arg)) {
      console.error(`Unknown option ${arg}; there are ${options.join(", ")}.`);
      process.exit(2);
    }
  }
  return {
    runtimes: chosen.length > 0 ? chosen : names,
    files: (await testFiles()).filter((file) =>
      filters.every((filter) => file.includes(filter))
    ),
    buildFirst: !args.includes("--no-build"),
    inTurn: args.includes("--in-turn") || availableParallelism() === 1,
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

async function runAll() {
  const runs = [];
  for (const runtime of runtimes) {
    const former = runs.at(-1) ?? Promise.resolve();
    if (inTurn) await former;
    runs.push(run(runtime, former));
  }
  return await Promise.all(runs);
}

/** Runs the suite on one runtime and counts; resolves when that has been shown,
 * which begins when the `former` run has resolved. */
async function run(runtime, former) {
  const print = printAfter(former);
  print("stdout", `\n== ${runtime}, test files: ${files.length}\n`);
  const report = join(reports, `${runtime}.xml`);
  await rm(report, { force: true });
  const startedAt = Date.now();
  let outcome;
  try {
    const [command, args] = await commands[runtime](files, report);
    outcome = await execute(command, args, print);
  } catch (error) {
    outcome = { ok: false, why: "did not start", output: error.message };
  }
  const told = await readFile(report, "utf8").catch(() => "");
  const counts = count(told);
  // A tool that is missing on this machine makes a test say so and pass.
  const skips = outcome.output.match(/^skip: /gm)?.length ?? 0;
  counts.passed = Math.max(0, counts.passed - skips);
  counts.skipped += skips;
  const ran = counts.passed + counts.failed > 0;
  const ok = outcome.ok && counts.failed === 0 && ran;
  // A file that does not load fails in no test's name.
  if (!ok) counts.failed = Math.max(counts.failed, 1);
  const why = !outcome.ok ? outcome.why : ran ? "" : "no test ran";
  const failures = failuresOf(runtime, ok, told, outcome.output);
  const ms = Date.now() - startedAt;
  await former;
  return { runtime, ok, why, ...counts, failures, ms };
}

/** Takes what one runtime prints: keeps it until the `former` run has resolved,
 * then shows it as it comes. */
function printAfter(former) {
  let kept = [];
  const print = (name, text) => {
    if (kept === undefined) process[name].write(text);
    else kept.push([name, text]);
  };
  former.then(() => {
    const held = kept;
    kept = undefined;
    for (const [name, text] of held) print(name, text);
  });
  return print;
}

/** Runs a command from the root. It gets a process group of its own, so that
 * nothing it started outlives it. */
function execute(command, args, print) {
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
      print(name, text);
      output += text;
    });
  }
  let cutShort = "";
  const timer = setTimeout(() => {
    cutShort = `still running after ${limitMinutes} minutes`;
    killGroup(child.pid);
  }, limitMinutes * 60_000);
  children.add(child);
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
    children.delete(child);
  });
}

function interrupt() {
  for (const child of children) killGroup(child.pid);
  process.exit(130);
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

/** Prints what failed, one line per runtime, then the totals, and keeps them
 * with the reports; exits with 1 if a runtime failed. */
async function summarize(results) {
  const lines = results.map((result) => {
    const { runtime, ok, why, passed, failed, skipped, ms } = result;
    return `${runtime.padEnd(4)}  ${ok ? "ok    " : "FAILED"}  ` +
      `ran ${passed + failed + skipped}: ` +
      `${passed} passed, ${failed} failed, ${skipped} skipped ` +
      `(${(ms / 1000).toFixed(1)} s)${ok ? "" : `, ${why}`}`;
  });
  const sum = (key) => results.reduce((total, one) => total + one[key], 0);
  const failed = tellFailures(results.flatMap(({ failures }) => failures));
  if (failed.length > 0) failed.push("");
  const summary = `${[...failed, ...lines].join("\n")}\n\n` +
    `${sum("passed")} passed, ${sum("failed")} failed\n`;
  await writeFile(join(reports, "summary.txt"), summary);
  console.log(`\n${summary.trimEnd()}`);
  process.exitCode = results.every((one) => one.ok) ? 0 : 1;
}
