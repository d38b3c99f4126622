/** What is written beside the code: it names what there is, and its links lead
 * somewhere. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { commandNames } from "../src/commands.ts";
import { hookNames } from "../src/hook_names.ts";
import { optionTable } from "../src/options.ts";

const read = (path: string) => readFileSync(path, "utf8");
const deploy = readdirSync("examples/deploy").map((name) =>
  `examples/deploy/${name}`
);

test("docs/daemon.md tells every setting with its default", () => {
  const rows = read("docs/daemon.md").split("\n")
    .filter((line) => line.startsWith("| `--"))
    .map((line) => line.split("|").slice(1, 3).map((cell) => cell.trim()));
  const expected = optionTable.filter(({ value }) => value !== undefined)
    .map(({ name, fallback }) => [
      `\`--${name}\``,
      fallback === undefined ? "" : `\`${fallback}\``,
    ]);
  assertEquals(rows, expected);
});

test("docs/daemon.md tells every command and every hook", () => {
  const rows = read("docs/daemon.md").split("\n")
    .map((line) => /^\| `(\w+)[^`]*` /.exec(line)?.[1]);
  for (const name of [...commandNames, ...hookNames]) {
    assert(rows.includes(name), name);
  }
});

test("no option is made up", () => {
  const known = optionTable.map(({ name }) => name);
  const pages = ["docs/daemon.md", "docs/python.md", "docs/backends.md"];
  for (const path of [...pages, ...deploy]) {
    const ours = read(path).split("\n")
      .filter((line) => /headgate|--(?:workers|bind)/.test(line))
      .filter((line) => !/systemctl|docker|COPY/.test(line));
    for (const [, name = ""] of ours.join("\n").matchAll(/ `?--([a-z-]+)/g)) {
      assert(known.includes(name), `${path}: --${name}`);
    }
  }
});

test("every file for deployment says what it is for", () => {
  for (const path of deploy) assert(read(path).startsWith("# "), path);
});

test("links lead to files", () => {
  const pages = [
    "README.md",
    "docs/backends.md",
    "docs/daemon.md",
    "docs/fetch.md",
    "docs/python.md",
    "docs/proxy.md",
    "src/README.md",
    "examples/README.md",
    "examples/exercise/part3/README.md",
    "examples/exercise/daemon/README.md",
  ];
  for (const page of pages) {
    for (const [, target = ""] of read(page).matchAll(/\]\(([^)#]+)[^)]*\)/g)) {
      if (/^https?:/.test(target)) continue;
      const path = join(dirname(page), target);
      assert(existsSync(path), `${page}: ${target}`);
    }
  }
});
