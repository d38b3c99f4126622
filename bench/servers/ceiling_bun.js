/** A fixed answer over `Bun.listen`; the arguments are in fixed_answer.js. */
import { port, Tally } from "./fixed_answer.js";

globalThis.Bun.listen({
  hostname: "127.0.0.1",
  port,
  socket: {
    open(socket) {
      socket.data = { tally: new Tally(), unsent: [] };
    },
    data(socket, piece) {
      const due = socket.data.tally.due(piece.length);
      if (due === undefined) return;
      socket.data.unsent.push(due);
      if (socket.data.unsent.length === 1) send(socket);
    },
    drain: send,
    error() {},
  },
});

/** Writes until the socket takes no more; it may take a part. */
function send(socket) {
  const { unsent } = socket.data;
  while (unsent.length > 0) {
    const sent = socket.write(unsent[0]);
    if (sent < unsent[0].length) {
      unsent[0] = unsent[0].subarray(Math.max(0, sent));
      return;
    }
    unsent.shift();
  }
}
