/** What a `Response` is made of, where it takes none to know: text or octets, and
 * fields in an ordinary object. */
import type { ResponseFields } from "../exchange.ts";

/** What a `Response` is made of. (Not every library of types has a name for
 * it.) */
export type Body = ConstructorParameters<typeof Response>[0];

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

/** As `partsOf()` gives them, and nobody else. */
class FoundParts implements ResponseParts {
  readonly status: number;
  readonly statusText: string;
  readonly fields: ResponseFields;
  readonly content: ResponseParts["content"];

  constructor(
    status: number,
    statusText: string,
    fields: ResponseFields,
    content: ResponseParts["content"],
  ) {
    this.status = status;
    this.statusText = statusText;
    this.fields = fields;
    this.content = content;
  }
}

/** Whether it comes from `partsOf()`. */
export function areParts(value: unknown): value is ResponseParts {
  return value instanceof FoundParts;
}

/** Of text that nothing is said of. */
const textFields: ResponseFields = [
  ["content-type", "text/plain;charset=UTF-8"],
];
/** Of JSON. */
export const jsonFields: ResponseFields = [[
  "content-type",
  "application/json",
]];
const noFields: ResponseFields = [];

/** Undefined where it takes a real one to know, or to refuse it. */
export function partsOf(
  body: Body,
  init: ResponseInit | undefined,
  typeFields: ResponseFields = textFields,
): ResponseParts | undefined {
  const content = contentOf(body);
  if (content === undefined) return undefined;
  const ofContent = typeof content === "string" ? typeFields : noFields;
  if (init === undefined || init === null) {
    return new FoundParts(200, "", ofContent, content);
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
  return new FoundParts(status, statusText, fields, content);
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

/** Throws where there is no JSON for it. */
export function jsonOf(data: unknown): string {
  const text: string | undefined = JSON.stringify(data);
  if (text === undefined) throw new TypeError("The data is no JSON");
  return text;
}

/** Each as it is sent; Set-Cookie line by line. */
export function listOf(headers: Headers): ResponseFields {
  const fields: [string, string][] = [];
  headers.forEach((value, name) => fields.push([name, value]));
  return fields;
}
