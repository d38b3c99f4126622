/** A fixed answer over `Deno.listen`; the arguments are in fixed_answer.js. */
import { port, Tally } from "./fixed_answer.js";

async function serve(connection) {
  connection.setNoDelay(true);
  const tally = new Tally();
  const buffer = new Uint8Array(65_536);
  try {
    for (;;) {
      const size = await connection.read(buffer);
      if (size === null) break;
      const due = tally.due(size);
      if (due !== undefined) await writeAll(connection, due);
    }
  } catch {
    // The client left.
  }
  connection.close();
}

async function writeAll(connection, bytes) {
  let sent = await connection.write(bytes);
  while (sent < bytes.length) {
    sent += await connection.write(bytes.subarray(sent));
  }
}

for await (const connection of Deno.listen({ hostname: "127.0.0.1", port })) {
  serve(connection);
}
