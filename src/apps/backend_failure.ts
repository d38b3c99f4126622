/** What the client is told when a program behind us fails. */
import { BackendError } from "../errors.ts";
import type { Exchange, ResponseFields } from "../exchange.ts";
import { reasonPhrase } from "../http/status.ts";
import { describeFault, escapeForLog, type Logger } from "../logger.ts";

const plainText: ResponseFields[number] = [
  "Content-Type",
  "text/plain; charset=utf-8",
];
const retryAfter: ResponseFields[number] = ["Retry-After", "1"];

/** Answers a `BackendError` with its status, where nothing has been sent, and
 * tells the log. Throws `error` itself where the response has begun, which the
 * gateway takes back or cuts, and when it is another. */
export async function answerFailure(
  { head, response }: Exchange,
  error: unknown,
  log: Logger,
): Promise<void> {
  if (!(error instanceof BackendError) || response.committed) throw error;
  const { status } = error;
  const line = `${head.method} ${escapeForLog(head.target)}: ${status}: ${
    describeFault(error)
  }`;
  if (status === 503) log.warn(line);
  else log.error(line);
  const content = new TextEncoder().encode(
    `${status} ${reasonPhrase(status)}\n`,
  );
  const fields = status === 503 ? [plainText, retryAfter] : [plainText];
  response.start(status, "", fields, content.length);
  await response.write(content);
  await response.end();
}
