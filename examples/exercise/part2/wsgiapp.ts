/** The smallest WSGI application: a function, and no framework. */
import type { Application } from "../../../mod.ts";

const greeting = new TextEncoder().encode(
  "Hello world from a simple WSGI application!\n",
);

/** Answers every path alike. */
export const app: Application = (_environ, startResponse) => {
  startResponse("200 OK", [["Content-Type", "text/plain"]]);
  return [greeting];
};
