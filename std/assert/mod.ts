/**
 * `@std/assert` for machines that cannot reach JSR: the same code, by way of
 * npm, with the types of the part that Headgate's tests use.
 *
 * @module
 */
// @ts-ignore deno-std ships no declarations
import * as untyped from "deno-std/assert/mod.js";

// deno-lint-ignore no-explicit-any
type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;

/** Asserts that the expression is truthy. */
export const assert: (expr: unknown, msg?: string) => asserts expr =
  untyped.assert;
/** Asserts deep equality. */
export const assertEquals: <T>(actual: T, expected: T, msg?: string) => void =
  untyped.assertEquals;
/** Asserts deep inequality. */
export const assertNotEquals: <T>(
  actual: T,
  expected: T,
  msg?: string,
) => void = untyped.assertNotEquals;
/** Asserts identity, as `Object.is` has it. */
export const assertStrictEquals: <T>(
  actual: unknown,
  expected: T,
  msg?: string,
) => asserts actual is T = untyped.assertStrictEquals;
/** Asserts that `actual` is neither null nor undefined. */
export const assertExists: <T>(
  actual: T,
  msg?: string,
) => asserts actual is NonNullable<T> = untyped.assertExists;
/** Asserts that `actual` contains `expected`. */
export const assertStringIncludes: (
  actual: string,
  expected: string,
  msg?: string,
) => void = untyped.assertStringIncludes;
/** Asserts that `actual` matches. */
export const assertMatch: (
  actual: string,
  expected: RegExp,
  msg?: string,
) => void = untyped.assertMatch;
/** Asserts that `actual` does not match. */
export const assertNotMatch: (
  actual: string,
  expected: RegExp,
  msg?: string,
) => void = untyped.assertNotMatch;
/** Asserts that `actual` is an instance of the class. */
export const assertInstanceOf: <T>(
  actual: unknown,
  // deno-lint-ignore no-explicit-any
  expectedType: abstract new (...args: any[]) => T,
  msg?: string,
) => asserts actual is T = untyped.assertInstanceOf;
/** Asserts that `actual` is greater than `expected`. */
export const assertGreater: <T>(actual: T, expected: T, msg?: string) => void =
  untyped.assertGreater;
/** Asserts that `actual` is less than `expected`. */
export const assertLess: <T>(actual: T, expected: T, msg?: string) => void =
  untyped.assertLess;
/** Asserts that the function throws, and returns what it threw. */
export const assertThrows: <E extends Error = Error>(
  fn: () => unknown,
  errorClass?: ErrorClass<E>,
  msgIncludes?: string,
  msg?: string,
) => E = untyped.assertThrows;
/** Asserts that the function rejects, and resolves with what it threw. */
export const assertRejects: <E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  errorClass?: ErrorClass<E>,
  msgIncludes?: string,
  msg?: string,
) => Promise<E> = untyped.assertRejects;
/** Fails. */
export const fail: (msg?: string) => never = untyped.fail;
