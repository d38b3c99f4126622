/** What has connected before a listener closes is served: the kernel resets
 * whatever it has queued when the socket goes. */

/** Without an end it would be open for as long as clients come. */
const patienceMs = 500;

/** Lets the event loop turn until the queue is empty. Whoever closes the
 * listener at once then leaves nobody in it. `queued` tells how many wait there;
 * where nobody can tell, a turn that has `accepted` nothing shows it, though
 * not for sure. */
export async function acceptQueued(
  accepted: () => number,
  queued: () => number | undefined = () => undefined,
): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (performance.now() < deadline) {
    const before = accepted();
    // The first may come before the loop has looked at the socket.
    await turn();
    await turn();
    if ((queued() ?? accepted() - before) === 0) return;
  }
}

/** Resolves right after the loop has looked for what has arrived. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
