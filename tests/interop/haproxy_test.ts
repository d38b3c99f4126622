/** HAProxy as `examples/deploy/haproxy.cfg` has it. */
import { test } from "node:test";
import {
  checkProxy,
  checkReload,
  deployed,
  type Place,
  type ProxyKind,
} from "./proxy.ts";

const haproxy: ProxyKind = {
  name: "haproxy",
  args: (path) => ["-db", "-f", path],
  configure,
  tellsOfLeaving: true,
};

function configure({ port, socket, certificate }: Place): string {
  return deployed("haproxy.cfg", [
    ["/run/headgate/app.sock", socket],
    ["bind :443 ", `bind 127.0.0.1:${port} `],
    ["/etc/ssl/example.org.both.pem", certificate],
  ]);
}

test("HAProxy hands on requests, content and events", () =>
  checkProxy(haproxy));

test("HAProxy loses no request while Headgate reloads and restarts", () =>
  checkReload(haproxy));
