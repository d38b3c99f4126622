/** A worker: serves on the socket that it was started with. */
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { type Application, detectTransport } from "../../../mod.ts";
import { createLogger } from "../../../src/log.ts";
import { converse } from "../part2/server.ts";

const graceSeconds = 10;
const log = createLogger({
  level: "info",
  sink: (record) => console.log(record),
});

const app: Application = (_environ, startResponse) => {
  startResponse("200 OK", [["Content-Type", "text/plain"]]);
  return [new TextEncoder().encode(`Hello from pid ${process.pid}\n`)];
};

/** Serves until the channel to the master closes: because the master wants it
 * so, or because there is no master any more. Then it accepts nothing more, and
 * ends what it has begun. */
export async function runWorker(): Promise<number> {
  const conversations = new Set<Promise<void>>();
  const transport = await detectTransport();
  const listener = await transport.listen({ fd: 3 }, (stream) => {
    const conversation = converse(app, stream, log)
      .finally(() => conversations.delete(conversation));
    conversations.add(conversation);
  });
  process.send?.("ready");
  await new Promise<void>((resolve) => process.once("disconnect", resolve));
  await listener.close();
  await Promise.race([
    Promise.all(conversations),
    sleep(graceSeconds * 1000),
  ]);
  return 0;
}
