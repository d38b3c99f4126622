/**
 * A `Response` that costs next to nothing as long as all that happens to it is
 * being sent: what it was made of stays at hand, and the rest of a `Response` is
 * made when it is asked for.
 *
 * Where the runtime's `Response` is native code that takes nothing but its own
 * (Bun), a light one is a real one that remembers. Everywhere else making a real
 * one is what costs, on Node more than all the rest of a request, so a light one
 * is made into it when it must be. No global is changed.
 *
 * @module
 */
import type { ResponseFields } from "../exchange.ts";

/** A `Response` for those who want speed. An instance behaves as one and is an
 * `instanceof Response`; text and octets, with fields in an ordinary object, are
 * sent without any of the runtime's machinery for bodies. Anything else it can
 * be made of, and anything beyond its status, fields and `clone()` that is asked
 * of it, makes it as dear as a `Response`.
 *
 * It is worth it on Node, and on Bun for bodies that do not stream. On Node 24
 * and later, and there alone, what the runtime itself asks of a `Response`
 * (`WebAssembly.compileStreaming`) refuses it. A framework uses it where the
 * application returns it, not for responses that the framework makes itself.
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

/** What a `Response` is made of. (Not every library of types has a name for
 * it.) */
type Body = ConstructorParameters<typeof Response>[0];

/** What a response says beside its content. */
export interface ResponseHead {
  readonly status: number;
  readonly statusText: string;
  readonly fields: ResponseFields;
}

/** What a response was made of. */
export interface ResponseParts extends ResponseHead {
  /** Not to be written to; null for no body. */
  readonly content: string | Uint8Array<ArrayBuffer> | null;
}

/** An application may have its own copy of this module, so all copies go by one
 * name. */
const take: unique symbol = Symbol.for("headgate.takeParts") as never;

interface Light {
  [take](): ResponseParts | undefined;
}

/** Takes what a light response was made of, which uses up its body as reading
 * it would. Undefined where it must be asked as any other. */
export function takeParts(response: unknown): ResponseParts | undefined {
  return (response as Partial<Light> | null | undefined)?.[take]?.();
}

// ---- What they are made of ----

const textFields: ResponseFields = [
  ["content-type", "text/plain;charset=UTF-8"],
];
const jsonFields: ResponseFields = [["content-type", "application/json"]];
const noFields: ResponseFields = [];

/** Undefined where it takes a real one to know, or to refuse it. */
function partsOf(
  body: Body,
  init: ResponseInit | undefined,
  typeFields: ResponseFields,
): ResponseParts | undefined {
  const content = contentOf(body);
  if (content === undefined) return undefined;
  const ofContent = typeof content === "string" ? typeFields : noFields;
  if (init === undefined || init === null) {
    return { status: 200, statusText: "", fields: ofContent, content };
  }
  // As in `new Response(text, 404)`.
  if (typeof init !== "object" && typeof init !== "function") return undefined;
  const { headers } = init;
  // As Web IDL reads them.
  const status = init.status === undefined ? 200 : Number(init.status) & 0xffff;
  const statusText = init.statusText === undefined ? "" : `${init.statusText}`;
  if (
    status < 200 || status > 599 || !isReasonPhrase(statusText) ||
    (headers as unknown) === null ||
    (content !== null && withoutBody.has(status))
  ) return undefined;
  const fields = fieldsIn(headers, ofContent);
  return { status, statusText, fields, content };
}

/** Statuses that a `Response` with a body refuses. */
const withoutBody: ReadonlySet<number> = new Set([204, 205, 304]);

function contentOf(
  body: Body,
): string | Uint8Array<ArrayBuffer> | null | undefined {
  if (typeof body === "string") return body;
  if (body === undefined || body === null) return null;
  // As every Response does: the application may write to its own again.
  return body instanceof Uint8Array ? new Uint8Array(body) : undefined;
}

/** The fields that are given, and the type where they have none. */
function fieldsIn(
  headers: HeadersInit | undefined,
  typeFields: ResponseFields,
): ResponseFields {
  if (headers === undefined) return typeFields;
  const fields = ordinary(headers) ?? listOf(new Headers(headers));
  const typed = fields.some(([name]) => name === "content-type");
  return typed ? fields : [...fields, ...typeFields];
}

/** Those in an ordinary object that names each once, and as it will be sent.
 * What others mean, or what is wrong with them, `Headers` knows. */
function ordinary(headers: HeadersInit): ResponseFields | undefined {
  if (typeof headers !== "object" || Symbol.iterator in headers) {
    return undefined;
  }
  const fields: [string, string][] = [];
  for (const key of Object.keys(headers)) {
    const value: unknown = headers[key];
    const name = key.toLowerCase();
    if (
      typeof value !== "string" || !isValue(value) || !isToken(name) ||
      fields.some(([other]) => other === name)
    ) return undefined;
    fields.push([name, value]);
  }
  return fields;
}

function isToken(name: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name);
}

function isReasonPhrase(text: string): boolean {
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(text);
}

/** Nothing that would be refused, or stripped. */
function isValue(value: string): boolean {
  return /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/
    .test(value);
}

function jsonOf(data: unknown): string {
  const text: string | undefined = JSON.stringify(data);
  if (text === undefined) throw new TypeError("The data is no JSON");
  return text;
}

function listOf(headers: Headers): ResponseFields {
  const fields: [string, string][] = [];
  headers.forEach((value, name) => fields.push([name, value]));
  return fields;
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
const jsonInit: ResponseInit = new Response(null, {
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

  constructor(
    body?: Body,
    init?: ResponseInit,
    typeFields: ResponseFields = textFields,
  ) {
    this.#parts = partsOf(body, init, typeFields);
    if (this.#parts === undefined) this.#real = new Response(body, init);
  }

  static json(data: unknown, init?: ResponseInit): Response {
    const light = new LazyResponse(jsonOf(data), init, jsonFields);
    return light as unknown as Response;
  }

  [take](): ResponseParts | undefined {
    const parts = this.#parts;
    if (parts === undefined || this.#real !== undefined || this.#spent) {
      return undefined;
    }
    if (parts.content !== null) this.#spent = true;
    return this.#headers === undefined
      ? parts
      : { ...parts, fields: listOf(this.#headers) };
  }

  get status(): number {
    return (this.#parts ?? this.#real!).status;
  }

  get ok(): boolean {
    return this.status <= 299;
  }

  get statusText(): string {
    return (this.#parts ?? this.#real!).statusText;
  }

  get headers(): Headers {
    if (this.#parts === undefined) return this.#real!.headers;
    return this.#headers ??= new Headers(
      this.#parts.fields as [string, string][],
    );
  }

  get bodyUsed(): boolean {
    return this.#real?.bodyUsed ?? this.#spent;
  }

  clone(): Response {
    if (this.#parts === undefined) return this.#real!.clone();
    if (this.bodyUsed) throw new TypeError("The body was read already");
    const { status, statusText, content } = this.#parts;
    const init = { status, statusText };
    if (this.#real !== undefined) {
      const { body } = this.#real.clone();
      return new Response(body, { ...init, headers: this.headers });
    }
    const copy = new LazyResponse(content, init);
    copy.#headers = new Headers(this.headers);
    return copy as unknown as Response;
  }

  /** One of the runtime's own. */
  real(): Response {
    const real = this.#real ??= this.#makeReal(this.#parts!);
    if (this.#headers !== undefined) assign(real.headers, this.#headers);
    return real;
  }

  #makeReal(parts: ResponseParts): Response {
    const real = new Response(parts.content, initOf(parts, parts.fields));
    if (this.#spent) void real.body?.cancel();
    return real;
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
  Object.setPrototypeOf(prototype, Response.prototype);
  Object.setPrototypeOf(LazyResponse, Response);
  const names = [
    ...Object.getOwnPropertyNames(Response.prototype),
    ...Object.getOwnPropertySymbols(new Response(null)),
  ];
  for (const name of names) {
    if (Object.hasOwn(prototype, name)) continue;
    Object.defineProperty(prototype, name, {
      configurable: true,
      get(this: LazyResponse) {
        const real = this.real();
        const value: unknown = Reflect.get(real, name, real);
        return typeof value === "function" ? value.bind(real) : value;
      },
      set(this: LazyResponse, value: unknown) {
        const real = this.real();
        Reflect.set(real, name, value, real);
      },
    });
  }
}

// ---- A real one that remembers ----

class KeptResponse extends Response implements Light {
  readonly #parts: ResponseParts | undefined;
  /** Its fields may have been changed. */
  #fieldsAsked = false;
  #spent = false;

  constructor(
    body?: Body,
    init?: ResponseInit,
    typeFields: ResponseFields = textFields,
  ) {
    const parts = partsOf(body, init, typeFields);
    super(
      parts === undefined ? body : parts.content,
      parts === undefined ? init : initOf(parts, parts.fields),
    );
    this.#parts = parts;
  }

  static override json(data: unknown, init?: ResponseInit): Response {
    return new KeptResponse(jsonOf(data), init, jsonFields);
  }

  [take](): ResponseParts | undefined {
    const parts = this.#parts;
    // A body that somebody has a reader of counts as used on Bun.
    if (parts === undefined || this.bodyUsed) return undefined;
    if (parts.content !== null) this.#spent = true;
    return this.#fieldsAsked
      ? { ...parts, fields: listOf(super.headers) }
      : parts;
  }

  override get headers(): Headers {
    this.#fieldsAsked = true;
    return super.headers;
  }

  override get bodyUsed(): boolean {
    return this.#spent || super.bodyUsed;
  }
}

// ---- Which of the two ----

/** Native code takes nothing but its own. */
const isNative = /\{\s*\[native code\]\s*\}\s*$/.test(
  Function.prototype.toString.call(Response),
);

/** See {@linkcode LightResponse | the type}. */
export const LightResponse: LightResponseConstructor = chosen();

function chosen(): LightResponseConstructor {
  if (!isNative) forwardRest();
  const made: unknown = isNative ? KeptResponse : LazyResponse;
  Object.defineProperty(made, "name", { value: "LightResponse" });
  return made as LightResponseConstructor;
}
