/** The same as json.js, with the response that Headgate brings along. */
import { LightResponse } from "../../dist/mod.js";
import { message } from "../contents.js";

export const app = { fetch: () => LightResponse.json(message) };
