/**
 * Sends an exact number of requests, many at once on each of its connections.
 *
 * Arguments: the port, the file of the requests that are sent at once, how many
 * they are, how many connections. Orders: `{ requests: N }`, answered with
 * `{ elapsedMs }` when the last answer has come.
 */
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { performance } from "node:perf_hooks";
import process from "node:process";

const [port, file, atOnce, connections] = process.argv.slice(2);
const batch = readFileSync(file);
const batchSize = Number(atOnce);
const request = batch.subarray(0, batch.length / batchSize);

/** Every answer has the size of the first: only the date changes in it. */
const answerSize = await firstAnswer();
const sockets = Array.from({ length: Number(connections) }, open);
let left = 0;
let working = 0;
let begun = 0;

process.on("message", ({ requests }) => {
  left = Math.ceil(requests / batchSize);
  working = sockets.length;
  begun = performance.now();
  for (const next of sockets) next();
});
process.on("disconnect", () => process.exit());

/** A connection; what it gives back makes it send the next batch, if any. */
function open() {
  let due = 0;
  const socket = connect(Number(port), "127.0.0.1");
  socket.setNoDelay(true);
  socket.on("data", (piece) => {
    due -= piece.length;
    if (due === 0) next();
    else if (due < 0) fail("answers more than it was asked");
  });
  socket.on("error", (error) => fail(error.message));
  socket.on("close", () => fail("closes the connection"));
  function next() {
    if (left > 0) {
      left--;
      due = answerSize * batchSize;
      socket.write(batch);
    } else if (--working === 0) {
      process.send({ elapsedMs: performance.now() - begun });
    }
  }
  return next;
}

function firstAnswer() {
  return new Promise((resolve) => {
    let answer = Buffer.alloc(0);
    const socket = connect(Number(port), "127.0.0.1");
    socket.on("error", (error) => fail(error.message));
    socket.on("data", (piece) => {
      answer = Buffer.concat([answer, piece]);
      const text = answer.toString("latin1");
      const content = text.indexOf("Hello, World!");
      if (content < 0) return;
      socket.destroy();
      resolve(text.indexOf("\r\n\r\n") + 4 + "Hello, World!".length);
    });
    socket.write(request);
  });
}

function fail(failure) {
  process.send({ failure }, () => process.exit(1));
}
