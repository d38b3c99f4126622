/** Memory stays flat however much goes through, and however slowly: the program
 * itself, its peak memory as the system tells it. */
import { readFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { startProgram } from "./support/program.ts";

const app = "tests/clients/app.mjs:app";
const MIB = 1 << 20;
const SIZE = 256 * MIB;
/** Buffers, and what a collector leaves lying about, but never the content. */
const ALLOWED_GROWTH = 160 * MIB;

/** Peak resident memory in bytes; undefined where the system does not tell. */
async function peakMemory(pid: number): Promise<number | undefined> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const match = /VmHWM:\s+(\d+) kB/.exec(status);
  return match === null ? undefined : Number(match[1]) * 1024;
}

async function assertFlat(
  pid: number,
  before: number | undefined,
): Promise<void> {
  const after = await peakMemory(pid);
  if (before === undefined || after === undefined) {
    console.log("skip: this system does not tell a process's peak memory");
    return;
  }
  const grown = Math.round((after - before) / MIB);
  assert(after - before < ALLOWED_GROWTH, `the program grew by ${grown} MiB`);
}

function open(address: string): Promise<Socket> {
  const { port } = new URL(address);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), "127.0.0.1", () => resolve(socket));
    socket.once("error", reject);
  });
}

test("a response is not read ahead for a peer that stops reading", async () => {
  await using program = await startProgram([app]);
  const before = await peakMemory(program.pid);
  const socket = await open(program.address);
  socket.write(
    `GET /bytes?${SIZE} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
  );

  let received = 0;
  let pauses = 0;
  const ended = new Promise<void>((resolve, reject) => {
    socket.on("data", (piece) => {
      received += piece.length;
      if (received / (32 * MIB) > pauses + 1) {
        pauses++;
        socket.pause();
        setTimeout(() => socket.resume(), 100);
      }
    });
    socket.on("end", resolve);
    socket.on("error", reject);
  });
  await ended;
  socket.destroy();
  assert(received > SIZE && received < SIZE + 1000, String(received));
  assert(pauses > 5);
  await assertFlat(program.pid, before);
});

test("a request is read no faster than its application reads it", async () => {
  await using program = await startProgram([app]);
  const before = await peakMemory(program.pid);
  const socket = await open(program.address);
  socket.write(
    `POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${SIZE}\r\n\r\n`,
  );
  let answer = "";
  const ended = new Promise<void>((resolve, reject) => {
    socket.on("data", (piece) => answer += piece.toString());
    socket.on("end", resolve);
    socket.on("error", reject);
  });
  const block = new Uint8Array(MIB).fill(0x62);
  for (let sent = 0; sent < SIZE; sent += block.length) {
    if (!socket.write(block)) {
      await new Promise((resolve) => socket.once("drain", resolve));
    }
  }
  await ended;
  socket.destroy();
  assertStringIncludes(answer, `"received":${SIZE}`);
  await assertFlat(program.pid, before);
});

test("an application that never reads stalls its peer", async () => {
  await using program = await startProgram(["tests/clients/unread.mjs:app"]);
  const before = await peakMemory(program.pid);
  const socket = await open(program.address);
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${SIZE}\r\n\r\n`);
  const block = new Uint8Array(MIB).fill(0x62);
  let sent = 0;
  let stalled = false;
  while (!stalled && sent < SIZE) {
    sent += block.length;
    if (socket.write(block)) continue;
    stalled = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(true), 1000);
      socket.once("drain", () => {
        clearTimeout(timer);
        resolve(false);
      });
    });
  }
  socket.destroy();
  assertEquals(stalled, true, `${sent / MIB} MiB went nowhere`);
  await assertFlat(program.pid, before);
});
