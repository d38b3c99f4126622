/** The files of this machine, and the handler over them. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { fileSource } from "../../adapters/file_source.ts";
import { files } from "../../src/apps/files.ts";
import { ApplicationError } from "../../src/errors.ts";
import { FakeExchange, text } from "../support/fake_exchange.ts";

/** A directory for one test. */
class Scratch implements Disposable {
  readonly path: string = realpathSync(
    mkdtempSync(join(tmpdir(), "headgate-files-")),
  );

  at(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true });
  }
}

test("fileSource tells what stands at a path", async () => {
  using scratch = new Scratch();
  writeFileSync(scratch.at("a.txt"), "");
  symlinkSync("a.txt", scratch.at("link"));
  assertEquals(await fileSource.kind(scratch.at("a.txt")), "file");
  assertEquals(await fileSource.kind(scratch.at("link")), "file");
  assertEquals(await fileSource.kind(scratch.path), "directory");
  assertEquals(await fileSource.kind(scratch.at("none")), undefined);
  assertEquals(await fileSource.kind(scratch.at("a.txt/below")), undefined);
  if (process.platform !== "win32") {
    assertEquals(await fileSource.kind("/dev/null"), "other");
  }
});

test("fileSource opens a file, with what there is to know of it", async () => {
  using scratch = new Scratch();
  const path = scratch.at("a.txt");
  writeFileSync(path, "0123456789");
  utimesSync(path, 1_000_000_000, 1_000_000_001);
  const file = await fileSource.open(path);
  assert(file !== undefined);
  assertEquals([file.kind, file.size], ["file", 10]);
  assertEquals(file.modifiedMs, 1_000_000_001_000);
  const buffer = new Uint8Array(4);
  assertEquals(await file.read(buffer, 3), 4);
  assertEquals(text(buffer), "3456");
  assertEquals(await file.read(buffer, 8), 2);
  assertEquals(text(buffer), "8956");
  assertEquals(await file.read(buffer, 10), 0);
  assertEquals(await file.read(buffer, 99), 0);
  await file.close();
  await file.close();
});

test("fileSource reads a view at its place", async () => {
  using scratch = new Scratch();
  const path = scratch.at("a.txt");
  writeFileSync(path, "0123456789");
  const file = await fileSource.open(path);
  assert(file !== undefined);
  const buffer = new Uint8Array(6).fill(0x2e);
  assertEquals(await file.read(buffer.subarray(2, 4), 5), 2);
  assertEquals(text(buffer), "..56..");
  await file.close();
});

test("fileSource tells a directory, and waits for no pipe", async () => {
  using scratch = new Scratch();
  execFileSync("mkfifo", [scratch.at("pipe")]);
  for (
    const [path, kind] of [
      [scratch.path, "directory"],
      [scratch.at("pipe"), "other"],
      ["/dev/null", "other"],
    ] as const
  ) {
    const found = await fileSource.open(path);
    assertEquals(found?.kind, kind);
    await assertRejects(async () => await found?.read(new Uint8Array(1), 0));
    await found?.close();
  }
});

test("fileSource finds nothing where a path leads nowhere", async () => {
  using scratch = new Scratch();
  writeFileSync(scratch.at("a.txt"), "");
  symlinkSync("loop", scratch.at("loop"));
  symlinkSync("missing", scratch.at("dangling"));
  const names = ["b.txt", "a.txt/b", "loop", "dangling", "n".repeat(5000)];
  for (const name of names) {
    assertEquals(await fileSource.open(scratch.at(name)), undefined);
    assertEquals(await fileSource.resolve(scratch.at(name)), undefined);
  }
});

test("fileSource resolves symbolic links", async () => {
  using scratch = new Scratch();
  mkdirSync(scratch.at("a"));
  writeFileSync(scratch.at("a/b"), "");
  symlinkSync("a", scratch.at("link"));
  assertEquals(
    await fileSource.resolve(scratch.at("link/b")),
    scratch.at("a/b"),
  );
  assertEquals(await fileSource.resolve("."), realpathSync(process.cwd()));
});

/** Whether permissions hold for whoever runs the test. */
const bound = process.getuid?.() !== 0;

test("fileSource rejects with the code of a refusal", async () => {
  if (!bound) return;
  using scratch = new Scratch();
  writeFileSync(scratch.at("a.txt"), "");
  chmodSync(scratch.at("a.txt"), 0);
  const error = await assertRejects(() => fileSource.open(scratch.at("a.txt")));
  assertEquals((error as { code?: string }).code, "EACCES");
});

async function ask(directory: string, target: string) {
  const exchange = new FakeExchange({ target });
  await files(directory, { source: fileSource })(exchange);
  return exchange.response;
}

test("files() serves a real directory, and nothing beside it", async () => {
  using scratch = new Scratch();
  mkdirSync(scratch.at("public/dir"), { recursive: true });
  writeFileSync(scratch.at("secret"), "secret");
  writeFileSync(scratch.at("public/ä.html"), "umlaut");
  writeFileSync(scratch.at("public/dir/index.html"), "index");
  symlinkSync("../secret", scratch.at("public/out"));
  symlinkSync("..", scratch.at("public/up"));
  symlinkSync("dir", scratch.at("public/in"));
  symlinkSync("public", scratch.at("link"));
  for (const directory of [scratch.at("public"), scratch.at("link")]) {
    const at = async (target: string) => {
      const { status, content } = await ask(directory, target);
      return status === 200 ? content : status;
    };
    assertEquals(await at("/%C3%A4.html"), "umlaut");
    assertEquals(await at("/dir"), 301);
    assertEquals(await at("/in/"), "index");
    // It leads out and in again: what counts is where it ends.
    assertEquals(await at("/up/public/dir/"), "index");
    for (const target of ["/out", "/up/secret", "/up/", "/../secret"]) {
      assertEquals(await at(target), 404, target);
    }
  }
});

test("files() sends a large file as it is, and cuts one that shrinks", async () => {
  using scratch = new Scratch();
  const path = scratch.at("large");
  const content = "0123456789abcdef".repeat(20_000);
  writeFileSync(path, content);
  const whole = await ask(scratch.path, "/large");
  assertEquals(whole.size, content.length);
  assert(whole.content === content);
  const exchange = new FakeExchange({ target: "/large" });
  const { response } = exchange;
  const write = response.write.bind(response);
  response.write = (bytes) => {
    truncateSync(path, 100_000);
    return write(bytes);
  };
  await assertRejects(
    async () => await files(scratch.path, { source: fileSource })(exchange),
    ApplicationError,
    "has become shorter",
  );
  assert(!response.ended);
});
