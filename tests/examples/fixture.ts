/** What the tests of the examples share: an example that serves on a port of
 * its own, clients that see the bytes, and a log that can be waited for. */
import {
  type Address,
  type Application,
  serve,
  type ServeOptions,
  type Server,
} from "../../mod.ts";
import { lint } from "../../src/apps/lint.ts";
import { singly } from "../support/every_split.ts";
import { octets } from "../support/octets.ts";
import { RawClient } from "../support/raw_client.ts";
import { type ParsedResponse, parseResponses } from "../support/responses.ts";
import { LineLog } from "../support/line_log.ts";

/** Where an example is served, and what it logs. */
export interface Served {
  readonly address: Address;
  readonly url: string;
  readonly log: LineLog;
}

/** Serves an example under lint while `use` runs. What breaks PEP 3333 is an
 * error in the log; no example is to leave one that a test does not expect. */
export async function serving(
  app: Application,
  use: (served: Served) => Promise<void>,
  options: ServeOptions = {},
): Promise<void> {
  const log = new LineLog();
  const server: Server = await serve(lint(app), { ...options, port: 0, log });
  const address = server.addresses[0]!;
  try {
    await use({ address, url: `http://127.0.0.1:${address.port}`, log });
  } finally {
    await server.shutdown(0);
  }
}

/** Sends a request and reads until the server hangs up. */
export async function exchange(
  address: Address,
  request: string,
): Promise<ParsedResponse> {
  return await exchangePieces(address, [octets(request)], request);
}

/** The same, each byte in a packet of its own. */
export async function exchangeSlowly(
  address: Address,
  request: string,
): Promise<ParsedResponse> {
  return await exchangePieces(address, singly(octets(request)), request);
}

async function exchangePieces(
  address: Address,
  pieces: readonly Uint8Array[],
  request: string,
): Promise<ParsedResponse> {
  const client = await RawClient.connect(address);
  try {
    for (const piece of pieces) await client.send(piece);
    await client.untilEnded();
    return only(client.received, request);
  } finally {
    await client.close();
  }
}

/** The one response that `received` consists of. */
export function only(received: Uint8Array, request: string): ParsedResponse {
  const method = () => request.split(" ", 1)[0];
  const responses = parseResponses(received, { method });
  const [response] = responses;
  if (response === undefined || responses.length > 1) {
    throw new Error(`${responses.length} responses`);
  }
  return response;
}

/** The content of a response as text. */
export function text({ content }: ParsedResponse): string {
  return new TextDecoder().decode(content);
}
