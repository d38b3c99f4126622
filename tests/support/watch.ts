/** Waits for a thing, never for a time. */

/** How long a test waits before it is given up. */
const deadlineMs = 25_000;

/** Conditions over something that says when it has changed. */
export class Watch {
  readonly #observers = new Set<() => void>();

  /** Looks at every condition that is waited for. */
  changed(): void {
    for (const observe of [...this.#observers]) observe();
  }

  /** Settles as soon as `condition` holds; it is looked at now and at every
   * change. Rejects after 25 seconds, and tells what `state` then says. */
  until(condition: () => boolean, what: string, state: () => string): Promise<
    void
  > {
    if (condition()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const observe = () => {
        if (!condition()) return;
        clearTimeout(timer);
        this.#observers.delete(observe);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#observers.delete(observe);
        reject(new Error(`Waited in vain for ${what}: ${state()}`));
      }, deadlineMs);
      this.#observers.add(observe);
    });
  }
}
