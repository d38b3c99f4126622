/** The works of the benchmark as one WSGI application. */
import { block, blockCount, hello, tally } from "../contents.js";

const text = [["Content-Type", "text/plain"]];
const octets = [["Content-Type", "application/octet-stream"]];

export function app(environ, startResponse) {
  switch (environ.PATH_INFO) {
    case "/":
      startResponse("200 OK", text);
      return [hello];
    case "/echo":
      return echo(environ, startResponse);
    case "/large":
      startResponse("200 OK", octets);
      return large();
    case "/upload":
      return upload(environ, startResponse);
    default:
      startResponse("404 Not Found", text);
      return [];
  }
}

async function echo(environ, startResponse) {
  const content = await environ["wsgi.input"].read();
  startResponse("200 OK", octets);
  return [content];
}

function* large() {
  for (let n = 0; n < blockCount; n++) yield block;
}

async function upload(environ, startResponse) {
  let size = 0;
  for (;;) {
    const piece = await environ["wsgi.input"].read1();
    if (piece.length === 0) break;
    size += piece.length;
  }
  startResponse("200 OK", text);
  return [tally(size)];
}
