/** Clients that ask, all at once, until they are told to stop. */
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { Connection } from "./connection.mjs";
import { makeRequest } from "./requests.mjs";
import { Tally } from "./tally.mjs";

/** How long a request may take. */
const limitMs = 10_000;
/** After a failure a client waits, so that it does not only fail. */
const restMs = 10;

/**
 * The clients of most scenarios: 32 that keep their connections, half of them
 * with a pause of up to 20 ms between requests, and 32 that connect for each
 * request, half of which announce it.
 */
export const usualClients = [
  { count: 16, keep: true },
  { count: 16, keep: true, pauseMs: 20 },
  { count: 16, keep: false, close: true },
  { count: 16, keep: false },
];

export class Load {
  tally = new Tally();
  #port;
  #limitMs;
  #startedAt;
  #running = true;
  #connections = new Set();
  #clients;

  /** Starts the clients. Each group says how many they are, whether they `keep`
   * their connections, the longest pause between requests, and what
   * `makeRequest` is to know. */
  constructor(port, groups = usualClients, options = {}) {
    this.#port = port;
    this.#limitMs = options.limitMs ?? limitMs;
    this.#startedAt = performance.now();
    const clients = groups.flatMap(({ count, ...how }) =>
      Array.from({ length: count }, () => how)
    );
    this.#clients = Promise.all(
      // An address for each, so that none runs out of ports.
      clients.map((how, index) => this.#run(how, `127.0.1.${index + 1}`)),
    );
    this.#clients.catch(() => this.#running = false);
  }

  /** Seconds since it began. */
  get seconds() {
    return (performance.now() - this.#startedAt) / 1000;
  }

  /** The requests that were sent and have no whole answer yet. */
  underWay() {
    return [...this.#connections].map(({ current }) => current)
      .filter((exchange) => exchange?.sent);
  }

  /** Lets every request that has begun end; what was counted. */
  async stop() {
    this.#running = false;
    await this.#clients;
    for (const connection of this.#connections) connection.close();
    return this.tally;
  }

  async #run(how, from) {
    let connection;
    while (this.#running) {
      if (connection?.open !== true) connection = this.#connect(from);
      const exchange = await connection.exchange(makeRequest(how));
      this.tally.count(exchange, performance.now() - this.#startedAt);
      if (!how.keep || exchange.close) this.#leave(connection);
      if (exchange.fault !== undefined) await sleep(restMs);
      if (how.pauseMs) await sleep(Math.random() * how.pauseMs);
      if (connection.closedIdle) this.tally.closedIdle++;
      if (connection.unasked) this.tally.unasked++;
      if (!connection.open) this.#connections.delete(connection);
    }
  }

  #connect(from) {
    const connection = new Connection(this.#port, from, this.#limitMs);
    this.#connections.add(connection);
    this.tally.connections++;
    return connection;
  }

  #leave(connection) {
    connection.close();
    this.#connections.delete(connection);
  }
}
