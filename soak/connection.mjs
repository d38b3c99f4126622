/**
 * A connection as a careful client has it: one request at a time, and an exact
 * account of how each one ended.
 */
import { connect } from "node:net";
import { performance } from "node:perf_hooks";
import { Answer } from "./requests.mjs";

/** The ways in which a request can fail. */
export const faults = [
  "refused", // No connection: refused, or reset before anything was sent.
  "reset", // Reset before any of the answer.
  "unanswered", // Closed in order before any of the answer.
  "cut", // Some of the answer, then the end.
  "wrong", // Not the answer to this request.
  "late", // No whole answer in time.
];

/** Errors of our own system: they say nothing about a server. */
const ownErrors = new Set(["EADDRNOTAVAIL", "EMFILE", "ENFILE", "ENOBUFS"]);

/** One connection. */
export class Connection {
  #socket;
  #limitMs;
  #current;
  #connected = false;
  #asked = 0;

  /** False once either side has ended it. */
  open = true;
  /** Whether the server ended it while it was asked nothing. */
  closedIdle = false;
  /** Whether something came that was not asked for. */
  unasked = false;
  /** Our end, as in "127.0.0.1:40000", once it is connected. */
  name;

  /** Connects from the loopback address `from`. Each request, connecting
   * included, may take `limitMs`. */
  constructor(port, from, limitMs) {
    this.#limitMs = limitMs;
    const socket = this.#socket = connect({
      port,
      host: "127.0.0.1",
      localAddress: from,
      noDelay: true,
    });
    socket.on("connect", () => this.#begin());
    socket.on("data", (bytes) => this.#take(bytes));
    socket.on("end", () => this.#ended("FIN"));
    socket.on("error", (error) => this.#ended(error.code));
    socket.on("close", () => this.#ended("FIN"));
  }

  /** The request that is under way, if any. */
  get current() {
    return this.#current;
  }

  /** Sends a request on an open connection; resolves with its exchange when it
   * has ended, one way or the other. */
  exchange(request) {
    return new Promise((resolve) => {
      const exchange = this.#current = {
        request,
        resolve,
        answer: new Answer(request),
        begunAt: performance.now(),
        /** How many requests the connection has carried before. */
        before: this.#asked++,
        /** Whether the whole request was given to the system. */
        sent: false,
        /** Whether we have looked at our sockets since. */
        looked: false,
        connection: this.name,
        timer: setTimeout(() => this.#fail("late"), this.#limitMs),
      };
      if (this.#connected) this.#send(exchange);
    });
  }

  /** Ends it. */
  close() {
    this.open = false;
    this.#socket.destroy();
  }

  #begin() {
    const { localAddress, localPort } = this.#socket;
    this.name = `${localAddress}:${localPort}`;
    this.#connected = true;
    if (this.#current) this.#send(this.#current);
  }

  #send(exchange) {
    exchange.connection = this.name;
    this.#socket.write(exchange.request.bytes);
    exchange.sent = true;
    // The first callback is of this turn of the loop. The second runs after the
    // next look at the sockets, with whatever that has brought.
    if (exchange.before > 0) {
      setImmediate(() => setImmediate(() => exchange.looked = true));
    }
  }

  #take(bytes) {
    const exchange = this.#current;
    if (exchange === undefined) {
      this.unasked = true;
      this.close();
      return;
    }
    const result = exchange.answer.take(bytes);
    if (result === undefined) return;
    if (result.wrong) return this.#fail("wrong", result.wrong);
    this.#settle({ pid: result.pid, close: result.close });
  }

  #ended(how) {
    if (!this.open) return;
    this.open = false;
    const exchange = this.#current;
    if (exchange === undefined) {
      this.closedIdle = true;
      return;
    }
    if (ownErrors.has(how)) return this.#fail("own", how);
    if (!this.#connected) return this.#fail("refused", how);
    if (exchange.answer.begun) return this.#fail("cut", how);
    this.#fail(how === "FIN" ? "unanswered" : "reset", how);
  }

  #fail(fault, why = "") {
    const { before, looked } = this.#current;
    this.close();
    // Its end lay in our system when the request was written, or came before we
    // could look again. RST is not of this sort: a server sends it when it had
    // the request and did not read it.
    const crossed = fault === "unanswered" && before > 0 && !looked;
    this.#settle({ fault, why, crossed });
  }

  #settle(outcome) {
    const exchange = this.#current;
    this.#current = undefined;
    clearTimeout(exchange.timer);
    const endedAt = performance.now();
    const ms = endedAt - exchange.begunAt;
    exchange.resolve(Object.assign(exchange, outcome, { endedAt, ms }));
  }
}
