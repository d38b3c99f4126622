/**
 * The application under load, for WSGI. Each answer names the number of its
 * request and the process that gave it.
 */
import process from "node:process";
import { answerSize, contentOf } from "../contents.js";

/** The longest that `/wait` and `/parts` sleep unless they are told. */
const longestMs = 20;

const pid = String(process.pid);

export async function app(environ, startResponse) {
  const query = new URLSearchParams(environ.QUERY_STRING);
  const id = Number(query.get("id"));
  const start = (length) =>
    startResponse("200 OK", [
      ["Content-Type", "application/octet-stream"],
      ["Content-Length", String(length)],
      ["X-Id", String(id)],
      ["X-Pid", pid],
    ]);
  switch (environ.PATH_INFO) {
    case "/":
      start(answerSize);
      return [contentOf(id, answerSize)];
    case "/wait":
      await sleep(delay(query));
      start(answerSize);
      return [contentOf(id, answerSize)];
    case "/parts":
      start(answerSize);
      return parts(contentOf(id, answerSize), delay(query));
    case "/echo": {
      const content = await environ["wsgi.input"].read();
      await sleep(delay(query));
      start(content.length);
      return [content];
    }
    case "/work":
      work(1);
      start(answerSize);
      return [contentOf(id, answerSize)];
    default:
      startResponse("404 Not Found", [["Content-Type", "text/plain"]]);
      return [];
  }
}

/** Half of it, and the rest after a while. */
async function* parts(content, ms) {
  const middle = content.length >> 1;
  yield content.subarray(0, middle);
  await sleep(ms);
  yield content.subarray(middle);
}

function delay(query) {
  return Number(query.get("ms") ?? Math.random() * longestMs);
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Uses a processor for about so many milliseconds. */
function work(ms) {
  const end = performance.now() + ms;
  while (performance.now() < end);
}
