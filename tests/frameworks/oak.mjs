/** The routes of tests/frameworks_test.ts in oak. */
import { Application, Router } from "@oakserver/oak";
import { pieces } from "./pieces.mjs";

const router = new Router();

router.get("/json", ({ response }) => {
  response.body = { hello: "world" };
});
router.get("/users/:id", ({ params, request, response }) => {
  const tags = request.url.searchParams.getAll("tag");
  response.body = { id: params.id, tags };
});
router.post("/form", async ({ request, response }) => {
  const form = await request.body.form();
  response.body = { name: form.get("name"), city: form.get("city") };
});
router.post("/upload", async ({ request, response }) => {
  const form = await request.body.formData();
  const { name, size } = form.get("file");
  response.body = { note: form.get("note"), name, size };
});
router.get("/cookies", async ({ cookies, response }) => {
  await cookies.set("a", "1", { httpOnly: false });
  await cookies.set("b", "2");
  response.body = { theme: await cookies.get("theme") };
});
router.get("/stream", ({ response }) => {
  response.type = "text/plain";
  response.body = pieces();
});
router.post("/echo", ({ request, response }) => {
  response.body = request.body.stream;
});
router.get("/redirect", ({ response }) => response.redirect("/json"));
router.post("/sum", async ({ request, response }) => {
  const numbers = await request.body.json();
  response.body = { sum: numbers.reduce((sum, each) => sum + each, 0) };
});
router.get("/throw", () => {
  throw new Error("Thrown by a route");
});

const app = new Application({ logErrors: false });
app.use(router.routes());
app.use(router.allowedMethods());

export default { fetch: app.fetch };
