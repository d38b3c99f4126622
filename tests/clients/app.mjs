/**
 * What the client tests ask: it says what it was asked, and sends and takes
 * content of any size. Plain JavaScript, so that every runtime loads it.
 */
const text = new TextEncoder();

/** Answers by path: `/bytes?SIZE` sends content, everything else tells what came. */
export async function app(environ, startResponse) {
  if (environ.PATH_INFO === "/bytes") {
    return sendBytes(Number(environ.QUERY_STRING), startResponse);
  }
  if (environ.PATH_INFO === "/browser") return browserPage(startResponse);
  let received = 0;
  let sum = 0;
  for (;;) {
    const piece = await environ["wsgi.input"].read(65_536);
    if (piece.length === 0) break;
    received += piece.length;
    for (let i = 0; i < piece.length; i += 4096) {
      sum = (sum + piece[i]) % 65_521;
    }
  }
  const told = {
    method: environ.REQUEST_METHOD,
    path: environ.PATH_INFO,
    query: environ.QUERY_STRING,
    protocol: environ.SERVER_PROTOCOL,
    type: environ.CONTENT_TYPE ?? null,
    agent: environ.HTTP_USER_AGENT ?? null,
    received,
    sum,
  };
  startResponse("200 OK", [["Content-Type", "application/json"]]);
  return [text.encode(`${JSON.stringify(told)}\n`)];
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

/** A page that posts a form by script and shows what came of it. */
function browserPage(startResponse) {
  startResponse("200 OK", [["Content-Type", "text/html; charset=utf-8"]]);
  return [
    text.encode(`<!doctype html><title>Browser</title><p id="told">nothing</p>
<script type="module">
const form = new FormData();
form.set("greeting", "grüß dich");
const answers = await Promise.all([
  fetch("/form", { method: "POST", body: form }),
  ...Array.from({ length: 20 }, (_, i) => fetch("/many?" + i)),
]);
const told = await Promise.all(answers.map((answer) => answer.json()));
document.querySelector("#told").textContent =
  told[0].method + " " + told[0].type.split(";")[0] + " and " + told.length + " answers";
</script>`),
  ];
}
