/** The routes of tests/frameworks_test.ts in H3. */
import {
  getCookie,
  getRouterParam,
  H3,
  iterable,
  readBody,
  redirect,
  setCookie,
} from "h3";
import { pieces } from "./pieces.mjs";

const app = new H3();

app.get("/json", () => ({ hello: "world" }));
app.get("/users/:id", (event) => {
  const tags = event.url.searchParams.getAll("tag");
  return { id: getRouterParam(event, "id"), tags };
});
app.post("/form", async (event) => {
  const { name, city } = await readBody(event);
  return { name, city };
});
app.post("/upload", async (event) => {
  const form = await event.req.formData();
  const { name, size } = form.get("file");
  return { note: form.get("note"), name, size };
});
app.get("/cookies", (event) => {
  setCookie(event, "a", "1");
  setCookie(event, "b", "2", { httpOnly: true });
  return { theme: getCookie(event, "theme") };
});
app.get("/stream", () => iterable(pieces()));
app.post("/echo", (event) => event.req.body);
app.get("/redirect", () => redirect("/json"));
app.post("/sum", async (event) => {
  const numbers = await readBody(event);
  return { sum: numbers.reduce((sum, each) => sum + each, 0) };
});
app.get("/throw", () => {
  throw new Error("Thrown by a route");
});

export default app;
