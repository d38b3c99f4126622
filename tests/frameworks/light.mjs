/** An application of this directory, named by LIGHT_APP, that has LightResponse in
 * the place of the global Response. */
import process from "node:process";

const { LightResponse } = "Deno" in globalThis || "Bun" in globalThis
  ? await import("../../mod.ts")
  : await import("../../dist/mod.js");
globalThis.Response = LightResponse;

const { default: app } = await import(`./${process.env.LIGHT_APP}`);
export default app;
