/** A fixed answer over `node:net`; the arguments are in fixed_answer.js. */
import { createServer } from "node:net";
import { port, Tally } from "./fixed_answer.js";

createServer({ noDelay: true }, (socket) => {
  const tally = new Tally();
  socket.on("data", (piece) => {
    const due = tally.due(piece.length);
    if (due !== undefined) socket.write(due);
  });
  socket.on("error", () => {});
}).listen({ port, host: "127.0.0.1", backlog: 2048 });
