/** The routes of tests/frameworks_test.ts in Hono. */
import { Hono } from "hono";
import { getCookie, setCookie } from "hono/cookie";
import { streamText } from "hono/streaming";

const app = new Hono();

app.get("/json", (c) => c.json({ hello: "world" }));
app.get("/users/:id", (c) => {
  return c.json({ id: c.req.param("id"), tags: c.req.queries("tag") });
});
app.post("/form", async (c) => {
  const { name, city } = await c.req.parseBody();
  return c.json({ name, city });
});
app.post("/upload", async (c) => {
  const { note, file } = await c.req.parseBody();
  return c.json({ note, name: file.name, size: file.size });
});
app.get("/cookies", (c) => {
  setCookie(c, "a", "1");
  setCookie(c, "b", "2", { httpOnly: true });
  return c.json({ theme: getCookie(c, "theme") });
});
app.get("/stream", (c) =>
  streamText(c, async (stream) => {
    for (const piece of ["one,", "two,", "three"]) {
      await stream.write(piece);
      await stream.sleep(5);
    }
  }));
app.post("/echo", (c) => c.body(c.req.raw.body));
app.get("/redirect", (c) => c.redirect("/json"));
app.post("/sum", async (c) => {
  const numbers = await c.req.json();
  return c.json({ sum: numbers.reduce((sum, each) => sum + each, 0) });
});
app.get("/throw", () => {
  throw new Error("Thrown by a route");
});

export default app;
