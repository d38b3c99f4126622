/**
 * Whether the client sees losses: servers that lose in known ways, and know how
 * often. What the other scenarios say is worth what this one says.
 */
import { Buffer } from "node:buffer";
import { createServer } from "node:net";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { markdown } from "../../bench/report.mjs";
import { answerSize, contentOf } from "../contents.js";
import { Load } from "../load.mjs";
import { faultsInWords } from "../tally.mjs";

export const name = "proof";
export const title = "that the client sees what servers lose";

/** Every so many requests, a server does what it is there for. */
const every = 50;
const runMs = 400;
const limitMs = 300;
const clients = [
  { count: 8, keep: true },
  { count: 4, keep: true, pauseMs: 5 },
  { count: 4, keep: false },
  { count: 4, keep: false, close: true },
];

/** All of what was lost, as this fault and as no other. */
const exactly = (fault) => ({ tally, lost }) =>
  lost > 0 && tally.faults[fault] === lost && tally.failed === lost;
const nothing = ({ tally }) => tally.failed === 0;

/** What the servers do in place of an answer, given the socket and the answer;
 * and whether the count is right. */
const servers = [
  {
    does: "answers",
    act: (socket, answer) => socket.write(answer),
    sees: nothing,
  },
  {
    does: "announces the end of the connection",
    act: (socket, answer) => socket.end(closing(answer)),
    sees: ({ tally, lost }) => nothing({ tally }) && tally.announced > lost / 4,
  },
  {
    does: "closes after the answer, unannounced",
    act: (socket, answer) => socket.end(answer),
    sees: ({ tally }) =>
      tally.crossed > 0 && tally.failed === tally.crossed &&
      tally.closedIdle > 0,
  },
  {
    does: "resets the connection",
    act: (socket) => socket.resetAndDestroy(),
    sees: exactly("reset"),
  },
  {
    does: "closes the connection",
    act: (socket) => socket.end(),
    sees: exactly("unanswered"),
  },
  {
    does: "sends half of the answer and closes",
    act: (socket, answer) => socket.end(answer.subarray(0, -500)),
    sees: exactly("cut"),
  },
  {
    does: "sends half of the head and resets",
    act: (socket, answer) =>
      socket.write(
        answer.subarray(0, 20),
        () => setTimeout(() => socket.resetAndDestroy(), 5),
      ),
    sees: exactly("cut"),
  },
  {
    does: "changes one byte",
    act: (socket, answer) => {
      answer[answer.length - 1] ^= 1;
      socket.write(answer);
    },
    sees: exactly("wrong"),
  },
  {
    does: "gives the answer to another request",
    act: (socket, _, id) => socket.write(answerTo({ id: id + 1, size: 0 })),
    sees: exactly("wrong"),
  },
  {
    does: "sends a byte too many",
    act: (socket, answer) => socket.write(Buffer.concat([answer, answer])),
    sees: exactly("wrong"),
  },
  {
    does: "answers 503",
    act: (socket) => socket.write(unavailable),
    sees: exactly("wrong"),
  },
  {
    does: "never answers",
    act: () => {},
    sees: exactly("late"),
  },
  {
    does: "restarts, and drops what it had",
    answerMs: 5,
    restarts: 3,
    act: (socket, answer) => socket.write(answer),
    sees: ({ tally, lost }) =>
      lost > 0 && tally.faults.refused > 0 &&
      tally.failed - tally.faults.refused >= lost,
  },
];

const unavailable =
  "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

/** A server that does its thing every so many requests. */
class Liar {
  port = 0;
  /** How often it did. */
  lost = 0;
  #requests = 0;
  #inHand = 0;
  #server;
  #sockets = new Set();

  constructor(what) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("error", () => {});
      this.#serve(socket, what);
    });
  }

  #serve(socket, { act, answerMs }) {
    let received = Buffer.alloc(0);
    socket.on("data", async (bytes) => {
      received = Buffer.concat([received, bytes]);
      const request = wholeRequest(received);
      if (request === undefined) return;
      received = Buffer.alloc(0);
      const answer = answerTo(request);
      if (answerMs !== undefined) {
        this.#inHand++;
        await sleep(answerMs);
        if (socket.destroyed) return;
        this.#inHand--;
      }
      if (++this.#requests % every !== 0) return socket.write(answer);
      if (answerMs === undefined) this.lost++;
      act(socket, answer, request.id);
    });
  }

  async listen() {
    await new Promise((resolve) => {
      this.#server.listen(this.port, "127.0.0.1", resolve);
    });
    this.port = this.#server.address().port;
  }

  /** Drops every connection and what it has in hand. */
  async close() {
    this.lost += this.#inHand;
    this.#inHand = 0;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }
}

function wholeRequest(bytes) {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const head = bytes.latin1Slice(0, end);
  const size = Number(/^Content-Length: (\d+)/m.exec(head)?.[1] ?? 0);
  if (bytes.length < end + 4 + size) return undefined;
  return { id: Number(/\?id=(\d+)/.exec(head)[1]), size };
}

function answerTo({ id, size }) {
  const content = contentOf(id, size || answerSize);
  return Buffer.concat([
    Buffer.from(
      `HTTP/1.1 200 OK\r\nContent-Length: ${content.length}\r\n` +
        `X-Id: ${id}\r\nX-Pid: ${process.pid}\r\n\r\n`,
    ),
    content,
  ]);
}

function closing(answer) {
  const end = answer.indexOf("\r\n") + 2;
  return Buffer.concat([
    answer.subarray(0, end),
    Buffer.from("Connection: close\r\n"),
    answer.subarray(end),
  ]);
}

async function tryOn(what) {
  const server = new Liar(what);
  await server.listen();
  const load = new Load(server.port, clients, { limitMs });
  for (let left = what.restarts ?? 0; left > 0; left--) {
    await sleep(runMs / 4);
    await server.close();
    await sleep(runMs / 8);
    await server.listen();
  }
  if (what.restarts === undefined) await sleep(runMs);
  const tally = await load.stop();
  const { lost } = server;
  await server.close();
  return { does: what.does, lost, tally, seen: what.sees({ tally, lost }) };
}

/** Tries the client on each server; whether it saw what it should. */
export async function prove() {
  const results = [];
  for (const what of servers) results.push(await tryOn(what));
  const columns = ["a server that", "requests", "did so", "counted", "right"];
  const table = markdown([
    columns,
    ...results.map(({ does, lost, tally, seen }) => [
      does,
      String(tally.requests),
      String(lost),
      faultsInWords(tally) || "0",
      seen ? "yes" : "NO",
    ]),
  ]);
  return { table, results, proven: results.every(({ seen }) => seen) };
}
