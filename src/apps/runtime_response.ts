/** The runtime's own `Response`, also where an application has put a light one in
 * the place of the global. */

/** Under which a class that stands in for `Response` has the runtime's own. An
 * application may have its own copy of this module, so all copies go by one
 * name. */
export const runtimes: unique symbol = Symbol.for(
  "headgate.runtimeResponse",
) as never;

interface StandIn {
  readonly [runtimes]?: typeof Response;
}

/** What `Response` was before ours stood in for it. */
export const RuntimeResponse: typeof Response =
  (Response as StandIn)[runtimes] ?? Response;
