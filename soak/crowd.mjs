/** Connections that cost a server patience: silent ones, and slow senders. */
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** So many are opened at a time, that no queue of a server overflows. */
const wave = 100;

const slowHead =
  "GET /wait?id=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n" +
  "Accept-Language: en\r\nUser-Agent: slow\r\n\r\n";
const slowContent = "POST /echo?id=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n" +
  "Content-Length: 1000\r\n\r\n";

/** Keeps so many of them open; one that the server ends is opened again. */
export class Crowd {
  /** How many the server has ended. */
  ended = 0;
  #port;
  #sockets = new Set();
  #slow = new Set();
  #leaving = false;
  #clock;

  constructor(port) {
    this.#port = port;
  }

  /** Resolves when all are connected. Of the slow ones half send a head and half
   * a content, a byte a second. */
  async gather(silent, slow) {
    const kinds = [
      ...Array(silent).fill(undefined),
      ...Array.from({ length: slow }, (_, n) => n % 2 ? slowHead : slowContent),
    ];
    for (let begin = 0; begin < kinds.length; begin += wave) {
      const some = kinds.slice(begin, begin + wave);
      await Promise.all(some.map((text) => this.#open(text)));
    }
    this.#clock = setInterval(() => this.#drip(), 1000);
  }

  get size() {
    return this.#sockets.size;
  }

  /** Ends them all. */
  async scatter() {
    this.#leaving = true;
    clearInterval(this.#clock);
    for (const socket of this.#sockets) socket.destroy();
    while (this.#sockets.size > 0) await sleep(10);
  }

  #open(text) {
    return new Promise((resolve, reject) => {
      const socket = connect({
        port: this.#port,
        host: "127.0.0.1",
        localAddress: "127.0.2.1",
        noDelay: true,
      });
      this.#sockets.add(socket);
      socket.resume();
      socket.on("connect", () => {
        if (text !== undefined) this.#begin(socket, text);
        resolve();
      });
      socket.on("error", (error) => reject(error));
      socket.on("close", () => {
        this.#sockets.delete(socket);
        this.#slow.delete(socket);
        if (this.#leaving) return;
        this.ended++;
        // A rejection has been told; who fails now has gone for good.
        this.#open(text).catch(() => {});
      });
    });
  }

  #begin(socket, text) {
    // Content is slow behind a head that came at once.
    const end = text.startsWith("POST") ? text.length : 0;
    socket.write(text.slice(0, end));
    socket.left = text.startsWith("POST") ? "c".repeat(1000) : text;
    this.#slow.add(socket);
  }

  #drip() {
    for (const socket of this.#slow) {
      socket.write(socket.left.slice(0, 1));
      socket.left = socket.left.slice(1);
    }
  }
}
