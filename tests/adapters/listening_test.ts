/** Conformance of the transports: addresses, failures to listen, and what
 * closing a listener leaves alone. */
import {
  assert,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { detectTransport } from "../../adapters/detect.ts";
import type { ListenError } from "../../adapters/endpoint.ts";
import type { ListenOptions, Transport } from "../../src/stream.ts";
import { test } from "node:test";
import { conform, echo, readBytes, runtime, until } from "./fixture.ts";

test("detectTransport() finds the runtime's own", async () => {
  assertEquals((await detectTransport()).name, runtime);
});

conform(
  "port 0 lets the system choose, and both ends say so",
  async (bench) => {
    const listener = await bench.listen({ port: 0 });
    assertEquals(listener.address.host, "127.0.0.1");
    assertNotEquals(listener.address.port, 0);
    await bench.connect(listener.address);
    const stream = await bench.accepted();
    assertEquals({ ...stream.local }, { ...listener.address });
    assertEquals(stream.remote.host, "127.0.0.1");
    assertNotEquals(stream.remote.port, 0);
    assertEquals(stream.encrypted, false);
  },
);

conform("IPv6 addresses are shown without brackets", async (bench) => {
  if (!hasIPv6) return;
  const [stream] = await bench.pair({ hostname: "::1", port: 0 });
  assertEquals(stream.local.host, "::1");
  assertEquals(stream.remote.host, "::1");
});

conform(
  "an IPv4 peer of a dual-stack listener is shown as IPv4",
  async (bench) => {
    if (!hasIPv6) return;
    const { address } = await bench.listen({ hostname: "::", port: 0 });
    await bench.connect({ host: "127.0.0.1", port: address.port });
    const stream = await bench.accepted();
    assertEquals(stream.remote.host, "127.0.0.1");
    assertEquals({ ...stream.local }, {
      host: "127.0.0.1",
      port: address.port,
    });
  },
);

conform(
  "a Unix-domain socket shows its path, and goes with its listener",
  async (bench) => {
    await inDirectory(async (directory) => {
      const path = join(directory, "gate.sock");
      const listener = await bench.listen({ path });
      assertEquals({ ...listener.address }, { host: path, port: 0 });
      const peer = await bench.connect(listener.address);
      const stream = await bench.accepted();
      assertEquals({ ...stream.local }, { host: path, port: 0 });
      assertEquals({ ...stream.remote }, { host: "", port: 0 });
      peer.send("hello");
      await stream.write(await readBytes(stream, 5));
      assertEquals(await peer.receiveText(5), "hello");
      stream.reset();
      await peer.untilEnded();
      await listener.close();
      assert(!existsSync(path));
    });
  },
);

conform(
  "a file in the way of a Unix-domain socket is left alone",
  async (bench, transport) => {
    await inDirectory(async (directory) => {
      const path = join(directory, "gate.sock");
      writeFileSync(path, "in the way");
      const error = await refusal(transport, { path });
      assertEquals(error.code, "EADDRINUSE");
      assert(existsSync(path));
      rmSync(path);

      const listener = await bench.listen({ path });
      assertEquals((await refusal(transport, { path })).code, "EADDRINUSE");
      await bench.connect(listener.address); // it still listens
    });
  },
);

conform(
  "a Unix-domain socket in no directory is ENOENT",
  async (_, transport) => {
    await inDirectory(async (directory) => {
      const path = join(directory, "none", "gate.sock");
      const error = await refusal(transport, { path });
      assertEquals(error.code, "ENOENT");
      assertStringIncludes(error.message, path);
    });
  },
);

conform(
  "a port in use is EADDRINUSE, in plain words",
  async (bench, transport) => {
    const { port } = (await bench.listen()).address;
    const error = await refusal(transport, { port });
    assertEquals(error.code, "EADDRINUSE");
    assertEquals(
      error.message,
      `Cannot listen on 127.0.0.1:${port}: the address is in use`,
    );
    assert(error.cause !== undefined);
  },
);

conform("reusePort shares a port, or is refused", async (bench, transport) => {
  const options = { port: 0, reusePort: true };
  try {
    const { address } = await bench.listen(options);
    await bench.listen({ port: address.port, reusePort: true });
  } catch (error) {
    assertEquals((error as ListenError).code, "ENOTSUP");
    assertEquals(transport.name, "node");
  }
});

conform("close() leaves accepted connections alive", async (bench) => {
  const listener = await bench.listen({ port: 0 }, echo);
  const peer = await bench.connect(listener.address);
  peer.send("before");
  assertEquals(await peer.receiveText(6), "before");
  await listener.close();
  await listener.close();
  await assertRejects(() => bench.connect(listener.address));
  peer.send("after");
  assertEquals(await peer.receiveText(5), "after");
  peer.end();
  await peer.untilEnded();
});

conform("a port can be listened on again after close()", async (bench) => {
  const first = await bench.listen({ port: 0 }, echo);
  const peer = await bench.connect(first.address);
  await first.close();
  const second = await bench.listen({ port: first.address.port }, echo);
  const next = await bench.connect(second.address);
  next.send("x");
  assertEquals(await next.receiveText(1), "x");
  peer.destroy();
});

conform("1,000 connections are open at once", async (bench) => {
  const count = 1000;
  let accepted = 0;
  const listener = await bench.listen({ port: 0 }, (stream) => {
    accepted++;
    echo(stream);
  });
  const peers = await Promise.all(
    Array.from({ length: count }, () => bench.connect(listener.address)),
  );
  await until(() => accepted === count, "all connections");
  peers.forEach((peer, i) => peer.send(`peer ${i}`));
  for (const [i, peer] of peers.entries()) {
    assertEquals(await peer.receiveText(`peer ${i}`.length), `peer ${i}`);
  }
});

const hasIPv6 = Object.values(networkInterfaces()).flat()
  .some((at) => at?.address === "::1");

async function refusal(
  transport: Transport,
  options: ListenOptions,
): Promise<ListenError> {
  const error = await assertRejects(() =>
    transport.listen(options, (stream) => stream.close())
  );
  return error as ListenError;
}

async function inDirectory(
  body: (directory: string) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "headgate-"));
  try {
    await body(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
