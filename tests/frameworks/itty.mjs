/** The routes of tests/frameworks_test.ts in itty-router. */
import { AutoRouter } from "itty-router";
import { pieces } from "./pieces.mjs";

const router = AutoRouter();

router.get("/json", () => ({ hello: "world" }));
router.get("/users/:id", ({ params, query }) => ({
  id: params.id,
  tags: query.tag,
}));
router.post("/form", async (request) => {
  const form = await request.formData();
  return { name: form.get("name"), city: form.get("city") };
});
router.post("/upload", async (request) => {
  const form = await request.formData();
  const { name, size } = form.get("file");
  return { note: form.get("note"), name, size };
});
router.get("/cookies", (request) => {
  const theme = /theme=([^;]*)/.exec(request.headers.get("cookie"))?.[1];
  const response = Response.json({ theme });
  response.headers.append("set-cookie", "a=1; Path=/");
  response.headers.append("set-cookie", "b=2; Path=/; HttpOnly");
  return response;
});
router.get("/stream", () => {
  const source = pieces();
  const encoder = new TextEncoder();
  return new Response(
    new ReadableStream({
      async pull(controller) {
        const { done, value } = await source.next();
        if (done) controller.close();
        else controller.enqueue(encoder.encode(value));
      },
    }),
  );
});
router.post("/echo", ({ body }) => new Response(body));
router.get("/redirect", ({ url }) => Response.redirect(new URL("/json", url)));
router.post("/sum", async (request) => {
  const numbers = await request.json();
  return { sum: numbers.reduce((sum, each) => sum + each, 0) };
});
router.get("/throw", () => {
  throw new Error("Thrown by a route");
});

export default router;
