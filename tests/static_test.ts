/** The program with --static, asked by curl: what it sends of a directory, and
 * that nothing leads out of it. */
import { execFile } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { runCommand } from "./support/command.ts";
import { addressIn, get, testDaemon, until } from "./support/daemon.ts";
import { startProgram } from "./support/program.ts";
import { RawClient } from "./support/raw_client.ts";
import { findTool } from "./support/tool.ts";

const app = "tests/clients/app.mjs:app";
const style = "body { color: black }\n";
const large = "0123456789abcdef".repeat(65_536);
const longAgo = 1_600_000_000;

/** A directory with files to serve, and one beside it that is nobody's. */
class Site implements Disposable {
  readonly path: string = mkdtempSync(join(tmpdir(), "headgate-static-"));
  readonly public: string = join(this.path, "public");

  constructor() {
    mkdirSync(join(this.public, "dir"), { recursive: true });
    writeFileSync(join(this.path, "secret.txt"), "secret");
    this.#write("style.css", style);
    this.#write("style.css.gz", gzipSync(style));
    this.#write("large.bin", large);
    this.#write("dir/index.html", "<p>index");
    this.#write(".env", "secret");
    symlinkSync("../secret.txt", join(this.public, "link.txt"));
    symlinkSync("..", join(this.public, "up"));
  }

  #write(name: string, content: string | Uint8Array): void {
    const path = join(this.public, name);
    writeFileSync(path, content);
    utimesSync(path, longAgo, longAgo);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true });
  }
}

interface Answer {
  readonly status: number;
  readonly head: string;
  readonly content: string;
}

function ask(
  curl: string,
  url: string,
  ...args: readonly string[]
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    execFile(
      curl,
      ["-sS", "-i", "--path-as-is", "--max-time", "20", ...args, url],
      { encoding: "latin1", maxBuffer: 8 << 20 },
      (error, stdout) => {
        if (error !== null) return reject(error);
        const end = stdout.indexOf("\r\n\r\n") + 4;
        resolve({
          status: Number(/^HTTP\/1\.1 (\d+)/.exec(stdout)?.[1]),
          head: stdout.slice(0, end),
          content: stdout.slice(end),
        });
      },
    );
  });
}

function field(head: string, name: string): string {
  return new RegExp(`^${name}: (.*)\r$`, "im").exec(head)?.[1] ?? "";
}

test("--static serves files, parts of them, and what has not changed", async () => {
  const curl = await findTool("curl");
  if (curl === undefined) return;
  using site = new Site();
  await using program = await startProgram([
    app,
    "--static",
    `/assets=${site.public}`,
  ]);
  const at = (path: string, ...args: string[]) =>
    ask(curl, program.address + path, ...args);

  const whole = await at("/assets/style.css");
  assertEquals([whole.status, whole.content], [200, style]);
  assertEquals(field(whole.head, "content-type"), "text/css; charset=utf-8");
  assertEquals(field(whole.head, "content-length"), String(style.length));

  const packed = await at("/assets/style.css", "--compressed");
  assertEquals(field(packed.head, "content-encoding"), "gzip");
  assertEquals(packed.content, style);

  const etag = field(whole.head, "etag");
  const same = await at("/assets/style.css", "-H", `If-None-Match: ${etag}`);
  assertEquals([same.status, same.content], [304, ""]);
  const changed = await at("/assets/style.css", "-H", 'If-Match: "x"');
  assertEquals(changed.status, 412);
  const modified = field(whole.head, "last-modified");
  const old = await at("/assets/style.css", "-z", modified);
  assertEquals(old.status, 304);

  const part = await at("/assets/large.bin", "-r", "65530-65545");
  assertEquals([part.status, part.content], [206, "abcdef0123456789"]);
  const range = `bytes 65530-65545/${large.length}`;
  assertEquals(field(part.head, "content-range"), range);
  const end = await at("/assets/large.bin", "-r", "-3");
  assertEquals(end.content, "def");
  const none = await at("/assets/large.bin", "-r", `${large.length}-`);
  assertEquals(none.status, 416);
  assertEquals(field(none.head, "content-range"), `bytes */${large.length}`);
  assert((await at("/assets/large.bin")).content === large);
  const head = await at("/assets/large.bin", "-I");
  assertEquals(field(head.head, "content-length"), String(large.length));

  const slash = await at("/assets/dir?a=1");
  assertEquals(field(slash.head, "location"), "./dir/?a=1");
  assertEquals((await at("/assets/dir", "-L")).content.slice(-8), "<p>index");
  const post = await at("/assets/style.css", "-d", "content");
  assertEquals(post.status, 405);
  assertEquals(field(post.head, "allow"), "GET, HEAD, OPTIONS");
  assertStringIncludes((await at("/elsewhere")).content, "/elsewhere");
});

test("--static lets nobody out of its directory", async () => {
  const curl = await findTool("curl");
  if (curl === undefined) return;
  using site = new Site();
  await using program = await startProgram([
    app,
    "--static",
    `/assets=${site.public}`,
  ]);
  const paths = [
    "/../secret.txt",
    "/dir/../../secret.txt",
    "/%2e%2e/secret.txt",
    "/%2e%2e%2fsecret.txt",
    "/..%2fsecret.txt",
    "/..%5csecret.txt",
    "/%252e%252e/secret.txt",
    "/..;/secret.txt",
    "/%c0%ae%c0%ae/secret.txt",
    "/link.txt",
    "/up/secret.txt",
    "/.env",
    "/%2eenv",
    "//etc/passwd",
    "/style.css/",
    "/style.css/../../secret.txt",
  ];
  for (const path of paths) {
    const { status, content } = await ask(
      curl,
      `${program.address}/assets${path}`,
    );
    assertEquals([status, content], [404, "404 Not Found\n"], path);
  }
  // These are no targets at all.
  for (const path of ["/style.css%00", "/..\\secret.txt"]) {
    const { status } = await ask(curl, `${program.address}/assets${path}`);
    assertEquals(status, 400, path);
  }
});

test("--static /=DIR leaves the rest to the application", async () => {
  const curl = await findTool("curl");
  if (curl === undefined) return;
  using site = new Site();
  await using program = await startProgram([
    app,
    "--static",
    `/=${site.public}`,
  ]);
  const at = (path: string) => ask(curl, program.address + path);
  assertEquals((await at("/style.css")).content, style);
  assertStringIncludes((await at("/elsewhere")).content, "/elsewhere");
  assertStringIncludes((await at("/")).content, `"path":"/"`);
});

test("--static closes the file of a client that leaves", async () => {
  if (process.platform !== "linux") return console.log("skip: no Linux");
  using site = new Site();
  const huge = join(site.public, "huge.bin");
  writeFileSync(huge, new Uint8Array(64 << 20));
  await using program = await startProgram([
    app,
    "--static",
    `/assets=${site.public}`,
  ]);
  const isOpen = () =>
    readdirSync(`/proc/${program.pid}/fd`).some((fd) => {
      try {
        return readlinkSync(`/proc/${program.pid}/fd/${fd}`) === huge;
      } catch {
        return false; // closed meanwhile
      }
    });
  const { hostname, port } = new URL(program.address);
  const client = await RawClient.connect({
    host: hostname,
    port: Number(port),
  });
  client.pause();
  await client.send("GET /assets/huge.bin HTTP/1.1\r\nHost: a\r\n\r\n");
  await until(isOpen, "the file to be open");
  await client.close();
  await until(() => !isOpen(), "the file to be closed");
});

test("--static with a directory that is missing refuses to start", async () => {
  const command = await runCommand([app, "--static", "/a=missing", "-b", ":0"]);
  assertEquals(command.outcome, 2);
  assertStringIncludes(command.stderr, "static /a=missing: no directory");
  const file = await runCommand([app, "--static", "/a=mod.ts", "-b", ":0"]);
  assertStringIncludes(file.stderr, "mod.ts is not a directory");
});

testDaemon("workers serve static files too", async (daemon) => {
  mkdirSync(daemon.path("public"));
  daemon.write("public/a.txt", "static");
  const server = await daemon.serve("--static", "/assets=public");
  const answer = await get(addressIn(server.stdout), "/assets/a.txt");
  assertEquals(answer, { status: 200, text: "static" });
});
