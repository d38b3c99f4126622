/** Being called back later. What a start needs of it goes through here: the
 * timers of a runtime may take their time when they are first asked for, and
 * the runtime may have others that do not. */

/** Calls back once, so many milliseconds later. The returned function calls
 * that off. Nothing ends by itself while somebody is to be called back. */
export type Later = (milliseconds: number, run: () => void) => () => void;

/** The timers that everybody has. */
export const ordinaryTimers: Later = (milliseconds, run) => {
  const timer = setTimeout(run, milliseconds);
  return () => clearTimeout(timer);
};

let timers = ordinaryTimers;

/** From now on these are used in place of the ordinary ones. */
export function useTimers(others: Later): void {
  timers = others;
}

/** Calls back once, as `Later` has it. */
export function later(milliseconds: number, run: () => void): () => void {
  return timers(milliseconds, run);
}

/** Calls back again and again, until the returned function calls it off. */
export function repeatedly(
  milliseconds: number,
  run: () => void,
): () => void {
  let callOff: () => void;
  const wait = () => {
    callOff = later(milliseconds, () => {
      wait();
      run();
    });
  };
  wait();
  return () => callOff();
}
