/** A proxy of `examples/deploy/` in front of the program: its file as it stands
 * there, but for the addresses and paths, which are the test's; and what every
 * proxy has to hand on. The client is curl, and speaks HTTP/2 where the proxy
 * does. */
import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Daemon, until } from "../support/daemon.ts";
import { freePort } from "../support/free_port.ts";
import { startProgram } from "../support/program.ts";
import { type Outcome, runCommand } from "../support/run_command.ts";
import { findTool } from "../support/tool.ts";

/** A proxy, as it is started. */
export interface ProxyKind {
  /** The name of its program. */
  readonly name: string;
  /** Its arguments, in the foreground. */
  readonly args: (configuration: string) => readonly string[];
  /** The whole configuration, of the file in `examples/deploy/`. */
  readonly configure: (place: Place) => string;
  /** Whether it tells whoever serves that a client has left. */
  readonly tellsOfLeaving: boolean;
}

/** Where a proxy stands. */
export interface Place {
  /** A directory of its own. */
  readonly directory: string;
  /** Where it listens, on 127.0.0.1. */
  readonly port: number;
  /** The Unix socket that Headgate listens on. */
  readonly socket: string;
  /** The certificate and its key, in one file. */
  readonly certificate: string;
}

/** A file of `examples/deploy/` with each of these texts replaced; each has to
 * be there. */
export function deployed(
  name: string,
  replacements: readonly (readonly [string, string])[],
): string {
  let text = readFileSync(`examples/deploy/${name}`, "utf8");
  for (const [from, to] of replacements) {
    assertStringIncludes(text, from);
    text = text.replaceAll(from, to);
  }
  return text;
}

/** A proxy that runs before Headgate, until the end of the scope. */
export class Proxy implements AsyncDisposable {
  readonly place: Place;
  readonly #child: ChildProcess;
  readonly #curl: string;
  #told = "";

  private constructor(place: Place, child: ChildProcess, curl: string) {
    this.place = place;
    this.#child = child;
    this.#curl = curl;
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text) => this.#told += text);
    }
  }

  /** Starts it; undefined where something that it needs is missing. */
  static async start(kind: ProxyKind): Promise<Proxy | undefined> {
    if (process.platform !== "linux") {
      // 127.0.0.2 is nobody's elsewhere.
      console.log("skip: no Linux");
      return undefined;
    }
    const program = await findTool(kind.name);
    const curl = await findTool("curl");
    const openssl = await findTool("openssl");
    if (!program || !curl || !openssl) return undefined;
    const directory = mkdtempSync(join(tmpdir(), "headgate-proxy-"));
    chmodSync(directory, 0o755); // some go on as another user
    const place = {
      directory,
      port: await freePort(),
      socket: join(directory, "app.sock"),
      certificate: join(directory, "both.pem"),
    };
    const { code, stderr } = await runCommand(openssl, [
      ..."req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
        .split(" "),
      "-keyout",
      place.certificate,
      "-out",
      `${place.certificate}.part`,
    ]);
    assertEquals(code, 0, stderr);
    const certificate = readFileSync(`${place.certificate}.part`, "utf8");
    const key = readFileSync(place.certificate, "utf8");
    writeFileSync(place.certificate, certificate + key);
    const configuration = join(directory, "proxy.conf");
    writeFileSync(configuration, kind.configure(place));
    const child = spawn(program, kind.args(configuration), {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const proxy = new Proxy(place, child, curl);
    await proxy.#untilAccepting();
    return proxy;
  }

  async #untilAccepting(): Promise<void> {
    const { port } = this.place;
    let ended = false;
    this.#child.once("exit", () => ended = true);
    try {
      await until(async () => ended || await accepts(port), "the proxy");
      if (ended) throw new Error(`It does not listen: ${this.#told}`);
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Where a path of it is. */
  url(path: string): string {
    return `https://127.0.0.1:${this.place.port}${path}`;
  }

  /** Asks by curl, which comes from an address that Headgate does not believe,
   * and returns what was printed. */
  async ask(path: string, ...args: string[]): Promise<Outcome> {
    return await runCommand(this.#curl, [
      "-sSk",
      "--path-as-is",
      "--interface",
      "127.0.0.2",
      "-H",
      "Host: example.org",
      ...args,
      this.url(path),
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await ended;
    }
    rmSync(this.place.directory, { recursive: true, force: true });
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** What has to arrive, and to come back, whatever proxy is between. */
export async function checkProxy(kind: ProxyKind): Promise<void> {
  await using proxy = await Proxy.start(kind);
  if (proxy === undefined) return;
  await using program = await startProgram([
    "tests/interop/app.mjs:app",
    "--bind",
    `unix:${proxy.place.socket}`,
    "--umask",
    "0",
    "--limit-request-body",
    "6M",
  ]);
  await checkRequests(proxy);
  await checkContent(proxy);
  await leave(proxy);
  await checkEvents(proxy);
  const status = kind.tellsOfLeaving ? 499 : 200;
  await until(
    () => program.output().includes(`"GET /gate HTTP/1.1" ${status} `),
    "the log of a client that has left",
    () => program.output(),
  );
  assert(!program.output().includes("[ERROR]"), program.output());
}

async function checkRequests(proxy: Proxy): Promise<void> {
  const told = async (path: string, ...args: string[]) => {
    const { stdout, stderr } = await proxy.ask(path, ...args);
    assertStringIncludes(stdout, "{", stderr);
    return JSON.parse(stdout) as Record<string, unknown>;
  };
  const seen = {
    scheme: "https",
    host: "example.org",
    client: "127.0.0.2",
    received: 0,
  };
  const path = "/a%2Fb//%C3%BC;c=d|e";
  assertEquals(await told(`${path}?x=%20&y=%2F?`), {
    ...seen,
    target: `${path}?x=%20&y=%2F?`,
    path: "/a/b//\xc3\xbc;c=d|e",
    query: "x=%20&y=%2F?",
  });
  const invented = await told(
    "/",
    ...["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: http"]
      .concat("X-Forwarded-Host: b.example", "Forwarded: for=192.0.2.2")
      .flatMap((line) => ["-H", line]),
  );
  assertEquals(invented, { ...seen, target: "/", path: "/", query: "" });

  const head = await proxy.ask("/bytes?1000", "-I");
  assertStringIncludes(head.stdout.toLowerCase(), "content-length: 1000\r\n");
  const empty = await proxy.ask("/empty", "-i");
  assertStringIncludes(empty.stdout, " 204");
  assert(!/content-length|transfer-encoding/i.test(empty.stdout));
  const webSocket = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  ];
  const upgrade = await told(
    "/",
    "--http1.1",
    ...webSocket.flatMap((line) => ["-H", line]),
  );
  assertEquals(upgrade, { ...seen, target: "/", path: "/", query: "" });
}

async function checkContent(proxy: Proxy): Promise<void> {
  const file = join(proxy.place.directory, "content");
  writeFileSync(file, new Uint8Array(5_000_000).fill(0x62));
  const post = ["--data-binary", `@${file}`];
  const chunked = ["--http1.1", "-H", "Transfer-Encoding: chunked"];
  const expecting = ["-H", "Expect: 100-continue"];
  for (const how of [[], chunked, expecting]) {
    const { stdout, stderr } = await proxy.ask("/", ...post, ...how);
    assertStringIncludes(stdout, '"received":5000000', stderr);
  }
  // HAProxy and curl leave it hanging over HTTP/2.
  const early = "--http1.1";
  const unread = await proxy.ask("/unread", early, ...post);
  assertStringIncludes(unread.stdout, '"received":0', unread.stderr);

  const large = join(proxy.place.directory, "large");
  writeFileSync(large, new Uint8Array(7_000_000));
  for (const how of [[early], chunked]) {
    const args = ["--data-binary", `@${large}`, ...how];
    const { stdout, stderr } = await proxy.ask("/", ...args);
    assertStringIncludes(stdout, "413 Content Too Large", stderr);
  }

  const count = ["-o", "/dev/null", "-w", "%{http_code} %{size_download}"];
  const all = await proxy.ask("/bytes?20000001", ...count);
  assertEquals([all.code, all.stdout], [0, "200 20000001"], all.stderr);
}

/** The first event has to come before the second, which waits for us. */
async function checkEvents(proxy: Proxy): Promise<void> {
  const child = spawn("curl", ["-sSkN", proxy.url("/events")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const timer = setTimeout(() => child.kill(), 25_000);
  let received = "";
  for await (const piece of child.stdout) {
    received += String(piece);
    if (received === "data: first\n\n") await proxy.ask("/open");
  }
  clearTimeout(timer);
  assertEquals(received, "data: first\n\ndata: last\n\n");
}

/** A client that does not wait for what `checkEvents` will let through. */
async function leave(proxy: Proxy): Promise<void> {
  const { code } = await proxy.ask("/gate", "--max-time", "2");
  assertEquals(code, timedOut);
}

/** Of curl. */
const timedOut = 28;

/** Nobody is to notice that Headgate reloads, or is another process. */
export async function checkReload(kind: ProxyKind): Promise<void> {
  const wrk = await findTool("wrk");
  if (wrk === undefined) return;
  await using proxy = await Proxy.start(kind);
  if (proxy === undefined) return;
  await using daemon = new Daemon();
  await daemon.start(`--bind=unix:${proxy.place.socket}`, "--umask=0");
  const load = runCommand(wrk, ["-t1", "-c8", "-d4s", proxy.url("/")]);
  for (const command of ["reload", "restart"] as const) {
    const old = await daemon.workers();
    assertEquals((await daemon.order({ command }))?.ok, true);
    await daemon.untilServing(2, old);
  }
  const { code, stdout, stderr } = await load;
  assertEquals(code, 0, stderr);
  assert(!/Socket errors: .*(connect|read|write) [1-9]/.test(stdout), stdout);
  assert(!stdout.includes("Non-2xx"), stdout);
  const [, requests] = /(\d+) requests in/.exec(stdout) ?? [];
  // More than one on each connection; how many is the machine's affair.
  assert(Number(requests) > 8, stdout);
}
