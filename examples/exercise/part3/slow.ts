/** An application that takes its time: three seconds, or what the query says,
 * as in `/?seconds=10`. Ask it from two terminals at once. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Application } from "../../../mod.ts";

const encoder = new TextEncoder();

/** Waits for at most a minute, and no longer than the client does. */
export const app: Application = async (environ, startResponse) => {
  const query = new URLSearchParams(environ.QUERY_STRING);
  const seconds = Math.min(60, Number(query.get("seconds") ?? 3) || 0);
  const signal = environ["headgate.request"]?.signal;
  await sleep(seconds * 1000, undefined, signal && { signal }).catch(() => {});
  startResponse("200 OK", [["Content-Type", "text/plain"]]);
  return [encoder.encode(`Slept for ${seconds} s\n`)];
};
