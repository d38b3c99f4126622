/** The works of the benchmark on `node:http`. Arguments: the port, what fetch
 * handler others serve meanwhile, which changes nothing here, and for how many
 * seconds a connection is kept without a request (5, its default). */
import { Buffer } from "node:buffer";
import { createServer } from "node:http";
import { once } from "node:events";
import process from "node:process";
import { block, blockCount, hello, message, tally } from "../contents.js";

const text = "text/plain";
const json = "application/json";
const octets = "application/octet-stream";

const server = createServer((request, response) => {
  switch (request.url) {
    case "/":
      send(response, text, hello);
      break;
    case "/json":
      send(response, json, Buffer.from(JSON.stringify(message)));
      break;
    case "/echo":
      echo(request, response);
      break;
    case "/large":
      large(response);
      break;
    case "/upload":
      upload(request, response);
      break;
    default:
      response.writeHead(404).end();
  }
});
server.keepAliveTimeout = Number(process.argv[4] ?? 5) * 1000;
server.listen(Number(process.argv[2]), "127.0.0.1", 2048);

/** With its length said, node:http sends an answer in one piece. */
function send(response, type, content) {
  response
    .writeHead(200, { "Content-Type": type, "Content-Length": content.length })
    .end(content);
}

function echo(request, response) {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece)).on("end", () => {
    send(response, octets, Buffer.concat(pieces));
  });
}

async function large(response) {
  response.writeHead(200, { "Content-Type": octets });
  for (let n = 0; n < blockCount; n++) {
    if (!response.write(block)) await once(response, "drain").catch(() => {});
    if (response.destroyed) return;
  }
  response.end();
}

function upload(request, response) {
  let size = 0;
  request.on("data", (piece) => size += piece.length).on("end", () => {
    send(response, text, tally(size));
  });
}
