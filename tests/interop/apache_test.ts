/** Apache httpd as `examples/deploy/apache.conf` has it. */
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { checkProxy, deployed, type Place, type ProxyKind } from "./proxy.ts";

const apache: ProxyKind = {
  name: "apache2",
  args: (path) => ["-DFOREGROUND", "-f", path],
  configure,
  tellsOfLeaving: false,
};

/** Where Debian has them. */
const modules = "/usr/lib/apache2/modules";

function configure({ directory, port, socket, certificate }: Place): string {
  const part = deployed("apache.conf", [
    ["/run/headgate/app.sock", socket],
    ["<VirtualHost *:443>", `<VirtualHost 127.0.0.1:${port}>`],
    ["/etc/ssl/example.org.pem", certificate],
    ["/etc/ssl/example.org.key", certificate],
  ]);
  const names = ["mpm_event", "authz_core", "ssl", "headers", "proxy"]
    .concat("proxy_http");
  const loaded = names
    .map((name) => `LoadModule ${name}_module ${modules}/mod_${name}.so`);
  // It refuses to serve as root.
  const user = process.getuid?.() === 0 ? "User nobody\nGroup nogroup" : "";
  return `
${loaded.join("\n")}
${user}
ServerRoot ${directory}
ServerName localhost
PidFile ${join(directory, "pid")}
DefaultRuntimeDir ${directory}
ErrorLog ${join(directory, "error.log")}
Listen 127.0.0.1:${port}
${part}
`;
}

test("Apache httpd hands on requests, content and events", () =>
  checkProxy(apache));
