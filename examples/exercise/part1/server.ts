/**
 * The smallest web server: it answers every request with "Hello, World!".
 * Read it from top to bottom; a function stands for each thing that happens
 * to a connection, in the order in which it happens.
 */
import {
  type ByteStream,
  detectTransport,
  type Listener,
  StreamError,
  Wire,
} from "../../../mod.ts";

/** Listens on 127.0.0.1; `listener.close()` ends it. Each connection gets a
 * conversation of its own, and nobody waits for it here: one that stays silent
 * holds up nobody but itself. */
export async function serveHello(port: number): Promise<Listener> {
  const transport = await detectTransport();
  return transport.listen({ port }, (stream) => void converse(stream));
}

/** One connection, from its first byte to its last. */
export async function converse(stream: ByteStream): Promise<void> {
  // A stream delivers bytes in pieces of any size, and a telnet that sends
  // each key alone in pieces of one. The wire keeps what has arrived until a
  // line, or as many bytes as were asked for, are there.
  const wire = new Wire(stream);
  try {
    const method = await readRequest(wire);
    if (method === undefined) return; // connected, and left
    await answer(wire, method);
    await hangUp(stream, wire);
  } catch (error) {
    // A peer may vanish at any time. Anything else is a mistake of ours.
    if (!(error instanceof StreamError)) console.error(error);
  } finally {
    stream.close();
  }
}

/** Reads a whole request, however long that takes, and returns its method;
 * undefined when the peer leaves before its end. */
async function readRequest(wire: Wire): Promise<string | undefined> {
  const requestLine = await readText(wire); // GET /hello HTTP/1.1
  let contentLength = 0;
  while (true) {
    const field = await readText(wire); // Host: localhost:8888
    if (field === undefined) return undefined;
    if (field === "") break; // an empty line ends the head
    const length = /^content-length:[ \t]*(\d+)[ \t]*$/i.exec(field);
    if (length !== null) contentLength = Number(length[1]);
  }
  while (contentLength > 0) {
    const content = await wire.read(Math.min(contentLength, 65_536));
    if (content === null) return undefined;
    contentLength -= content.length;
  }
  return requestLine?.split(" ", 1)[0];
}

/** The next line without its end; undefined when there is none, or no end to
 * it. Each byte becomes one character. */
async function readText(wire: Wire): Promise<string | undefined> {
  const line = await wire.readLine(8192);
  if (line === null || line.at(-1) !== 0x0a) return undefined;
  return String.fromCharCode(...line).replace(/\r?\n$/, "");
}

const greeting = "Hello, World!\n";

/** A status line, four fields, an empty line; then the content, which a HEAD
 * request does not want. */
async function answer(wire: Wire, method: string): Promise<void> {
  wire.putText(
    "HTTP/1.1 200 OK\r\n" +
      `Date: ${new Date().toUTCString()}\r\n` +
      "Content-Type: text/plain\r\n" +
      `Content-Length: ${greeting.length}\r\n` +
      "Connection: close\r\n" +
      "\r\n" +
      (method === "HEAD" ? "" : greeting),
  );
  await wire.drained();
}

/** Ends our direction and reads on until the peer has ended its own, for two
 * seconds at most. A connection that is closed over unread bytes is reset, and
 * a reset can overtake the answer (RFC 9112 §9.6). */
async function hangUp(stream: ByteStream, wire: Wire): Promise<void> {
  stream.closeWrite();
  const impatience = setTimeout(() => stream.close(), 2000);
  while (await wire.fill()) wire.consume(wire.end - wire.start);
  clearTimeout(impatience);
}
