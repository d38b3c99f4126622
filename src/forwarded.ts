/**
 * Whom a request comes from and what it was asked for, where proxies have taken
 * it first: they tell in `X-Forwarded-*` or in `Forwarded` (RFC 7239). Whoever
 * believes such a field believes whoever wrote it, so the rules are:
 *
 * - Only a peer that is on the list is believed. A client who connects from
 *   elsewhere can write what it likes.
 * - Only the fields that are asked for are read, because a proxy hands on those
 *   that it does not know as its client wrote them. By default these are
 *   `X-Forwarded-For` and `X-Forwarded-Proto`, which every proxy writes or can be
 *   told to. `Forwarded` is never read beside the others: two that contradict
 *   each other would let a client choose.
 * - A list is read from its end, which the peer wrote. What stands before it is
 *   believed as long as the address behind is on the list, too: the client is
 *   the first that is not.
 *
 * `X-Forwarded-For` ends at what is no address ("unknown"): the client is then
 * the last address there was. A value of `X-Forwarded-Proto` other than `http`
 * and `https` says nothing; of several the last counts, as the peer's own. A
 * `Forwarded` that is malformed is 400, as is a host: of quotes that do not
 * match nobody can tell which part the peer wrote.
 *
 * What an application sees of it is `exchange.remote`, `scheme`, and where a host
 * was told `head.authority` and the Host field. The fields stay as they are.
 *
 * @module
 */
import { FieldList } from "./apps/field_list.ts";
import type {
  AccessRecord,
  AccessSink,
  Exchange,
  Fields,
  Handler,
  RequestBody,
  RequestHead,
  ResponseWriter,
} from "./exchange.ts";
import { forwardedElements } from "./http/forwarded_field.ts";
import {
  type IpAddress,
  type IpNetwork,
  isInNetwork,
  parseIpAddress,
  parseIpNetwork,
} from "./http/ip_address.ts";
import { checkAuthority } from "./http/target.ts";
import type { Address } from "./stream.ts";

/** The fields that can be believed. */
export const forwardedFields = [
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  "forwarded",
] as const;

/** One of `forwardedFields`. */
export type ForwardedField = typeof forwardedFields[number];

/** Those that are, where nothing else is asked for. */
export const defaultForwardedFields: readonly ForwardedField[] = [
  "x-forwarded-for",
  "x-forwarded-proto",
];

/** Who is believed, and in what. */
export interface ForwardedOptions {
  /** Addresses, networks (`10.0.0.0/8`), or `*` for everybody. Who connects to a
   * Unix-domain socket is believed unless this is empty: its file's permissions
   * say who may. */
  readonly allow: readonly string[];
  /** Which fields the proxies write, each time; default
   * {@linkcode defaultForwardedFields}. */
  readonly fields?: readonly ForwardedField[] | undefined;
}

/** Of lists that a stranger has made, so many are kept, and none that is long. */
const CLIENTS_KEPT = 1024;
const LONGEST_KEPT = 128;

const LETTER_F = 0x66;
const LETTER_X = 0x78;

/** What was told of a request. */
interface Told {
  readonly remote: Address | undefined;
  readonly scheme: "http" | "https" | undefined;
  readonly authority: string | undefined;
}

/** Reads what proxies tell. */
export class Forwarded {
  readonly #trusted: Trusted;
  readonly #for: boolean;
  readonly #proto: boolean;
  readonly #host: boolean;
  readonly #forwarded: boolean;
  readonly #fields: ReadonlySet<string>;
  /** Clients by the lists that told of them. */
  readonly #recent = new Map<string, Address>();
  #logged = false;
  /** The client, by the head that it sent, for the access log. */
  readonly #clients = new WeakMap<RequestHead, Address>();

  /** Throws `TypeError` on what is no network, and on fields that do not go
   * together. */
  constructor({ allow, fields = defaultForwardedFields }: ForwardedOptions) {
    this.#trusted = new Trusted(allow);
    checkFields(fields);
    this.#fields = new Set(fields);
    this.#for = fields.includes("x-forwarded-for");
    this.#proto = fields.includes("x-forwarded-proto");
    this.#host = fields.includes("x-forwarded-host");
    this.#forwarded = fields.includes("forwarded");
  }

  /** Has a handler see exchanges as the proxies tell of them. Without such a
   * field, or from a peer that is not believed, it gets the exchange itself. */
  around(handler: Handler): Handler {
    if (this.#trusted.isEmpty) return handler;
    return (exchange) => handler(this.#seen(exchange));
  }

  /** Has the access log name the client. */
  access(access: AccessSink | undefined): AccessSink | undefined {
    if (access === undefined || this.#trusted.isEmpty) return access;
    this.#logged = true;
    const named = (record: AccessRecord) => {
      const remote = record.head && this.#clients.get(record.head);
      access(remote === undefined ? record : { ...record, remote });
    };
    return Object.assign(named, { untimed: access.untimed });
  }

  #seen(exchange: Exchange): Exchange {
    const { fields } = exchange.head;
    if (!this.#isToldIn(fields) || !this.#trusted.hasPeer(exchange)) {
      return exchange;
    }
    const told = this.#forwarded
      ? this.#readForwarded(fields)
      : this.#readOthers(fields);
    if (told.remote !== undefined && this.#logged) {
      this.#clients.set(exchange.head, told.remote);
    }
    return new ForwardedExchange(exchange, told);
  }

  /** Whether one of the fields is there. Most requests that nobody has handed on
   * have no field that begins like them. */
  #isToldIn(fields: Fields): boolean {
    for (let i = 0; i < fields.length; i++) {
      const { lower } = fields.name(i);
      const first = lower.charCodeAt(0);
      if (
        (first === LETTER_X || first === LETTER_F) && this.#fields.has(lower)
      ) {
        return true;
      }
    }
    return false;
  }

  #readOthers(fields: Fields): Told {
    const client = this.#for ? fields.get("x-forwarded-for") : undefined;
    const proto = this.#proto ? fields.get("x-forwarded-proto") : undefined;
    const host = this.#host ? fields.get("x-forwarded-host") : undefined;
    return {
      remote: client === undefined ? undefined : this.#recentClient(client),
      scheme: schemeOf(lastOf(proto)),
      authority: authorityOf(lastOf(host)),
    };
  }

  /** A client asks for more than one thing. */
  #recentClient(list: string): Address | undefined {
    const known = this.#recent.get(list);
    if (known !== undefined) return known;
    const client = this.#clientOf(list);
    if (client === undefined || list.length > LONGEST_KEPT) return client;
    if (this.#recent.size === CLIENTS_KEPT) this.#recent.clear();
    this.#recent.set(list, client);
    return client;
  }

  /** The client of an `X-Forwarded-For`. */
  #clientOf(list: string): Address | undefined {
    let client: Address | undefined;
    for (let end = list.length; end >= 0;) {
      const comma = list.slice(0, end).lastIndexOf(",");
      const text = list.slice(comma + 1, end).trim();
      end = comma;
      if (text === "") continue;
      const node = parseNode(text);
      if (node === undefined) return client;
      client = node.address;
      if (!this.#trusted.has(node.octets)) return client;
    }
    return client;
  }

  /** Each element was written by whom the one behind it names. */
  #readForwarded(fields: Fields): Told {
    const elements = forwardedElements(fields);
    let remote: Address | undefined;
    let proto: string | undefined;
    let host: string | undefined;
    for (const element of elements.reverse()) {
      proto = element.get("proto") ?? proto;
      host = element.get("host") ?? host;
      const node = parseNode(element.get("for") ?? "");
      if (node === undefined) break;
      remote = node.address;
      if (!this.#trusted.has(node.octets)) break;
    }
    return { remote, scheme: schemeOf(proto), authority: authorityOf(host) };
  }
}

function checkFields(fields: readonly ForwardedField[]): void {
  for (const field of fields) {
    if (forwardedFields.includes(field)) continue;
    throw new TypeError(
      `"${field}" is not one of ${forwardedFields.join(", ")}`,
    );
  }
  if (fields.includes("forwarded") && fields.length > 1) {
    throw new TypeError(
      "Forwarded is not read beside X-Forwarded-*: they may contradict each other",
    );
  }
}

// ---- Who is believed ----

/** The list of those who are believed. */
class Trusted {
  readonly isEmpty: boolean;
  readonly #everybody: boolean;
  readonly #networks: readonly IpNetwork[];
  // A proxy is asked about again and again.
  #lastHost = "";
  #lastAnswer = false;

  constructor(allow: readonly string[]) {
    this.isEmpty = allow.length === 0;
    this.#everybody = allow.includes("*");
    this.#networks = allow.filter((text) => text !== "*").map(readNetwork);
  }

  /** Whether the peer of an exchange is on it. */
  hasPeer({ remote, local }: Exchange): boolean {
    if (this.#everybody) return true;
    const { host } = remote;
    if (host === this.#lastHost && host !== "") return this.#lastAnswer;
    // Link-local addresses come with the name of an interface.
    const octets = parseIpAddress(host.replace(/%.*$/, ""));
    // A TCP peer that has left at once may have no address any more, and no
    // local one either.
    if (octets === undefined) {
      return local.port === 0 && local.host !== "";
    }
    this.#lastHost = host;
    return this.#lastAnswer = this.has(octets);
  }

  has(address: IpAddress): boolean {
    return this.#everybody ||
      this.#networks.some((network) => isInNetwork(address, network));
  }
}

function readNetwork(text: string): IpNetwork {
  const network = parseIpNetwork(text);
  if (network !== undefined) return network;
  throw new TypeError(
    `"${text}" is neither an IP address nor a network such as 10.0.0.0/8`,
  );
}

// ---- What is told ----

interface Node {
  readonly octets: IpAddress;
  readonly address: Address;
}

/** `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]`, `[2001:db8::1]:80`, and
 * `2001:db8::1`, which RFC 7239 §6 does not have and `X-Forwarded-For` does;
 * undefined for "unknown" and whatever else is no address. */
function parseNode(text: string): Node | undefined {
  const [, bracketed, plain, port = "0"] =
    /^(?:\[([^\]]*:[^\]]*)\]|([0-9.]+))(?::([0-9]{1,5}|_[\w.-]+))?$/.exec(
      text,
    ) ?? [];
  const host = bracketed ?? plain ?? text;
  const octets = parseIpAddress(host);
  const number = port.startsWith("_") ? 0 : Number(port);
  if (octets === undefined || number > 65_535) return undefined;
  return {
    octets,
    address: {
      host: octets.length === 4 ? octets.join(".") : host.toLowerCase(),
      port: number,
    },
  };
}

function lastOf(list: string | undefined): string | undefined {
  return list?.includes(",")
    ? list.slice(list.lastIndexOf(",") + 1).trim()
    : list;
}

function schemeOf(proto: string | undefined): "http" | "https" | undefined {
  if (proto === "https") return proto;
  const lower = proto?.toLowerCase();
  return lower === "http" || lower === "https" ? lower : undefined;
}

/** Throws `HttpError` 400. */
function authorityOf(host: string | undefined): string | undefined {
  if (host === undefined || host === "") return undefined;
  checkAuthority(host);
  return host;
}

// ---- As it is seen ----

/** An exchange as the proxies tell of it. */
class ForwardedExchange implements Exchange {
  readonly head: RequestHead;
  readonly remote: Address;
  readonly scheme: "http" | "https";
  readonly #exchange: Exchange;

  constructor(exchange: Exchange, { remote, scheme, authority }: Told) {
    this.#exchange = exchange;
    this.remote = remote ?? exchange.remote;
    this.scheme = scheme ?? exchange.scheme;
    this.head = headWith(exchange.head, scheme, authority);
  }

  get body(): RequestBody {
    return this.#exchange.body;
  }

  get response(): ResponseWriter {
    return this.#exchange.response;
  }

  get local(): Address {
    return this.#exchange.local;
  }

  get signal(): AbortSignal {
    return this.#exchange.signal;
  }
}

/** A target in the absolute form would go on to speak for itself. */
function headWith(
  head: RequestHead,
  scheme: string | undefined,
  authority: string | undefined,
): RequestHead {
  const absolute = head.targetForm === "absolute";
  if (authority === undefined && !(absolute && scheme !== undefined)) {
    return head;
  }
  const host = authority ?? head.authority;
  const { method, path, query, version, framing } = head;
  return {
    method,
    target: !absolute ? head.target : query === "" ? path : `${path}?${query}`,
    targetForm: absolute ? "origin" : head.targetForm,
    path,
    query,
    authority: host,
    version,
    fields: fieldsWith(head.fields, host),
    framing,
    contentLength: head.contentLength,
    keepAlive: head.keepAlive,
    expectContinue: head.expectContinue,
  };
}

function fieldsWith(fields: Fields, host: string): Fields {
  const lines: [string, string][] = [["host", host]];
  for (let i = 0; i < fields.length; i++) {
    const { lower } = fields.name(i);
    if (lower !== "host") lines.push([lower, fields.value(i)]);
  }
  return new FieldList(lines);
}
