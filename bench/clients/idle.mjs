/**
 * Holds connections open that have each made one request.
 *
 * Argument: the port. Orders: `{ open: N }` opens so many more; both it and
 * `{}` are answered with `{ connections }`, how many are open.
 */
import { connect } from "node:net";
import process from "node:process";

const port = Number(process.argv[2]);
const request = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
/** So many are opened at a time, that no queue of a server overflows. */
const wave = 100;

const connections = new Set();

process.on("message", async ({ open = 0 }) => {
  try {
    for (let left = open; left > 0; left -= wave) {
      await Promise.all(Array.from({ length: Math.min(left, wave) }, openOne));
    }
    process.send({ connections: connections.size });
  } catch (error) {
    process.send({ failure: error.message });
  }
});
process.on("disconnect", () => process.exit());

function openOne() {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(request));
    socket.setEncoding("latin1");
    socket.on("data", (text) => {
      answer += text;
      if (answer.includes("Hello, World!")) resolve();
    });
    socket.on("error", reject);
    socket.on("close", () => {
      connections.delete(socket);
      reject(new Error("closes the connection"));
    });
    connections.add(socket);
  });
}
