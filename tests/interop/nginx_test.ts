/** nginx as `examples/deploy/nginx.conf` has it. */
import { join } from "node:path";
import { test } from "node:test";
import {
  checkProxy,
  checkReload,
  deployed,
  type Place,
  type ProxyKind,
} from "./proxy.ts";

const nginx: ProxyKind = {
  name: "nginx",
  args: (path) => ["-e", "stderr", "-c", path, "-g", "daemon off;"],
  configure,
  tellsOfLeaving: true,
};

function configure({ directory, port, socket, certificate }: Place): string {
  const part = deployed("nginx.conf", [
    ["/run/headgate/app.sock", socket],
    ["listen 443 ", `listen 127.0.0.1:${port} `],
    ["/etc/ssl/example.org.pem", certificate],
    ["/etc/ssl/example.org.key", certificate],
  ]);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${join(directory, name)};`).join("\n");
  return `
user root;
worker_processes 1;
pid ${join(directory, "pid")};
error_log stderr;
events {}
http {
access_log off;
${temporary}
${part}
}
`;
}

test("nginx hands on requests, content and events", () => checkProxy(nginx));

test("nginx loses no request while Headgate reloads and restarts", () =>
  checkReload(nginx));
