/**
 * The servers that are compared: on each runtime Headgate, the runtime's own
 * HTTP server, and the ceiling, a socket that gives a fixed answer; on Node also
 * libraries that do the same work.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
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

/** What starts Headgate on a runtime. */
export function commandOf(runtime) {
  return [runtimes[runtime].path, ...start[runtime].headgate];
}

/** The version of each runtime. */
export const versions = Object.fromEntries(
  Object.entries(runtimes).map(([name, { version }]) => [name, version]),
);

/** The kinds of server, the one that is compared first. The peers are
 * libraries, which bench/package.json names; they run on Node. */
export const kinds = ["headgate", "native", "srvx", "hono", "ceiling"];

const peers = { srvx: "srvx", hono: "@hono/node-server" };

/** The kinds of each role. Roles are what is compared with each other; Headgate
 * with its access log in a file, or with an application that returns
 * LightResponse, is of the same kind as without. */
const roles = {
  headgate: { kind: "headgate", label: "headgate" },
  logged: { kind: "headgate", label: "headgate, log on" },
  light: { kind: "headgate", label: "headgate, LightResponse" },
  native: { kind: "native", label: "native" },
  srvx: { kind: "srvx", label: "srvx" },
  hono: { kind: "hono", label: "hono" },
  ceiling: { kind: "ceiling", label: "ceiling" },
};

/** The packages of peers that are not installed. */
export const missing = Object.entries(peers)
  .filter(([, name]) => peerVersion(name) === undefined)
  .map(([kind]) => kind);

/** The version of each peer that is installed. */
export const peerVersions = Object.fromEntries(
  Object.values(peers)
    .map((name) => [name, peerVersion(name)])
    .filter(([, version]) => version !== undefined),
);

function peerVersion(name) {
  const path = new URL(`node_modules/${name}/package.json`, import.meta.url);
  try {
    return JSON.parse(readFileSync(path, "utf8")).version;
  } catch {
    return undefined;
  }
}

/**
 * Every server: its name, its runtime, its kind, its role, and the command line
 * that serves the works on `port`. What that needs to know:
 *
 * - `requestSize`, `fixed`: for the ceiling, how much is a request, and the file
 *   of the answer;
 * - `log`: for the role that has an access log, its file;
 * - `keepAlive`: the seconds that a connection is kept without a request;
 * - `bare`: to serve the least that there is rather than the works;
 * - `handler`: a fetch handler to serve rather than the works.
 */
export const contenders = Object.keys(runtimes).flatMap((runtime) =>
  Object.entries(roles)
    .filter(([, { kind }]) => !(kind in peers) || runtime === "node")
    .filter(([, { kind }]) => !missing.includes(kind))
    .map(([role, { kind, label }]) => ({
      name: `${runtime}/${kind}`,
      runtime,
      kind,
      role,
      label,
      command: (port, needs = {}) => [
        runtimes[runtime].path,
        ...commandLine[role](runtime, port, needs).map(String),
      ],
    }))
);

const commandLine = {
  headgate: (runtime, port, { keepAlive, bare, handler, log = "off" }) => [
    ...start[runtime].headgate,
    `bench/apps/${handler ?? (bare ? "hello" : "works")}.js:app`,
    "--bind",
    `127.0.0.1:${port}`,
    "--access-log",
    log,
    ...(keepAlive === undefined ? [] : ["--keep-alive", keepAlive]),
  ],
  native: (runtime, port, { keepAlive, bare, handler }) => [
    ...start[runtime].script,
    `bench/servers/${bare ? "bare" : "native"}_${runtime}.js`,
    port,
    handler ?? "works",
    ...(keepAlive === undefined ? [] : [keepAlive]),
  ],
  ceiling: (runtime, port, { requestSize, fixed }) => [
    ...start[runtime].script,
    `bench/servers/ceiling_${runtime}.js`,
    port,
    requestSize,
    fixed,
  ],
  logged: (...args) => commandLine.headgate(...args),
  light: (runtime, port, { handler }) =>
    commandLine.headgate(runtime, port, { handler: `${handler}_light` }),
  srvx: (runtime, port, { handler = "works" }) => [
    `bench/servers/srvx_${runtime}.js`,
    port,
    handler,
  ],
  hono: (runtime, port, { handler = "works" }) => [
    `bench/servers/hono_${runtime}.js`,
    port,
    handler,
  ],
};
