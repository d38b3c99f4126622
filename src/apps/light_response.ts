/**
 * A `Response` that costs next to nothing as long as all that happens to it is
 * being sent: what it was made of stays at hand, and the rest of a `Response` is
 * made when it is asked for.
 *
 * Where the runtime's `Response` is native code that takes nothing but its own
 * (Bun), a light one is a real one that remembers. Everywhere else making a real
 * one is what costs, on Node more than all the rest of a request, so a light one
 * is made into it when it must be. No global is changed unless that is asked for.
 *
 * @module
 */
import type { ResponseFields } from "../exchange.ts";
import {
  areParts,
  type Body,
  jsonFields,
  jsonOf,
  listOf,
  partsOf,
  type ResponseHead,
  type ResponseParts,
} from "./response_parts.ts";
import { RuntimeResponse, runtimes } from "./runtime_response.ts";

/** A `Response` for those who want speed. An instance behaves as one and is an
 * `instanceof Response`; text and octets, with fields in an ordinary object, are
 * sent without any of the runtime's machinery for bodies. Anything else it can
 * be made of, and anything beyond its status, fields and `clone()` that is asked
 * of it, makes it as dear as a `Response`.
 *
 * It is worth it on Node, and on Bun for bodies that do not stream. On Node 24
 * and later, and there alone, what the runtime itself asks of a `Response`
 * (`WebAssembly.compileStreaming`) refuses it. A framework uses it where the
 * application returns it; for responses that the framework makes itself, an
 * application can put it in the place of the global one, or have the program do
 * that (`--response light`): `globalThis.Response = LightResponse as typeof
 * Response`. Every response is `instanceof` it.
 *
 * ```ts ignore
 * import { LightResponse } from "@headgate/headgate";
 *
 * export default { fetch: () => LightResponse.json({ hello: "world" }) };
 * ```
 */
export type LightResponse = Response;

/** What {@linkcode LightResponse} is as a class. */
export interface LightResponseConstructor {
  /** Makes one as `new Response(body, init)` does, and refuses what that
   * refuses. */
  new (...given: ConstructorParameters<typeof Response>): Response;
  /** Of `Response`, but for what it does by itself. */
  readonly prototype: Response;
  /** Makes one as `Response.json(data, init)` does. */
  json(data: unknown, init?: ResponseInit): Response;
  /** As `Response.error()`, which is an ordinary one. */
  error(): Response;
  /** As `Response.redirect()`, which is an ordinary one. */
  redirect(url: string | URL, status?: number): Response;
}

// An application may have its own copy of this module, so all copies go by one
// name.
const take: unique symbol = Symbol.for("headgate.takeParts") as never;
const real: unique symbol = Symbol.for("headgate.realResponse") as never;

interface Light {
  [take](): ResponseParts | undefined;
}

/** Whether a subclass, or a property of its own, has something else sent than
 * what it was made of. */
function isOverridden(
  response: Pick<Response, "status" | "statusText">,
  { status, statusText }: ResponseHead,
  { prototype }: { readonly prototype: object },
): boolean {
  if (
    response.status !== status || response.statusText !== statusText ||
    Object.hasOwn(response, "headers")
  ) return true;
  let kind = Object.getPrototypeOf(response);
  for (; kind !== prototype; kind = Object.getPrototypeOf(kind)) {
    if (Object.hasOwn(kind, "headers") || Object.hasOwn(kind, "body")) {
      return true;
    }
  }
  return false;
}

/** Where it takes a real one to know what that means, it is one. */
function lightJson(
  light: new (body: Body, init: undefined, parts: ResponseParts) => unknown,
  data: unknown,
  init: ResponseInit | undefined,
): Response {
  const parts = partsOf(jsonOf(data), init, jsonFields);
  return parts === undefined
    ? RuntimeResponse.json(data, init)
    : new light(null, undefined, parts) as Response;
}

/** Takes what a light response was made of, which uses up its body as reading
 * it would. Undefined where it must be asked as any other. */
export function takeParts(response: unknown): ResponseParts | undefined {
  return (response as Partial<Light> | null | undefined)?.[take]?.();
}

function initOf(
  { status, statusText }: ResponseHead,
  fields: ResponseFields,
): ResponseInit {
  return fields === jsonFields && status === 200 && statusText === ""
    ? jsonInit
    : { status, statusText, headers: fields as [string, string][] };
}

/** To copy the fields of: on Bun cheaper than making them of names and values. */
const jsonInit: ResponseInit = new RuntimeResponse(null, {
  headers: { "content-type": "application/json" },
});

// ---- One that is made into a real one ----

class LazyResponse implements Light {
  #parts: ResponseParts | undefined;
  /** The fields, once somebody has them in hand. */
  #headers: Headers | undefined;
  #real: Response | undefined;
  /** It was sent. */
  #spent = false;

  /** `parts` are what it is made of instead, if they are ours. */
  constructor(body?: Body, init?: ResponseInit, parts?: unknown) {
    this.#parts = areParts(parts) ? parts : partsOf(body, init);
    if (this.#parts === undefined) this.#real = new RuntimeResponse(body, init);
  }

  static json(data: unknown, init?: ResponseInit): Response {
    return lightJson(LazyResponse, data, init);
  }

  [take](): ResponseParts | undefined {
    const parts = this.#parts;
    if (
      parts === undefined || this.#real !== undefined || this.#spent ||
      isOverridden(this, parts, LazyResponse)
    ) return undefined;
    if (parts.content !== null) this.#spent = true;
    return this.#headers === undefined
      ? parts
      : { ...parts, fields: listOf(this.#headers) };
  }

  // As all of `Response.prototype`, these may be called by hand with a response
  // of the runtime's, where ours stands in for it.

  get status(): number {
    if (!(#parts in this)) return asked("status", this);
    return (this.#parts ?? this.#real!).status;
  }

  get ok(): boolean {
    if (!(#parts in this)) return asked("ok", this);
    const { status } = this.#parts ?? this.#real!;
    return status >= 200 && status <= 299;
  }

  get statusText(): string {
    if (!(#parts in this)) return asked("statusText", this);
    return (this.#parts ?? this.#real!).statusText;
  }

  get headers(): Headers {
    if (!(#parts in this)) return asked("headers", this);
    if (this.#parts === undefined) return this.#real!.headers;
    return this.#headers ??= new Headers(
      this.#parts.fields as [string, string][],
    );
  }

  get bodyUsed(): boolean {
    if (!(#parts in this)) return asked("bodyUsed", this);
    return this.#real?.bodyUsed ?? this.#spent;
  }

  clone(): Response {
    if (!(#parts in this)) return asked("clone", this).call(this);
    if (this.#parts === undefined) return this.#real!.clone();
    if (this.bodyUsed) throw new TypeError("The body was read already");
    const { status, statusText, content } = this.#parts;
    const init = { status, statusText };
    if (this.#real !== undefined) {
      const { body } = this.#real.clone();
      return new RuntimeResponse(body, { ...init, headers: this.headers });
    }
    const copy = new LazyResponse(content, init);
    copy.#headers = new Headers(this.headers);
    return copy as unknown as Response;
  }

  /** One of the runtime's own. */
  [real](): Response {
    const made = this.#real ??= this.#makeReal(this.#parts!);
    if (this.#headers !== undefined) assign(made.headers, this.#headers);
    return made;
  }

  #makeReal(parts: ResponseParts): Response {
    const made = new RuntimeResponse(
      parts.content,
      initOf(parts, parts.fields),
    );
    if (this.#spent) void made.body?.cancel();
    return made;
  }
}

/** Makes the ones what the others are. */
function assign(headers: Headers, others: Headers): void {
  for (const name of [...headers.keys()]) headers.delete(name);
  others.forEach((value, name) => headers.append(name, value));
}

/** Has everything that it does not answer itself asked of a real one: what is
 * left of the interface, and where the runtime keeps what a response is under
 * symbols (Node up to 22, Deno), these, too. */
function forwardRest(): void {
  const { prototype } = LazyResponse;
  Object.setPrototypeOf(prototype, RuntimeResponse.prototype);
  Object.setPrototypeOf(LazyResponse, RuntimeResponse);
  const described = Object.getOwnPropertyDescriptors(RuntimeResponse.prototype);
  for (const [name, theirs] of Object.entries(described)) {
    if (name === "constructor") continue;
    if (Object.hasOwn(prototype, name)) showProperty(prototype, name);
    else if (theirs.get === undefined) forwardMethod(name, theirs.value);
    else forwardProperty(name);
  }
  const kept = new RuntimeResponse(null);
  for (const symbol of Object.getOwnPropertySymbols(kept)) {
    forwardProperty(symbol);
  }
}

/** As it is, and to be enumerated as those of the runtime are. */
function showProperty(prototype: object, name: string): void {
  Object.defineProperty(prototype, name, { enumerable: true });
}

function forwardMethod(
  name: string,
  method: (...given: unknown[]) => unknown,
): void {
  Object.defineProperty(LazyResponse.prototype, name, {
    configurable: true,
    enumerable: true,
    writable: true,
    value(this: object, ...given: unknown[]) {
      return Reflect.apply(method, realOf(this), given);
    },
  });
}

function forwardProperty(name: string | symbol): void {
  Object.defineProperty(LazyResponse.prototype, name, {
    configurable: true,
    enumerable: typeof name === "string",
    get(this: object) {
      const made = realOf(this);
      const value: unknown = Reflect.get(made, name, made);
      return typeof value === "function" ? value.bind(made) : value;
    },
    set(this: object, value: unknown) {
      const made = realOf(this);
      Reflect.set(made, name, value, made);
    },
  });
}

/** One of the runtime's own, which it may be already. */
function realOf(response: object): object {
  return (response as Partial<LazyResponse>)[real]?.() ?? response;
}

function asked<Name extends keyof Response>(
  name: Name,
  response: object,
): Response[Name] {
  return Reflect.get(RuntimeResponse.prototype, name, response);
}

// ---- A real one that remembers ----

class KeptResponse extends RuntimeResponse implements Light {
  readonly #parts: ResponseParts | undefined;
  /** Its fields may have been changed. */
  #fieldsAsked = false;
  #spent = false;

  /** `parts` are what it is made of instead, if they are ours. */
  constructor(body?: Body, init?: ResponseInit, parts?: unknown) {
    const known = areParts(parts) ? parts : partsOf(body, init);
    super(
      known === undefined ? body : known.content,
      known === undefined ? init : initOf(known, known.fields),
    );
    this.#parts = known;
  }

  static override json(data: unknown, init?: ResponseInit): Response {
    return lightJson(KeptResponse, data, init);
  }

  [take](): ResponseParts | undefined {
    const parts = this.#parts;
    // A body that somebody has a reader of counts as used on Bun.
    if (
      parts === undefined || this.bodyUsed ||
      isOverridden(this, parts, KeptResponse)
    ) return undefined;
    if (parts.content !== null) this.#spent = true;
    return this.#fieldsAsked
      ? { ...parts, fields: listOf(super.headers) }
      : parts;
  }

  override get headers(): Headers {
    // Either may be called by hand, with a response of the runtime's.
    if (#fieldsAsked in this) this.#fieldsAsked = true;
    return super.headers;
  }

  override get bodyUsed(): boolean {
    return (#spent in this && this.#spent) || super.bodyUsed;
  }
}

/** Has it look as the runtime's: all of the interface in one place. */
function showRest(): void {
  const { prototype } = KeptResponse;
  const described = Object.getOwnPropertyDescriptors(RuntimeResponse.prototype);
  for (const [name, theirs] of Object.entries(described)) {
    if (name === "constructor") continue;
    if (Object.hasOwn(prototype, name)) showProperty(prototype, name);
    else Object.defineProperty(prototype, name, theirs);
  }
}

// ---- Which of the two ----

/** Native code takes nothing but its own. */
const isNative = /\{\s*\[native code\]\s*\}\s*$/.test(
  Function.prototype.toString.call(RuntimeResponse),
);

/** Puts it in the place of the global `Response`, for whatever is loaded from now
 * on. */
export function standInForResponse(): void {
  globalThis.Response = LightResponse as typeof Response;
}

/** See {@linkcode LightResponse | the type}. */
export const LightResponse: LightResponseConstructor = chosen();

function chosen(): LightResponseConstructor {
  if (isNative) showRest();
  else forwardRest();
  const made = isNative ? KeptResponse : LazyResponse;
  Object.defineProperties(made, {
    name: { value: "LightResponse" },
    length: { value: RuntimeResponse.length },
    [runtimes]: { value: RuntimeResponse },
    // Where it stands in for `Response`, every response is one.
    [Symbol.hasInstance]: {
      value(this: unknown, value: unknown) {
        return this === made
          ? value instanceof RuntimeResponse
          : Function.prototype[Symbol.hasInstance].call(this, value);
      },
    },
  });
  return made as unknown as LightResponseConstructor;
}
