/** Finds what the runtime that this program runs on is served by.
 *
 * The adapters are imported on demand, so that a bundle for one runtime can
 * leave the others out, and none is loaded that is not used. */
import type { DaemonHost } from "../src/daemon/host.ts";
import type { DevHost, Host } from "../src/host.ts";
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

/** The process: over `Deno` where that is, else over `node:` modules. */
export async function detectProcessHost(): Promise<Host> {
  if ("Deno" in globalThis) {
    const { denoProcessHost } = await import("./deno_process_host.ts");
    return denoProcessHost;
  }
  const { processHost } = await import("./process_host.ts");
  return processHost;
}

/** Other processes, over the `node:` modules that the runtimes share. */
export async function loadDaemonHost(): Promise<DaemonHost> {
  const { daemonHost } = await import("./daemon_host.ts");
  return daemonHost;
}

/** Files that change, keys and the browser, for a developer's server. */
export async function loadDevHost(): Promise<DevHost> {
  const { devHost } = await import("./dev_host.ts");
  return devHost;
}
