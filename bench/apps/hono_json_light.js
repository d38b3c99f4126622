/** The same as hono_json.js, where the responses that Hono makes are light ones:
 * the application puts them in the place of the global. */
import { LightResponse } from "../../dist/mod.js";

globalThis.Response = LightResponse;

export const { app } = await import("./hono_json.js");
