/**
 * Applications behind FastCGI 1.0, over an exchange: whatever answers at the
 * path where it is mounted, as a WSGI server or a program of its own does.
 *
 * @module
 */
import { mountPoint } from "../environ.ts";
import type { Exchange, Handler, RequestBody } from "../exchange.ts";
import type { BackendPool, ResponderRequest } from "../fastcgi/pool.ts";
import type { Logger } from "../logger.ts";
import {
  eachMetaVariable,
  type MetaVariableOptions,
} from "../meta_variables.ts";
import type { CgiResponseHead } from "../http/cgi_response.ts";
import { version } from "../version.ts";
import { answerFailure } from "./backend_failure.ts";

/** How an application behind FastCGI is served. */
export interface FastCgiOptions {
  /** What goes wrong; default `console`. */
  readonly log?: Logger;
  /** The path at which the application is mounted; default "", the root. */
  readonly scriptName?: string;
  /** `SERVER_SOFTWARE`; default "headgate/" and the version. */
  readonly software?: string;
  /** Further parameters of every request; each character is one octet. */
  readonly params?: readonly (readonly [name: string, value: string])[];
}

/** Makes a handler of the responders in a pool, which stays the caller's. */
export function fastcgi(
  pool: BackendPool,
  options: FastCgiOptions = {},
): Handler {
  const variables: MetaVariableOptions = {
    scriptName: mountPoint(options.scriptName ?? ""),
    software: options.software ?? `headgate/${version}`,
  };
  const { log = console, params = [] } = options;
  return async (exchange) => {
    await ask(pool, new ApplicationRequest(exchange, variables, params), log);
  };
}

/** Has a request answered by a pool. Resolves when the response is whole, one of
 * ours where the responder failed; or with its head when that was not accepted.
 * Rejects with what ends the exchange otherwise. */
export async function ask(
  pool: BackendPool,
  request: ResponderRequest,
  log: Logger,
): Promise<CgiResponseHead | undefined> {
  try {
    return await pool.request(request);
  } catch (error) {
    await answerFailure(request.exchange, error, log);
    return undefined;
  } finally {
    if (request.reading !== undefined) await readingSettled(request);
  }
}

/** Nobody else may read the content before what the responder left pending has
 * settled. The client need not wait for that. */
async function readingSettled(request: ResponderRequest): Promise<void> {
  const { response } = request.exchange;
  try {
    if (response.started) await response.flush();
    await request.reading;
  } catch {
    // Whoever uses the connection next learns it.
  }
}

/** A request for an application, which has all paths below its own. */
class ApplicationRequest implements ResponderRequest {
  readonly exchange: Exchange;
  reading: Promise<unknown> | undefined = undefined;
  readonly #variables: MetaVariableOptions;
  readonly #params: readonly (readonly [name: string, value: string])[];

  constructor(
    exchange: Exchange,
    variables: MetaVariableOptions,
    params: readonly (readonly [name: string, value: string])[],
  ) {
    this.exchange = exchange;
    this.#variables = variables;
    this.#params = params;
  }

  get content(): RequestBody {
    return this.exchange.body;
  }

  params(put: (name: string, value: string) => void): void {
    eachMetaVariable(this.exchange, this.#variables, put);
    for (const [name, value] of this.#params) put(name, value);
  }

  accepts(): boolean {
    return true;
  }
}
