/** Finds the transport of the runtime that this program runs on.
 *
 * The adapters are imported on demand, so that a bundle for one runtime can
 * leave the others out, and none is loaded that is not used. */
import type { Transport } from "../src/stream.ts";

/** Deno's and Bun's own listeners where there are such, else `node:net`. */
export async function detectTransport(): Promise<Transport> {
  if ("Deno" in globalThis) {
    const { denoTransport } = await import("./deno.ts");
    return denoTransport;
  }
  if ("Bun" in globalThis) {
    const { bunTransport } = await import("./bun.ts");
    return bunTransport;
  }
  const { nodeTransport } = await import("./node.ts");
  return nodeTransport;
}
