/** Local time as logs write it. Where it is certain to be UTC, the runtime is
 * not asked: Bun takes 5 ms to load its time zones, half of what an empty
 * program takes there. */

let inUtc: () => boolean = () => false;

/** From now on `certain` tells whether local time is UTC for certain. It is
 * asked each time: a program may set its time zone while it runs. */
export function askWhetherInUtc(certain: () => boolean): void {
  inUtc = certain;
}

/** How many minutes local time was ahead of UTC at a time, in milliseconds
 * since 1970. */
export function minutesEast(time: number): number {
  return inUtc() ? 0 : -new Date(time).getTimezoneOffset();
}

/** A time in milliseconds since 1970 as local time, to the second:
 * `2026-11-22T05:24:31`. */
export function spellLocal(time: number): string {
  const local = new Date(time + minutesEast(time) * 60_000);
  return local.toISOString().slice(0, "2026-11-22T05:24:31".length);
}
