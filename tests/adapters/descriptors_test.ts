/** Sockets as /proc tells of them, against sockets that are really there. */
import { assert, assertEquals } from "@std/assert";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import {
  holdsAbstractName,
  inheritedPath,
  listenersOn,
  openSockets,
  type SocketEntry,
  socketInode,
  socketTable,
} from "../../adapters/descriptors.ts";
import { canonicalIp } from "../../adapters/endpoint.ts";

const onLinux = process.platform === "linux";

/** Listens while the body runs, and hands over the table's entry. */
async function listening(
  where: { host?: string; port?: number; path?: string },
  body: (entry: SocketEntry, server: Server) => void,
): Promise<void> {
  const before = openSockets();
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, resolve);
  });
  try {
    const table = socketTable();
    const found = [...openSockets()].flatMap(([inode, fd]) => {
      assertEquals(socketInode(fd), inode);
      return before.has(inode) ? [] : table.get(inode) ?? [];
    });
    assertEquals(found.length, 1, JSON.stringify(found));
    body(found[0]!, server);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

function portOf(server: Server): number {
  return (server.address() as { port: number }).port;
}

test("socketTable() reads addresses of both families", async () => {
  if (!onLinux) return;
  const hosts = ["127.0.0.1", "127.1.2.3", "0.0.0.0", "::1", "::"];
  for (const host of hosts) {
    await listening({ host, port: 0 }, (entry, server) => {
      assert(entry.listening);
      assertEquals(entry.address, { host, port: portOf(server) });
      assertEquals(listenersOn(portOf(server)).map(({ address }) => address), [
        entry.address,
      ]);
    });
  }
});

test("socketTable() shows an IPv4 address of an IPv6 socket as IPv4", async () => {
  if (!onLinux) return;
  await listening({ host: "::ffff:127.0.0.1", port: 0 }, ({ address }) => {
    assertEquals(address.host, "127.0.0.1");
  });
});

test("socketTable() reads paths, spaces included", async () => {
  if (!onLinux) return;
  const directory = mkdtempSync(join(tmpdir(), "headgate-"));
  try {
    const path = join(directory, "a  socket.sock");
    await listening({ path }, (entry) => {
      assert(entry.listening);
      assertEquals(entry.address, { host: path, port: 0 });
      const fd = openSockets().get(entry.inode)!;
      assertEquals(inheritedPath({ fd }), path);
      assertEquals(inheritedPath({ fd, path: "other" }), undefined);
      assertEquals(inheritedPath({ fd, hostname: "::1" }), undefined);
    });
    await listening({ port: 0 }, ({ inode }) => {
      assertEquals(inheritedPath({ fd: openSockets().get(inode)! }), undefined);
    });
    assertEquals(inheritedPath({ port: 8000 }), undefined);
    assertEquals(inheritedPath({ fd: 5000 }), undefined);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test("holdsAbstractName() knows a name whatever its length on the wire", async () => {
  if (!onLinux) return;
  const name = `headgate:test ${process.pid}`;
  assert(!holdsAbstractName(name));
  await listening({ path: `\0${name}` }, () => {
    assert(holdsAbstractName(name));
    assert(!holdsAbstractName(name.slice(0, -1)));
    assert(!holdsAbstractName(`${name}@`));
  });
  assert(!holdsAbstractName(name));
});

test("socketInode() tells sockets from the rest", () => {
  if (!onLinux) return;
  const fd = openSync("/dev/null", "r");
  try {
    assertEquals(socketInode(fd), undefined);
    assertEquals(socketInode(5000), undefined);
  } finally {
    closeSync(fd);
  }
});

test("canonicalIp() has one spelling for each address", () => {
  assertEquals(canonicalIp("127.0.0.1"), "127.0.0.1");
  assertEquals(canonicalIp("0:0:0:0:0:0:0:1"), "::1");
  assertEquals(canonicalIp("2001:DB8:0:0:1:0:0:1"), "2001:db8::1:0:0:1");
  assertEquals(canonicalIp("fe80::1%eth0"), "fe80::1%eth0");
});
