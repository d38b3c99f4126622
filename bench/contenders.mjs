/**
 * The servers that are compared: on each runtime Headgate, the runtime's own
 * HTTP server, and the ceiling, a socket that gives a fixed answer.
 */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import process from "node:process";

const bin = fileURLToPath(new URL("../node_modules/.bin/", import.meta.url));

/** The executables themselves: what stands under their names in a PATH may be
 * a script that starts them, and its processor time is not the server's. */
const runtimes = {
  node: { path: process.execPath, version: process.versions.node },
  deno: inspect("deno", ["eval"], "Deno.execPath()", "Deno.version.deno"),
  bun: inspect("bun", ["-e"], "process.execPath", "Bun.version"),
};

function inspect(name, args, path, version) {
  const script = `console.log(JSON.stringify([${path}, ${version}]))`;
  const output = execFileSync(bin + name, [...args, script], {
    encoding: "utf8",
  });
  const [found, release] = JSON.parse(output);
  return { path: found, version: release };
}

/** How each runtime is asked to run a script, and Headgate. */
const start = {
  node: { script: [], headgate: ["dist/cli.js"] },
  deno: { script: ["run", "-A"], headgate: ["run", "-A", "mod.ts"] },
  bun: { script: ["run"], headgate: ["run", "mod.ts"] },
};

/** The version of each runtime. */
export const versions = Object.fromEntries(
  Object.entries(runtimes).map(([name, { version }]) => [name, version]),
);

/** The kinds of server, the one that is compared first. */
export const kinds = ["headgate", "native", "ceiling"];

/** Every server: its name, its runtime, its kind, and the command line that
 * serves `work` on `port`. `fixed` names the file of the fixed answer. */
export const contenders = Object.keys(runtimes).flatMap((runtime) =>
  kinds.map((kind) => ({
    name: `${runtime}/${kind}`,
    runtime,
    kind,
    command: (port, work, fixed) => [
      runtimes[runtime].path,
      ...commandLine[kind](runtime, port, work, fixed).map(String),
    ],
  }))
);

const commandLine = {
  headgate: (runtime, port) => [
    ...start[runtime].headgate,
    "bench/apps/works.js:app",
    "--bind",
    `127.0.0.1:${port}`,
    "--access-log",
    "off",
  ],
  native: (runtime, port) => [
    ...start[runtime].script,
    `bench/servers/native_${runtime}.js`,
    port,
  ],
  ceiling: (runtime, port, work, fixed) => [
    ...start[runtime].script,
    `bench/servers/ceiling_${runtime}.js`,
    port,
    work.request.length,
    fixed,
  ],
};
