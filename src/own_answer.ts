/** The answers that are the gateway's own, over the wire: to a request that is
 * refused, or whose application has failed. */
import type { HttpError } from "./errors.ts";
import { reasonPhrase } from "./http/status.ts";
import { type Terms, WireResponse } from "./response.ts";
import type { Wire } from "./wire.ts";

/** How a refusal is framed where there is no request to go by: as for HTTP/1.1,
 * and without content where it seems to be for HEAD. */
export function termsOfNone(toHead: boolean): Terms {
  return { version: 11, toHead, mayPersist: () => false };
}

const withoutContent = { withoutContinue() {} };

/** Answers what the peer did wrong, and says that the connection ends. */
export function writeRefusal(
  wire: Wire,
  terms: Terms,
  { status, message }: HttpError,
): WireResponse {
  const response = new WireResponse(wire, terms, withoutContent);
  write(response, status, `${message}\n`, [["Connection", "close"]]);
  return response;
}

/** Answers with a status, and tells no more than its name. */
export function writeStatus(response: WireResponse, status: number): void {
  write(response, status, "", []);
}

function write(
  response: WireResponse,
  status: number,
  detail: string,
  fields: readonly [name: string, value: string][],
): void {
  const reason = reasonPhrase(status);
  const content = new TextEncoder().encode(`${status} ${reason}\n${detail}`);
  const type: [string, string] = ["Content-Type", "text/plain; charset=utf-8"];
  response.start(status, reason, [type, ...fields], content.length);
  // The head is small and so is this, so it is copied; but where the wire has
  // failed already, the loop learns of it from its next read.
  response.write(content)?.catch(() => {});
  response.end();
}
