/**
 * The version, told once.
 *
 * @module
 */

/** Headgate's version; `deno.json` and `package.json` carry the same. */
export const version = "0.1.0";
