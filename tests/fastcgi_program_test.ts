/** The command line over PHP-FPM: one process, and workers. */
import { test } from "node:test";
import { assertEquals, assertMatch } from "@std/assert";
import { startPhpFpm } from "./support/php_fpm.ts";
import { startProgram } from "./support/program.ts";

for (const workers of [[], ["--workers", "2"]]) {
  const how = workers.length === 0 ? "one process" : "workers";
  test(`headgate serves the scripts of PHP-FPM with ${how}`, async () => {
    await using php = await startPhpFpm(2);
    if (php === undefined) return;
    await using program = await startProgram([
      `fastcgi+unix:${php.socket}`,
      "--root",
      "tests/php",
      ...workers,
    ]);
    const ask = (path: string, init?: RequestInit) =>
      fetch(program.address + path, init);
    const front = await (await ask("/a/b?c")).json();
    assertMatch(front.file, /\/tests\/php\/index\.php$/);
    assertEquals([front.script, front.uri], ["/index.php", "/a/b?c"]);
    const body = new URLSearchParams({ name: "value" });
    const form = await (await ask("/form", { method: "POST", body })).json();
    assertEquals(form.post, { name: "value" });
    const style = await ask("/style.css");
    assertEquals(await style.text(), "body {\n  color: black;\n}\n");
    await php.stop();
    const gone = await ask("/form");
    assertEquals([gone.status, await gone.text()], [502, "502 Bad Gateway\n"]);
    program.kill("SIGTERM");
    assertEquals(await program.exited, { code: 0, signal: null });
    assertMatch(program.output(), /GET \/form: 502: .* cannot be reached/);
  });
}
