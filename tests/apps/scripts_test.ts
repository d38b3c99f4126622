/** Programs of a directory, over a file system of a few lines. */
import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type ScriptMatch,
  type ScriptRules,
  Scripts,
} from "../../src/apps/scripts.ts";
import { type FakeFile, FakeFiles } from "../support/fake_files.ts";

const directory: Readonly<Record<string, FakeFile>> = {
  "/cgi": {},
  "/cgi/run": { content: "#!" },
  "/cgi/über": { content: "#!" },
  "/cgi/text.txt": { content: "text" },
  "/cgi/.hidden": { content: "#!" },
  "/cgi/dir": {},
  "/cgi/dir/run": { content: "#!" },
  "/cgi/dir/index": { content: "#!" },
  "/cgi/dir/second": { content: "#!" },
  "/cgi/bare": {},
  "/cgi/plain": {},
  "/cgi/plain/index": { content: "no program" },
  "/cgi/pipe": { pipe: true },
  "/cgi/inward": { link: "/cgi/dir/run" },
  "/cgi/outward": { link: "/secret" },
  "/cgi/sibling": { link: "/cgi2/run" },
  "/cgi/outer": { link: "/other" },
  "/cgi2/run": { content: "#!" },
  "/other": {},
  "/secret": { content: "#!" },
};

function scripts(more: Partial<ScriptRules> = {}): Scripts {
  return new Scripts({
    files: new FakeFiles(directory),
    directory: "/cgi",
    prefix: "/bin",
    isScript: (file) => directory[file]?.content === "#!",
    index: ["index", "second"],
    ...more,
  });
}

/** What a program is told, or what else a path names. */
async function find(
  path: string,
  more?: Partial<ScriptRules>,
): Promise<string | string[]> {
  const found: ScriptMatch = await scripts(more).find(path);
  if (found.kind !== "script") return found.kind;
  return [found.file, found.scriptName, found.pathInfo];
}

test("find() takes a path apart where its file ends", async () => {
  assertEquals(await find("/bin/run"), ["/cgi/run", "/bin/run", ""]);
  assertEquals(await find("/bin/run/"), ["/cgi/run", "/bin/run", "/"]);
  assertEquals(await find("/bin/run/a/b"), ["/cgi/run", "/bin/run", "/a/b"]);
  assertEquals(await find("/bin/dir/run/a"), [
    "/cgi/dir/run",
    "/bin/dir/run",
    "/a",
  ]);
});

test("find() keeps PATH_INFO as it was meant, whatever a file may be called", async () => {
  for (
    const info of [
      "//",
      "/.git/config",
      "/../../secret",
      "/a//b",
      "/a.",
      "/a:b",
    ]
  ) {
    assertEquals(await find(`/bin/run${info}`), ["/cgi/run", "/bin/run", info]);
  }
});

test("find() decodes to octets", async () => {
  assertEquals(await find("/bin/%C3%BCber/%c3%a9%20%FF?"), [
    "/cgi/über",
    "/bin/\xc3\xbcber",
    "/\xc3\xa9 \xff?",
  ]);
  assertEquals(await find("/bin/r%75n"), ["/cgi/run", "/bin/run", ""]);
});

test("find() refuses what decodes to a separator or to NUL", async () => {
  for (
    const path of [
      "/bin%2Frun",
      "/bin/dir%2frun",
      "/bin/dir%5crun",
      "/bin/run%00",
      "/bin/run/a%2Fb",
      "/bin/run/a%00b",
      "/bin/run/%2e%2e%2fsecret",
    ]
  ) assertEquals(await find(path), "nothing", path);
});

test("find() does not leave the directory, nor show what is hidden", async () => {
  for (
    const path of [
      "/bin/../secret",
      "/bin/%2e%2e/secret",
      "/bin/./run",
      "/bin/dir/../run",
      "/bin//run",
      "/bin/.hidden",
      "/bin/.hidden/a",
      "/bin/%2ehidden",
      "/bin/outward",
      "/bin/outward/a",
      "/bin/sibling",
      "/bin/outer/x",
      "/bin/run.",
      "/bin/run%20",
      "/bin/run::$DATA",
    ]
  ) assertEquals(await find(path), "nothing", path);
  assertEquals(await find("/bin/inward"), ["/cgi/dir/run", "/bin/inward", ""]);
});

test("find() keeps to its prefix, step by step", async () => {
  for (const path of ["/run", "/binary/run", "*", "/"]) {
    assertEquals(await find(path), "nothing", path);
  }
  assertEquals(await find("/bin"), "directory");
  for (const prefix of ["/", ""]) {
    assertEquals(await find("/run/a", { prefix }), ["/cgi/run", "/run", "/a"]);
  }
  assertEquals(await find("/bin/run", { prefix: "/bin/" }), [
    "/cgi/run",
    "/bin/run",
    "",
  ]);
});

test("find() tells what is no program", async () => {
  assertEquals(await find("/bin/text.txt"), "file");
  assertEquals(await find("/bin/text.txt/a"), "nothing");
  assertEquals(await find("/bin/text.txt/"), "nothing");
  assertEquals(await find("/bin/missing"), "nothing");
  assertEquals(await find("/bin/pipe"), "nothing");
  assertEquals(await find("/bin/bare/"), "directory");
});

test("find() takes the program that stands for a directory", async () => {
  assertEquals(await find("/bin/dir/"), [
    "/cgi/dir/index",
    "/bin/dir/index",
    "",
  ]);
  assertEquals(await find("/bin/dir"), "slash");
  assertEquals(await find("/bin/dir/", { index: ["none", "second"] }), [
    "/cgi/dir/second",
    "/bin/dir/second",
    "",
  ]);
  assertEquals(await find("/bin/dir/", { index: [] }), "directory");
  assertEquals(await find("/bin/dir"), "slash");
  assertEquals(await find("/bin/plain/"), "directory");
  assertEquals(await find("/bin/plain"), "directory");
  assertEquals(await find("/bin/dir/missing"), "nothing");
});

test("find() asks only where a program may be", async () => {
  const files = new FakeFiles(directory);
  const mayPrecede = (step: string) => step.endsWith(".php");
  const match = await scripts({ files, mayPrecede }).find("/bin/dir/run/a/b");
  assertEquals(match.kind, "nothing");
  assertEquals(files.asked, ["/cgi/dir/run/a/b"]);
});

test("find() stops where nothing is", async () => {
  const files = new FakeFiles(directory);
  await scripts({ files }).find("/bin/no/where/at/all");
  assertEquals(files.asked, ["/cgi/no/where/at/all", "/cgi/no"]);
});

test("PATH_TRANSLATED is a path below the directory, or none", async () => {
  const translated = async (path: string, prefix: string) => {
    const found = await scripts({ prefix }).find(path);
    assert(found.kind === "script");
    return found.pathTranslated;
  };
  assertEquals(await translated("/run/a/b", "/"), "/cgi/a/b");
  assertEquals(await translated("/run/a%20c/", "/"), "/cgi/a c/");
  assertEquals(await translated("/run", "/"), undefined);
  assertEquals(await translated("/run/../a", "/"), undefined);
  assertEquals(await translated("/bin/run/a", "/bin"), undefined);
  assertEquals(await translated("/bin/run/bin/a", "/bin"), "/cgi/a");
});

test("find() follows a directory that is moved to another place", async () => {
  const moved: Record<string, FakeFile> = {
    "/cgi": { link: "/one" },
    "/one": {},
    "/one/run": { content: "#!" },
    "/cgi/run": { link: "/one/run" },
  };
  const found = new Scripts({
    files: new FakeFiles(moved),
    directory: "/cgi",
    isScript: () => true,
  });
  assertEquals((await found.find("/run")).kind, "script");
  moved["/cgi"] = { link: "/two" };
  moved["/two"] = {};
  moved["/two/run"] = { content: "#!" };
  moved["/cgi/run"] = { link: "/two/run" };
  assertEquals(await found.find("/run"), {
    kind: "script",
    file: "/two/run",
    scriptName: "/run",
    pathInfo: "",
    pathTranslated: undefined,
  });
});

test("find() rejects as the file system does", async () => {
  const files = new FakeFiles(directory);
  files.resolve = () => Promise.reject(new Error("EIO"));
  await assertRejects(() => scripts({ files }).find("/bin/run"), Error, "EIO");
});
