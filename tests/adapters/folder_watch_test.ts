/** What a watched folder tells, on the runtime that the test runs on. */
import { assert, assertEquals } from "@std/assert";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { watchFolder } from "../../adapters/folder_watch.ts";

/** A folder that is being watched: what was told of it since it was last asked. */
class Watched implements Disposable {
  readonly folder: string = realpathSync(
    mkdtempSync(join(tmpdir(), "headgate-")),
  );
  readonly told: Set<string> = new Set<string>();
  readonly failures: string[] = [];
  #end: () => void = () => {};

  begin(): void {
    this.#end = watchFolder(this.folder, {
      isSourceFile: (name) => name.endsWith(".ts"),
      isSourceFolder: (name) => name !== "node_modules",
    }, {
      onChange: (path) => void this.told.add(path),
      onFailure: (why) => void this.failures.push(why),
    });
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, text = name): void {
    mkdirSync(dirname(this.path(name)), { recursive: true });
    writeFileSync(this.path(name), text);
  }

  /** Settles once all of them were told; fails when others were. */
  async until(...names: string[]): Promise<void> {
    const deadline = performance.now() + 25_000;
    while (!names.every((name) => this.told.has(name))) {
      assert(
        performance.now() < deadline,
        `${names} awaited, ${[...this.told]} told, ${this.failures}`,
      );
      await new Promise((wake) => setTimeout(wake, 10));
    }
    assertEquals([...this.told].sort(), names.sort());
    this.told.clear();
  }

  end(): void {
    this.#end();
  }

  [Symbol.dispose](): void {
    this.#end();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function testWatch(
  name: string,
  body: (watched: Watched) => Promise<void>,
): void {
  test(name, async () => {
    if (process.platform !== "linux") return console.log("skip: no Linux");
    using watched = new Watched();
    await body(watched);
    assertEquals(watched.failures, []);
  });
}

testWatch("a file that changes, is new, or goes is told", async (watched) => {
  watched.write("a.ts");
  watched.write("lib/b.ts");
  watched.begin();
  watched.write("a.ts", "other than before");
  await watched.until("a.ts");
  watched.write("lib/b.ts", "other than before");
  await watched.until("lib/b.ts");
  watched.write("lib/c.ts");
  await watched.until("lib/c.ts");
  rmSync(watched.path("a.ts"));
  await watched.until("a.ts");
});

testWatch("a file that is put in another's place is told", async (watched) => {
  watched.write("a.ts", "one");
  watched.write("a.ts.new", "two");
  watched.begin();
  renameSync(watched.path("a.ts.new"), watched.path("a.ts"));
  await watched.until("a.ts");
});

testWatch("what does not count is not told", async (watched) => {
  watched.write("a.ts");
  watched.write("node_modules/x/i.ts");
  watched.begin();
  watched.write("data.db");
  watched.write("node_modules/x/i.ts", "other than before");
  watched.write("node_modules/y/i.ts");
  readFileSync(watched.path("a.ts"));
  chmodSync(watched.path("a.ts"), 0o600);
  watched.write("last.ts");
  await watched.until("last.ts");
});

testWatch("folders that are made later are watched", async (watched) => {
  watched.begin();
  watched.write("new/deep/a.ts");
  await watched.until("new/deep/a.ts");
  watched.write("new/deep/a.ts", "other than before");
  await watched.until("new/deep/a.ts");
  // Another folder of that name is another folder.
  rmSync(watched.path("new"), { recursive: true });
  await watched.until("new/deep/a.ts");
  watched.write("new/deep/a.ts", "once more");
  await watched.until("new/deep/a.ts");
  watched.write("new/deep/a.ts", "and once more");
  await watched.until("new/deep/a.ts");
});

testWatch("a link to a folder is not followed", async (watched) => {
  watched.write("a.ts");
  symlinkSync(watched.folder, watched.path("loop"));
  watched.begin();
  watched.write("a.ts", "other than before");
  await watched.until("a.ts");
});

testWatch("nothing is told after the end", async (watched) => {
  watched.begin();
  watched.write("a.ts");
  await watched.until("a.ts");
  watched.end();
  watched.write("b.ts");
  await new Promise((wake) => setTimeout(wake, 50));
  assertEquals([...watched.told], []);
});

test("a folder that is not there fails nobody", () => {
  const end = watchFolder("/absent/folder", {
    isSourceFile: () => true,
    isSourceFolder: () => true,
  }, { onChange() {}, onFailure() {} });
  end();
});
