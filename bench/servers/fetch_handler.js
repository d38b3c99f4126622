/** What servers of fetch handlers serve: the works, or an application. */
import { block, blockCount, hello, tally } from "../contents.js";

const text = { headers: { "Content-Type": "text/plain" } };
const octets = { headers: { "Content-Type": "application/octet-stream" } };

/** The handler of that name: "works", or a file in bench/apps/. */
export async function handlerOf(name) {
  if (name === "works") return answer;
  const { app } = await import(`../apps/${name}.js`);
  return app.fetch;
}

function answer(request) {
  // Cheaper than `new URL`, and what a server tuned for speed does.
  const path = request.url.slice(request.url.indexOf("/", 8));
  switch (path) {
    case "/":
      return new Response(hello, text);
    case "/echo":
      return echo(request);
    case "/large":
      return new Response(large(), octets);
    case "/upload":
      return upload(request);
    default:
      return new Response(null, { status: 404 });
  }
}

async function echo(request) {
  return new Response(await request.arrayBuffer(), octets);
}

function large() {
  let left = blockCount;
  return new ReadableStream({
    pull(controller) {
      controller.enqueue(block);
      if (--left === 0) controller.close();
    },
  });
}

async function upload(request) {
  let size = 0;
  for await (const piece of request.body) size += piece.length;
  return new Response(tally(size), text);
}
