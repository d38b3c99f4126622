/**
 * Takes an upload of any size, and tells its length and its SHA-256.
 *
 *     deno run -A mod.ts examples/upload.ts:app
 *     bun run mod.ts examples/upload.ts:app
 *     node dist/cli.js examples/upload.ts:app    (Node 22.18 or later)
 *
 *     curl -T big.iso http://127.0.0.1:8000/
 */
import { createHash } from "node:crypto";
import type { Application, Environ } from "../mod.ts";

/** Takes PUT and POST. */
export const app: Application = async (environ, startResponse) => {
  if (!["PUT", "POST"].includes(environ.REQUEST_METHOD)) {
    startResponse("405 Method Not Allowed", [
      ["Allow", "PUT, POST"],
      ["Content-Type", "text/plain"],
    ]);
    return [new TextEncoder().encode("PUT or POST a file here\n")];
  }
  const summary = JSON.stringify(await digest(environ));
  startResponse("200 OK", [["Content-Type", "application/json"]]);
  return [new TextEncoder().encode(`${summary}\n`)];
};

/** Holds 64 KiB at a time. While it is busy with one piece, the next is not
 * read, so the client sends no faster than this. */
async function digest(
  environ: Environ,
): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash("sha256");
  let bytes = 0;
  while (true) {
    const piece = await environ["wsgi.input"].read1(65_536);
    if (piece.length === 0) return { bytes, sha256: hash.digest("hex") };
    hash.update(piece);
    bytes += piece.length;
  }
}
