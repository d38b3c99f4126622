/** The host interfaces of the adapters fit the real types of Deno and Bun.
 *
 * The sources are checked with neither, so that each adapter type-checks
 * everywhere; here the compiler sees both. Once is enough: on Node. */
import { assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { runtime } from "./fixture.ts";

const root = process.cwd();

const source = `
import type { BunHost } from "${root}/adapters/bun.ts";
import type { DenoHost } from "${root}/adapters/deno_listen.ts";
import type { DenoForeign } from "${root}/adapters/linux_sockets.ts";
import type { DenoProcess } from "${root}/adapters/deno_process_host.ts";
export const bun: BunHost = Bun;
export const deno: DenoHost = Deno;
export const denoForeign: DenoForeign = Deno;
export const denoProcess: DenoProcess = Deno;
`;

const project = {
  extends: join(root, "tsconfig.json"),
  compilerOptions: {
    typeRoots: [join(root, "node_modules/@types")],
    types: ["node", "bun", "deno"],
  },
  include: ["hosts.mts"],
};

test("the host interfaces fit the types of Bun and Deno", () => {
  if (runtime !== "node") return;
  const directory = mkdtempSync(join(tmpdir(), "headgate-"));
  try {
    writeFileSync(join(directory, "hosts.mts"), source);
    writeFileSync(join(directory, "tsconfig.json"), JSON.stringify(project));
    const compiler = join(root, "node_modules/typescript/bin/tsc");
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [compiler, "-p", directory],
      { encoding: "utf8" },
    );
    assertEquals(stdout + stderr, "");
    assertEquals(status, 0);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
