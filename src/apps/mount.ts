/**
 * Applications of any kind side by side, each below its path.
 *
 * ```ts ignore
 * const site = mount({
 *   "/": { wsgi: shop },
 *   "/api": hono, // whatever has a fetch(request)
 *   "/api/v1": { fetch: (request) => new Response(request.url) },
 *   "/health": { handler: health },
 *   "/docs": mount({ "/": { wsgi: pages }, "/search": { wsgi: search } }),
 * });
 * serveHandler(transport, site);
 * Deno.serve(toFetch(site));
 * ```
 *
 * What stands at a path says itself what it is: of a bare function nobody could
 * tell. The longest path that a request's begins with has it, where whole
 * segments are compared: "/api" has "/api" and "/api/x", not "/apis". Both are
 * compared decoded, as WSGI sees paths, so that an application which is guarded
 * by its path cannot be had by another spelling of it.
 *
 * A WSGI application finds the path in SCRIPT_NAME, and the rest in PATH_INFO. A
 * fetch handler and a handler see the whole URL, which is the one that its
 * client knows: a router is told its base path, as with Hono's `basePath()`; in
 * `info.environ` a fetch handler finds the two as WSGI does. A mount within a mount adds its paths to the one where it stands; what it does
 * not have is 404 and not asked of others.
 *
 * @module
 */
import { mountPoint } from "../environ.ts";
import type { Exchange, Handler } from "../exchange.ts";
import { percentDecoded } from "../http/path_octets.ts";
import type { MaybePromise } from "../stream.ts";
import type { Application } from "../wsgi.ts";
import { describe, quote } from "./contract.ts";
import { type FetchHandler, fetchHandler, type FetchOptions } from "./fetch.ts";
import { wsgi, type WsgiOptions } from "./wsgi.ts";

/** What may stand at a path. */
export type Mountable =
  | { readonly fetch: FetchHandler }
  | { readonly wsgi: Application }
  | { readonly handler: Handler }
  | Mount;

/** How what is mounted is served, each by what concerns its kind. */
export type MountOptions = Omit<WsgiOptions & FetchOptions, "scriptName">;

/** A handler that hands each exchange to what stands at its path. */
export interface Mount {
  (exchange: Exchange): MaybePromise<void>;
  /** The paths, as they are compared; "" is the root. */
  readonly paths: readonly string[];
}

/** Puts applications below their paths. A path starts with "/"; one at its end
 * makes no difference, nor does percent-encoding. Throws `TypeError` on a path
 * that is malformed or given twice, and on what does not say what it is. */
export function mount(
  places: Readonly<Record<string, Mountable>>,
  options: MountOptions = {},
): Mount {
  return mountBelow("", places, options);
}

/** How a mount is made anew where it stands within another. */
const remakings = new WeakMap<object, (base: string) => Mount>();

interface Place {
  /** As SCRIPT_NAME has it. */
  readonly path: string;
  readonly handler: Handler;
}

function mountBelow(
  base: string,
  given: Readonly<Record<string, Mountable>>,
  options: MountOptions,
): Mount {
  const places = Object.entries(given)
    .map(([key, what]): Place => {
      const path = base + readPath(key);
      return {
        path: mountPoint(path),
        handler: handlerOf(key, what, path, options),
      };
    })
    .sort((a, b) => b.path.length - a.path.length);
  const paths = places.map(({ path }) => path);
  refuseTwice(paths);
  const dispatch = (exchange: Exchange): MaybePromise<void> => {
    const { path } = exchange.head;
    const asked = path === "*" ? "" : percentDecoded(path);
    for (const place of places) {
      if (isWithin(asked, place.path)) return place.handler(exchange);
    }
    return sayNotFound(exchange);
  };
  const mounted = Object.assign(dispatch, { paths });
  remakings.set(mounted, (below) => mountBelow(below, given, options));
  return mounted;
}

/** Only these three are looked at, and `fetch` first: a router may answer to
 * any name. */
function handlerOf(
  key: string,
  what: Mountable,
  path: string,
  options: MountOptions,
): Handler {
  if (typeof what === "function") {
    const remake = remakings.get(what);
    if (remake !== undefined) return remake(path);
    throw new TypeError(
      `What is mounted at ${
        quote(key)
      } is a function, which may be anything: ` +
        "write { wsgi: app }, { fetch: handle } or { handler }",
    );
  }
  if (typeof what === "object" && what !== null) {
    if ("fetch" in what) {
      checkFunction(key, "fetch", what.fetch);
      // Called as a method, because most are written as one.
      return fetchHandler(
        (request, info, context) => what.fetch(request, info, context),
        { ...options, scriptName: path },
      );
    }
    if ("wsgi" in what) {
      checkFunction(key, "wsgi", what.wsgi);
      return wsgi(what.wsgi, { ...options, scriptName: path });
    }
    if ("handler" in what) {
      checkFunction(key, "handler", what.handler);
      return remakings.get(what.handler)?.(path) ?? what.handler;
    }
  }
  throw new TypeError(
    `What is mounted at ${quote(key)} must have a fetch, wsgi or handler; ` +
      `it is ${describe(what)}`,
  );
}

function checkFunction(key: string, kind: string, value: unknown): void {
  if (typeof value === "function") return;
  throw new TypeError(
    `The ${kind} of what is mounted at ${quote(key)} must be a function, not ${
      describe(value)
    }`,
  );
}

/** A path as a user writes it: decoded, and without a slash at its end. */
function readPath(key: string): string {
  if (!key.startsWith("/")) {
    throw new TypeError(`A path must start with "/", unlike ${quote(key)}`);
  }
  try {
    return decodeURIComponent(key).replace(/\/+$/, "");
  } catch {
    throw new TypeError(`Malformed percent-encoding in the path ${quote(key)}`);
  }
}

function refuseTwice(paths: readonly string[]): void {
  const twice = paths.find((path, at) => paths.indexOf(path) !== at);
  if (twice !== undefined) {
    throw new TypeError(`The path ${quote(twice || "/")} is given twice`);
  }
}

function isWithin(asked: string, path: string): boolean {
  return asked.startsWith(path) &&
    (asked.length === path.length || asked[path.length] === "/");
}

function sayNotFound({ response }: Exchange): MaybePromise<void> {
  const content = new TextEncoder().encode("404 Not Found\n");
  const fields = [["Content-Type", "text/plain; charset=utf-8"]] as const;
  response.start(404, "Not Found", fields, content.length);
  const pending = response.write(content);
  return pending instanceof Promise
    ? pending.then(() => response.end())
    : response.end();
}
