/** The least Hono application that answers with JSON. */
// Deno looks for packages beside mod.ts.
import { Hono } from "../node_modules/hono/dist/index.js";
import { message } from "../contents.js";

export const app = new Hono();
app.get("/json", (context) => context.json(message));
