/**
 * Sends the same large request again and again over a few connections, and lets
 * each that has begun come to its end: what is counted is whole.
 *
 * Arguments: the port, the file of the request, how many connections, seconds.
 */
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { performance } from "node:perf_hooks";
import process from "node:process";

const [port, file, connections, seconds] = process.argv.slice(2);
const request = readFileSync(file);
const times = [];
let failures = 0;

const begun = performance.now();
const end = begun + Number(seconds) * 1000;
await Promise.all(Array.from({ length: Number(connections) }, keepSending));
const elapsed = performance.now() - begun;

times.sort((a, b) => a - b);
const percentile = (share) =>
  Math.round((times[Math.ceil(times.length * share) - 1] ?? 0) * 1000);
console.log(
  `COUNTED ${
    JSON.stringify({
      requests: times.length,
      elapsedUs: Math.round(elapsed * 1000),
      refused: 0,
      failures,
      p50Us: percentile(0.5),
      p99Us: percentile(0.99),
    })
  }`,
);

/** Whether an answer is, which says how many bytes came. */
function isWhole(answer) {
  return /^transfer-encoding: *chunked\r$/im.test(answer)
    ? answer.endsWith("\r\n0\r\n\r\n")
    : / bytes$/.test(answer);
}

/** One connection after the other, since some servers close them after such a
 * request; resolves when the last answer has come. */
async function keepSending() {
  let open;
  do {
    open = await sendOver(connect(Number(port), "127.0.0.1"));
  } while (open && performance.now() < end);
}

/** Sends over one connection until the time is over or the server says that it
 * will close it; false if it closed without having said so. */
function sendOver(socket) {
  return new Promise((resolve) => {
    let sentAt;
    let answer = "";
    const send = () => {
      sentAt = performance.now();
      answer = "";
      socket.write(request);
    };
    socket.setNoDelay(true).setEncoding("latin1").once("connect", send);
    socket.on("data", (text) => {
      answer += text;
      if (!isWhole(answer)) return;
      if (!answer.startsWith("HTTP/1.1 200 ")) failures++;
      times.push(performance.now() - sentAt);
      const closes = /^connection: *close\r$/im.test(answer);
      if (!closes && performance.now() < end) return send();
      socket.removeAllListeners("close").destroy();
      resolve(true);
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      failures++;
      resolve(false);
    });
  });
}
