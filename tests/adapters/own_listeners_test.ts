/** Where a process has begun to listen, against sockets that are really there. */
import { assertEquals } from "@std/assert";
import { readdirSync, readlinkSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import process from "node:process";
import { test } from "node:test";
import { watchListeners } from "../../adapters/own_listeners.ts";

const proc = {
  names: (path: string) => readdirSync(path),
  link: (path: string) => readlinkSync(path),
};

async function listen(): Promise<{ server: Server; port: number }> {
  const server = createServer();
  await new Promise<void>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve())
  );
  return { server, port: (server.address() as { port: number }).port };
}

test("watchListeners() tells of listeners alone, and of those that are new", async () => {
  if (process.platform !== "linux") return;
  const old = await listen();
  const newListeners = watchListeners(proc);
  const connection = connect(old.port, "127.0.0.1");
  await new Promise<void>((resolve) => connection.once("connect", resolve));
  assertEquals(await newListeners(), []);
  const young = await listen();
  assertEquals(await newListeners(), [{ host: "127.0.0.1", port: young.port }]);
  connection.destroy();
  for (const { server } of [old, young]) {
    await new Promise((resolve) => server.close(resolve));
  }
  assertEquals(await newListeners(), []);
});

test("watchListeners() tells nothing where nobody tells", async () => {
  const refuse = (): never => {
    throw new Error("not permitted");
  };
  assertEquals(await watchListeners({ names: refuse, link: refuse })(), []);
  const half = { names: () => ["0", "1"], link: refuse };
  assertEquals(await watchListeners(half)(), []);
});
