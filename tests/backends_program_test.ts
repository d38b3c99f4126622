/** Options of the command line that reach a FastCGI server: it is one of ours,
 * which counts its connections and has files sent. */
import { createServer, type Socket } from "node:net";
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { realpathSync } from "node:fs";
import { endRequest, readRecords, stdout } from "./support/fastcgi_records.ts";
import { startProgram } from "./support/program.ts";

const STDIN = 5;

/** A responder that answers every request alike, and keeps connections. */
class Responder implements AsyncDisposable {
  connections = 0;
  readonly #answer: string;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((socket) => this.#accept(socket));

  constructor(answer: string) {
    this.#answer = answer;
  }

  /** Listens, and tells its address for the command line. */
  start(): Promise<string> {
    return new Promise((resolve) => {
      this.#server.listen(0, "127.0.0.1", () => {
        const { port } = this.#server.address() as { port: number };
        resolve(`fastcgi://127.0.0.1:${port}`);
      });
    });
  }

  #accept(socket: Socket): void {
    this.connections++;
    this.#sockets.add(socket);
    let received = new Uint8Array();
    socket.on("error", () => {});
    socket.on("data", (chunk: Uint8Array) => {
      received = new Uint8Array([...received, ...chunk]);
      const records = readRecords(received);
      const whole = records.some(({ type, content }) =>
        type === STDIN && content.length === 0
      );
      if (!whole) return;
      received = new Uint8Array();
      socket.write(stdout(this.#answer));
      socket.write(stdout(""));
      socket.write(endRequest());
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

for (const [how, expected] of [["off", 3], ["on", 1]] as const) {
  test(`--keep-connections ${how}: ${expected} for three requests`, async () => {
    await using responder = new Responder("Content-Type: a/b\r\n\r\nhere");
    const address = await responder.start();
    await using program = await startProgram([
      address,
      "--keep-connections",
      how,
    ]);
    for (let n = 0; n < 3; n++) {
      const response = await fetch(`${program.address}/${n}`);
      assertEquals(await response.text(), "here");
    }
    assertEquals(responder.connections, expected);
  });
}

test("--sendfile-root: without it the field is passed on, with it the file", async () => {
  const root = realpathSync("tests/php");
  await using responder = new Responder(
    `Content-Type: text/css\r\nX-Sendfile: ${root}/style.css\r\n\r\nnone`,
  );
  const address = await responder.start();
  {
    await using program = await startProgram([address]);
    const response = await fetch(program.address);
    assertEquals(response.headers.get("x-sendfile"), `${root}/style.css`);
    assertEquals(await response.text(), "none");
  }
  await using program = await startProgram([
    address,
    "--sendfile-root",
    "tests/php",
  ]);
  const response = await fetch(program.address);
  assertEquals(response.headers.get("x-sendfile"), null);
  assertEquals(await response.text(), "body {\n  color: black;\n}\n");
});
