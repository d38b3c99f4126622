/** The least fetch handler that answers with JSON. */
import { message } from "../contents.js";

export const app = { fetch: () => Response.json(message) };
