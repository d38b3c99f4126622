/** Listeners that close: who has connected meanwhile is served, and waits. */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import type { Gateway } from "../src/gateway.ts";
import { Listening } from "../src/listening.ts";
import type { ByteStream, Transport } from "../src/stream.ts";
import { MemoryStream } from "./support/memory_stream.ts";
import { only } from "./support/only.ts";

test("Listening.close() holds whom it accepts until nobody can follow", async () => {
  const served: ByteStream[] = [];
  let accept: (stream: ByteStream) => void = () => {};
  let closed = (): void => {};
  const transport: Transport = {
    name: "memory",
    listen: (_options, take) => {
      accept = take;
      return Promise.resolve({
        address: { host: "127.0.0.1", port: 1 },
        close: () => new Promise<void>((resolve) => closed = resolve),
      });
    },
  };
  const gateway = only<Gateway>({ accept: (stream) => served.push(stream) });
  const listening = new Listening(transport, gateway);
  await listening.open({ port: 1 });
  assertEquals(listening.addresses, [{ host: "127.0.0.1", port: 1 }]);

  const [before, meanwhile] = [new MemoryStream(), new MemoryStream()];
  accept(before);
  assertEquals(served.length, 1);
  const closing = listening.close();
  accept(meanwhile);
  assertEquals(served.length, 1, "answered at once it would come again");
  closed();
  await closing;
  assertEquals(served.length, 2);
  assertEquals(served[1] === meanwhile, true);
});
