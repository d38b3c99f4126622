/** Ports for those who must name one. */
import { createServer } from "node:net";

// Below those that Linux (32768 and up) and the others choose from: of these
// every test takes some all the time, in other processes too, so that what was
// free a moment ago is another's before it can be listened on.
const first = 10_240;
const last = 32_767;

/** A port that nobody has, by chance: there are so many that two who want one
 * at the same time will hardly get the same. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = first + Math.floor(Math.random() * (last - first + 1));
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(false);
      else reject(error);
    });
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
