/** The routes of tests/frameworks_test.ts in Elysia. */
import { Elysia, t } from "elysia";
import { pieces } from "./pieces.mjs";

export default new Elysia()
  .get("/json", () => ({ hello: "world" }))
  .get("/users/:id", ({ params, query }) => ({
    id: params.id,
    tags: query.tag,
  }), { query: t.Object({ tag: t.Array(t.String()) }) })
  .post("/form", ({ body }) => ({ name: body.name, city: body.city }))
  .post("/upload", ({ body: { note, file } }) => ({
    note,
    name: file.name,
    size: file.size,
  }))
  .get("/cookies", ({ cookie }) => {
    cookie.a.set({ value: "1", path: "/" });
    cookie.b.set({ value: "2", path: "/", httpOnly: true });
    return { theme: cookie.theme.value };
  })
  .get("/stream", pieces)
  .post("/echo", ({ request }) => new Response(request.body), { parse: "none" })
  .get("/redirect", ({ redirect, request }) =>
    // Off Bun, a target that is relative is refused.
    redirect(new URL("/json", request.url).href))
  .post("/sum", ({ body }) => ({
    sum: body.reduce((sum, each) => sum + each, 0),
  }))
  .get("/throw", () => {
    throw new Error("Thrown by a route");
  });
