/** Applications that tell what reached them, so that the bytes of a response
 * show how a request was read. */
import type { Application } from "../../src/wsgi.ts";
import { latin1 } from "./octets.ts";

/** What {@linkcode tell} answers, as JSON in ASCII. */
export interface Told {
  /** Every key of the environ whose value is a string. */
  readonly environ: Readonly<Record<string, string>>;
  /** The content, one character per octet. */
  readonly content: string;
}

/** Reads the content, then answers 200 with {@linkcode Told}. */
export const tell: Application = async (environ, startResponse) => {
  const content = latin1(await environ["wsgi.input"].read());
  const strings = Object.entries(environ)
    .filter(([, value]) => typeof value === "string");
  const told = asciiJson({ environ: Object.fromEntries(strings), content });
  startResponse("200 OK", [["Content-Type", "application/json"]]);
  return [new TextEncoder().encode(told)];
};

/** Answers 200 at once and leaves the content unread. */
export const ignore: Application = (_environ, startResponse) => {
  startResponse("200 OK", [["Content-Type", "text/plain"]]);
  return [new TextEncoder().encode("ignored")];
};

function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\x7f-\uffff]/g,
    (character) =>
      `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
