/**
 * What is asked of every server: for each work the bytes of one request, how
 * many are sent at once, and the answer that is right. A work may name the
 * roles that take part in it, the fetch handler that is to be served (a file in
 * bench/apps/), the client that sends it when wrk does not, and the megabytes of
 * a request when they are what counts.
 */
import { Buffer } from "node:buffer";
import { block, blockCount, hello, message, note, tally } from "./contents.js";

const browser = [
  "GET / HTTP/1.1",
  "Host: www.example.org:8000",
  "Connection: keep-alive",
  "Cache-Control: max-age=0",
  'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24", "Browser";v="140"',
  "sec-ch-ua-mobile: ?0",
  'sec-ch-ua-platform: "Linux"',
  "Upgrade-Insecure-Requests: 1",
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 " +
  "(KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9," +
  "image/avif,image/webp,image/apng,*/*;q=0.8," +
  "application/signed-exchange;v=b3;q=0.7",
  "Accept-Encoding: gzip, deflate, br, zstd",
  "Accept-Language: en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7",
  "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; " +
  "consent=necessary; visited=2026-11-22T05%3A24%3A31Z; " +
  "basket=fedcba9876543210fedcba9876543210; currency=EUR; units=metric",
];

function request(lines, content = new Uint8Array()) {
  return Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`), content]);
}

function get(path) {
  return request([`GET ${path} HTTP/1.1`, "Host: 127.0.0.1"]);
}

function post(path, content) {
  return request([
    `POST ${path} HTTP/1.1`,
    "Host: 127.0.0.1",
    "Content-Type: application/octet-stream",
    `Content-Length: ${content.length}`,
  ], content);
}

const uploadMegabytes = 100;
const load = Buffer.alloc(uploadMegabytes * 1e6, "c");

const greeting = { type: "text/plain", content: hello };

const json = {
  type: "application/json",
  content: Buffer.from(JSON.stringify(message)),
};

/** The roles that take part in a work that names none. */
export const usualRoles = ["headgate", "native", "srvx", "hono", "ceiling"];

/** Those that serve fetch handlers, and the native server of Node. */
const fetchRoles = ["headgate", "light", "native", "srvx", "hono"];

export const works = [
  {
    name: "hello",
    title: "GET, 13 bytes back",
    request: get("/"),
    atOnce: 1,
    answer: greeting,
  },
  {
    name: "pipelined",
    title: "the same, 16 requests at once",
    request: get("/"),
    atOnce: 16,
    answer: greeting,
  },
  {
    name: "browser",
    title: "GET as a browser sends it, 13 bytes back",
    request: request(browser),
    atOnce: 1,
    answer: greeting,
  },
  {
    name: "echo",
    title: "POST of 10 KiB, sent back",
    request: post("/echo", note),
    atOnce: 1,
    answer: { type: "application/octet-stream", content: note },
  },
  {
    name: "large",
    title: "GET, 1 MiB back in blocks of 64 KiB",
    request: get("/large"),
    atOnce: 1,
    answer: {
      type: "application/octet-stream",
      content: Buffer.concat(Array(blockCount).fill(block)),
    },
  },
  {
    name: "upload",
    title: "POST of 100 MB, its size back",
    request: post("/upload", load),
    atOnce: 1,
    answer: { type: "text/plain", content: tally(load.length) },
    client: "upload",
    megabytes: uploadMegabytes,
  },
  {
    name: "access-log",
    title: "GET, 13 bytes back, with a log file and without",
    request: get("/"),
    atOnce: 1,
    answer: greeting,
    roles: ["logged", "headgate"],
  },
  {
    name: "fetch-json",
    title: "GET, JSON back from a fetch handler",
    request: get("/json"),
    atOnce: 1,
    answer: json,
    handler: "json",
    roles: fetchRoles,
  },
  {
    name: "hono-json",
    title: "GET, JSON back from a Hono application",
    request: get("/json"),
    atOnce: 1,
    answer: json,
    handler: "hono_json",
    roles: fetchRoles,
  },
];

/** The answer as a server that knows nothing else would send it. */
export function fixedAnswer({ type, content }) {
  return request([
    "HTTP/1.1 200 OK",
    `Content-Type: ${type}`,
    "Date: Sun, 22 Nov 2026 05:24:31 GMT",
    `Content-Length: ${content.length}`,
  ], content);
}
