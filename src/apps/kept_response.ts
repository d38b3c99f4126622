/**
 * What the runtime keeps of a `Response` under symbols (Node up to 22, Deno):
 * whether its body streams, which the Fetch standard keeps to itself, and its
 * fields as a list. What is found there is tried on samples once; where it is
 * not as this was written for, it is left alone. Nothing is ever written there.
 */
import { ApplicationError } from "../errors.ts";
import type { ResponseFields } from "../exchange.ts";
import type { ResponseParts } from "./response_parts.ts";
import { RuntimeResponse } from "./runtime_response.ts";

/** A body as the runtime keeps it. */
export interface KeptBody {
  /** Text or octets where it is static; else no matter. */
  readonly source?: unknown;
  /** In octets, where it is known. */
  readonly length?: number | null;
}

interface InnerResponse {
  readonly body?: KeptBody | null;
  readonly headerList?: ResponseFields;
}

/** The body of a response that has been asked for its fields; undefined where
 * nothing tells. */
export function keptBody(response: Response): KeptBody | undefined {
  return kept === undefined
    ? undefined
    : under<InnerResponse>(kept, response)?.body ?? undefined;
}

/** The fields of a response that has been asked for them, with their names as
 * they were given; undefined where nothing tells. */
export function keptFields(response: Response): ResponseFields | undefined {
  return listed ? under<InnerResponse>(kept!, response)?.headerList : undefined;
}

/** Marks a response whose static body was sent without the runtime's knowing. */
const sent: unique symbol = Symbol("sent");

/** Notes that its static body is sent, without the runtime's knowing; throws
 * `ApplicationError` where it was before. (A `WeakSet` costs the collector, too.) */
export function markSent(response: object): void {
  if (sent in response) throw used();
  // One that is frozen can be sent twice, as it is its own every time.
  Reflect.set(response, sent, true);
}

/** What is wrong with a response whose body was read, or sent. */
export function used(): ApplicationError {
  return new ApplicationError("The body of the response was read already");
}

/** Takes a text with its type, as a light response gives it, where that is all
 * there is to a response, and nobody has touched it. */
export function takeText(response: unknown): ResponseParts | undefined {
  if (untouched === undefined || !(response instanceof RuntimeResponse)) {
    return undefined;
  }
  const content = under<unknown>(untouched.text, response);
  if (typeof content !== "string") return undefined;
  markSent(response);
  const type = under<string | null>(untouched.type, response);
  return {
    status: response.status,
    statusText: "",
    fields: typeof type === "string" ? fieldsOfType(type) : textFields,
    content,
  };
}

const textFields: ResponseFields = [
  ["content-type", "text/plain;charset=UTF-8"],
];
let lastType = "";
let lastFields: ResponseFields = [];

function fieldsOfType(type: string): ResponseFields {
  if (type === lastType) return lastFields;
  lastType = type;
  return lastFields = [["content-type", type]];
}

/** Under what symbol the runtime keeps what a response is, once it has been
 * asked for its fields; undefined where it keeps it elsewhere, or in another way
 * than this was written for. */
const kept: symbol | undefined = findKept();

function findKept(): symbol | undefined {
  const text = new RuntimeResponse("\u00e9");
  const octets = new RuntimeResponse(new Uint8Array(3));
  const stream = new RuntimeResponse(new ReadableStream());
  const all = [text, octets, stream, new RuntimeResponse(null)];
  for (const { headers } of all) headers.has("content-type");
  return Object.getOwnPropertySymbols(text).find((symbol) => {
    const [ofText, ofOctets, ofStream, ofNothing] = all.map((response) =>
      under<InnerResponse>(symbol, response)?.body ?? undefined
    );
    return ofText?.source === "\u00e9" &&
      ofOctets?.source instanceof Uint8Array && ofOctets.source.length === 3 &&
      ofStream?.source === null && ofStream.length === null &&
      ofNothing === undefined;
  });
}

function under<T>(symbol: symbol, response: unknown): T | undefined {
  return (response as Record<symbol, T | undefined>)[symbol];
}

/** Whether it keeps the fields as a list of pairs (Deno). */
const listed: boolean = kept !== undefined && listsFields(kept);

function listsFields(symbol: symbol): boolean {
  const sample = new RuntimeResponse("", { headers: { A: "1", "b": "2" } });
  sample.headers.append("b", "3");
  sample.headers.set("content-type", "c/d");
  sample.headers.delete("a");
  const { headerList } = under<InnerResponse>(symbol, sample) ?? {};
  return Array.isArray(headerList) &&
    headerList.map(String).sort().join() === "Content-Type,c/d,b,2,b,3";
}

/** Under what symbols the runtime keeps the text and the type of a response that
 * has nothing else and was not asked for anything yet (Deno). */
const untouched: { text: symbol; type: symbol } | undefined = findUntouched();

function findUntouched(): { text: symbol; type: symbol } | undefined {
  const json = RuntimeResponse.json(1);
  const plain = new RuntimeResponse("1");
  const symbols = Object.getOwnPropertySymbols(json);
  const text = symbols.find((symbol) =>
    under(symbol, json) === "1" && under(symbol, plain) === "1" &&
    tellsTouched(symbol)
  );
  const type = symbols.find((symbol) =>
    under(symbol, json) === "application/json" && under(symbol, plain) === null
  );
  return text && type && { text, type };
}

/** Whether the text is gone once there is more to a response than its type. */
function tellsTouched(symbol: symbol): boolean {
  const touches: ((response: Response) => unknown)[] = [
    (response) => response.headers,
    (response) => response.body,
    (response) => response.text(),
    (response) => response.clone(),
  ];
  const touched = touches.map((touch) => {
    const response = RuntimeResponse.json(1);
    touch(response);
    return response;
  });
  const others = [
    RuntimeResponse.json(1, { headers: { a: "b" } }),
    RuntimeResponse.json(1, { statusText: "a" }),
  ];
  return [...touched, ...others].every((response) =>
    typeof under(symbol, response) !== "string"
  );
}
