/** Which names are Python's: by extension, by shape, and by the file that is
 * there. */
import { test } from "node:test";
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { CommandError } from "../../src/command_error.ts";
import { formatPythonName, pythonName } from "../../src/python/name.ts";

/** The name in a place that holds `files`: the module with its callable, and
 * where it is looked for; "" for a name that is not Python's. */
function nameAmong(
  files: readonly string[],
  text: string,
  pythonpath: readonly string[] = [],
): string {
  const name = pythonName(text, {
    kind: (path) => files.includes(path) ? "file" : undefined,
    pythonpath,
    scriptExtensions: [".ts", ".js"],
  });
  if (name === undefined) return "";
  return formatPythonName(name) +
    (name.directory === undefined ? "" : ` in ${name.directory}`);
}

function assertRefused(
  files: readonly string[],
  text: string,
  message: RegExp,
  remedy: RegExp,
): void {
  const error = assertThrows(() => nameAmong(files, text), CommandError);
  assertMatch(error.message, message);
  assertMatch(error.remedy, remedy);
}

test("pythonName() takes module:callable for Python, wherever the module is", () => {
  const files = ["flaskapp.py", "site/__init__.py"];
  assertEquals(nameAmong(files, "flaskapp:app"), "flaskapp:app");
  assertEquals(nameAmong(files, "site:app"), "site:app");
  assertEquals(nameAmong([], "installed.site:app"), "installed.site:app");
  assertEquals(nameAmong([], "größe:app"), "größe:app");
  assertEquals(nameAmong([], "_a1:_b2"), "_a1:_b2");
});

test("pythonName() takes attributes and calls for callables", () => {
  for (
    const text of [
      "pkg.mod:site.app",
      "pkg.mod:create()",
      "pkg.mod:Site.create(1, debug=True)",
      'pkg.mod:create("a.ini:main")',
      'pkg.mod:create("app.js")',
    ]
  ) assertEquals(nameAmong([], text), text);
});

test("pythonName() takes a module alone where its file is there", () => {
  assertEquals(nameAmong([], "mysite.wsgi"), "");
  assertEquals(
    nameAmong(["mysite/wsgi.py"], "mysite.wsgi"),
    "mysite.wsgi",
  );
  assertEquals(
    nameAmong(["lib/mysite/wsgi.py"], "mysite.wsgi", ["lib"]),
    "mysite.wsgi",
  );
});

test("pythonName() takes a file for a module of the packages that hold it", () => {
  assertEquals(nameAmong(["app.py"], "app.py:app"), "app:app");
  assertEquals(nameAmong(["./app.py"], "./app.py:app"), "app:app");
  assertEquals(nameAmong(["app.py"], "app.py"), "app");
  assertEquals(nameAmong(["my-app.py"], "my-app.py:app"), "my-app:app");
  assertEquals(nameAmong(["a/app.py"], "a/app.py:app"), "app:app in a");
  assertEquals(nameAmong(["../app.py"], "../app.py:app"), "app:app in ..");
  // What its package is called is not to be told from here.
  assertEquals(
    nameAmong(["../app.py", "../__init__.py"], "../app.py:app"),
    "app:app in ..",
  );
  assertEquals(nameAmong(["/app.py"], "/app.py:app"), "app:app in /");
  assertEquals(
    nameAmong(["/srv/a/app.py"], "/srv/a/app.py:create()"),
    "app:create() in /srv/a",
  );
  assertEquals(
    nameAmong(["a/b.py/app.py"], "a/b.py/app.py:app"),
    "app:app in a/b.py",
  );
  const packaged = [
    "src/a/b/__init__.py",
    "src/a/b/app.py",
    "src/a/__init__.py",
  ];
  assertEquals(
    nameAmong(packaged, "src/a/b/app.py:app"),
    "a.b.app:app in src",
  );
  assertEquals(
    nameAmong(packaged, "src/a/b/__init__.py:app"),
    "a.b:app in src",
  );
  assertEquals(
    nameAmong(["a/__init__.py", "a/b.py"], "a/b.py:app"),
    "a.b:app",
  );
  assertEquals(
    nameAmong(["app.py"], 'app.py:create("b.py:c")'),
    'app:create("b.py:c")',
  );
});

test("pythonName() leaves what has a script's extension alone", () => {
  const files = ["app.py", "app/ts.py", "app.ts"];
  for (const text of ["app.ts:app", "app.ts", "a/b.js:app", "C:\\app.js"]) {
    assertEquals(nameAmong(files, text), "", text);
  }
});

test("pythonName() leaves alone what no Python module can be called", () => {
  for (const text of ["a/b", "localhost:8000", "my-app:app", "a..b:app", "a"]) {
    assertEquals(nameAmong([], text), "", text);
  }
});

test("pythonName() points at the file that was meant", () => {
  assertRefused(
    ["server.ts"],
    "server:app",
    /^server:app lacks the file's extension$/,
    /^Write server\.ts:app\.$/,
  );
  assertRefused(["server.ts"], "server", /^server lacks/, /^Write server\.ts/);
  assertRefused(
    ["src/server.js"],
    "src.server:app",
    /lacks/,
    /^Write src\/server\.js:app\.$/,
  );
  assertRefused(
    ["a/my-app.py"],
    "a/my-app:app",
    /lacks/,
    /^Write a\/my-app\.py:app\.$/,
  );
  assertEquals(nameAmong(["a.py", "a.ts"], "a:app"), "a:app");
});

test("pythonName() refuses a .py file that is not there", () => {
  assertRefused([], "app.py:app", /^No file app\.py$/, /--chdir/);
  const kinds: Record<string, string> = { "a.py": "directory", b: "x" };
  const around = {
    kind: (path: string) => kinds[path] ?? "hidden",
    pythonpath: [],
    scriptExtensions: [],
  };
  assertThrows(
    () => pythonName("a.py:app", around),
    CommandError,
    "not a file",
  );
  assertThrows(() => pythonName("c.py", around), CommandError, "permission");
});

test("pythonName() refuses a callable that cannot be one", () => {
  assertRefused(["a.py"], "a.py:", /^No name after the colon/, /a\.py:app/);
  assertRefused(["a.py"], "a:", /^No name after the colon in a:$/, /a:app/);
  assertRefused(["a.py"], "a.py:b-c", /^b-c is not the name/, /a\.py:create/);
  assertRefused(["a.py"], "a:8000", /^8000 is not the name/, /a:create/);
});

test("pythonName() refuses a file whose name Python cannot import", () => {
  assertRefused(["a.b.py"], "a.b.py:app", /cannot import a\.b\.py/, /Rename/);
  assertRefused(["__init__.py"], "__init__.py", /cannot import/, /Rename/);
});
