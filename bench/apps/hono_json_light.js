/** The same as hono_json.js, with the response that Headgate brings along. */
// Deno looks for packages beside mod.ts.
import { Hono } from "../node_modules/hono/dist/index.js";
import { LightResponse } from "../../dist/mod.js";
import { message } from "../contents.js";

export const app = new Hono();
app.get("/json", () => LightResponse.json(message));
