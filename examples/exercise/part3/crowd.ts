/** Many clients at once, some of whom say nothing. */
import { connect, type Socket } from "node:net";

/** Who comes. */
export interface CrowdOptions {
  /** Port on 127.0.0.1. */
  readonly port: number;
  /** How many connect first and never send a byte, as a browser does that
   * opens a connection in case it will need one. */
  readonly silent: number;
  /** How many connect then, all at once, and ask for `/hello`. */
  readonly talking: number;
}

/** Opens all connections, keeps the silent ones until the others have their
 * answers, and resolves with how often each status was answered; "none" counts
 * those that got no answer. */
export async function crowd(
  { port, silent, talking }: CrowdOptions,
): Promise<Map<string, number>> {
  const silentSockets = await Promise.all(
    Array.from({ length: silent }, () => open(port)),
  );
  try {
    const statuses = await Promise.all(
      Array.from({ length: talking }, () => ask(port)),
    );
    const counts = new Map<string, number>();
    for (const status of statuses) {
      counts.set(status, (counts.get(status) ?? 0) + 1);
    }
    return counts;
  } finally {
    for (const socket of silentSockets) socket.destroy();
  }
}

function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.once("error", reject);
    socket.once("connect", () => {
      // It may be reset later, by a server that has grown tired of it.
      socket.off("error", reject).on("error", () => {});
      resolve(socket);
    });
  });
}

async function ask(port: number): Promise<string> {
  const socket = await open(port);
  socket.setTimeout(10_000, () => socket.destroy());
  let answer = "";
  socket.setEncoding("latin1").on("data", (text) => answer += text);
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.write(
    `GET /hello HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n` +
      "Connection: close\r\n\r\n",
  );
  await closed;
  return /^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1] ?? "none";
}
