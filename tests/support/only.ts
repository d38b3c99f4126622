/** An object that has some members of a type: to use another is a mistake of
 * the test, and throws. */
export function only<T extends object>(members: Partial<T>): T {
  return new Proxy(members, {
    get(target, name, receiver) {
      if (name in target) return Reflect.get(target, name, receiver);
      throw new Error(`The fake has no ${String(name)}`);
    },
  }) as T;
}
