/**
 * What an application's module says of how it is to be served, in the form of
 * Bun and Deno: `export default { fetch, port: 3000, hostname: "0.0.0.0" }`.
 *
 * Only an object literal is asked, which is what those have there: the
 * properties of a router mean something else, and may answer to any name. Of
 * that, nothing but own properties by a fixed list of names are read. What else
 * those platforms know is looked for, to say that nothing here reads it; other
 * names are the application's own.
 *
 * @module
 */
import { CommandError } from "../command_error.ts";
import { HttpError, StreamError } from "../errors.ts";
import { parseIpAddress } from "../http/ip_address.ts";
import type { FetchHandler } from "./fetch.ts";

/** Where a server listens, as Deno tells it. */
export type ListeningAddress =
  | {
    readonly transport: "tcp";
    readonly hostname: string;
    readonly port: number;
  }
  | { readonly transport: "unix"; readonly path: string };

/** What a module says; undefined for what it leaves to others. */
export interface ModuleSettings {
  /** The TCP port. */
  readonly port: number | undefined;
  /** The name or address to listen on. */
  readonly hostname: string | undefined;
  /** How much content a request may have, in bytes. */
  readonly contentBytes: number | undefined;
  /** How long a connection may be idle; `Infinity` for no bound. */
  readonly idleSeconds: number | undefined;
  /** Called once the server listens. */
  readonly onListen: ((address: ListeningAddress) => unknown) | undefined;
  /** Makes the response where `fetch` has thrown. */
  readonly error: ((error: unknown) => unknown) | undefined;
  /** What another platform would read of it, and nobody does here. */
  readonly unread: readonly string[];
}

/** Options of `Bun.serve()`, and handlers of worker platforms. */
const elsewhere: readonly string[] = [
  "alarm",
  "development",
  "email",
  "ipv6Only",
  "queue",
  "reusePort",
  "routes",
  "scheduled",
  "static",
  "tail",
  "tls",
  "trace",
  "unix",
  "websocket",
];

/** Reads what the object that has the `fetch` says beside it; undefined where
 * it is more than an object literal. `where` names it, for messages. Throws
 * `CommandError` on a value that makes no sense. */
export function readModuleSettings(
  holder: object,
  where: string,
): ModuleSettings | undefined {
  const prototype: unknown = Object.getPrototypeOf(holder);
  if (prototype !== Object.prototype && prototype !== null) return undefined;
  const settings = new Reading(holder, where);
  return {
    port: settings.port(),
    hostname: settings.hostname(),
    contentBytes: settings.amount("maxRequestBodySize", "bytes"),
    // Bun's 0 is no bound at all.
    idleSeconds: settings.amount("idleTimeout", "seconds") === 0
      ? Infinity
      : settings.amount("idleTimeout", "seconds"),
    onListen: settings.method("onListen"),
    error: settings.method("error"),
    unread: elsewhere.filter((name) => Object.hasOwn(holder, name)),
  };
}

class Reading {
  readonly #holder: object;
  readonly #where: string;

  constructor(holder: object, where: string) {
    this.#holder = holder;
    this.#where = where;
  }

  #own(name: string): unknown {
    const property = Object.getOwnPropertyDescriptor(this.#holder, name);
    return property?.get === undefined
      ? property?.value
      : property.get.call(this.#holder);
  }

  port(): number | undefined {
    const value = this.#own("port");
    // A port of the environment is text.
    const port = typeof value === "string" && /^[0-9]{1,5}$/.test(value)
      ? Number(value)
      : value;
    if (port === undefined) return undefined;
    if (
      typeof port === "number" && Number.isInteger(port) && port >= 0 &&
      port <= 65_535
    ) return port;
    throw this.#wrong("port", value, "a number from 0 to 65535");
  }

  hostname(): string | undefined {
    const value = this.#own("hostname");
    if (value === undefined) return undefined;
    if (
      typeof value === "string" &&
      (/^[\w.-]+$/.test(value) || parseIpAddress(value) !== undefined)
    ) return value;
    throw this.#wrong("hostname", value, "a host name or an IP address");
  }

  amount(name: string, unit: string): number | undefined {
    const value = this.#own(name);
    if (value === undefined) return undefined;
    if (typeof value === "number" && value >= 0) return value;
    throw this.#wrong(name, value, `a number of ${unit}`);
  }

  method(name: string): ((argument: unknown) => unknown) | undefined {
    const value = this.#own(name);
    if (value === undefined) return undefined;
    if (typeof value === "function") {
      return (argument) => value.call(this.#holder, argument);
    }
    throw this.#wrong(name, value, "a function");
  }

  #wrong(name: string, value: unknown, wanted: string): CommandError {
    const shown = typeof value === "string"
      ? JSON.stringify(value)
      : String(typeof value === "object" ? typeof value : value);
    return new CommandError(
      1,
      `${name} of ${this.#where} is ${shown}, not ${wanted}`,
      "Correct it, or leave it out and say it on the command line.",
    );
  }
}

/** Has `onError` make the response where a handler fails. What comes of the peer,
 * malformed content or that it has left, is none of the application's. */
export function recovering(
  handle: FetchHandler,
  onError: (error: unknown) => unknown,
): FetchHandler {
  return (request, info, context) => {
    const recover = (error: unknown): Response => {
      const ofThePeer = error instanceof HttpError ||
        error instanceof StreamError || request.signal.aborted;
      if (ofThePeer) throw error;
      return onError(error) as Response;
    };
    try {
      const answer: unknown = handle(request, info, context);
      return answer instanceof Promise
        ? (answer as Promise<Response>).catch(recover)
        : answer as Response;
    } catch (error) {
      return recover(error);
    }
  };
}
