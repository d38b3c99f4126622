/** Whole answers of our own, for what serves files and programs. */
import type { Exchange, ResponseFields, ResponseWriter } from "../exchange.ts";
import { reasonPhrase } from "../http/status.ts";

/** An answer that says no more than its status. */
export async function answer(
  response: ResponseWriter,
  status: number,
  fields: ResponseFields = [],
): Promise<void> {
  const text = new TextEncoder().encode(`${status} ${reasonPhrase(status)}\n`);
  const type = ["Content-Type", "text/plain; charset=utf-8"] as const;
  response.start(status, "", [type, ...fields], text.length);
  await response.write(text);
  await response.end();
}

/** Sends the client to the path with a slash at its end, so that the relative
 * links of an index lead to its neighbours. The reference is relative, as a
 * proxy may serve us below a path of its own; its first step is a dot, so that
 * nothing in a name passes for a scheme or an authority (RFC 3986 §4.2). */
export async function redirectBelow(
  { head, response }: Exchange,
): Promise<void> {
  const name = head.path.slice(head.path.lastIndexOf("/") + 1);
  const query = head.query === "" ? "" : `?${head.query}`;
  await answer(response, 301, [["Location", `./${name}/${query}`]]);
}

const refusals: Readonly<Record<string, number>> = {
  EACCES: 403,
  EPERM: 403,
  EMFILE: 503,
  ENFILE: 503,
};

/** What to answer where the file system refuses; undefined for errors that are
 * ours. */
export function refusalOf(error: unknown): number | undefined {
  const { code = "" } = error as { code?: string };
  return refusals[code];
}
