/** Asserts the rules of the house over every source file; and that each rule
 * would notice who breaks it. */
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import {
  checkArrows,
  checkCharter,
  checkLeftovers,
  checkLength,
  checkMap,
  checkReachable,
  checkRuntimeNames,
  checkStart,
  type SourceFile,
} from "./support/house.ts";
import { importsOf, tokenize } from "./support/source.ts";

const root = process.cwd();

function filesUnder(folder: string): SourceFile[] {
  return readdirSync(`${root}/${folder}`, { withFileTypes: true })
    .flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) return filesUnder(path);
      return path.endsWith(".ts") ? [read(path)] : [];
    });
}

function read(path: string): SourceFile {
  return { path, text: readFileSync(`${root}/${path}`, "utf8") };
}

function house(): SourceFile[] {
  return [...filesUnder("src"), ...filesUnder("adapters"), read("mod.ts")];
}

const file = (path: string, text: string): SourceFile => ({ path, text });

// The house itself.

test("the house: every import points the way the plan says", () => {
  assertEquals(checkArrows(house()), []);
});

test("the house: nothing under src/ names a runtime", () => {
  assertEquals(checkRuntimeNames(house()), []);
});

test("the house: everything is reached from mod.ts or src/bin.ts", () => {
  assertEquals(checkReachable(house(), ["mod.ts", "src/bin.ts"]), []);
});

test("the house: a start loads what it needs", () => {
  assertEquals(checkStart(house(), "src/bin.ts"), []);
});

test("the house: src/README.md names every file, and no other", () => {
  assertEquals(checkMap(read("src/README.md").text, house()), []);
});

test("the house: a long file tells why", () => {
  assertEquals(checkLength(house()), []);
});

test("the house: every file opens with its charter", () => {
  assertEquals(checkCharter(house()), []);
});

test("the house: nothing is left for later", () => {
  assertEquals(checkLeftovers(house()), []);
});

test("the house: the rules see the files", () => {
  const paths = house().map(({ path }) => path);
  for (
    const path of ["src/http/head.ts", "src/apps/wsgi.ts", "adapters/node.ts"]
  ) {
    assert(paths.includes(path), path);
  }
  const wire = importsOf(read("src/connection.ts").text)
    .find(({ specifier }) => specifier === "./wire.ts");
  assertEquals(wire, { specifier: "./wire.ts", typeOnly: false });
});

// Those who break a rule.

function assertArrow(path: string, statement: string, allowed: boolean): void {
  const complaints = checkArrows([file(path, statement)]);
  assertEquals(complaints.length === 0, allowed, `${path}: ${statement}`);
}

test("checkArrows() keeps http/ pure", () => {
  const head = "src/http/head.ts";
  assertArrow(head, `import { a } from "./bytes.ts";`, true);
  assertArrow(head, `import { HttpError } from "../errors.ts";`, true);
  assertArrow(head, `import type { A } from "../exchange.ts";`, true);
  assertArrow(head, `import { type A } from "../stream.ts";`, true);
  assertArrow(head, `import { a } from "../exchange.ts";`, false);
  assertArrow(head, `import { Wire } from "../wire.ts";`, false);
  assertArrow(head, `import type { Wire } from "../wire.ts";`, false);
  assertArrow(head, `import { a } from "../environ.ts";`, false);
});

test("checkArrows() keeps fastcgi/ between the doors", () => {
  const pool = "src/fastcgi/pool.ts";
  assertArrow(pool, `import { a } from "./records.ts";`, true);
  assertArrow(pool, `import { a } from "../http/cgi_response.ts";`, true);
  assertArrow(pool, `import { a } from "../logger.ts";`, true);
  assertArrow(pool, `import type { A } from "../stream.ts";`, true);
  assertArrow(pool, `import type { A } from "../exchange.ts";`, true);
  assertArrow(pool, `import { a } from "../meta_variables.ts";`, false);
  assertArrow(pool, `import { a } from "../apps/files.ts";`, false);
  assertArrow(pool, `import type { A } from "../backend_host.ts";`, false);
  assertArrow(
    "src/http/head.ts",
    `import { a } from "../fastcgi/a.ts";`,
    false,
  );
});

test("checkArrows() stacks wire, body, response, connection, gateway", () => {
  assertArrow("src/wire.ts", `import type { A } from "./stream.ts";`, true);
  assertArrow("src/wire.ts", `import { a } from "./http/bytes.ts";`, true);
  assertArrow("src/wire.ts", `import { a } from "./http/head.ts";`, false);
  assertArrow("src/wire.ts", `import { a } from "./body.ts";`, false);
  assertArrow("src/body.ts", `import { Wire } from "./wire.ts";`, true);
  assertArrow("src/body.ts", `import { a } from "./response.ts";`, false);
  assertArrow("src/response.ts", `import type { A } from "./body.ts";`, true);
  assertArrow("src/response.ts", `import { a } from "./body.ts";`, false);
  assertArrow("src/response.ts", `import { a } from "./connection.ts";`, false);
  assertArrow("src/connection.ts", `import { a } from "./response.ts";`, true);
  assertArrow("src/connection.ts", `import { a } from "./gateway.ts";`, false);
  assertArrow(
    "src/connection.ts",
    `import { a } from "./apps/wsgi.ts";`,
    false,
  );
  assertArrow("src/gateway.ts", `import { a } from "./connection.ts";`, true);
  assertArrow("src/gateway.ts", `import { a } from "./wire.ts";`, false);
  assertArrow("src/serve.ts", `import { a } from "./gateway.ts";`, true);
  assertArrow("src/serve.ts", `import { a } from "./connection.ts";`, false);
  assertArrow("src/environ.ts", `import { a } from "./wire.ts";`, false);
});

test("checkArrows() keeps the doors to types", () => {
  assertArrow("src/exchange.ts", `import type { A } from "./stream.ts";`, true);
  assertArrow("src/exchange.ts", `import { a } from "./stream.ts";`, false);
  assertArrow("src/stream.ts", `import type { A } from "./errors.ts";`, false);
});

test("checkArrows() keeps applications from the lower door", () => {
  const app = "src/apps/wsgi.ts";
  assertArrow(app, `import { a } from "../environ.ts";`, true);
  assertArrow(app, `import type { MaybePromise } from "../stream.ts";`, true);
  for (const room of ["wire", "body", "response", "connection", "gateway"]) {
    assertArrow(app, `import { a } from "../${room}.ts";`, false);
    assertArrow(app, `import type { A } from "../${room}.ts";`, false);
  }
  assertArrow(app, `import { a } from "../stream.ts";`, false);
  assertArrow(app, `const a = await import("../wire.ts");`, false);
});

test("checkArrows() lends adapters types and errors alone", () => {
  const adapter = "adapters/node.ts";
  assertArrow(adapter, `import type { A } from "../src/stream.ts";`, true);
  assertArrow(adapter, `import type { A } from "../src/daemon/host.ts";`, true);
  assertArrow(adapter, `import { StreamError } from "../src/errors.ts";`, true);
  assertArrow(adapter, `import { connect } from "node:net";`, true);
  assertArrow(adapter, `import { a } from "./push_stream.ts";`, true);
  assertArrow(adapter, `import { a } from "../src/stream.ts";`, false);
  assertArrow(adapter, `import { a } from "../src/host.ts";`, false);
  assertArrow(adapter, `import type { A } from "../src/gateway.ts";`, false);
  assertArrow(adapter, `export { a } from "../src/gateway.ts";`, false);
});

test("checkArrows() keeps adapters and mod.ts out of src/", () => {
  assertArrow("src/bin.ts", `import { a } from "../adapters/detect.ts";`, true);
  assertArrow("mod.ts", `import { a } from "./adapters/detect.ts";`, true);
  assertArrow(
    "src/cli.ts",
    `import { a } from "../adapters/detect.ts";`,
    false,
  );
  assertArrow("src/cli.ts", `import type { A } from "../mod.ts";`, false);
});

test("checkArrows() gives each dependency one door", () => {
  assertArrow("src/log.ts", `import { a } from "@std/log";`, true);
  assertArrow("src/cli.ts", `import { a } from "@std/log";`, false);
  const parser = `import { a } from "@std/cli/parse-args";`;
  assertArrow("src/command_line.ts", parser, true);
  assertArrow("src/cli.ts", parser, false);
  assertArrow("src/log.ts", parser, false);
  assertArrow("src/log.ts", `import type { A } from "@std/assert";`, false);
  assertArrow("src/log.ts", `import { a } from "left-pad";`, false);
  assertArrow("src/log.ts", `import { a } from "node:fs";`, false);
});

test("checkRuntimeNames() finds a runtime wherever code may hide it", () => {
  const named = (text: string) =>
    checkRuntimeNames([file("src/a.ts", text)]).length > 0;
  for (
    const text of [
      "Deno.exit();",
      "const { Bun } = globalThis;",
      'globalThis["Deno"];',
      'import "node:fs";',
      "import('node:fs');",
      "const a = `${Deno.pid}`;",
      "process.exit();",
      "Buffer.from([]);",
      "a / b; Deno.exit(); /x/.test(c);",
    ]
  ) assert(named(text), text);
  for (
    const text of [
      "// Deno, Bun and node:net",
      "/** `node:net` */",
      '"Use Node 22.18 or later, Deno or Bun"',
      "const a = `Deno ${1} Bun`;",
      'const name = "deno";',
      "/Deno/.test(a);",
      "host.process;",
    ]
  ) assert(!named(text), text);
  assertEquals(checkRuntimeNames([file("adapters/a.ts", "Deno.pid")]), []);
});

test("checkReachable() finds a file that nothing leads to", () => {
  const files = [
    file("mod.ts", `export { b } from "./src/b.ts";`),
    file(
      "src/b.ts",
      `import type { C } from "./d/c.ts"; import("../adapters/e.ts");`,
    ),
    file("src/d/c.ts", ""),
    file("adapters/e.ts", ""),
    file("src/orphan.ts", `import "./b.ts";`),
  ];
  assertEquals(checkReachable(files, ["mod.ts"]), [
    "src/orphan.ts is reached from none of mod.ts",
  ]);
  assertEquals(checkReachable(files, ["mod.ts", "src/orphan.ts"]), []);
});

test("checkStart() finds what is loaded too early", () => {
  const files = (text: string) => [
    file("src/bin.ts", `import { a } from "./cli.ts";`),
    file("src/cli.ts", text),
  ];
  const complaints = (text: string) => checkStart(files(text), "src/bin.ts");
  const early = "src/cli.ts has src/daemon/launcher.ts loaded at each start";
  for (
    const text of [
      `import { launch } from "./daemon/launcher.ts";`,
      `export * from "./daemon/launcher.ts";`,
      `import "./daemon/launcher.ts";`,
    ]
  ) assertEquals(complaints(text), [early], text);
  for (
    const text of [
      `const { launch } = await import("./daemon/launcher.ts");`,
      `import type { Launch } from "./daemon/launcher.ts";`,
      `import { roleVariable } from "./daemon/role.ts";`,
    ]
  ) assertEquals(complaints(text), [], text);
});

test("checkMap() finds what the map leaves out and what it made up", () => {
  const files = [
    file("src/a.ts", ""),
    file("src/http/a.ts", ""),
    file("adapters/a.ts", ""),
    file("mod.ts", ""),
  ];
  const whole = "`a.ts` `http/a.ts` `adapters/a.ts` `mod.ts` `tests/a_test.ts`";
  assertEquals(checkMap(whole, files), []);
  assertEquals(checkMap(whole.replace("`a.ts`", "a.ts"), files), [
    "src/a.ts is not on the map",
  ]);
  assertEquals(checkMap(whole.replace("`http/a.ts`", ""), files), [
    "src/http/a.ts is not on the map",
  ]);
  assertEquals(checkMap(whole + "`b.ts`", files), [
    "b.ts is on the map and nowhere else",
  ]);
});

test("checkLength() wants a reason above 400 lines, in the charter", () => {
  const long = (charter: string, lines: number, more = "") =>
    checkLength([
      file("src/a.ts", `/** ${charter} */\n${"a;\n".repeat(lines - 1)}${more}`),
    ]).length;
  assertEquals(long("Short.", 400), 0);
  assertEquals(long("Long.", 401), 1);
  assertEquals(long("Long. Length: one protocol, one story.", 401), 0);
  assertEquals(long("Long.", 400, "// Length: said too late\n"), 1);
});

test("checkCharter() wants the charter first", () => {
  const complaints = (text: string) => checkCharter([file("src/a.ts", text)]);
  assertEquals(complaints("/** A. */\n"), []);
  assertEquals(complaints("#!/usr/bin/env node\n/** A. */\n"), []);
  assertEquals(complaints("// A.\n").length, 1);
  assertEquals(complaints('import "./b.ts";\n/** A. */\n').length, 1);
});

test("checkLeftovers() finds what was left for later", () => {
  const marks = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"];
  for (const mark of marks) {
    const complaints = checkLeftovers([file("src/a.ts", `// ${mark}: later`)]);
    assertEquals(complaints, [`src/a.ts says ${mark}`]);
  }
  assertEquals(checkLeftovers([file("src/a.ts", "hackney todo")]), []);
});

test("importsOf() reads every way of importing", () => {
  const read = (text: string) =>
    importsOf(text).map(({ specifier, typeOnly }) =>
      `${typeOnly ? "type " : ""}${specifier}`
    );
  assertEquals(read(`import "a";`), ["a"]);
  assertEquals(read(`import a, { b as c } from "a"; import * as d from 'd';`), [
    "a",
    "d",
  ]);
  assertEquals(read(`import type { A } from "a";`), ["type a"]);
  assertEquals(read(`import type A from "a";`), ["type a"]);
  assertEquals(read(`import { type A, type B } from "a";`), ["type a"]);
  assertEquals(read(`import { type A, b } from "a";`), ["a"]);
  assertEquals(read(`import type, { A } from "a";`), ["a"]);
  assertEquals(read(`import {} from "a";`), ["a"]);
  assertEquals(read(`export { a } from "a"; export * from "b";`), ["a", "b"]);
  assertEquals(read(`export type { A } from "a";`), ["type a"]);
  assertEquals(read(`export { a }; const from = "b";`), []);
  assertEquals(read(`export const a = from("b");`), []);
  assertEquals(read(`const a = await import("a"), b = import(name);`), ["a"]);
  assertEquals(read(`type A = typeof import("a");`), ["type a"]);
  assertEquals(read(`import.meta.url; // import "b"\n/* import "c" */`), []);
  assertEquals(read(`const a = 'import "b"';`), []);
});

test("tokenize() tells division from a regular expression", () => {
  const words = (text: string) =>
    tokenize(text).filter(({ kind }) => kind === "word").map(({ text }) =>
      text
    );
  assertEquals(words(`a / b / c`), ["a", "b", "c"]);
  assertEquals(words(`x = /a"b/g.test(c)`), ["x", "test", "c"]);
  assertEquals(words(`return /[/"]a/; b`), ["return", "b"]);
  assertEquals(words(`(a) / b; "c" / d`), ["a", "b", "d"]);
  assertEquals(words("`a${b + `c${d}`}e` + f"), ["b", "d", "f"]);
  assertEquals(words("#!/usr/bin/env node\na"), ["a"]);
});
