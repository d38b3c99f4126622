/** An application that neither reads its input nor answers. */

/** Waits for ever. */
export function app(_environ, _startResponse) {
  return new Promise(() => {});
}
