/**
 * A WSGI server: any application of the form `(environ, startResponse) =>
 * blocks`, one request a connection. It goes on where part 1 ended. What a
 * request becomes is in request.ts, what becomes a response in reply.ts.
 */
import {
  type Application,
  type ByteStream,
  detectTransport,
  type Environ,
  HttpError,
  type Listener,
  type Logger,
  StreamError,
  Wire,
} from "../../../mod.ts";
import { formatHead, Reply } from "./reply.ts";
import { readRequest } from "./request.ts";

/** Listens on 127.0.0.1; `listener.close()` ends it. */
export async function serveApplication(
  app: Application,
  port: number,
  log: Logger,
): Promise<Listener> {
  const transport = await detectTransport();
  return transport.listen({ port }, (stream) => {
    void converse(app, stream, log);
  });
}

/** One connection: read a request, have it answered, hang up. */
export async function converse(
  app: Application,
  stream: ByteStream,
  log: Logger,
): Promise<void> {
  const wire = new Wire(stream);
  try {
    await answer(app, stream, wire, log);
    await hangUp(stream, wire);
  } catch (error) {
    // The answer is cut short, and the peer shall see that it is.
    stream.reset();
    if (error instanceof StreamError) log.debug(`Lost: ${error.message}`);
    else log.error(trace(error));
  } finally {
    stream.close();
  }
}

/** Answers the request, or says what is wrong with it. */
async function answer(
  app: Application,
  stream: ByteStream,
  wire: Wire,
  log: Logger,
): Promise<void> {
  try {
    const environ = await readRequest(stream, wire, log);
    if (environ !== undefined) await run(app, environ, wire, log);
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    const status = `${error.status} ${error.message}`;
    log.debug(`> ${status}`);
    wire.putText(formatHead(status, []));
    await wire.drained();
  }
}

/** Calls the application and sends each block as it comes. Its `close()` is
 * called whatever happens. */
async function run(
  app: Application,
  environ: Environ,
  wire: Wire,
  log: Logger,
): Promise<void> {
  const reply = new Reply(wire, environ.REQUEST_METHOD, log);
  try {
    const body = await app(environ, reply.startResponse);
    try {
      for await (const block of body) {
        if (block.length > 0) await reply.write(block);
      }
      await reply.sendHead();
    } finally {
      await body.close?.();
    }
  } catch (error) {
    if (reply.headSent || error instanceof StreamError) throw error;
    log.error(trace(error));
    throw new HttpError(500, "Internal Server Error");
  }
}

/** As in part 1: content that the application left unread must not become a
 * reset that overtakes the answer. */
async function hangUp(stream: ByteStream, wire: Wire): Promise<void> {
  stream.closeWrite();
  const impatience = setTimeout(() => stream.close(), 2000);
  while (await wire.fill()) wire.consume(wire.end - wire.start);
  clearTimeout(impatience);
}

function trace(error: unknown): string {
  return error instanceof Error ? `${error.stack}` : String(error);
}
