/** What the daemon reads off a configuration. */
import { test } from "node:test";
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CommandError } from "../../src/command_error.ts";
import { type Config, loadConfig } from "../../src/config.ts";
import type { Flags } from "../../src/settings.ts";
import type { DaemonHost, Identity } from "../../src/daemon/host.ts";
import {
  arbiterSettings,
  detachedConfig,
  identityOf,
  unchangeable,
  workersOf,
} from "../../src/daemon/settings.ts";
import type { Host } from "../../src/host.ts";
import { only } from "../support/only.ts";

async function configOf(flags: Flags = {}): Promise<Config> {
  const host = only<Host>({ env: {} });
  const { config } = await loadConfig(
    { app: undefined, flags, file: null },
    host,
  );
  return config;
}

test("workersOf() takes the number, or the cores", async () => {
  assertEquals(workersOf(await configOf({ workers: "7" }), 2), 7);
  assertEquals(workersOf(await configOf({ workers: "auto" }), 2), 2);
});

test("arbiterSettings() has what the arbiter goes by", async () => {
  const flags = {
    workers: "auto",
    "graceful-timeout": "3",
    "timeout": "0",
    "boot-timeout": "5",
    "max-requests": "100",
    "max-requests-jitter": "10",
    "max-rss": "64M",
  };
  assertEquals(arbiterSettings(await configOf(flags), 6), {
    workers: 6,
    graceSeconds: 3,
    timeoutSeconds: Infinity,
    bootSeconds: 5,
    maxRequests: 100,
    maxRequestsJitter: 10,
    maxRssBytes: 64 * 1024 ** 2,
  });
});

const detached: [flags: Flags, file: string, access: string, pid: string][] = [
  [{}, "headgate.log", "headgate.log", "headgate.pid"],
  [{ pidfile: "/run/a.pid" }, "/run/a.log", "/run/a.log", "/run/a.pid"],
  [{ pidfile: "/run/a" }, "/run/a.log", "/run/a.log", "/run/a"],
  [{ pidfile: "a.pid.b" }, "a.pid.b.log", "a.pid.b.log", "a.pid.b"],
  [{ "access-log": "off" }, "headgate.log", "off", "headgate.pid"],
  [{ "log-file": "x" }, "x", "x", "headgate.pid"],
  [{ "log-file": "x", "access-log": "-" }, "x", "x", "headgate.pid"],
  [{ "log-file": "x", "access-log": "y" }, "x", "y", "headgate.pid"],
];

for (const [flags, logFile, accessLog, pidfile] of detached) {
  test(`detachedConfig() of ${JSON.stringify(flags)}`, async () => {
    const config = await configOf(flags);
    assertEquals(detachedConfig(config), {
      ...config,
      logFile,
      accessLog,
      pidfile,
    });
  });
}

test("detachedConfig() of what is detached is the same", async () => {
  const once = detachedConfig(await configOf());
  assertEquals(detachedConfig(once), once);
});

test("unchangeable() names what takes a restart, and nothing else", async () => {
  const before = await configOf();
  assertEquals(unchangeable(before, await configOf()), []);
  const changes: Flags = {
    "bind": ["8001", "8002"],
    "pidfile": "b.pid",
    "log-level": "debug",
    "workers": "5",
    "timeout": "0",
    "user": "www",
  };
  assertEquals(unchangeable(before, await configOf(changes)), [
    "bind has changed; that takes a stop and a start",
    "pidfile has changed; that takes a stop and a start",
    "user has changed; that takes a restart",
  ]);
  assertEquals(
    unchangeable(
      await configOf({ bind: ["8001", "8002"] }),
      await configOf({ bind: ["8002", "8001"] }),
    ),
    ["bind has changed; that takes a stop and a start"],
  );
});

const accounts = only<DaemonHost>({
  findUser: (name) => name === "www" ? { uid: 33, gid: 34 } : undefined,
  findGroup: (name) => name === "staff" ? 50 : undefined,
});

const identities: [flags: Flags, identity: Identity | undefined][] = [
  [{}, undefined],
  [{ user: "www" }, { uid: 33, gid: 34 }],
  [{ group: "staff" }, { gid: 50 }],
  [{ user: "www", group: "staff" }, { uid: 33, gid: 50 }],
];

for (const [flags, identity] of identities) {
  test(`identityOf() ${JSON.stringify(flags)}`, async () => {
    assertEquals(identityOf(await configOf(flags), accounts), identity);
  });
}

for (const [flag, name] of [["user", "nobody-here"], ["group", "none"]]) {
  test(`identityOf() refuses a ${flag} that there is not`, async () => {
    const config = await configOf({
      user: "www",
      [String(flag)]: String(name),
    });
    const error = assertThrows(
      () => identityOf(config, accounts),
      CommandError,
    );
    assertEquals(error.exitCode, 2);
    assertStringIncludes(
      error.message,
      `--${flag}: there is no ${flag} ${name}`,
    );
  });
}
