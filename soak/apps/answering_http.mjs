/** The application of `answering.js` for `node:http`, which pm2 runs. */
import { Buffer } from "node:buffer";
import { createServer } from "node:http";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { answerSize, contentOf } from "../contents.js";

const longestMs = 20;

const server = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, "http://a");
  const id = Number(searchParams.get("id"));
  const ms = Number(searchParams.get("ms") ?? Math.random() * longestMs);
  const start = (length) =>
    response.writeHead(200, {
      "Content-Type": "application/octet-stream",
      "Content-Length": length,
      "X-Id": id,
      "X-Pid": process.pid,
    });
  if (pathname === "/echo") {
    const blocks = [];
    for await (const block of request) blocks.push(block);
    const content = Buffer.concat(blocks);
    await sleep(ms);
    start(content.length).end(content);
    return;
  }
  const content = contentOf(id, answerSize);
  if (pathname === "/wait") await sleep(ms);
  start(answerSize);
  if (pathname === "/parts") {
    response.write(content.subarray(0, answerSize >> 1));
    await sleep(ms);
    response.end(content.subarray(answerSize >> 1));
  } else {
    response.end(content);
  }
});

// As pm2's manual has it: at SIGINT the server closes, and then the process.
process.on("SIGINT", () => server.close(() => process.exit()));
server.listen(Number(process.env.PORT), "127.0.0.1");
