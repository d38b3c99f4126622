import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { loadHooks } from "../src/hook_names.ts";

test("loadHooks() finds hooks in either place", async () => {
  const file = {
    path: "headgate.config.ts",
    app: undefined,
    values: {},
    hooks: {},
  };
  const application = { path: "app.ts", exports: { app() {} } };
  assertEquals(await loadHooks(undefined), undefined);
  assertEquals(await loadHooks(file, application), undefined);
  const ofFile = await loadHooks({ ...file, hooks: { onExit() {} } });
  assertEquals(ofFile?.has("onExit"), true);
  const ofApplication = await loadHooks(undefined, {
    path: "app.ts",
    exports: { preRequest() {} },
  });
  assertEquals(ofApplication?.has("preRequest"), true);
});
