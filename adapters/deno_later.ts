/** Being called back later while Deno starts. Its timers are those of Node,
 * which it loads when they are first touched: a quarter of what an empty
 * program takes. Signals that time out are there from the beginning. */

/** For so long an application starts, and is asked for the first time. */
const startMs = 2000;

/** Calls back once, so many milliseconds later. The returned function calls
 * that off. A signal runs down nonetheless, which is why timers take over. */
export function denoLater(milliseconds: number, run: () => void): () => void {
  if (performance.now() > startMs) {
    const timer = setTimeout(run, milliseconds);
    return () => clearTimeout(timer);
  }
  const signal = AbortSignal.timeout(milliseconds);
  signal.addEventListener("abort", run);
  return () => signal.removeEventListener("abort", run);
}
