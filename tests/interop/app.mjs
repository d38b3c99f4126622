/**
 * What the tests behind proxies ask: it says what it was asked, takes and sends
 * content, and keeps answers back until it is told to go on. Plain JavaScript,
 * so that every runtime loads it.
 */
const text = new TextEncoder();

/** Lets the second event go, and whoever waits at `/gate`. */
let open = () => {};
const opened = new Promise((resolve) => open = resolve);

/** Answers by path. */
export async function app(environ, startResponse) {
  const { PATH_INFO: path, QUERY_STRING: query } = environ;
  if (path === "/bytes") return sendBytes(Number(query), startResponse);
  if (path === "/events") {
    startResponse("200 OK", [
      ["Content-Type", "text/event-stream"],
      ["X-Accel-Buffering", "no"],
    ]);
    return events();
  }
  if (path === "/gate") await opened;
  if (path === "/open") open();
  if (path === "/empty") {
    startResponse("204 No Content", []);
    return [];
  }
  const input = environ["wsgi.input"];
  let received = 0;
  // Some is refused without having been read.
  while (path !== "/unread") {
    const piece = await input.read(65_536);
    if (piece.length === 0) break;
    received += piece.length;
  }
  startResponse("200 OK", [["Content-Type", "application/json"]]);
  const told = {
    scheme: environ["wsgi.url_scheme"],
    host: environ.HTTP_HOST,
    client: environ.REMOTE_ADDR,
    target: environ.RAW_URI ?? environ.REQUEST_URI,
    path,
    query,
    received,
  };
  return [text.encode(JSON.stringify(told))];
}

async function* events() {
  yield text.encode("data: first\n\n");
  await opened;
  yield text.encode("data: last\n\n");
}

function sendBytes(size, startResponse) {
  startResponse("200 OK", [
    ["Content-Type", "application/octet-stream"],
    ["Content-Length", String(size)],
  ]);
  const block = new Uint8Array(65_536).fill(0x61);
  return (function* () {
    for (let left = size; left > 0; left -= block.length) {
      yield left < block.length ? block.subarray(0, left) : block;
    }
  })();
}
