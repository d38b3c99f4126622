/** Gives the event loop back for a turn. */

/** Lets everything else that is ready have its turn. */
export function nextTurn(): Promise<void> {
  const { setImmediate } = globalThis as {
    setImmediate?: (run: () => void) => void;
  };
  return new Promise((resolve) => {
    if (setImmediate === undefined) setTimeout(resolve, 0);
    else setImmediate(resolve);
  });
}
